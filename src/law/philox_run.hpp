// Philox draws whose counters differ in word 0 alone and count up: eight at a time with AVX2, twice as fast
// as what a compiler makes of a loop over draw(), and the same words. Host only.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "occam/philox.hpp"

namespace occam::law {

template <int kCount>
struct PhiloxRun {
  static_assert(kCount % 8 == 0);
  alignas(32) std::uint32_t word[4][kCount];

  // word[w][i] = draw(seed, stream, first + i, c1, c2, c3).word[w]; first + i wraps at 2^32.
  OCCAM_HD void fill(std::uint32_t seed, Stream stream, std::uint32_t first, std::uint32_t c1 = 0,
                     std::uint32_t c2 = 0, std::uint32_t c3 = 0) {
    for (int i = 0; i < kCount; i += 8)
      fill_eight(i, seed, stream, first + static_cast<std::uint32_t>(i), c1, c2, c3);
  }

 private:
  // Each counter word lives in the low half of a 64-bit lane, where the 32 × 32 → 64 bit product reads it;
  // the high halves hold remnants that nobody reads. Half 0 holds the even elements, half 1 the odd ones.
  OCCAM_HD void fill_eight(int at, std::uint32_t seed, Stream stream, std::uint32_t first, std::uint32_t c1,
                           std::uint32_t c2, std::uint32_t c3) {
    const __m256i multiplier0 = _mm256_set1_epi64x(0xD2511F53u),
                  multiplier1 = _mm256_set1_epi64x(0xCD9E8D57u);
    __m256i counter[4][2];
    for (int half = 0; half < 2; ++half) {
      counter[0][half] = _mm256_add_epi64(_mm256_set1_epi64x(static_cast<std::int64_t>(first) + half),
                                          _mm256_set_epi64x(6, 4, 2, 0));
      counter[1][half] = _mm256_set1_epi64x(c1);
      counter[2][half] = _mm256_set1_epi64x(c2);
      counter[3][half] = _mm256_set1_epi64x(c3);
    }
    std::uint32_t key0 = seed, key1 = static_cast<std::uint32_t>(stream);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const __m256i keys0 = _mm256_set1_epi32(static_cast<int>(key0)),
                    keys1 = _mm256_set1_epi32(static_cast<int>(key1));
      for (int half = 0; half < 2; ++half) {
        const __m256i product0 = _mm256_mul_epu32(counter[0][half], multiplier0);
        const __m256i product1 = _mm256_mul_epu32(counter[2][half], multiplier1);
        counter[0][half] = high(product1) ^ (counter[1][half] ^ keys0);
        counter[1][half] = product1;
        counter[2][half] = high(product0) ^ (counter[3][half] ^ keys1);
        counter[3][half] = product0;
      }
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    for (int w = 0; w < 4; ++w)
      _mm256_store_si256(reinterpret_cast<__m256i*>(word[w] + at),
                         _mm256_blend_epi32(counter[w][0], _mm256_slli_epi64(counter[w][1], 32), 0xAA));
  }

  OCCAM_HD static __m256i high(__m256i product) { return _mm256_srli_epi64(product, 32); }
};

}  // namespace occam::law
