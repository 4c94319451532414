// Adversarial training on plan tiled: moves the batch by PGD on the weights as they are, before the update.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cuda/inference_pass.hpp"
#include "perturb.hpp"
#include "pgd.hpp"

namespace occam::cuda {

class Adversary {
 public:
  // One attack per member that has one; slots are the members. plan: how to do them in one launch, if that
  // can be.
  Adversary(WaveData& data, std::span<const Training> trainings, std::optional<PgdPlan> plan);

  // Device floats that a row of a batch takes.
  static std::int64_t floats_per_row(const DeviceLayout& layout, const MlpSpec& spec);

  // x: [members][batch][padded(inputs)] the rows of `batch` [members][batch], moved. slots: all members with
  // their samples in hand. Launches alone, for a capture.
  void gather_moved(const WaveView& wave, const Slots& slots, const std::uint32_t* batch, float* x);

  // Passes through the network that are launches of their own.
  int launches() const { return plan_ ? 1 : restarts_ * (iterations_ + 1); }

 private:
  WaveData& data_;
  std::optional<PgdPlan> plan_;
  InferencePass pass_;
  int iterations_ = 0, restarts_ = 0;                                             // the most of any member
  DeviceBuffer<law::AttackConstants> attacks_;                                    // [members]
  DeviceBuffer<AttackTurn> turns_;                                                // [members]
  DeviceBuffer<int> rows_now_;                                                    // [members]
  DeviceBuffer<std::int32_t> labels_;                                             // [members][batch]
  DeviceBuffer<float> perturbation_, moved_, worst_, worst_logits_, worst_loss_;  // [members][batch][…]
};

}  // namespace occam::cuda
