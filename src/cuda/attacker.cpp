#include "cuda/attacker.hpp"

#include <algorithm>

#include "cuda/pgd_steps.hpp"
#include "law/sum.hpp"

namespace occam::cuda {

namespace {

constexpr std::int64_t kMaxChunk = 1 << 14;  // rows; enough to fill a device with one member
constexpr std::int64_t kStepsAtOnce = 1
                                      << 9;  // of universal perturbations in one launch, tens of milliseconds

std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

void check_members(const WaveData& data, std::span<const int> members, std::size_t attacks,
                   std::size_t room) {
  require(attacks == members.size() && room >= members.size(),
          "attack: {} members, {} attacks, room for {} results", members.size(), attacks, room);
  for (const int m : members)
    require(m >= 0 && m < data.members(), "attack: member {} is outside 0 … {}", m, data.members() - 1);
}

std::int64_t longest(const WaveData& data, std::span<const int> members, Split split) {
  std::int64_t rows = 1;
  for (const int m : members) rows = std::max(rows, data.member(m).rows[static_cast<int>(split)]);
  return rows;
}

// Rows as matrices on the device have them. x: [rows][width]
std::vector<float> padded_rows(const float* x, std::int64_t rows, std::int64_t width) {
  const std::int64_t stride = padded(static_cast<int>(width));
  std::vector<float> result(static_cast<std::size_t>(rows * stride), kPadding);
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(x + row * width, width, result.data() + row * stride);
  return result;
}

}  // namespace

// ---- groups and their scratch -----------------------------------------------------------------------------

std::int64_t Attacker::row_bytes(std::int64_t tracked) const {
  const std::int64_t inputs = data_.spec().inputs, outputs = data_.spec().outputs();
  return static_cast<std::int64_t>(sizeof(float)) *
         (4 * padded(data_.spec().inputs) + InferencePass::floats_per_row(data_.layout()) + inputs +
          outputs * (1 + tracked) + 1);
}

std::int64_t Attacker::fitting_members(std::int64_t bytes_of_member, std::size_t members) const {
  return std::clamp<std::int64_t>(budget_ / bytes_of_member, 1,
                                  std::min<std::int64_t>(static_cast<std::int64_t>(members), kMaxSlots));
}

// Uploads what is known of the members and makes room for their rows in hand; labels of all their rows.
Attacker::Group Attacker::open_group(std::span<const int> members, Split split, int capacity,
                                     std::span<const law::AttackConstants> attacks) {
  Group group{members, split, {}, longest(data_, members, split), capacity};
  for (const int m : members) group.rows.push_back(data_.member(m).rows[static_cast<int>(split)]);
  Stream& stream = data_.stream();
  const std::int64_t slots = group.slots(), in_hand = slots * capacity;
  copy_to_device(stream, ensure(member_, "attack members", slots), members.data(), members.size());
  copy_to_device(stream, ensure(all_rows_, "attack row counts", slots), group.rows.data(), group.rows.size());
  copy_to_device(stream, ensure(attacks_, "attacks", slots), attacks.data(), attacks.size());
  for (DeviceBuffer<int>* rows : {&rows_in_hand_, &rows_now_}) ensure(*rows, "attack rows in hand", slots);
  ensure(firsts_, "attack first rows", slots);
  ensure(labels_, "attack labels", slots * group.pitch);
  for (DeviceBuffer<float>* rows : {&plain_, &x_})
    ensure(*rows, "attack rows", in_hand * padded(data_.spec().inputs));
  launch_split_labels(stream, split_rows(group));
  return group;
}

SplitRows Attacker::split_rows(const Group& group) {
  return {.members = data_.device_members(),
          .slots = {group.slots(), group.capacity, member_.data(), rows_in_hand_.data()},
          .split = group.split,
          .first = 0,
          .inputs = data_.spec().inputs,
          .labels = labels_.data(),
          .pitch = group.pitch,
          .donors = nullptr,
          .randomized = nullptr,
          .plain = plain_.data(),
          .x = x_.data()};
}

AttackRows Attacker::attack_rows(const Group& group) {
  return {.slots = {group.slots(), group.capacity, member_.data(), rows_now_.data()},
          .first = 0,
          .firsts = firsts_.data(),
          .all = all_rows_.data(),
          .labels = labels_.data(),
          .pitch = group.pitch};
}

// ---- projected gradient descent ---------------------------------------------------------------------------

void Attacker::perturb(std::span<const int> members, Split split, std::span<const Pgd> attacks,
                       std::span<Perturbed> out) {
  check_members(data_, members, attacks.size(), out.size());
  const NvtxRange range{"perturb"};
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const std::int64_t pitch = longest(data_, rest, split);
    std::int64_t tracked = 0;
    for (const Pgd& attack : attacks.subspan(done))
      if (attack.track) tracked = std::max<std::int64_t>(tracked, attack.iterations);
    const std::int64_t bytes = row_bytes(tracked), most = round_up(std::min(pitch, kMaxChunk), law::kLanes);
    const std::int64_t count =
        fitting_members(4 * pitch + std::min<std::int64_t>(most, 256) * bytes, rest.size());
    const std::int64_t rows = std::min(most, (budget_ / count - 4 * pitch) / bytes);
    const int capacity = static_cast<int>(std::max<std::int64_t>(rows / law::kLanes, 1) * law::kLanes);
    const auto n = static_cast<std::size_t>(count);
    const std::span<const Pgd> of_group = attacks.subspan(done, n);
    std::vector<law::AttackConstants> constants;
    for (const Pgd& attack : of_group) constants.push_back(law::attack_constants(attack));
    perturb_group(open_group(rest.first(n), split, capacity, constants), of_group, out.subspan(done, n));
    done += n;
  }
}

