#include "cuda/wave.hpp"

#include "cuda/plan.hpp"
#include "data_clock.hpp"

namespace occam::cuda {

CudaWave::CudaWave(int device, const WaveRequest& request, std::int64_t scratch, std::size_t shared_limit)
    : device_(device), scratch_(scratch), shared_limit_(shared_limit),
      seeds_(request.seeds.begin(), request.seeds.end()), threads_(request.threads),
      interrupt_(request.interrupt) {
  const DataClock clock;
  use_device();
  data_.emplace(request);
  scorer().generate_training_rows();
  if (!request.trainings.empty()) trainer_ = make_trainer(*data_, request.trainings, shared_limit);
  data_->stream().synchronize();
}

Scorer& CudaWave::scorer() {
  attacker_.reset();
  if (!scorer_)
    scorer_.emplace(*data_, scratch_,
                    data_->images() ? std::nullopt : plan_evaluation(data_->spec(), shared_limit_),
                    device_properties(device_).multiprocessors);
  return *scorer_;
}

Attacker& CudaWave::attacker() {
  scorer_.reset();
  if (!attacker_)
    attacker_.emplace(*data_, scratch_, shared_limit_, device_properties(device_).multiprocessors,
                      interrupt_);
  return *attacker_;
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

void CudaWave::initialize(int member, const Initialization& init, std::uint32_t seed) {
  check(member);
  use_device();
  data_->initialize(member, init, seed);
}

void CudaWave::store(int member, std::span<float> parameters) const {
  check(member);
  use_device();
  data_->store(member, parameters);
}

void CudaWave::show(std::span<const Data> data) {
  require(trainer_ == nullptr, "wave: other data while it trains");
  require(data.size() == seeds_.size(), "wave: {} data sets for {} members", data.size(), seeds_.size());
  const DataClock clock;
  use_device();
  scorer_.reset(), attacker_.reset();
  data_->stream().synchronize();
  const MlpSpec spec = data_->spec();
  DeviceBuffer<float> parameters = data_->take_parameters();
  data_.emplace(WaveRequest{&spec, data, seeds_, {}, threads_, interrupt_}, std::move(parameters));
  data_->stream().synchronize();
}

Trainer& CudaWave::trainer() const {
  require(trainer_ != nullptr, "train: the wave was opened without trainings");
  use_device();
  return *trainer_;
}

TrainingState CudaWave::training_state(int member) const {
  check(member);
  return trainer().state(member);
}

void CudaWave::resume(int member, const TrainingState& state) {
  check(member);
  trainer().resume(member, state);
}

void CudaWave::train(std::span<const std::int64_t> updates) { trainer().train(updates); }

void CudaWave::score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
                     std::span<WaveScore> scores) {
  use_device();
  scorer().score(members, split, variant, auc, scores);
}

void CudaWave::logits(int member, Split split, const Randomization& variant, std::span<float> out) {
  check(member);
  use_device();
  scorer().logits(member, split, variant, out);
}

void CudaWave::logits(int member, std::span<const float> x, std::span<float> out) {
  check(member);
  use_device();
  scorer().logits(member, x, out);
}

void CudaWave::score(std::span<const int> members, Split split, std::span<const Shift> shifts, bool auc,
                     std::span<WaveScore> scores) {
  use_device();
  scorer().score(members, split, shifts, auc, scores);
}

void CudaWave::input_gradient(int member, std::span<const float> x, std::span<const float> logit_gradient,
                              std::span<float> gradient) {
  check(member);
  use_device();
  attacker().input_gradient(member, x, logit_gradient, gradient);
}

void CudaWave::ranges(std::span<const int> members, Split split, std::span<DataRange> out) {
  use_device();
  attacker().ranges(members, split, out);
}

void CudaWave::perturb(std::span<const int> members, Split split, std::span<const Pgd> attacks,
                       std::span<Perturbed> out) {
  use_device();
  attacker().perturb(members, split, attacks, out);
}

void CudaWave::fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                             std::span<std::vector<float>> out) {
  use_device();
  attacker().fit_universal(members, split, attacks, out);
}

}  // namespace occam::cuda
