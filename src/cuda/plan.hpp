// Which plan trains an architecture on this device, and where things lie on the chip.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cuda/layout.hpp"
#include "evaluate.hpp"
#include "occam/training.hpp"
#include "pgd.hpp"
#include "resident.hpp"
#include "resident_tensor.hpp"
#include "universal.hpp"

namespace occam::cuda {

// What the members ask for together decides which buffers there are; the bits of a member do not depend on
// it.
struct TrainingNeeds {
  int slots = 0;  // of optimiser state
  bool input_dropout = false, hidden_dropout = false, prelu = false, batch_norm = false, adversary = false;
  bool images;                            // of shapes, in place of rows
  Precision precision = Precision::fp32;  // of every member

  TrainingNeeds(const MlpSpec& spec, std::span<const Training> trainings, bool images = false);

  // The activation's derivative reads something else than the next layer does.
  bool keeps_apart() const { return hidden_dropout || prelu; }
};

// The resident plan, or why there is none.
struct PlanAnswer {
  std::optional<ResidentPlan> resident;
  std::string obstacle;  // "batch norm …", "needs 310.2 KiB of shared memory, …"
};

// shared_limit: bytes of shared memory a block may have; 0 leaves plan tiled alone.
PlanAnswer plan_resident(const MlpSpec& spec, int batch, const TrainingNeeds& needs,
                         std::size_t shared_limit);

// The precision of plan tiled's products, of layers of more than a few units: that which is asked for, but fp32 where
// there is one hidden layer of few inputs, for memory takes more time than products there. It follows from the network
// alone, as bits do from it.
Precision tiled_precision(const DeviceLayout& layout, Precision precision);

// Whether in plan tiled two launches do an update of both layers (kernels/one_hidden_*.cu).
bool takes_one_hidden(const DeviceLayout& layout, const TrainingNeeds& needs);

// Whether in plan tiled one launch takes samples through all layers and back (kernels/sample_pass.cu): where its columns
// are not more than those of the tiles that layers would be launched with.
bool takes_sample_pass(const DeviceLayout& layout, const TrainingNeeds& needs, int batch,
                       std::size_t shared_limit);

// The plan resident on tensor cores, or why there is none; the needs' precision is tf32 or bf16. Whether there is one
// follows from network, batch and device alone, as bits do from it.
struct TensorAnswer {
  std::optional<TensorPlan> plan;
  std::string obstacle;
};
TensorAnswer plan_tensor(const MlpSpec& spec, int batch, const TrainingNeeds& needs,
                         std::size_t shared_limit);

// The plans of a wave: one for all members, or one for those whose body has sizes of its own and one for the others.
// None where plan tiled takes them. In tf32 and bf16 an adversary is a usage error.
std::vector<ResidentPlan> plan_resident(const MlpSpec& spec, std::span<const Training> trainings,
                                        std::size_t shared_limit, bool images);
std::vector<TensorPlan> plan_tensor(const MlpSpec& spec, std::span<const Training> trainings,
                                    std::size_t shared_limit, bool images);

// The plan that scores a network in one launch, if its parameters fit on the chip beside a slice of rows.
std::optional<EvaluationPlan> plan_evaluation(const MlpSpec& spec, std::size_t shared_limit);

// The plan that does a whole PGD in one launch, likewise.
std::optional<PgdPlan> plan_pgd(const MlpSpec& spec, std::size_t shared_limit);

// The plan that does the steps of universal perturbations on batches of at most `batch` rows in one launch, likewise.
std::optional<UniversalPlan> plan_universal(const MlpSpec& spec, std::int64_t batch,
                                            std::size_t shared_limit);

}  // namespace occam::cuda
