// Claim: members on different images of shapes train, score and are attacked in one wave with the scalar
// twin's bits on the same rows as floats, whatever their company.
#include <cmath>
#include <numeric>
#include <random>

#include <gmock/gmock.h>

#include "contract/ensembles.hpp"
#include "support/small_data.hpp"
#include "support/small_shapes.hpp"

namespace occam::test {
namespace {

constexpr Split kSplits[] = {Split::train, Split::validation, Split::test};

class ImageCompany : public OnBody {};
OCCAM_ON_EVERY_BODY(ImageCompany);

// Three classes of random masks with soft edges and holes, that an offset may crop at every border.
ShapeSpec random_shapes(std::uint32_t seed) {
  std::mt19937 random(seed);
  ShapeSpec spec;
  for (int k = 0; k < 3; ++k) {
    Mask mask{kImageHeight, kImageWidth, std::vector<float>(kImageHeight * kImageWidth, 0.0f)};
    const auto at = [&](int y, int x) -> float& {
      return mask.coverage[static_cast<std::size_t>(y * kImageWidth + x)];
    };
    for (int y = 3; y < 9; ++y)
      for (int x = 5; x < 12; ++x)
        at(y, x) = random() % 3 == 0 ? 0.0f : static_cast<float>(1 + random() % 8) / 8;
    at(3, 5) = at(8, 11) = 0.5f;  // the box is the same for every seed
    spec.masks.push_back(mask);
    spec.biased.push_back({{-9 + 2 * k, -4 + 2 * k, -7, -2}, {5 - k, 11 - k, 3, 8}});
    spec.uniform.push_back({{-11, 12, -8, 9}});
  }
  spec.crop = true, spec.bias = 0.5;
  spec.train = 37, spec.validation = 9, spec.test_rows = 30;
  return spec;
}

// Members that differ in images, seeds, optimiser (with and without decay) and dropout; 0 and 3 share images.
Ensemble company(const MlpSpec& network) {
  Ensemble e;
  e.spec = network;
  e.spec.inputs = kImageHeight * kImageWidth, e.spec.classes = 3;
  ShapeSpec soft = random_shapes(1), grey = random_shapes(2), other = random_shapes(3);
  grey.background = 0.25, grey.contrast = -0.5;
  other.train = 50, other.test = Arrangement::swapped;
  const std::vector<Data> shared = shape_data(soft, {1, 2});
  const Data data[] = {shared[0], shape_data(other, {3}).front(), shape_data(grey, {4}).front(), shared[1],
                       shape_data(other, {5}).front()};
  for (std::uint32_t m = 0; m < 5; ++m) {
    Training training;
    training.optimizer = kOptimizers[m];
    training.batch = 14;
    training.hidden_dropout = m == 3 ? 0.3 : 0.0;
    e.add(data[m], training, 60 + m);
  }
  return e;
}

std::vector<MlpSpec> networks() {
  return {{.hidden = {20}},
          {.hidden = {}},
          {.hidden = {70, 9}, .activation = Activation::prelu, .batch_norm = true}};
}

// The ensemble of one of the members, or of all in the opposite order.
Ensemble chosen(const Ensemble& e, const std::vector<int>& members) {
  Ensemble result;
  result.spec = e.spec;
  for (const int member : members) {
    const auto m = static_cast<std::size_t>(member);
    result.data.push_back(e.data[m]), result.seeds.push_back(e.seeds[m]);
    result.trainings.push_back(e.trainings[m]), result.start.push_back(e.start[m]);
  }
  return result;
}

TEST_P(ImageCompany, TrainingGivesTheTwinsBits) {
  const std::vector<std::vector<std::int64_t>> calls = {{4, 1, 3, 2, 5}, {0, 3, 0, 4, 0}};
  for (const MlpSpec& network : networks()) {
    const Ensemble e = company(network);
    SCOPED_TRACE(e.spec.hidden.size());
    const auto backend = make();
    const auto wave = open_loaded(*backend, e);
    for (const auto& updates : calls) wave->train(updates);
    for (int m = 0; m < e.members(); ++m) {
      SCOPED_TRACE(m);
      const auto i = static_cast<std::size_t>(m);
      ScalarTwin twin = twin_of(e, m);
      twin.train(materialize(e.data[i], Split::train), calls[0][i] + calls[1][i]);
      ASSERT_TRUE(same_bits(parameters(e, *wave, m), twin.parameters()));
      ASSERT_FALSE(same_bits(twin.parameters(), e.start[i])) << "nothing was learnt";
      for (const Split split : kSplits) {
        const HostTable rows = materialize(e.data[i], split);
        const std::vector<float> expected = twin.logits(rows.x);
        std::vector<float> logits(expected.size());
        wave->logits(m, split, {}, logits);
        ASSERT_TRUE(same_bits(logits, expected));
        EXPECT_TRUE(varied(logits, 0.3));
      }
    }
    std::vector<int> members(static_cast<std::size_t>(e.members()));
    std::iota(members.rbegin(), members.rend(), 0);  // any order
    for (const Split split : kSplits) {
      std::vector<WaveScore> scores(members.size());
      wave->score(members, split, Randomization{}, false, scores);
      for (std::size_t k = 0; k < members.size(); ++k) {
        const auto i = static_cast<std::size_t>(members[k]);
        ScalarTwin twin = twin_of(e, members[k]);
        twin.train(materialize(e.data[i], Split::train), calls[0][i] + calls[1][i]);
        const ScalarTwin::Score expected = twin.score(materialize(e.data[i], split));
        EXPECT_EQ(scores[k].correct, expected.correct);
        EXPECT_TRUE(same_bits({&scores[k].loss, 1}, {&expected.loss, 1}));
      }
    }
  }
}

// Trains for `updates` updates and compares every member with its twin, in parameters and in test logits.
void expect_twins(const Ensemble& e, Backend& backend, std::int64_t updates) {
  const auto wave = open_loaded(backend, e);
  wave->train(std::vector<std::int64_t>(static_cast<std::size_t>(e.members()), updates));
  for (int m = 0; m < e.members(); ++m) {
    SCOPED_TRACE(m);
    const Data& data = e.data[static_cast<std::size_t>(m)];
    ScalarTwin twin = twin_of(e, m);
    twin.train(materialize(data, Split::train), updates);
    ASSERT_TRUE(same_bits(parameters(e, *wave, m), twin.parameters()));
    const std::vector<float> expected = twin.logits(materialize(data, Split::test).x);
    std::vector<float> logits(expected.size());
    wave->logits(m, Split::test, {}, logits);
    ASSERT_TRUE(same_bits(logits, expected));
  }
}

// Batches around the samples of a ballot (32), of a tile (64) and of a list (128), and past two lists, on images
// whose last pixel has a quad and a tile to itself.
TEST_P(ImageCompany, AroundTheTiles) {
  constexpr int kHeight = 5, kWidth = 13;
  ShapeSpec shapes;
  for (int k = 0; k < 2; ++k) {
    Mask mask{kHeight, kWidth, std::vector<float>(kHeight * kWidth, 0.0f)};
    for (int y = 2; y < kHeight; ++y)
      for (int x = 9 + k; x < kWidth; ++x)
        mask.coverage[static_cast<std::size_t>(y * kWidth + x)] =
            k == 0 ? 1.0f : 0.125f * static_cast<float>(x - 8);
    shapes.masks.push_back(mask);
    shapes.biased.push_back({{-9, 1, -2, 1}}), shapes.uniform.push_back({{-9, 1, -2, 1}});
  }
  const auto backend = make();
  for (const int batch : {33, 63, 65, 127, 128, 129, 257}) {
    SCOPED_TRACE(batch);
    shapes.train = batch + 33, shapes.test_rows = batch;
    Ensemble e{.spec = {.inputs = kHeight * kWidth, .hidden = {5}}};
    Training training;
    training.optimizer.momentum = 0.9, training.batch = batch;
    e.add(shape_data(shapes, {7}).front(), training, 8);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, *backend, 3));
  }
}

