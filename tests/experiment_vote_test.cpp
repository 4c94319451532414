// Cases with votes: what a seed's record holds, that it depends on its own networks alone, and that an
// interruption costs no finished vote.
#include <atomic>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiment/train.hpp"
#include "experiment/vote_measure.hpp"
#include "occam/device.hpp"
#include "occam/error.hpp"

namespace occam::experiment {
namespace {

using ::testing::HasSubstr;

Case small_case(const std::string& name, std::vector<int> sizes) {
  Case c;
  c.name = name;
  c.slab.dim = 5;
  c.slab.train = 600;
  c.slab.test = 200;
  c.network.hidden = {8};
  c.training.batch = 32;
  c.training.stop = {.criterion = StopCriterion::none, .check_every = 20, .max_updates = 60};
  c.evaluate = Which::best;
  c.votes.sizes = std::move(sizes);
  return c;
}

Options seeds(const std::string& text) {
  Options options;
  options.seeds = text;
  options.keep = 1;
  return options;
}

const Device kTwoThreads{.threads = 2};

Records trained(const std::vector<Case>& cases, const std::string& seeds_text) {
  Seconds seconds;
  Records records;
  const Options options = seeds(seeds_text);
  EXPECT_TRUE(train(make_plan("tool", cases, options, false, 1), options, kTwoThreads, {}, records, seconds));
  return records;
}

void expect_same(const MemberRecord& a, const MemberRecord& b) {
  EXPECT_EQ(a.metrics, b.metrics);
  EXPECT_EQ(a.history.updates, b.history.updates);
  EXPECT_EQ(a.history.status, b.history.status);
  ASSERT_EQ(a.history.checks.size(), b.history.checks.size());
  for (std::size_t k = 0; k < a.history.checks.size(); ++k)
    EXPECT_EQ(a.history.checks[k].train_loss, b.history.checks[k].train_loss);
}

TEST(Votes, SeedsThatWouldWrapAreRefused) {
  const auto plan_of = [](const char* of) {
    return make_plan("tool", {small_case("A", {3})}, seeds(of), false, 1);
  };
  EXPECT_NO_THROW(plan_of("4194303-4194303"));
  try {
    plan_of("4194304-4194304");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("seed 4194304: of votes, seeds of initialisation and order are below 4194304"));
  }
}

TEST(Votes, NamesOfMetrics) {
  Votes votes{.sizes = {3, 1, 10}};
  EXPECT_EQ(votes.networks(), 10);
  EXPECT_EQ(votes.metric("standard_auc", 3, Combiner::average), "standard_auc");
  EXPECT_EQ(votes.metric("standard_auc", 10, Combiner::average), "standard_auc_10");
  votes.combiners = {Combiner::average, Combiner::mlp};
  EXPECT_EQ(votes.metric("standard_auc", 3, Combiner::average), "standard_auc");
  EXPECT_EQ(votes.metric("standard_auc", 3, Combiner::mlp), "standard_auc_3_mlp");
  votes.sizes = {3};
  EXPECT_EQ(votes.metric("standard_auc", 3, Combiner::mlp), "standard_auc_mlp");
  EXPECT_EQ(Votes{}.networks(), 1);
}

TEST(Votes, ARecordHoldsTheVoteAndItsNetworks) {
  const Case c = small_case("A", {3, 1});
  const Records records = trained({c}, "2");
  ASSERT_EQ(records.size(), 2u);
  for (const auto& [place, record] : records) {
    EXPECT_EQ(record.history.updates, 3 * 60);  // of all networks
    EXPECT_EQ(metric(record, "updates"), 60);
    EXPECT_EQ(record.history.status, FitStatus::limit);
    std::set<std::string> names;
    for (const auto& [name, value] : record.metrics) EXPECT_TRUE(names.insert(name).second) << name;
    for (const char* name :
         {"train_accuracy", "standard_accuracy", "standard_auc", "s_randomized_auc", "sc_randomized_auc",
          "standard_auc_1", "networks_standard_accuracy", "networks_train_accuracy", "best_at_update"})
      EXPECT_TRUE(names.contains(name)) << name;
    EXPECT_EQ(record.arrays.size(),
              place.second == 0 ? 4u : 0u);  // three sets of scores and the labels, if kept
  }
}

// The vote of one is the plain member with the first voter's seeds.
TEST(Votes, AVoteOfOneIsANetwork) {
  const MemberRecord vote = trained({small_case("A", {1})}, "1-1").at({0, 0});
  const Case alone = small_case("A", {});
  Options options;
  options.data_seeds = "1";
  options.init_seeds = options.order_seeds = "1024";
  Seconds seconds;
  Records records;
  ASSERT_TRUE(
      train(make_plan("tool", {alone}, options, false, 1), options, kTwoThreads, {}, records, seconds));
  const MemberRecord& network = records.at({0, 0});
  for (const char* name : {"standard_accuracy", "standard_auc", "s_randomized_auc", "sc_randomized_auc",
                           "train_accuracy", "updates"})
    EXPECT_EQ(metric(vote, name), metric(network, name)) << name;
  for (const char* name : {"standard_auc", "standard_accuracy", "sc_randomized_accuracy"})
    EXPECT_EQ(metric(vote, std::string("networks_") + name), metric(network, name)) << name;
  EXPECT_NEAR(metric(vote, "standard_loss"), metric(network, "standard_loss"), 1e-6);
}

TEST(Votes, BitsDoNotDependOnCompany) {
  Case a = small_case("A", {3}), b = small_case("B", {3});
  a.votes.combiners = b.votes.combiners = {Combiner::average, Combiner::linear};
  b.training.optimizer.learning_rate = 0.3;
  const Records crowd = trained({a, b}, "9");  // several calls
  ASSERT_EQ(crowd.size(), 18u);
  expect_same(crowd.at({1, 7}), trained({b}, "7-7").at({0, 0}));
}

TEST(Votes, SmallerVotesAreThoseOfTheirOwnRun) {
  const MemberRecord nested = trained({small_case("A", {2, 4})}, "1").at({0, 0});
  const MemberRecord two = trained({small_case("A", {2})}, "1").at({0, 0});
  for (const char* name : {"standard_loss", "standard_auc", "s_randomized_auc", "train_loss"})
    EXPECT_EQ(metric(nested, name), metric(two, name)) << name;
  EXPECT_NE(metric(nested, "standard_loss"), metric(nested, "standard_loss_4"));
}

TEST(Votes, SeedsAreOtherNetworks) {
  const Records records = trained({small_case("A", {2})}, "2");
  EXPECT_NE(metric(records.at({0, 0}), "standard_loss"), metric(records.at({0, 1}), "standard_loss"));
}

TEST(Votes, AnInterruptionKeepsWholeVotes) {
  const Options options = seeds("11");  // several calls
  const Plan plan = make_plan("tool", {small_case("A", {3})}, options, false, 1);
  Seconds seconds;
  Records whole, parts;
  ASSERT_TRUE(train(plan, options, kTwoThreads, {}, whole, seconds));
  std::atomic<bool> interrupt{false};
  const TrainHooks hooks{.interrupt = &interrupt, .saved = [&] { interrupt = true; }};
  EXPECT_FALSE(train(plan, options, kTwoThreads, hooks, parts, seconds));
  EXPECT_EQ(parts.size(), 2u);  // 8 networks are two votes
  interrupt = false;
  EXPECT_TRUE(train(plan, options, kTwoThreads, {}, parts, seconds));
  ASSERT_EQ(parts.size(), 11u);
  for (int member = 0; member < 11; ++member) expect_same(parts.at({0, member}), whole.at({0, member}));
}

TEST(Votes, ADivergedNetworkDivergesItsVote) {
  Case c = small_case("A", {2});
  c.votes.combiners = {Combiner::average, Combiner::linear, Combiner::mlp};
  const MemberRecord good = trained({c}, "1").at({0, 0});
  c.training.optimizer.learning_rate = 1e6;
  const MemberRecord record = trained({c}, "1").at({0, 0});
  EXPECT_TRUE(record.diverged());
  // It costs nothing but its own numbers.
  std::multiset<std::string> names, good_names;
  for (const auto& [name, value] : record.metrics) names.insert(name);
  for (const auto& [name, value] : good.metrics) good_names.insert(name);
  EXPECT_EQ(names, good_names);
  EXPECT_TRUE(std::isnan(metric(record, "standard_accuracy_mlp")));
}

// A combiner that never fits its rows trains for long, and heeds a request to stop all the same.
TEST(Votes, ACombinerStopsWhereItIsAskedTo) {
  Case c = small_case("A", {8});
  c.votes.combiners = {Combiner::mlp};
  c.slab.linear.noise = 0.5, c.slab.slab5.count = 0;  // nothing to learn
  c.training.batch = 600;
  const Plan plan = make_plan("tool", {c}, seeds("1"), false, 1);
  const Case& settled = plan.cases[0].settings;
  MlpEnsemble networks(settled.network, std::vector<Seeds>(8), kTwoThreads);
  std::atomic<bool> stop{false};
  networks.heed(&stop);
  MemberRecord record;
  const std::vector<MemberHistory> histories(8);
  std::jthread asks([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop = true;
  });
  EXPECT_THROW(measure_vote(networks, histories, plan.cases[0].data[0], plan.cases[0], false, record),
               Interrupted);
}

TEST(Votes, AreRecordedInTheConfiguration) {
  Case c = small_case("A", {3, 5});
  const Options options = seeds("1");
  const Plan plan = make_plan("tool", {c}, options, false, 1);
  EXPECT_EQ(plan.cases[0].config["vote_sizes"], nlohmann::ordered_json({3, 5}));
  EXPECT_EQ(plan.cases[0].config["combiners"], nlohmann::ordered_json({"average"}));
  c.votes.combiners = {Combiner::linear};
  EXPECT_NE(make_plan("tool", {c}, options, false, 1).hash, plan.hash);
  EXPECT_FALSE(
      make_plan("tool", {small_case("A", {})}, options, false, 1).cases[0].config.contains("vote_sizes"));
}

TEST(Votes, ImpossibleOnesAreRefused) {
  const auto error = [](const std::vector<int>& sizes, const std::vector<Combiner>& combiners,
                        const Options& options, const Measures& measures = {}) -> std::string {
    Case c = small_case("A", sizes);
    c.votes.combiners = combiners;
    c.measures = measures;
    try {
      make_plan("tool", {c}, options, false, 1);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  const std::vector<Combiner> average{Combiner::average};
  EXPECT_EQ(error({3}, average, seeds("1")), "");
  EXPECT_THAT(error({0}, average, seeds("1")), HasSubstr("0 is outside 1 … 1024"));
  EXPECT_THAT(error({2000}, average, seeds("1")), HasSubstr("2000"));
  EXPECT_THAT(error({3, 3}, average, seeds("1")), HasSubstr("twice"));
  EXPECT_THAT(error({3}, {}, seeds("1")), HasSubstr("--combiner"));
  EXPECT_THAT(error({3}, average, seeds("1"), {.swap = true}), HasSubstr("--measure"));
  Options save = seeds("1");
  save.save = "weights";
  EXPECT_THAT(error({3}, average, save), HasSubstr("--save"));
}

}  // namespace
}  // namespace occam::experiment
