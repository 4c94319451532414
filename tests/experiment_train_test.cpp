// Groups, calls and interruptions of the training of a plan.
#include "experiment/train.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "occam/device.hpp"
#include "support/folder.hpp"
#include "support/records.hpp"

namespace occam::experiment {
namespace {

Case small_case(const std::string& name) {
  Case c;
  c.name = name;
  c.slab.dim = 5;
  c.slab.train = 600;
  c.slab.test = 200;
  c.network.hidden = {8};
  c.training.batch = 32;
  c.training.stop = {.criterion = StopCriterion::none, .check_every = 20, .max_updates = 60};
  return c;
}

Options three_seeds() {
  Options options;
  options.seeds = "3";
  options.keep = 2;
  return options;
}

using test::bytes_of;

const Device kCpu{.threads = 2};

TEST(Train, MembersOfOneArchitectureAndBatchShareAnEnsemble) {
  Case a = small_case("A"), b = small_case("B"), wide = small_case("wide"), batch = small_case("batch"),
       other = small_case("other");
  b.training.optimizer.learning_rate = 0.3;
  b.slab.slab5.margin = 0.05;
  wide.network.hidden = {9};
  batch.training.batch = 16;
  other.simple = {1};
  const Plan plan = make_plan("tool", {a, b, wide, batch, other}, three_seeds(), false, 1);
  const auto groups = groups_of(plan, {});
  ASSERT_EQ(groups.size(), 4u);
  EXPECT_EQ(groups[0].size(), 6u);
  for (const Place& place : groups[0]) EXPECT_LE(place.planned_case, 1);  // A and B
  for (std::size_t g : {1u, 2u, 3u}) EXPECT_EQ(groups[g].size(), 3u);
  // Finished members are left out.
  Records done;
  for (int member = 0; member < 3; ++member) done[{2, member}] = {};
  done[{0, 1}] = {};
  const auto rest = groups_of(plan, done);
  ASSERT_EQ(rest.size(), 3u);
  EXPECT_EQ(rest[0].size(), 5u);
}

TEST(Train, ResultsDoNotDependOnCompany) {
  Case a = small_case("A"), b = small_case("B");
  b.training.optimizer.learning_rate = 0.3;
  Seconds seconds;
  Records together, alone;
  ASSERT_TRUE(
      train(make_plan("tool", {a, b}, three_seeds(), false, 1), three_seeds(), kCpu, {}, together, seconds));
  ASSERT_TRUE(
      train(make_plan("tool", {b}, three_seeds(), false, 1), three_seeds(), kCpu, {}, alone, seconds));
  ASSERT_EQ(together.size(), 6u);
  ASSERT_EQ(alone.size(), 3u);
  Records b_of_together;
  for (int member = 0; member < 3; ++member) b_of_together[{0, member}] = together.at({1, member});
  EXPECT_EQ(bytes_of(b_of_together), bytes_of(alone));
  EXPECT_GT(seconds.train, 0);
  EXPECT_GT(seconds.measure, 0);
}

TEST(Train, GoesOnWhereItWasInterrupted) {
  Case a = small_case("A"), b = small_case("B");
  b.training.batch = 16;  // a group of its own
  const Options options = three_seeds();
  const Plan plan = make_plan("tool", {a, b}, options, false, 1);
  Seconds seconds;
  Records whole, parts;
  ASSERT_TRUE(train(plan, options, kCpu, {}, whole, seconds));

  std::atomic<bool> interrupt{false};
  const TrainHooks hooks{.interrupt = &interrupt, .saved = [&] { interrupt = true; }};
  EXPECT_FALSE(train(plan, options, kCpu, hooks, parts, seconds));
  EXPECT_EQ(parts.size(), 3u);  // the first group, whole
  EXPECT_FALSE(train(plan, options, kCpu, hooks, parts, seconds));
  EXPECT_EQ(parts.size(), 3u);  // the flag still stands: nothing more was begun

  interrupt = false;
  EXPECT_TRUE(train(plan, options, kCpu, hooks, parts, seconds));  // the last member outruns the flag
  EXPECT_EQ(parts.size(), 6u);
  EXPECT_EQ(bytes_of(parts), bytes_of(whole));
}

TEST(Train, MembersThatHadStoppedSurviveAnInterruption) {
  // One ensemble: the short member stops at once, the long one would go on for hours.
  Case quick = small_case("quick"), slow = small_case("slow");
  quick.training.stop.max_updates = 30;
  slow.training.stop = {
      .criterion = StopCriterion::none, .check_every = 1'000'000'000, .max_updates = 1'000'000'000};
  Options options = three_seeds();
  options.seeds = "1";
  const Plan plan = make_plan("tool", {quick, slow}, options, false, 1);
  std::atomic<bool> interrupt{false};
  Seconds seconds;
  Records records;
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    interrupt = true;
  });
  EXPECT_FALSE(train(plan, options, kCpu, {.interrupt = &interrupt}, records, seconds));
  ASSERT_EQ(records.size(), 1u);
  EXPECT_TRUE(records.contains({0, 0}));
  EXPECT_EQ(records.at({0, 0}).history.updates, 30);