// Images of as many rows as are looked through at a time (96), one less and one more, with something to see in the
// first and in the last of them.
TEST_P(ImageCompany, AroundTheImageRows) {
  constexpr int kWidth = 6;
  const auto backend = make();
  for (const int height : {95, 96, 97}) {
    SCOPED_TRACE(height);
    ShapeSpec shapes;
    for (int k = 0; k < 2; ++k) {
      Mask mask{height, kWidth, std::vector<float>(static_cast<std::size_t>(height * kWidth), 0.0f)};
      for (int y = 0; y < height; ++y)
        if (y < 3 || y > height - 4)
          for (int x = 1 + k; x < 5; ++x)
            mask.coverage[static_cast<std::size_t>(y * kWidth + x)] =
                0.125f * static_cast<float>(1 + (x + y) % 8);
      shapes.masks.push_back(mask);
      shapes.biased.push_back({{-2, 2, -1, 2}}), shapes.uniform.push_back({{-2, 2, -1, 2}});
    }
    shapes.crop = true, shapes.train = 20, shapes.test_rows = 9;
    Ensemble e{.spec = {.inputs = height * kWidth, .hidden = {5}}};
    Training training;
    training.optimizer.momentum = 0.9, training.batch = 9;
    e.add(shape_data(shapes, {7}).front(), training, 8);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, *backend, 3));
  }
}

