#include "cuda/attacker.hpp"

#include <algorithm>

#include "cuda/pgd_steps.hpp"
#include "law/sum.hpp"

namespace occam::cuda {

namespace {

// Rows as matrices on the device have them. x: [rows][width]
std::vector<float> padded_rows(const float* x, std::int64_t rows, std::int64_t width) {
  const std::int64_t stride = padded(static_cast<int>(width));
  std::vector<float> result(static_cast<std::size_t>(rows * stride), kPadding);
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(x + row * width, width, result.data() + row * stride);
  return result;
}

}  // namespace

void Attacker::check(std::span<const int> members, std::size_t attacks, std::size_t room) const {
  require(attacks == members.size() && room >= members.size(),
          "attack: {} members, {} attacks, room for {} results", members.size(), attacks, room);
  for (const int m : members)
    require(m >= 0 && m < data_.members(), "attack: member {} is outside 0 … {}", m, data_.members() - 1);
}

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
  Group group{members, split, {}, data_.longest(members, split), capacity};
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
  check(members, attacks.size(), out.size());
  const NvtxRange range{"perturb"};
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const std::int64_t pitch = data_.longest(rest, split);
    std::int64_t tracked = 0;
    for (const Pgd& attack : attacks.subspan(done))
      if (attack.track) tracked = std::max<std::int64_t>(tracked, attack.iterations);
    const std::int64_t bytes = row_bytes(tracked), most = round_up(std::min(pitch, kMaxChunk), law::kLanes);
    const std::int64_t blocks = blocks_at_once(attacks.subspan(done));
    const std::int64_t count =
        std::min(fitting_members(4 * pitch + std::min<std::int64_t>(most, 256) * bytes, rest.size()), blocks);
    std::int64_t rows = std::min(most, (budget_ / count - 4 * pitch) / bytes);
    if (plan_) rows = std::min(rows, blocks / count * plan_->network.slice());
    const int capacity = static_cast<int>(std::max<std::int64_t>(rows / law::kLanes, 1) * law::kLanes);
    const auto n = static_cast<std::size_t>(count);
    const std::span<const Pgd> of_group = attacks.subspan(done, n);
    std::vector<law::AttackConstants> constants;
    for (const Pgd& attack : of_group) constants.push_back(law::attack_constants(attack));
    perturb_group(open_group(rest.first(n), split, capacity, constants), of_group, out.subspan(done, n));
    done += n;
  }
}

// Blocks of a launch that does all iterations of all runs: it lasts about a second on an H200, so that a request to stop is
// heeded and no watchdog of a display's GPU ends it; longer only where one round of blocks does.
std::int64_t Attacker::blocks_at_once(std::span<const Pgd> attacks) const {
  constexpr std::int64_t kIterationsAtOnce =
      1 << 15;  // of a multiprocessor, 27 us each by the machine's prediction
  std::int64_t most = 1;
  for (const Pgd& attack : attacks)
    most = std::max(most, std::int64_t{attack.iterations} * std::int64_t{attack.restarts});
  return std::max<std::int64_t>(kIterationsAtOnce / most, 1) * multiprocessors_;
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

// ---- what the rows are --------------------------------------------------------------------------------------

void Attacker::ranges(std::span<const int> members, Split split, std::span<DataRange> out) {
  check(members, members.size(), out.size());
  const NvtxRange range{"ranges"};
  Stream& stream = data_.stream();
  const std::int64_t bytes = 3 * static_cast<std::int64_t>(sizeof(float)) * padded(data_.spec().inputs);
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const std::int64_t pitch = data_.longest(rest, split), most = std::min(pitch, kMaxChunk);
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
