#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "occam/permutation.hpp"
#include "support/goodness_of_fit.hpp"

namespace occam {
namespace {

KeyedPermutation keyed(std::uint32_t seed, std::uint32_t epoch, std::uint32_t size) {
  return KeyedPermutation(draw(seed, Stream::epoch_order, epoch), size);
}

void expect_bijection(const KeyedPermutation& order) {
  std::vector<char> seen(order.size(), 0);
  for (std::uint32_t place = 0; place < order.size(); ++place) {
    const std::uint32_t row = order(place);
    ASSERT_LT(row, order.size()) << "size " << order.size();
    ASSERT_EQ(seen[row], 0) << "size " << order.size() << ", row " << row << " comes twice";
    seen[row] = 1;
    ASSERT_EQ(order.inverse(row), place) << "size " << order.size();
  }
}

TEST(KeyedPermutation, IsABijectionWithItsInverseForEverySmallSize) {
  for (std::uint32_t size = 1; size <= 600; ++size)
    for (std::uint32_t epoch = 0; epoch < 2; ++epoch) expect_bijection(keyed(size, epoch, size));
}

TEST(KeyedPermutation, IsABijectionForLargeSizes) {
  for (const std::uint32_t size : {4095u, 4096u, 4097u, 65535u, 65537u, 100'000u, 131'072u, 1'000'003u})
    expect_bijection(keyed(7, 1, size));
  for (std::uint32_t i = 0; i < 20; ++i)
    expect_bijection(keyed(8, i, 601 + uniform_below(draw(9, Stream::split, i).word[0], 50'000)));
}

TEST(KeyedPermutation, InvertsAtTheLargestSizes) {
  for (const std::uint32_t size : {0x7FFFFFFFu, 0x80000000u, 0x80000001u, 0xFFFFFFFFu}) {
    const KeyedPermutation order = keyed(3, 0, size);
    for (std::uint32_t i = 0; i < 2000; ++i) {
      const std::uint32_t place = uniform_below(draw(4, Stream::split, i).word[1], size), row = order(place);
      ASSERT_LT(row, size);
      ASSERT_EQ(order.inverse(row), place);
    }
  }
}

TEST(KeyedPermutation, EpochsAndSeedsDiffer) {
  const auto same_places = [](const KeyedPermutation& a, const KeyedPermutation& b) {
    std::int64_t same = 0;
    for (std::uint32_t place = 0; place < a.size(); ++place) same += a(place) == b(place);
    return same;
  };
  // Two random permutations agree at about one place (Poisson with mean 1).
  for (std::uint32_t epoch = 0; epoch < 50; ++epoch) {
    EXPECT_LT(same_places(keyed(1, epoch, 1000), keyed(1, epoch + 1, 1000)), 12);
    EXPECT_LT(same_places(keyed(epoch, 0, 1000), keyed(epoch + 1, 0, 1000)), 12);
  }
}

// Values are part of the results; these come from an implementation of its own in Python.
TEST(KeyedPermutation, KnownAnswers) {
  const auto images = [](std::uint32_t size) {
    std::vector<std::uint32_t> rows;
    for (std::uint32_t place = 0; place < 6; ++place) rows.push_back(keyed(42, 3, size)(place));
    return rows;
  };
  EXPECT_EQ(images(6), (std::vector<std::uint32_t>{3u, 1u, 5u, 2u, 0u, 4u}));
  EXPECT_EQ(images(300), (std::vector<std::uint32_t>{74u, 185u, 276u, 29u, 138u, 241u}));
  EXPECT_EQ(images(100'000), (std::vector<std::uint32_t>{65124u, 37565u, 1579u, 30514u, 21401u, 85003u}));
  EXPECT_EQ(images(0x80000001u), (std::vector<std::uint32_t>{41074688u, 628604600u, 796388131u, 300961405u,
                                                             240653111u, 1596854907u}));
}

TEST(KeyedPermutation, EveryOrderOfFewElementsIsEquallyLikely) {
  for (const std::uint32_t size : {2u, 3u, 4u, 5u, 6u}) {
    std::size_t orders = 1;
    for (std::uint32_t i = 2; i <= size; ++i) orders *= i;
    std::vector<std::int64_t> counts(orders);
    for (std::uint32_t k = 0; k < 200'000; ++k) {
      const KeyedPermutation order = keyed(k / 20, k % 20, size);
      std::uint32_t at[6];
      for (std::uint32_t i = 0; i < size; ++i) at[i] = order(i);
      std::size_t rank = 0;  // Lehmer code
      for (std::uint32_t i = 0; i < size; ++i) {
        std::size_t smaller = 0;
        for (std::uint32_t j = i + 1; j < size; ++j) smaller += at[j] < at[i];
        rank = rank * (size - i) + smaller;
      }
      ++counts[rank];
    }
    EXPECT_LT(std::abs(test::chi_square_deviate(counts)), test::kLimit) << "size " << size;
  }
}

TEST(KeyedPermutation, RowsAtAPlaceAndAtAdjacentPlacesAreUniform) {
  for (const std::uint32_t size : {8u, 17u, 33u, 64u, 128u, 300u}) {
    std::vector<std::int64_t> first(size), middle(size), last(size), pair(std::size_t{size} * (size - 1)),
        step(size - 1);
    const std::uint32_t keys = std::max(200'000u, 4 * size * size);
    for (std::uint32_t k = 0; k < keys; ++k) {
      const KeyedPermutation order = keyed(k / 50, k % 50, size);
      const std::uint32_t a = order(0), b = order(1);
      ++first[a];
      ++middle[order(size / 2)];
      ++last[order(size - 1)];
      ++pair[std::size_t{a} * (size - 1) + b - (b > a)];
      ++step[(b + size - a) % size - 1];
    }
    for (const auto* counts : {&first, &middle, &last, &pair, &step})
      EXPECT_LT(std::abs(test::chi_square_deviate(*counts)), test::kLimit)
          << "size " << size << ", cells " << counts->size();
  }
}

// A batch of four out of a few hundred rows: no row joins another more often than chance has it.
TEST(KeyedPermutation, SmallBatchesMixAllRows) {
  constexpr std::uint32_t kSize = 200;
  std::vector<std::int64_t> together(std::size_t{kSize} * (kSize - 1) / 2);
  for (std::uint32_t epoch = 0; epoch < 2000; ++epoch) {
    const KeyedPermutation order = keyed(11, epoch, kSize);
    for (std::uint32_t batch = 0; batch < kSize; batch += 4)
      for (std::uint32_t i = 0; i < 4; ++i)
        for (std::uint32_t j = 0; j < i; ++j) {
          const std::uint32_t a = order(batch + i), b = order(batch + j), high = std::max(a, b),
                              low = std::min(a, b);
          ++together[std::size_t{high} * (high - 1) / 2 + low];
        }
  }
  EXPECT_LT(std::abs(test::chi_square_deviate(together)), test::kLimit);
}

TEST(KeyedPermutation, LargeSizesAreUniformInPlaceAndStep) {
  for (const std::uint32_t size : {99'991u, 100'000u, 131'072u}) {
    constexpr std::uint32_t kBins = 100;
    std::vector<std::int64_t> place_row(kBins * kBins), step(1000);
    std::vector<double> expected;
    std::vector<std::int64_t> bin_size(kBins);
    for (std::uint32_t row = 0; row < size; ++row) ++bin_size[std::uint64_t{row} * kBins / size];
    for (std::uint32_t epoch = 0; epoch < 4; ++epoch) {
      const KeyedPermutation order = keyed(13, epoch, size);
      std::uint32_t before = order(size - 1);
      for (std::uint32_t place = 0; place < size; ++place) {
        const std::uint32_t row = order(place);
        ++place_row[std::uint64_t{place} * kBins / size * kBins + std::uint64_t{row} * kBins / size];
        ++step[std::uint64_t{(row + size - before) % size} * 1000 / size];
        before = row;
      }
    }
    for (std::uint32_t a = 0; a < kBins; ++a)
      for (std::uint32_t b = 0; b < kBins; ++b)
        expected.push_back(4.0 * static_cast<double>(bin_size[a]) * static_cast<double>(bin_size[b]) / size);
    // Row and column sums are fixed, so (bins − 1)² degrees of freedom remain of bins² − 1: the deviate sits
    // 1.4 lower.
    EXPECT_LT(std::abs(test::chi_square_deviate(place_row, expected) + 1.4), test::kLimit) << size;
    EXPECT_LT(std::abs(test::chi_square_deviate(step)), test::kLimit) << size;
  }
}

}  // namespace
}  // namespace occam
