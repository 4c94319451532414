// Claim: fit() checks, stops, keeps the best model and reports as occam/training.hpp says, with the bits of
// the scalar twin.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "support/compare.hpp"
#include "support/fits.hpp"
#include "support/scalar_twin.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

// The best model by its definition: walk backwards, keep the strictly better.
int best_by_definition(const MemberHistory& history, bool validation) {
  int best = -1;
  for (int i = static_cast<int>(history.checks.size()) - 1; i >= 0; --i) {
    const auto accuracy = [&](int k) {
      const Check& check = history.checks[static_cast<std::size_t>(k)];
      return validation ? check.validation_accuracy : check.test_accuracy;
    };
    const Check& check = history.checks[static_cast<std::size_t>(i)];
    if (check.periodic && check.updates > 1 && (best < 0 || accuracy(i) > accuracy(best))) best = i;
  }
  return best;
}

TEST(Fit, ChecksHoldTheTwinsScoresAndParameters) {
  for (const std::int64_t validation : {0, 25}) {
    const Data data = noisy(3, validation);
    MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());  // nobody asks for its initial parameters
    const ParameterLayout layout(kSpec);
    std::vector<float> start(static_cast<std::size_t>(layout.total));
    initialize(kSpec, layout, {}, 4, start);
    const Training how = training(limit(600, 70));
    const MemberHistory history = fit(models, {&data, 1}, {&how, 1})[0];
    EXPECT_EQ(updates_of(history),
              (std::vector<std::int64_t>{1, 71, 141, 211, 281, 351, 421, 491, 561, 600}));
    EXPECT_EQ(history.updates, 600);
    EXPECT_EQ(history.status, FitStatus::limit);
    EXPECT_TRUE(history.checks.back().final);
    EXPECT_FALSE(history.checks.back().periodic);

    ScalarTwin twin(kSpec, how, 5, start);
    const HostTable train = materialize(data, Split::train), test = materialize(data, Split::test),
                    held_out = materialize(data, Split::validation);
    std::int64_t done = 0;
    for (std::size_t i = 0; i < history.checks.size(); ++i) {
      const Check& check = history.checks[i];
      twin.train(train, check.updates - done);
      done = check.updates;
      const auto expect_score = [](double accuracy, double loss, const ScalarTwin::Score& score,
                                   std::int64_t rows) {
        EXPECT_EQ(accuracy, static_cast<double>(score.correct) / static_cast<double>(rows));
        EXPECT_EQ(loss, static_cast<double>(score.loss));
      };
      expect_score(check.train_accuracy, check.train_loss, twin.score(train), 70);
      expect_score(check.test_accuracy, check.test_loss, twin.score(test), 45);
      if (validation > 0) {
        expect_score(check.validation_accuracy, check.validation_loss, twin.score(held_out), validation);
      } else {
        EXPECT_EQ(check.validation_accuracy, -1);
        EXPECT_EQ(check.validation_loss, -1);
      }
      if (static_cast<int>(i) == history.best_check) {
        EXPECT_TRUE(same_bits(models.best(0), twin.parameters()));
      }
    }
    EXPECT_TRUE(same_bits(models.last(0), twin.parameters()));
    EXPECT_EQ(history.best_check, best_by_definition(history, validation > 0));
  }
}

