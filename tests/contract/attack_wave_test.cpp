// Claim: the attacks of a wave's members give on every body what the CPU gives for each of them alone, whatever part of
// them is attacked at a time, and several results are taken at once.
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "attack_parts.hpp"
#include "contract/ensembles.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

class AttackWave : public OnBody {
 protected:
  static AttackResult alone(const Ensemble& e, std::size_t m, const AttackSuite& suite) {
    MlpEnsemble models(e.spec, {e.seeds[m]}, cpu(1));
    std::ranges::copy(e.start[m], models.last(0).begin());
    AttackResult result;
    attack(models, {&e.data[m], 1}, {&suite, 1}, [&](int, AttackResult&& made) { result = std::move(made); });
    return result;
  }
  static void expect_same(const Score& a, const Score& b) {
    EXPECT_EQ(a.accuracy, b.accuracy);
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.auc, b.auc);
  }
  static void expect_same(const std::optional<Universal>& a, const std::optional<Universal>& b) {
    ASSERT_EQ(a.has_value(), b.has_value());
    if (!a) return;
    EXPECT_TRUE(same_bits(a->perturbation, b->perturbation));
    EXPECT_EQ(a->singular_values, b->singular_values);
    expect_same(a->score, b->score);
  }
};
OCCAM_ON_EVERY_BODY(AttackWave);

TEST_P(AttackWave, PartsChangeNothing) {
  Ensemble e{.spec = {.inputs = 9, .hidden = {20}}};
  for (std::uint32_t m = 0; m < 5; ++m) e.add(slabs(9, 30, 0, 40 + 3 * m, true, 4 + m), Training{}, m);
  const Pgd pgd{.epsilon = 0.1, .iterations = 3};
  std::vector<AttackSuite> suites(5, {.svd_uap = SvdUap{.attack = {.epsilon = 1.0, .iterations = 3}},
                                      .as_uap = AsUap{.iterations = 2, .epochs = 1},
                                      .in_range_units = true});
  for (const std::size_t m : {0u, 1u, 4u}) suites[m].pgd = pgd;
  suites[1].as_uap.reset(), suites[2].svd_uap.reset(), suites[3] = {};
  const auto backend = make();
  const auto wave = open_loaded(*backend, e, false);
  for (const std::int64_t floats : {std::int64_t{1} << 28, std::int64_t{9 * 70}, std::int64_t{1}}) {
    SCOPED_TRACE(floats);  // all members at a time, two, one
    std::array<std::atomic<int>, 5> calls{};
    std::array<AttackResult, 5> results;
    attack_wave(
        *wave, e.spec, e.data, suites, Split::test,
        [&](int m, AttackResult&& made) {
          ++calls[static_cast<std::size_t>(m)];
          results[static_cast<std::size_t>(m)] = std::move(made);
        },
        2, nullptr, floats);
    for (std::size_t m = 0; m < 5; ++m) {
      SCOPED_TRACE(m);
      EXPECT_EQ(calls[m], 1);
      const AttackResult expected = alone(e, m, suites[m]);
      ASSERT_EQ(results[m].pgd.has_value(), suites[m].pgd.has_value());
      EXPECT_EQ(results[m].range.low, expected.range.low);
      EXPECT_EQ(results[m].range.high, expected.range.high);
      if (expected.pgd) {
        EXPECT_TRUE(same_bits(results[m].pgd->perturbation, expected.pgd->perturbation));
        EXPECT_TRUE(same_bits(results[m].pgd->logits, expected.pgd->logits));
        expect_same(results[m].pgd_score, expected.pgd_score);
      }
      ASSERT_NO_FATAL_FAILURE(expect_same(results[m].svd_uap, expected.svd_uap));
      ASSERT_NO_FATAL_FAILURE(expect_same(results[m].as_uap, expected.as_uap));
    }
  }
}

// What is done with a result, the share of each row's perturbation say, can take as long as a GPU took to make it.
TEST_P(AttackWave, ResultsAreTakenSideBySide) {
  Ensemble e{.spec = {.inputs = 5, .hidden = {9}}};
  for (std::uint32_t m = 0; m < 2; ++m) e.add(slabs(5, 20, 0, 10, true, m), Training{}, m);
  const std::vector<AttackSuite> suites(2, {.pgd = Pgd{.iterations = 1}, .in_range_units = true});
  const auto backend = make();
  const auto wave = open_loaded(*backend, e, false);
  std::mutex mutex;
  std::condition_variable arrives;
  int here = 0;
  attack_wave(
      *wave, e.spec, e.data, suites, Split::test,
      [&](int, AttackResult&&) {
        std::unique_lock lock(mutex);
        ++here;
        arrives.notify_all();
        EXPECT_TRUE(arrives.wait_for(lock, std::chrono::seconds(30), [&] { return here == 2; }));
      },
      2);
}

}  // namespace
}  // namespace occam::test
