// Images of shapes: how many rows of each class lie where, what their pixels are, and that a network on them
// has the bits of one on the same images as rows of floats.
#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "occam/attack.hpp"
#include "occam/data.hpp"
#include "occam/error.hpp"
#include "occam/metrics.hpp"
#include "occam/shapes.hpp"
#include "occam/training.hpp"
#include "shape_set.hpp"
#include "support/oracle.hpp"
#include "support/small_data.hpp"
#include "support/small_shapes.hpp"

namespace occam {
namespace {

using testing::HasSubstr;

bool inside(const law::ShapePlace& place, const Rectangle& r) {
  return place.dx >= r.left && place.dx < r.right && place.dy >= r.top && place.dy < r.bottom;
}

bool inside(const law::ShapePlace& place, const Places& places) {
  return std::ranges::any_of(places, [&](const Rectangle& r) { return inside(place, r); });
}

TEST(Shapes, PublishedRowsAreHalfInEachPlaceOfTheirClass) {
  const ShapeSpec spec = stars_and_moons();
  const Data data = shape_data(spec, {7}).front();
  const auto places = shape_places(std::get<ShapeData>(data), Split::train);
  ASSERT_EQ(places.size(), 4000u);
  std::map<std::pair<int, int>, int> count;  // by class and place
  for (const law::ShapePlace& place : places)
    for (int r = 0; r < 2; ++r)
      count[{place.shape, r}] +=
          inside(place, spec.biased[static_cast<std::size_t>(place.shape)][static_cast<std::size_t>(r)]);
  for (int k = 0; k < 2; ++k)
    for (int r = 0; r < 2; ++r) EXPECT_EQ((count[{k, r}]), 1000) << k << " " << r;
}

TEST(Shapes, EveryOffsetOfAPlaceIsDrawn) {
  ShapeSpec spec = stars_and_moons();
  spec.train = 40'000;
  const Data data = shape_data(spec, {1}).front();
  std::map<std::pair<int, int>, int> count;
  for (const law::ShapePlace& place : shape_places(std::get<ShapeData>(data), Split::train))
    if (place.shape == 1 && inside(place, spec.biased[1][0])) ++count[{place.dx, place.dy}];
  EXPECT_EQ(count.size(), 14u * 31u);
  // 10,000 draws over 434 cells: chi-square with 433 degrees of freedom has mean 433, deviation 29.4.
  double chi = 0;
  for (const auto& [offset, n] : count) chi += (n - 10'000.0 / 434) * (n - 10'000.0 / 434) / (10'000.0 / 434);
  EXPECT_GT(chi, 433 - 5 * 29.4);
  EXPECT_LT(chi, 433 + 5 * 29.4);
}

TEST(Shapes, BiasIsTheExactShareOfRowsInBiasedPlaces) {
  for (const double bias : {1.0, 0.99, 0.5, 0.25, 0.0}) {
    ShapeSpec spec = stars_and_moons();
    spec.bias = bias;
    // Uniform draws must not fall into biased places: elsewhere for this test.
    spec.uniform = {{{0, 1, 0, 1}}, {{0, 1, 0, 1}}};
    const Data data = shape_data(spec, {3}).front();
    int biased = 0;
    for (const law::ShapePlace& place : shape_places(std::get<ShapeData>(data), Split::train))
      biased += inside(place, spec.biased[static_cast<std::size_t>(place.shape)]);
    EXPECT_EQ(biased, static_cast<int>(bias * 4000)) << bias;
  }
}

TEST(Shapes, TestSetsLieWhereTheirArrangementSays) {
  for (const Arrangement arrangement :
       {Arrangement::iid, Arrangement::uniform, Arrangement::swapped, Arrangement::conflict}) {
    ShapeSpec spec = stars_and_moons();
    spec.test = arrangement;
    const Data data = shape_data(spec, {5}).front();
    int stars = 0;
    for (const law::ShapePlace& place : shape_places(std::get<ShapeData>(data), Split::test)) {
      const auto k = static_cast<std::size_t>(place.shape);
      stars += place.shape == 0;
      const Places& places = arrangement == Arrangement::iid       ? spec.biased[k]
                             : arrangement == Arrangement::uniform ? spec.uniform[k]
                             : arrangement == Arrangement::swapped
                                 ? spec.biased[1 - k]
                                 : conflict_places(spec, static_cast<int>(k));
      EXPECT_TRUE(inside(place, places)) << place.shape << " at " << place.dx << ", " << place.dy;
      if (arrangement == Arrangement::conflict) {
        EXPECT_TRUE(inside(place, spec.uniform[k]) && inside(place, spec.biased[1 - k]));
      }
    }
    EXPECT_EQ(stars, 2000);
    // Training rows do not depend on what is tested.
    const Data iid = shape_data(stars_and_moons(), {5}).front();
    const auto a = shape_places(std::get<ShapeData>(data), Split::train),
               b = shape_places(std::get<ShapeData>(iid), Split::train);
    EXPECT_TRUE(std::ranges::equal(a, b, [](const auto& p, const auto& q) {
      return p.shape == q.shape && p.dx == q.dx && p.dy == q.dy;
    }));
  }
}

// The next class's biased places, cut to the own uniform ones; in the order of the places, each used equally often.
TEST(Shapes, ConflictPlaces) {
  ShapeSpec spec = stars_and_moons();
  EXPECT_EQ(conflict_places(spec, 0), (Places{{46, 60, 39, 64}, {-46, -39, -56, -34}}));
  EXPECT_EQ(conflict_places(spec, 1), (Places{{-46, -22, 44, 64}, {55, 60, -56, -33}}));
  spec.test = Arrangement::conflict;
  std::map<std::pair<int, int>, int> count;  // by class and place
  const Data data = shape_data(spec, {5}).front();
  for (const law::ShapePlace& place : shape_places(std::get<ShapeData>(data), Split::test))
    for (int r = 0; r < 2; ++r)
      count[{place.shape, r}] +=
          inside(place, conflict_places(spec, place.shape)[static_cast<std::size_t>(r)]);
  for (int k = 0; k < 2; ++k)
    for (int r = 0; r < 2; ++r) EXPECT_EQ((count[{k, r}]), 1000) << k << " " << r;

  spec = test::small_shapes();
  spec.masks.push_back(spec.masks[0]);
  spec.biased = {{{0, 4, 0, 1}}, {{2, 6, 0, 2}, {-1, 1, 0, 1}}, {{5, 7, -2, 0}}};
  spec.uniform = {{{0, 3, 0, 1}, {3, 5, 1, 2}}, {{0, 1, 0, 1}}, {{-2, 2, 0, 1}}};
  EXPECT_EQ(conflict_places(spec, 0), (Places{{2, 3, 0, 1}, {3, 5, 1, 2}, {0, 1, 0, 1}}));
  EXPECT_EQ(conflict_places(spec, 1), Places{});
  EXPECT_EQ(conflict_places(spec, 2), (Places{{0, 2, 0, 1}}));
}

TEST(Shapes, AnImageIsItsMaskMovedAndCropped) {
  ShapeSpec spec = test::small_shapes();
  spec.crop = true, spec.background = 0.25, spec.contrast = -0.5;
  spec.uniform = {{{-9, 10, -7, 7}}, {{-8, 10, -7, 7}}};
  spec.bias = 0;
  const Data data = shape_data(spec, {11}).front();
  const HostTable table = materialize(data, Split::train);
  const auto places = shape_places(std::get<ShapeData>(data), Split::train);
  bool cropped = false;
  for (std::int64_t row = 0; row < table.rows; ++row) {
    const law::ShapePlace& place = places[static_cast<std::size_t>(row)];
    const Mask& mask = spec.masks[static_cast<std::size_t>(place.shape)];
    EXPECT_EQ(table.y[static_cast<std::size_t>(row)], place.shape);
    for (int y = 0; y < 12; ++y)
      for (int x = 0; x < 17; ++x) {
        const int from_y = y - place.dy, from_x = x - place.dx;
        const bool on_mask = from_y >= 0 && from_y < 12 && from_x >= 0 && from_x < 17;
        const double coverage =
            on_mask ? mask.coverage[static_cast<std::size_t>(from_y * 17 + from_x)] : 0.0f;
        ASSERT_EQ(table.x[static_cast<std::size_t>((row * 12 + y) * 17 + x)],
                  static_cast<float>(0.25 - 0.5 * coverage))
            << row << " " << y << " " << x;
      }
    cropped |= place.dx < -6 || place.dx > 7 || place.dy < -4 || place.dy > 4;
  }
  EXPECT_TRUE(cropped);
}

TEST(Shapes, LabelsAreThoseOfTheRows) {
  const Data data = shape_data(test::small_shapes(), {2}).front();
  for (const Split split : {Split::train, Split::test})
    EXPECT_EQ(labels(data, split), materialize(data, split).y);
}

TEST(Shapes, LitPixelsAreThoseThatSomeRowLights) {
  const Data data = shape_data(test::small_shapes(), {4}).front();
  const HostTable table = materialize(data, Split::train);
  std::vector<std::uint8_t> expected(12 * 17, 0);
  for (std::size_t i = 0; i < table.x.size(); ++i) expected[i % expected.size()] |= table.x[i] != 0;
  const auto& shapes = std::get<ShapeData>(data);
  EXPECT_EQ(lit_pixels(shapes.set->view(), shape_places(shapes, Split::train)), expected);
  EXPECT_LT(std::count(expected.begin(), expected.end(), 1), 12 * 17);
}

TEST(Shapes, ValidationRowsAreDrawsOfTheirOwn) {
  ShapeSpec spec = stars_and_moons();
  spec.train = spec.validation = spec.test_rows = 200;
  const Data data = shape_data(spec, {4}).front();
  std::map<Split, std::vector<std::pair<int, int>>> offsets;
  for (const Split split : {Split::train, Split::validation, Split::test})
    for (const law::ShapePlace& place : shape_places(std::get<ShapeData>(data), split))
      offsets[split].emplace_back(place.dx, place.dy);
  EXPECT_NE(offsets[Split::validation], offsets[Split::test]);
  EXPECT_NE(offsets[Split::validation], offsets[Split::train]);
  // Splits follow one another: the rows of test and validation are the first rows of a larger test set of one place.
  spec.validation = 0, spec.test_rows = 400;
  for (auto* places : {&spec.biased, &spec.uniform})
    for (Places& of_class : *places) of_class = {{-3, 3, -3, 3}};
  const Data longer = shape_data(spec, {4}).front();
  spec.validation = spec.test_rows = 200;
  const Data parted = shape_data(spec, {4}).front();
  const auto all = shape_places(std::get<ShapeData>(longer), Split::test),
             second = shape_places(std::get<ShapeData>(parted), Split::validation);
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(second[i].dx, all[200 + i].dx);
    EXPECT_EQ(second[i].dy, all[200 + i].dy);
  }
}

// What --explain-plan says of images: the mean share of pixels between the first and the last that a row of an image
// lights, and the share of those that some image lights.
TEST(Shapes, SharesOfPixels) {
  const Data data = shape_data(test::small_shapes(), {4}).front();
  const HostTable table = materialize(data, Split::train);
  constexpr std::size_t kWide = 17, kPixels = 12 * kWide;
  std::vector<std::uint8_t> live(kPixels, 0);
  double lit = 0;
  for (std::size_t row = 0; row < table.x.size(); row += kWide) {
    std::vector<std::size_t> lights;
    for (std::size_t i = row; i < row + kWide; ++i)
      if (table.x[i] != 0) lights.push_back(i), live[i % kPixels] = 1;
    if (!lights.empty()) lit += static_cast<double>(lights.back() - lights.front() + 1);
  }
  const auto shares = pixel_shares(data, {});
  ASSERT_TRUE(shares);
  EXPECT_NEAR(shares->lit, lit / static_cast<double>(table.x.size()), 1e-12);
  EXPECT_NEAR(shares->live, static_cast<double>(std::ranges::count(live, 1)) / kPixels, 1e-12);
  Training decays;
  decays.optimizer.weight_decay = 0.1;
  EXPECT_EQ(pixel_shares(data, decays)->live, 1.0);
  EXPECT_FALSE(pixel_shares(slab_data(lms(5), {1}).front(), {}));
}

// ---- networks ---------------------------------------------------------------------------------------------

class ImageTraining : public testing::TestWithParam<std::tuple<std::string, test::ImageVariant>> {};

// Not a bit differs from the dense path, whatever the network, the optimiser and the images.
TEST_P(ImageTraining, HasTheBitsOfTheSameRowsAsFloats) {
  const auto& [isa, variant] = GetParam();
  if (isa == "avx512" && !__builtin_cpu_supports("avx512f")) GTEST_SKIP() << "no AVX-512 here";
  const test::Environment environment("OCCAM_CPU_ISA", isa.c_str());
  const Seeds seeds{9, 5, 3};
  const std::vector<float> start = test::random_parameters(variant.network, 21);
  const Data images = shape_data(variant.shapes(), {9}).front(), floats = test::as_array(images);
  test::OneMember sparse(variant.network, images, seeds, variant.training, start),
      dense(variant.network, floats, seeds, variant.training, start);
  for (const int updates : {1, 6, 13}) {
    sparse.train(updates), dense.train(updates);
    ASSERT_EQ(sparse.parameters(), dense.parameters()) << "after " << updates << " more updates";
    for (const Split split : {Split::train, Split::test})
      EXPECT_EQ(sparse.logits(split), dense.logits(split));
  }
  EXPECT_NE(sparse.parameters(), start);
  const WaveScore a = sparse.score(Split::test, {}, true), b = dense.score(Split::test, {}, true);
  EXPECT_EQ(a.correct, b.correct);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.auc, b.auc);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ImageTraining,
                         testing::Combine(testing::Values("avx2", "avx512"),
                                          testing::ValuesIn(test::image_variants())),
                         [](const auto& which) {
                           return std::get<0>(which.param) + std::get<1>(which.param).name;
                         });

TEST(ShapesTraining, AttacksAndRandomisedRowsAreThoseOfTheRowsAsFloats) {
  const Data images = shape_data(test::small_shapes(), {9}).front(), floats = test::as_array(images);
  MlpEnsemble models({.inputs = 12 * 17, .hidden = {16}}, {Seeds{1, 2, 3}}, test::cpu());
  const Randomization half{.coordinates = [] {
    std::vector<int> all(102);
    for (int i = 0; i < 102; ++i) all[static_cast<std::size_t>(i)] = i;
    return all;
  }()};
  EXPECT_EQ(logits(models, 0, images, half).values, logits(models, 0, floats, half).values);
}

// d(logit 1 − logit 0)/d(pixel) of images against central differences of the oracle in double precision.
TEST(ShapesTraining, InputGradientsAreFiniteDifferences) {
  ShapeSpec shapes = test::small_shapes();
  shapes.crop = true, shapes.bias = 0, shapes.uniform = {{{-9, 10, -7, 7}}, {{-8, 10, -7, 7}}};
  const Data data = shape_data(shapes, {6}).front();
  const MlpSpec network{
      .inputs = 12 * 17, .hidden = {9, 5}, .activation = Activation::tanh, .batch_norm = true};
  const std::vector<float> parameters = test::random_parameters(network, 8);
  test::OneMember model(network, data, Seeds{}, Training{}, parameters);
  const HostTable rows = materialize(data, Split::test);
  constexpr std::size_t kRows = 3;
  const std::span<const float> images = std::span(rows.x).first(kRows * 12 * 17);
  std::vector<float> gradient(images.size());
  model.wave().input_gradient(0, images, std::vector<float>{-1, 1, -1, 1, -1, 1}, gradient);

  const reference::Net net = test::oracle_net(network);
  const reference::Parameters weights = test::oracle_parameters(network, parameters);
  reference::Batch batch;
  batch.x.assign(images.begin(), images.end()), batch.labels.assign(kRows, 0);
  const auto difference = [&](std::size_t row) {
    const reference::Vector logits =
        reference::forward(net, weights, batch, reference::Mode::inference).logits;
    return logits[2 * row + 1] - logits[2 * row];
  };
  double largest = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    constexpr double kStep = 1e-5;
    const std::size_t row = i / (12 * 17);
    const double x = batch.x[i];
    batch.x[i] = x + kStep;
    const double above = difference(row);
    batch.x[i] = x - kStep;
    const double expected = (above - difference(row)) / (2 * kStep);
    batch.x[i] = x;
    ASSERT_NEAR(gradient[i], expected, 1e-5 + 1e-4 * std::abs(expected)) << i;
    largest = std::max(largest, std::abs(expected));
  }
  EXPECT_GT(largest, 0.01);
}

