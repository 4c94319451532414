#include "cuda/scorer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cuda/sort.hpp"
#include "forward.hpp"
#include "law/sum.hpp"

namespace occam::cuda {

namespace {

// What lies ready for all rows of a member: labels and targets, losses and predictions where one launch makes
// them, donors; and of each list keys as they are, sorted, and between the passes of the sort, beside its sums.
std::int64_t ready_bytes(std::int64_t rows, int lists, bool at_once, bool variant) {
  return rows * (8 + (at_once ? 8 : 0) + (variant ? 4 : 0) + 24 * lists) +
         lists * static_cast<std::int64_t>(sizeof(RankSum) + 2 * sizeof(std::int64_t));
}

// Of a row in hand: itself before and after the rotation, its activations, its loss and class.
std::int64_t row_bytes_of(const DeviceLayout& layout, int inputs, bool floats) {
  const std::int64_t stride = floats ? padded(inputs) : 0;
  return static_cast<std::int64_t>(sizeof(float)) * (2 * stride + 2 * layout.widest() + 2);
}

}  // namespace

std::int64_t Scorer::least_bytes(const MlpSpec& spec, std::int64_t rows) {
  return ready_bytes(rows, lists_of(spec.outputs()), true, true) +
         law::kLanes * row_bytes_of(DeviceLayout(spec), spec.inputs, true);
}

// ---- groups and their scratch -----------------------------------------------------------------------------

std::int64_t Scorer::row_bytes(bool floats) const {
  return row_bytes_of(data_.layout(), data_.spec().inputs, floats);
}

// How many of the members go together: half of the scratch for what lies ready for all rows, half for the
// rows in hand, of which a member has 32 at least.
int Scorer::group_size(std::span<const int> members, Split split, int lists, bool variant,
                       bool floats) const {
  const std::int64_t ready = ready_bytes(data_.longest(members, split), lists, plan_.has_value(), variant);
  const std::int64_t bytes = std::max(ready, law::kLanes * row_bytes(floats));
  return static_cast<int>(
      std::clamp<std::int64_t>(budget_ / 2 / bytes, 1, static_cast<std::int64_t>(members.size())));
}

Scorer::Group Scorer::open_group(std::span<const int> members, Split split, bool floats) {
  Group group{members, split, data_.longest(members, split), 0, floats};
  const auto slots = static_cast<std::int64_t>(members.size());
  const std::int64_t rows =
      std::min({budget_ / 2 / (slots * row_bytes(floats)), kMaxChunk, round_up(group.pitch, law::kLanes)});
  group.capacity = static_cast<int>(std::max<std::int64_t>(rows / law::kLanes, 1) * law::kLanes);

  Stream& stream = data_.stream();
  copy_to_device(stream, ensure(member_, "score members", slots), members.data(), members.size());
  std::vector<std::int64_t> all_rows;
  for (const int m : members) all_rows.push_back(data_.member(m).rows[static_cast<int>(split)]);
  copy_to_device(stream, ensure(rows_, "score row counts", slots), all_rows.data(), all_rows.size());
  ensure(rows_in_hand_, "score rows in hand", slots);
  ensure(labels_, "score labels", slots * group.pitch);
  return group;
}

// Room for a group's rows in hand.
void Scorer::ensure_chunk(const Group& group) {
  const auto in_hand = static_cast<std::int64_t>(group.members.size()) * group.capacity;
  const std::int64_t stride = padded(data_.spec().inputs);
  if (group.floats) ensure(plain_, "score rows before the rotation", in_hand * stride);
  if (group.floats) ensure(x_, "score rows", in_hand * stride);
  ensure_activations(in_hand * data_.layout().widest());
}

// Whole rows of logits go to the host, with padding that no kernel writes.
void Scorer::ensure_activations(std::int64_t count) {
  for (DeviceBuffer<float>& activations : activations_) {
    if (static_cast<std::int64_t>(activations.size()) >= count) continue;
    ensure(activations, "score activations", count);
    fill(data_.stream(), activations);
  }
}

Slots Scorer::slots(const Group& group) const {
  return {static_cast<int>(group.members.size()), group.capacity, member_.data(), rows_in_hand_.data()};
}

SplitRows Scorer::split_rows(const Group& group, std::int64_t first, bool variant) {
  return {.members = data_.device_members(),
          .slots = slots(group),
          .split = group.split,
          .first = first,
          .inputs = data_.spec().inputs,
          .labels = labels_.data(),
          .pitch = group.pitch,
          .donors = variant ? donors_.data() : nullptr,
          .randomized = randomized_.data(),
          .plain = plain_.data(),
          .x = x_.data()};
}

void Scorer::generate_training_rows() {
  std::vector<int> slabs;
  for (int m = 0; m < data_.members(); ++m)
    if (data_.member(m).columns && data_.member(m).train_x) slabs.push_back(m);
  const NvtxRange range{"training rows"};
  for (std::size_t done = 0; done < slabs.size();) {
    const auto rest = std::span<const int>(slabs).subspan(done);
    const Group group = open_group(
        rest.first(static_cast<std::size_t>(group_size(rest, Split::train, 0, false, true))), Split::train);
    ensure_chunk(group);
    SplitRows rows = split_rows(group, 0, false);
    rows.labels = nullptr;  // the members' own places
    rows.x = nullptr;
    launch_split_labels(data_.stream(), rows);
    for (; rows.first < group.pitch; rows.first += group.capacity) {
      launch_chunk_rows(data_.stream(), rows.members, member_.data(), rows.slots.count, rows.split,
                        rows.first, group.capacity, rows_in_hand_.data());
      launch_split_rows(data_.stream(), rows);
    }
    done += group.members.size();
  }
}

// ---- logits -----------------------------------------------------------------------------------------------

// Which coordinates are randomised, and every row's donor.
void Scorer::prepare_variant(const Group& group, const Randomization& variant) {
  const int inputs = data_.spec().inputs;
  std::vector<unsigned char> randomized(static_cast<std::size_t>(inputs), 0);
  for (const int coordinate : variant.coordinates) {
    require(coordinate >= 0 && coordinate < inputs, "coordinate {} is outside 0 … {}", coordinate,
            inputs - 1);
    randomized[static_cast<std::size_t>(coordinate)] = 1;
  }
  Stream& stream = data_.stream();
  copy_to_device(stream, ensure(randomized_, "randomised coordinates", inputs), randomized.data(),
                 randomized.size());
  const auto slots = static_cast<std::int64_t>(group.members.size());
  std::uint32_t* donor = ensure(donors_, "donors", slots * group.pitch);
  if (variant.kind == Randomization::Kind::permute)
    return launch_permuted_donors(stream, split_rows(group, 0, false), salt(variant), donor);
  for (std::size_t slot = 0; slot < group.members.size(); ++slot) {
    const Data& data = data_.data(group.members[slot]);
    const std::vector<std::uint32_t> of_member = donors(variant, seed(data), labels(data, group.split));
    copy_to_device(stream, donor + static_cast<std::int64_t>(slot) * group.pitch, of_member.data(),
                   of_member.size());
  }
}

// x: [slots][capacity][padded inputs], or null for the members' own training rows, or images, of a split.
const float* Scorer::forward(const Slots& slots, Split split, const float* x, std::int64_t first_row) {
  const WaveView wave{data_.device_members(), nullptr, data_.parameters(), nullptr, nullptr,
                      data_.layout().stride()};
  const float* input = x;
  float* output = nullptr;
  for (const LayerView& layer : data_.layout().layers()) {
    output = activations_[layer.number % 2].data();
    const ForwardArguments arguments{.wave = wave,
                                     .slots = slots,
                                     .layer = layer,
                                     .input = input,
                                     .batch = nullptr,
                                     .first_row = first_row,
                                     .kept = nullptr,
                                     .output = output,
                                     .training = false};
    if (!input && data_.images())
      launch_shape_forward(data_.stream(), {arguments, split});
    else
      launch_forward(data_.stream(), arguments);
    input = output;
  }
  return output;
}

void Scorer::for_each_chunk(const Group& group, bool variant, const EachChunk& each) {
  Stream& stream = data_.stream();
  ensure_chunk(group);
  const bool has_rows = std::all_of(group.members.begin(), group.members.end(),
                                    [&](int m) { return data_.member(m).train_x != nullptr; });
  const bool in_place = !group.floats || (group.split == Split::train && !variant && !shifted_ && has_rows);
  for (std::int64_t first = 0; first < group.pitch; first += group.capacity) {
    const SplitRows rows = split_rows(group, first, variant);
    launch_chunk_rows(stream, rows.members, member_.data(), rows.slots.count, rows.split, first,
                      group.capacity, rows_in_hand_.data());
    if (!in_place) launch_split_rows(stream, rows);
    if (shifted_) shift_rows(group, rows);
    each(first, rows.slots, forward(rows.slots, group.split, in_place ? nullptr : x_.data(), first));
  }
}

void Scorer::copy_logits(const float* logits, std::int64_t rows, float* out) {
  const std::int64_t outputs = data_.spec().outputs(), stride = padded(data_.spec().outputs());
  std::vector<float> chunk(static_cast<std::size_t>(rows * stride));
  copy_to_host(data_.stream(), chunk.data(), logits, chunk.size());
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(chunk.data() + row * stride, outputs, out + row * outputs);
}

void Scorer::logits(int member, Split split, const Randomization& variant, std::span<float> out) {
  const std::int64_t outputs = data_.spec().outputs(),
                     all = data_.member(member).rows[static_cast<int>(split)];
  require(static_cast<std::int64_t>(out.size()) == all * outputs,
          "logits: room for {} values, there are {} rows of {}", out.size(), all, outputs);
  if (all == 0) return;
  const bool randomized = !variant.coordinates.empty();
  const Group group = open_group({&member, 1}, split, randomized || !data_.images());
  launch_split_labels(data_.stream(), split_rows(group, 0, false));
  if (randomized) prepare_variant(group, variant);
  for_each_chunk(group, randomized, [&](std::int64_t first, const Slots&, const float* logits) {
    copy_logits(logits, std::min<std::int64_t>(group.capacity, all - first), out.data() + first * outputs);
  });
}

void Scorer::logits(int member, std::span<const float> x, std::span<float> out) {
  const int inputs = data_.spec().inputs;
  const std::int64_t outputs = data_.spec().outputs(), stride = padded(inputs);
  require(x.size() % static_cast<std::size_t>(inputs) == 0 &&
              out.size() == x.size() / static_cast<std::size_t>(inputs) * static_cast<std::size_t>(outputs),
          "logits: {} values in, {} out; rows are {} in, {} out", x.size(), out.size(), inputs, outputs);
  const auto all = static_cast<std::int64_t>(x.size()) / inputs;
  if (all == 0) return;
  Group group = open_group({&member, 1}, Split::test);
  const std::int64_t fit = budget_ / 2 / row_bytes(true) / law::kLanes * law::kLanes;
  group.capacity = static_cast<int>(
      std::min(round_up(all, law::kLanes), std::clamp<std::int64_t>(fit, law::kLanes, 4096)));
  Stream& stream = data_.stream();
  float* device_x = ensure(x_, "score rows", group.capacity * stride);
  ensure_activations(static_cast<std::int64_t>(group.capacity) * data_.layout().widest());
  for (std::int64_t first = 0; first < all; first += group.capacity) {
    const int count = static_cast<int>(std::min<std::int64_t>(group.capacity, all - first));
    std::vector<float> chunk(static_cast<std::size_t>(count * stride), kPadding);
    for (std::int64_t row = 0; row < count; ++row)
      std::copy_n(x.data() + (first + row) * inputs, inputs, chunk.data() + row * stride);
    copy_to_device(stream, device_x, chunk.data(), chunk.size());
    copy_to_device(stream, rows_in_hand_.data(), &count, 1);
    copy_logits(forward(slots(group), group.split, device_x, 0), count, out.data() + first * outputs);
  }
}

// ---- scores -----------------------------------------------------------------------------------------------

void Scorer::score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
                   std::span<WaveScore> scores) {
  require(scores.size() >= members.size(), "score: room for {} scores of {} members", scores.size(),
          members.size());
  for (const int m : members)
    require(m >= 0 && m < data_.members(), "score: member {} is outside 0 … {}", m, data_.members() - 1);
  const NvtxRange range{"score"};
  const int lists = auc ? lists_of(data_.spec().outputs()) : 0;
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const bool randomized = !variant.coordinates.empty();
    // Against predictions, rows are scored as they are, too: as floats, since it is one group.
    const bool floats = randomized || !data_.images();
    const auto count = static_cast<std::size_t>(group_size(rest, split, lists, randomized, floats));
    score_group(open_group(rest.first(count), split, floats), variant, auc, scores.subspan(done, count));
    done += count;
  }
}

