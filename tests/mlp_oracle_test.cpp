// Claim: what the twin (and so, bit for bit, every body) computes is the mathematics, up to fp32 rounding.
// The judge is the double-precision oracle of tests/reference, which shares no code and whose gradients
// finite differences confirm.
#include <random>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "law/dropout.hpp"
#include "support/compare.hpp"
#include "support/every_spec.hpp"
#include "support/oracle.hpp"
#include "support/scalar_twin.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

// Calls body(spec, dropout, seed) for every activation × output × batch norm × dropout, with depths 0 to 4.
template <class Body>
void for_each_setting(const Body& body) {
  std::mt19937 random(3);
  std::uint32_t seed = 0;
  for (const Activation activation : kActivations)
    for (const OutputChoice& output : kOutputs)
      for (const bool batch_norm : {false, true})
        for (const double dropout : {0.0, 0.3}) {
          MlpSpec spec;
          spec.inputs = 3 + static_cast<int>(random() % 20);
          spec.hidden.clear();
          for (std::uint32_t l = 0; l < seed % 5; ++l)
            spec.hidden.push_back(4 + static_cast<int>(random() % 30));
          spec.classes = output.classes, spec.loss = output.loss;
          spec.activation = activation, spec.batch_norm = batch_norm;
          SCOPED_TRACE(fmt::format("activation {}, loss {}, classes {}, batch norm {}, dropout {}, hidden {}",
                                   static_cast<int>(activation), static_cast<int>(output.loss),
                                   output.classes, batch_norm, dropout, architecture_name(spec.hidden)));
          body(spec, dropout, ++seed);
          if (testing::Test::HasFatalFailure()) return;
        }
}

Data data_of(const MlpSpec& spec, std::uint32_t seed) {
  return clouds_data({.dim = spec.inputs, .classes = spec.classes, .train = 70, .validation = 0, .test = 60},
                     seed);
}

TEST(MlpOracle, GradientsOfEverySetting) {
  ShareUsed share("gradients");
  for_each_setting([&](const MlpSpec& spec, double dropout, std::uint32_t seed) {
    Training training;
    training.batch = 32;
    training.hidden_dropout = dropout, training.input_dropout = dropout / 2;
    const HostTable rows = materialize(data_of(spec, seed), Split::train);
    const std::vector<float> start = random_parameters(spec, seed);
    ScalarTwin twin(spec, training, seed, start);
    const reference::Net net = oracle_net(spec);
    for (std::int64_t update = 0; update < 3; ++update) {  // the third batch is short
      const reference::Parameters parameters = oracle_parameters(spec, twin.parameters());
      const reference::Batch batch = oracle_batch(spec, training, seed, rows, update);
      const reference::Forward pass = reference::forward(net, parameters, batch, reference::Mode::training);
      reference::Gradients expected = reference::backward(net, parameters, batch, pass);
      // Tensors without a place in the gradient (running averages) are zero in `flat`, and beyond
      // `trainable`.
      for (reference::Layer& layer : expected.parameters)
        layer.mean.assign(layer.gamma.size(), 0), layer.variance.assign(layer.gamma.size(), 0);
      twin.train(rows, 1);
      reference::Vector flat_gradient = flat(spec, expected.parameters);
      flat_gradient.resize(twin.gradient().size());
      ASSERT_TRUE(share.within(twin.gradient(), flat_gradient, {.absolute = 2e-6, .relative = 2e-5}));
    }
  });
}

TEST(MlpOracle, TenUpdatesOfEverySetting) {
  // Epsilons above the rounding error of a gradient keep Adam and RMSProp from magnifying it.
  const Optimizer optimizers[] = {
      {.kind = OptimizerKind::sgd, .learning_rate = 0.05, .momentum = 0.8, .weight_decay = 1e-3},
      {.kind = OptimizerKind::adam, .learning_rate = 0.01, .weight_decay = 1e-3, .epsilon = 1e-2},
      {.kind = OptimizerKind::rmsprop,
       .learning_rate = 0.01,
       .momentum = 0.5,
       .weight_decay = 1e-3,
       .epsilon = 1e-1},
  };
  ShareUsed parameters("parameters after 10 updates"), logits("logits in inference mode"), losses("loss");
  for (const Optimizer& optimizer : optimizers)
    for_each_setting([&](const MlpSpec& spec, double dropout, std::uint32_t seed) {
      Training training;
      training.batch = 32;
      training.optimizer = optimizer;
      training.hidden_dropout = dropout, training.input_dropout = dropout / 2;
      const Data data = data_of(spec, seed);
      const HostTable rows = materialize(data, Split::train), test = materialize(data, Split::test);
      const std::vector<float> start = random_parameters(spec, seed);
      ScalarTwin twin(spec, training, seed, start);
      OracleMember oracle(spec, training, seed, start);
      twin.train(rows, 10);
      oracle.train(rows, 10);
      ASSERT_TRUE(
          parameters.within(twin.parameters(), oracle.parameters(), {.absolute = 2e-4, .relative = 1e-3}));
      const reference::Forward expected = oracle.infer(test);
      ASSERT_TRUE(logits.within(twin.logits(test.x), expected.logits, {.absolute = 1e-3, .relative = 1e-3}));
      const ScalarTwin::Score score = twin.score(test);
      ASSERT_TRUE(losses.within({&score.loss, 1}, {&expected.loss, 1}, {.absolute = 1e-3, .relative = 1e-3}));
    });
}

