// Claim: cases that differ in their attacks alone train once, and what they record is what they record alone.
#include <cmath>
#include <functional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "experiment/train.hpp"
#include "experiment/under_way.hpp"
#include "occam/device.hpp"
#include "support/records.hpp"

namespace occam::experiment {
namespace {

constexpr std::int64_t kUpdates = 60;   // of a training
const Device kOneThread{.threads = 1};  // four networks a call

Case attacked(double epsilon) {
  Case c;
  c.name = fmt::format("epsilon {}", epsilon);
  c.slab.dim = 5, c.slab.train = 600, c.slab.test = 200;
  c.network.hidden = {8};
  c.training.batch = 32;
  c.training.stop = {.criterion = StopCriterion::none, .check_every = 20, .max_updates = kUpdates};
  c.attacks.pgd = c.attacks.as_uap = true;
  c.attacks.pgd_settings.epsilon = epsilon, c.attacks.pgd_settings.iterations = 3;
  c.attacks.as_settings.iterations = 1;
  return c;
}

Options three_saved_seeds() {
  Options options;
  options.seeds = "3", options.keep = 2, options.save_weights = true;
  return options;
}

Plan plan_of(const std::vector<Case>& cases) {
  return make_plan("tool", cases, three_saved_seeds(), false, 1);
}

// The records and, from the progress bar, the updates that were done for them.
struct Trained {
  Records records;
  std::int64_t updates = 0;
};

Trained trained(const Plan& plan, Records records = {}, States states = {}) {
  Progress progress("tool", false);
  Seconds seconds;
  EXPECT_TRUE(train(plan, three_saved_seeds(), kOneThread, {.progress = &progress, .states = &states},
                    records, seconds));
  EXPECT_TRUE(states.empty());
  return {records, progress.done()};
}

// Of every case in a plan of its own.
Records alone(const std::vector<Case>& cases) {
  Records records;
  for (std::size_t c = 0; c < cases.size(); ++c)
    for (auto& [place, record] : trained(plan_of({cases[c]})).records)
      records[{static_cast<int>(c), place.second}] = record;
  return records;
}

bool share(const Case& a, const Case& b) {
  const Plan plan = plan_of({a, b});
  const std::vector<int>&first = plan.cases[0].readers, &second = plan.cases[1].readers;
  const bool shared = first == std::vector{0, 1} && second.empty();
  EXPECT_TRUE(shared || (first == std::vector{0} && second == std::vector{1}));
  EXPECT_EQ(plan.trainings(), shared ? 3u : 6u);
  std::size_t places = 0;
  for (const auto& group : groups_of(plan, {})) places += group.size();
  EXPECT_EQ(places, plan.trainings());
  return shared;
}

TEST(Sharing, CasesThatDifferInTheirAttacksAloneTrainOnce) {
  std::vector<Case> cases{attacked(0.1), attacked(0.2), attacked(0.1), attacked(0.3)};
  cases[2].name = "faster", cases[2].training.optimizer.learning_rate = 0.3;
  cases.push_back(cases[2]);
  cases[4].name = "faster, linf", cases[4].attacks.pgd_settings.norm = Norm::linf;
  const Plan plan = plan_of(cases);
  EXPECT_EQ(plan.cases[0].readers, (std::vector{0, 1, 3}));
  EXPECT_EQ(plan.cases[2].readers, (std::vector{2, 4}));
  const auto [records, updates] = trained(plan);
  EXPECT_EQ(updates, 2 * 3 * kUpdates);
  ASSERT_EQ(records.size(), 15u);
  EXPECT_EQ(test::bytes_of(records), test::bytes_of(alone(cases)));
  EXPECT_NE(metric(records.at({0, 0}), "pgd_norm"), metric(records.at({1, 0}), "pgd_norm"));
}

TEST(Sharing, WhatIsNotAttackedIsMeasuredOnTheSameNetworks) {
  std::vector<Case> cases{attacked(0.1), attacked(0.2)};
  cases[0].attacks = {};
  EXPECT_TRUE(share(cases[0], cases[1]));
  const auto [records, updates] = trained(plan_of(cases));
  EXPECT_EQ(updates, 3 * kUpdates);
  EXPECT_EQ(test::bytes_of(records), test::bytes_of(alone(cases)));
}

TEST(Sharing, AnyOtherDifferenceTrainsAnew) {
  const std::pair<const char*, std::function<void(Case&)>> others[] = {
      {"margin", [](Case& c) { c.slab.slab5.margin = 0.05; }},
      {"test rows", [](Case& c) { c.slab.test = 300; }},
      {"rotation", [](Case& c) { c.slab.rotate = false; }},
      {"hidden", [](Case& c) { c.network.hidden = {9}; }},
      {"loss", [](Case& c) { c.network.loss = Loss::hinge; }},
      {"initialization", [](Case& c) { c.initialization.scale = 2; }},
      {"learning rate", [](Case& c) { c.training.optimizer.learning_rate = 0.3; }},
      {"schedule", [](Case& c) { c.training.schedule.epochs = 2; }},
      {"checks", [](Case& c) { c.training.stop.check_every = 30; }},
      {"updates", [](Case& c) { c.training.stop.max_updates = 61; }},
      {"batch", [](Case& c) { c.training.batch = 16; }},
      {"dropout", [](Case& c) { c.training.hidden_dropout = 0.1; }},
      {"order, which has no flag", [](Case& c) { c.training.in_order = true; }},
      {"S", [](Case& c) { c.simple = {1}; }},
      {"measures", [](Case& c) { c.measures.swap = true; }},
      {"model", [](Case& c) { c.evaluate = Which::best; }},
      {"adversary", [](Case& c) { c.adversary.epsilon = 0.1; }},
  };
  for (const auto& [what, differ] : others) {
    SCOPED_TRACE(what);
    Case other = attacked(0.2);
    EXPECT_TRUE(share(attacked(0.1), other));
    differ(other);
    EXPECT_FALSE(share(attacked(0.1), other));
  }
}

// In adversarial training an attack is part of the training; the attacks on what was trained are not.
TEST(Sharing, AdversariesTrainAnew) {
  Case a = attacked(0.1), b = attacked(0.2);
  a.adversary = {.epsilon = 0.1, .iterations = 2}, b.adversary = a.adversary;
  EXPECT_TRUE(share(a, b));
  const std::function<void(Pgd&)> others[] = {
      [](Pgd& adversary) { adversary.epsilon = 0.2; },
      [](Pgd& adversary) { adversary.step = 0.3; },
      [](Pgd& adversary) { adversary.iterations = 3; },
      [](Pgd& adversary) { adversary.norm = Norm::linf; },
      [](Pgd& adversary) { adversary.loss = AttackLoss::targeted; },  // has no flag
  };
  for (const auto& differ : others) {
    Case other = b;
    differ(other.adversary);
    EXPECT_FALSE(share(a, other));
  }
}

// Six members of two cases are measured four at a time: broken off after the first four, one training is measured in
// both cases and two are in the first case alone.
TEST(Sharing, GoesOnBetweenTheCasesOfATraining) {
  const std::vector<Case> cases{attacked(0.1), attacked(0.2)};
  const Plan plan = plan_of(cases);
  const std::string whole = test::bytes_of(trained(plan).records);

  Records records;
  States states;
  Seconds seconds;
  Progress progress("tool", false);
  const TrainHooks hooks{.progress = &progress, .states = &states, .saved = [] { throw Interrupted{}; }};
  EXPECT_FALSE(train(plan, three_saved_seeds(), kOneThread, hooks, records, seconds));
  EXPECT_EQ(progress.done(), 3 * kUpdates);
  ASSERT_EQ(records.size(), 4u);
  EXPECT_TRUE(records.contains({1, 0}));
  ASSERT_EQ(states.size(), 2u) << "one state a training that has not been measured in every case";
  for (int member : {1, 2}) EXPECT_EQ(states.at({0, member, 0}).training.updates, kUpdates);
  EXPECT_EQ(members_under_way(plan, records, states), 2u);

  // From their states nothing is trained again.
  Trained rest = trained(plan, records, states);
  EXPECT_EQ(rest.updates, 3 * kUpdates) << "those done before, skipped";
  EXPECT_EQ(test::bytes_of(rest.records), whole);
  // It is the states that are measured.
  States others = states;
  for (auto& [key, state] : others) std::ranges::fill(state.last, 0.0f);
  EXPECT_NE(test::bytes_of(trained(plan, records, others).records), whole);
  // Without them, two members train once more, and the case that was measured stays.
  Records known = records;
  known.at({0, 1}).metrics.front().second = 7;
  rest = trained(plan, known);
  EXPECT_EQ(rest.updates, 3 * kUpdates);
  EXPECT_EQ(rest.records.at({0, 1}).metrics.front().second, 7);
  rest.records.at({0, 1}) = records.at({0, 1});
  EXPECT_EQ(test::bytes_of(rest.records), whole);
}

}  // namespace
}  // namespace occam::experiment
