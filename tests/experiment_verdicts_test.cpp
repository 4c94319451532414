#include "experiment/verdicts.hpp"

#include <cmath>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "occam/experiment.hpp"

namespace occam::experiment {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Kind = Expectation::Test;

// n values with this mean and a spread of ± `step`.
std::vector<double> around(double center, double step, int n) {
  std::vector<double> values;
  for (int i = 0; i < n; ++i) values.push_back(center + (i % 2 ? step : -step));
  return values;
}

Row row(Expectation e, std::vector<double> values, std::optional<double> published = {}) {
  return {0, std::move(e), std::move(values), published, 1.0};
}

Verdict judge_one(const Row& one, DeviceKind device = DeviceKind::cpu) {
  return judge(std::vector<Row>{one}, device).front();
}

const Expectation kEquivalence{.metric = "m", .test = Kind::equivalence, .center = 0.5, .margin = 0.01};

TEST(Verdicts, Equivalence) {
  EXPECT_EQ(judge_one(row(kEquivalence, around(0.501, 0.005, 20))).word, "reproduced");
  EXPECT_EQ(judge_one(row(kEquivalence, around(0.52, 0.005, 20))).word, "not reproduced");  // elsewhere
  EXPECT_EQ(judge_one(row(kEquivalence, around(0.501, 0.05, 20))).word,
            "not reproduced");  // too wide to tell
}

TEST(Verdicts, TooFewSeedsAreInsufficientNeverReproduced) {
  const Verdict verdict = judge_one(row(kEquivalence, around(0.5, 0.001, 19)));
  EXPECT_EQ(verdict.word, "insufficient");
  EXPECT_THAT(verdict.detail, HasSubstr("19 of 20"));
  EXPECT_EQ(judge_one(row(kEquivalence, {0.5})).word, "insufficient");
  EXPECT_EQ(judge_one(row(kEquivalence, {})).word, "insufficient");
  const Expectation every{
      .metric = "m", .test = Kind::every, .seeds_cpu = 20, .seeds_cuda = 1000, .threshold = 0.9995};
  EXPECT_EQ(judge_one(row(every, std::vector<double>(20, 1.0))).word, "reproduced");
  EXPECT_EQ(judge_one(row(every, std::vector<double>(20, 1.0)), DeviceKind::cuda).word, "insufficient");
}

TEST(Verdicts, Prediction) {
  Expectation e{.metric = "m", .test = Kind::prediction};
  const std::vector<double> values = around(0.5, 0.005, 20);
  EXPECT_EQ(judge_one(row(e, values, 0.507)).word, "reproduced");
  EXPECT_EQ(judge_one(row(e, values, 0.53)).word, "not reproduced");
  EXPECT_EQ(judge_one(row(e, values)).word, "not reproduced");  // nothing to compare with
  // The interval widens by half the last printed digit, and never falls below the analytic error.
  EXPECT_EQ(judge_one(row(e, std::vector<double>(20, 0.5), 0.507)).word, "not reproduced");
  e.published_resolution = 0.0141;
  EXPECT_EQ(judge_one(row(e, std::vector<double>(20, 0.5), 0.507)).word, "reproduced");
  EXPECT_EQ(judge_one(row(e, std::vector<double>(20, 0.5), 0.493)).word, "reproduced");
  EXPECT_EQ(judge_one(row(e, std::vector<double>(20, 0.5), 0.4929)).word, "not reproduced");
  e.published_resolution = 0;
  e.analytic_deviation = 0.00577;
  EXPECT_EQ(judge_one(row(e, std::vector<double>(20, 0.5), 0.507)).word, "reproduced");
}

TEST(Verdicts, EquivalenceAndPredictionNeedsBoth) {
  Expectation e = kEquivalence;
  e.test = Kind::equivalence_and_prediction;
  EXPECT_EQ(judge_one(row(e, around(0.501, 0.005, 20), 0.507)).word, "reproduced");
  EXPECT_EQ(judge_one(row(e, around(0.501, 0.005, 20), 0.53)).word, "not reproduced");
  EXPECT_EQ(judge_one(row(e, around(0.52, 0.005, 20), 0.52)).word, "not reproduced");
}

TEST(Verdicts, EveryMember) {
  const Expectation e{.metric = "m", .test = Kind::every, .threshold = 0.9995};
  std::vector<double> values(20, 1.0);
  values[3] = 0.9995;  // the threshold itself is good
  EXPECT_EQ(judge_one(row(e, values)).word, "reproduced");
  EXPECT_THAT(judge_one(row(e, values)).detail, HasSubstr("20/20 [0.832, 1.000]"));
  values[7] = 0.9994;
  EXPECT_EQ(judge_one(row(e, values)).word, "not reproduced");
}

TEST(Verdicts, EveryMemberAtMost) {
  const Expectation e{.metric = "m", .test = Kind::every_at_most, .threshold = 0.001};
  std::vector<double> values(20, 0.0);
  values[3] = 0.001;  // the threshold itself is good
  EXPECT_EQ(judge_one(row(e, values)).word, "reproduced");
  EXPECT_THAT(judge_one(row(e, values)).detail, HasSubstr("20/20 [0.832, 1.000] at most 0.001"));
  values[7] = 0.0011;
  EXPECT_EQ(judge_one(row(e, values)).word, "not reproduced");
  EXPECT_THAT(judge_one(row(e, values)).detail, HasSubstr("19/20"));
}

TEST(Verdicts, NoMemberIsRejected) {
  const Expectation e{.metric = "m", .test = Kind::none_rejected};
  std::vector<double> low(20, 0.5), even(20, 0.5);
  const std::vector<Row> rows = {row(e, low), row(e, even)};
  const auto judged = [&](double least, std::size_t lost = 0) {
    std::vector<Row> changed = rows;
    changed[0].values[3] = least, changed[0].lost = lost;
    return judge(changed, DeviceKind::cpu);
  };
  EXPECT_EQ(judged(0.00126)[0].word, "reproduced") << "alone it would be rejected among 20, not among 40";
  EXPECT_EQ(judged(0.00124)[0].word, "not reproduced");
  EXPECT_THAT(judged(0.00124)[0].detail, HasSubstr("1 of 20 rejected at 5%"));
  EXPECT_EQ(judged(0.00124)[1].word, "reproduced") << "another row's";
  EXPECT_EQ(judged(0.5, 1)[0].word, "not reproduced") << "a member without a value";
}

TEST(Verdicts, ShareAboveHasTwoSides) {
  const Expectation learns{.metric = "m", .test = Kind::share_above, .threshold = 0.95, .least_share = 0.95};
  const Expectation fails{.metric = "m", .test = Kind::share_above, .threshold = 0.95, .most_share = 0.05};
  const auto above = [](int n) {
    std::vector<double> values(20, 0.95);  // the threshold itself is not above it
    std::fill_n(values.begin(), n, 0.96);
    return values;
  };
  for (const auto& [n, learned, failed] : {std::tuple{20, true, false},
                                           {19, true, false},
                                           {18, false, false},
                                           {2, false, false},
                                           {1, false, true},
                                           {0, false, true}}) {
    EXPECT_EQ(judge_one(row(learns, above(n))).word, learned ? "reproduced" : "not reproduced") << n;
    EXPECT_EQ(judge_one(row(fails, above(n))).word, failed ? "reproduced" : "not reproduced") << n;
  }
  EXPECT_THAT(judge_one(row(learns, above(19))).detail, HasSubstr("19/20 [0.751, 0.999] above 0.95"));
}

TEST(Verdicts, PredictionOnTheLogitScale) {
  Expectation e{.metric = "m", .test = Kind::prediction_logit};
  // Logits −5 ± 0.2, 20 of them: s = 0.2 sqrt(20/19) = 0.2052, t(0.975, 19) = 2.0930, so the interval of a
  // further logit is −5 ± 2.0930 · 0.2052 · sqrt(1.05) = −5 ± 0.4401: from 0.004320 to 0.010358.
  std::vector<double> values;
  for (int i = 0; i < 20; ++i) values.push_back(1 / (1 + std::exp(i % 2 ? 4.8 : 5.2)));
  EXPECT_EQ(judge_one(row(e, values, 0.00434)).word, "reproduced");
  EXPECT_EQ(judge_one(row(e, values, 0.00430)).word, "not reproduced");
  EXPECT_EQ(judge_one(row(e, values, 0.01034)).word, "reproduced");
  EXPECT_EQ(judge_one(row(e, values, 0.01038)).word, "not reproduced");
  EXPECT_THAT(judge_one(row(e, values, 0.006)).detail, HasSubstr("[0.0043, 0.0104] by logits"));
  e.published_resolution = 0.0001;  // half of it on each side, in accuracies
  EXPECT_EQ(judge_one(row(e, values, 0.01040)).word, "reproduced");
  EXPECT_EQ(judge_one(row(e, values, 0.01042)).word, "not reproduced");
  // The analytic deviation of an accuracy becomes that of its logit: 0.003 / (0.0067 · 0.9933) = 0.4513.
  e.published_resolution = 0;
  e.analytic_deviation = 0.003;
  EXPECT_EQ(judge_one(row(e, values, 0.0173)).word, "reproduced");  // −5 + 0.9679 is 0.01746
  EXPECT_EQ(judge_one(row(e, values, 0.0176)).word, "not reproduced");
}

TEST(Verdicts, LogitsNeedValuesStrictlyBetweenZeroAndOne) {
  const Expectation e{.metric = "m", .test = Kind::prediction_logit};
  std::vector<double> values = around(0.01, 0.001, 20);
  EXPECT_EQ(judge_one(row(e, values, 0.0)).word, "not reproduced");
  EXPECT_THAT(judge_one(row(e, values, 1.0)).detail, HasSubstr("0 and 1 have no logit"));
  values[4] = 0;
  EXPECT_EQ(judge_one(row(e, values, 0.01)).word, "not reproduced");
  EXPECT_THAT(judge_one(row(e, values, 0.01)).detail, HasSubstr("0 and 1 have no logit"));
}

TEST(Verdicts, TheOriginalsSeedsAreToldButDoNotDecide) {
  const Expectation e{.metric = "m", .test = Kind::prediction_logit};
  Row one = row(e, around(0.006, 0.001, 20), 0.006);
  EXPECT_THAT(judge_one(one).detail, Not(HasSubstr("Welch")));
  one.original = around(0.006, 0.0005, 10);
  EXPECT_THAT(judge_one(one).detail, HasSubstr("Welch against 10 seeds of the original: p = 0."));
  one.original = around(0.3, 0.001, 10);  // far away
  const Verdict verdict = judge_one(one);
  EXPECT_THAT(verdict.detail, HasSubstr("e-"));
  EXPECT_EQ(verdict.word, "reproduced");
}

TEST(Verdicts, ShareOfMembersAndFrequencies) {
  const Expectation e{
      .metric = "updates", .test = Kind::share, .threshold = 0.95, .values = {11'000, 16'000, 21'000}};
  std::vector<double> values(20, 16'000);
  values[0] = 26'000;
  const Verdict verdict = judge_one(row(e, values));
  EXPECT_EQ(verdict.word, "reproduced");
  EXPECT_THAT(verdict.detail, HasSubstr("16000 ×19, 26000 ×1"));
  values[1] = 11'000;
  EXPECT_EQ(judge_one(row(e, values)).word, "reproduced");
  values[2] = 31'000;
  EXPECT_EQ(judge_one(row(e, values)).word, "not reproduced");
}

TEST(Verdicts, UntrainedCellsAreVoid) {
  Row cell = row(kEquivalence, around(0.5, 0.001, 20));
  cell.expectation.least_train_accuracy = 0.99;
  EXPECT_EQ(judge_one(cell).word, "reproduced");
  cell.train_accuracy = 0.98;
  EXPECT_EQ(judge_one(cell).word, "void");
}

TEST(Verdicts, HolmRunsOverAllRows) {
  // Alone, p lies between 0.05 / 2 and 0.05: reproduced. Beside a row that fails, the same row must reach
  // 0.05 / 2.
  const std::vector<double> values = around(0.5063, 0.009, 20);
  const double p = equivalence(values, 0.5, 0.01).p;
  ASSERT_GT(p, 0.025);
  ASSERT_LT(p, 0.05);
  EXPECT_EQ(judge_one(row(kEquivalence, values)).word, "reproduced");
  const std::vector<Row> failing{row(kEquivalence, values), row(kEquivalence, around(0.6, 0.001, 20))};
  EXPECT_EQ(judge(failing, DeviceKind::cpu)[0].word, "not reproduced");
  const std::vector<Row> passing{row(kEquivalence, values), row(kEquivalence, around(0.5, 0.001, 20))};
  EXPECT_EQ(judge(passing, DeviceKind::cpu)[0].word, "reproduced");
}

TEST(Verdicts, Frequencies) {
  EXPECT_EQ(frequencies(std::vector<double>{5001, 10001, 5001}), "5001 ×2, 10001 ×1");
  EXPECT_EQ(frequencies({}), "");
}

TEST(Published, EntriesAreCompiledIn) {
  const std::string entry = published_entry("extreme_slab", "LMS-5");
  EXPECT_THAT(entry, HasSubstr("\"s_randomized_auc\":0.507"));
  EXPECT_THROW(published_entry("extreme_slab", "LMS-9"), Error);
  EXPECT_THROW(published_entry("nothing", "LMS-5"), Error);
}

TEST(Verdicts, WhereMembersAreCountedOneThatDivergedHasFailed) {
  const Expectation every{.metric = "m", .test = Kind::every, .seeds_cpu = 20, .threshold = 0.9};
  Row one = row(every, std::vector<double>(20, 1.0));
  one.lost = 1;
  EXPECT_EQ(judge_one(one).word, "not reproduced");
  EXPECT_THAT(judge_one(one).detail, HasSubstr("20/21"));
  EXPECT_THAT(judge_one(one).detail, HasSubstr("1 of them without a value"));
  one.values.resize(19);  // 19 and one that diverged are 20 seeds
  EXPECT_EQ(judge_one(one).word, "not reproduced");

  const Expectation share{.metric = "m", .test = Kind::share, .threshold = 0.95, .values = {1.0}};
  one = row(share, std::vector<double>(19, 1.0));
  one.lost = 1;
  EXPECT_EQ(judge_one(one).word, "reproduced");
  one.lost = 2;
  EXPECT_EQ(judge_one(one).word, "not reproduced");

  Expectation above{.metric = "m", .test = Kind::share_above, .threshold = 0.95};
  above.least_share = 0.95;
  one = row(above, std::vector<double>(18, 1.0));
  one.lost = 2;
  EXPECT_EQ(judge_one(one).word, "not reproduced");
  above.least_share = 0, above.most_share = 0.05;  // where training is to stay at chance
  one = row(above, std::vector<double>(19, 0.5));
  one.lost = 1;
  EXPECT_EQ(judge_one(one).word, "reproduced");
  one.values.back() = 1.0;
  EXPECT_EQ(judge_one(one).word, "not reproduced");
  one.values.clear(), one.lost = 20;
  EXPECT_EQ(judge_one(one).word, "not reproduced");
  EXPECT_THAT(judge_one(one).detail, HasSubstr("0/20"));
}

TEST(Verdicts, AMeanIsOfTheMembersThatAreLeftAndSaysHowMany) {
  Row one = row(kEquivalence, around(0.5, 0.001, 19));
  one.lost = 1;
  EXPECT_EQ(judge_one(one).word, "insufficient");
  one = row(kEquivalence, around(0.5, 0.001, 20));
  EXPECT_THAT(judge_one(one).detail, Not(HasSubstr("left out")));
  one.lost = 3;
  EXPECT_EQ(judge_one(one).word, "reproduced");
  EXPECT_THAT(judge_one(one).detail, HasSubstr("3 of 23 without a value are left out"));
}

TEST(Verdicts, TwoMembersAreEnoughForATest) {
  Expectation two = kEquivalence;
  two.seeds_cpu = 2;
  EXPECT_EQ(judge_one(row(two, {0.50001, 0.49999})).word, "reproduced");
  EXPECT_EQ(judge_one(row(two, {0.51, 0.49})).word, "not reproduced");
}

TEST(Verdicts, OneMemberPredictsNothing) {
  const Expectation one{.metric = "m", .test = Kind::prediction, .seeds_cpu = 1};
  EXPECT_EQ(judge_one(row(one, {0.5}, 0.5)).word, "not reproduced");
  EXPECT_THAT(judge_one(row(one, {0.5}, 0.5)).detail, HasSubstr("two members"));
}

}  // namespace
}  // namespace occam::experiment
