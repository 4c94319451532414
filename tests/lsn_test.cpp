// Data, network and identities of LSN against plain double-precision loops and quadrature.
#include "occam/lsn.hpp"

#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "occam/error.hpp"

namespace occam::lsn {
namespace {

// ---- oracles: nothing of src/lsn.cpp but the rows and the weights -----------------------------------------
double density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

// P(shift + rest · z > 0) by Simpson's rule over z in [−12, 12], cut where the indicator jumps.
double probability(double shift, double rest) {
  const double low = std::min(12.0, std::max(-12.0, -shift / rest));
  constexpr int intervals = 4000;
  const double h = (12 - low) / intervals;
  double sum = density(low) + density(12);
  for (int i = 1; i < intervals; ++i) sum += (i % 2 ? 4 : 2) * density(low + i * h);
  return sum * h / 3;
}

// The expectations over y and ε written out, without the formula under test, and those of the squares.
struct Quadrature {
  Step step{}, square{};
};
Quadrature by_quadrature(double w1, double w2, double rest) {
  Quadrature of;
  for (const double y : {-1.0, 1.0})
    for (const double sign : {-1.0, 1.0}) {
      const double x1 = y, x2 = (y + 1) / 2 * sign;
      const double fires = probability(w1 * x1 + w2 * x2, rest);
      of.step.w1 += y * x1 * fires / 4, of.square.w1 += x1 * x1 * fires / 4;
      of.step.w2 += y * x2 * fires / 4, of.square.w2 += x2 * x2 * fires / 4;
    }
  return of;
}

double score_of(const Net& net, const float* x) {
  double score = 0;
  for (int j = 0; j < net.neurons; ++j) {
    double h = 0;
    for (int i = 0; i < net.dim; ++i)
      h += static_cast<double>(net.weight[static_cast<std::size_t>(j * net.dim + i)]) * x[i];
    score += net.output(j) * std::max(h, 0.0);
  }
  return score;
}

// Net with weights so large that hinges are partly inactive and neurons fire differently.
Net large_net(int dim, int neurons, std::uint32_t seed, float factor) {
  Net net = initial_net(dim, neurons, seed);
  for (float& w : net.weight) w *= factor;
  return net;
}

TEST(LsnData, RowsFollowTheDefinition) {
  const Batch batch{.seed = 3, .use = Use::training, .update = 5, .rows = 20'001};
  constexpr int dim = 7;
  const Rows rows = make_rows(batch, dim);
  ASSERT_EQ(rows.y.size(), 20'001u);
  ASSERT_EQ(rows.x.size(), 20'001u * dim);
  int ones = 0, plus = 0;
  double sum[dim] = {}, square[dim] = {}, cross = 0;
  for (std::size_t r = 0; r < rows.y.size(); ++r) {
    const float* x = &rows.x[r * dim];
    ASSERT_TRUE(rows.y[r] == 1.0f || rows.y[r] == -1.0f);
    ASSERT_EQ(x[0], rows.y[r]);
    ASSERT_EQ(std::abs(x[1]), rows.y[r] > 0 ? 1.0f : 0.0f);
    ones += rows.y[r] > 0;
    plus += x[1] > 0;
    for (int i = 2; i < dim; ++i) sum[i] += x[i], square[i] += x[i] * x[i];
    cross += x[2] * x[6];
  }
  const double n = 20'001;
  EXPECT_NEAR(ones / n, 0.5, 4 * 0.5 / std::sqrt(n));
  EXPECT_NEAR(plus / n, 0.25, 4 * 0.44 / std::sqrt(n));
  for (int i = 2; i < dim; ++i) {
    EXPECT_NEAR(sum[i] / n, 0, 4 / std::sqrt(n)) << i;
    EXPECT_NEAR(square[i] / n, 1, 4 * std::sqrt(2 / n)) << i;
  }
  EXPECT_NEAR(cross / n, 0, 4 / std::sqrt(n));
}

TEST(LsnData, EveryUseUpdateAndSeedIsFresh) {
  const Batch base{.seed = 1, .use = Use::training, .update = 0, .rows = 64};
  const Rows rows = make_rows(base, 5);
  EXPECT_EQ(make_rows(base, 5).x, rows.x);
  for (const Batch& other :
       {Batch{2, Use::training, 0, 64}, Batch{1, Use::test, 0, 64}, Batch{1, Use::training, 1, 64}})
    EXPECT_NE(make_rows(other, 5).x, rows.x);
  // A batch is the beginning of a longer one, whatever the tile.
  const Rows longer = make_rows({1, Use::training, 0, 200}, 5);
  EXPECT_TRUE(std::equal(rows.x.begin(), rows.x.end(), longer.x.begin()));
}

TEST(LsnNet, InitialWeightsHaveTheStatedDeviation) {
  constexpr int dim = 100, neurons = 200;
  const Net net = initial_net(dim, neurons, 1);
  double square = 0;
  for (const float w : net.weight) square += static_cast<double>(w) * w;
  const double log_dim = std::log(100.0), expected = 1 / (dim * neurons * std::pow(log_dim, 4));
  EXPECT_NEAR(square / (dim * neurons) / expected, 1, 4 * std::sqrt(2.0 / (dim * neurons)));
  EXPECT_DOUBLE_EQ(net.output(0), 1 / std::sqrt(200.0));
  EXPECT_DOUBLE_EQ(net.output(99), 1 / std::sqrt(200.0));
  EXPECT_DOUBLE_EQ(net.output(100), -1 / std::sqrt(200.0));
  EXPECT_THROW(initial_net(2, 4, 0), Error);
  EXPECT_THROW(initial_net(5, 3, 0), Error);
}

TEST(LsnIdentities, FormulaAgainstQuadrature) {
  for (const double w1 : {-2.0, -0.3, 0.0, 0.01, 0.7, 3.0})
    for (const double w2 : {-1.5, -0.2, 0.0, 0.05, 0.9})
      for (const double rest : {0.05, 0.4, 2.0}) {
        const Step got = expected_step({w1, w2, rest}), deviation = deviation_of_step({w1, w2, rest});
        const auto [want, square] = by_quadrature(w1, w2, rest);
        EXPECT_NEAR(got.w1, want.w1, 1e-9) << w1 << ' ' << w2 << ' ' << rest;
        EXPECT_NEAR(got.w2, want.w2, 1e-9) << w1 << ' ' << w2 << ' ' << rest;
        EXPECT_NEAR(deviation.w1 * deviation.w1, square.w1 - want.w1 * want.w1, 1e-9);
        EXPECT_NEAR(deviation.w2 * deviation.w2, square.w2 - want.w2 * want.w2, 1e-9);
      }
}

TEST(LsnIdentities, FormulaAtPointsWithAClosedForm) {
  // Without w1 and w2 every sample fires with probability 1/2, and the signs of x2 cancel.
  EXPECT_DOUBLE_EQ(expected_step({0, 0, 1}).w1, 0.5);
  EXPECT_DOUBLE_EQ(expected_step({0, 0, 1}).w2, 0.0);
  // w1 towers over the rest: class 1 alone fires, or class −1 alone.
  EXPECT_DOUBLE_EQ(expected_step({50, 0, 1}).w1, 0.5);
  EXPECT_DOUBLE_EQ(expected_step({-50, 0, 1}).w1, 0.5);
  // w2 alone: half of class 1 fires always, half never, class −1 with probability 1/2.
  EXPECT_DOUBLE_EQ(expected_step({0, 50, 1}).w1, 0.5);
  EXPECT_DOUBLE_EQ(expected_step({0, 50, 1}).w2, 0.25);
  EXPECT_DOUBLE_EQ(expected_step({0, -50, 1}).w2, -0.25);
  // Odd in w2, even for w1's step.
  const Step plus = expected_step({0.3, 0.4, 0.5}), minus = expected_step({0.3, -0.4, 0.5});
  EXPECT_DOUBLE_EQ(plus.w1, minus.w1);
  EXPECT_DOUBLE_EQ(plus.w2, -minus.w2);
  EXPECT_GT(plus.w2, 0);
}

TEST(LsnIdentities, EstimatorAgainstAPlainLoop) {
  // Sizes that are no multiples of a block, and weights that leave some hinges inactive.
  constexpr int dim = 9, neurons = 6, rows = 1001;
  const Net net = large_net(dim, neurons, 4, 60);
  const Batch batch{.seed = 8, .use = Use::identities, .update = 0, .rows = rows};
  const Identities got = measure_identities(net, batch);
  const Rows data = make_rows(batch, dim);
  std::vector<double> sum1(neurons), sum2(neurons);
  int inactive = 0;
  for (int r = 0; r < rows; ++r) {
    const float* x = &data.x[static_cast<std::size_t>(r) * dim];
    const double y = data.y[static_cast<std::size_t>(r)];
    const bool active = y * score_of(net, x) < 1;
    inactive += !active;
    for (int j = 0; j < neurons; ++j) {
      double h = 0;
      for (int i = 0; i < dim; ++i)
        h += static_cast<double>(net.weight[static_cast<std::size_t>(j * dim + i)]) * x[i];
      const double g1 = active && h > 0 ? y * x[0] : 0, g2 = active && h > 0 ? y * x[1] : 0;
      sum1[static_cast<std::size_t>(j)] += g1;
      sum2[static_cast<std::size_t>(j)] += g2;
    }
  }
  EXPECT_GT(inactive, 50);
  EXPECT_EQ(got.inactive, inactive);
  for (std::size_t j = 0; j < neurons; ++j) {
    const double mean1 = sum1[j] / rows, mean2 = sum2[j] / rows;
    const Step want = expected_step(net.parts(static_cast<int>(j))),
               deviation = deviation_of_step(net.parts(static_cast<int>(j)));
    const double error1 = deviation.w1 / std::sqrt(rows), error2 = deviation.w2 / std::sqrt(rows);
    EXPECT_NEAR(got.mean[j].w1, mean1, 1e-12);
    EXPECT_NEAR(got.mean[j].w2, mean2, 1e-12);
    EXPECT_NEAR(got.error[j].w1, error1, 1e-12);
    EXPECT_NEAR(got.error[j].w2, error2, 1e-12);
    EXPECT_NEAR(got.z[j].w1, (mean1 - want.w1) / error1, 1e-8);
    EXPECT_NEAR(got.z[j].w2, (mean2 - want.w2) / error2, 1e-8);
  }
}

TEST(LsnIdentities, HoldForASmallNetAndNotForAWrongOne) {
  constexpr int dim = 20, neurons = 20;
  const Net net = initial_net(dim, neurons, 0);
  const Batch batch{.seed = 0, .use = Use::identities, .update = 0, .rows = 200'000};
  const Identities right = measure_identities(net, batch);
  EXPECT_EQ(right.inactive, 0);
  EXPECT_LT(right.max_abs_z(), 4.4);
  EXPECT_GT(right.max_abs_z(), 0.5);  // forty scores that all vanish are no scores
  // The identity of another net, with one neuron's w2 doubled, is seen to be wrong: the check has the power.
  Net other = net;
  double largest = 0;
  for (int j = 0; j < neurons; ++j) {
    Net::Parts parts = net.parts(j);
    parts.w2 *= 2;
    const auto at = static_cast<std::size_t>(j);
    largest = std::max(largest, std::abs(right.mean[at].w2 - expected_step(parts).w2) / right.error[at].w2);
  }
  EXPECT_GT(largest, 4.4);
}

// Two samples: whatever fires, scores are finite, and no more than the deviations allow.
TEST(LsnIdentities, FewSamplesHaveFiniteScores) {
  const Net net = initial_net(20, 100, 0);
  const Identities few = measure_identities(net, {.seed = 0, .use = Use::identities, .update = 0, .rows = 2});
  int silent = 0;
  for (const Step& mean : few.mean) silent += mean.w1 == 0.0;
  EXPECT_GT(silent, 0);
  EXPECT_LT(few.max_abs_z(), 4.4);
}

// A neuron that can never fire for class 1, and does not.
TEST(LsnIdentities, WhatCannotHappenAndDoesNotHasTheScoreZero) {
  Net net = initial_net(3, 2, 0);
  net.weight[0] = -1.0f, net.weight[1] = 0.0f, net.weight[2] = 1e-4f;
  ASSERT_EQ(deviation_of_step(net.parts(0)).w2, 0.0);
  const Identities rare =
      measure_identities(net, {.seed = 0, .use = Use::identities, .update = 0, .rows = 1000});
  EXPECT_EQ(rare.z[0].w2, 0.0);
  EXPECT_LT(rare.max_abs_z(), 4.4);
}

TEST(LsnIdentities, NoScoreHidesANaN) {
  Identities identities;
  identities.z = {{1, 2}, {std::nan(""), 0}, {-3, 1}};
  EXPECT_TRUE(std::isnan(identities.max_abs_z()));
  identities.z[1] = {0, 0};
  EXPECT_EQ(identities.max_abs_z(), 3);
}

TEST(LsnTraining, OneUpdateAgainstAPlainLoop) {
  for (const auto& [dim, neurons] : {std::pair{3, 2}, {9, 6}, {22, 10}}) {
    Net net = large_net(dim, neurons, 4, 30);
    const Net before = net;
    const Batch batch{.seed = 2, .use = Use::training, .update = 7, .rows = 301};
    const Update update = train_on(net, batch, 0.3);
    const Rows data = make_rows(batch, dim);
    std::vector<double> gradient(before.weight.size());
    double loss = 0;
    int active = 0, right = 0;
    for (int r = 0; r < 301; ++r) {
      const float* x = &data.x[static_cast<std::size_t>(r * dim)];
      const double y = data.y[static_cast<std::size_t>(r)], margin = y * score_of(before, x);
      right += margin > 0;
      if (margin >= 1) continue;
      ++active;
      loss += 1 - margin;
      for (int j = 0; j < neurons; ++j) {
        double h = 0;
        for (int i = 0; i < dim; ++i)
          h += static_cast<double>(before.weight[static_cast<std::size_t>(j * dim + i)]) * x[i];
        if (h > 0)
          for (int i = 0; i < dim; ++i)
            gradient[static_cast<std::size_t>(j * dim + i)] -= before.output(j) * y * x[i] / 301;
      }
    }
    EXPECT_EQ(update.active, active);
    EXPECT_NEAR(update.loss, loss / 301, 1e-6);
    EXPECT_NEAR(update.accuracy, right / 301.0, 1e-12);
    for (std::size_t e = 0; e < gradient.size(); ++e)
      EXPECT_NEAR(net.weight[e], before.weight[e] - 0.3 * gradient[e], 2e-6) << dim << ' ' << e;
  }
}

TEST(LsnTraining, LearnsTheLinearCoordinateAlone) {
  constexpr int dim = 20, neurons = 10;
  Net net = initial_net(dim, neurons, 1);
  Update update;
  std::uint32_t u = 0;
  for (; u < 400; ++u) {
    update = train_on(net, {1, Use::training, u, 400}, 0.1);
    if (update.active == 0) break;
  }
  EXPECT_EQ(update.active, 0);
  EXPECT_EQ(update.loss, 0);
  const Reliance reliance = measure_reliance(net, {1, Use::test, 0, 4000});
  EXPECT_EQ(reliance.standard, 1.0);
  EXPECT_NEAR(reliance.s_randomized, 0.5, 0.04);
  EXPECT_EQ(reliance.sc_randomized, 1.0);
  for (int j = 0; j < neurons; ++j) {
    const Net::Parts parts = net.parts(j);
    EXPECT_GT(std::abs(parts.w1), 4 * std::abs(parts.w2)) << j;
    EXPECT_GT(std::abs(parts.w1), 4 * parts.rest) << j;
  }
}

TEST(LsnTraining, RelianceOfNetsThatAreKnown) {
  // Two neurons that see x1 alone; and two of four that see x2 alone: |x2| is 1 for class 1 and 0, which
  // counts as wrong, for class −1.
  Net first{5, 2, std::vector<float>(10)}, second{5, 4, std::vector<float>(20)};
  first.weight[0] = 1, first.weight[5] = -1;
  second.weight[1] = 1, second.weight[5 + 1] = -1;
  const Batch batch{6, Use::test, 0, 20'000};
  const Reliance one = measure_reliance(first, batch), two = measure_reliance(second, batch);
  EXPECT_EQ(one.standard, 1.0);
  EXPECT_NEAR(one.s_randomized, 0.5, 0.02);
  EXPECT_EQ(one.sc_randomized, 1.0);
  EXPECT_NEAR(one.loss, 1 - 1 / std::sqrt(2.0), 1e-6);
  EXPECT_NEAR(two.standard, 0.5, 0.02);
  EXPECT_EQ(two.s_randomized, two.standard);
  EXPECT_NEAR(two.sc_randomized, 0.25, 0.02);
}

TEST(LsnTraining, PauseMayEndIt) {
  Net net = initial_net(5, 2, 0);
  struct Enough {};
  int calls = 0;
  EXPECT_THROW(train_on(net, {0, Use::training, 0, 100'000}, 0.1,
                        [&] {
                          if (++calls == 3) throw Enough{};
                        }),
               Enough);
  EXPECT_THROW(train_on(net, {0, Use::training, 0, 0}, 0.1), Error);
}

TEST(LsnSlope, OfAPowerLawIsItsExponent) {
  std::vector<std::pair<double, double>> points;
  for (const double x : {2.0, 5.0, 11.0, 300.0}) points.emplace_back(x, 7 * std::pow(x, -0.75));
  EXPECT_NEAR(log_log_slope(points), -0.75, 1e-12);
}

}  // namespace
}  // namespace occam::lsn
