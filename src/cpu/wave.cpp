#include "cpu/wave.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "data_clock.hpp"
#include "law/loss.hpp"
#include "law/sum.hpp"
#include "occam/error.hpp"

namespace occam::cpu {

namespace {

constexpr std::int64_t kBlock = 512;  // rows generated, rotated or scored at a time: they stay in the cache

// Order in which rows that light the same pixels come one after the other.
auto by_place(const law::ShapePlace& p) { return std::tuple(p.shape, p.dy, p.dx); }

}  // namespace

CpuWave::CpuWave(const WaveRequest& request)
    : spec_(*request.spec), layout_(spec_), threads_(request.threads), interrupt_(request.interrupt),
      trains_(!request.trainings.empty()) {
  for (const Training& training : request.trainings)
    require(training.precision == Precision::fp32,
            "precision {}: the CPU trains in fp32 alone (use precision fp32, or a CUDA device)",
            name_of(training.precision));
  for (std::size_t m = 0; m < request.seeds.size(); ++m)
    members_.push_back(
        made(request.data[m], request.seeds[m].order, trains_ ? &request.trainings[m] : nullptr));
}

CpuWave::Member CpuWave::made(const Data& data, std::uint32_t order_seed, const Training* training) const {
  Member member;
  member.data = data;
  ImageInput input;
  if (const auto* shapes = std::get_if<ShapeData>(&member.data)) {
    member.images = images_of(*shapes, training);
    input = {&shapes->set->view(), member.images->live.data()};
  }
  member.engine = make_engine(spec_, layout_, training, order_seed, member.images ? &input : nullptr);
  const std::vector<float> matrix = rotation(member.data, interrupt_);
  if (!matrix.empty()) {
    const std::int64_t width = dim(member.data);
    member.rotation = AlignedFloats(width * padded(width));
    for (std::int64_t k = 0; k < width; ++k)
      std::copy_n(matrix.data() + k * width, width, member.rotation.data() + k * padded(width));
  }
  return member;
}

void CpuWave::show(std::span<const Data> data) {
  require(!trains_, "wave: other data while it trains");
  require(data.size() == members_.size(), "wave: {} data sets for {} members", data.size(), members_.size());
  std::vector<float> parameters(static_cast<std::size_t>(layout_.total));
  for (std::size_t m = 0; m < data.size(); ++m) {
    members_[m].engine->store(parameters.data());
    members_[m] = made(data[m], 0, nullptr);  // without training there is no order
    members_[m].engine->load(parameters.data());
  }
}

void CpuWave::load(int member, std::span<const float> parameters) {
  at(member).engine->load(parameters.data());
}

void CpuWave::initialize(int member, const Initialization& init, std::uint32_t seed) {
  std::vector<float> parameters(static_cast<std::size_t>(layout_.total));
  occam::initialize(spec_, layout_, init, seed, parameters, threads_);
  load(member, parameters);
}

void CpuWave::store(int member, std::span<float> parameters) const {
  members_[static_cast<std::size_t>(member)].engine->store(parameters.data());
}

TrainingState CpuWave::training_state(int member) const {
  const Engine& engine = *members_[static_cast<std::size_t>(member)].engine;
  TrainingState state{engine.updates(), {}};
  for (int slot = 0; slot < engine.state_slots(); ++slot)
    engine.store_state(slot, state.optimizer.emplace_back(static_cast<std::size_t>(layout_.total)).data());
  return state;
}

void CpuWave::resume(int member, const TrainingState& state) {
  Engine& engine = *at(member).engine;
  require_state(state, engine.state_slots(), layout_.total);
  engine.set_updates(state.updates);
  for (int slot = 0; slot < engine.state_slots(); ++slot)
    engine.load_state(slot, state.optimizer[static_cast<std::size_t>(slot)].data());
}

const CpuWave::Rows& CpuWave::rows(Member& member, Split split) {
  std::optional<Rows>& kept = member.rows[static_cast<std::size_t>(split)];
  if (kept) return *kept;
  const DataClock clock;
  const std::int64_t width = dim(member.data), stride = padded(width);
  Rows made;
  made.count = occam::rows(member.data, split);
  made.x = AlignedFloats(made.count * stride);
  made.labels.resize(static_cast<std::size_t>(made.count));
  const bool keep_plain = split != Split::train;
  made.plain.resize(
      static_cast<std::size_t>((keep_plain ? made.count : std::min(kBlock, made.count)) * width));
  for (std::int64_t first = 0; first < made.count; first += kBlock) {
    heed(interrupt_);
    const std::int64_t count = std::min(kBlock, made.count - first);
    float* plain = made.plain.data() + (keep_plain ? first * width : 0);
    generate(member.data, first_row(member.data, split) + first, count, plain, made.labels.data() + first);
    if (member.rotation) {
      member.engine->rotate(plain, width, count, width, member.rotation.data(),
                            made.x.data() + first * stride);
    } else {
      for (std::int64_t row = 0; row < count; ++row)
        std::copy_n(plain + row * width, width, made.x.data() + (first + row) * stride);
    }
  }
  if (!keep_plain) made.plain = {};
  return kept.emplace(std::move(made));
}

CpuWave::Images CpuWave::images_of(const ShapeData& data, const Training* training) {
  const DataClock clock;
  Images images{data.set->view(), {}, {}, {}};
  if (training) {
    images.train = shape_places(data, Split::train);
    for (const law::ShapePlace& place : images.train) images.labels.push_back(place.shape);
    // Weight decay changes weights that no row reads.
    images.live = training->optimizer.weight_decay != 0
                      ? std::vector<std::uint8_t>(static_cast<std::size_t>(dim(data)), 1)
                      : lit_pixels(images.shapes, images.train);
  }
  images.live.resize(static_cast<std::size_t>(dim(data)));
  return images;
}

void CpuWave::train(std::span<const std::int64_t> updates) {
  for (std::size_t m = 0; m < members_.size(); ++m) {
    if (updates[m] == 0) continue;
    if (const auto& images = members_[m].images) {
      members_[m].engine->train({.y = images->labels.data(),
                                 .rows = static_cast<std::int64_t>(images->train.size()),
                                 .images = {&images->shapes, images->train.data()}},
                                updates[m]);
      continue;
    }
    const Rows& train = rows(members_[m], Split::train);
    members_[m].engine->train({train.x.data(), train.labels.data(), train.count}, updates[m]);
  }
}

// Images at one place are one image, and neighbours in the order of places share the weights they read.
void CpuWave::image_logits(Member& member, Split split, float* out) {
  const std::vector<law::ShapePlace> places = shape_places(std::get<ShapeData>(member.data), split);
  std::vector<std::size_t> order(places.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t row) { return by_place(places[row]); });
  std::vector<law::ShapePlace> distinct;
  std::vector<std::size_t> image(places.size());  // of each row
  for (const std::size_t row : order) {
    if (distinct.empty() || by_place(distinct.back()) != by_place(places[row]))
      distinct.push_back(places[row]);
    image[row] = distinct.size() - 1;
  }
  const auto outputs = static_cast<std::size_t>(spec_.outputs());
  std::vector<float> logit(distinct.size() * outputs);
  member.engine->logits(ImageRows{&member.images->shapes, distinct.data()},
                        static_cast<std::int64_t>(distinct.size()), logit.data());
  for (std::size_t row = 0; row < places.size(); ++row)
    std::copy_n(logit.data() + image[row] * outputs, outputs, out + row * outputs);
}

