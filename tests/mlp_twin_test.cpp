// Claim: the CPU body gives the scalar twin's bits, whatever the shape, the instruction set and the settings.
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/compare.hpp"
#include "support/every_spec.hpp"
#include "support/randomized_table.hpp"
#include "support/scalar_twin.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

struct Case {
  MlpSpec spec;
  Training training;
  TableShape table;
  std::int64_t first_updates = 2, more_updates = 2;  // two calls: state lives on between them
  double distance = 1.0;
};

std::string describe(const Case& c) {
  return fmt::format(
      "{}-{}-{}, activation {}, loss {}, batch norm {}, dropout {} {}, optimizer {} momentum {}, {} rows in "
      "{}s",
      c.spec.inputs, architecture_name(c.spec.hidden), c.spec.outputs(), static_cast<int>(c.spec.activation),
      static_cast<int>(c.spec.loss), c.spec.batch_norm, c.training.input_dropout, c.training.hidden_dropout,
      static_cast<int>(c.training.optimizer.kind), c.training.optimizer.momentum, c.table.train,
      c.training.batch);
}

void expect_twin(const Case& c, std::uint32_t seed, Nan nan = Nan::rejected) {
  SCOPED_TRACE(describe(c));
  const Seeds seeds{.data = seed, .init = seed + 1, .order = seed + 2};
  const Data data = clouds_data(c.table, seed, c.distance);
  const std::vector<float> start = random_parameters(c.spec, seed);
  OneMember body(c.spec, data, seeds, c.training, start);
  ScalarTwin twin(c.spec, c.training, seeds.order, start);
  const HostTable train = materialize(data, Split::train), test = materialize(data, Split::test);

  for (const std::int64_t updates : {c.first_updates, c.more_updates}) {
    body.train(updates);
    twin.train(train, updates);
    ASSERT_TRUE(same_bits(body.parameters(), twin.parameters(), nan));
  }
  const auto trainable = static_cast<std::size_t>(ParameterLayout(c.spec).trainable);
  if (nan == Nan::matched) {
    ASSERT_FALSE(std::ranges::all_of(twin.parameters(), [](float v) { return std::isfinite(v); }))
        << "nothing diverged";
  } else if (c.training.optimizer.learning_rate > 0) {
    ASSERT_FALSE(same_bits(twin.parameters().first(trainable), std::span(start).first(trainable)))
        << "nothing was learnt";
  }
  ASSERT_TRUE(same_bits(body.logits(Split::test), twin.logits(test.x), nan));
  for (const Split split : {Split::train, Split::test}) {
    const WaveScore score = body.score(split);
    const ScalarTwin::Score expected = twin.score(split == Split::train ? train : test);
    ASSERT_EQ(score.correct, expected.correct);
    ASSERT_TRUE(same_bits({&score.loss, 1}, {&expected.loss, 1}, nan));
  }
}

const Optimizer kOptimizers[] = {
    {.kind = OptimizerKind::sgd, .learning_rate = 0.1},
    {.kind = OptimizerKind::sgd, .learning_rate = 0.05, .momentum = 0.9, .weight_decay = 5e-3},
    {.kind = OptimizerKind::adam, .learning_rate = 0.01, .weight_decay = 5e-3},
    {.kind = OptimizerKind::rmsprop, .learning_rate = 0.003},
    {.kind = OptimizerKind::rmsprop, .learning_rate = 0.002, .momentum = 0.5, .weight_decay = 5e-3},
};

// Each test runs once for each instruction set that this machine has.
class MlpTwin : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "avx512" && !__builtin_cpu_supports("avx512bw"))
      GTEST_SKIP() << "no AVX-512 here";
  }

 private:
  Environment instruction_set_{"OCCAM_CPU_ISA", GetParam()};
};

INSTANTIATE_TEST_SUITE_P(InstructionSets, MlpTwin, testing::Values("avx2", "avx512"),
                         [](const auto& set) { return std::string(set.param); });

