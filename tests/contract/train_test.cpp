// Claim: `train` gives the scalar twin's bits on every body, whatever the shapes, the settings and the
// company.
#include <algorithm>
#include <cmath>

#include "contract/trains.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

OCCAM_ON_EVERY_BODY(Train);

// Draws whose numbers leave every remainder by 5 (activations) and by 15 (batch norm).
TEST_P(Train, DrawnShapesAndSettings) {
  const std::uint32_t draws = is_slow() ? 60 : 150;
  for (std::uint32_t number = 0; number < draws; ++number) {
    const Ensemble e =
        drawn_ensemble(number, is_slow() ? Limits{.widest = 65, .largest_batch = 65} : Limits{});
    const auto members = static_cast<std::size_t>(e.members());
    std::vector<std::int64_t> uneven;
    for (std::size_t m = 0; m < members; ++m) uneven.push_back(static_cast<std::int64_t>((m + number) % 3));
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {std::vector<std::int64_t>(members, 2), uneven}))
        << "draw " << number;
  }
}

// Batch and widths one below, at and one above the tiles' sizes, and shapes that leave most of a tile empty.
TEST_P(Train, AroundTheTiles) {
  struct Shape {
    int inputs;
    std::vector<int> hidden;
    int batch;
  };
  std::vector<Shape> shapes = {{64, {64}, 16}, {65, {63}, 17}, {1, {1}, 1},    {50, {100, 3}, 15},
                               {5, {}, 64},    {3, {70}, 17},  {3, {130}, 65}, {3, {9}, 130}};
  if (!is_slow()) {
    const Shape large[] = {{63, {65, 64}, 128}, {64, {128}, 129}, {129, {64}, 127}, {50, {100, 100}, 256}};
    shapes.insert(shapes.end(), std::begin(large), std::end(large));
  }
  for (const Shape& shape : shapes) {
    Ensemble e{.spec = {.inputs = shape.inputs, .hidden = shape.hidden}};
    Training training;
    training.batch = shape.batch;
    training.optimizer.momentum = 0.9;
    e.add(slabs(shape.inputs, 2 * shape.batch + 1, 0, 1, true, 3), training, 5);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{3}}));
  }
}

// As wide as plan resident takes, wider, and four hidden layers up to a width of 2,048.
TEST_P(Train, WideAndDeep) {
  for (const std::vector<int>& hidden :
       {std::vector<int>{1024}, {1025}, {40, 70, 33, 65}, {2048, 17, 2048, 9}}) {
    Ensemble e{.spec = {.inputs = 2, .hidden = hidden}};
    Training training;
    training.batch = 5;
    training.optimizer.momentum = 0.9;
    e.add(slabs(2, 11, 0, 1, true, 3), training, 5);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{2}}));
  }
}

// A bias is a column of plan tiled's weight gradients, behind the quads of the inputs: in every kind of tile, among
// the quads of its threads and behind them, and where it is alone in a tile.
TEST_P(Train, BiasesBehindTheInputs) {
  for (const int inputs : {3, 52, 120, 128}) {
    if (inputs > 52 && is_slow()) continue;
    Ensemble e{.spec = {.inputs = inputs, .hidden = {96, 100, 104, 64, 204, 58, 9}, .batch_norm = true}};
    for (const int optimizer : {0, 2}) {
      Training training;
      training.optimizer = kOptimizers[optimizer];
      training.batch = 30;
      e.add(slabs(inputs, 60, 0, 1, true, 3), training, 5);
    }
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{2, 3}}));
  }
}

// More logits than a thread owns, up to a tile and beyond.
TEST_P(Train, ManyClasses) {
  for (const int classes : {4, 5, 8, 9, 64, 70}) {
    Ensemble e{.spec = {.inputs = 6, .hidden = {7}, .classes = classes}};
    Training training;
    training.batch = 9;
    e.add(clouds_data({6, classes, 25, 0, 1}, 4), training, 9);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{4}}));
  }
}