void CpuWave::logits(Member& member, Split split, const Randomization& variant, float* out) {
  if (member.images && variant.coordinates.empty()) return image_logits(member, split, out);
  const Rows& all = rows(member, split);
  const std::int64_t outputs = spec_.outputs();
  if (variant.coordinates.empty()) return member.engine->logits(all.x.data(), all.count, out);
  const std::int64_t width = dim(member.data), stride = padded(width);
  for (const int coordinate : variant.coordinates)
    require(coordinate >= 0 && coordinate < width, "coordinate {} is outside 0 … {}", coordinate, width - 1);
  // The training rows are not kept before the rotation: a variant of them regenerates what it needs.
  std::vector<float> regenerated;
  const float* plain = all.plain.data();
  if (split == Split::train) {
    regenerated.resize(static_cast<std::size_t>(all.count * width));
    std::vector<std::int32_t> labels(static_cast<std::size_t>(all.count));
    generate(member.data, first_row(member.data, split), all.count, regenerated.data(), labels.data());
    plain = regenerated.data();
  }
  const std::vector<std::uint32_t> donor = donors(variant, seed(member.data), all.labels);
  std::vector<float> mixed(static_cast<std::size_t>(kBlock * width));
  AlignedFloats x(kBlock * stride);
  for (std::int64_t first = 0; first < all.count; first += kBlock) {
    const std::int64_t count = std::min(kBlock, all.count - first);
    std::copy_n(plain + first * width, count * width, mixed.data());
    for (std::int64_t row = 0; row < count; ++row) {
      const float* from = plain + donor[static_cast<std::size_t>(first + row)] * width;
      for (const int coordinate : variant.coordinates)
        mixed[static_cast<std::size_t>(row * width + coordinate)] = from[coordinate];
    }
    if (member.rotation) {
      member.engine->rotate(mixed.data(), width, count, width, member.rotation.data(), x.data());
    } else {
      for (std::int64_t row = 0; row < count; ++row)
        std::copy_n(mixed.data() + row * width, width, x.data() + row * stride);
    }
    member.engine->logits(x.data(), count, out + first * outputs);
  }
}

