// The CUDA body of the contract's wave (backend.hpp): any number of members side by side on one device.
#pragma once

#include <memory>
#include <optional>

#include "../backend.hpp"
#include "cuda/attacker.hpp"
#include "cuda/scorer.hpp"
#include "cuda/trainer.hpp"
#include "cuda/wave_data.hpp"

namespace occam::cuda {

class CudaWave final : public Wave {
 public:
  // shared_limit: bytes a block may have for plan resident; 0: plan tiled alone
  // scratch: device bytes for scores or attacks
  CudaWave(int device, const WaveRequest& request, std::int64_t scratch, std::size_t shared_limit);

  void load(int member, std::span<const float> parameters) override;
  void initialize(int member, const Initialization& init, std::uint32_t seed) override;
  void store(int member, std::span<float> parameters) const override;
  void show(std::span<const Data> data) override;
  TrainingState training_state(int member) const override;
  void resume(int member, const TrainingState& state) override;
  void train(std::span<const std::int64_t> updates) override;
  void score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
             std::span<WaveScore> scores) override;
  void logits(int member, Split split, const Randomization& variant, std::span<float> out) override;
  void logits(int member, std::span<const float> x, std::span<float> out) override;
  void input_gradient(int member, std::span<const float> x, std::span<const float> logit_gradient,
                      std::span<float> gradient) override;
  void ranges(std::span<const int> members, Split split, std::span<DataRange> out) override;
  void perturb(std::span<const int> members, Split split, std::span<const Pgd> attacks,
               std::span<Perturbed> out) override;
  void fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                     std::span<std::vector<float>> out) override;
  void score(std::span<const int> members, Split split, std::span<const Shift> shifts, bool auc,
             std::span<WaveScore> scores) override;

 private:
  void use_device() const;  // for the calling thread
  void check(int member) const;
  Trainer& trainer() const;
  // Scores and attacks take turns with the scratch; so one of the two is there.
  Scorer& scorer();
  Attacker& attacker();

  int device_;
  std::int64_t scratch_;
  std::size_t shared_limit_;
  const std::vector<Seeds> seeds_;
  const int threads_;
  Interrupt interrupt_;
  mutable std::optional<WaveData> data_;  // a copy to the host goes through its stream
  std::optional<Scorer> scorer_;
  std::optional<Attacker> attacker_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace occam::cuda
