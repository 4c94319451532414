// Attacks members of a wave on their splits (backend.hpp), several members at once, chunk of rows by chunk of
// rows: PGD of small networks in one launch a chunk (kernels/pgd.cu), universal perturbations of many of them in one for
// many steps (kernels/universal.cu); else one launch an operation for all members together (kernels/perturb.cu).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "../backend.hpp"
#include "cuda/inference_pass.hpp"
#include "cuda/plan.hpp"
#include "perturb.hpp"
#include "pgd.hpp"
#include "split_rows.hpp"
#include "value_range.hpp"

namespace occam::cuda {

class Attacker {
 public:
  // budget: device bytes for scratch; one member's rows are taken in chunks that fit. shared_limit: bytes of shared
  // memory a block may have; multiprocessors: of the device. interrupt: heeded by PGD and universal perturbations
  // between launches; outlives this.
  Attacker(WaveData& data, std::int64_t budget, std::size_t shared_limit, int multiprocessors,
           Interrupt interrupt)
      : data_(data), budget_(budget), shared_limit_(shared_limit), multiprocessors_(multiprocessors),
        plan_(plan_pgd(data.spec(), shared_limit)), interrupt_(interrupt), pass_(data) {}

  void input_gradient(int member, std::span<const float> x, std::span<const float> logit_gradient,
                      std::span<float> gradient);
  void ranges(std::span<const int> members, Split split, std::span<DataRange> out);
  void perturb(std::span<const int> members, Split split, std::span<const Pgd> attacks,
               std::span<Perturbed> out);
  void fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                     std::span<std::vector<float>> out);

 private:
  // Members that are worked on together and how many rows of each at a time.
  struct Group {
    std::span<const int> members;
    Split split;
    std::vector<std::int64_t> rows;  // of each
    std::int64_t pitch;              // the most rows of one
    int capacity;

    int slots() const { return static_cast<int>(members.size()); }
  };
  void check(std::span<const int> members, std::size_t attacks, std::size_t room) const;
  std::int64_t row_bytes(std::int64_t tracked) const;
  std::int64_t fitting_members(std::int64_t bytes_of_member, std::size_t members) const;
  std::int64_t blocks_at_once(std::span<const Pgd> attacks) const;
  Group open_group(std::span<const int> members, Split split, int capacity,
                   std::span<const law::AttackConstants> attacks);
  SplitRows split_rows(const Group& group);
  AttackRows attack_rows(const Group& group);
  void perturb_group(const Group& group, std::span<const Pgd> attacks, std::span<Perturbed> out);
  PgdArguments pgd_arguments(const Group& group, int tracked);
  void run_at_once(const PgdArguments& arguments);
  void copy_chunk(const Group& group, std::int64_t first, int tracked, std::span<const Pgd> attacks,
                  std::span<Perturbed> out);
  std::int64_t row_bytes_on_chip() const;
  std::optional<UniversalPlan> universal_plan(std::size_t members, std::int64_t pitch,
                                              std::int64_t batch) const;
  // Their steps, with one launch an operation or, where there is a plan, for many steps of all members.
  void fit_group(const Group& group, std::span<const AsUap> attacks, const std::optional<UniversalPlan>& plan,
                 std::span<std::vector<float>> out);
  void step_by_step(const Group& group, const UniversalArguments& universal, std::span<const AsUap> attacks,
                    std::span<const std::int64_t> steps);
  void step_on_chip(const Group& group, const UniversalArguments& universal, const UniversalPlan& plan,
                    std::int64_t steps);

  WaveData& data_;
  std::int64_t budget_;
  std::size_t shared_limit_;
  int multiprocessors_;
  std::optional<PgdPlan> plan_;
  Interrupt interrupt_;
  InferencePass pass_;
  DeviceBuffer<int> member_, rows_in_hand_, rows_now_;     // [slots]
  DeviceBuffer<std::int64_t> all_rows_, firsts_, steps_;   // [slots]
  DeviceBuffer<law::AttackConstants> attacks_;             // [slots]
  DeviceBuffer<AttackTurn> turns_;                         // [slots]
  DeviceBuffer<std::int32_t> labels_;                      // [slots][pitch]
  DeviceBuffer<float> plain_, x_, perturbation_, moved_;   // [slots][capacity][padded(inputs)]
  DeviceBuffer<float> worst_, worst_logits_, worst_loss_;  // [slots][capacity][…]
  DeviceBuffer<float> tracked_;                            // [slots][iterations][capacity][outputs]
  DeviceBuffer<float> universal_, gradient_;               // [slots][inputs]
  DeviceBuffer<ValueRange> ranges_;                        // [slots]
};

}  // namespace occam::cuda
