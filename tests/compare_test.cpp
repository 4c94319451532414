// The comparators themselves: a comparison that cannot fail proves nothing.
#include "support/compare.hpp"

#include <cmath>
#include <limits>
#include <vector>

namespace occam::test {
namespace {

using Floats = std::vector<float>;
constexpr float kFloatNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(SameBits, AcceptsOnlyEqualBits) {
  EXPECT_TRUE(same_bits(Floats{1, -0.0f, kInfinity}, Floats{1, -0.0f, kInfinity}));
  EXPECT_FALSE(same_bits(Floats{1}, Floats{std::nextafter(1.0f, 2.0f)}));
  EXPECT_FALSE(same_bits(Floats{0.0f}, Floats{-0.0f}));
  EXPECT_FALSE(same_bits(Floats{kInfinity}, Floats{-kInfinity}));
  EXPECT_FALSE(same_bits(Floats{1, 2}, Floats{1}));
  EXPECT_FALSE(same_bits(Floats{1, 2, 3, 4}, Floats{1, 2, 3, 5}));
}

TEST(SameBits, RejectsNanUnlessAskedToMatchIt) {
  EXPECT_FALSE(same_bits(Floats{kFloatNan}, Floats{kFloatNan}));
  EXPECT_FALSE(same_bits(Floats{kFloatNan}, Floats{1}, Nan::matched));
  EXPECT_FALSE(same_bits(Floats{1}, Floats{kFloatNan}, Nan::matched));
  EXPECT_TRUE(same_bits(Floats{kFloatNan}, Floats{-kFloatNan}, Nan::matched));
}

TEST(SameBits, NamesTheFirstDifference) {
  const testing::AssertionResult result = same_bits(Floats{1, 2, 3}, Floats{1, 4, 5});
  EXPECT_NE(std::string(result.message()).find("2 of 3"), std::string::npos) << result.message();
  EXPECT_NE(std::string(result.message()).find("[1]"), std::string::npos) << result.message();
}

TEST(Varied, RejectsWhatProvesNothing) {
  EXPECT_TRUE(varied(Floats{1, 2, 3, 4}));
  EXPECT_FALSE(varied(Floats{0, 0, 0, 0}));
  EXPECT_FALSE(varied(Floats{5, 5, 5, 5}));
  EXPECT_FALSE(varied(Floats{kFloatNan, kFloatNan, 1, kInfinity}));
  EXPECT_FALSE(varied(Floats{}));
}

TEST(ShareUsed, BoundsByAbsoluteAndRelativeParts) {
  ShareUsed share("self-test");
  const std::vector<double> expected = {100.0};
  EXPECT_TRUE(share.within(Floats{101.0f}, expected, {.absolute = 1.0, .relative = 0.01}));
  EXPECT_DOUBLE_EQ(share.largest(), 0.5);
  EXPECT_FALSE(share.within(Floats{103.0f}, expected, {.absolute = 1.0, .relative = 0.01}));
  EXPECT_FALSE(share.within(Floats{kFloatNan}, expected, {.absolute = 1e9}));
  EXPECT_FALSE(share.within(Floats{1.0f}, std::vector<double>{std::nan("")}, {.absolute = 1e9}));
  EXPECT_FALSE(share.within(Floats{kInfinity}, expected, {.absolute = 1e9, .relative = 1}));
  EXPECT_FALSE(share.within(Floats{1.0f}, std::vector<double>{HUGE_VAL}, {.absolute = 1, .relative = 1}));
  EXPECT_TRUE(share.within(Floats{kInfinity}, std::vector<double>{HUGE_VAL}, {.absolute = 1}));
  EXPECT_FALSE(share.within(Floats{1.0f, 2.0f}, std::vector<double>{1.0}, {.absolute = 1}));
}

}  // namespace
}  // namespace occam::test