// A batch larger than the training set is the whole set, in another order each epoch.
TEST_P(Train, BatchLargerThanTheSet) {
  Ensemble e{.spec = {.inputs = 5, .hidden = {6, 4}}};
  Training training;
  training.batch = 64;
  e.add(slabs(5, 11, 0, 1, true, 8), training, 1);
  e.add(slabs(5, 64, 0, 1, false, 9), training, 2);
  ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{3, 3}}));
}

// One wave, members that differ in data, seeds, optimiser, dropout and shuffling; each stops when it has done its
// updates and keeps its bits from then on, also across calls.
TEST_P(Train, MembersDifferAndFreeze) {
  Ensemble e{.spec = {.inputs = 7, .hidden = {9, 5}, .activation = Activation::prelu}};
  std::uint32_t seed = 0;
  for (const Optimizer& optimizer : kOptimizers) {
    Training training;
    training.optimizer = optimizer;
    training.batch = 8;
    training.hidden_dropout = seed % 2 == 0 ? 0.5 : 0.0;
    training.input_dropout = seed == 3 ? 0.1 : 0.0;
    training.in_order = seed == 1 || seed == 4;
    e.add(slabs(7, 10 + 7 * seed, 0, 3, seed % 2 == 1, seed), training, 50 + seed);
    ++seed;
  }
  const std::vector<std::int64_t> none(5, 0);
  ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{1, 2, 3, 4, 5}, none, {0, 5, 0, 1, 0}, {2, 2, 2, 2, 2}}));
}

// More updates in a call than are recorded in one graph (64), and a remainder.
TEST_P(Train, LongCalls) {
  Ensemble e{.spec = {.inputs = 4, .hidden = {5}}};
  Training training;
  training.batch = 4;
  training.optimizer = kOptimizers[2];  // Adam counts updates
  e.add(slabs(4, 13, 0, 1, true, 1), training, 1);
  e.add(slabs(4, 9, 0, 1, true, 2), training, 2);
  ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{129, 64}, {1, 64}, {63, 0}}));
}

// Deep and narrow, every hidden step at once.
TEST_P(Train, EveryStepOfALayer) {
  for (const Activation activation : {Activation::relu, Activation::leaky_relu, Activation::prelu,
                                      Activation::tanh, Activation::identity}) {
    Ensemble e{.spec = {.inputs = 6, .hidden = {7, 8, 5, 9}, .activation = activation, .batch_norm = true}};
    for (const double dropout : {0.0, 0.3}) {
      Training training;
      training.optimizer = kOptimizers[dropout > 0 ? 4 : 1];
      training.batch = 12;
      training.input_dropout = dropout;
      training.hidden_dropout = dropout;
      e.add(slabs(6, 36, 0, 1, true, 1), training, 7);
    }
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{3, 3}, {1, 1}}));
  }
}

// One hidden layer in two launches: inputs that end anywhere in a quad, before, in and behind the columns that have the
// bias among them; tiles that samples or units fill, leave or just begin; stages of samples that end anywhere; every optimiser.
TEST_P(Train, OneHiddenLayer) {
  struct Shape {
    int inputs, units, batch;
    Loss loss;
    Activation activation;
  };
  const Activation relu = Activation::relu;
  std::vector<Shape> shapes = {{50, 130, 150, Loss::cross_entropy, relu},
                               {51, 128, 128, Loss::cross_entropy, Activation::tanh},
                               {49, 97, 37, Loss::binary_cross_entropy, relu},
                               {48, 64, 130, Loss::hinge, Activation::leaky_relu},
                               {52, 66, 17, Loss::cross_entropy, relu}};
  for (const int inputs : {1, 2, 3, 4, 5, 6, 7, 47})
    shapes.push_back({inputs, 60 + inputs, 13 + inputs, Loss::cross_entropy, relu});
  if (!is_slow()) shapes.push_back({50, 1003, 256, Loss::cross_entropy, relu});
  for (const Shape& shape : shapes) {
    Ensemble e{.spec = {.inputs = shape.inputs,
                        .hidden = {shape.units},
                        .activation = shape.activation,
                        .loss = shape.loss}};
    for (const int optimizer : {0, 1, 2, 4}) {
      if (optimizer > 0 && shape.inputs != 50 && shape.inputs != 51) continue;
      Training training;
      training.optimizer = kOptimizers[optimizer];
      training.batch = shape.batch;
      training.input_dropout = optimizer == 4 ? 0.2 : 0;  // rows are gathered then
      e.add(slabs(shape.inputs, shape.batch + shape.batch / 2, 0, 1, true, 3), training, 5);
    }
    const std::vector<std::int64_t> updates(static_cast<std::size_t>(e.members()), 3);
    ASSERT_NO_FATAL_FAILURE(expect_twins_on(0, e, {updates}, Nan::rejected));
  }
}

