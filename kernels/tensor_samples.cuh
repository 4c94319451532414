// A warp's samples in the bodies of plan resident on tensor cores with sizes at compile time: 32 of them, by 8 · across units, in
// registers from a layer's product on. Nobody but the warp meets on their way.
#pragma once

#include "lanes.cuh"
#include "law/activation.hpp"
#include "resident_tensor_product.cuh"

namespace occam::cuda {

// 16 · down × 8 · across sums of a warp. Element e of tile (i, j) is at row 16 i + lane / 4 + e / 2 · 8 and column
// 8 j + lane % 4 · 2 + e % 2.
template <int down, int across>
using Sums = float[down][across][4];

inline constexpr int kDown = 2;  // tiles of a warp's samples

__device__ __forceinline__ int tensor_warp() { return static_cast<int>(threadIdx.x) / 32; }

// Groups 0 … 3 of a warp have the even ones of eight rows of a tile, and groups 4 … 7 the odd ones: shared memory takes pairs
// of floats from sixteen lanes at a time, and of neighbouring rows these would share banks.
__device__ __forceinline__ int interleaved(int row) { return (row & ~7) | (row & 3) << 1 | (row >> 2 & 1); }

// Operands whose rows of weights stand in the order of their units, so that the two of a lane's columns are neighbours' rows:
// products whose A are a warp's own sums want it (tensor_active.cuh). In TF32 it is the lanes that are dealt out to units then.
template <class P>
struct InOrder : P {
  static __device__ __forceinline__ int weight_row(int unit) { return unit; }
  static __device__ __forceinline__ int unit_of_group() { return lane() / 4; }
};
template <>
struct InOrder<Tf32> : Tf32 {
  static __device__ __forceinline__ int weight_row(int unit) { return unit; }
  static __device__ __forceinline__ int unit_of_group() { return interleaved(lane() / 4); }
  static __device__ __forceinline__ const char* columns_a(OperandPanel p, int first) {
    return p.row(2 * (lane() % 4)) + (first + unit_of_group()) * kBytes;
  }
};

// The warp's first sample. Tiles of 16 samples are `apart` from each other: 16, and a warp's samples are side by side, or
// kSamplesOfWarps, and then its tiles are.
inline constexpr int kSamplesOfWarps = 16 * kWarps;
template <int apart>
__device__ __forceinline__ int samples_of_warp() {
  static_assert(apart == 16 || apart == kSamplesOfWarps);
  return tensor_warp() * (apart == 16 ? 16 * kDown : 16);
}
// The lane's r-th sample, in row lane / 4 + r % 2 · 8 of tile r / 2.
template <int apart = 16>
__device__ __forceinline__ int sample_of(int r) {
  return samples_of_warp<apart>() + interleaved(lane() / 4) + r / 2 * apart + r % 2 * 8;
}

// A warp's samples as rows of A. Nobody else's are read, so what the warp itself has stored needs no barrier: where the
// last step has one chunk, the lanes that read the second chunk of a step read the first, too. B is 0 there.
template <int apart = 16>
struct SampleRows {
  const char* at;
  int row_bytes, last;

