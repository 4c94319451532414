// Noise and shifts of slab data: exact counts, where the noisy rows go, and what comes first.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "occam/slab.hpp"
#include "support/goodness_of_fit.hpp"
#include "support/slab_rows.hpp"

namespace occam {
namespace {

using namespace test;

using P = std::vector<double>;

// The same rows with and without the noise; noise moves the noisy rows and no other.
struct Pair {
  Rows clean, noisy;
  std::vector<std::size_t> moved;  // rows whose coordinate 0 differs
};

Pair with_and_without(SlabSpec spec, std::uint32_t seed) {
  Pair pair;
  pair.noisy = generate_all(spec, seed);
  for (SlabCoordinate& c : spec.coordinates) c.noise = 0;
  pair.clean = generate_all(spec, seed);
  EXPECT_EQ(pair.clean.y, pair.noisy.y);
  for (std::size_t r = 0; r < pair.clean.size(); ++r)
    if (pair.clean.at(r, 0) != pair.noisy.at(r, 0)) pair.moved.push_back(r);
  return pair;
}

TEST(SlabNoise, CountsAreExactOverAllRowsAndRoundHalfToEven) {
  struct Case {
    std::int64_t train, validation, test;
    double noise;
    std::size_t count;
  };
  for (SlabCoordinate coordinate : kNoisyBlocks)
    for (const Case& c : {Case{40'000, 0, 10'000, 0.1, 5000},
                          {6, 1, 3, 0.25, 2},
                          {10, 2, 2, 0.25, 4},
                          {20, 0, 10, 0.05, 2},
                          {50, 10, 10, 0.05, 4},
                          {1, 0, 0, 0.5, 0},
                          {2, 0, 1, 0.5, 2},
                          {100, 20, 3, 1.0, 123},
                          {99, 0, 0, 0.004, 0},
                          {7, 0, 6, 1.0 / 3, 4}}) {
      coordinate.noise = c.noise;
      SlabSpec spec = spec_of({coordinate}, c.train, c.test);
      spec.validation = c.validation;
      EXPECT_EQ(with_and_without(spec, 4).moved.size(), c.count) << c.noise << " of " << spec.rows();
    }
}

TEST(SlabNoise, LinearMarginNoiseIsUniformBetweenTheMargins) {
  const Pair pair = with_and_without(
      spec_of({{.kind = BlockKind::linear, .margin = 0.2, .noise = 0.3, .noise_kind = NoiseKind::margin}}),
      6);
  std::array<std::vector<double>, 2> values;
  for (const std::size_t r : pair.moved)
    values[static_cast<std::size_t>(pair.noisy.y[r])].push_back(pair.noisy.at(r, 0));
  for (const auto& sample : values) EXPECT_LT(test::kolmogorov_uniform(sample, -0.2, 0.2), kKolmogorovLimit);
}

TEST(SlabNoise, FlipNegatesToTheBit) {
  const Pair pair = with_and_without(
      spec_of({{.kind = BlockKind::linear, .noise = 0.3, .noise_kind = NoiseKind::flip, .shift = 0.3}}), 6);
  EXPECT_EQ(pair.moved.size(), 15'000u);
  for (const std::size_t r : pair.moved) ASSERT_EQ(pair.noisy.at(r, 0), -pair.clean.at(r, 0));
}

TEST(SlabNoise, FiveSlabMarginNoiseFillsTheFourGapsEvenly) {
  const Pair pair = with_and_without(
      spec_of({{.kind = BlockKind::slab5, .margin = 0.1, .noise = 0.4, .noise_kind = NoiseKind::margin}}), 7);
  const std::vector<Stretch> gaps = positive_gaps(5, 1, 0.1);
  std::array<std::vector<std::int64_t>, 2> count{std::vector<std::int64_t>(4), std::vector<std::int64_t>(4)};
  std::vector<std::vector<double>> inside(4);
  for (const std::size_t r : pair.moved) {
    const float x = pair.noisy.at(r, 0);
    const int gap = index_in(gaps, x, 1e-6);
    ASSERT_GE(gap, 0) << x;
    const std::size_t cell = 2 * static_cast<std::size_t>(gap) + std::signbit(x);
    ++count[static_cast<std::size_t>(pair.noisy.y[r])][cell];
    inside[cell].push_back(std::abs(x));
  }
  for (const auto& counts : count) EXPECT_LT(std::abs(test::chi_square_deviate(counts)), kLimit);
  for (std::size_t cell = 0; cell < 4; ++cell)
    EXPECT_LT(test::kolmogorov_uniform(inside[cell], gaps[cell / 2].low, gaps[cell / 2].high),
              kKolmogorovLimit);
}

// Which slabs of the other class receive the moved rows, half and half where there are two.
void expect_label_noise(BlockKind kind, int k, const std::array<P, 2>& probability) {
  const Pair pair =
      with_and_without(spec_of({{.kind = kind, .noise = 0.4, .noise_kind = NoiseKind::label}}), 9);
  const std::vector<Stretch> slabs = positive_slabs(k, 1, 0.1);
  for (const std::size_t label : {0u, 1u}) {
    std::vector<std::int64_t> count(2 * slabs.size());
    std::vector<std::vector<double>> inside(2 * slabs.size());
    std::int64_t total = 0;
    for (const std::size_t r : pair.moved) {
      if (static_cast<std::size_t>(pair.noisy.y[r]) != label) continue;
      const float x = pair.noisy.at(r, 0);
      const int slab = index_in(slabs, x, 1e-6);
      ASSERT_GE(slab, 0) << x;
      const std::size_t cell = 2 * static_cast<std::size_t>(slab) + std::signbit(x);
      ++count[cell];
      inside[cell].push_back(std::abs(x));
      ++total;
    }
    for (std::size_t cell = 0; cell < count.size(); ++cell) {
      const double p = probability[label][cell / 2] / 2;
      if (p == 0) {
        EXPECT_EQ(count[cell], 0) << "label " << label << ", slab " << cell / 2;
      } else {
        EXPECT_LT(std::abs(test::binomial_deviate(count[cell], total, p)), kLimit)
            << "label " << label << ", slab " << cell / 2;
        EXPECT_LT(test::kolmogorov_uniform(inside[cell], slabs[cell / 2].low, slabs[cell / 2].high),
                  kKolmogorovLimit);
      }
    }
  }
}

TEST(SlabNoise, FiveSlabLabelNoiseMovesToTheOtherClass) {
  expect_label_noise(BlockKind::slab5, 5, {P{0, 1, 0}, P{0.5, 0, 0.5}});
}

TEST(SlabNoise, SevenSlabLabelNoiseMovesToTheOtherClass) {
  expect_label_noise(BlockKind::slab7, 7, {P{0, 0.5, 0, 0.5}, P{0.5, 0, 0.5, 0}});
}

TEST(SlabNoise, NoisyTestRowsAreHypergeometric) {
  constexpr int kSeeds = 400, kRows = 400, kTest = 100, kNoisy = 80;
  double sum = 0, squares = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Pair pair =
        with_and_without(spec_of({{.kind = BlockKind::linear, .noise = 0.2, .noise_kind = NoiseKind::flip}},
                                 kRows - kTest, kTest),
                         seed);
    ASSERT_EQ(pair.moved.size(), kNoisy);
    double in_test = 0;
    for (const std::size_t r : pair.moved) in_test += r < kTest;
    sum += in_test;
    squares += in_test * in_test;
  }
  const double share = static_cast<double>(kNoisy) / kRows, mean = kTest * share;
  const double variance = kTest * share * (1 - share) * (kRows - kTest) / (kRows - 1);
  const double measured = squares / kSeeds - sum / kSeeds * (sum / kSeeds);
  EXPECT_LT(std::abs(sum / kSeeds - mean) / std::sqrt(variance / kSeeds), kLimit);
  EXPECT_LT(std::abs(measured / variance - 1) * std::sqrt(kSeeds / 2.0), kLimit);
}

TEST(SlabNoise, IsDrawnAnewForEveryCoordinate) {
  SlabSpec spec = spec_of(std::vector<SlabCoordinate>(
      3, {.kind = BlockKind::linear, .noise = 0.2, .noise_kind = NoiseKind::flip}));
  const Rows rows = generate_all(spec, 3);
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < a; ++b) {
      std::int64_t both = 0;
      for (std::size_t r = 0; r < rows.size(); ++r) {
        const bool one = rows.y[r] == 1;
        both += (rows.at(r, a) > 0) != one && (rows.at(r, b) > 0) != one;
      }
      // Hypergeometric: 10,000 of 50,000 twice, mean 2,000, variance 1,280.
      EXPECT_LT(std::abs(static_cast<double>(both) - 2000) / std::sqrt(1280.0), kLimit);
    }
}

TEST(SlabShift, ComesBeforeTheNoiseForLinearBlocks) {
  SlabSpec spec = spec_of({{.kind = BlockKind::linear,
                            .margin = 0.1,
                            .noise = 0.5,
                            .noise_kind = NoiseKind::margin,
                            .shift = 0.75}});
  spec.width = 2;
  const Pair pair = with_and_without(spec, 1);
  for (const std::size_t r : pair.moved)
    ASSERT_LE(std::abs(pair.noisy.at(r, 0)), 0.2f + 1e-6f);  // not shifted
  for (std::size_t r = 0; r < pair.clean.size(); ++r) {
    const double unshifted = pair.clean.at(r, 0) - 1.5;
    ASSERT_EQ(unshifted > 0, pair.clean.y[r] == 1);
    ASSERT_GE(std::abs(unshifted), 0.2 - 1e-6);
    ASSERT_LE(std::abs(unshifted), 2 + 1e-6);
  }
}

// Width 2 doubles every value, and margins with it, of noisy rows too.
TEST(SlabWidth, ScalesEverything) {
  std::vector<SlabCoordinate> coordinates;
  for (const auto& [kind, noise] : {std::pair{BlockKind::linear, NoiseKind::margin},
                                    {BlockKind::linear, NoiseKind::flip},
                                    {BlockKind::slab5, NoiseKind::margin},
                                    {BlockKind::slab5, NoiseKind::label},
                                    {BlockKind::slab7, NoiseKind::label}})
    coordinates.push_back({.kind = kind, .margin = 0.0625, .noise = 0.5, .noise_kind = noise, .shift = 0.25});
  coordinates.push_back({.kind = BlockKind::slab3, .margin = 0.0625});
  coordinates.push_back({.kind = BlockKind::unused});
  SlabSpec spec = spec_of(coordinates);
  const Rows one = generate_all(spec, 3);
  spec.width = 2;
  const Rows two = generate_all(spec, 3);
  for (std::size_t r = 0; r < one.size(); ++r)
    for (std::size_t k = 0; k < coordinates.size(); ++k)
      ASSERT_EQ(two.at(r, k), 2 * one.at(r, k)) << r << " " << k;
}

TEST(SlabShift, ComesAfterTheNoiseForSlabs) {
  for (const NoiseKind noise : {NoiseKind::margin, NoiseKind::label}) {
    SlabCoordinate coordinate{.kind = BlockKind::slab5, .noise = 0.5, .noise_kind = noise};
    SlabSpec spec = spec_of({coordinate});
    spec.width = 2;
    const Rows unshifted = generate_all(spec, 1);
    spec.coordinates[0].shift = -0.25;
    const Rows shifted = generate_all(spec, 1);
    for (std::size_t r = 0; r < shifted.size(); ++r) ASSERT_EQ(shifted.at(r, 0), unshifted.at(r, 0) + -0.5f);
  }
}

}  // namespace
}  // namespace occam