  Records alone;
  const Plan only = make_plan("tool", {quick}, options, false, 1);
  ASSERT_TRUE(train(only, options, kCpu, {}, alone, seconds));
  EXPECT_EQ(bytes_of(records), bytes_of(alone));
}

// Broken off and resumed many times, by way of the file: a member under way loses nothing.
TEST(Train, MembersUnderWayGoOn) {
  Case a = small_case("A");
  a.training.stop = {.criterion = StopCriterion::none, .check_every = 40'000, .max_updates = 100'000};
  a.training.optimizer.momentum = 0.9;
  const Options options = three_seeds();
  const Plan plan = make_plan("tool", {a}, options, false, 1);
  Seconds seconds;
  Records whole, parts;
  ASSERT_TRUE(train(plan, options, kCpu, {}, whole, seconds));

  const test::Folder folder;
  const std::string path = folder / "checkpoint";
  States states;
  int broken = 0, began = 0;
  for (;; ++broken) {
    ASSERT_LT(broken, 1000) << "it does not get on";
    std::atomic<bool> interrupt{false};
    std::jthread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      interrupt = true;
    });
    if (train(plan, options, kCpu, {.states = &states, .interrupt = &interrupt}, parts, seconds)) break;
    for (const auto& [place, state] : states) {
      EXPECT_FALSE(parts.contains({std::get<0>(place), std::get<1>(place)})) << "it is measured";
      began += state.training.updates > 0;
    }
    write_checkpoint(path, 1, seconds, parts, states);
    auto read = read_checkpoint(path);
    states = std::move(read->states), parts = std::move(read->records);
  }
  EXPECT_GT(broken, 1);
  EXPECT_GT(began, 1);
  EXPECT_TRUE(states.empty());
  EXPECT_EQ(bytes_of(parts), bytes_of(whole));
}

// Of subsets there may be very many: what cannot be measured within the grace is not waited for.
TEST(Train, MeasuringEndsWithTheGrace) {
  Case c = small_case("A");
  Options options = three_seeds();
  c.slab.dim = 24, c.slab.test = 5000;  // 42,504 subsets of 5, which take a minute
  options.measure = "subset:5";
  const Plan plan = make_plan("tool", {c}, options, false, 1);
  std::atomic<bool> interrupt{false};
  Seconds seconds;
  Records records;
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    interrupt = true;
  });
  States states;
  EXPECT_FALSE(
      train(plan, options, kCpu, {.states = &states, .interrupt = &interrupt, .grace = 0}, records, seconds));
  EXPECT_TRUE(records.empty());
  // Their training is kept.
  ASSERT_EQ(states.size(), 3u);
  for (const auto& [place, state] : states) EXPECT_EQ(state.history.updates, 60);
}

