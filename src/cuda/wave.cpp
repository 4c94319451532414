#include "cuda/wave.hpp"

#include "data_clock.hpp"

namespace occam::cuda {

CudaWave::CudaWave(int device, const WaveRequest& request, std::int64_t score_budget,
                   std::size_t shared_limit)
    : device_(device) {
  const DataClock clock;
  use_device();
  data_.emplace(request);
  scorer_.emplace(*data_, score_budget, plan_evaluation(*request.spec, shared_limit),
                  device_properties(device).multiprocessors);
  scorer_->generate_training_rows();
  if (!request.trainings.empty()) trainer_ = make_trainer(*data_, request.trainings, shared_limit);
  data_->stream().synchronize();
}

void CudaWave::use_device() const { set_device(device_); }

void CudaWave::check(int member) const {
  require(member >= 0 && member < data_->members(), "wave: member {} is outside 0 … {}", member,
          data_->members() - 1);
}

void CudaWave::load(int member, std::span<const float> parameters) {
  check(member);
  use_device();
  data_->load(member, parameters);
}

void CudaWave::store(int member, std::span<float> parameters) const {
  check(member);
  use_device();
  data_->store(member, parameters);
}

void CudaWave::train(std::span<const std::int64_t> updates) {
  require(trainer_ != nullptr, "train: the wave was opened without trainings");
  use_device();
  trainer_->train(updates);
}

void CudaWave::score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
                     std::span<WaveScore> scores) {
  use_device();
  scorer_->score(members, split, variant, auc, scores);
}

void CudaWave::logits(int member, Split split, const Randomization& variant, std::span<float> out) {
  check(member);
  use_device();
  scorer_->logits(member, split, variant, out);
}

void CudaWave::logits(int member, std::span<const float> x, std::span<float> out) {
  check(member);
  use_device();
  scorer_->logits(member, x, out);
}

}  // namespace occam::cuda