TEST(ShapesTraining, InputDropoutAndAdversariesAreRefused) {
  MlpEnsemble models({.inputs = 12 * 17, .hidden = {4}}, {Seeds{}}, test::cpu());
  const std::vector<Data> data = shape_data(test::small_shapes(), {0});
  Training training;
  training.input_dropout = 0.1;
  try {
    fit(models, data, std::vector{training});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("input dropout"));
  }
}

// ---- bad specifications -----------------------------------------------------------------------------------

void expect_refused(const ShapeSpec& spec, const char* part) {
  try {
    validate(spec);
    FAIL() << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(Shapes, BadSpecificationsAreRefused) {
  EXPECT_NO_THROW(validate(test::small_shapes()));
  const auto refused = [](const char* part, const auto& change) {
    ShapeSpec spec = test::small_shapes();
    change(spec);
    expect_refused(spec, part);
  };
  refused("masks", [](ShapeSpec& s) { s.masks.pop_back(); });
  refused("places of", [](ShapeSpec& s) { s.biased.pop_back(); });
  refused("one canvas", [](ShapeSpec& s) { s.masks[1] = {1, 1, {1.0f}}; });
  refused("covers no pixel", [](ShapeSpec& s) { std::ranges::fill(s.masks[0].coverage, 0.0f); });
  refused("coverage of 1.5", [](ShapeSpec& s) { s.masks[0].coverage[0] = 1.5f; });
  refused("no uniform place", [](ShapeSpec& s) { s.uniform[1].clear(); });
  refused("is empty", [](ShapeSpec& s) { s.biased[0][0].right = s.biased[0][0].left; });
  refused("off the canvas", [](ShapeSpec& s) { s.biased[0][0].left = -7; });
  refused("pushes the whole shape", [](ShapeSpec& s) { s.crop = true, s.biased[0][0] = {12, 13, 0, 1}; });
  refused("bias 1.1", [](ShapeSpec& s) { s.bias = 1.1; });
  refused("contrast 0", [](ShapeSpec& s) { s.contrast = 0; });
  refused("background inf", [](ShapeSpec& s) { s.background = INFINITY; });
  // What a pixel is has to be a float, and another one than the background.
  refused("background 1e+39", [](ShapeSpec& s) { s.background = 1e39; });
  refused("contrast 1e+39", [](ShapeSpec& s) { s.contrast = 1e39; });
  refused("contrast 3e+38", [](ShapeSpec& s) { s.background = s.contrast = 3e38; });
  refused("contrast 1e-50", [](ShapeSpec& s) { s.contrast = 1e-50; });
  refused("contrast -1e-09", [](ShapeSpec& s) { s.background = 1, s.contrast = -1e-9; });
  refused("mask 1", [](ShapeSpec& s) {
    for (float& coverage : s.masks[1].coverage) coverage *= 1e-30f;
    s.contrast = 1e-20;
  });
  refused("257 x 256 pixels", [](ShapeSpec& s) {
    for (Mask& mask : s.masks) mask = {257, 256, std::vector<float>(257 * 256, 1.0f)};
  });
  refused("negative", [](ShapeSpec& s) { s.train = -1; });
  refused("rows; give", [](ShapeSpec& s) { s.train = s.test_rows = 0; });
}

TEST(Shapes, AsManyClassesAsThereMayBe) {
  ShapeSpec spec;
  spec.masks.assign(256, {1, 1, {1.0f}});
  spec.biased.assign(256, {{0, 1, 0, 1}}), spec.uniform = spec.biased;
  spec.train = spec.test_rows = 256;
  EXPECT_NO_THROW(validate(spec));
}

TEST(Shapes, SwappedPlacesAreCheckedWhereTheyAreUsed) {
  ShapeSpec spec = test::small_shapes();
  spec.masks[1].coverage[4 * 17 + 0] = 1;  // reaches the left edge: class 0's places push it off
  spec.biased[1] = {{0, 3, 0, 1}}, spec.uniform[1] = {{0, 1, 0, 1}};
  EXPECT_NO_THROW(validate(spec));
  spec.test = Arrangement::swapped;
  expect_refused(spec, "swapped place");
}

TEST(Shapes, ConflictPlacesAreNeededWhereTheyAreUsed) {
  ShapeSpec spec = test::small_shapes();
  spec.uniform[1] = {{0, 1, 0, 1}};  // none of class 0's biased ones
  EXPECT_NO_THROW(validate(spec));
  spec.test = Arrangement::conflict;
  expect_refused(spec, "class 1 has no conflict place");
}

}  // namespace
}  // namespace occam
