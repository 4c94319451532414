// The attacks of the CPU body (backend.hpp). Rows are independent in PGD, so a wave's threads share them; a
// universal perturbation takes its batches one after the other, and the threads share each.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "cpu/wave.hpp"
#include "law/attack.hpp"
#include "occam/error.hpp"
#include "threads.hpp"

namespace occam::cpu {

namespace {

constexpr std::int64_t kTile = 64;  // rows are dealt out in tiles

// A meeting of threads that are never far apart: they wait awake, as a step takes less time than waking one.
// Where there are fewer cores than threads, who has waited long makes room.
class Meeting {
 public:
  explicit Meeting(int threads) : threads_(threads) {}

  void wait() {
    const int now = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(now + 1, std::memory_order_release);
      return;
    }
    for (int looks = 0; round_.load(std::memory_order_acquire) == now; ++looks) {
      if (looks < kLooks)
        __builtin_ia32_pause();
      else
        std::this_thread::yield();
    }
  }

 private:
  static constexpr int kLooks = 2000;  // some 50 µs
  const int threads_;
  std::atomic<int> arrived_{0}, round_{0};
};

// Rows [first, first + count) of thread t of `threads`.
struct Part {
  std::int64_t first, count;
};
Part part_of(std::int64_t rows, int threads, int t) {
  const std::int64_t tiles = (rows + kTile - 1) / kTile;
  const std::int64_t first = std::min(rows, tiles * t / threads * kTile);
  return {first, std::min(rows, tiles * (t + 1) / threads * kTile) - first};
}

}  // namespace

std::vector<std::unique_ptr<Engine>> CpuWave::attackers(const Member& member) const {
  std::vector<float> parameters(static_cast<std::size_t>(layout_.total));
  member.engine->store(parameters.data());
  std::vector<std::unique_ptr<Engine>> engines;
  for (int t = 0; t < threads_; ++t) {
    engines.push_back(make_engine(spec_, layout_, nullptr, 0));
    engines.back()->load(parameters.data());
  }
  return engines;
}

void CpuWave::input_gradient(int member, std::span<const float> x, std::span<const float> logit_gradient,
                             std::span<float> gradient) {
  const std::int64_t width = spec_.inputs, stride = padded(width);
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / width;
  AlignedFloats from(rows * stride), to(rows * stride);
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(x.data() + row * width, width, from.data() + row * stride);
  attackers(at(member)).front()->input_gradient(from.data(), logit_gradient.data(), rows, to.data());
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(to.data() + row * stride, width, gradient.data() + row * width);
}

void CpuWave::ranges(std::span<const int> members, Split split, std::span<DataRange> out) {
  require(out.size() >= members.size(), "ranges: {} members, room for {}", members.size(), out.size());
  const std::int64_t width = spec_.inputs, stride = padded(width);
  for (std::size_t k = 0; k < members.size(); ++k) {
    const Rows& all = rows(at(members[k]), split);
    const float first = all.count > 0 ? all.x.data()[0] : 0.0f;
    DataRange range{first, first};
    for (std::int64_t row = 0; row < all.count; ++row)
      for (std::int64_t i = 0; i < width; ++i) {
        const float value = all.x.data()[row * stride + i];
        range.low = law::smaller(range.low, value), range.high = law::larger(range.high, value);
      }
    out[k] = {range.low + 0.0f, range.high + 0.0f};  // −0 + 0 is +0
  }
}

Perturbed CpuWave::perturb(Member& member, Split split, const Pgd& attack) {
  const Rows& all = rows(member, split);
  const std::int64_t width = spec_.inputs, stride = padded(width), outputs = spec_.outputs();
  Perturbed result;
  result.perturbation.resize(static_cast<std::size_t>(all.count * width));
  result.logits.resize(static_cast<std::size_t>(all.count * outputs));
  const law::AttackConstants constants = law::attack_constants(attack);
  if (attack.track)
    result.tracked.resize(static_cast<std::size_t>(constants.iterations * all.count * outputs));
  const auto engines = attackers(member);
  AlignedFloats perturbation(all.count * stride);
  on_threads(threads_, [&](int t) {
    const Part part = part_of(all.count, threads_, t);
    for (std::int64_t first = part.first; first < part.first + part.count; first += kTile) {
      heed(interrupt_);
      engines[static_cast<std::size_t>(t)]->perturb(
          {all.x.data() + first * stride, all.labels.data() + first, first,
           std::min(kTile, part.first + part.count - first), all.count},
          constants, perturbation.data() + first * stride, result.logits.data() + first * outputs,
          result.tracked.empty() ? nullptr : result.tracked.data());
    }
    for (std::int64_t row = part.first; row < part.first + part.count; ++row)
      std::copy_n(perturbation.data() + row * stride, width, result.perturbation.data() + row * width);
  });
  return result;
}

