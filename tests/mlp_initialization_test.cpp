// Claim: initial parameters have the stated distribution, depend on (seed, layer, element) alone, and scale.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "occam/mlp.hpp"
#include "support/compare.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

const MlpSpec kSpec{.inputs = 80, .hidden = {120, 60}, .classes = 2};

std::vector<float> initial(const MlpSpec& spec, const Initialization& init, std::uint32_t seed) {
  const ParameterLayout layout(spec);
  std::vector<float> parameters(static_cast<std::size_t>(layout.total), std::nanf(""));
  initialize(spec, layout, init, seed, parameters);
  return parameters;
}

std::span<const float> weights(const std::vector<float>& parameters, const ParameterLayout& layout,
                               int layer) {
  const ParameterLayout::Layer& at = layout.layers[static_cast<std::size_t>(layer)];
  return std::span(parameters)
      .subspan(static_cast<std::size_t>(at.weight), static_cast<std::size_t>(at.fan_in * at.fan_out));
}

std::span<const float> biases(const std::vector<float>& parameters, const ParameterLayout& layout,
                              int layer) {
  const ParameterLayout::Layer& at = layout.layers[static_cast<std::size_t>(layer)];
  return std::span(parameters)
      .subspan(static_cast<std::size_t>(at.bias), static_cast<std::size_t>(at.fan_out));
}

// Mean 0, the given variance and, for a uniform, the bound; within five standard errors.
void expect_distribution(std::span<const float> values, double variance, double fourth_over_square,
                         double bound) {
  double sum = 0, squares = 0, largest = 0;
  for (const float v : values) {
    ASSERT_TRUE(std::isfinite(v));
    sum += v, squares += double{v} * v, largest = std::max(largest, std::abs(double{v}));
  }
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 5 * std::sqrt(variance / n));
  EXPECT_NEAR(squares / n, variance, 5 * variance * std::sqrt((fourth_over_square - 1) / n));
  EXPECT_LE(largest, bound * 1.000001);
  EXPECT_GE(largest, 0.9 * std::min(bound, 2 * std::sqrt(variance)));
}

TEST(Initialization, HasTheStatedDistribution) {
  const ParameterLayout layout(kSpec);
  for (int kind = 0; kind < 5; ++kind)
    for (const double scale : {1.0, 2.5}) {
      const std::vector<float> parameters = initial(kSpec, {static_cast<InitializationKind>(kind), scale}, 3);
      for (int l = 0; l < kSpec.layers(); ++l) {
        SCOPED_TRACE(testing::Message() << "kind " << kind << ", scale " << scale << ", layer " << l);
        const double in = kSpec.fan_in(l), out = kSpec.fan_out(l), uniform = 9.0 / 5, normal = 3;
        const double pytorch = scale / std::sqrt(in), kaiming = scale * std::sqrt(6 / in),
                     xavier = scale * std::sqrt(6 / (in + out));
        switch (kind) {
          case 0:
            expect_distribution(weights(parameters, layout, l), pytorch * pytorch / 3, uniform, pytorch);
            break;
          case 1:
            expect_distribution(weights(parameters, layout, l), kaiming * kaiming / 3, uniform, kaiming);
            break;
          case 2:
            expect_distribution(weights(parameters, layout, l), kaiming * kaiming / 3, normal, 1e9);
            break;
          case 3:
            expect_distribution(weights(parameters, layout, l), xavier * xavier / 3, uniform, xavier);
            break;
          default:
            expect_distribution(weights(parameters, layout, l), xavier * xavier / 3, normal, 1e9);
            break;
        }
        if (kind == 0)
          for (const float b : biases(parameters, layout, l)) EXPECT_LE(std::abs(b), pytorch * 1.000001);
        else
          for (const float b : biases(parameters, layout, l)) EXPECT_EQ(b, 0.0f);
      }
    }
}

TEST(Initialization, PyTorchBiasesAreSpread) {
  const ParameterLayout layout(kSpec);
  const std::vector<float> parameters = initial(kSpec, {}, 3);
  expect_distribution(biases(parameters, layout, 0), 1.0 / (3 * 80), 9.0 / 5, 1 / std::sqrt(80.0));
}

