#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "law/philox_run.hpp"
#include "occam/philox.hpp"
#include "support/goodness_of_fit.hpp"

namespace occam {
namespace {

void expect_words(const Philox& got, const Philox& want) {
  for (int w = 0; w < 4; ++w) EXPECT_EQ(got.word[w], want.word[w]) << "word " << w;
}

// The known answers of the Random123 library (kat_vectors, philox4x32, 10 rounds).
TEST(Philox, KnownAnswerZero) {
  expect_words(philox4x32({{0, 0, 0, 0}}, 0, 0), {{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}});
}

TEST(Philox, KnownAnswerOnes) {
  constexpr std::uint32_t ones = 0xFFFFFFFFu;
  expect_words(philox4x32({{ones, ones, ones, ones}}, ones, ones),
               {{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}});
}

TEST(Philox, KnownAnswerPi) {
  expect_words(philox4x32({{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}}, 0xa4093822u, 0x299f31d0u),
               {{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}});
}

TEST(Philox, DrawUsesSeedStreamAndCounterInOrder) {
  expect_words(draw(5, Stream::dropout, 1, 2, 3, 4), philox4x32({{1, 2, 3, 4}}, 5, 7));
  expect_words(draw(5, Stream::slab_label, 9), philox4x32({{9, 0, 0, 0}}, 5, 1));
}

TEST(Philox, NeighboursDiffer) {
  std::set<std::uint32_t> seen;
  for (std::uint32_t seed = 0; seed < 8; ++seed)
    for (std::uint32_t stream = 1; stream <= 11; ++stream)
      for (std::uint32_t c = 0; c < 4; ++c) seen.insert(draw(seed, static_cast<Stream>(stream), c).word[0]);
  EXPECT_EQ(seen.size(), 8u * 11u * 4u);
}

TEST(Uniform01, IsExactAndBelowOne) {
  EXPECT_EQ(uniform01(0), 0.0f);
  EXPECT_EQ(uniform01(0xFFu), 0.0f);
  EXPECT_EQ(uniform01(0x100u), 0x1p-24f);
  EXPECT_EQ(uniform01(0x80000000u), 0.5f);
  EXPECT_EQ(uniform01(0xFFFFFFFFu), 1.0f - 0x1p-24f);
}

TEST(Uniform01, IsUniform) {
  std::vector<std::int64_t> counts(1000);
  for (std::uint32_t i = 0; i < 400'000; ++i)
    ++counts[static_cast<std::size_t>(uniform01(draw(1, Stream::boundary, i).word[i % 4]) * 1000.0f)];
  EXPECT_LT(std::abs(test::chi_square_deviate(counts)), test::kLimit);
}

TEST(UniformBelow, CoversItsRange) {
  for (const std::uint32_t n : {1u, 2u, 3u, 7u, 1000u, 0x80000001u}) {
    EXPECT_EQ(uniform_below(0, n), 0u);
    EXPECT_EQ(uniform_below(0xFFFFFFFFu, n), n - 1);
  }
  std::vector<std::int64_t> counts(7);
  for (std::uint32_t i = 0; i < 70'000; ++i)
    ++counts[uniform_below(draw(2, Stream::swap_donor, i).word[0], 7)];
  EXPECT_LT(std::abs(test::chi_square_deviate(counts)), test::kLimit);
}

TEST(PhiloxRun, EqualsDraw) {
  law::PhiloxRun<24> run;
  for (const std::uint32_t first : {0u, 3u, 0x7FFFFFF9u, 0xFFFFFFF3u}) {  // the last one wraps
    run.fill(0xDEADBEEFu, Stream::slab_value, first, 0xFFFFFFFEu, 17, 0x80000000u);
    for (std::uint32_t i = 0; i < 24; ++i) {
      const Philox want = draw(0xDEADBEEFu, Stream::slab_value, first + i, 0xFFFFFFFEu, 17, 0x80000000u);
      for (int w = 0; w < 4; ++w)
        ASSERT_EQ(run.word[w][i], want.word[w]) << "first " << first << ", element " << i;
    }
  }
}

}  // namespace
}  // namespace occam