// Every optimiser × activation × loss × batch norm × dropout; depth, widths and batches are drawn.
TEST_P(MlpTwin, EverySettingOnDrawnShapes) {
  constexpr int kWidths[] = {1, 3, 7, 8, 9, 15, 16, 17, 20, 31, 32, 33, 50};
  struct Rows {
    std::int64_t rows;
    int batch;
  };
  constexpr Rows kRows[] = {{40, 16}, {35, 32}, {5, 64}, {34, 34}, {10, 4}, {70, 67}};
  std::mt19937 random(7);
  const auto pick = [&](const auto& choices) { return choices[random() % std::size(choices)]; };
  std::uint32_t seed = 0;
  for (const Optimizer& optimizer : kOptimizers)
    for (const Activation activation : kActivations)
      for (const OutputChoice& output : kOutputs)
        for (const bool batch_norm : {false, true})
          for (const double dropout : {0.0, 0.3}) {
            Case c;
            c.spec.inputs = pick(kWidths);
            c.spec.hidden.clear();
            const int depth = static_cast<int>(random() % 5);
            for (int l = 0; l < depth; ++l) c.spec.hidden.push_back(pick(kWidths));
            c.spec.classes = output.classes, c.spec.loss = output.loss;
            c.spec.activation = activation, c.spec.batch_norm = batch_norm;
            const Rows rows = pick(kRows);
            c.training.optimizer = optimizer;
            c.training.batch = rows.batch;
            c.training.hidden_dropout = dropout, c.training.input_dropout = dropout / 2;
            c.table = {.dim = c.spec.inputs,
                       .classes = output.classes,
                       .train = rows.rows,
                       .validation = 3,
                       .test = 37};
            expect_twin(c, ++seed);
            if (HasFatalFailure()) return;
          }
}

// Widths around the vector width, each as input, as hidden layer and as the layer before the output.
TEST_P(MlpTwin, WidthsAroundTheVectorWidth) {
  std::uint32_t seed = 1000;
  for (const int width :
       {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 100, 127, 128, 129}) {
    for (int place = 0; place < 3; ++place) {
      Case c;
      c.spec.inputs = place == 0 ? width : 5;
      c.spec.hidden = {place == 1 ? width : 6, place == 2 ? width : 19};
      c.training.optimizer = kOptimizers[1];
      c.training.batch = 33;
      c.table = {.dim = c.spec.inputs, .classes = 2, .train = 50, .validation = 0, .test = 20};
      expect_twin(c, ++seed);
      if (HasFatalFailure()) return;
    }
  }
}

// Batches of every length from 1 to 36, and around the blocks of the loss (64) and of scoring (256, 512).
TEST_P(MlpTwin, BatchesOfEveryLength) {
  std::vector<int> batches = {63, 64, 65, 127, 128, 129, 255, 256, 257};
  for (int batch = 1; batch <= 36; ++batch) batches.push_back(batch);
  std::uint32_t seed = 2000;
  for (const int batch : batches) {
    Case c;
    c.spec = {.inputs = 9, .hidden = {17, 8}, .classes = 3, .activation = Activation::tanh};
    c.training.optimizer = kOptimizers[0];
    c.training.hidden_dropout = 0.25;
    c.training.batch = batch;
    c.table = {
        .dim = 9, .classes = 3, .train = batch + 1 + batch / 2, .validation = 0, .test = 2 * batch + 1};
    c.first_updates = 3;
    expect_twin(c, ++seed);
    if (HasFatalFailure()) return;
  }
}

TEST_P(MlpTwin, NetsOfTheStudy) {
  std::uint32_t seed = 3000;
  const std::vector<std::vector<int>> architectures = {{100}, {100, 100}, {200}, {300, 300}, {}};
  for (const std::vector<int>& hidden : architectures) {
    Case c;
    c.spec.inputs = 50, c.spec.hidden = hidden;
    c.training.optimizer = {.learning_rate = 0.1, .weight_decay = 5e-5};
    c.training.batch = 256;
    c.table = {.dim = 50, .classes = 2, .train = 400, .validation = 0, .test = 300};
    c.first_updates = 1, c.more_updates = 2;
    expect_twin(c, ++seed);
    if (HasFatalFailure()) return;
  }
}