TEST(Train, CallsAreBoundedByMemory) {
  MlpSpec small{.inputs = 50, .hidden = {100, 100}}, huge{.inputs = 16384, .hidden = {16384}};
  // As large as a call may become: the one before took no time.
  const auto largest = [](const MlpSpec& spec, const Device& device) {
    CallSize size(spec, device);
    size.took(1, 0);
    return size.networks();
  };
  EXPECT_EQ(largest(small, {.kind = DeviceKind::cpu, .threads = 2}), 16u);
  EXPECT_EQ(largest(small, {.kind = DeviceKind::cpu, .threads = 64}), 512u);
  EXPECT_EQ(largest(small, {.kind = DeviceKind::cuda, .threads = 2}), 16384u);
  const MlpSpec images{.inputs = 40000, .hidden = {1024, 1024}};
  const std::size_t on_gpu = largest(images, {.kind = DeviceKind::cuda, .threads = 2});
  EXPECT_LE(on_gpu * 2 * sizeof(float) * static_cast<std::size_t>(ParameterLayout(images).total),
            std::size_t{8} << 30);
  EXPECT_GE(on_gpu, 20u);
  EXPECT_EQ(largest(huge, {.kind = DeviceKind::cpu, .threads = 2}), 2u);  // one a thread
  EXPECT_EQ(largest(huge, {.kind = DeviceKind::cuda, .threads = 2}), 3u);
}

TEST(Train, CallsTakeMinutes) {
  CallSize size({.inputs = 50, .hidden = {100, 100}}, {.kind = DeviceKind::cpu, .threads = 3});
  EXPECT_EQ(size.networks(), 12u);  // four a thread
  size.took(12, 3);
  EXPECT_EQ(size.networks(), 24u);  // eight
  size.took(24, 450);
  EXPECT_EQ(size.networks(), 15u);  // 16 would take 300 s; a thread less has none to wait for
  size.took(15, 1e6);
  EXPECT_EQ(size.networks(), 12u);
  CallSize gpu({.inputs = 50, .hidden = {100, 100}}, {.kind = DeviceKind::cuda, .threads = 2});
  EXPECT_EQ(gpu.networks(), 1024u);
  gpu.took(1024, 100);
  EXPECT_EQ(gpu.networks(), 3072u);
}

TEST(Measure, SubsetsInOrder) {
  EXPECT_EQ(subsets(4, 2), (std::vector<std::vector<int>>{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}));
  EXPECT_EQ(subsets(3, 3), (std::vector<std::vector<int>>{{0, 1, 2}}));
  EXPECT_EQ(subsets(50, 2).size(), 1225u);
}

// Of a training of one seed.
MemberRecord record_of(const Case& c, const std::string& measure = "") {
  Options options;
  options.seeds = "1";
  options.measure = measure;
  Records records;
  Seconds seconds;
  EXPECT_TRUE(train(make_plan("tool", {c}, options, false, 1), options, kCpu, {}, records, seconds));
  return records.at({0, 0});
}

TEST(Measure, LastAndBestAreTheirChecks) {
  Case c = small_case("A");
  c.slab.validation = 150;
  for (const bool last : {true, false}) {
    c.evaluate = last ? Which::last : Which::best;
    const MemberRecord record = record_of(c);
    const Check &at_last = record.history.checks.back(),
                &at_best = record.history.checks[static_cast<std::size_t>(record.history.best_check)];
    ASSERT_NE(at_last.train_loss, at_best.train_loss);
    ASSERT_LT(at_last.validation_accuracy, 1);
    const Check &plain = last ? at_last : at_best, &other = last ? at_best : at_last;
    const std::string name = last ? "best_" : "last_";
    EXPECT_EQ(metric(record, "train_loss"), plain.train_loss);
    EXPECT_EQ(metric(record, "validation_accuracy"), plain.validation_accuracy);
    EXPECT_EQ(metric(record, name + "train_loss"), other.train_loss);
    EXPECT_EQ(metric(record, name + "validation_loss"), other.validation_loss);
  }
}