// Thousands of updates between checks, which fit() does piece by piece to look at the interrupt flag.
TEST(Fit, LongStretchesBetweenChecksAreExact) {
  const MlpSpec small{.inputs = 6, .hidden = {}, .classes = 2};
  const Data data = noisy(3);
  MlpEnsemble models(small, {{3, 4, 5}}, cpu());
  const std::vector<float> start(models.last(0).begin(), models.last(0).end());
  const Training how = training(limit(12'000, 9'000), 0.01);
  std::int64_t done = 0;
  FitOptions options;
  options.progress = [&](std::int64_t updates) { done += updates; };
  fit(models, {&data, 1}, {&how, 1}, options);
  EXPECT_EQ(done, 12'000);
  ScalarTwin twin(small, how, 5, start);
  twin.train(materialize(data, Split::train), 12'000);
  EXPECT_TRUE(same_bits(models.last(0), twin.parameters()));
}

TEST(Fit, BestModelIsTheHighestPeriodicCheckTiesToTheLater) {
  constexpr std::uint32_t kMembers = 30;
  std::vector<Seeds> seeds;
  std::vector<Data> data;
  std::vector<Training> trainings;
  for (std::uint32_t m = 0; m < kMembers; ++m) {
    seeds.push_back({m, m, m});
    data.push_back(noisy(m, m % 2 ? 30 : 0));
    trainings.push_back(training(limit(20 + m, 7), 0.8));
  }
  MlpEnsemble models(kSpec, seeds, cpu());
  const History history = fit(models, data, trainings);
  int ties = 0, final_was_higher = 0, early = 0;
  for (std::uint32_t m = 0; m < kMembers; ++m) {
    SCOPED_TRACE(m);
    const bool validation = m % 2 != 0;
    const int best = best_by_definition(history[m], validation);
    ASSERT_EQ(history[m].best_check, best);
    // Train again to that check: the same bits.
    MlpEnsemble again(kSpec, {seeds[m]}, cpu());
    const Training shorter =
        training(limit(history[m].checks[static_cast<std::size_t>(best)].updates, 7), 0.8);
    fit(again, {&data[m], 1}, {&shorter, 1});
    EXPECT_TRUE(same_bits(models.best(static_cast<int>(m)), again.last(0)));
    const auto accuracy = [&](const Check& c) {
      return validation ? c.validation_accuracy : c.test_accuracy;
    };
    const Check& chosen = history[m].checks[static_cast<std::size_t>(best)];
    for (const Check& c : history[m].checks)
      ties += c.periodic && c.updates > 1 && c.updates < chosen.updates && accuracy(c) == accuracy(chosen);
    const Check& last = history[m].checks.back();
    final_was_higher += !last.periodic && accuracy(last) > accuracy(chosen);
    early += best + 2 < static_cast<int>(history[m].checks.size());
  }
  // The cases that tell the rule from its neighbours did occur.
  EXPECT_GT(ties, 0);
  EXPECT_GT(final_was_higher, 0);
  EXPECT_GT(early, 0);
}

TEST(Fit, WithoutACandidateTheBestModelIsTheLast) {
  const Data data = noisy(3);
  for (const std::int64_t updates :
       {1, 5}) {  // the check after the first update is no candidate, nor is the final one
    MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
    const Training how = training(limit(updates, 10));
    const MemberHistory history = fit(models, {&data, 1}, {&how, 1})[0];
    EXPECT_EQ(history.best_check, -1);
    EXPECT_EQ(history.updates, updates);
    EXPECT_TRUE(same_bits(models.best(0), models.last(0)));
  }
}

TEST(Fit, StopsByAccuracyAndPatience) {
  const Data data = clouds_data({.dim = 6, .classes = 2, .train = 70, .validation = 0, .test = 45}, 3, 5.0);
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  const Training how = training({.epsilon = 0.0, .check_every = 20, .patience = 30, .max_updates = 5000});
  const MemberHistory history = fit(models, {&data, 1}, {&how, 1})[0];
  EXPECT_EQ(history.status, FitStatus::converged);
  const auto reached =
      std::ranges::find_if(history.checks, [](const Check& c) { return c.train_accuracy == 1.0; });
  ASSERT_NE(reached, history.checks.end());
  EXPECT_EQ(history.updates, reached->updates + 29);
  EXPECT_EQ(history.checks.back().updates, history.updates);
}

TEST(Fit, StopsByLoss) {
  const Data data = clouds_data({.dim = 6, .classes = 2, .train = 70, .validation = 0, .test = 45}, 3, 5.0);
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  const Training how = training({.criterion = StopCriterion::loss,
                                 .epsilon = 0.05,
                                 .check_every = 10,
                                 .patience = 1,
                                 .max_updates = 5000},
                                0.02);
  const MemberHistory history = fit(models, {&data, 1}, {&how, 1})[0];
  EXPECT_EQ(history.status, FitStatus::converged);
  EXPECT_GT(history.checks.size(), 2u);
  for (const Check& check : history.checks) EXPECT_EQ(check.train_loss < 0.05, check.final);
}

TEST(Fit, DivergenceEndsOnlyThatMember) {
  const std::vector<Seeds> seeds = {{1, 1, 1}, {2, 2, 2}, {3, 3, 3}};
  const std::vector<Data> data = {noisy(1), noisy(2), noisy(3)};
  std::vector<Training> trainings(3, training(limit(40, 10)));
  trainings[1].optimizer.learning_rate = 1e30;
  MlpEnsemble models(kSpec, seeds, cpu());
  const History history = fit(models, data, trainings);
  EXPECT_EQ(history[1].status, FitStatus::diverged);
  EXPECT_EQ(history[1].updates, history[1].checks.back().updates);
  EXPECT_LT(history[1].updates, 40);
  EXPECT_TRUE(history[1].checks.back().final);
  for (const std::size_t m : {0u, 2u}) {
    EXPECT_EQ(history[m].status, FitStatus::limit);
    EXPECT_EQ(history[m].updates, 40);
    MlpEnsemble alone(kSpec, {seeds[m]}, cpu());
    fit(alone, {&data[m], 1}, {&trainings[m], 1});
    EXPECT_TRUE(same_bits(models.last(static_cast<int>(m)), alone.last(0)));
  }
}

// A finite loss above a million diverges as well.
TEST(Fit, AHugeLossDiverges) {
  const MlpSpec spec{.inputs = 6, .hidden = {12}, .classes = 2, .activation = Activation::identity};
  const Data data = noisy(3);
  MlpEnsemble models(spec, {{3, 4, 5}}, cpu());
  const Training how = training(limit(40, 1), 1e4);
  const MemberHistory history = fit(models, {&data, 1}, {&how, 1})[0];
  EXPECT_EQ(history.status, FitStatus::diverged);
  const Check& last = history.checks.back();
  EXPECT_TRUE(std::isfinite(last.train_loss));
  EXPECT_GT(std::max(last.train_loss, last.test_loss), 1e6);
  for (std::size_t i = 0; i + 1 < history.checks.size(); ++i)
    EXPECT_LE(std::max(history.checks[i].train_loss, history.checks[i].test_loss), 1e6);
}

// One test row of enormous size: the train loss is ordinary, the test loss is not.
TEST(Fit, AHugeTestLossDiverges) {
  ArrayData::Table table = clouds({.dim = 6, .classes = 2, .train = 70, .validation = 0, .test = 2}, 3);
  table.x[0] = 1e30f;
  table.y[0] = 0, table.y[1] = 1;
  for (std::size_t k = 6; k < 12; ++k)
    table.x[k] = table.x[k - 6];  // the same row under both labels: one is far off
  const Data data = ArrayData{shared(table), 0};
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  const Training how = training(limit(40, 10));
  const MemberHistory history = fit(models, {&data, 1}, {&how, 1})[0];
  EXPECT_EQ(history.status, FitStatus::diverged);
  EXPECT_EQ(history.updates, 1);
  EXPECT_LT(history.checks[0].train_loss, 10);
}

TEST(Fit, TestSetMayBeLeftOut) {
  const Data data = noisy(3, 20);
  const Training how = training(limit(31, 10));
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu()), tested(kSpec, {{3, 4, 5}}, cpu());
  const MemberHistory history = fit(models, {&data, 1}, {&how, 1}, {.test_at_checks = false})[0];
  const MemberHistory with_test = fit(tested, {&data, 1}, {&how, 1})[0];
  for (const Check& check : history.checks) {
    EXPECT_EQ(check.test_accuracy, -1);
    EXPECT_EQ(check.test_loss, -1);
    EXPECT_GE(check.validation_accuracy, 0);
  }
  EXPECT_EQ(history.best_check, with_test.best_check);
  EXPECT_TRUE(same_bits(models.last(0), tested.last(0)));

  // Without validation rows, too, nothing can tell which check is the best.
  const Data unjudged = noisy(3);
  MlpEnsemble alone(kSpec, {{3, 4, 5}}, cpu());
  EXPECT_EQ(fit(alone, {&unjudged, 1}, {&how, 1}, {.test_at_checks = false})[0].best_check, -1);
  EXPECT_TRUE(same_bits(alone.best(0), alone.last(0)));
}

TEST(Fit, ReportsProgressAndEachMemberOnce) {
  const std::vector<Seeds> seeds = {{1, 1, 1}, {2, 2, 2}, {3, 3, 3}};
  const std::vector<Data> data = {noisy(1), noisy(2), noisy(3)};
  const std::vector<Training> trainings = {training(limit(10, 3)), training(limit(700, 300)),
                                           training(limit(1, 1))};
  for (const int threads : {1, 2}) {
    MlpEnsemble models(kSpec, seeds, cpu(threads));
    std::atomic<std::int64_t> done{0};
    std::map<int, std::int64_t> finished;
    std::map<int, std::vector<float>> last;
    FitOptions options;
    options.progress = [&](std::int64_t updates) { done += updates; };
    options.finished = [&](int member, const MemberHistory& history) {
      EXPECT_EQ(finished.count(member), 0u);
      finished[member] = history.updates;
      last[member].assign(models.last(member).begin(), models.last(member).end());
    };
    fit(models, data, trainings, options);
    EXPECT_EQ(done, 711);
    EXPECT_EQ(finished, (std::map<int, std::int64_t>{{0, 10}, {1, 700}, {2, 1}}));
    for (int m = 0; m < 3; ++m) EXPECT_TRUE(same_bits(models.last(m), last[m]));
  }
}

// However long an update takes, the first look comes after a few.
TEST(Fit, AnInterruptEndsIt) {
  const Data data = noisy(3);
  const Training how = training(limit(1'000'000, 1'000'000));
  for (const auto& [asked_after, most] : {std::pair<std::int64_t, std::int64_t>{0, 16}, {500, 10'000}}) {
    MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
    std::atomic<bool> interrupt{false};
    std::int64_t done = 0;
    FitOptions options;
    options.interrupt = &interrupt;
    options.progress = [&, after = asked_after](std::int64_t updates) {
      done += updates;
      interrupt = done > after;
    };
    EXPECT_THROW(fit(models, {&data, 1}, {&how, 1}, options), Interrupted);
    EXPECT_LE(done, most);
  }
}

// Not when the data are made at last: this rotation takes far longer than the limit.
TEST(Fit, AnInterruptEndsTheMakingOfData) {
  SlabSpec slab = lms(5, 2500);
  slab.train = slab.test = 10;
  const std::vector<Data> data = slab_data(slab, {1});
  const Training how = training(limit(10, 10));
  MlpEnsemble models({.inputs = 2500, .hidden = {}}, {{1, 2, 3}}, cpu());
  const std::atomic<bool> interrupt{true};
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THROW(fit(models, data, {&how, 1}, {.interrupt = &interrupt}), Interrupted);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
}

// A second fit starts from the last model, with fresh optimiser state and batches from the first epoch on.
TEST(Fit, ContinuesFromTheLastModel) {
  const Data data = noisy(3);
  Training how = training(limit(20, 10));
  how.optimizer.momentum = 0.9;
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  fit(models, {&data, 1}, {&how, 1});
  const std::vector<float> between(models.last(0).begin(), models.last(0).end());
  fit(models, {&data, 1}, {&how, 1});
  ScalarTwin twin(kSpec, how, 5, between);
  twin.train(materialize(data, Split::train), 20);
  EXPECT_TRUE(same_bits(models.last(0), twin.parameters()));
}

}  // namespace
}  // namespace occam::test