// In one launch rows pass through the chip alone.
EvaluationArguments Scorer::evaluation(const Group& group, bool variant) {
  const std::int64_t slices = (group.pitch + plan_->slice - 1) / plan_->slice;
  const auto slots = static_cast<std::int64_t>(group.members.size());
  const std::int64_t of_block = std::clamp<std::int64_t>(slices * slots / (4 * multiprocessors_), 1, 64);
  EvaluationArguments arguments{};
  arguments.wave = {data_.device_members(), nullptr, data_.parameters(), nullptr, nullptr,
                    data_.layout().stride()};
  arguments.rows = split_rows(group, 0, variant);
  arguments.plan = *plan_;
  arguments.loss = data_.spec().loss;
  arguments.rows_of_block = static_cast<int>(of_block) * plan_->slice;
  return arguments;
}

const std::int32_t* Scorer::predict(const Group& group) {
  const auto count = static_cast<std::int64_t>(group.members.size());
  std::int32_t* predictions = ensure(targets_, "score targets", count * group.pitch);
  if (plan_) {
    EvaluationArguments arguments = evaluation(group, false);
    arguments.predicted = predictions;
    launch_evaluation(data_.stream(), arguments);
    return predictions;
  }
  for_each_chunk(group, false, [&](std::int64_t first, const Slots& slots, const float* logits) {
    launch_predict(data_.stream(), slots, data_.spec().outputs(), logits, predictions + first, group.pitch);
  });
  return predictions;
}