TEST(Measure, SubsetsAreTheirOwnBesideOtherMeasures) {
  const MemberRecord all = record_of(small_case("A"), "per-coordinate,subset:2,subset:1");
  for (const char* size : {"2", "1"}) {
    const MemberRecord one = record_of(small_case("A"), std::string("subset:") + size);
    for (const char* what : {"_mean_accuracy", "_least_accuracy"}) {
      const std::string name = std::string("subset") + size + what;
      EXPECT_EQ(metric(all, name), metric(one, name)) << name;
    }
  }
}

// The best model of 30 updates, taken after the check at 21, is the last one of 21.
TEST(Measure, SaliencyIsOfTheEvaluatedModel) {
  const auto saliency_of = [](Which which, std::int64_t updates) {
    Case c{.name = "FCN",
           .shapes = ShapeRecipe{.height = 40, .width = 40, .train = 40, .test = 40},
           .network = {.hidden = {4}}};
    c.training.batch = 10;
    c.training.stop = {.criterion = StopCriterion::none, .check_every = 20, .max_updates = updates};
    c.evaluate = which;
    const MemberRecord record = record_of(c);
    const auto saliency = std::ranges::find(record.arrays, "saliency/iid", &MemberArray::name);
    EXPECT_NE(saliency, record.arrays.end());
    return saliency->bytes;
  };
  EXPECT_EQ(saliency_of(Which::best, 30), saliency_of(Which::last, 21));
  EXPECT_NE(saliency_of(Which::last, 30), saliency_of(Which::last, 21));
}

TEST(Measure, AttacksAreMadeAsTheirFlagsSay) {
  Attacks attacks;
  attacks.pgd = attacks.as_uap = true;
  attacks.pgd_settings.epsilon = 0.4, attacks.pgd_settings.step = 0, attacks.pgd_settings.iterations = 20;
  attacks.as_settings.step = 0.07;
  AttackSuite suite = attacks.suite(9);
  EXPECT_DOUBLE_EQ(suite.pgd->step, 2.5 * 0.4 / 20);  // as Madry et al. step
  EXPECT_EQ(suite.pgd->seed, 9u);
  EXPECT_EQ(suite.as_uap->step, 0.07);
  EXPECT_FALSE(suite.svd_uap);
  EXPECT_TRUE(suite.in_range_units);
  EXPECT_FALSE(suite.keeps_bounds);
  attacks.units = AttackUnits::absolute;
  attacks.bounds = {-3, 4};
  suite = attacks.suite(9);
  EXPECT_FALSE(suite.in_range_units);
  EXPECT_TRUE(suite.keeps_bounds);
  EXPECT_EQ(suite.as_uap->lower, -3);
  EXPECT_EQ(suite.pgd->upper, 4);
}

TEST(Measure, WhatDivergedIsNotAttacked) {
  Case good = small_case("good"), bad = small_case("bad");
  for (Case* c : {&good, &bad}) {
    c->slab.dim = 40;  // more than LAPACK looks through for NaN
    c->attacks.pgd = c->attacks.svd_uap = c->attacks.as_uap = true;
    c->attacks.pgd_settings.iterations = c->attacks.svd_settings.attack.iterations = 2;
    c->attacks.as_settings.iterations = 2;
  }
  bad.training.optimizer.learning_rate = 1e30;
  const Options options = three_seeds();
  Records records;
  Seconds seconds;
  ASSERT_TRUE(train(make_plan("tool", {good, bad}, options, false, 1), options, kCpu, {}, records, seconds));
  const MemberRecord &converged = records.at({0, 0}), &diverged = records.at({1, 0});
  ASSERT_TRUE(diverged.diverged());
  ASSERT_EQ(diverged.metrics.size(), converged.metrics.size());
  for (std::size_t i = 0; i < converged.metrics.size(); ++i)
    EXPECT_EQ(diverged.metrics[i].first, converged.metrics[i].first);
  for (const char* name : {"pgd_accuracy", "svd_uap_share", "as_uap_accuracy", "data_range"}) {
    EXPECT_TRUE(std::isfinite(metric(converged, name))) << name;
    EXPECT_TRUE(std::isnan(metric(diverged, name))) << name;
  }
}

}  // namespace
}  // namespace occam::experiment
