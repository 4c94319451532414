// Claim: what fit() measures at its checks besides train, validation and test set is what is measured afterwards, and
// training does not notice.
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "occam/attack.hpp"
#include "occam/error.hpp"
#include "support/compare.hpp"
#include "support/fits.hpp"
#include "support/message_of.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

using testing::HasSubstr;

TEST(FitChecks, ChecksMeasureRandomizedSets) {
  const Data data = noisy(3);
  const std::vector<Randomization> variants = {{.coordinates = {0, 1}},
                                               {.coordinates = {2}, .kind = Randomization::Kind::swap}};
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  const Training how = training(limit(31, 10));
  const MemberHistory history = fit(models, {&data, 1}, {&how, 1}, {.at_checks = variants})[0];
  const std::vector<Score> scores = score(models, {&data, 1}, variants)[0];
  for (const Check& check : history.checks) ASSERT_EQ(check.randomized.size(), 2u);
  for (std::size_t v = 0; v < 2; ++v) {
    EXPECT_EQ(history.checks.back().randomized[v].accuracy, scores[v].accuracy);
    EXPECT_EQ(history.checks.back().randomized[v].loss, scores[v].loss);
    EXPECT_EQ(history.checks.back().randomized[v].auc, scores[v].auc);
  }
}

// Of several members on two threads, each on data of its own, which are not those it trains on.
TEST(FitChecks, ChecksMeasureFurtherSets) {
  const std::vector<Data> data = {noisy(3), noisy(4), noisy(5)}, near = {noisy(13), noisy(14), noisy(15)},
                          far = {noisy(23), noisy(24), noisy(25)};
  const std::vector<Training> how(3, training(limit(31, 10)));
  const std::vector<Seeds> seeds = {{3, 4, 5}, {6, 7, 8}, {9, 10, 11}};
  MlpEnsemble models(kSpec, seeds, cpu(2)), plain(kSpec, seeds, cpu(2));
  const History history = fit(models, data, how, {.sets_at_checks = {near, far}});
  const History unmeasured = fit(plain, data, how);
  const Randomization as_it_is;
  for (std::size_t set = 0; set < 2; ++set) {
    const auto scores = score(models, set == 0 ? near : far, {&as_it_is, 1});
    for (std::size_t m = 0; m < 3; ++m) {
      ASSERT_EQ(history[m].checks.size(), unmeasured[m].checks.size());
      for (const Check& check : history[m].checks) ASSERT_EQ(check.further.size(), 2u);
      const Score &last = history[m].checks.back().further[set], &first = history[m].checks[0].further[set];
      EXPECT_EQ(last.accuracy, scores[m].front().accuracy);
      EXPECT_EQ(last.loss, scores[m].front().loss);
      EXPECT_EQ(last.auc, scores[m].front().auc);
      EXPECT_NE(last.loss, first.loss);
      EXPECT_EQ(history[m].checks.back().train_loss, unmeasured[m].checks.back().train_loss);
      EXPECT_TRUE(same_bits(std::as_const(models).last(static_cast<int>(m)),
                            std::as_const(plain).last(static_cast<int>(m))));
      EXPECT_TRUE(same_bits(std::as_const(models).best(static_cast<int>(m)),
                            std::as_const(plain).best(static_cast<int>(m))));
    }
  }
}

TEST(FitChecks, ChecksAttackTheTestRows) {
  const std::vector<Data> data = {noisy(3), noisy(4), noisy(5)};
  const std::vector<Training> how(3, training(limit(31, 10)));
  const std::vector<Seeds> seeds = {{3, 4, 5}, {6, 7, 8}, {9, 10, 11}};
  std::vector<AttackSuite> suites(
      3,
      {.pgd = Pgd{.epsilon = 0.1, .step = 0.02, .iterations = 5}, .as_uap = AsUap{}, .in_range_units = true});
  suites[0].pgd->seed = 7;
  suites[1].pgd.reset();
  MlpEnsemble models(kSpec, seeds, cpu(2)), plain(kSpec, seeds, cpu(2));
  const History history = fit(models, data, how, {.attacks_at_checks = suites});
  const History unmeasured = fit(plain, data, how);
  std::vector<Score> scores(3);
  attack(models, data, suites,
         [&](int m, AttackResult&& made) { scores[static_cast<std::size_t>(m)] = made.pgd_score; });
  for (std::size_t m = 0; m < 3; ++m) {
    SCOPED_TRACE(m);
    for (const Check& check : history[m].checks) ASSERT_EQ(check.pgd.has_value(), m != 1);
    EXPECT_TRUE(same_bits(std::as_const(models).last(static_cast<int>(m)),
                          std::as_const(plain).last(static_cast<int>(m))));
    if (m == 1) continue;
    const std::vector<Check>& checks = history[m].checks;
    EXPECT_EQ(checks.back().pgd->accuracy, scores[m].accuracy);
    EXPECT_EQ(checks.back().pgd->loss, scores[m].loss);
    EXPECT_NE(checks.back().pgd->loss, checks.front().pgd->loss);
    for (const Check& check : checks) EXPECT_GT(check.pgd->loss, check.test_loss);
  }
  suites.pop_back();
  EXPECT_THAT(message_of(ErrorKind::usage, [&] { fit(models, data, how, {.attacks_at_checks = suites}); }),
              HasSubstr("2 attacks for 3 members"));
}

