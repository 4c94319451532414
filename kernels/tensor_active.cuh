// Behind the last hidden layer dL/dz of a sample is D[s][u] · weight[u]: D is dL/dlogit where unit u is active, else 0, and weight
// that of the one logit (tensor_last_layer.cuh). So of an activation a bit is enough. Gᵀ = Dᵀ · x is the layer's gradient but
// for the factor of a unit's weight; and as activations are what the layer's weights make of x, the last layer's gradient of unit u,
// Σ_s D[s][u] · h[s][u], is Σ_k G[u][k] · W[u][k] and the same of the bias (WeightPart::multiply_rows).
#pragma once

#include "tensor_samples.cuh"

namespace occam::cuda {

// Which units a warp's 32 samples activate: of element e of rows of tile i (Sums) word e has a bit for each tile of units, those of
// the last tile lowest.
template <int tiles>
class ActiveUnits {
 public:
  __device__ __forceinline__ void push(int i, int e, float z) {
#if defined(__CUDA_ARCH__)
    // The top bit of 0 - z: z is positive; a NaN that a GPU computes has no sign. Volatile: or z would be kept, at a spill
    // each, to take its bit where it is needed.
    asm volatile("shf.l.wrap.b32 %0, %1, %0, 1;" : "+r"(word_[i][e]) : "r"(__float_as_uint(0.0f - z)));
#else
    word_[i][e] = word_[i][e] << 1 | (z > 0.0f ? 1u : 0u);
#endif
  }
  __device__ __forceinline__ bool operator()(int i, int e, int tile) const {
    return (word_[i][e] >> (tiles - 1 - tile) & 1u) != 0;
  }
  // Both units of the lane's columns for its r-th sample, of up to 16 tiles: bits 15 − tile, and 16 further those of the second.
  __device__ __forceinline__ std::uint32_t of_sample(int r) const {
    static_assert(tiles <= 16);
    return word_[r / 2][r % 2 * 2] << (16 - tiles) | word_[r / 2][r % 2 * 2 + 1] << (32 - tiles);
  }

 private:
  std::uint32_t word_[2][4] = {};
};

// Dᵀ as A of a weight gradient, units by samples, two tiles of units; made of bits and dL/dlogit that stand in shared memory, sample
// by sample. The bits are ActiveUnits::of_sample's of four lanes, in rows of active_row(samples) words.
template <class P, int samples>
struct ActiveColumns {
  const std::uint32_t* bits;  // of the lane's units, of its first sample
  const float* delta;         // rounded
  int shift;

  // first: the first tile of 16 units.
  __device__ __forceinline__ ActiveColumns(const std::uint32_t* all_bits, const float* all_delta, int first)
      : bits(all_bits + P::unit_of_group() / 2 * active_row(samples) + 2 * (lane() % 4)),
        delta(all_delta + 2 * (lane() % 4)), shift(16 * (P::unit_of_group() % 2) + 12 - 2 * first) {}
  __device__ __forceinline__ void read(std::uint32_t (&a)[2][4], int step) const {
    constexpr int kPairs = P::kStep / 8;  // of samples: the lane's two, and those eight further on
    OCCAM_UNROLL
    for (int pair = 0; pair < kPairs; ++pair) {
      const int at = step * P::kStep + 8 * pair;
      const uint2 word = *reinterpret_cast<const uint2*>(bits + at);
      const float2 d = *reinterpret_cast<const float2*>(delta + at);
      const std::uint32_t first = word.x >> shift, second = word.y >> shift;
      OCCAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        OCCAM_UNROLL
        for (int half = 0; half < 2; ++half) {
          const std::uint32_t bit = 8u >> (2 * i + half);
          const float of_first = (first & bit) != 0 ? d.x : 0.0f,
                      of_second = (second & bit) != 0 ? d.y : 0.0f;
          if constexpr (kPairs == 1) {
            a[i][half] = __float_as_uint(of_first), a[i][2 + half] = __float_as_uint(of_second);
          } else {
            a[i][2 * pair + half] = pack_bf16(of_first, of_second);
          }
        }
      }
    }
  }
};

// dL/dz of the warp's samples as A of an input gradient, samples by units, rounded.
template <class P, int tiles>
struct ActiveRows {
  const ActiveUnits<tiles>& active;
  const float (&delta)[4];  // of the lane's samples
  const float* weight;      // [8 · tiles] of the one logit

  __device__ __forceinline__ void read(std::uint32_t (&a)[2][4], int step) const {
    constexpr int kTilesOfStep = P::kStep / 8;
    OCCAM_UNROLL
    for (int t = 0; t < kTilesOfStep; ++t) {
      const int tile = step * kTilesOfStep + t;
      const bool exists = tile < tiles;
      const float2 w = *reinterpret_cast<const float2*>(weight + 8 * (exists ? tile : 0) + lane() % 4 * 2);
      OCCAM_UNROLL
      for (int r = 0; r < 4; ++r) {
        const int i = r / 2, e = r % 2 * 2;
        const float first = exists && active(i, e, tile) ? delta[r] * w.x : 0.0f,
                    second = exists && active(i, e + 1, tile) ? delta[r] * w.y : 0.0f;
        if constexpr (kTilesOfStep == 1) {
          a[i][r % 2] = __float_as_uint(P::round_sum(first)),
                   a[i][2 + r % 2] = __float_as_uint(P::round_sum(second));
        } else {
          a[i][2 * t + r % 2] = pack_bf16(first, second);
        }
      }
    }
  }
};

}  // namespace occam::cuda