void CpuWave::perturb(std::span<const int> members, Split split, std::span<const Pgd> attacks,
                      std::span<Perturbed> out) {
  for (std::size_t k = 0; k < members.size(); ++k) out[k] = perturb(at(members[k]), split, attacks[k]);
}

std::vector<float> CpuWave::fit_universal(Member& member, Split split, const AsUap& attack) {
  const Rows& all = rows(member, split);
  const std::int64_t width = spec_.inputs, stride = padded(width);
  const law::AttackConstants constants = law::attack_constants(attack);
  const std::int64_t batch = std::min<std::int64_t>(attack.batch, all.count);
  const int threads = static_cast<int>(std::min<std::int64_t>(threads_, (batch + kTile - 1) / kTile));
  const auto engines = attackers(member);
  // Two buffers of shares, so that one meeting a step is enough: who is ahead writes into the other one.
  AlignedFloats shares[2] = {AlignedFloats(batch * stride), AlignedFloats(batch * stride)};
  Meeting meeting(threads);
  bool stops[2] = {false, false};  // whether all shall, of a step; thread 0 asks
  std::vector<float> result;
  on_threads(threads, [&](int t) noexcept {  // who threw would be waited for
    // Every thread adds the shares and takes the step itself: cheaper than waiting for one that does.
    AlignedFloats universal(stride), gradient(stride);
    int turn = 0;
    for (int epoch = 0; epoch < attack.epochs; ++epoch)
      for (std::int64_t first = 0; first < all.count; first += batch) {
        const std::int64_t count = std::min(batch, all.count - first);
        const Part part = part_of(count, threads, t);
        const AttackRows mine{all.x.data() + (first + part.first) * stride,
                              all.labels.data() + first + part.first, first + part.first, part.count,
                              all.count};
        for (int i = 0; i < attack.iterations; ++i, turn = 1 - turn) {
          float* const share = shares[turn].data();
          if (t == 0) stops[turn] = interrupt_ != nullptr && interrupt_->load();
          engines[static_cast<std::size_t>(t)]->universal_shares(mine, constants, universal.data(),
                                                                 share + part.first * stride);
          if (threads > 1) meeting.wait();
          if (stops[turn]) return;
          std::fill_n(gradient.data(), stride, 0.0f);
          for (std::int64_t row = 0; row < count; ++row)
            for (std::int64_t k = 0; k < stride; ++k) gradient.data()[k] += share[row * stride + k];
          law::universal_step(constants, width, gradient.data(), universal.data());
        }
      }
    if (t == 0) result.assign(universal.data(), universal.data() + width);
  });
  if (stops[0] || stops[1]) throw Interrupted{};
  return result;
}

void CpuWave::fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                            std::span<std::vector<float>> out) {
  for (std::size_t k = 0; k < members.size(); ++k) out[k] = fit_universal(at(members[k]), split, attacks[k]);
}

void CpuWave::score(std::span<const int> members, Split split, std::span<const Shift> shifts, bool auc,
                    std::span<WaveScore> scores) {
  const std::int64_t width = spec_.inputs, stride = padded(width), outputs = spec_.outputs();
  for (std::size_t k = 0; k < members.size(); ++k) {
    Member& member = at(members[k]);
    const Rows& all = rows(member, split);
    law::AttackConstants bounds{};
    bounds.lower = static_cast<float>(shifts[k].lower), bounds.upper = static_cast<float>(shifts[k].upper);
    const float* const universal = shifts[k].perturbation.data();
    std::vector<float> logit(static_cast<std::size_t>(all.count * outputs));
    AlignedFloats x(kTile * stride);
    for (std::int64_t first = 0; first < all.count; first += kTile) {
      const std::int64_t count = std::min(kTile, all.count - first);
      for (std::int64_t row = 0; row < count; ++row) {
        const float sign =
            law::universal_sign(spec_.classes, all.labels[static_cast<std::size_t>(first + row)]);
        const float* from = all.x.data() + (first + row) * stride;
        for (std::int64_t i = 0; i < width; ++i)
          x.data()[row * stride + i] = law::inside(bounds, law::shifted(from[i], sign, universal[i]));
      }
      member.engine->logits(x.data(), count, logit.data() + first * outputs);
    }
    scores[k] = score_of(logit, all.labels, auc);
  }
}

}  // namespace occam::cpu