TEST(Initialization, DependsOnTheSeedAlone) {
  EXPECT_TRUE(same_bits(initial(kSpec, {}, 5), initial(kSpec, {}, 5)));
  EXPECT_FALSE(same_bits(initial(kSpec, {}, 5), initial(kSpec, {}, 6)));
  // A layer's draws do not depend on the layers behind it.
  MlpSpec deeper = kSpec;
  deeper.hidden = {120, 60, 30};
  const std::vector<float> shallow = initial(kSpec, {}, 5), deep = initial(deeper, {}, 5);
  const ParameterLayout shallow_layout(kSpec), deep_layout(deeper);
  EXPECT_TRUE(same_bits(weights(shallow, shallow_layout, 1), weights(deep, deep_layout, 1)));
  // Layers draw apart, although their bounds may be equal.
  const std::vector<float> square = initial({.inputs = 20, .hidden = {20, 20}, .classes = 20}, {}, 5);
  const ParameterLayout square_layout({.inputs = 20, .hidden = {20, 20}, .classes = 20});
  EXPECT_FALSE(same_bits(weights(square, square_layout, 0), weights(square, square_layout, 1)));
}

TEST(Initialization, ScaleMultiplies) {
  const std::vector<float> plain = initial(kSpec, {}, 5), halved = initial(kSpec, {.scale = 0.5}, 5),
                           nothing = initial(kSpec, {.scale = 0}, 5);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(halved[i], 0.5f * plain[i]);
    EXPECT_EQ(nothing[i], 0.0f);
  }
}

TEST(Initialization, SlopesAndBatchNormStartAsPyTorchs) {
  MlpSpec spec = kSpec;
  spec.activation = Activation::prelu, spec.batch_norm = true;
  const std::vector<float> parameters = initial(spec, {.scale = 3.0}, 5);
  const ParameterLayout layout(spec);
  for (const ParameterLayout::Layer& layer : layout.layers) {
    if (layer.slope < 0) continue;
    EXPECT_EQ(parameters[static_cast<std::size_t>(layer.slope)], 0.25f);
    for (int f = 0; f < layer.fan_out; ++f) {
      EXPECT_EQ(parameters[static_cast<std::size_t>(layer.gamma + f)], 1.0f);
      EXPECT_EQ(parameters[static_cast<std::size_t>(layer.beta + f)], 0.0f);
      EXPECT_EQ(parameters[static_cast<std::size_t>(layer.running_mean + f)], 0.0f);
      EXPECT_EQ(parameters[static_cast<std::size_t>(layer.running_variance + f)], 1.0f);
    }
  }
}

TEST(Layout, CoversTheParametersWithoutGapOrOverlap) {
  for (const bool batch_norm : {false, true})
    for (const Activation activation : {Activation::relu, Activation::prelu})
      for (const std::vector<int>& hidden :
           {std::vector<int>{}, std::vector<int>{3}, std::vector<int>{4, 2}}) {
        const MlpSpec spec{
            .inputs = 5, .hidden = hidden, .classes = 3, .activation = activation, .batch_norm = batch_norm};
        const ParameterLayout layout(spec);
        std::vector<int> covered(static_cast<std::size_t>(layout.total));
        const auto cover = [&](std::int64_t first, std::int64_t count, bool is_trainable) {
          if (first < 0) return;
          EXPECT_EQ(first + count <= layout.trainable, is_trainable);
          for (std::int64_t i = 0; i < count; ++i) ++covered.at(static_cast<std::size_t>(first + i));
        };
        for (const ParameterLayout::Layer& layer : layout.layers) {
          cover(layer.weight, layer.fan_in * layer.fan_out, true), cover(layer.bias, layer.fan_out, true);
          cover(layer.slope, 1, true);
          cover(layer.gamma, layer.fan_out, true), cover(layer.beta, layer.fan_out, true);
          cover(layer.running_mean, layer.fan_out, false),
              cover(layer.running_variance, layer.fan_out, false);
        }
        EXPECT_TRUE(std::ranges::all_of(covered, [](int times) { return times == 1; }));
        EXPECT_EQ(layout.layers.back().gamma, -1);
        EXPECT_EQ(layout.layers.back().slope, -1);
      }
}

TEST(Ensemble, LastAndBestStartEqualAndApartFromOtherMembers) {
  MlpEnsemble models({.inputs = 5, .hidden = {4}, .classes = 2}, {{0, 1, 0}, {0, 2, 0}, {7, 1, 9}}, cpu());
  EXPECT_TRUE(same_bits(models.last(0), models.best(0)));
  EXPECT_FALSE(same_bits(models.last(0), models.last(1)));
  EXPECT_TRUE(
      same_bits(models.last(0), models.last(2)));  // equal init seeds; data and order seeds play no part
  models.best(0)[0] = 42.0f;
  EXPECT_NE(models.last(0)[0], 42.0f);
}

