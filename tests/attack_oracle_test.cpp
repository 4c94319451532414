// Claim: PGD follows a double-precision oracle and PyTorch's own run step by step, with projection, bounds,
// starts and every loss at work.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/npz.hpp"
#include "occam/philox.hpp"
#include "reference/attack.hpp"
#include "support/attacked.hpp"
#include "support/compare.hpp"
#include "support/oracle.hpp"

namespace occam::test {
namespace {

constexpr double kLower = -1.25, kUpper = 1.5;  // exact in fp32

// Clouds that the bounds cut off: many values lie on them.
Data bounded_clouds(int classes, std::int64_t rows) {
  ArrayData::Table table = clouds({6, classes, 20, 0, rows}, 3);
  for (float& value : table.x)
    value = std::clamp(value, static_cast<float>(kLower), static_cast<float>(kUpper));
  return ArrayData{shared(table), 0};
}

// Where a row starts (docs/arithmetic.md).
reference::Vector start_of(const Pgd& attack, std::uint32_t row, std::size_t inputs) {
  reference::Vector start(inputs);
  double squares = 0;
  for (std::uint32_t k = 0; k < inputs; ++k) {
    const std::uint32_t word = draw(attack.seed, Stream::attack_start, row, k / 4).word[k % 4];
    start[k] = attack.start * (2.0 * (word >> 8) / (1 << 24) - 1);
    squares += start[k] * start[k];
  }
  if (attack.norm == Norm::l2)
    for (double& value : start) value *= attack.start / std::sqrt(squares);
  return start;
}

// The weights by which the oracle sums ℓ(c).
reference::Vector oracle_weights(const Pgd& attack, int classes, int label, std::uint32_t row,
                                 int iteration) {
  reference::Vector weight(static_cast<std::size_t>(classes), 0.0);
  const auto at = [&](int c) -> double& { return weight[static_cast<std::size_t>(c)]; };
  switch (attack.loss) {
    case AttackLoss::untargeted: at(label) = -1; break;
    case AttackLoss::targeted: at(attack.target) = 1; break;
    case AttackLoss::random_targeted: {
      const Philox words =
          draw(attack.seed, Stream::attack_target, row, static_cast<std::uint32_t>(iteration));
      at(static_cast<int>(words.word[0] / 4294967296.0 * classes)) = 1;
      break;
    }
    case AttackLoss::plus_one: at((label + 1) % classes) = 1; break;
    case AttackLoss::binary_targeted: at(1 - label) = 1; break;
    case AttackLoss::binary_hybrid: at(1 - label) = 1, at(label) = -1; break;
  }
  return weight;
}

// How often the oracle's runs met what they are to check.
struct Met {
  int bounds = 0, ball = 0, beyond_ball = 0, kept = 0;
};

// The perturbations of all rows in double precision.
std::vector<double> oracle_pgd(const Attacked& model, const HostTable& rows, const Pgd& attack, Met& met) {
  const auto inputs = static_cast<std::size_t>(model.spec.inputs);
  reference::Net net = oracle_net(model.spec);
  if (net.loss == reference::Loss::hinge) net.loss = reference::Loss::binary_cross_entropy;
  const reference::Parameters parameters = oracle_parameters(model.spec, model.models.last(0));
  std::vector<double> all;
  for (std::uint32_t row = 0; row < rows.y.size(); ++row) {
    const auto first = rows.x.begin() + static_cast<std::ptrdiff_t>(row * inputs);
    const int label = rows.y[row];
    const auto batch = static_cast<std::uint32_t>(attack.batch), before = row / batch * batch;
    const reference::AttackSettings settings{
        .l2 = attack.norm == Norm::l2,
        .epsilon = attack.epsilon,
        .step = attack.step,
        .lower = attack.lower,
        .upper = attack.upper,
        .iterations = attack.iterations,
        .batch_rows = static_cast<int>(std::min<std::size_t>(batch, rows.y.size() - before)),
        .minimal = attack.minimal,
        .weight = [&](int t) { return oracle_weights(attack, model.spec.classes, label, row, t); }};
    const reference::Vector x(first, first + model.spec.inputs), start = start_of(attack, row, inputs);
    const reference::Vector delta = reference::pgd(net, parameters, x, label, start, settings);
    double size = 0;
    bool kept = true;
    for (std::size_t k = 0; k < inputs; ++k) {
      met.bounds += x[k] + delta[k] == attack.lower || x[k] + delta[k] == attack.upper;
      kept &= delta[k] == std::clamp(start[k], attack.lower - x[k], attack.upper - x[k]);
      size = settings.l2 ? std::hypot(size, delta[k]) : std::max(size, std::abs(delta[k]));
    }
    met.kept += kept;
    met.ball += std::abs(size - attack.epsilon)<1e-9, met.beyond_ball += size> attack.epsilon + 1e-3;
    all.insert(all.end(), delta.begin(), delta.end());
  }
  return all;
}

// Smooth networks, so that the two arithmetics stay together for a few steps.
TEST(Attack, FollowsTheDoublePrecisionOracleStepByStep) {
  ShareUsed share("PGD against the oracle");
  int cases = 0;
  Met projected, minimal;
  for (const auto& [classes, loss] : {std::pair{2, Loss::cross_entropy},
                                      {4, Loss::cross_entropy},
                                      {2, Loss::binary_cross_entropy},
                                      {2, Loss::hinge}})
    for (const Norm norm : {Norm::l2, Norm::linf})
      for (const AttackLoss aim :
           {AttackLoss::untargeted, AttackLoss::targeted, AttackLoss::random_targeted, AttackLoss::plus_one,
            AttackLoss::binary_targeted, AttackLoss::binary_hybrid}) {
        if (classes > 2 && (aim == AttackLoss::binary_targeted || aim == AttackLoss::binary_hybrid)) continue;
        MlpSpec spec = network(6, {7, 5}, Activation::tanh, classes, loss);
        spec.batch_norm = cases % 2 == 0;
        Attacked model(spec, bounded_clouds(classes, 21), 5 + static_cast<std::uint32_t>(cases));
        const HostTable rows = model.rows();
        for (int iterations = 1; iterations <= 5; ++iterations, ++cases) {
          Pgd attack{.norm = norm, .loss = aim, .epsilon = 0.375, .step = 0.125, .iterations = iterations};
          attack.lower = kLower, attack.upper = kUpper, attack.target = 1, attack.batch = 8, attack.seed = 4;
          for (const bool is_minimal : {false, true}) {
            attack.minimal = is_minimal;
            const std::vector<double> expected =
                oracle_pgd(model, rows, attack, is_minimal ? minimal : projected);
            ASSERT_TRUE(share.within(model.pgd(attack).perturbation, expected, {.absolute = 5e-7}))
                << fmt::format("{} classes, norm {}, loss {}, minimal {}, {} steps", classes,
                               static_cast<int>(norm), static_cast<int>(aim), is_minimal, iterations);
          }
        }
      }
  EXPECT_EQ(cases, 220);
  EXPECT_GT(projected.bounds, 500);
  EXPECT_GT(projected.ball, 500);
  EXPECT_EQ(projected.beyond_ball, 0);
  EXPECT_GT(minimal.bounds, 200);
  EXPECT_GT(minimal.beyond_ball, 100) << "minimal does not project";
  EXPECT_GT(minimal.kept, 100) << "rows that are misclassified keep their start";
}

// PyTorch's run, step by step: from 0, projected and bounded. Its seeds keep it away from where rounding would
// turn a ReLU or the sign of a gradient (tests/reference/make_pytorch_vectors.py), so fp32 can follow.
TEST(Attack, RunsAsPyTorchDoes) {
  const NpzReader file(OCCAM_SOURCE_DIR "/tests/data/pytorch_vectors.npz");
  ShareUsed share("PGD against PyTorch");
  for (const std::string name : {"pgd_l2", "pgd_linf"}) {
    const NpyArray x_array = file.read(name + "/x"), y_array = file.read(name + "/y"),
                   hidden = file.read(name + "/hidden"), start = file.read(name + "/start"),
                   constants = file.read(name + "/constants"), deltas = file.read(name + "/delta");
    const auto x = x_array.values<float>();
    const auto y = y_array.values<std::int32_t>(), widths = hidden.values<std::int32_t>();
    const auto delta = deltas.values<double>(), constant = constants.values<double>();
    ArrayData::Table table{.dim = 6, .classes = 3, .test = static_cast<std::int64_t>(y.size())};
    table.x.assign(x.begin(), x.end()), table.y.assign(y.begin(), y.end());
    Attacked model(network(6, {widths.begin(), widths.end()}, Activation::relu, 3),
                   ArrayData{shared(table), 0});
    std::ranges::copy(start.values<float>(), model.models.last(0).begin());
    Pgd attack{.norm = name == "pgd_l2" ? Norm::l2 : Norm::linf, .epsilon = constant[0], .step = constant[1]};
    attack.lower = constant[2], attack.upper = constant[3], attack.start = 0;
    const std::size_t steps = delta.size() / x.size() - 1;
    ASSERT_EQ(steps, 8u);
    for (std::size_t t = 1; t <= steps; ++t) {
      attack.iterations = static_cast<int>(t);
      EXPECT_TRUE(share.within(model.pgd(attack).perturbation, delta.subspan(t * x.size(), x.size()),
                               {.absolute = 5e-7}))
          << name << " after " << t << " steps";
    }
    int on_ball = 0, on_bounds = 0;
    for (std::size_t row = 0; row < y.size(); ++row) {
      double size = 0;
      for (std::size_t k = 0; k < 6; ++k) {
        const double value = delta[(steps * y.size() + row) * 6 + k], moved = x[row * 6 + k] + value;
        size = attack.norm == Norm::l2 ? std::hypot(size, value) : std::max(size, std::abs(value));
        on_bounds += std::min(std::abs(moved - attack.lower), std::abs(moved - attack.upper)) < 1e-12;
      }
      on_ball += std::abs(size - attack.epsilon) < 1e-9;
    }
    EXPECT_GE(on_ball, 3) << name;
    EXPECT_GE(on_bounds, 5) << name;
  }
}

}  // namespace
}  // namespace occam::test
