// From records to result.json, cases.csv and the console, on records made by hand.
#include "experiment/results.hpp"

#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cpu/engine.hpp"
#include "occam/statistics.hpp"
#include "support/folder.hpp"

extern "C" char* openblas_get_corename();

namespace occam::experiment {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsNan;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

Case lms5() {
  Case c;
  c.name = "LMS-5";
  c.published = "LMS-5";
  c.expectations = {{.metric = "s_randomized_auc",
                     .test = Expectation::Test::equivalence_and_prediction,
                     .seeds_cpu = 3,
                     .center = 0.5,
                     .margin = 0.05,
                     .analytic_deviation = 0.006},
                    {.metric = "updates",
                     .test = Expectation::Test::share,
                     .seeds_cpu = 100,
                     .threshold = 0.95,
                     .values = {5001}}};
  return c;
}

MemberRecord record(double auc, double updates, FitStatus status = FitStatus::converged) {
  MemberRecord r;
  r.history.status = status;
  r.history.updates = static_cast<std::int64_t>(updates);
  r.history.checks = {{.updates = 1}, {.updates = 5001, .final = true}};
  r.metrics = {{"s_randomized_auc", auc}, {"train_accuracy", 1.0}, {"updates", updates}};
  return r;
}

struct Fixture {
  Options options;
  Plan plan;
  Device device{.threads = 2, .name = "a CPU"};
  Records records;
  Fixture(const std::string& seeds, const Options& given = {}) : options(given) {
    if (options.data_seeds.empty()) options.seeds = seeds;
    plan = make_plan("extreme_slab", {lms5()}, options, false, 1);
  }
  Run run() const { return {"extreme_slab", plan, options, device, records, "extreme_slab --seeds 4"}; }
};

TEST(Results, DivergedMembersAreNullAndLeftOut) {
  Fixture f("4");
  f.records[{0, 0}] = record(0.501, 5001);
  f.records[{0, 1}] = record(0.499, 5001);
  f.records[{0, 2}] = record(77, 1, FitStatus::diverged);
  f.records[{0, 3}] = record(0.5, 10001, FitStatus::limit);
  const auto run = f.run();
  const std::vector<Judged> judged = judge_all(run);
  const nlohmann::json result = nlohmann::json::parse(result_json(run, judged).dump());
  EXPECT_EQ(result["schema"], 1);
  EXPECT_EQ(result["device"]["name"], "a CPU");
  EXPECT_EQ(result["provenance"]["command"], "extreme_slab --seeds 4");
  EXPECT_EQ(result["provenance"]["threads"], 2);
  const nlohmann::json& libraries = result["provenance"]["libraries"];
  EXPECT_THAT(libraries["OpenBLAS"].get<std::string>(), MatchesRegex("0\\.[0-9]+\\.[0-9]+[.a-z0-9]* .+"));
  EXPECT_THAT(libraries["OpenBLAS"].get<std::string>(), EndsWith(openblas_get_corename()));
  EXPECT_THAT(libraries["libpng"].get<std::string>(), MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  const nlohmann::json& c = result["cases"][0];
  EXPECT_EQ(c["status"], nlohmann::json({"converged", "converged", "diverged", "limit"}));
  EXPECT_EQ(c["metrics"]["s_randomized_auc"], nlohmann::json({0.501, 0.499, nullptr, 0.5}));
  EXPECT_EQ(c["metrics"]["updates"], nlohmann::json({5001, 5001, nullptr, 10001}));
  EXPECT_EQ(c["plan"], fmt::format("cpu, {}", cpu::instruction_set()));
  EXPECT_EQ(c["protocol"], "published");
  EXPECT_EQ(c["published"]["s_randomized_auc"], 0.507);
  EXPECT_FALSE(c["published"].contains("train_seconds"));
  EXPECT_EQ(c["verdicts"]["s_randomized_auc"], "reproduced");
  EXPECT_EQ(c["verdicts"]["updates"], "insufficient");
  EXPECT_EQ(c["tolerances"]["s_randomized_auc"], 0.05);
  EXPECT_FALSE(c.contains("variance_shares"));
  EXPECT_FALSE(c.contains("member_seeds"));

  const std::string table = console_table(run, judged);
  EXPECT_THAT(table, HasSubstr("4 seeds: 2 converged, 1 at the limit of updates, 1 diverged and left out"));
  EXPECT_THAT(table, HasSubstr("0.507"));
  EXPECT_THAT(table, HasSubstr("reproduced: 90% interval"));
  EXPECT_THAT(table, HasSubstr("5001 ×2, 10001 ×1"));
  EXPECT_THAT(table, Not(HasSubstr("nan")));

  const std::string csv = cases_csv(run);
  EXPECT_THAT(
      csv, StartsWith(
               "case,seed,data_seed,init_seed,order_seed,status,s_randomized_auc,train_accuracy,updates\n"));
  EXPECT_THAT(csv, HasSubstr("\nLMS-5,2,2,2,2,diverged,,,\n"));
  EXPECT_THAT(csv, HasSubstr("\nLMS-5,3,3,3,3,limit,0.5,1,10001\n"));
}

TEST(Results, DifferencesAreJudgedMemberByMember) {
  Fixture f("3");
  f.plan.cases[0].settings.expectations = {{.metric = "s_randomized_auc",
                                            .minus = "train_accuracy",
                                            .test = Expectation::Test::equivalence,
                                            .seeds_cpu = 3,
                                            .center = -0.5,
                                            .margin = 0.001}};
  // Apart both vary by 0.1; member by member they differ by 0.5.
  for (int m = 0; m < 3; ++m) {
    f.records[{0, m}] = record(0.3 + 0.1 * m, 5001);
    f.records[{0, m}].metrics[1].second = 0.8 + 0.1 * m + (m == 1 ? 1e-5 : 0);
  }
  const auto run = f.run();
  const std::vector<Judged> judged = judge_all(run);
  ASSERT_EQ(judged.size(), 1u);
  EXPECT_EQ(judged[0].metric, "s_randomized_auc - train_accuracy");
  EXPECT_EQ(judged[0].verdict.word, "reproduced") << judged[0].verdict.detail;
  EXPECT_NEAR(run.values(0, judged[0].metric)[2], -0.5, 1e-12);
  const nlohmann::json c = nlohmann::json::parse(result_json(run, judged).dump())["cases"][0];
  EXPECT_EQ(c["verdicts"]["s_randomized_auc - train_accuracy"], "reproduced");
  EXPECT_EQ(c["tolerances"]["s_randomized_auc - train_accuracy"], 0.001);
  EXPECT_THAT(console_table(run, judged), HasSubstr("s_randomized_auc - train_accuracy   -0.5000"));
  // A member without one of the two has no difference.
  f.records[{0, 0}].metrics.erase(f.records[{0, 0}].metrics.begin());
  EXPECT_EQ(f.run().valid_values(0, "s_randomized_auc - train_accuracy").size(), 2u);
}

TEST(Results, SeedsOfTheOriginalCodeAreFound) {
  Fixture f("1");
  EXPECT_EQ(f.run().original_seeds(0, "s_randomized_auc").size(), 10u);
  EXPECT_EQ(f.run().original_seeds(0, "s_randomized_auc")[0], 0.4938);
  EXPECT_TRUE(f.run().original_seeds(0, "train_accuracy").empty());
}

TEST(Results, OneSeedIsNoStatistics) {
  Fixture f("1");
  f.records[{0, 0}] = record(0.5, 5001);
  const auto run = f.run();
  const std::vector<Judged> judged = judge_all(run);
  for (const Judged& row : judged) EXPECT_EQ(row.verdict.word, "insufficient");
  const std::string table = console_table(run, judged);
  EXPECT_THAT(table, HasSubstr("1 seed: 1 converged"));
  EXPECT_THAT(table, Not(HasSubstr("nan")));
}

TEST(Results, ChangedSettingsHaveNoPublishedValuesAndNoVerdicts) {
  Options options;
  options.fields["lr"] = {"0.2"};
  Fixture f("1", options);
  f.records[{0, 0}] = record(0.5, 5001);
  const nlohmann::json c = nlohmann::json::parse(result_json(f.run(), judge_all(f.run())).dump())["cases"][0];
  EXPECT_EQ(c["protocol"], "changed");
  EXPECT_TRUE(c["published"].empty());
  EXPECT_TRUE(c["verdicts"].empty());
  EXPECT_FALSE(c.contains("tolerances"));
  EXPECT_THAT(console_table(f.run(), {}), HasSubstr("settings differ from the published protocol"));
}

TEST(Results, ProductsOfSeedsHaveSharesAndNoVerdicts) {
  Options options;
  options.data_seeds = "4-5";
  options.init_seeds = "0,9";
  Fixture f("", options);
  for (int m = 0; m < 4; ++m) f.records[{0, m}] = record(0.5 + 0.01 * (m / 2), 5001 + m % 2);
  EXPECT_TRUE(judge_all(f.run()).empty());
  const nlohmann::json c = nlohmann::json::parse(result_json(f.run(), {}).dump())["cases"][0];
  EXPECT_EQ(c["seeds"], nlohmann::json({0, 1, 2, 3}));
  EXPECT_EQ(c["member_seeds"]["data"], nlohmann::json({4, 4, 5, 5}));
  EXPECT_EQ(c["member_seeds"]["init"], nlohmann::json({0, 9, 0, 9}));
  EXPECT_NEAR(c["variance_shares"]["s_randomized_auc"]["data"].get<double>(), 1, 1e-9);
  EXPECT_NEAR(c["variance_shares"]["updates"]["init"].get<double>(), 1, 1e-9);
  EXPECT_FALSE(c["variance_shares"].contains("train_accuracy"));  // nothing varies
  EXPECT_THAT(console_table(f.run(), {}), HasSubstr("members share seeds: no verdicts"));
}

TEST(Results, MetricsThatDoNotExistAreNull) {
  Fixture f("2");
  f.records[{0, 0}] = record(kNan, 5001);
  f.records[{0, 1}] = record(0.5, 5001);
  EXPECT_THAT(f.run().valid_values(0, "s_randomized_auc"), ElementsAre(0.5));
  const nlohmann::json c = nlohmann::json::parse(result_json(f.run(), {}).dump())["cases"][0];
  EXPECT_EQ(c["metrics"]["s_randomized_auc"], nlohmann::json({nullptr, 0.5}));
}

TEST(Results, TimingHoldsTheSeconds) {
  Fixture f("1");
  f.records[{0, 0}] = record(0.5, 5000);
  const nlohmann::json timing = nlohmann::json::parse(timing_json(f.run(), {0.5, 2.0, 1.0, 3.5}));
  EXPECT_EQ(timing["data"], 0.5);
  EXPECT_EQ(timing["total"], 3.5);
  EXPECT_EQ(timing["updates"], 5000);
  EXPECT_EQ(timing["updates_per_second"], 2500.0);
}

TEST(Results, AnExpectationOfAMetricThatDoesNotExistSaysSo) {
  Fixture f("3");
  f.plan.cases[0].settings.expectations = {
      {.metric = "s_randomised_auc", .test = Expectation::Test::every, .seeds_cpu = 1, .threshold = 0}};
  for (int m = 0; m < 3; ++m) f.records[{0, m}] = record(0.5, 5001);
  const std::vector<Judged> judged = judge_all(f.run());
  EXPECT_EQ(judged[0].verdict.word, "insufficient");
  EXPECT_EQ(judged[0].verdict.detail, "there is no metric 's_randomised_auc'");
  EXPECT_EQ(shown_metrics(f.run(), 0, judged).back(), "s_randomised_auc");
  EXPECT_THAT(console_table(f.run(), judged), HasSubstr("there is no metric"));
}

// What extreme_slab measures, in the order of result.json, and what of it is shown.
const std::pair<const char*, bool> kMeasured[] = {{"standard_auc", true},
                                                  {"standard_accuracy", true},
                                                  {"standard_loss", false},
                                                  {"s_randomized_auc", true},
                                                  {"s_randomized_loss", false},
                                                  {"T_randomized_auc", true},
                                                  {"T_randomized_accuracy", false},
                                                  {"train_accuracy", true},
                                                  {"train_loss", true},
                                                  {"standard_auc_10_mlp", true},
                                                  {"updates", true},
                                                  {"best_at_update", true},
                                                  {"best_train_accuracy", false},
                                                  {"per_coordinate_simple_accuracy", true},
                                                  {"subset2_least_accuracy", true},
                                                  {"best_standard_auc", false},
                                                  {"best_standard_accuracy", true},
                                                  {"best_s_randomized_auc", true},
                                                  {"best_sc_randomized_auc", false},
                                                  {"sc_swapped_auc", true},
                                                  {"s_randomized_agreement", true},
                                                  {"pgd_accuracy", true},
                                                  {"pgd_loss", false},
                                                  {"pgd_share", true},
                                                  {"networks_standard_accuracy", true},
                                                  {"networks_standard_loss", false}};

class Shown : public testing::Test {
 protected:
  Shown() {
    for (const auto& [name, there] : kMeasured) {
      f.records[{0, 0}].metrics.emplace_back(name, 0.5);
      if (there) expected.emplace_back(name);
    }
  }
  // The first words of the console's lines under the head of its table.
  std::vector<std::string> lines(const std::vector<Judged>& judged) const {
    std::istringstream table(console_table(f.run(), judged));
    std::vector<std::string> names;
    for (std::string line, name; std::getline(table, line);)
      if (line.starts_with("  ") && std::istringstream(line) >> name && name != "mean" && name != "settings")
        names.push_back(name);
    return names;
  }
  std::vector<std::string> recorded(const std::vector<Judged>& judged) const {
    return result_json(f.run(), judged)["cases"][0]["shown"].get<std::vector<std::string>>();
  }

  Fixture f{"1"};
  std::vector<std::string> expected;
};

TEST_F(Shown, TheUsualMetricsOnTheConsoleAndInTheFile) {
  EXPECT_EQ(recorded({}), expected);
  EXPECT_EQ(lines({}), expected);
}

TEST_F(Shown, WhatIsJudgedOrPublishedToo) {
  f.plan.cases[0].published["published"]["pgd_loss"] = 0.25;
  const std::vector<Judged> judged = {
      {0, "standard_loss", {}}, {0, "a - b", {}}, {1, "s_randomized_loss", {}}};
  expected.insert(expected.begin() + 2, "standard_loss");
  expected.insert(std::ranges::find(expected, "pgd_share"), "pgd_loss");
  expected.push_back("a - b");
  EXPECT_EQ(recorded(judged), expected);
  expected.back() = "a";  // of "a - b"
  EXPECT_EQ(lines(judged), expected);
}

TEST_F(Shown, EverythingOfAComputation) {
  f.plan.cases[0].settings.numbers = {{"neurons", 100}};
  EXPECT_EQ(recorded({}).size(), std::size(kMeasured));
}

// Rows of arrays are members, also where one brought nothing.
TEST(Results, MembersWithoutAnArrayHaveNaNThere) {
  Fixture f("5");
  f.options.keep = 3;
  for (int m = 0; m < 5; ++m)
    f.records[{0, m}] = record(0.5, 5001, m == 1 ? FitStatus::diverged : FitStatus::limit);
  const auto add = [&](int m, const char* name) {
    const float values[] = {static_cast<float>(m), 7.0f};
    f.records[{0, m}].arrays.push_back(member_array<float>(name, values, {2}));
    const std::int32_t whole[] = {m + 1};
    f.records[{0, m}].arrays.push_back(member_array<std::int32_t>(std::string(name) + "_whole", whole, {1}));
  };
  for (const int m : {0, 2}) add(m, "kept");
  for (const int m : {0, 2, 3}) add(m, "all");  // 4 has none either
  const test::Folder folder;
  const std::string path = folder / "arrays.npz";
  write_arrays(f.run(), path);
  const NpzReader arrays(path);
  const NpyArray kept = arrays.read("LMS-5/kept"), all = arrays.read("LMS-5/all"),
                 whole = arrays.read("LMS-5/all_whole");
  EXPECT_THAT(kept.shape, ElementsAre(3, 2));
  EXPECT_THAT(kept.values<float>(), ElementsAre(0, 7, IsNan(), IsNan(), 2, 7));
  EXPECT_THAT(all.shape, ElementsAre(5, 2));
  EXPECT_THAT(all.values<float>(), ElementsAre(0, 7, IsNan(), IsNan(), 2, 7, 3, 7, IsNan(), IsNan()));
  EXPECT_THAT(whole.values<std::int32_t>(), ElementsAre(1, 0, 3, 4, 0));
}

}  // namespace
}  // namespace occam::experiment