// Inference alone, from equal parameters: only the forward rounding is left.
TEST(MlpOracle, LogitsAndScores) {
  ShareUsed logits("logits"), losses("loss");
  for_each_setting([&](const MlpSpec& spec, double, std::uint32_t seed) {
    const Training training;
    const HostTable test = materialize(data_of(spec, seed), Split::test);
    const std::vector<float> start = random_parameters(spec, seed);
    const ScalarTwin twin(spec, training, seed, start);
    const OracleMember oracle(spec, training, seed, start);
    const reference::Forward expected = oracle.infer(test);
    ASSERT_TRUE(logits.within(twin.logits(test.x), expected.logits, {.absolute = 2e-6, .relative = 1e-5}));
    const ScalarTwin::Score score = twin.score(test);
    ASSERT_TRUE(losses.within({&score.loss, 1}, {&expected.loss, 1}, {.absolute = 1e-6, .relative = 1e-5}));
    const reference::Net net = oracle_net(spec);
    std::int64_t correct = 0, near_tie = 0;
    for (std::size_t s = 0; s < test.y.size(); ++s) {
      const double* logit = &expected.logits[s * static_cast<std::size_t>(net.outputs())];
      correct += reference::predicted_class(net, logit) == test.y[s];
      for (int c = 0; c < net.outputs(); ++c)
        for (int d = 0; d < c; ++d) near_tie += std::abs(logit[c] - logit[d]) < 1e-4;
      near_tie += net.outputs() == 1 && std::abs(logit[0]) < 1e-4;
    }
    ASSERT_LE(std::abs(score.correct - correct), near_tie);
  });
}

// The masks themselves: the share of zeros, the scale, and that layers, samples, features and updates draw
// apart.
TEST(MlpOracle, DropoutMasksAreBernoulli) {
  const double probability = 0.3;
  MlpSpec spec;
  spec.inputs = 40, spec.hidden = {30, 20};
  Training training;
  training.batch = 128;
  training.input_dropout = training.hidden_dropout = probability;
  const HostTable rows = materialize(
      clouds_data({.dim = 40, .classes = 2, .train = 128, .validation = 0, .test = 1}, 1), Split::train);
  double zeros = 0, count = 0, agree = 0, compared = 0;
  reference::Vector before;
  for (std::int64_t update = 0; update < 20; ++update) {
    const reference::Batch batch = oracle_batch(spec, training, 9, rows, update);
    ASSERT_EQ(batch.masks.size(), 2u);
    for (const reference::Vector* mask : {&batch.input_mask, &batch.masks[0], &batch.masks[1]}) {
      for (std::size_t i = 0; i < mask->size(); ++i) {
        zeros += (*mask)[i] == 0;
        ++count;
        if (i < before.size()) agree += ((*mask)[i] == 0) == (before[i] == 0), ++compared;
      }
      before = *mask;
    }
  }
  EXPECT_NEAR(zeros / count, probability, 4 * std::sqrt(probability * (1 - probability) / count));
  const double match = probability * probability + (1 - probability) * (1 - probability);
  EXPECT_NEAR(agree / compared, match, 4 * std::sqrt(match * (1 - match) / compared));
  const law::Dropout constants = law::dropout_constants(probability);
  EXPECT_EQ(law::dropout_factor(constants, constants.threshold - 1), 0.0f);
  EXPECT_EQ(law::dropout_factor(constants, constants.threshold), static_cast<float>(1 / 0.7));
  EXPECT_EQ(constants.threshold, static_cast<std::uint32_t>(0.3 * 4294967296.0));
}

}  // namespace
}  // namespace occam::test
