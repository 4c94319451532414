// The elementary functions of the law (docs/arithmetic.md): fp32, branch-free, made of IEEE + − × ÷ sqrt,
// explicit fmaf and integer operations alone, so host and device give the same bits when contraction is off.
// libm is never asked. Loops over them vectorise. The error bounds (in ulp of the exact result) are checked
// in tests/law_functions_test.cpp. A NaN argument gives a NaN, whose payload is not part of the law.
// Coefficients are minimax fits, rounded one by one.
#pragma once

#include <cstdint>

#include "occam/host_device.hpp"

namespace occam::law {

OCCAM_HD float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

OCCAM_HD float square_root(float x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}

OCCAM_HD double square_root(double x) {
#if defined(__CUDA_ARCH__)
  return __dsqrt_rn(x);
#else
  return __builtin_sqrt(x);
#endif
}

OCCAM_HD std::int32_t bits_of(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_int(x);
#else
  return __builtin_bit_cast(std::int32_t, x);
#endif
}

OCCAM_HD float float_of(std::int32_t bits) {
#if defined(__CUDA_ARCH__)
  return __int_as_float(bits);
#else
  return __builtin_bit_cast(float, bits);
#endif
}

OCCAM_HD float magnitude(float x) { return float_of(bits_of(x) & 0x7FFFFFFF); }
// |x| with the sign of `sign`.
OCCAM_HD float with_sign(float x, float sign) {
  return float_of((bits_of(x) & 0x7FFFFFFF) | (bits_of(sign) & static_cast<std::int32_t>(0x80000000u)));
}
// Comparisons with NaN are false, so the second argument's NaN survives: larger(0, NaN) is NaN, larger(NaN,
// 0) is 0.
OCCAM_HD float larger(float a, float b) { return a > b ? a : b; }
OCCAM_HD float smaller(float a, float b) { return a < b ? a : b; }

namespace detail {

inline constexpr float kInfinity = __builtin_inff();

// 2^n for −126 <= n <= 127.
OCCAM_HD float power_of_two(std::int32_t n) {
  return float_of(static_cast<std::int32_t>(static_cast<std::uint32_t>(n + 127) << 23));
}

// x = n ln 2 + r with |r| <= 0.347, n the nearest integer, and expm1(r). |x| < 2^22 ln 2.
struct Reduced {
  std::int32_t n;
  float expm1_r;
};
OCCAM_HD Reduced reduce(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = fma(x, 0x1.715476p+0f, kRound);
  const float n = shifted - kRound;
  // ln 2 in two parts; the first has 9 trailing zeros, so n · part is exact.
  float r = fma(n, -0x1.62e400p-1f, x);
  r = fma(n, -0x1.7f7d1cp-20f, r);
  float q = 0x1.6b8cb2p-10f;
  q = fma(q, r, 0x1.1226a6p-7f);
  q = fma(q, r, 0x1.555702p-5f);
  q = fma(q, r, 0x1.5554b2p-3f);
  q = fma(q, r, 0x1.fffffep-2f);
  return {static_cast<std::int32_t>(static_cast<std::uint32_t>(bits_of(shifted)) - 0x4B400000u),
          fma(r * r, q, r)};
}

// log(1 + f) for 2^(−1/2) <= 1 + f < 2^(1/2), relative error of the fit 2^−27.8.
OCCAM_HD float log1p_near_zero(float f) {
  float q = -0x1.384e84p-4f;
  q = fma(q, f, 0x1.087c9ap-3f);
  q = fma(q, f, -0x1.0f4c9ep-3f);
  q = fma(q, f, 0x1.226b42p-3f);
  q = fma(q, f, -0x1.542424p-3f);
  q = fma(q, f, 0x1.99a428p-3f);
  q = fma(q, f, -0x1.000438p-2f);
  q = fma(q, f, 0x1.555550p-2f);
  q = fma(q, f, -0x1.fffff8p-2f);
  return fma(f * f, q, f);
}

// k ln 2 + tail.
OCCAM_HD float add_log2_multiple(float k, float tail) {
  return fma(k, 0x1.62e400p-1f, fma(k, 0x1.7f7d1cp-20f, tail));
}

// Exponent of x when the significand is taken from [2^(−1/2), 2^(1/2)); x positive and normal.
OCCAM_HD std::int32_t balanced_exponent(float x) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(bits_of(x)) - 0x3F3504F3u) >> 23;
}

// x 2^−k by integer arithmetic, for a result that is normal.
OCCAM_HD float divide_by_power_of_two(float x, std::int32_t k) {
  return float_of(static_cast<std::int32_t>(static_cast<std::uint32_t>(bits_of(x)) -
                                            (static_cast<std::uint32_t>(k) << 23)));
}

}  // namespace detail

// e^x within 1.1 ulp (denormal results: 1 ulp of a denormal). Above 88.7228… it is infinite, below −103.972…
// zero.
OCCAM_HD float exp(float x) {
  x = smaller(89.0f, larger(-104.0f, x));
  const detail::Reduced reduced = detail::reduce(x);
  const std::int32_t half = reduced.n >> 1;  // two factors, since 2^128 and 2^−150 are no normal numbers
  return ((1.0f + reduced.expm1_r) * detail::power_of_two(half)) * detail::power_of_two(reduced.n - half);
}

