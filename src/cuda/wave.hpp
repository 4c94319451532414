// The CUDA body of the contract's wave (backend.hpp): any number of members side by side on one device.
#pragma once

#include <optional>

#include "../backend.hpp"
#include "cuda/resident.hpp"
#include "cuda/scorer.hpp"
#include "cuda/trainer.hpp"

namespace occam::cuda {

class CudaWave final : public Wave {
 public:
  CudaWave(int device, const WaveRequest& request, std::int64_t score_budget);

  void load(int member, std::span<const float> parameters) override;
  void store(int member, std::span<float> parameters) const override;
  void train(std::span<const std::int64_t> updates) override;
  void score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
             std::span<WaveScore> scores) override;
  void logits(int member, Split split, const Randomization& variant, std::span<float> out) override;
  void logits(int member, std::span<const float> x, std::span<float> out) override;

 private:
  void use_device() const;  // for the calling thread
  void check(int member) const;

  int device_;
  mutable std::optional<Resident> resident_;  // a copy to the host goes through its stream
  std::optional<Scorer> scorer_;
  std::optional<Trainer> trainer_;
};

}  // namespace occam::cuda