void Attacker::perturb_group(const Group& group, std::span<const Pgd> attacks, std::span<Perturbed> out) {
  Stream& stream = data_.stream();
  const std::int64_t inputs = data_.spec().inputs, outputs = data_.spec().outputs();
  int iterations = 0, restarts = 1, tracked = 0;
  for (std::size_t k = 0; k < attacks.size(); ++k) {
    const law::AttackConstants constants = law::attack_constants(attacks[k]);
    iterations = std::max(iterations, constants.iterations);
    restarts = std::max(restarts, constants.restarts);
    if (attacks[k].track) tracked = std::max(tracked, constants.iterations);
    const auto rows = static_cast<std::size_t>(group.rows[k]);
    out[k].perturbation.resize(rows * static_cast<std::size_t>(inputs));
    out[k].logits.resize(rows * static_cast<std::size_t>(outputs));
    out[k].tracked.resize(attacks[k].track ? static_cast<std::size_t>(constants.iterations * outputs) * rows
                                           : 0);
  }
  if (!plan_) pass_.ensure_rows(static_cast<std::int64_t>(group.slots()) * group.capacity);
  const PgdArguments arguments = pgd_arguments(group, tracked);
  const PgdCounters counters{rows_in_hand_.data(), turns_.data(), rows_now_.data()};
  Graph iteration;
  if (!plan_ && iterations > 0)
    iteration = capture(stream, [&] { iterate_pgd(data_, pass_, counters, arguments); });
  SplitRows rows = split_rows(group);
  for (; rows.first < group.pitch; rows.first += group.capacity) {
    const std::vector<std::int64_t> firsts(group.members.size(), rows.first);
    copy_to_device(stream, firsts_.data(), firsts.data(), firsts.size());
    launch_chunk_rows(stream, rows.members, member_.data(), rows.slots.count, rows.split, rows.first,
                      group.capacity, rows_in_hand_.data());
    launch_split_rows(stream, rows);
    heed(interrupt_);
    if (plan_) {
      run_at_once(arguments);
    } else {
      run_pgd(data_, pass_, counters, arguments, iterations, restarts, iteration, interrupt_);
    }
    copy_chunk(group, rows.first, tracked, attacks, out);
  }
}

