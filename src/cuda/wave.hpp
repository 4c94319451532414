// The CUDA body of the contract's wave (backend.hpp): any number of members side by side on one device.
#pragma once

#include <memory>
#include <optional>

#include "../backend.hpp"
#include "cuda/scorer.hpp"
#include "cuda/trainer.hpp"
#include "cuda/wave_data.hpp"

namespace occam::cuda {

class CudaWave final : public Wave {
 public:
  // shared_limit: bytes a block may have for plan resident; 0: plan tiled alone
  CudaWave(int device, const WaveRequest& request, std::int64_t score_budget, std::size_t shared_limit);

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
  mutable std::optional<WaveData> data_;  // a copy to the host goes through its stream
  std::optional<Scorer> scorer_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace occam::cuda