void Scorer::count_at_once(const Group& group, bool variant, const Counting& counting) {
  Stream& stream = data_.stream();
  const auto count = static_cast<std::int64_t>(group.members.size());
  EvaluationArguments arguments = evaluation(group, variant);
  arguments.targets = counting.targets;
  arguments.losses = ensure(losses_, "score losses", count * group.pitch);
  arguments.predicted = ensure(predicted_, "score predictions", count * group.pitch);
  arguments.lists = lists_of(data_.spec().outputs());
  if (counting.keys) arguments.keys = keys_.data(), arguments.sums = rank_sums_.data();
  launch_evaluation(stream, arguments);
  const auto pitch = static_cast<int>(group.pitch);
  launch_chunk_rows(stream, data_.device_members(), member_.data(), static_cast<int>(count), group.split, 0,
                    pitch, rows_in_hand_.data());
  launch_tally(stream, {.slots = {static_cast<int>(count), pitch, member_.data(), rows_in_hand_.data()},
                        .labels = counting.targets,
                        .label_stride = group.pitch,
                        .losses = arguments.losses,
                        .predicted = arguments.predicted,
                        .tally = counting.tally});
}

void Scorer::count_chunks(const Group& group, bool variant, const Counting& counting) {
  Stream& stream = data_.stream();
  const auto count = static_cast<std::int64_t>(group.members.size());
  const int outputs = data_.spec().outputs();
  float* losses = ensure(losses_, "score losses", count * group.capacity);
  std::int32_t* predicted = ensure(predicted_, "score predictions", count * group.capacity);
  for_each_chunk(group, variant, [&](std::int64_t first, const Slots& slots, const float* logits) {
    const std::int32_t* targets = counting.targets + first;
    launch_row_loss(stream, {slots, data_.spec().loss, outputs, logits, targets, group.pitch, losses,
                             predicted, counting.tally});
    if (counting.keys)
      launch_score_keys(stream, {slots, outputs, lists_of(outputs), logits, targets, group.pitch,
                                 keys_.data() + first, group.pitch, rank_sums_.data()});
  });
}