// tracked: iterations of which the logits are kept.
PgdArguments Attacker::pgd_arguments(const Group& group, int tracked) {
  const MlpSpec& spec = data_.spec();
  const std::int64_t outputs = spec.outputs(), slots = group.slots(), in_hand = slots * group.capacity;
  PgdArguments a{};
  a.rows = attack_rows(group);
  a.attacks = attacks_.data();
  a.classes = spec.classes, a.inputs = spec.inputs, a.outputs = spec.outputs();
  a.x = x_.data();
  a.worst = ensure(worst_, "perturbations that count", in_hand * spec.inputs);
  a.worst_logits = ensure(worst_logits_, "logits that count", in_hand * outputs);
  if (tracked > 0) a.tracked = ensure(tracked_, "tracked logits", in_hand * tracked * outputs);
  a.tracked_iterations = tracked;
  if (plan_) return a;
  a.turns = ensure(turns_, "attack turns", slots);
  fill(data_.stream(), turns_);
  a.perturbation = ensure(perturbation_, "perturbations", in_hand * padded(spec.inputs));
  a.moved = ensure(moved_, "moved rows", in_hand * padded(spec.inputs));
  a.logit_gradient = pass_.logit_gradient();
  a.worst_loss = ensure(worst_loss_, "losses that count", in_hand);
  return a;
}

void Attacker::copy_chunk(const Group& group, std::int64_t first, int tracked, std::span<const Pgd> attacks,
                          std::span<Perturbed> out) {
  Stream& stream = data_.stream();
  const std::int64_t inputs = data_.spec().inputs, outputs = data_.spec().outputs();
  for (std::size_t k = 0; k < attacks.size(); ++k) {
    const std::int64_t count = std::min<std::int64_t>(group.capacity, group.rows[k] - first);
    if (count <= 0) continue;
    const auto slot = static_cast<std::int64_t>(k), place = slot * group.capacity;
    copy_to_host(stream, out[k].perturbation.data() + first * inputs, worst_.data() + place * inputs,
                 static_cast<std::size_t>(count * inputs));
    copy_to_host(stream, out[k].logits.data() + first * outputs, worst_logits_.data() + place * outputs,
                 static_cast<std::size_t>(count * outputs));
    const std::int64_t iterations = attacks[k].track ? law::attack_constants(attacks[k]).iterations : 0;
    for (std::int64_t t = 0; t < iterations; ++t)
      copy_to_host(stream, out[k].tracked.data() + (t * group.rows[k] + first) * outputs,
                   tracked_.data() + (slot * tracked + t) * group.capacity * outputs,
                   static_cast<std::size_t>(count * outputs));
  }
}

void Attacker::run_at_once(const PgdArguments& arguments) {
  PgdArguments a = arguments;
  a.rows.slots.rows = rows_in_hand_.data();
  const WaveView wave{data_.device_members(), nullptr, data_.parameters(), nullptr, nullptr,
                      data_.layout().stride()};
  launch_fused_pgd(data_.stream(), {wave, a, *plan_});
}

// ---- universal perturbations ------------------------------------------------------------------------------

void Attacker::fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                             std::span<std::vector<float>> out) {
  check_members(data_, members, attacks.size(), out.size());
  const NvtxRange range{"fit universal"};
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const std::int64_t pitch = longest(data_, rest, split);
    std::int64_t batch = 1;
    for (const AsUap& attack : attacks.subspan(done)) batch = std::max<std::int64_t>(batch, attack.batch);
    batch = std::min(batch, pitch);
    const std::optional<UniversalPlan> plan = universal_plan(rest.size(), batch);
    const std::int64_t in_hand = plan ? pitch : batch;
    const std::int64_t bytes =
        plan ? 2 * static_cast<std::int64_t>(sizeof(float)) * padded(data_.spec().inputs) : row_bytes(0);
    const auto n = static_cast<std::size_t>(fitting_members(4 * pitch + in_hand * bytes, rest.size()));
    std::vector<law::AttackConstants> constants;
    for (const AsUap& attack : attacks.subspan(done, n)) constants.push_back(law::attack_constants(attack));
    fit_group(open_group(rest.first(n), split, static_cast<int>(in_hand), constants),
              attacks.subspan(done, n), plan, out.subspan(done, n));
    done += n;
  }
}

// A block takes a member's steps one after the other, so for few members more blocks do more: on an H200, by the
// machine's prediction, a step of 256 rows takes a block as long as launches for an eighth of its multiprocessors.
std::optional<UniversalPlan> Attacker::universal_plan(std::size_t members, std::int64_t batch) const {
  if (static_cast<std::int64_t>(members) * 8 < multiprocessors_) return std::nullopt;
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
    heed(interrupt_);
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
  for (; a.first_step < steps; a.first_step = a.last_step) {
    heed(interrupt_);
    a.last_step = std::min(steps, a.first_step + kStepsAtOnce);
    launch_fused_universal(stream, a);
  }
}