// More layers than one launch steps the weights of.
TEST_P(Train, ManyLayers) {
  Ensemble e{
      .spec = {.inputs = 3, .hidden = {5, 4, 9, 4, 5, 4, 9, 4, 5}, .activation = Activation::leaky_relu}};
  Training training;
  training.batch = 12;
  for (const int optimizer : {0, 2}) {
    training.optimizer = kOptimizers[optimizer];
    e.add(slabs(3, 30, 0, 1, true, 1), training, 3);
  }
  ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{2, 1}}));
}

// Divergence shows: NaN and infinities go through every body alike.
TEST_P(Train, Divergence) {
  for (const Activation activation : {Activation::leaky_relu, Activation::identity, Activation::prelu}) {
    Ensemble e{.spec = {.inputs = 5, .hidden = {6}, .activation = activation}};
    Training training;
    training.optimizer.learning_rate = 1e37;
    training.batch = 8;
    e.add(slabs(5, 24, 0, 1, true, 1), training, 7);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{6}}, Nan::matched));
    ScalarTwin twin = twin_of(e, 0);
    twin.train(materialize(e.data[0], Split::train), 6);
    ASSERT_FALSE(std::ranges::all_of(twin.parameters(), [](float v) { return std::isfinite(v); }))
        << "nothing diverged";
  }
}

// Signs of zeros. Here every product and so every logit is −0, until something else than −0 is added; with
// rows so small that products underflow, the sums over samples are −0, too, and move a −0 weight to +0. What
// a body adds for elements that do not exist (padding, the rest of a tile) must leave a −0 as it is.
TEST_P(Train, NegativeZeros) {
  for (const int inputs : {1, 3, 5, 17, 20})
    for (const std::vector<int>& hidden : {std::vector<int>{}, {3}, {6, 5}})
      for (const float size : {0.5f, 1e-45f}) {
        Ensemble e{.spec = {.inputs = inputs, .hidden = hidden, .activation = Activation::identity}};
        ArrayData::Table table = clouds({inputs, 2, 21, 0, 11}, 4);
        for (float& value : table.x) value = size;
        Training training;
        training.batch = 10;
        e.add(ArrayData{shared(table), 1}, training, 1);
        std::fill(e.start[0].begin(), e.start[0].end(), -0.0f);
        const ParameterLayout layout(e.spec);
        for (std::size_t l = 1; l < layout.layers.size(); ++l)  // their inputs are −0
          std::fill_n(e.start[0].begin() + layout.layers[l].weight,
                      layout.layers[l].fan_in * layout.layers[l].fan_out, 0.0f);
        for (const std::size_t limit : shared_limits(std::size_t{40} << 10)) {
          const auto backend = make(0, limit);
          const auto wave = open_loaded(*backend, e);
          ScalarTwin twin = twin_of(e, 0);
          std::vector<float> logits(11 * 2);
          wave->logits(0, Split::test, {}, logits);
          ASSERT_TRUE(std::ranges::all_of(logits, [](float v) { return v == 0.0f && std::signbit(v); }));
          for (int update = 0; update < 3; ++update) {
            wave->train(std::vector<std::int64_t>{1});
            twin.train(materialize(e.data[0], Split::train), 1);
            ASSERT_TRUE(same_bits(parameters(e, *wave, 0), twin.parameters()));
          }
        }
      }
}