TEST(FitChecks, ADivergedMemberIsNotAttacked) {
  const Data data = noisy(3);
  const Training how = training(limit(60, 5), 1e30);
  const AttackSuite suite{.pgd = Pgd{.epsilon = 0.1, .iterations = 2}, .in_range_units = true};
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  const MemberHistory history = fit(models, {&data, 1}, {&how, 1}, {.attacks_at_checks = {suite}})[0];
  ASSERT_EQ(history.status, FitStatus::diverged);
  EXPECT_FALSE(history.checks.back().pgd);
}

TEST(FitChecks, RefusesFurtherSetsThatDoNotFit) {
  const Data data = noisy(3);
  const Training how = training(limit(31, 10));
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  const auto refusal = [&](std::vector<Data> set) {
    return message_of(ErrorKind::usage, [&] {
      fit(models, {&data, 1}, {&how, 1}, {.sets_at_checks = {std::move(set)}});
    });
  };
  EXPECT_THAT(refusal({}), HasSubstr("a further set of data for 1 members has 0"));
  EXPECT_THAT(refusal({clouds_data({.dim = 6, .classes = 2, .train = 5, .validation = 0, .test = 0}, 1)}),
              HasSubstr("no test rows"));
  EXPECT_THAT(refusal({clouds_data({.dim = 5, .classes = 2, .train = 0, .validation = 0, .test = 5}, 1)}),
              HasSubstr("dimension 5, the network has 6 inputs"));
  EXPECT_THAT(refusal({clouds_data({.dim = 6, .classes = 3, .train = 0, .validation = 0, .test = 5}, 1)}),
              HasSubstr("3 classes, the network has 2"));
}

// A request to stop that comes while a check attacks: the member's state is told all the same, and the check made anew.
TEST(FitChecks, AnAttackThatIsInterruptedLosesNoUpdate) {
  const Data data = clouds_data({.dim = 6, .classes = 2, .train = 70, .validation = 0, .test = 2000}, 3, 0.4);
  const Training how = training(limit(31, 30));  // checks after 1 and 31 updates
  const AttackSuite suite{.pgd = Pgd{.epsilon = 0.1, .step = 0.02, .iterations = 4000},
                          .in_range_units = true};
  std::atomic<bool> stop{false};
  std::jthread later;
  std::optional<MemberState> state;
  FitOptions options{.attacks_at_checks = {suite}, .interrupt = &stop};
  std::int64_t done = 0;
  options.progress = [&](std::int64_t updates) {
    if ((done += updates) < 31) return;
    later = std::jthread([&] {  // the attack takes much longer, and looks at every tile of rows
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      stop = true;
    });
  };
  options.under_way = [&](int, MemberState&& of) { state = std::move(of); };
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu()), plain(kSpec, {{3, 4, 5}}, cpu());
  EXPECT_THROW(fit(models, {&data, 1}, {&how, 1}, options), Interrupted);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->training.updates, 31);
  EXPECT_EQ(state->history.checks.size(), 1u);

  later = {};
  stop = false;
  const MemberState* const from[] = {&*state};
  FitOptions again{.attacks_at_checks = {suite}, .resumed = from};
  const History resumed = fit(models, {&data, 1}, {&how, 1}, again);
  const History whole = fit(plain, {&data, 1}, {&how, 1}, {.attacks_at_checks = {suite}});
  ASSERT_EQ(resumed[0].checks.size(), 2u);
  EXPECT_EQ(resumed[0].checks[1].pgd->loss, whole[0].checks[1].pgd->loss);
  EXPECT_TRUE(same_bits(std::as_const(models).last(0), std::as_const(plain).last(0)));
}

}  // namespace
}  // namespace occam::test