// ---- what the rows are --------------------------------------------------------------------------------------

void Attacker::ranges(std::span<const int> members, Split split, std::span<DataRange> out) {
  check_members(data_, members, members.size(), out.size());
  const NvtxRange range{"ranges"};
  Stream& stream = data_.stream();
  const std::int64_t bytes = 3 * static_cast<std::int64_t>(sizeof(float)) * padded(data_.spec().inputs);
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const std::int64_t pitch = longest(data_, rest, split), most = std::min(pitch, kMaxChunk);
    const std::int64_t count =
        fitting_members(4 * pitch + std::min<std::int64_t>(most, 256) * bytes, rest.size());
    const std::int64_t capacity = std::clamp<std::int64_t>((budget_ / count - 4 * pitch) / bytes, 1, most);
    const auto n = static_cast<std::size_t>(count);
    const Group group =
        open_group(rest.first(n), split, static_cast<int>(capacity), std::vector<law::AttackConstants>(n));
    std::vector<ValueRange> seen(n, none_seen());
    copy_to_device(stream, ensure(ranges_, "ranges", count), seen.data(), n);
    SplitRows rows = split_rows(group);
    for (; rows.first < pitch; rows.first += capacity) {
      launch_chunk_rows(stream, rows.members, member_.data(), rows.slots.count, split, rows.first,
                        group.capacity, rows_in_hand_.data());
      launch_split_rows(stream, rows);
      launch_value_range(stream, rows.slots, data_.spec().inputs, x_.data(), ranges_.data());
    }
    copy_to_host(stream, seen.data(), ranges_.data(), n);
    for (std::size_t k = 0; k < n; ++k) out[done + k] = values_of(seen[k]);
    done += n;
  }
}

// ---- single members ---------------------------------------------------------------------------------------

void Attacker::input_gradient(int member, std::span<const float> x, std::span<const float> logit_gradient,
                              std::span<float> gradient) {
  const std::int64_t inputs = data_.spec().inputs, outputs = data_.spec().outputs();
  const std::int64_t stride = padded(data_.spec().inputs);
  const auto all = static_cast<std::int64_t>(x.size()) / inputs;
  require(static_cast<std::int64_t>(x.size()) == all * inputs && gradient.size() == x.size() &&
              static_cast<std::int64_t>(logit_gradient.size()) == all * outputs,
          "input gradient: {} values in, {} out, {} of the logits; rows are {} in, {} out", x.size(),
          gradient.size(), logit_gradient.size(), inputs, outputs);
  if (all == 0) return;
  Stream& stream = data_.stream();
  const std::int64_t capacity = std::min({all, std::max<std::int64_t>(budget_ / row_bytes(0), 1), kMaxChunk});
  copy_to_device(stream, ensure(member_, "attack members", 1), &member, 1);
  ensure(rows_now_, "attack rows in hand", 1);
  pass_.ensure_rows(capacity);
  ensure(moved_, "attack rows", capacity * stride);
  fill(stream, moved_);
  const Slots slots{1, static_cast<int>(capacity), member_.data(), rows_now_.data()};
  std::vector<float> chunk;
  for (std::int64_t first = 0; first < all; first += capacity) {
    const int count = static_cast<int>(std::min(capacity, all - first));
    copy_to_device(stream, rows_now_.data(), &count, 1);
    chunk = padded_rows(x.data() + first * inputs, count, inputs);
    copy_to_device(stream, moved_.data(), chunk.data(), chunk.size());
    pass_.forward(slots, moved_.data());
    const std::vector<float> seeds = padded_rows(logit_gradient.data() + first * outputs, count, outputs);
    copy_to_device(stream, pass_.logit_gradient(), seeds.data(), seeds.size());
    pass_.backward(slots, moved_.data());
    copy_to_host(stream, chunk.data(), moved_.data(), chunk.size());
    for (std::int64_t row = 0; row < count; ++row)
      std::copy_n(chunk.data() + row * stride, inputs, gradient.data() + (first + row) * inputs);
  }
}

}  // namespace occam::cuda
