// Slab data: geometry, frequencies, labels, independence, and the same bits in any order.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "law/slab.hpp"
#include "occam/data.hpp"
#include "occam/slab.hpp"
#include "support/compare.hpp"
#include "support/goodness_of_fit.hpp"
#include "support/slab_rows.hpp"

namespace occam {
namespace {

using namespace test;

struct Geometry {
  BlockKind kind;
  int slabs;
  double margin, width;
  std::array<std::vector<double>, 2> probability;  // [label][slab], both signs together
};

class SlabGeometry : public testing::TestWithParam<Geometry> {};

TEST_P(SlabGeometry, OccupiesItsSlabsWithTheirFrequencies) {
  const Geometry& g = GetParam();
  SlabSpec spec = spec_of({{.kind = g.kind, .margin = g.margin}, {.kind = g.kind, .margin = g.margin}});
  spec.width = g.width;
  const Rows rows = generate_all(spec, 5);
  const std::vector<Stretch> slabs = positive_slabs(g.slabs, g.width, g.margin * g.width);
  EXPECT_NEAR(slabs.back().high, g.width, 1e-12);  // the outermost slab ends at B
  for (const int coordinate : {0, 1}) {
    std::array<std::vector<std::int64_t>, 2> count;
    std::array<std::vector<std::vector<double>>, 2> inside;
    for (int label : {0, 1})
      count[static_cast<std::size_t>(label)].assign(2 * slabs.size(), 0),
          inside[static_cast<std::size_t>(label)].resize(2 * slabs.size());
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const float x = rows.at(r, coordinate);
      const int slab = index_in(slabs, x, 1e-6 * g.width);
      ASSERT_GE(slab, 0) << x << " lies in a gap";
      const auto label = static_cast<std::size_t>(rows.y[r]);
      const std::size_t cell = 2 * static_cast<std::size_t>(slab) + std::signbit(x);
      ++count[label][cell];
      inside[label][cell].push_back(std::abs(x));
    }
    for (const std::size_t label : {0u, 1u}) {
      std::int64_t total = 0;
      for (const std::int64_t c : count[label]) total += c;
      for (std::size_t cell = 0; cell < count[label].size(); ++cell) {
        const double p = g.probability[label][cell / 2] / 2;  // half for each sign
        if (p == 0) {
          EXPECT_EQ(count[label][cell], 0) << "label " << label << ", slab " << cell / 2;
          continue;
        }
        EXPECT_LT(std::abs(test::binomial_deviate(count[label][cell], total, p)), kLimit)
            << "label " << label << ", slab " << cell / 2 << ": " << count[label][cell] << " of " << total;
        const Stretch& slab = slabs[cell / 2];
        EXPECT_LT(test::kolmogorov_uniform(inside[label][cell], slab.low, slab.high), kKolmogorovLimit)
            << "label " << label << ", slab " << cell / 2;
      }
    }
  }
}

using P = std::vector<double>;
INSTANTIATE_TEST_SUITE_P(
    Blocks, SlabGeometry,
    testing::Values(Geometry{BlockKind::slab3, 3, 0.1, 1, {P{1, 0}, P{0, 1}}},
                    Geometry{BlockKind::slab3, 3, 0.45, 2.5, {P{1, 0}, P{0, 1}}},
                    Geometry{BlockKind::slab5, 5, 0.1, 1, {P{0.75, 0, 0.25}, P{0, 1, 0}}},
                    Geometry{BlockKind::slab5, 5, 0.0, 1, {P{0.75, 0, 0.25}, P{0, 1, 0}}},
                    Geometry{BlockKind::slab5, 5, 0.2, 10, {P{0.75, 0, 0.25}, P{0, 1, 0}}},
                    Geometry{BlockKind::slab7, 7, 0.1, 1, {P{0.5, 0, 0.5, 0}, P{0, 0.875, 0, 0.125}}},
                    Geometry{BlockKind::slab7, 7, 0.16, 3, {P{0.5, 0, 0.5, 0}, P{0, 0.875, 0, 0.125}}}));

TEST(SlabLinear, IsUniformOnItsSideOfTheMargin) {
  SlabSpec spec = spec_of({{.kind = BlockKind::linear, .margin = 0.3}});
  spec.width = 2;
  const Rows rows = generate_all(spec, 1);
  std::array<std::vector<double>, 2> values;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    ASSERT_EQ(rows.at(r, 0) > 0, rows.y[r] == 1);
    ASSERT_GE(std::abs(rows.at(r, 0)), 0.6f);
    values[static_cast<std::size_t>(rows.y[r])].push_back(rows.at(r, 0));
  }
  EXPECT_LT(test::kolmogorov_uniform(values[0], -2, -0.6), kKolmogorovLimit);
  EXPECT_LT(test::kolmogorov_uniform(values[1], 0.6, 2), kKolmogorovLimit);
}