// Images of 260 rows of 70 pixels, with more columns than are staged at a time (32) and rows to be looked through three
// times, of a shape that is dark in between.
ShapeSpec large_images() {
  constexpr int kHeight = 260, kWidth = 70;
  ShapeSpec shapes;
  for (int k = 0; k < 2; ++k) {
    Mask mask{kHeight, kWidth, std::vector<float>(kHeight * kWidth, 0.0f)};
    for (int y = 2; y < kHeight - 1; y += y == 4 ? 249 : 1)
      for (int x = 3 + k; x < 68; x += 1 + k)
        mask.coverage[static_cast<std::size_t>(y * kWidth + x)] =
            0.125f * static_cast<float>(1 + (x + y) % 8);
    shapes.masks.push_back(mask);
    shapes.biased.push_back({{-40, 30, -3, 2}}), shapes.uniform.push_back({{-40, 30, -3, 2}});
  }
  shapes.crop = true, shapes.train = 20, shapes.test_rows = 9;
  return shapes;
}

TEST_P(ImageCompany, LargerThanAStage) {
  Ensemble e{.spec = {.inputs = 260 * 70, .hidden = {65}}};  // one beyond a tile
  Training training;
  training.optimizer.kind = OptimizerKind::adam, training.batch = 9;
  e.add(shape_data(large_images(), {7}).front(), training, 8);
  ASSERT_NO_FATAL_FAILURE(expect_twins(e, *make(), 2));
}

// So many weights that a block goes through tiles of units, two of five and then one, with samples in one list (128) and
// in more.
TEST_P(ImageCompany, ManyTilesOfUnits) {
  for (const int batch : {9, 130}) {
    if (batch > 128 && is_slow()) continue;
    SCOPED_TRACE(batch);
    ShapeSpec shapes = large_images();
    shapes.train = batch + 2;
    Ensemble e{.spec = {.inputs = 260 * 70, .hidden = {280}}};
    for (const std::uint32_t seed : {7u, 8u, 9u}) {
      Training training;
      training.optimizer.momentum = seed == 8 ? 0.9 : 0.0, training.batch = batch;
      e.add(shape_data(shapes, {seed}).front(), training, seed);
    }
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, *make(), 2));
  }
}

// Where no row lights a block's pixels, biases are stepped all the same.
TEST_P(ImageCompany, FirstPixelsThatAreNeverLit) {
  ShapeSpec low = small_shapes();  // from row 4 on: pixel 68
  low.biased = low.uniform = std::vector<Places>(2, {{-5, 5, 0, 3}});
  Ensemble e{.spec = {.inputs = kImageHeight * kImageWidth, .hidden = {70}}};
  for (std::uint32_t m = 0; m < 5; ++m) {
    Training training;
    training.optimizer = kOptimizers[m], training.batch = 14;
    e.add(shape_data(low, {m}).front(), training, 20 + m);
  }
  ASSERT_NO_FATAL_FAILURE(expect_twins(e, *make(), 6));
}

TEST_P(ImageCompany, BitsDoNotDependOnTheOtherMembers) {
  const Ensemble e = company(networks().front());
  const auto backend = make();
  const auto trained = [&](const std::vector<int>& members) {
    const Ensemble some = chosen(e, members);
    const auto wave = open_loaded(*backend, some);
    wave->train(std::vector<std::int64_t>(members.size(), 5));
    std::vector<std::vector<float>> result;
    for (int k = 0; k < some.members(); ++k) result.push_back(parameters(some, *wave, k));
    return result;
  };
  const auto all = trained({0, 1, 2, 3, 4}), backwards = trained({4, 3, 2, 1, 0});
  for (int m = 0; m < 5; ++m) {
    SCOPED_TRACE(m);
    const auto i = static_cast<std::size_t>(m);
    EXPECT_TRUE(same_bits(all[i], backwards[4 - i]));
    EXPECT_TRUE(same_bits(all[i], trained({m})[0]));
  }
}

