// Claim: when a member is checked and when it stops is what occam/training.hpp says of StopRule, sentence by
// sentence.
#include "stop.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "occam/statistics.hpp"

namespace occam {
namespace {

struct Made {
  std::int64_t updates;
  bool periodic, final;
  bool operator==(const Made&) const = default;
};
void PrintTo(const Made& made, std::ostream* out) {
  *out << made.updates << (made.periodic ? " periodic" : "") << (made.final ? " final" : "");
}

struct Course {
  std::vector<Made> checks;
  FitStatus status;
  std::int64_t updates;
};

// Runs a member whose train accuracy and loss are functions of the updates done.
template <class Accuracy, class TrainLoss>
Course run(const StopRule& rule, const Accuracy& accuracy, const TrainLoss& loss) {
  StopState state(rule);
  Course result;
  std::int64_t updates = 0;
  while (!state.finished() && result.checks.size() < 10'000) {
    const std::int64_t more = state.until_check();
    EXPECT_GE(more, 1);
    updates += more;
    const StopState::Outcome outcome = state.check(accuracy(updates), loss(updates), loss(updates));
    EXPECT_EQ(state.updates(), updates);
    EXPECT_EQ(state.finished(), outcome.final);
    result.checks.push_back({updates, outcome.periodic, outcome.final});
  }
  result.status = state.status();
  result.updates = updates;
  return result;
}

template <class Accuracy>
Course run(const StopRule& rule, const Accuracy& accuracy) {
  return run(rule, accuracy, [](std::int64_t) { return 0.5; });
}

// Accuracy 1 once `updates` are done, a coin's before.
auto learnt_after(std::int64_t updates) {
  return [=](std::int64_t done) { return done >= updates ? 1.0 : 0.5; };
}

TEST(Stop, ChecksFollowTheFirstUpdateAndThenEveryG) {
  const Course r = run({.check_every = 10, .max_updates = 35}, learnt_after(1000));
  EXPECT_EQ(
      r.checks,
      (std::vector<Made>{
          {1, true, false}, {11, true, false}, {21, true, false}, {31, true, false}, {35, false, true}}));
  EXPECT_EQ(r.status, FitStatus::limit);
}

TEST(Stop, EveryUpdateIsCheckedWhenGIsOne) {
  const Course r = run({.check_every = 1, .max_updates = 4}, learnt_after(1000));
  EXPECT_EQ(r.checks,
            (std::vector<Made>{{1, true, false}, {2, true, false}, {3, true, false}, {4, true, true}}));
}

// LMS-5: learnt by u = 5,000, P = 1: 5,001 updates.
TEST(Stop, PatienceOneStopsAtTheCheckItself) {
  const Course r = run({.epsilon = 1e-4, .check_every = 5000, .patience = 1}, learnt_after(300));
  EXPECT_EQ(r.checks, (std::vector<Made>{{1, true, false}, {5001, true, true}}));
  EXPECT_EQ(r.updates, 5001);
  EXPECT_EQ(r.status, FitStatus::converged);
}

// MS-(5,7): reached at u = 15,000, P = 1,000: 16,000 updates; the final check is not periodic.
TEST(Stop, PatienceOfAThousandEndsAtSixteenThousand) {
  const Course r = run({.epsilon = 1e-4, .check_every = 5000, .patience = 1000}, learnt_after(12'000));
  EXPECT_EQ(r.checks, (std::vector<Made>{{1, true, false},
                                         {5001, true, false},
                                         {10'001, true, false},
                                         {15'001, true, false},
                                         {16'000, false, true}}));
  EXPECT_EQ(r.status, FitStatus::converged);
}

TEST(Stop, PeriodicChecksGoOnDuringPatience) {
  const Course r = run({.check_every = 10, .patience = 35}, learnt_after(15));
  EXPECT_EQ(r.checks, (std::vector<Made>{{1, true, false},
                                         {11, true, false},
                                         {21, true, false},
                                         {31, true, false},
                                         {41, true, false},
                                         {51, true, false},
                                         {55, false, true}}));
}

TEST(Stop, TheEndOfPatienceMayBeAPeriodicCheck) {
  const Course r = run({.check_every = 10, .patience = 11}, learnt_after(1));
  EXPECT_EQ(r.checks, (std::vector<Made>{{1, true, false}, {11, true, true}}));
}

TEST(Stop, TheFirstCheckCounts) {
  const Course r = run({.check_every = 5000, .patience = 1}, learnt_after(1));
  EXPECT_EQ(r.checks, (std::vector<Made>{{1, true, true}}));
  EXPECT_EQ(run({.check_every = 5000, .patience = 7}, learnt_after(1)).updates, 7);
}

TEST(Stop, PatienceOnceStartedIsNeitherStoppedNorRestarted) {
  const auto only_at_11 = [](std::int64_t done) { return done == 11 ? 1.0 : 0.5; };
  const auto at_11_and_21 = [](std::int64_t done) { return done == 11 || done == 21 ? 1.0 : 0.5; };
  EXPECT_EQ(run({.check_every = 10, .patience = 25}, only_at_11).updates, 35);
  EXPECT_EQ(run({.check_every = 10, .patience = 25}, at_11_and_21).updates, 35);
  EXPECT_EQ(run({.check_every = 10, .patience = 25}, only_at_11).status, FitStatus::converged);
}

TEST(Stop, TheLimitIsExact) {
  for (const std::int64_t limit : {1, 2, 9, 10, 11, 12, 20, 21, 22, 100}) {
    const Course r = run({.check_every = 10, .max_updates = limit}, learnt_after(1000));
    EXPECT_EQ(r.updates, limit);
    EXPECT_EQ(r.checks.back(), (Made{limit, (limit - 1) % 10 == 0, true}));
    EXPECT_EQ(r.status, FitStatus::limit);
  }
}

TEST(Stop, TheLimitCutsPatienceShort) {
  const Course r = run({.check_every = 10, .patience = 100, .max_updates = 50}, learnt_after(20));
  EXPECT_EQ(r.updates, 50);
  EXPECT_EQ(r.status, FitStatus::converged);
}

TEST(Stop, AccuracyReachesItsBoundByEquality) {
  const StopRule rule{.epsilon = 0.25, .check_every = 10, .max_updates = 30};
  EXPECT_EQ(run(rule, [](std::int64_t) { return 0.75; }).updates, 1);
  EXPECT_EQ(run(rule, [](std::int64_t) { return 0.7499; }).updates, 30);
}

TEST(Stop, LossMustFallBelowItsBound) {
  const StopRule rule{
      .criterion = StopCriterion::loss, .epsilon = 0.01, .check_every = 10, .max_updates = 30};
  const auto perfect = [](std::int64_t) { return 1.0; };
  EXPECT_EQ(run(rule, perfect, [](std::int64_t) { return 0.01; }).updates, 30);
  EXPECT_EQ(run(rule, perfect, [](std::int64_t done) { return done >= 5 ? 0.0099 : 1.0; }).updates, 11);
}

TEST(Stop, WithoutACriterionOnlyTheLimitStops) {
  const StopRule rule{.criterion = StopCriterion::none, .epsilon = 1, .check_every = 10, .max_updates = 30};
  const Course r = run(rule, learnt_after(1), [](std::int64_t) { return 0.0; });
  EXPECT_EQ(r.updates, 30);
  EXPECT_EQ(r.status, FitStatus::limit);
}

TEST(Stop, DivergesOnALossThatIsNotFiniteOrAboveAMillion) {
  constexpr double kInfinity = HUGE_VAL;
  struct Losses {
    double train, worst;
    bool diverged;
  };
  const Losses cases[] = {
      {kNan, 1, true},      {1, kNan, true},       {kInfinity, kInfinity, true},   {1, kInfinity, true},
      {1e6, 1e6, false},    {1, 1.000001e6, true}, {1.000001e6, 1.000001e6, true}, {0, 0, false},
      {-kInfinity, 1, true}};
  for (const Losses& c : cases) {
    StopState state({.check_every = 10, .patience = 5});
    const StopState::Outcome outcome = state.check(1.0, c.train, c.worst);
    EXPECT_EQ(state.status() == FitStatus::diverged, c.diverged) << c.train << " " << c.worst;
    EXPECT_EQ(outcome.final, c.diverged);
    EXPECT_EQ(state.finished(), c.diverged);
    EXPECT_EQ(state.updates(), 1);
  }
}

TEST(Stop, DivergesDuringPatienceToo) {
  const Course r = run({.check_every = 10, .patience = 100}, learnt_after(1),
                       [](std::int64_t done) { return done > 15 ? HUGE_VAL : 0.1; });
  EXPECT_EQ(r.updates, 21);
  EXPECT_EQ(r.status, FitStatus::diverged);
}

}  // namespace
}  // namespace occam