// e^x − 1 within 2 ulp; infinite above 88.7228….
OCCAM_HD float expm1(float x) {
  const float clamped = smaller(89.0f, larger(-20.0f, x));
  const detail::Reduced reduced = detail::reduce(clamped);
  const std::int32_t half = reduced.n >> 1;
  const float first = detail::power_of_two(half), second = detail::power_of_two(reduced.n - half);
  return fma(first, reduced.expm1_r, first - 1.0f / second) * second;
}

// ln x within 1 ulp, denormals included. ln(±0) = −inf, ln(inf) = inf, NaN for x < 0.
OCCAM_HD float log(float x) {
  const bool denormal = x < 0x1p-126f;
  const float scaled = denormal ? x * 0x1p23f : x;
  const std::int32_t k = detail::balanced_exponent(scaled);
  const float f = detail::divide_by_power_of_two(scaled, k) - 1.0f;
  const float exponent = static_cast<float>(denormal ? k - 23 : k);
  const float result = detail::add_log2_multiple(exponent, detail::log1p_near_zero(f));
  const float special = x == 0.0f ? -detail::kInfinity : (x > 0.0f ? x : __builtin_nanf(""));
  return ((x > 0.0f) & (x < detail::kInfinity)) ? result : special;
}

// ln(1 + x) within 2 ulp. −inf at −1, NaN below, inf at inf; log1p(−0) = −0.
OCCAM_HD float log1p(float x) {
  const std::int32_t k = detail::balanced_exponent(1.0f + x);
  // (1 + x) 2^−k − 1 with one rounding: s = 2^(2 − k), because 2^−128 is no normal number.
  const float s = detail::power_of_two(2 - k);
  const float f = k == 0 ? x : fma(s, 0.25f * x, fma(0.25f, s, -1.0f));
  const float result = detail::add_log2_multiple(static_cast<float>(k), detail::log1p_near_zero(f));
  const float special = x == -1.0f ? -detail::kInfinity : (x > 0.0f ? x : __builtin_nanf(""));
  return ((x > -1.0f) & (x < detail::kInfinity)) ? (x == 0.0f ? x : result) : special;
}

// ln(1 + e^x) within 3 ulp, for logistic losses: softplus(x) = max(x, 0) + log1p(e^−|x|).
OCCAM_HD float softplus(float x) { return larger(0.0f, x) + log1p(exp(-magnitude(x))); }

// 1 / (1 + e^−x) within 3 ulp.
OCCAM_HD float sigmoid(float x) {
  const float e = exp(-magnitude(x));
  return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

// tanh x within 4 ulp, odd to the bit, at most 1 in magnitude.
OCCAM_HD float tanh(float x) {
  const float twice = smaller(20.0f, 2.0f * magnitude(x));  // tanh 10 rounds to 1
  const detail::Reduced reduced = detail::reduce(twice);
  const float scale = detail::power_of_two(reduced.n);
  const float expm1_twice = fma(scale, reduced.expm1_r, scale - 1.0f);
  return with_sign(expm1_twice / (expm1_twice + 2.0f), x);
}

// Inverse of the standard normal distribution function, within 8 ulp for 2^−33 <= u <= 1 − 2^−24; odd about
// 1/2 wherever 1 − u is exact. Beyond 2^−33 it is flat (about ±6.4), finite even at 0 and 1. z = (2u − 1)
// g(w) with w = −ln(4u(1 − u)), the variable of Giles, "Approximating the erfinv function", GPU Computing
// Gems 2011; g is one polynomial in w for w < 5 and one in sqrt(w) above.
OCCAM_HD float normal_quantile(float u) {
  const float w = smaller(22.2f, -log(4.0f * u * (1.0f - u)));
  const bool central = w < 5.0f;
  const float v = central ? w - 2.5f : square_root(w) - 3.25f;
  float g = central ? -0x1.be381ep-27f : 0x1.cb5ce2p-15f;
  g = fma(g, v, central ? 0x1.0079b6p-25f : -0x1.ac78acp-14f);
  g = fma(g, v, central ? 0x1.65d566p-21f : -0x1.73d0eap-12f);
  g = fma(g, v, central ? -0x1.46067ap-18f : 0x1.7da7c2p-10f);
  g = fma(g, v, central ? -0x1.d912d8p-18f : -0x1.4a477ep-9f);
  g = fma(g, v, central ? 0x1.439e12p-12f : 0x1.c8d3b8p-9f);
  g = fma(g, v, central ? -0x1.d06a52p-10f : -0x1.58ecfap-8f);
  g = fma(g, v, central ? -0x1.832766p-8f : 0x1.f2222cp-8f);
  g = fma(g, v, central ? 0x1.652c5cp-2f : 0x1.6bf118p+0f);
  g = fma(g, v, central ? 0x1.0fc8bcp+1f : 0x1.171f18p+2f);
  return fma(2.0f, u, -1.0f) * g;
}

// Uniform on (0, 1) with 23 bits, symmetric about 1/2: (k + 1/2) / 2^23, exact in fp32; the argument
// normal_quantile wants.
OCCAM_HD float uniform_open(std::uint32_t word) {
  return fma(static_cast<float>(static_cast<std::int32_t>(word >> 9)), 0x1p-23f, 0x1p-24f);
}

// Standard normal from one word, |z| <= 5.42.
OCCAM_HD float standard_normal(std::uint32_t word) { return normal_quantile(uniform_open(word)); }

}  // namespace occam::law