TEST(SlabUnused, IsUniformFromZeroToItsLimitWhateverTheLabel) {
  for (const double limit : {-1.0, 1.0, 0.25}) {
    SlabSpec spec = spec_of({{.kind = BlockKind::linear}, {.kind = BlockKind::unused}});
    spec.width = 4;
    spec.unused_limit = limit;
    const Rows rows = generate_all(spec, 2);
    std::array<std::vector<double>, 2> values;
    for (std::size_t r = 0; r < rows.size(); ++r)
      values[static_cast<std::size_t>(rows.y[r])].push_back(rows.at(r, 1));
    for (const auto& sample : values)
      EXPECT_LT(test::kolmogorov_uniform(sample, 0, limit < 0 ? 4 : limit), kKolmogorovLimit);
  }
}

TEST(SlabProbabilities, AreWhatTheSpecificationSays) {
  const auto inner_share = [](SlabCoordinate coordinate, int k, int label, int inner) {
    const Rows rows = generate_all(spec_of({coordinate}), 3);
    const std::vector<Stretch> slabs = positive_slabs(k, 1, coordinate.margin);
    std::int64_t of_label = 0, in_inner = 0;
    for (std::size_t r = 0; r < rows.size(); ++r)
      if (rows.y[r] == label) ++of_label, in_inner += index_in(slabs, rows.at(r, 0), 1e-6) == inner;
    return std::pair(in_inner, of_label);
  };
  for (const double p : {0.0, 0.1, 0.5, 0.9, 1.0}) {
    for (const auto& [in, of] : {inner_share({.kind = BlockKind::slab5, .inner_probability0 = p}, 5, 0, 0),
                                 inner_share({.kind = BlockKind::slab7, .inner_probability0 = p}, 7, 0, 0),
                                 inner_share({.kind = BlockKind::slab7, .inner_probability1 = p}, 7, 1, 1)}) {
      if (p == 0)
        EXPECT_EQ(in, 0);
      else if (p == 1)
        EXPECT_EQ(in, of);
      else
        EXPECT_LT(std::abs(test::binomial_deviate(in, of, p)), kLimit) << p;
    }
  }
}

TEST(SlabLabels, AreIndependentFairCoins) {
  std::int64_t ones = 0, changes = 0, n = 0;
  std::vector<std::int64_t> runs_of_eight(256);
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const Rows rows = generate_all(spec_of({{.kind = BlockKind::linear}}, 15'000, 1000), seed);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      ones += rows.y[r];
      if (r > 0) changes += rows.y[r] != rows.y[r - 1];
    }
    for (std::size_t r = 0; r + 8 <= rows.size(); r += 8) {
      std::size_t word = 0;
      for (std::size_t i = 0; i < 8; ++i) word = 2 * word + static_cast<std::size_t>(rows.y[r + i]);
      ++runs_of_eight[word];
    }
    n += static_cast<std::int64_t>(rows.size());
  }
  EXPECT_LT(std::abs(test::binomial_deviate(ones, n, 0.5)), kLimit);
  EXPECT_LT(std::abs(test::binomial_deviate(changes, n - 20, 0.5)), kLimit);
  EXPECT_LT(std::abs(test::chi_square_deviate(runs_of_eight)), kLimit);
}

TEST(SlabLabels, TheNumberOfOnesVariesFromSeedToSeed) {
  double squares = 0;
  constexpr int kSeeds = 200;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Rows rows = generate_all(spec_of({{.kind = BlockKind::linear}}, 900, 100), seed);
    double ones = 0;
    for (const std::int32_t y : rows.y) ones += y;
    squares += (ones - 500) * (ones - 500) / 250;  // chi-square with 200 degrees of freedom
  }
  EXPECT_LT(std::abs((squares - kSeeds) / std::sqrt(2.0 * kSeeds)), kLimit);
}

