// Claim: one parameter's step under SGD, Adam and RMSProp stays with the double-precision oracle over 1,000
// steps.
#include "law/optimizer.hpp"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "reference/optimizer.hpp"
#include "support/compare.hpp"
#include "support/oracle.hpp"

namespace occam::test {
namespace {

constexpr std::size_t kParameters = 50;

// Gradients of very different sizes; the first is always zero, unless weight decay acts: Adam and RMSProp
// would divide its tiny gradient by itself, and rounding would decide the sign. [steps][kParameters]
std::vector<std::vector<float>> gradients(int steps, bool weight_decay) {
  std::mt19937 random(11);
  std::vector<std::vector<float>> result(static_cast<std::size_t>(steps), std::vector<float>(kParameters));
  for (auto& step : result)
    for (std::size_t i = 0; i < kParameters; ++i) {
      const float noise = static_cast<float>(static_cast<std::int32_t>(random())) * 0x1p-31f;
      step[i] = i == 0 && !weight_decay ? 0.0f : std::ldexp(noise + 0.3f, static_cast<int>(i % 12) - 8);
    }
  return result;
}

void step(const Optimizer& o, std::int64_t update, float gradient, float& w, float& state0, float& state1) {
  const law::OptimizerConstants constants = law::optimizer_constants(o);
  const law::AdamScale adam = law::adam_scale(constants, update);
  if (o.kind == OptimizerKind::adam)
    law::optimizer_step<OptimizerKind::adam, false>(constants, adam, gradient, w, state0, state1);
  else if (o.kind == OptimizerKind::sgd && o.momentum == 0)
    law::optimizer_step<OptimizerKind::sgd, false>(constants, adam, gradient, w, state0, state1);
  else if (o.kind == OptimizerKind::sgd)
    law::optimizer_step<OptimizerKind::sgd, true>(constants, adam, gradient, w, state0, state1);
  else if (o.momentum == 0)
    law::optimizer_step<OptimizerKind::rmsprop, false>(constants, adam, gradient, w, state0, state1);
  else
    law::optimizer_step<OptimizerKind::rmsprop, true>(constants, adam, gradient, w, state0, state1);
}

TEST(LawOptimizer, ThousandStepsStayWithTheOracle) {
  struct Named {
    const char* name;
    Optimizer optimizer;
  };
  const Named cases[] = {
      {"sgd", {.kind = OptimizerKind::sgd, .learning_rate = 0.01}},
      {"sgd, weight decay", {.kind = OptimizerKind::sgd, .learning_rate = 0.01, .weight_decay = 0.1}},
      {"sgd, momentum",
       {.kind = OptimizerKind::sgd, .learning_rate = 0.01, .momentum = 0.9, .weight_decay = 0.01}},
      {"adam", {.kind = OptimizerKind::adam, .learning_rate = 0.001}},
      {"adam, weight decay, other betas",
       {.kind = OptimizerKind::adam,
        .learning_rate = 0.003,
        .weight_decay = 0.01,
        .beta1 = 0.5,
        .beta2 = 0.9}},
      {"rmsprop", {.kind = OptimizerKind::rmsprop, .learning_rate = 0.001}},
      {"rmsprop, momentum, other alpha",
       {.kind = OptimizerKind::rmsprop,
        .learning_rate = 0.001,
        .momentum = 0.9,
        .weight_decay = 0.01,
        .alpha = 0.9}},
  };
  for (const Named& c : cases) {
    SCOPED_TRACE(c.name);
    ShareUsed share(c.name);
    const auto all = gradients(1000, c.optimizer.weight_decay != 0);
    std::vector<float> w(kParameters), state0(kParameters), state1(kParameters);
    std::vector<double> exact(kParameters), exact_gradient(kParameters);
    std::vector<double*> at, gradient_at;
    for (std::size_t i = 0; i < kParameters; ++i) {
      exact[i] = w[i] = static_cast<float>(i) / 25.0f - 1.0f;
      at.push_back(&exact[i]), gradient_at.push_back(&exact_gradient[i]);
    }
    reference::Optimizer oracle(oracle_optimizer(c.optimizer), kParameters);
    const std::vector<float> start = w;
    for (std::size_t t = 0; t < all.size(); ++t) {
      for (std::size_t i = 0; i < kParameters; ++i) {
        step(c.optimizer, static_cast<std::int64_t>(t), all[t][i], w[i], state0[i], state1[i]);
        exact_gradient[i] = all[t][i];
      }
      oracle.step(at, gradient_at);
      if (t % 100 != 99 && t > 2) continue;
      ASSERT_TRUE(share.within(w, exact, {.absolute = 3e-6, .relative = 3e-6})) << "step " << t;
    }
    EXPECT_FALSE(same_bits(w, start));
  }
}

TEST(LawOptimizer, StateSlots) {
  EXPECT_EQ(law::state_slots({.kind = OptimizerKind::sgd}), 0);
  EXPECT_EQ(law::state_slots({.kind = OptimizerKind::sgd, .momentum = 0.9}), 1);
  EXPECT_EQ(law::state_slots({.kind = OptimizerKind::adam}), 2);
  EXPECT_EQ(law::state_slots({.kind = OptimizerKind::rmsprop}), 1);
  EXPECT_EQ(law::state_slots({.kind = OptimizerKind::rmsprop, .momentum = 0.9}), 2);
}

TEST(LawOptimizer, PowersBySquaring) {
  for (const double base : {0.9, 0.999, 0.5, 0.0})
    for (const std::int64_t exponent : {1, 2, 3, 7, 100, 12345, 5'000'000})
      EXPECT_NEAR(law::power(base, exponent), std::pow(base, static_cast<double>(exponent)),
                  1e-12 * std::pow(base, static_cast<double>(exponent)) + 1e-300);
  EXPECT_EQ(law::power(0.9, 0), 1.0);
}

// Adam's scalars are taken in double: in fp32 1 − 0.999¹ would already be wrong in the fourth digit.
TEST(LawOptimizer, AdamScaleOfTheFirstUpdates) {
  const law::OptimizerConstants constants =
      law::optimizer_constants({.kind = OptimizerKind::adam, .learning_rate = 0.001});
  EXPECT_EQ(law::adam_scale(constants, 0).step, static_cast<float>(0.001 / (1 - 0.9)));
  EXPECT_EQ(law::adam_scale(constants, 0).root, static_cast<float>(std::sqrt(1 - 0.999)));
  EXPECT_EQ(law::adam_scale(constants, 1).step, static_cast<float>(0.001 / (1 - 0.9 * 0.9)));
  EXPECT_EQ(law::adam_scale(constants, 1'000'000).step, 0.001f);
  EXPECT_EQ(law::adam_scale(constants, 1'000'000).root, 1.0f);
}

TEST(LawOptimizer, NanGoesThrough) {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::rmsprop}) {
    float w = 1, state0 = 0, state1 = 0;
    step({.kind = kind, .momentum = kind == OptimizerKind::adam ? 0.0 : 0.9}, 0, std::nanf(""), w, state0,
         state1);
    EXPECT_TRUE(std::isnan(w));
  }
}

}  // namespace
}  // namespace occam::test
