#include "cuda/trainer.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "cuda/tiled_trainer.hpp"

namespace occam::cuda {

namespace {

class ResidentTrainer final : public Trainer {
 public:
  ResidentTrainer(WaveData& data, std::span<const Training> trainings, std::vector<ResidentPlan> plans)
      : Trainer(data, trainings), plans_(std::move(plans)) {}

 private:
  void launch_updates(std::int64_t) override {
    const ResidentBody selective = plans_[0].body;
    for (const ResidentPlan& plan : plans_)
      launch_resident(data_.stream(), {wave_, data_.members(), data_.spec().loss,
                                       plan.selects() ? ResidentBody::slices : selective, plan});
  }

  std::vector<ResidentPlan> plans_;
};

// Whether no gradient needs device memory.
bool are_on_chip(std::span<const TensorPlan> plans) {
  return std::all_of(plans.begin(), plans.end(), [](const TensorPlan& plan) { return plan.gradients >= 0; });
}

class TensorTrainer final : public Trainer {
 public:
  TensorTrainer(WaveData& data, std::span<const Training> trainings, std::vector<TensorPlan> plans)
      : Trainer(data, trainings), plans_(std::move(plans)) {
    if (are_on_chip(plans_)) return;
    gradients_ =
        DeviceBuffer<float>("gradients", trainings.size() * static_cast<std::size_t>(data.layout().stride()));
    fill(data.stream(), gradients_);
  }

 private:
  void launch_updates(std::int64_t) override {
    const TensorBody selective = plans_[0].body;
    for (const TensorPlan& plan : plans_)
      launch_resident_tensor(data_.stream(), {wave_, data_.members(), data_.spec().loss, gradients_.data(),
                                              plan.selects() ? TensorBody::slices : selective, plan});
  }