  __device__ __forceinline__ SampleRows(OperandPanel p, Depth depth)
      : at(p.row(samples_of_warp<apart>() + interleaved(lane() % 16)) + lane() / 16 * kChunkBytes),
        row_bytes(p.row_bytes), last((2 * depth.steps - (depth.half ? lane() / 16 : 0)) * kChunkBytes) {}
  __device__ __forceinline__ void read(std::uint32_t (&a)[kDown][4], int step) const {
    const int offset = step * 2 * kChunkBytes;
    const char* from = at + (offset < last ? offset : last);
    OCCAM_UNROLL
    for (int i = 0; i < kDown; ++i) ldmatrix<4>(a[i], from + i * apart * row_bytes);
  }
};

// sums += A · B over the depth. `ones`: the lane's column of B's last tile is of ones. Where registers allow it (`ahead`),
// the next step's operands are on their way while the present one's are multiplied.
template <class P, int down, int across, bool ahead, class AtA, class AtB>
__device__ __forceinline__ void multiply(const AtA& at_a, const AtB& at_b, Depth depth, bool ones,
                                         Sums<down, across>& sums) {
  struct Operands {
    std::uint32_t a[down][4], b[across][2];
  } now, then;
  const auto read = [&](Operands& to, int step) {
    at_a.read(to.a, step);
    at_b.read(to.b, step);
    if (ones) to.b[across - 1][0] = to.b[across - 1][1] = P::one();
  };
  const auto add = [&](const Operands& of) {
    OCCAM_UNROLL
    for (int i = 0; i < down; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) P::multiply(sums[i][j], of.a[i], of.b[j]);
    }
  };
  if constexpr (ahead) {
    const int last = depth.steps - (depth.half ? 0 : 1);
    read(now, 0);
    OCCAM_NO_UNROLL
    for (int step = 0; step + 1 < depth.steps; step += 2) {
      read(then, step + 1);
      add(now);
      read(now, step + 2 < last ? step + 2 : last);
      add(then);
    }
    if (depth.steps % 2 == 1) {
      add(now);
      if (depth.half) read(now, last);
    }
  } else {
    OCCAM_UNROLL_TWICE
    for (int step = 0; step < depth.steps; ++step) {
      read(now, step);
      add(now);
    }
    if (depth.half) read(now, depth.steps);
  }
  if (!depth.half) return;
  OCCAM_UNROLL
  for (int j = 0; j < across; ++j) now.b[j][1] = 0;
  add(now);
}

// Calls f(i, j, half, sample, unit) for every pair of neighbouring units of the warp's samples: elements 2 · half and
// 2 · half + 1 of tile (i, j).
template <int across, class F>
__device__ __forceinline__ void each_pair(const F& f) {
  OCCAM_UNROLL
  for (int j = 0; j < across; ++j) {
    OCCAM_UNROLL
    for (int i = 0; i < kDown; ++i) {
      OCCAM_UNROLL
      for (int half = 0; half < 2; ++half) f(i, j, half, sample_of<>(2 * i + half), 8 * j + lane() % 4 * 2);
    }
  }
}

// sums = a unit's bias, of each sample.
template <int across>
__device__ __forceinline__ void begin_with_bias(const float* bias, Sums<kDown, across>& sums) {
  OCCAM_UNROLL
  for (int j = 0; j < across; ++j) {
    const float2 start = *reinterpret_cast<const float2*>(bias + 8 * j + lane() % 4 * 2);
    OCCAM_UNROLL
    for (int i = 0; i < kDown; ++i) {
      sums[i][j][0] = sums[i][j][2] = start.x;
      sums[i][j][1] = sums[i][j][3] = start.y;
    }
  }
}

// sums = bias + x · weightᵀ, of the warp's samples, over `depth` columns.
template <class P, int across>
__device__ __forceinline__ void multiply_samples(OperandPanel x, OperandPanel weight, const float* bias,
                                                 int depth, Sums<kDown, across>& sums) {
  begin_with_bias(bias, sums);
  const Depth steps = depth_of<P>(depth);
  multiply<P, kDown, across, true>(SampleRows<>{x, steps}, RowsB<P>{weight}.template place<across>(0), steps,
                                   false, sums);
}

// ReLU, of NaN NaN, in one instruction.
__device__ __forceinline__ float rectified(float z) {
#if defined(__CUDA_ARCH__)
  float h;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(h) : "f"(z));
  return h;
#else
  return law::activate<Activation::relu>(z, 0.0f) + 0.0f;  // no −0 either
#endif
}

// A warp's values, rounded ones, to a panel whose rows are the block's samples.
template <class P, int across>
__device__ __forceinline__ void put(const Sums<kDown, across>& value, OperandPanel to, int units) {
  each_pair<across>([&](int i, int j, int half, int sample, int unit) {
    if (unit < units)
      P::put_rounded_pair(to.row(sample), unit, value[i][j][2 * half], value[i][j][2 * half + 1]);
  });
}

}  // namespace occam::cuda