// Many classes, and widths that are a multiple of 1 KiB (whose rows are padded further).
TEST_P(MlpTwin, ManyClassesAndPowersOfTwo) {
  Case c;
  c.spec = {.inputs = 12, .hidden = {256}, .classes = 256};
  c.training.optimizer = kOptimizers[2];
  c.training.batch = 70;
  c.table = {.dim = 12, .classes = 256, .train = 100, .validation = 0, .test = 50};
  expect_twin(c, 4000);
  c.spec = {
      .inputs = 256, .hidden = {10}, .classes = 100, .activation = Activation::prelu, .batch_norm = true};
  c.table.dim = 256, c.table.classes = 100;
  expect_twin(c, 4001);
}

// Overflow: the same infinities and NaNs come out. Which NaN is not part of the law.
TEST_P(MlpTwin, DivergesAlike) {
  for (const Activation activation : kActivations) {
    Case c;
    c.spec = {.inputs = 9, .hidden = {17, 8}, .classes = 2, .activation = activation};
    c.training.optimizer = {.learning_rate = 3e38};
    c.training.batch = 16;
    c.table = {.dim = 9, .classes = 2, .train = 40, .validation = 0, .test = 30};
    c.first_updates = 1, c.more_updates = 6;
    expect_twin(c, 5000, Nan::matched);
    if (HasFatalFailure()) return;
  }
}

TEST_P(MlpTwin, LearningRateZeroChangesNothing) {
  for (const Optimizer& optimizer : kOptimizers) {
    Case c;
    c.spec = {.inputs = 9, .hidden = {17}, .classes = 2};
    c.training.optimizer = optimizer;
    c.training.optimizer.learning_rate = 0;
    c.training.batch = 16;
    c.table = {.dim = 9, .classes = 2, .train = 40, .validation = 0, .test = 30};
    expect_twin(c, 6000);
    if (HasFatalFailure()) return;
  }
}

// Rotated slab data and every kind of randomised set, on each split; more rows than a block of scoring.
TEST_P(MlpTwin, LogitsOnRandomizedSplits) {
  for (const bool rotate : {false, true}) {
    SlabSpec slab = ms(5, 7, 11);
    slab.rotate = rotate;
    slab.train = 600, slab.validation = 70, slab.test = 1030;
    const Data data = slab_data(slab, {21})[0];
    MlpSpec spec;
    spec.inputs = 11, spec.hidden = {20, 9}, spec.batch_norm = true;
    Training training;
    training.batch = 128;
    const std::vector<float> start = random_parameters(spec, 5);
    OneMember body(spec, data, {21, 5, 6}, training, start);
    ScalarTwin twin(spec, training, 6, start);
    body.train(3);
    twin.train(materialize(data, Split::train), 3);
    ASSERT_TRUE(same_bits(body.parameters(), twin.parameters()));
    const std::vector<Randomization> variants = {
        {},
        {.coordinates = {0}},
        {.coordinates = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
        {.coordinates = {0, 10}, .kind = Randomization::Kind::swap},
        {.coordinates = {3}, .against = Randomization::Against::predictions},
    };
    for (const Split split : {Split::train, Split::validation, Split::test})
      for (const Randomization& variant : variants) {
        const HostTable table = randomized_table(data, split, variant);
        ASSERT_TRUE(same_bits(body.logits(split, variant), twin.logits(table.x)));
        if (variant.against == Randomization::Against::predictions) continue;
        const WaveScore score = body.score(split, variant);
        const ScalarTwin::Score expected = twin.score(table);
        ASSERT_EQ(score.correct, expected.correct);
        ASSERT_EQ(score.loss, expected.loss);
      }
    const HostTable test = materialize(data, Split::test);
    std::vector<float> direct(static_cast<std::size_t>(test.rows * 2));
    body.wave().logits(0, test.x, direct);
    ASSERT_TRUE(same_bits(direct, twin.logits(test.x)));
    ASSERT_TRUE(varied(direct));
  }
}

}  // namespace
}  // namespace occam::test
