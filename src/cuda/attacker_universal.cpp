// Universal perturbations: on the chip, or one launch an operation.
#include <algorithm>

#include "cuda/attacker.hpp"
#include "cuda/pgd_steps.hpp"
#include "law/attack.hpp"

namespace occam::cuda {

// Of a launch, of members for each of which there is a multiprocessor: tens of milliseconds. Of more members fewer.
static constexpr std::int64_t kStepsAtOnce = 512;

void Attacker::fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                             std::span<std::vector<float>> out) {
  check(members, attacks.size(), out.size());
  const NvtxRange range{"fit universal"};
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const std::int64_t pitch = data_.longest(rest, split);
    std::int64_t batch = 1;
    for (const AsUap& attack : attacks.subspan(done)) batch = std::max<std::int64_t>(batch, attack.batch);
    batch = std::min(batch, pitch);
    const std::optional<UniversalPlan> plan = universal_plan(rest.size(), pitch, batch);
    const std::int64_t in_hand = plan ? pitch : batch;
    const std::int64_t bytes = plan ? row_bytes_on_chip() : row_bytes(0);
    const auto n = static_cast<std::size_t>(fitting_members(4 * pitch + in_hand * bytes, rest.size()));
    std::vector<law::AttackConstants> constants;
    for (const AsUap& attack : attacks.subspan(done, n)) constants.push_back(law::attack_constants(attack));
    fit_group(open_group(rest.first(n), split, static_cast<int>(in_hand), constants),
              attacks.subspan(done, n), plan, out.subspan(done, n));
    done += n;
  }
}

// What a row takes in device memory where it passes through the network on the chip.
std::int64_t Attacker::row_bytes_on_chip() const {
  return 2 * static_cast<std::int64_t>(sizeof(float)) * padded(data_.spec().inputs);
}

// A block takes a member's steps one after the other, so for few members more blocks do more: on an H200, by the
// machine's prediction, a step of 256 rows of (200,1) takes a block 58 us, and launches 139 us where members are as many
// as multiprocessors, fewer in proportion, beside some 15 to 30 us of the launches themselves.
// All rows of a member are in hand.
std::optional<UniversalPlan> Attacker::universal_plan(std::size_t members, std::int64_t pitch,
                                                      std::int64_t batch) const {
  const std::int64_t fit = budget_ / (pitch * (4 + row_bytes_on_chip()));
  if (std::min(static_cast<std::int64_t>(members), fit) * 4 < multiprocessors_) return std::nullopt;
  return plan_universal(data_.spec(), batch, shared_limit_);
}

void Attacker::fit_group(const Group& group, std::span<const AsUap> attacks,
                         const std::optional<UniversalPlan>& plan, std::span<std::vector<float>> out) {
  Stream& stream = data_.stream();
  const std::int64_t inputs = data_.spec().inputs, slots = group.slots();
  std::vector<std::int64_t> steps;
  for (std::size_t k = 0; k < attacks.size(); ++k) {
    const std::int64_t batches = (group.rows[k] + attacks[k].batch - 1) / attacks[k].batch;
    steps.push_back(batches * attacks[k].epochs * attacks[k].iterations);
  }
  copy_to_device(stream, ensure(steps_, "attack steps", slots), steps.data(), steps.size());
  const UniversalArguments universal{
      .rows = attack_rows(group),
      .attacks = attacks_.data(),
      .classes = data_.spec().classes,
      .inputs = data_.spec().inputs,
      .x = x_.data(),
      .universal = ensure(universal_, "universal perturbations", slots * inputs)};
  fill(stream, universal_);
  if (plan)
    step_on_chip(group, universal, *plan, *std::ranges::max_element(steps));
  else
    step_by_step(group, universal, attacks, steps);
  std::vector<float> all(static_cast<std::size_t>(slots * inputs));
  copy_to_host(stream, all.data(), universal_.data(), all.size());
  for (std::int64_t k = 0; k < slots; ++k)
    out[static_cast<std::size_t>(k)].assign(all.data() + k * inputs, all.data() + (k + 1) * inputs);
}

void Attacker::step_by_step(const Group& group, const UniversalArguments& of_group,
                            std::span<const AsUap> attacks, std::span<const std::int64_t> steps) {
  Stream& stream = data_.stream();
  const std::int64_t slots = group.slots(), in_hand = slots * group.capacity;
  pass_.ensure_rows(in_hand);
  UniversalArguments universal = of_group;
  universal.moved = ensure(moved_, "moved rows", in_hand * padded(universal.inputs));
  universal.gradient = ensure(gradient_, "gradients of universal perturbations", slots * universal.inputs);
  PgdArguments loss{};
  loss.rows = universal.rows, loss.attacks = attacks_.data();
  loss.classes = universal.classes, loss.inputs = universal.inputs, loss.outputs = data_.spec().outputs();
  loss.logit_gradient = pass_.logit_gradient();
  SplitRows rows = split_rows(group);  // rows_in_hand_: those of batches that begin
  rows.firsts = firsts_.data();
  const Graph one = capture(stream, [&] {
    launch_universal_shift(stream, universal);
    loss.logits = pass_.forward(universal.rows.slots, moved_.data());
    launch_pgd_loss_gradient(stream, loss);
    pass_.backward(universal.rows.slots, moved_.data());
    launch_universal_step(stream, universal);
  });
  const std::int64_t most = *std::ranges::max_element(steps);
  for (std::int64_t step = 0; step < most; ++step) {
    heed_before(step, interrupt_, stream);
    launch_universal_turn(stream, step, attacks_.data(), all_rows_.data(), steps_.data(), group.slots(),
                          firsts_.data(), rows_now_.data(), rows_in_hand_.data());
    bool fresh = false;
    for (std::size_t k = 0; k < attacks.size(); ++k)
      fresh |= step < steps[k] && step % attacks[k].iterations == 0;
    if (fresh) launch_split_rows(stream, rows);
    one.launch(stream);
  }
}

void Attacker::step_on_chip(const Group& group, const UniversalArguments& universal,
                            const UniversalPlan& plan, std::int64_t steps) {
  Stream& stream = data_.stream();
  const SplitRows rows = split_rows(group);
  launch_chunk_rows(stream, rows.members, member_.data(), rows.slots.count, rows.split, 0, group.capacity,
                    rows_in_hand_.data());
  launch_split_rows(stream, rows);
  const WaveView wave{data_.device_members(), nullptr, data_.parameters(), nullptr, nullptr,
                      data_.layout().stride()};
  FusedUniversalArguments a{wave, universal, data_.spec().outputs(), steps_.data(), 0, 0, plan};
  const std::int64_t rounds = (group.slots() + multiprocessors_ - 1) / multiprocessors_;
  const std::int64_t at_once = std::max<std::int64_t>(kStepsAtOnce / rounds, 1);
  for (; a.first_step < steps; a.first_step = a.last_step) {
    heed(interrupt_);
    a.last_step = std::min(steps, a.first_step + at_once);
    launch_fused_universal(stream, a);
    stream.synchronize();  // so that a request to stop is heeded
  }
}

}  // namespace occam::cuda
