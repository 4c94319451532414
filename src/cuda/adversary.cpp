#include "cuda/adversary.hpp"

#include <algorithm>
#include <vector>

#include "batch.hpp"
#include "cuda/pgd_steps.hpp"

namespace occam::cuda {

Adversary::Adversary(WaveData& data, std::span<const Training> trainings, std::optional<PgdPlan> plan)
    : data_(data), plan_(plan), pass_(data) {
  std::vector<law::AttackConstants> attacks;
  for (std::size_t i = 0; i < trainings.size(); ++i) {
    law::AttackConstants attack{};  // no runs
    if (const auto& adversary = trainings[i].adversary) attack = law::attack_constants(*adversary);
    attack.batch = trainings[i].batch;  // so that a row's batch is all that is in hand
    attack.seed = data.member(static_cast<int>(i)).order_seed;
    iterations_ = std::max(iterations_, attack.iterations), restarts_ = std::max(restarts_, attack.restarts);
    attacks.push_back(attack);
  }
  const std::size_t members = trainings.size(), rows = members * static_cast<std::size_t>(trainings[0].batch);
  const auto inputs = static_cast<std::size_t>(data.spec().inputs),
             stride = static_cast<std::size_t>(padded(data.spec().inputs)),
             outputs = static_cast<std::size_t>(data.spec().outputs());
  attacks_ = DeviceBuffer<law::AttackConstants>("adversaries", members);
  copy_to_device(data.stream(), attacks_, attacks);
  labels_ = DeviceBuffer<std::int32_t>("batch labels", rows);
  worst_ = DeviceBuffer<float>("perturbations that count", rows * inputs);
  worst_logits_ = DeviceBuffer<float>("logits that count", rows * outputs);
  if (plan_) return;
  pass_.ensure_rows(static_cast<std::int64_t>(rows));
  turns_ = DeviceBuffer<AttackTurn>("adversaries' turns", members);
  fill(data.stream(), turns_);
  rows_now_ = DeviceBuffer<int>("adversaries' rows", members);
  perturbation_ = DeviceBuffer<float>("perturbations", rows * stride);
  moved_ = DeviceBuffer<float>("moved rows", rows * stride);
  worst_loss_ = DeviceBuffer<float>("losses that count", rows);
}

std::int64_t Adversary::floats_per_row(const DeviceLayout& layout, const MlpSpec& spec) {
  return InferencePass::floats_per_row(layout) + 2 * padded(spec.inputs) + spec.inputs + spec.outputs() + 2;
}

void Adversary::gather_moved(const WaveView& wave, const Slots& slots, const std::uint32_t* batch, float* x) {
  Stream& stream = data_.stream();
  const MlpSpec& spec = data_.spec();
  launch_gather(stream, {wave, slots, spec.inputs, batch, x, labels_.data()});
  PgdArguments a{};
  a.rows.slots = slots;
  a.rows.labels = labels_.data(), a.rows.pitch = slots.capacity;
  a.attacks = attacks_.data(), a.progress = wave.progress;
  a.classes = spec.classes, a.inputs = spec.inputs, a.outputs = spec.outputs();
  a.x = x;
  a.worst = worst_.data(), a.worst_logits = worst_logits_.data();
  if (plan_) {
    launch_fused_pgd(stream, {wave, a, *plan_});
  } else {
    PgdArguments steps = a;
    steps.rows.slots.rows = rows_now_.data();
    steps.turns = turns_.data(), steps.worst_loss = worst_loss_.data();
    steps.perturbation = perturbation_.data(), steps.moved = moved_.data();
    steps.logit_gradient = pass_.logit_gradient();
    run_pgd(data_, pass_, {slots.rows, turns_.data(), rows_now_.data()}, steps, iterations_, restarts_, {});
  }
  launch_pgd_apply(stream, a, x);
}

}  // namespace occam::cuda