TEST(Ensemble, BestIsLastUntilWrittenTo) {
  MlpEnsemble models({.inputs = 5, .hidden = {4}, .classes = 2}, {{0, 1, 0}, {0, 2, 0}}, cpu());
  models.last(1)[0] = 3.0f;
  EXPECT_EQ(std::as_const(models).best(1)[0], 3.0f);
  models.best(1)[1] = 4.0f;
  models.last(1)[0] = 5.0f;
  EXPECT_EQ(std::as_const(models).best(1)[0], 3.0f);
  models.best_is_last(1);
  EXPECT_EQ(std::as_const(models).best(1)[0], 5.0f);
  EXPECT_NE(std::as_const(models).best(1)[1], 4.0f);
}

TEST(Ensemble, ASubsetHasTheMembersAsTheyAre) {
  MlpEnsemble models({.inputs = 5, .hidden = {4}, .classes = 2}, {{0, 1, 0}, {5, 2, 6}, {7, 3, 9}}, cpu());
  models.last(2)[3] = 8.0f, models.best(2)[3] = 9.0f;
  const std::vector<int> chosen{2, 1};
  const MlpEnsemble some = models.subset(chosen);
  ASSERT_EQ(some.members(), 2);
  for (int i = 0; i < 2; ++i) {
    const int member = chosen[static_cast<std::size_t>(i)];
    EXPECT_TRUE(same_bits(some.last(i), models.last(member)));
    EXPECT_TRUE(same_bits(some.best(i), models.best(member)));
    EXPECT_EQ(some.seeds(i).data, models.seeds(member).data);
    EXPECT_EQ(some.seeds(i).order, models.seeds(member).order);
  }
  EXPECT_EQ(some.best(0)[3], 9.0f);
}

// Layers of more than one piece of work, by one thread and by many.
TEST(Ensemble, InitialParametersDoNotDependOnThreads) {
  const MlpSpec spec{.inputs = 700, .hidden = {900, 300}, .classes = 2};
  const ParameterLayout layout(spec);
  for (const InitializationKind kind : {InitializationKind::pytorch, InitializationKind::kaiming_normal}) {
    const std::vector<Initialization> inits(3, {kind, 1.5});
    const MlpEnsemble models(spec, {{0, 1, 0}, {0, 2, 0}, {0, 3, 0}}, inits,
                             {.kind = DeviceKind::cpu, .threads = 5});
    for (int m = 0; m < models.members(); ++m)
      EXPECT_TRUE(same_bits(models.last(m), initial(spec, inits[0], models.seeds(m).init)));
  }
}

// An ensemble draws what is asked for, when it is asked for.
TEST(Initialization, IsDrawnWhenAskedFor) {
  const std::vector<Seeds> seeds = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
  const Device gpu{.kind = DeviceKind::cuda, .threads = 2};  // which nothing here needs
  const MlpEnsemble drawn(kSpec, seeds, {.threads = 2});
  MlpEnsemble asked(kSpec, seeds, gpu);
  EXPECT_FALSE(asked.is_drawn(0) || asked.is_drawn(1) || asked.is_drawn(2));
  EXPECT_TRUE(same_bits(std::as_const(asked).best(1), drawn.last(1)));
  EXPECT_TRUE(asked.is_drawn(1) && !asked.is_drawn(0) && !asked.is_drawn(2));
  const int chosen[] = {2, 1};
  MlpEnsemble some = asked.subset(chosen);
  EXPECT_TRUE(some.is_drawn(1) && !some.is_drawn(0));
  EXPECT_TRUE(same_bits(some.last(0), drawn.last(2)));
  EXPECT_TRUE(same_bits(some.last(1), drawn.last(1)));
  asked.best(0)[0] = 5.0f;  // a copy of the last, which is drawn for it
  EXPECT_TRUE(same_bits(asked.last(0), drawn.last(0)));
  EXPECT_TRUE(same_bits(asked.best(0).subspan(1), drawn.last(0).subspan(1)));
  EXPECT_THROW(asked.replace_last(2, [](std::span<float>) { throw std::bad_alloc(); }), std::bad_alloc);
  EXPECT_FALSE(asked.is_drawn(2));
  asked.replace_last(2, [](std::span<float> values) { std::ranges::fill(values, 1.0f); });
  EXPECT_EQ(asked.last(2)[3], 1.0f);
  EXPECT_THROW(MlpEnsemble(kSpec, {{1, 2, 3}}, {{.scale = -1.0}}, gpu), Error);
}

}  // namespace
}  // namespace occam::test
