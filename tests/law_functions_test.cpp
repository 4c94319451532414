// The law's elementary functions against double-precision libm, and its sum against its definition.
#include "law/functions.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "law/sum.hpp"
#include "occam/philox.hpp"
#include "support/compare.hpp"
#include "support/goodness_of_fit.hpp"

namespace occam {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kFloatNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

// |got − want| in units of the last place of `want` as a float. Infinities and NaNs must match.
double error_in_ulp(float got, double want) {
  const float rounded = static_cast<float>(want);
  if (std::isnan(want) || std::isinf(rounded))
    return (std::isnan(want) && std::isnan(got)) || got == rounded ? 0
                                                                   : std::numeric_limits<double>::infinity();
  if (std::isnan(got)) return std::numeric_limits<double>::infinity();
  int exponent = 0;
  std::frexp(want, &exponent);
  return std::abs(got - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

struct Function {
  const char* name;
  std::function<float(float)> law;
  std::function<double(double)> exact;
  double bound;  // ulp
  float from = -kInfinity, to = kInfinity;
};

void PrintTo(const Function& f, std::ostream* os) { *os << f.name; }

double exact_softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// Newton's method on the normal distribution function, from the law's own value.
double exact_quantile(double u) {
  const double tail = std::min(u, 1 - u);
  double z = -std::abs(static_cast<double>(law::normal_quantile(static_cast<float>(tail))));
  for (int i = 0; i < 4; ++i)
    z -= (0.5 * std::erfc(-z * M_SQRT1_2) - tail) / (std::exp(-0.5 * z * z) * 0.3989422804014327);
  return u < 0.5 ? z : -z;
}

class LawFunction : public testing::TestWithParam<Function> {};

// Every 397th of all floats in the range, of both signs: denormals, overflow and underflow included.
TEST_P(LawFunction, StaysWithinItsBound) {
  const Function& f = GetParam();
  double worst = 0;
  float at = 0;
  std::int64_t tried = 0;
  for (const std::uint32_t sign : {0u, 0x80000000u})
    for (std::uint32_t bits = 0; bits <= 0x7F800000u; bits += 397) {
      const float x = std::bit_cast<float>(bits | sign);
      if (!(x >= f.from && x <= f.to)) continue;
      ++tried;
      const double error = error_in_ulp(f.law(x), f.exact(x));
      if (!(error <= worst)) worst = error, at = x;
    }
  EXPECT_LE(worst, f.bound) << f.name << " at " << at << ": " << f.law(at) << " for " << f.exact(at);
  EXPECT_GT(worst, 0.5);  // something was compared
  EXPECT_GT(tried, 500'000);
  std::printf("  %s: at most %.2f ulp, bound %.2f\n", f.name, worst, f.bound);
}

TEST_P(LawFunction, PropagatesNan) { EXPECT_TRUE(std::isnan(GetParam().law(kFloatNan))); }

INSTANTIATE_TEST_SUITE_P(
    All, LawFunction,
    testing::Values(
        Function{"exp", [](float x) { return law::exp(x); }, [](double x) { return std::exp(x); }, 1.1},
        Function{"expm1", [](float x) { return law::expm1(x); }, [](double x) { return std::expm1(x); }, 2},
        Function{"log", [](float x) { return law::log(x); }, [](double x) { return std::log(x); }, 1},
        Function{"log1p", [](float x) { return law::log1p(x); }, [](double x) { return std::log1p(x); }, 2},
        Function{"softplus", [](float x) { return law::softplus(x); }, exact_softplus, 3},
        Function{"sigmoid", [](float x) { return law::sigmoid(x); },
                 [](double x) { return 1 / (1 + std::exp(-x)); }, 3},
        Function{"tanh", [](float x) { return law::tanh(x); }, [](double x) { return std::tanh(x); }, 4},
        Function{"normal_quantile", [](float x) { return law::normal_quantile(x); }, exact_quantile, 8,
                 0x1p-33f, 1 - 0x1p-24f}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(LawExp, Edges) {
  EXPECT_EQ(law::exp(0.0f), 1.0f);
  EXPECT_EQ(law::exp(-0.0f), 1.0f);
  EXPECT_EQ(law::exp(kInfinity), kInfinity);
  EXPECT_EQ(law::exp(-kInfinity), 0.0f);
  EXPECT_EQ(law::exp(88.72284f), kInfinity);
  EXPECT_LT(law::exp(88.72283f), kInfinity);
  EXPECT_EQ(law::exp(-103.98f), 0.0f);
  EXPECT_EQ(law::exp(-103.97f), kDenormal);
  EXPECT_EQ(law::expm1(-kInfinity), -1.0f);
  EXPECT_EQ(law::expm1(kInfinity), kInfinity);
}

TEST(LawLog, Edges) {
  EXPECT_EQ(law::log(1.0f), 0.0f);
  EXPECT_EQ(law::log(0.0f), -kInfinity);
  EXPECT_EQ(law::log(-0.0f), -kInfinity);
  EXPECT_EQ(law::log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(law::log(-kDenormal)));
  EXPECT_TRUE(std::isnan(law::log(-1.0f)));
  EXPECT_TRUE(std::isnan(law::log(-kInfinity)));
  EXPECT_EQ(law::log1p(-1.0f), -kInfinity);
  EXPECT_EQ(law::log1p(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(law::log1p(-1.5f)));
  EXPECT_TRUE(std::signbit(law::log1p(-0.0f)));
  EXPECT_EQ(law::softplus(-kInfinity), 0.0f);
  EXPECT_EQ(law::softplus(kInfinity), kInfinity);
  EXPECT_EQ(law::sigmoid(-kInfinity), 0.0f);
  EXPECT_EQ(law::sigmoid(kInfinity), 1.0f);
  EXPECT_EQ(law::sigmoid(0.0f), 0.5f);
}

TEST(LawTanh, IsOddAndBounded) {
  EXPECT_EQ(law::tanh(kInfinity), 1.0f);
  EXPECT_EQ(law::tanh(-kInfinity), -1.0f);
  EXPECT_TRUE(std::signbit(law::tanh(-0.0f)));
  for (std::uint32_t bits = 0; bits < 0x7F800000u; bits += 9973) {
    const float x = std::bit_cast<float>(bits), t = law::tanh(x);
    ASSERT_EQ(law::tanh(-x), -t);
    ASSERT_LE(t, 1.0f);
  }
}

TEST(LawNormalQuantile, IsOddAboutOneHalfAndFiniteAtTheEnds) {
  EXPECT_EQ(law::normal_quantile(0.5f), 0.0f);
  for (std::int32_t k = 0; k < 1 << 22; k += 11) {
    const float u = law::uniform_open(static_cast<std::uint32_t>(k) << 9);
    ASSERT_EQ(law::normal_quantile(1.0f - u), -law::normal_quantile(u)) << u;
  }
  EXPECT_NEAR(law::normal_quantile(0.0f), -6.4f, 0.1f);
  EXPECT_NEAR(law::normal_quantile(1.0f), 6.4f, 0.1f);
}

TEST(LawNormalQuantile, UniformOpenNeverReachesTheEnds) {
  EXPECT_EQ(law::uniform_open(0), 0x1p-24f);
  EXPECT_EQ(law::uniform_open(0xFFFFFFFFu), 1.0f - 0x1p-24f);
}

TEST(LawNormalQuantile, StandardNormalIsStandardNormal) {
  std::vector<double> sample;
  double sum = 0, squares = 0, fourths = 0;
  for (std::uint32_t i = 0; i < 250'000; ++i)
    for (const std::uint32_t word : draw(3, Stream::initialization, i).word)
      sample.push_back(law::standard_normal(word));
  for (const double z : sample) sum += z, squares += z * z, fourths += z * z * z * z;
  const double n = static_cast<double>(sample.size());
  EXPECT_LT(std::abs(sum / std::sqrt(n)), test::kLimit);
  EXPECT_LT(std::abs((squares / n - 1) * std::sqrt(n / 2)), test::kLimit);
  EXPECT_LT(std::abs((fourths / n - 3) * std::sqrt(n / 96)), test::kLimit);
  EXPECT_LT(test::kolmogorov(sample, [](double z) { return 0.5 * std::erfc(-z * M_SQRT1_2); }),
            test::kKolmogorovLimit);
}

TEST(LawMinMax, KeepTheSecondArgumentsNan) {
  EXPECT_TRUE(std::isnan(law::larger(0.0f, kFloatNan)));
  EXPECT_EQ(law::larger(kFloatNan, 1.0f), 1.0f);
  EXPECT_EQ(law::larger(-1.0f, 1.0f), 1.0f);
  EXPECT_TRUE(std::isnan(law::smaller(0.0f, kFloatNan)));
  EXPECT_EQ(law::smaller(kFloatNan, 1.0f), 1.0f);
  EXPECT_EQ(law::smaller(-1.0f, 1.0f), -1.0f);
}

// A loop that vectorises gives the bits of one call at a time.
TEST(LawFunctions, VectorLoopsEqualSingleCalls) {
  std::vector<float> x(1003), loop(x.size()), single(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = 30.0f * (uniform01(draw(5, Stream::boundary, static_cast<std::uint32_t>(i)).word[0]) - 0.5f);
  const auto check = [&](auto function) {
    for (std::size_t i = 0; i < x.size(); ++i) loop[i] = function(x[i]);
    for (std::size_t i = 0; i < x.size(); ++i) {
      volatile float one = x[i];
      single[i] = function(one);
    }
    EXPECT_TRUE(test::same_bits(loop, single, test::Nan::matched));
  };
  check([](float v) { return law::exp(v); });
  check([](float v) { return law::log(v); });
  check([](float v) { return law::log1p(v); });
  check([](float v) { return law::tanh(v); });
  check([](float v) { return law::softplus(v); });
  check([](float v) { return law::normal_quantile(law::sigmoid(v)); });
}

// One hash over every 4001st argument: another compiler, flag or device that changes a single bit shows here.
TEST(LawFunctions, BitsNeverChange) {
  const auto hash = [](auto function) {
    std::uint64_t h = 0xCBF29CE484222325u;
    for (const std::uint32_t sign : {0u, 0x80000000u})
      for (std::uint32_t bits = 0; bits <= 0x7F800000u; bits += 4001) {
        const float y = function(std::bit_cast<float>(bits | sign));
        h = (h ^ (std::isnan(y) ? 0x7FC00000u : std::bit_cast<std::uint32_t>(y))) * 0x100000001B3u;
      }
    return h;
  };
  EXPECT_EQ(hash([](float x) { return law::exp(x); }), 0x0186c7b0d5061aacu);
  EXPECT_EQ(hash([](float x) { return law::expm1(x); }), 0x89f670d48113bbeeu);
  EXPECT_EQ(hash([](float x) { return law::log(x); }), 0xee83aeaf83c875ffu);
  EXPECT_EQ(hash([](float x) { return law::log1p(x); }), 0x2f2155559c9fec8cu);
  EXPECT_EQ(hash([](float x) { return law::softplus(x); }), 0xf5b84de762a38085u);
  EXPECT_EQ(hash([](float x) { return law::sigmoid(x); }), 0xb5d9d6cdfce2d9a1u);
  EXPECT_EQ(hash([](float x) { return law::tanh(x); }), 0x8587c71f392046b5u);
  EXPECT_EQ(hash([](float x) { return law::normal_quantile(x); }), 0xd25189c688367fe7u);
}

// ---- the sum ----------------------------------------------------------------------------------------------

// The definition, written as a warp does it: every lane adds its own, then five shuffle-downs.
float warp_sum(const std::vector<float>& values) {
  std::array<float, 32> lane{};
  for (std::size_t l = 0; l < 32; ++l)
    for (std::size_t i = l; i < values.size(); i += 32) lane[l] += values[i];
  for (std::size_t stride = 16; stride > 0; stride /= 2)
    for (std::size_t l = 0; l < stride; ++l) lane[l] += lane[l + stride];
  return lane[0];
}

std::vector<float> random_values(std::size_t n) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i)
    values[i] = law::standard_normal(draw(6, Stream::boundary, static_cast<std::uint32_t>(i)).word[0]);
  return values;
}

TEST(LaneSum, EqualsAWarpsSum) {
  for (const std::size_t n : {0u, 1u, 2u, 31u, 32u, 33u, 63u, 64u, 65u, 255u, 256u, 258u, 1000u, 100'003u}) {
    const std::vector<float> values = random_values(n);
    const float expected = warp_sum(values);
    const auto count = static_cast<std::int64_t>(n);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(law::lane_sum(values.data(), count)),
              std::bit_cast<std::uint32_t>(expected))
        << n;
    EXPECT_EQ(law::lane_sum_of(count, [&](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }),
              expected)
        << n;
    law::LaneSum one_by_one;
    for (std::int64_t i = 0; i < count; ++i) one_by_one.add(i, values[static_cast<std::size_t>(i)]);
    EXPECT_EQ(one_by_one.total(), expected) << n;
  }
}

TEST(LaneSum, IsExactForIntegersAndNotAnyOrder) {
  std::vector<float> values(5000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) - 2;
  EXPECT_EQ(law::lane_sum(values.data(), 5000), 4995.0f);
  values = random_values(5000);
  float ascending = 0;
  for (const float v : values) ascending += v;
  EXPECT_NE(law::lane_sum(values.data(), 5000), ascending);
  EXPECT_NEAR(law::lane_sum(values.data(), 5000), ascending, 1e-2);
}

TEST(LaneSum, EmptyIsPlusZeroAndNanStays) {
  EXPECT_FALSE(std::signbit(law::lane_sum(nullptr, 0)));
  const std::vector<float> minus_zero{-0.0f};
  EXPECT_FALSE(std::signbit(law::lane_sum(minus_zero.data(), 1)));
  std::vector<float> values(100, 1.0f);
  values[77] = kFloatNan;
  EXPECT_TRUE(std::isnan(law::lane_sum(values.data(), 100)));
}

}  // namespace
}  // namespace occam
