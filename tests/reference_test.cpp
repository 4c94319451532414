// The oracle judged by itself: its gradients against finite differences of its own loss, its AUC against
// answers by hand.
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "reference/mlp.hpp"
#include "reference/optimizer.hpp"
#include "reference/roc_auc.hpp"

namespace reference {
namespace {

class Numbers {
 public:
  explicit Numbers(std::uint32_t seed) : random_(seed) {}
  double operator()(double low, double high) {
    return low + (high - low) * static_cast<double>(random_()) / 4294967296.0;
  }
  void fill(Vector& v, std::size_t n, double low, double high) {
    for (std::size_t i = 0; i < n; ++i) v.push_back((*this)(low, high));
  }

 private:
  std::mt19937 random_;
};

struct Case {
  Activation activation;
  Loss loss;
  bool batch_norm, dropout;
};

struct Problem {
  Net net;
  Parameters parameters;
  Batch batch;
};

Problem make(const Case& c, std::uint32_t seed) {
  Numbers numbers(seed);
  Problem problem;
  problem.net.widths = {4, 6, 5, c.loss == Loss::cross_entropy ? 3 : 1};
  problem.net.activation = c.activation, problem.net.loss = c.loss, problem.net.batch_norm = c.batch_norm;
  constexpr int kRows = 7;
  for (int l = 0; l < problem.net.layers(); ++l) {
    const auto in = static_cast<std::size_t>(problem.net.widths[static_cast<std::size_t>(l)]);
    const auto out = static_cast<std::size_t>(problem.net.widths[static_cast<std::size_t>(l) + 1]);
    Layer layer;
    numbers.fill(layer.weight, in * out, -0.8, 0.8);
    numbers.fill(layer.bias, out, -0.5, 0.5);
    layer.slope = 0.3;
    if (c.batch_norm && l + 1 < problem.net.layers()) {
      numbers.fill(layer.gamma, out, 0.5, 1.5), numbers.fill(layer.beta, out, -0.5, 0.5);
      numbers.fill(layer.mean, out, -0.5, 0.5), numbers.fill(layer.variance, out, 0.5, 1.5);
    }
    problem.parameters.push_back(layer);
  }
  numbers.fill(problem.batch.x, kRows * 4, -1.5, 1.5);
  for (int s = 0; s < kRows; ++s) problem.batch.labels.push_back(s % (c.loss == Loss::cross_entropy ? 3 : 2));
  if (c.dropout) {
    const auto mask = [&](std::size_t n) {
      Vector v;
      for (std::size_t i = 0; i < n; ++i) v.push_back(numbers(0, 1) < 0.3 ? 0.0 : 1 / 0.7);
      return v;
    };
    problem.batch.input_mask = mask(kRows * 4);
    problem.batch.masks = {mask(kRows * 6), mask(kRows * 5)};
  }
  return problem;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Activation a :
       {Activation::relu, Activation::leaky_relu, Activation::prelu, Activation::tanh, Activation::identity})
    for (const Loss l : {Loss::cross_entropy, Loss::binary_cross_entropy, Loss::hinge})
      for (const bool batch_norm : {false, true})
        for (const bool dropout : {false, true}) cases.push_back({a, l, batch_norm, dropout});
  return cases;
}

// Central differences of the loss. Kinks (ReLU, hinge) are avoided by asking that two step sizes agree.
void expect_gradient(Problem& problem, double& at, double analytic, const std::string& what, double& largest,
                     int& skipped) {
  const auto slope = [&](double h) {
    const double keep = at;
    at = keep + h;
    const double up = forward(problem.net, problem.parameters, problem.batch, Mode::training).loss;
    at = keep - h;
    const double down = forward(problem.net, problem.parameters, problem.batch, Mode::training).loss;
    at = keep;
    return (up - down) / (2 * h);
  };
  const double fine = slope(1e-6), coarse = slope(2e-6);
  if (std::abs(fine - coarse) > 1e-7 * (1 + std::abs(fine))) {
    ++skipped;
    return;
  }
  const double bound = 1e-8 + 1e-7 * std::abs(fine);
  ASSERT_LE(std::abs(analytic - fine), bound)
      << what << ": analytic " << analytic << ", finite difference " << fine;
  largest = std::max(largest, std::abs(analytic - fine) / bound);
}

TEST(Oracle, GradientsAreFiniteDifferencesOfTheLoss) {
  double largest = 0;
  int checked = 0, skipped = 0;
  std::uint32_t seed = 1;
  for (const Case& c : all_cases()) {
    Problem problem = make(c, ++seed);
    const Forward pass = forward(problem.net, problem.parameters, problem.batch, Mode::training);
    Gradients gradients = backward(problem.net, problem.parameters, problem.batch, pass);
    const std::vector<double*> at = trainable(problem.net, problem.parameters),
                               analytic = trainable(problem.net, gradients.parameters);
    ASSERT_EQ(at.size(), analytic.size());
    const std::string name =
        fmt::format("activation {}, loss {}, batch norm {}, dropout {}", static_cast<int>(c.activation),
                    static_cast<int>(c.loss), c.batch_norm, c.dropout);
    for (std::size_t i = 0; i < at.size(); ++i, ++checked) {
      expect_gradient(problem, *at[i], *analytic[i], fmt::format("{}, parameter {}", name, i), largest,
                      skipped);
      if (HasFatalFailure()) return;
    }
    for (std::size_t i = 0; i < problem.batch.x.size(); ++i, ++checked) {
      expect_gradient(problem, problem.batch.x[i], gradients.x[i], fmt::format("{}, input {}", name, i),
                      largest, skipped);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_LT(skipped, checked / 200);
  fmt::print("    {} derivatives, {} at a kink, {:.0f}% of the tolerance used\n", checked, skipped,
             100 * largest);
}

TEST(Oracle, LossesAreTheirFormulas) {
  Net net;
  net.widths = {1, 3};
  const double logit[3] = {0.5, -1.0, 2.0};
  const double sum = std::exp(0.5) + std::exp(-1.0) + std::exp(2.0);
  EXPECT_NEAR(loss_of(net, logit, 1), -std::log(std::exp(-1.0) / sum), 1e-14);
  EXPECT_EQ(predicted_class(net, logit), 2);
  net.widths = {1, 1};
  net.loss = Loss::binary_cross_entropy;
  EXPECT_NEAR(loss_of(net, logit, 1), -std::log(1 / (1 + std::exp(-0.5))), 1e-14);
  EXPECT_NEAR(loss_of(net, logit, 0), -std::log(1 - 1 / (1 + std::exp(-0.5))), 1e-14);
  net.loss = Loss::hinge;
  EXPECT_DOUBLE_EQ(loss_of(net, logit, 1), 0.5);
  EXPECT_DOUBLE_EQ(loss_of(net, logit, 0), 1.5);
}

TEST(Oracle, RunningAveragesTakeTheUnbiasedVariance) {
  Problem problem = make({Activation::tanh, Loss::hinge, true, false}, 5);
  const Layer before = problem.parameters[0];
  const Forward pass = forward(problem.net, problem.parameters, problem.batch, Mode::training);
  move_running_averages(problem.net, pass, problem.parameters);
  double mean = 0, squares = 0;
  for (int s = 0; s < 7; ++s) mean += pass.traces[0].dropped[static_cast<std::size_t>(6 * s)] / 7;
  for (int s = 0; s < 7; ++s)
    squares += std::pow(pass.traces[0].dropped[static_cast<std::size_t>(6 * s)] - mean, 2);
  EXPECT_NEAR(problem.parameters[0].mean[0], before.mean[0] + 0.1 * (mean - before.mean[0]), 1e-15);
  EXPECT_NEAR(problem.parameters[0].variance[0],
              before.variance[0] + 0.1 * (squares / 6 - before.variance[0]), 1e-15);
}

TEST(Oracle, FirstStepsOfTheOptimizersByHand) {
  const auto after = [](OptimizerSettings settings, int steps) {
    double w = 1.0, g = 0.5;
    Optimizer optimizer(settings, 1);
    for (int i = 0; i < steps; ++i) optimizer.step({&w}, {&g});
    return w;
  };
  EXPECT_DOUBLE_EQ(after({.learning_rate = 0.1}, 1), 0.95);
  EXPECT_DOUBLE_EQ(after({.learning_rate = 0.1, .weight_decay = 0.2}, 1), 0.93);
  EXPECT_DOUBLE_EQ(after({.learning_rate = 0.1, .momentum = 0.9}, 2), 1.0 - 0.05 - 0.1 * (0.9 * 0.5 + 0.5));
  // Adam's bias correction makes the first step lr · sign(g), whatever g is.
  EXPECT_NEAR(after({.kind = OptimizerKind::adam, .learning_rate = 0.1, .epsilon = 1e-12}, 1), 0.9, 1e-9);
  EXPECT_NEAR(after({.kind = OptimizerKind::rmsprop, .learning_rate = 0.1, .epsilon = 1e-12}, 1),
              1 - 0.1 / std::sqrt(0.01), 1e-9);
}

TEST(Oracle, AreaUnderTheCurveByHand) {
  EXPECT_DOUBLE_EQ(roc_auc({1, 2, 3, 4}, {0, 0, 1, 1}), 1.0);
  EXPECT_DOUBLE_EQ(roc_auc({1, 2, 3, 4}, {1, 1, 0, 0}), 0.0);
  EXPECT_DOUBLE_EQ(roc_auc({1, 1, 1, 1}, {1, 0, 1, 0}), 0.5);
  EXPECT_DOUBLE_EQ(roc_auc({1, 2, 2, 3}, {0, 1, 0, 1}), 0.875);
  EXPECT_TRUE(std::isnan(roc_auc({1, 2}, {1, 1})));
  EXPECT_TRUE(std::isnan(roc_auc({1, std::nan("")}, {1, 0})));
}

}  // namespace
}  // namespace reference