void CpuWave::logits(int member, Split split, const Randomization& variant, std::span<float> out) {
  logits(at(member), split, variant, out.data());
}

void CpuWave::logits(int member, std::span<const float> x, std::span<float> out) {
  const std::int64_t width = spec_.inputs, stride = padded(width), outputs = spec_.outputs();
  const std::int64_t all = static_cast<std::int64_t>(x.size()) / width;
  AlignedFloats block(kBlock * stride);
  for (std::int64_t first = 0; first < all; first += kBlock) {
    const std::int64_t count = std::min(kBlock, all - first);
    for (std::int64_t row = 0; row < count; ++row)
      std::copy_n(x.data() + (first + row) * width, width, block.data() + row * stride);
    at(member).engine->logits(block.data(), count, out.data() + first * outputs);
  }
}

void CpuWave::score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
                    std::span<WaveScore> scores) {
  for (std::size_t k = 0; k < members.size(); ++k) {
    Member& member = at(members[k]);
    const int outputs = spec_.outputs();
    const auto count = static_cast<std::size_t>(occam::rows(member.data, split));
    std::vector<float> logit(count * static_cast<std::size_t>(outputs));
    std::vector<std::int32_t> labels =
        member.images ? occam::labels(member.data, split) : rows(member, split).labels;
    if (variant.against == Randomization::Against::predictions) {
      logits(member, split, Randomization{}, logit.data());
      for (std::size_t row = 0; row < count; ++row)
        labels[row] = law::predicted_class(logit.data() + row * static_cast<std::size_t>(outputs), outputs);
    }
    logits(member, split, variant, logit.data());
    scores[k] = score_of(logit, labels, auc);
  }
}

WaveScore CpuWave::score_of(std::span<const float> logits, std::span<const std::int32_t> labels,
                            bool auc) const {
  const int outputs = spec_.outputs();
  const std::size_t count = labels.size();
  std::vector<float> loss(count);
  WaveScore score;
  for (std::size_t row = 0; row < count; ++row) {
    const float* of_row = logits.data() + row * static_cast<std::size_t>(outputs);
    loss[row] = law::sample_loss(spec_.loss, of_row, outputs, labels[row]);
    score.correct += law::predicted_class(of_row, outputs) == labels[row];
  }
  score.loss = law::lane_sum(loss.data(), static_cast<std::int64_t>(count)) / static_cast<float>(count);
  if (auc) score.auc = roc_aucs(logits, outputs, labels);
  return score;
}

std::unique_ptr<Wave> CpuBackend::open(const WaveRequest& request) {
  return std::make_unique<CpuWave>(request);
}

}  // namespace occam::cpu