  std::vector<TensorPlan> plans_;
  DeviceBuffer<float> gradients_;
};

}  // namespace

Trainer::Trainer(WaveData& data, std::span<const Training> trainings)
    : data_(data), needs_(data.spec(), trainings, data.images()), batch_(trainings[0].batch),
      host_progress_(trainings.size()) {
  const int batch = batch_;
  for (std::size_t i = 0; i < trainings.size(); ++i) {
    require(trainings[i].batch == batch,
            "wave: member {} has batches of {}, member 0 of {}; they must be equal", i, trainings[i].batch,
            batch);
    require(trainings[i].precision == trainings[0].precision,
            "wave: member {} has precision {}, member 0 {}; they must be equal", i,
            name_of(trainings[i].precision), name_of(trainings[0].precision));
    require(rows(data.data(static_cast<int>(i)), Split::train) >= 1, "wave: member {} has no training rows",
            i);
    rates_.push_back({trainings[i].optimizer, trainings[i].schedule});
  }
  const std::size_t members = trainings.size();
  const std::size_t parameters = members * static_cast<std::size_t>(data.layout().stride());
  progress_ = DeviceBuffer<Progress>("progress", members);
  if (needs_.slots > 0) state0_ = DeviceBuffer<float>("optimiser state 0", parameters);
  if (needs_.slots > 1) state1_ = DeviceBuffer<float>("optimiser state 1", parameters);
  for (DeviceBuffer<float>* state : {&state0_, &state1_})
    if (!state->empty()) fill(data.stream(), *state);
  wave_ = {data.device_members(), progress_.data(), data.parameters(),
           state0_.data(),        state1_.data(),   data.layout().stride()};
}

void Trainer::train(std::span<const std::int64_t> updates) {
  require(updates.size() == host_progress_.size(), "train: {} update counts for {} members", updates.size(),
          host_progress_.size());
  for (std::size_t i = 0; i < updates.size(); ++i)
    require(updates[i] >= 0, "train: member {} is asked for {} updates", i, updates[i]);
  const NvtxRange range{"train"};
  std::vector<std::int64_t> left(updates.begin(), updates.end());
  for (;;) {
    std::int64_t most = 0;
    for (std::size_t i = 0; i < left.size(); ++i) {
      Progress& progress = host_progress_[i];
      const std::int64_t of_rate = updates_of_rate(i);
      progress.remaining = of_rate == 0 ? left[i] : std::min(left[i], of_rate - progress.update % of_rate);
      most = std::max(most, progress.remaining);
    }
    if (most == 0) break;
    set_learning_rates();
    copy_to_device(data_.stream(), progress_, host_progress_);
    launch_updates(most);
    for (std::size_t i = 0; i < left.size(); ++i) {
      left[i] -= host_progress_[i].remaining;
      host_progress_[i].update += std::exchange(host_progress_[i].remaining, 0);
    }
  }
  data_.stream().synchronize();
}

int Trainer::slots_of(int member) const {
  return law::state_slots(rates_[static_cast<std::size_t>(member)].optimizer);
}

TrainingState Trainer::state(int member) {
  TrainingState state{host_progress_[static_cast<std::size_t>(member)].update, {}};
  for (int slot = 0; slot < slots_of(member); ++slot) {
    std::vector<float>& values =
        state.optimizer.emplace_back(static_cast<std::size_t>(data_.layout().total()));
    data_.store((slot == 0 ? state0_ : state1_).data(), member, values);
  }
  return state;
}

void Trainer::resume(int member, const TrainingState& state) {
  require_state(state, slots_of(member), data_.layout().total());
  host_progress_[static_cast<std::size_t>(member)].update = state.updates;
  for (std::size_t slot = 0; slot < state.optimizer.size(); ++slot)
    data_.load((slot == 0 ? state0_ : state1_).data(), member, state.optimizer[slot]);
}

std::int64_t Trainer::updates_of_rate(std::size_t member) const {
  const std::int64_t epochs = rates_[member].schedule.epochs;
  if (epochs == 0) return 0;
  const std::int64_t all = data_.member(static_cast<int>(member)).rows[static_cast<int>(Split::train)];
  return epochs * ((all + batch_ - 1) / batch_);
}

void Trainer::set_learning_rates() {
  bool changed = false;
  for (std::size_t i = 0; i < rates_.size(); ++i) {
    const std::int64_t of_rate = updates_of_rate(i);
    if (of_rate == 0 || host_progress_[i].remaining == 0) continue;
    Rate& rate = rates_[i];
    const std::int64_t epoch = host_progress_[i].update / of_rate * rate.schedule.epochs;
    if (epoch == std::exchange(rate.epoch, epoch)) continue;
    Optimizer optimizer = rate.optimizer;
    optimizer.learning_rate = law::learning_rate(optimizer, rate.schedule, epoch);
    data_.set_optimizer(static_cast<int>(i), law::optimizer_constants(optimizer));
    changed = true;
  }
  if (changed) data_.upload_members();
}

std::unique_ptr<Trainer> make_trainer(WaveData& data, std::span<const Training> trainings,
                                      std::size_t shared_limit) {
  if (trainings[0].precision != Precision::fp32) {
    std::vector<TensorPlan> plans = plan_tensor(data.spec(), trainings, shared_limit, data.images());
    if (!plans.empty()) return std::make_unique<TensorTrainer>(data, trainings, std::move(plans));
  } else {
    std::vector<ResidentPlan> plans = plan_resident(data.spec(), trainings, shared_limit, data.images());
    if (!plans.empty()) return std::make_unique<ResidentTrainer>(data, trainings, std::move(plans));
  }
  return std::make_unique<TiledTrainer>(data, trainings, shared_limit);
}

std::int64_t training_bytes(const MlpSpec& spec, std::span<const Training> trainings,
                            std::size_t shared_limit, bool images) {
  const std::int64_t state =
      TrainingNeeds(spec, trainings).slots * DeviceLayout(spec).stride() * static_cast<int>(sizeof(float));
  const auto fixed = static_cast<std::int64_t>(sizeof(Progress)) + state;
  const std::int64_t tiled = fixed + TiledTrainer::member_bytes(spec, trainings, images);
  if (trainings[0].precision == Precision::fp32)
    return plan_resident(spec, trainings, shared_limit, images).empty() ? tiled : fixed;
  const std::vector<TensorPlan> plans = plan_tensor(spec, trainings, shared_limit, images);
  if (plans.empty()) return tiled;
  // Plans of sizes not compiled keep gradients on the chip where that fits. Some of these members may have a plan where
  // it does not, though that of all has.
  const bool sized = std::ranges::all_of(plans, [](const TensorPlan& plan) { return plan.selects(); });
  return sized ? fixed : fixed + DeviceLayout(spec).stride() * static_cast<int>(sizeof(float));
}

}  // namespace occam::cuda
