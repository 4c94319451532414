// Known values are SciPy's (scipy.stats and scipy.special 1.x).
#include "occam/statistics.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include <gtest/gtest.h>

#include "occam/error.hpp"

namespace occam {
namespace {

const std::vector<double> kFirst{.4938, .4981, .4988, .4958, .4937, .5048, .5096, .5132, .5073, .5014};
const std::vector<double> kSecond{0.4876, 0.5003, 0.5003, 0.5007, 0.4805,
                                  0.5021, 0.5003, 0.4928, 0.5059, 0.5041};

void expect_close(double value, double expected, double relative = 1e-11) {
  EXPECT_LE(std::abs(value - expected), relative * std::abs(expected) + 1e-300)
      << value << " against " << expected;
}

TEST(Statistics, IncompleteBetaFunction) {
  expect_close(incomplete_beta(2, 3, 0.4), 0.5248);
  expect_close(incomplete_beta(0.5, 0.5, 0.1), 0.20483276469913345);
  expect_close(incomplete_beta(10, 0.5, 0.99), 0.6579281751567845);
  expect_close(incomplete_beta(100, 200, 0.35), 0.7325714649575441);
  expect_close(incomplete_beta(0.5, 499.5, 0.001), 0.6824473398235879);
  EXPECT_EQ(incomplete_beta(2, 3, 0), 0);
  EXPECT_EQ(incomplete_beta(2, 3, 1), 1);
  EXPECT_TRUE(std::isnan(incomplete_beta(0, 3, 0.5)));
  EXPECT_TRUE(std::isnan(incomplete_beta(2, 3, kNan)));
}

TEST(Statistics, BetaQuantileInvertsIt) {
  expect_close(beta_quantile(0.025, 2, 3), 0.06758598648854294);
  expect_close(beta_quantile(0.025, 20, 1), 0.8315665290169146);
  expect_close(beta_quantile(0.9, 0.5, 0.5), 0.9755282581475768);
  expect_close(beta_quantile(0.975, 101, 1), 0.9997493600492607);
  for (double p : {1e-12, 1e-3, 0.2, 0.5, 0.999})
    for (double a : {0.5, 1.0, 30.0}) expect_close(incomplete_beta(a, 4, beta_quantile(p, a, 4)), p, 1e-9);
}

TEST(Statistics, StudentsT) {
  expect_close(t_quantile(0.975, 1), 12.706204736174694);
  expect_close(t_quantile(0.975, 4), 2.7764451051977934);
  expect_close(t_quantile(0.95, 19), 1.7291328115213682);
  expect_close(t_quantile(0.975, 999), 1.9623414611334493);
  expect_close(t_quantile(0.025, 9), -2.2621571627982053);
  expect_close(t_quantile(0.9995, 3), 12.923978636687961);
  EXPECT_EQ(t_quantile(0.5, 7), 0);
  expect_close(t_cdf(1.3, 5), 0.8748496829146615);
  expect_close(t_cdf(-2.5, 9), 0.016930913841492867);
  expect_close(t_cdf(10, 30), 0.9999999999771237);
  EXPECT_EQ(t_cdf(0, 3), 0.5);
  EXPECT_EQ(t_cdf(std::numeric_limits<double>::infinity(), 3), 1);
  EXPECT_TRUE(std::isnan(t_cdf(kNan, 3)));
}

TEST(Statistics, MeanAndDeviation) {
  expect_close(mean(kFirst), 0.50165);
  expect_close(standard_deviation(kFirst), 0.006817339005147907);
  EXPECT_TRUE(std::isnan(mean({})));
  EXPECT_TRUE(std::isnan(standard_deviation(std::vector<double>{3.0})));
  // Equal values give exactly that value and no deviation, whatever their number.
  for (std::size_t n : {2u, 3u, 7u, 1000u}) {
    const std::vector<double> equal(n, 0.1);
    EXPECT_EQ(mean(equal), 0.1);
    EXPECT_EQ(standard_deviation(equal), 0);
  }
  EXPECT_EQ(median(std::vector<double>{3, 1, 2}), 2);
  EXPECT_EQ(median(std::vector<double>{4, 1, 2, 3}), 2.5);
  EXPECT_TRUE(std::isnan(median(std::vector<double>{4, std::nan(""), 3})));
}

TEST(Statistics, TInterval) {
  const Interval interval = t_interval(kFirst);
  expect_close(interval.low, 0.4967731694623242);
  expect_close(interval.high, 0.5065268305376757);
  EXPECT_TRUE(std::isnan(t_interval(std::vector<double>{1.0}).low));
}

TEST(Statistics, ClopperPearson) {
  const auto expect = [](std::int64_t k, std::int64_t n, double low, double high) {
    const Interval interval = clopper_pearson(k, n);
    expect_close(interval.low, low);
    expect_close(interval.high, high);
  };
  expect(20, 20, 0.8315665290169145, 1);
  expect(0, 20, 0, 0.16843347098308548);
  expect(19, 20, 0.7512672372279723, 0.998734910502044);
  expect(95, 100, 0.887165088894537, 0.9835681208182717);
  expect(3, 7, 0.09898827844243689, 0.81594843235993);
  EXPECT_THROW(clopper_pearson(3, 2), Error);
  EXPECT_THROW(clopper_pearson(0, 0), Error);
}

TEST(Statistics, PredictionInterval) {
  const Interval own = prediction_interval(kFirst);
  expect_close(own.low, 0.48547538294038234);
  expect_close(own.high, 0.5178246170596176);
  const Interval wide = prediction_interval(kFirst, 0.02);
  expect_close(wide.low, 0.4541985910341151);
  expect_close(wide.high, 0.5491014089658848);
  EXPECT_EQ(prediction_interval(kFirst, 0.001).low, own.low);  // the least deviation never shrinks it
}

TEST(Statistics, EquivalenceIsTwoOneSidedTests) {
  const Equivalence result = equivalence(kFirst, 0.5, 0.01);
  expect_close(result.p, 0.001885112822033797, 1e-9);
  expect_close(result.interval.low, 0.49769811669321495);
  expect_close(result.interval.high, 0.5056018833067849);
  // p < 0.05 exactly when the 90% interval lies inside.
  const double edge = result.interval.high - 0.5;
  EXPECT_LT(equivalence(kFirst, 0.5, edge + 1e-9).p, 0.05);
  EXPECT_GT(equivalence(kFirst, 0.5, edge - 1e-9).p, 0.05);
  EXPECT_EQ(equivalence(std::vector<double>{1, 1, 1}, 1, 0.1).p, 0);
  EXPECT_EQ(equivalence(std::vector<double>{2, 2, 2}, 1, 0.1).p, 1);
  EXPECT_TRUE(std::isnan(equivalence(std::vector<double>{2}, 1, 0.1).p));
  // Two values have one degree of freedom, Cauchy's distribution: x̄ ± tan(0.45 π) · half their distance.
  const Interval two = equivalence(std::vector<double>{0.9, 1.1}, 1, 1).interval;
  expect_close(two.low, 1 - 0.1 * std::tan(0.45 * std::numbers::pi));
  expect_close(two.high, 1 + 0.1 * std::tan(0.45 * std::numbers::pi));
}

TEST(Statistics, HolmStepsDown) {
  // Thresholds 0.05/4, 0.05/3, 0.05/2, 0.05/1 in order of p.
  EXPECT_EQ(holm(std::vector<double>{0.01, 0.04, 0.016, 0.024}), (std::vector<bool>{true, true, true, true}));
  EXPECT_EQ(holm(std::vector<double>{0.01, 0.04, 0.03, 0.0001}),
            (std::vector<bool>{true, false, false, true}));
  EXPECT_EQ(holm(std::vector<double>{0.02, 0.001}), (std::vector<bool>{true, true}));
  EXPECT_EQ(holm(std::vector<double>{0.02, kNan, kNan}), (std::vector<bool>{false, false, false}));
  EXPECT_TRUE(holm({}).empty());
}

TEST(Statistics, WelchTest) {
  expect_close(welch_test(kFirst, kSecond), 0.22442834428266908, 1e-9);
  EXPECT_EQ(welch_test(std::vector<double>{1, 1}, std::vector<double>{1, 1}), 1);
  EXPECT_EQ(welch_test(std::vector<double>{1, 1}, std::vector<double>{2, 2}), 0);
}

TEST(Statistics, VarianceSharesOfAPureFactor) {
  // value = 10 data + init: no interaction. Sums of squares 600 and 4 (per level 3 x 2 members).
  std::vector<double> values;
  std::vector<std::vector<int>> levels(2);
  for (int data = 0; data < 2; ++data)
    for (int init = 0; init < 3; ++init) {
      values.push_back(10 * data + init);
      levels[0].push_back(data);
      levels[1].push_back(init);
    }
  const std::vector<double> shares = variance_shares(values, levels);
  ASSERT_EQ(shares.size(), 3u);
  expect_close(shares[0], 150.0 / 154.0);
  expect_close(shares[1], 4.0 / 154.0);
  EXPECT_NEAR(shares[2], 0, 1e-12);
}

TEST(Statistics, VarianceSharesOfAPureInteraction) {
  const std::vector<double> values{1, -1, -1, 1};
  const std::vector<std::vector<int>> levels{{0, 0, 1, 1}, {0, 1, 0, 1}};
  EXPECT_EQ(variance_shares(values, levels), (std::vector<double>{0, 0, 1}));
  EXPECT_TRUE(variance_shares(std::vector<double>{1, 1, 1, 1}, levels).empty());
}

TEST(Statistics, NoVarianceSharesWhereAValueIsMissing) {
  const std::vector<std::vector<int>> levels{{0, 0, 1, 1}, {0, 1, 0, 1}};
  EXPECT_TRUE(variance_shares(std::vector<double>{1, kNan, kNan, kNan}, levels).empty());
  EXPECT_TRUE(variance_shares(std::vector<double>{1, 2, 3, kNan}, levels).empty());
}

}  // namespace
}  // namespace occam