// Given the label, the octant of one coordinate says nothing about another's.
TEST(SlabCoordinates, AreIndependentGivenTheLabel) {
  const std::vector<SlabCoordinate> coordinates{{.kind = BlockKind::linear}, {.kind = BlockKind::slab3},
                                                {.kind = BlockKind::slab5},  {.kind = BlockKind::slab5},
                                                {.kind = BlockKind::slab7},  {.kind = BlockKind::unused}};
  const Rows rows = generate_all(spec_of(coordinates, 90'000), 8);
  constexpr int kBins = 8;
  for (int label : {0, 1})
    for (int a = 0; a < rows.dim; ++a)
      for (int b = 0; b < a; ++b) {
        std::vector<std::int64_t> joint(kBins * kBins), of_a(kBins), of_b(kBins);
        std::int64_t total = 0;
        const auto bin = [&](std::size_t r, int c) {
          return std::min(kBins - 1, static_cast<int>((rows.at(r, c) + 1) * kBins / 2));
        };
        for (std::size_t r = 0; r < rows.size(); ++r) {
          if (rows.y[r] != label) continue;
          ++joint[static_cast<std::size_t>(bin(r, a) * kBins + bin(r, b))];
          ++of_a[static_cast<std::size_t>(bin(r, a))];
          ++of_b[static_cast<std::size_t>(bin(r, b))];
          ++total;
        }
        double statistic = 0, used_a = 0, used_b = 0;
        for (const std::int64_t c : of_a) used_a += c > 0;
        for (const std::int64_t c : of_b) used_b += c > 0;
        for (std::size_t i = 0; i < joint.size(); ++i) {
          const double expected = static_cast<double>(of_a[i / kBins]) *
                                  static_cast<double>(of_b[i % kBins]) / static_cast<double>(total);
          if (expected > 0)
            statistic += (static_cast<double>(joint[i]) - expected) *
                         (static_cast<double>(joint[i]) - expected) / expected;
        }
        const double freedom = (used_a - 1) * (used_b - 1);
        ASSERT_GE(freedom, 1);
        EXPECT_LT(std::abs(statistic - freedom) / std::sqrt(2 * freedom), 6)
            << "label " << label << ", coordinates " << a << ", " << b;
      }
}

TEST(SlabPosition, SwappingTwoEntriesMovesTheLinearBlock) {
  SlabSpec spec = lms(5, 6);
  std::swap(spec.coordinates[0], spec.coordinates[4]);
  spec.train = 5000, spec.test = 500;
  const Rows rows = generate_all(spec, 1);
  const std::vector<Stretch> slabs = positive_slabs(5, 1, 0.1);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    ASSERT_EQ(rows.at(r, 4) > 0, rows.y[r] == 1);
    ASSERT_EQ(index_in(slabs, rows.at(r, 0), 1e-6) == 1, rows.y[r] == 1);
  }
}

// ---- order, bits ------------------------------------------------------------------------------------------

TEST(SlabRows, DoNotDependOnTheBlockTheyAreMadeIn) {
  const SlabSpec spec = noisy_spec();
  const Data data = slab_data(spec, {11})[0];
  const Rows all = generate_all(spec, 11);
  const std::int64_t rows = spec.rows(), dim = spec.dim();
  for (const std::int64_t step : {1, 7, 64, 65, 300}) {
    std::vector<float> x(static_cast<std::size_t>(rows * dim), -9.0f);
    std::vector<std::int32_t> y(static_cast<std::size_t>(rows), -9);
    for (std::int64_t first = (rows - 1) / step * step; first >= 0; first -= step) {  // backwards
      const std::int64_t count = std::min(step, rows - first);
      generate(data, first, count, x.data() + first * dim, y.data() + first);
    }
    EXPECT_TRUE(test::same_bits(x, all.x)) << "blocks of " << step;
    EXPECT_EQ(y, all.y);
  }
}

TEST(SlabRows, StayInsideTheBuffer) {
  const SlabSpec spec = noisy_spec();
  const Data data = slab_data(spec, {11})[0];
  const auto dim = static_cast<std::size_t>(spec.dim());
  for (const std::size_t count :
       {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65}}) {
    std::vector<float> x(count * dim + 2, 77.0f);
    std::vector<std::int32_t> y(count + 2, 77);
    generate(data, 5, static_cast<std::int64_t>(count), x.data() + 1, y.data() + 1);
    EXPECT_EQ(x.front(), 77.0f);
    EXPECT_EQ(x.back(), 77.0f);
    EXPECT_EQ(y.front(), 77);
    EXPECT_EQ(y.back(), 77);
  }
}

TEST(SlabRows, EqualTheElementFunctionThatTheDeviceCalls) {
  const SlabSpec spec = noisy_spec();
  const Rows all = generate_all(spec, 0xFFFFFFFFu);
  const std::vector<law::SlabColumn> columns = law::slab_columns(spec, 0xFFFFFFFFu);
  std::vector<float> x;
  for (std::uint32_t row = 0; row < all.size(); ++row) {
    const std::int32_t label = law::slab_label(0xFFFFFFFFu, row);
    ASSERT_EQ(label, all.y[row]);
    for (std::uint32_t c = 0; c < columns.size(); ++c)
      x.push_back(law::slab_value(columns[c], c, 0xFFFFFFFFu, row, label));
  }
  EXPECT_TRUE(test::same_bits(x, all.x));
}

TEST(SlabRows, SeedsDiffer) {
  const Rows a = generate_all(lms(5, 4), 0), b = generate_all(lms(5, 4), 1);
  std::size_t same = 0;
  for (std::size_t i = 0; i < a.x.size(); ++i) same += a.x[i] == b.x[i];
  EXPECT_LT(same, 20u);
}

std::uint64_t hash_of(const std::vector<float>& values) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const float v : values) hash = (hash ^ std::bit_cast<std::uint32_t>(v)) * 0x100000001B3u;
  return hash;
}

// Another compiler, flag or machine that changes a single bit of the data shows here.
TEST(SlabRows, BitsNeverChange) {
  EXPECT_EQ(hash_of(generate_all(noisy_spec(), 1).x), 0xc9b6e3e6554a69dcu);
  SlabSpec spec = ms(5, 7);
  spec.train = 3000, spec.test = 1000;
  EXPECT_EQ(hash_of(generate_all(spec, 2).x), 0xfc36581c048d0ad4u);
  EXPECT_EQ(hash_of(slab_rotation(spec, 2)), 0x071ec736b30e923eu);
  EXPECT_EQ(hash_of(materialize(slab_data(spec, {2})[0], Split::test).x), 0x93c15a2d8a4a2081u);
}

}  // namespace
}  // namespace occam
