// The contract between the ensemble and a device. A wave is a set of members that are resident together, with
// their data. Bodies: src/cpu (one member a wave, waves side by side on threads) and src/cuda (as many
// members as memory holds). Both agree to the bit in fp32 (docs/arithmetic.md); tests/contract runs every
// operation on every body.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "interrupt.hpp"
#include "occam/attack.hpp"
#include "occam/data.hpp"
#include "occam/metrics.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"

namespace occam {

// The members of a wave. All spans have one entry per member; `trainings` is empty when nothing will be
// trained (then the training rows are not made resident unless they are scored).
struct WaveRequest {
  const MlpSpec* spec = nullptr;
  std::span<const Data> data;
  std::span<const Seeds> seeds;
  std::span<const Training> trainings;
  int threads = 1;                // host threads that the wave may use within one call
  Interrupt interrupt = nullptr;  // heeded while data are made and by attacks; outlives the wave
};

struct WaveScore {
  std::int64_t correct = 0;
  float loss = 0;           // mean over the rows
  std::vector<double> auc;  // as Score::auc; empty unless asked for
};

// rows: how many were scored.
inline Score as_score(WaveScore&& of, std::int64_t rows) {
  return {static_cast<double>(of.correct) / static_cast<double>(rows), static_cast<double>(of.loss),
          std::move(of.auc)};
}

// Rows moved by one vector: x ↦ clamp(x + sign · perturbation), sign = 2y − 1 for two classes, else 1.
struct Shift {
  std::span<const float> perturbation;  // [inputs]
  double lower = 0, upper = 1;
};

class Wave {
 public:
  virtual ~Wave() = default;

  // Copies a member's parameters [layout.total] to and from the device. Loading does not touch optimiser
  // state, which is zero when the wave opens.
  virtual void load(int member, std::span<const float> parameters) = 0;
  // As load() of what initialize() gives.
  virtual void initialize(int member, const Initialization& init, std::uint32_t seed) = 0;
  virtual void store(int member, std::span<float> parameters) const = 0;

  // Other data for every member in place of those it has; parameters stay where they are. A usage error of a wave that was
  // opened with trainings, or of another number of members. After any other error the wave can only be closed.
  virtual void show(std::span<const Data> data) = 0;

  // What training has of a member beside its parameters, and the same of a wave that goes on with it. Requires trainings.
  virtual TrainingState training_state(int member) const = 0;
  virtual void resume(int member, const TrainingState& state) = 0;

  // Member i does updates[i] further updates (0: it is frozen and keeps its bits). Requires trainings.
  virtual void train(std::span<const std::int64_t> updates) = 0;

  // Scores of the listed members on one variant of a split, in inference mode. scores[k] belongs to
  // members[k]. Randomised variants exist for every split. Rows are scored as if one by one.
  virtual void score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
                     std::span<WaveScore> scores) = 0;

  // Logits [rows][outputs] of one member on one variant of a split.
  virtual void logits(int member, Split split, const Randomization& variant, std::span<float> out) = 0;

  // Logits [rows][outputs] of one member on rows of the caller's own. x: [rows][inputs].
  virtual void logits(int member, std::span<const float> x, std::span<float> out) = 0;

  // dL/dx from dL/dlogits in inference mode, on rows of the caller's own. x, gradient: [rows][inputs];
  // logit_gradient: [rows][outputs].
  virtual void input_gradient(int member, std::span<const float> x, std::span<const float> logit_gradient,
                              std::span<float> gradient) = 0;

  // Smallest and largest value of a split's rows as each model sees them; −0 counts as +0, and without rows
  // both are 0. out[k] belongs to members[k].
  virtual void ranges(std::span<const int> members, Split split, std::span<DataRange> out) = 0;

  // PGD on the split's rows as they are, inference mode. attacks[k] and out[k] belong to members[k].
  virtual void perturb(std::span<const int> members, Split split, std::span<const Pgd> attacks,
                       std::span<Perturbed> out) = 0;

  // AS-UAP fitted to the split's rows. out[k]: [inputs].
  virtual void fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                             std::span<std::vector<float>> out) = 0;

  // As score() of the split as it is, after shifts[k].
  virtual void score(std::span<const int> members, Split split, std::span<const Shift> shifts, bool auc,
                     std::span<WaveScore> scores) = 0;
};

// A usage error for the state of another optimiser or network.
void require_state(const TrainingState& state, int slots, std::int64_t parameters);

class Backend {
 public:
  virtual ~Backend() = default;

  // How many waves are open at a time, each on a thread of its own.
  virtual int concurrency() const = 0;

  // How many of the requested members fit in one wave (>= 1). Throws a device error that names the sizes when
  // not even one does.
  virtual int wave_members(const WaveRequest& request) const = 0;

  virtual std::unique_ptr<Wave> open(const WaveRequest& request) = 0;
};

// The backend of a device, made on first use and kept. Throws a device error when the build or the machine
// lacks it.
Backend& backend(const Device& device);

// Key of a variant's draws: a hash of its kind and coordinates.
std::uint32_t salt(const Randomization& variant);

// Score::auc of rows with these logits [rows][outputs] and labels [rows].
std::vector<double> roc_aucs(std::span<const float> logits, int outputs,
                             std::span<const std::int32_t> labels);

// Accuracy, loss and AUC of logits [rows][outputs], as every body gives them.
Score score_of(Loss loss, int outputs, std::span<const float> logits, std::span<const std::int32_t> labels);

// Donor row of every row of a split for a variant (identity for the set as it is). labels: [rows].
std::vector<std::uint32_t> donors(const Randomization& variant, std::uint32_t data_seed,
                                  std::span<const std::int32_t> labels);

}  // namespace occam