void Scorer::score_group(const Group& group, const Randomization& variant, bool auc,
                         std::span<WaveScore> scores) {
  Stream& stream = data_.stream();
  const auto count = static_cast<std::int64_t>(group.members.size());
  const int lists = lists_of(data_.spec().outputs());
  const bool randomized = !variant.coordinates.empty();
  launch_split_labels(stream, split_rows(group, 0, false));
  if (randomized) prepare_variant(group, variant);
  const bool against_predictions = variant.against == Randomization::Against::predictions;
  const std::int32_t* targets = against_predictions ? predict(group) : labels_.data();

  Tally* tally = ensure(tally_, "score tallies", count);
  fill(stream, tally, static_cast<std::size_t>(count));
  if (auc) {
    ensure(keys_, "score keys", count * lists * group.pitch);
    ensure(sorted_, "sorted score keys", count * lists * group.pitch);
    fill(stream, ensure(rank_sums_, "rank sums", count * lists), static_cast<std::size_t>(count * lists));
  }
  if (plan_ && !shifted_) {
    count_at_once(group, randomized, {targets, tally, auc});
  } else {
    count_chunks(group, randomized, {targets, tally, auc});
  }
  launch_finish_tally(stream, tally, rows_.data(), static_cast<int>(count));
  std::vector<Tally> tallies(static_cast<std::size_t>(count));
  copy_to_host(stream, tallies.data(), tally, tallies.size());
  for (std::size_t i = 0; i < tallies.size(); ++i)
    scores[i] = {static_cast<std::int64_t>(tallies[i].correct), tallies[i].loss, {}};
  if (auc) add_aucs(group, lists, scores);
}

void Scorer::add_aucs(const Group& group, int lists, std::span<WaveScore> scores) {
  Stream& stream = data_.stream();
  std::vector<std::int64_t> lengths;
  for (const int m : group.members)
    lengths.insert(lengths.end(), static_cast<std::size_t>(lists),
                   data_.member(m).rows[static_cast<int>(group.split)]);
  sort_lists(stream, keys_.data(), sorted_.data(), group.pitch, lengths, 33);
  launch_rank_sums(stream, sorted_.data(), group.pitch, rows_.data(), static_cast<int>(group.members.size()),
                   lists, rank_sums_.data());
  std::vector<RankSum> sums(lengths.size());
  copy_to_host(stream, sums.data(), rank_sums_.data(), sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const RankSum& sum = sums[i];
    const bool none = sum.nan != 0 || sum.positives == 0 || sum.negatives == 0;
    scores[i / static_cast<std::size_t>(lists)].auc.push_back(
        none ? std::numeric_limits<double>::quiet_NaN()
             : static_cast<double>(sum.twice) /
                   (2.0 * static_cast<double>(sum.positives) * static_cast<double>(sum.negatives)));
  }
}

}  // namespace occam::cuda
