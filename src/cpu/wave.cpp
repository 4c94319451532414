#include "cpu/wave.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "data_clock.hpp"
#include "law/loss.hpp"
#include "law/sum.hpp"
#include "occam/error.hpp"

namespace occam::cpu {

namespace {

constexpr std::int64_t kBlock = 512;  // rows generated, rotated or scored at a time: they stay in the cache

}  // namespace

AlignedFloats::AlignedFloats(std::int64_t count) {
  // Batches read their rows at random: huge pages spare them the misses of the address translation.
  constexpr std::size_t kHugePage = 1 << 21;
  const std::size_t wanted = static_cast<std::size_t>(count) * sizeof(float) + 64;
  const std::size_t alignment = wanted >= kHugePage ? kHugePage : 64;
  const std::size_t bytes = (wanted + alignment - 1) / alignment * alignment;
  data_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
  if (!data_) throw std::bad_alloc();
  if (alignment == kHugePage)
    madvise(data_.get(), bytes, MADV_HUGEPAGE);  // a hint: refusal costs speed alone
  std::memset(data_.get(), 0, bytes);
}

void AlignedFloats::Free::operator()(float* p) const { std::free(p); }

CpuWave::CpuWave(const WaveRequest& request)
    : spec_(*request.spec), layout_(spec_), threads_(request.threads) {
  for (const Training& training : request.trainings)
    require(training.precision == Precision::fp32,
            "precision {}: the CPU trains in fp32 alone (use precision fp32, or a CUDA device)",
            name_of(training.precision));
  for (std::size_t m = 0; m < request.seeds.size(); ++m) {
    Member member;
    member.data = request.data[m];
    member.engine = make_engine(spec_, layout_, request.trainings.empty() ? nullptr : &request.trainings[m],
                                request.seeds[m].order);
    const std::vector<float> matrix = rotation(member.data);
    if (!matrix.empty()) {
      const std::int64_t width = dim(member.data);
      member.rotation = AlignedFloats(width * padded(width));
      for (std::int64_t k = 0; k < width; ++k)
        std::copy_n(matrix.data() + k * width, width, member.rotation.data() + k * padded(width));
    }
    members_.push_back(std::move(member));
  }
}

void CpuWave::load(int member, std::span<const float> parameters) {
  at(member).engine->load(parameters.data());
}

void CpuWave::store(int member, std::span<float> parameters) const {
  members_[static_cast<std::size_t>(member)].engine->store(parameters.data());
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

void CpuWave::train(std::span<const std::int64_t> updates) {
  for (std::size_t m = 0; m < members_.size(); ++m) {
    if (updates[m] == 0) continue;
    const Rows& train = rows(members_[m], Split::train);
    members_[m].engine->train({train.x.data(), train.labels.data(), train.count}, updates[m]);
  }
}

void CpuWave::logits(Member& member, Split split, const Randomization& variant, float* out) {
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
    const Rows& all = rows(member, split);
    const int outputs = spec_.outputs();
    const auto count = static_cast<std::size_t>(all.count);
    std::vector<float> logit(count * static_cast<std::size_t>(outputs));
    std::vector<std::int32_t> labels = all.labels;
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
