// Claim: a training that is broken off goes on from its members' states, to the bit as if it had never stopped.
#include <atomic>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "support/compare.hpp"
#include "support/fits.hpp"

namespace occam::test {
namespace {

void expect_same(const MemberHistory& a, const MemberHistory& b) {
  EXPECT_EQ(a.updates, b.updates);
  EXPECT_EQ(a.status, b.status);
  EXPECT_EQ(a.best_check, b.best_check);
  ASSERT_EQ(updates_of(a), updates_of(b));
  for (std::size_t i = 0; i < a.checks.size(); ++i) {
    const Check &x = a.checks[i], &y = b.checks[i];
    EXPECT_EQ(
        std::tie(x.train_accuracy, x.train_loss, x.validation_loss, x.test_accuracy, x.test_loss, x.final),
        std::tie(y.train_accuracy, y.train_loss, y.validation_loss, y.test_accuracy, y.test_loss, y.final));
  }
}

// Broken off again and again, each time with a new ensemble: histories, last and best models are those of one go.
TEST(Fit, GoesOnWhereItWasInterrupted) {
  std::vector<Data> data;
  std::vector<Training> trainings = {training(limit(700, 90)), training(limit(700, 500)),
                                     training(limit(20, 7))};
  const std::vector<Seeds> seeds = {{3, 4, 5}, {4, 5, 6}, {5, 6, 7}};
  for (std::uint32_t m = 0; m < 3; ++m) data.push_back(noisy(m, m == 0 ? 30 : 0));
  for (Training& one : trainings) one.optimizer.momentum = 0.9;
  trainings[1].optimizer = {.kind = OptimizerKind::adam, .learning_rate = 0.01};
  MlpEnsemble whole(kSpec, seeds, cpu(2));
  const History expected = fit(whole, data, trainings);

  std::map<int, MemberState> states;
  const auto compare = [&](const MlpEnsemble& models, const History& history) {
    for (int m = 0; m < 3; ++m) {
      SCOPED_TRACE(m);
      expect_same(history[static_cast<std::size_t>(m)], expected[static_cast<std::size_t>(m)]);
      EXPECT_TRUE(same_bits(models.last(m), whole.last(m)));
      EXPECT_TRUE(same_bits(models.best(m), std::as_const(whole).best(m)));
    }
  };
  const auto go_on = [&](MlpEnsemble& models, FitOptions options) {
    std::vector<const MemberState*> resumed(3, nullptr);
    for (const auto& [m, state] : states) resumed[static_cast<std::size_t>(m)] = &state;
    options.resumed = resumed;
    std::map<int, MemberState> told;
    options.under_way = [&](int m, MemberState&& state) { told[m] = std::move(state); };
    options.finished = [&](int m, const MemberHistory& history) {
      const auto copy = [](std::span<const float> values) {
        return std::vector<float>(values.begin(), values.end());
      };
      told[m] = {{history.updates, {}}, copy(models.last(m)), copy(std::as_const(models).best(m)), history};
    };
    const auto keep = [&] {
      for (auto& [m, state] : told) states[m] = std::move(state);
    };
    try {
      const History history = fit(models, data, trainings, options);
      keep();
      return std::optional(history);
    } catch (const Interrupted&) {
      keep();
      return std::optional<History>();
    }
  };
  int broken = 0;
  for (;; ++broken) {
    ASSERT_LT(broken, 1000) << "it does not get on";
    MlpEnsemble models(kSpec, seeds, cpu(2));
    std::atomic<bool> interrupt{false};
    std::atomic<int> pieces{0};
    FitOptions options;
    options.interrupt = &interrupt;
    options.progress = [&](std::int64_t) { interrupt = ++pieces >= 3; };
    if (const auto history = go_on(models, options)) {
      compare(models, *history);
      break;
    }
  }
  EXPECT_GE(broken, 3);

  // States are told without a break, too.
  states.clear();
  MlpEnsemble models(kSpec, seeds, cpu(2));
  FitOptions options;
  options.under_way_every = 1e-9;
  options.under_way = [&](int m, MemberState&& state) {
    if (m < 2 && state.training.updates < 300) states[m] = std::move(state);
  };
  compare(models, fit(models, data, trainings, options));
  ASSERT_EQ(states.size(), 2u);
  for (const auto& [m, state] : states) EXPECT_GT(state.training.updates, 0);
  MlpEnsemble others(kSpec, seeds, cpu(2));
  const auto history = go_on(others, {});
  ASSERT_TRUE(history.has_value());
  compare(others, *history);
}

// A state of some 101 of 200 updates, checked every 20: under rules that would have made other checks, ahead of the next
// check, and with a best check that is none.
TEST(Fit, RefusesStatesOfAnotherRule) {
  const Data data = noisy(3);
  const auto go = [&](const StopRule& rule, const FitOptions& options) {
    const Training how = training(rule);
    MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
    return fit(models, {&data, 1}, {&how, 1}, options)[0].updates;
  };
  MemberState state;
  std::atomic<bool> stop{false};
  std::int64_t done = 0;
  FitOptions broken_off;
  broken_off.progress = [&](std::int64_t updates) { stop = (done += updates) >= 101; };
  broken_off.under_way = [&](int, MemberState&& one) { state = std::move(one); };
  broken_off.interrupt = &stop;
  EXPECT_THROW(go(limit(200, 20), broken_off), Interrupted);
  ASSERT_GE(state.training.updates, 101);

  const MemberState* const resumed[] = {&state};
  FitOptions options;
  options.resumed = resumed;
  EXPECT_EQ(go(limit(200, 20), options), 200);
  for (const StopRule& other : {limit(200, 50), limit(200, 5), limit(50, 20)})
    EXPECT_THROW(go(other, options), Error) << other.check_every;
  const MemberState good = state;
  state.training.updates += 20;
  EXPECT_THROW(go(limit(200, 20), options), Error);
  state = good, state.training.updates = 1;
  EXPECT_THROW(go(limit(200, 20), options), Error);
  state = good, state.history.best_check = 1000;
  EXPECT_THROW(go(limit(200, 20), options), Error);
}

TEST(Fit, RefusesStatesOfOthers) {
  const Data data = noisy(3);
  const Training how = training(limit(20, 10));
  MlpEnsemble models(kSpec, {{3, 4, 5}}, cpu());
  const MemberState other{{5, {}}, std::vector<float>(3), {}, {}};
  const MemberState* const one[] = {&other, nullptr};
  FitOptions options;
  options.resumed = {one, 1};
  EXPECT_THROW(fit(models, {&data, 1}, {&how, 1}, options), Error);
  options.resumed = {one, 2};
  EXPECT_THROW(fit(models, {&data, 1}, {&how, 1}, options), Error);
}

TEST(Fit, GoesOnFromAStateBeforeTheFirstUpdate) {
  const Data data = noisy(3);
  const Training how = training(limit(200, 20));
  MlpEnsemble first(kSpec, {{3, 4, 5}}, cpu()), later(kSpec, {{3, 4, 5}}, cpu());
  std::vector<MemberState> states;
  FitOptions telling, on;
  telling.under_way_every = 1e-9;
  telling.under_way = [&](int, MemberState&& state) { states.push_back(std::move(state)); };
  fit(first, {&data, 1}, {&how, 1}, telling);
  ASSERT_FALSE(states.empty());
  ASSERT_EQ(states.front().training.updates, 0);
  const MemberState* const resumed[] = {&states.front()};
  on.resumed = resumed;
  fit(later, {&data, 1}, {&how, 1}, on);
  EXPECT_TRUE(same_bits(later.last(0), first.last(0)));
}

}  // namespace
}  // namespace occam::test