// At the kink: z is exactly 0 for every unit and sample.
TEST_P(Train, ActivationsAtZero) {
  for (const Activation activation :
       {Activation::relu, Activation::leaky_relu, Activation::prelu, Activation::tanh}) {
    Ensemble e{.spec = {.inputs = 5, .hidden = {6, 4}, .activation = activation}};
    Training training;
    training.batch = 7;
    e.add(slabs(5, 20, 0, 1, true, 1), training, 3);
    const ParameterLayout::Layer first = ParameterLayout(e.spec).layers[0];
    std::fill_n(e.start[0].begin() + first.weight, first.fan_in * first.fan_out + first.fan_out, 0.0f);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{1}, {1}}));
  }
}

// A member's bits do not depend on its company: alone, first or last in a wave.
TEST_P(Train, Company) {
  const Ensemble e = drawn_ensemble(26, {.widest = 33, .largest_batch = 33, .members = 1});
  const auto alone_backend = make();
  const auto alone = open_loaded(*alone_backend, e);
  alone->train(std::vector<std::int64_t>{5});
  const std::vector<float> expected = parameters(e, *alone, 0);
  ASSERT_TRUE(varied(expected, 0.3));
  for (const std::size_t place : {0u, 2u}) {
    Ensemble company;
    company.spec = e.spec;
    Training other = e.trainings[0];
    other.hidden_dropout = 0.6;
    other.input_dropout = 0.3;
    other.optimizer = kOptimizers[2];
    for (std::size_t m = 0; m < 3; ++m) {
      if (m == place) {
        company.add(e.data[0], e.trainings[0], e.seeds[0].data);
      } else {
        company.add(e.data[0], other, 900 + static_cast<std::uint32_t>(m));
      }
    }
    const auto backend = make();
    const auto wave = open_loaded(*backend, company);
    wave->train(std::vector<std::int64_t>{5, 5, 5});
    ASSERT_TRUE(same_bits(parameters(company, *wave, static_cast<int>(place)), expected));
  }
}

// Load, train, store, load elsewhere: parameters travel without a change, and loading leaves the optimiser's
// state alone.
TEST_P(Train, LoadAndStore) {
  Ensemble e{.spec = {.inputs = 3, .hidden = {5, 2}, .activation = Activation::prelu, .batch_norm = true}};
  Training training;
  training.batch = 6;
  training.optimizer = kOptimizers[1];
  e.add(slabs(3, 12, 0, 1, true, 1), training, 3);
  e.add(slabs(3, 12, 0, 1, true, 1), training, 3);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e);
  ASSERT_TRUE(same_bits(parameters(e, *wave, 0), e.start[0]));
  wave->train(std::vector<std::int64_t>{4, 2});
  const std::vector<float> half = parameters(e, *wave, 1);
  wave->load(1, half);  // no change, and momentum stays
  wave->train(std::vector<std::int64_t>{0, 2});
  ASSERT_TRUE(same_bits(parameters(e, *wave, 1), parameters(e, *wave, 0)));
  ASSERT_FALSE(same_bits(parameters(e, *wave, 1), half));
}

// So large that tensors travel one by one, with rows that are padded on a device.
TEST_P(Train, LargeNetworksLoadAndStore) {
  Ensemble e{.spec = {.inputs = 1003, .hidden = {1050, 3}, .activation = Activation::prelu}};
  e.add(slabs(1003, 4, 0, 1, false, 1), {}, 3);
  e.add(slabs(1003, 4, 0, 1, false, 1), {}, 4);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e, false);
  for (int m = 0; m < 2; ++m)
    ASSERT_TRUE(same_bits(parameters(e, *wave, m), e.start[static_cast<std::size_t>(m)]));
  wave->load(0, e.start[1]);
  ASSERT_TRUE(same_bits(parameters(e, *wave, 0), e.start[1]));
}

}  // namespace
}  // namespace occam::test