TEST_P(ImageCompany, AttacksAreThoseOnTheSameRowsAsFloats) {
  const Ensemble images = chosen(company(networks().front()), {0, 2});
  Ensemble floats = images;
  for (Data& data : floats.data) data = as_array(data);
  const auto backend = make();
  const auto wave = open_loaded(*backend, images, false), other = open_loaded(*backend, floats, false);
  const std::vector<int> members = {1, 0};
  const std::vector<Pgd> attacks(2, {.epsilon = 0.5, .step = 0.2, .iterations = 2, .lower = -1, .upper = 2});
  const std::vector<AsUap> universal(2, {.iterations = 2, .epochs = 1, .lower = -1, .upper = 2, .batch = 9});
  for (const Split split : kSplits) {
    SCOPED_TRACE(static_cast<int>(split));
    std::vector<Perturbed> a(2), b(2);
    wave->perturb(members, split, attacks, a), other->perturb(members, split, attacks, b);
    std::vector<std::vector<float>> u(2), v(2);
    wave->fit_universal(members, split, universal, u), other->fit_universal(members, split, universal, v);
    std::vector<Shift> shifts;
    for (const auto& perturbation : v) shifts.push_back({perturbation, -1, 2});
    std::vector<WaveScore> x(2), y(2);
    wave->score(members, split, shifts, true, x), other->score(members, split, shifts, true, y);
    for (std::size_t k = 0; k < 2; ++k) {
      EXPECT_TRUE(same_bits(a[k].perturbation, b[k].perturbation));
      EXPECT_TRUE(same_bits(a[k].logits, b[k].logits));
      EXPECT_TRUE(varied(a[k].perturbation, 0.3));
      EXPECT_TRUE(same_bits(u[k], v[k]));
      EXPECT_EQ(x[k].correct, y[k].correct);
      EXPECT_TRUE(same_bits({&x[k].loss, 1}, {&y[k].loss, 1}));
      EXPECT_EQ(x[k].auc, y[k].auc);
    }
    DataRange range, expected;
    wave->ranges(std::vector<int>{0}, split, {&range, 1});
    other->ranges(std::vector<int>{0}, split, {&expected, 1});
    EXPECT_EQ(range.low, expected.low);
    EXPECT_EQ(range.high, expected.high);
  }
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// In tf32 and bf16 the first layer's products are the law's, those of the others are rounded.
TEST_P(ImageCompany, OnTensorCoresNearFp32) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "the CPU trains in fp32 alone";
  Ensemble e = chosen(company({.hidden = {20, 33}, .activation = Activation::tanh}), {0});
  e.trainings[0].optimizer = {.learning_rate = 1.0};
  const auto trained = [&](Precision precision) {
    e.trainings[0].precision = precision;
    const auto backend = make();
    const auto wave = open_loaded(*backend, e);
    wave->train(std::vector<std::int64_t>{2});
    return parameters(e, *wave, 0);
  };
  const std::vector<float> fp32 = trained(Precision::fp32);
  const auto distance = [&](const std::vector<float>& values) {
    double sum = 0;
    for (std::size_t i = 0; i < fp32.size(); ++i) sum += std::pow(values[i] - fp32[i], 2);
    return std::sqrt(sum);
  };
  for (const auto& [precision, share] : {std::pair{Precision::tf32, 0x1p-8}, {Precision::bf16, 0x1p-5}}) {
    const double error = distance(trained(precision)) / distance(e.start[0]);
    EXPECT_GT(error, 0) << name_of(precision) << ": nothing was rounded";
    EXPECT_LT(error, share) << name_of(precision);
  }
}

TEST_P(ImageCompany, WhatNeedsRowsOfFloatsIsRefused) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "fit() refuses it there (tests/shapes_test.cpp)";
  const auto backend = make();
  const auto of = [&](const auto& change) {
    Ensemble e = chosen(company(networks().front()), {0});
    change(e.trainings[0]);
    return refusal([&] { backend->open(e.request()); });
  };
  EXPECT_THAT(of([](Training& t) { t.input_dropout = 0.5; }), testing::HasSubstr("input dropout"));
  EXPECT_THAT(of([](Training& t) { t.adversary = Pgd{}; }), testing::HasSubstr("adversarial training"));
  EXPECT_EQ(of([](Training&) {}), "");

  Ensemble mixed = chosen(company(networks().front()), {0, 1});
  mixed.data[1] = as_array(mixed.data[1]);
  EXPECT_EQ(backend->wave_members(mixed.request()), 1);
  EXPECT_THAT(refusal([&] { backend->open(mixed.request()); }), testing::HasSubstr("share no wave"));
}

}  // namespace
}  // namespace occam::test
