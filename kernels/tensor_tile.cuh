// A tile of a product on tensor cores, for kernels of plan tiled that are otherwise the law's: operands lie in memory and
// on the chip as floats, are rounded to the precision P (resident_tensor_operand.cuh) as fragments are read, and sums are
// floats.
//
// A fragment has an operand's element (g, t) of eight rows, or columns, by four of the depth: lane l is in group g = l / 4,
// at place t = l % 4. Which rows and columns a group has and in which order a step goes through the depth does not matter
// to a sum, so they are those that are read and stored without bank conflicts, in quads:
//   - along the depth, ldmatrix reads eight rows, an odd number of quads apart;
//   - along the extent, lane l reads columns 4 g to 4 g + 3 of row t, rows eight floats further than whole turns of the
//     banks apart: columns of four fragments;
//   - so column 4 c + j of 32 is column c of fragment j, and a lane's sums, columns 2 t and 2 t + 1 of each, are columns
//     8 t to 8 t + 7.
#pragma once

#include <type_traits>

#include "epilogue.cuh"
#include "resident_tensor_operand.cuh"

namespace occam::cuda {

// Warps of 64 × 32 elements.
template <class P, int warps_m, int warps_n>
struct TensorTile {
  using Operands = P;
  static constexpr int kWarpM = 64, kWarpN = 32, kPerM = 8, kPerN = 8;
  static constexpr int kThreadsM = 8, kThreadsN = 8;  // groups
  static constexpr int kM = warps_m * kWarpM, kN = warps_n * kWarpN, kThreads = 32 * warps_m * warps_n;
  static constexpr int kDepth = 32, kStep = P::kStep;
  static constexpr int kPad = 8;                  // floats, of rows along the extent
  static constexpr int kBlocks = 512 / kThreads;  // of a multiprocessor: leaves 128 registers a thread

  static __device__ __forceinline__ int warp_m() {
    return static_cast<int>(threadIdx.x) / 32 / warps_n * kWarpM;
  }
  static __device__ __forceinline__ int warp_n() {
    return static_cast<int>(threadIdx.x) / 32 % warps_n * kWarpN;
  }
  static __device__ __forceinline__ int column(int j) { return warp_n() + lane() % 4 * 8 + j; }
  template <Order a_order>
  static __device__ __forceinline__ int row(int i) {
    if constexpr (a_order == Order::depth) return warp_m() + lane() / 4 + i * kThreadsM;
    return warp_m() + kQuad * (lane() / 4) + i % kQuad + i / kQuad * kQuad * kThreadsM;
  }
};

template <class T>
concept OnTensorCores = requires {
  typename T::Operands;
};

// Quads of the depth that a step has.
template <class P>
inline constexpr int kStepQuads = P::kStep / kQuad;

// element[r][i]: (g, t) of the i-th quad of the depth, for the r-th of `count` times eight rows; `stage` is at the first.
template <class P, int stride, int count>
__device__ __forceinline__ void read_along_depth(const float* stage, float (&element)[count][kStepQuads<P>]) {
  constexpr int quads = kStepQuads<P>, at_once = 4 / quads;  // times eight rows, by one ldmatrix
  static_assert(count % at_once == 0);
  const int matrix = lane() / 8, down = matrix / quads * 8 + lane() % 8, across = matrix % quads * kQuad;
  OCCAM_UNROLL
  for (int r = 0; r < count; r += at_once) {
    std::uint32_t word[4];
    ldmatrix<4>(word, stage + (8 * r + down) * stride + across);
    OCCAM_UNROLL
    for (int w = 0; w < 4; ++w) element[r + w / quads][w % quads] = __uint_as_float(word[w]);
  }
}

// The same of columns 4 g + r % 4 + r / 4 · 32.
template <class P, int stride, int count>
__device__ __forceinline__ void read_along_extent(const float* stage,
                                                  float (&element)[count][kStepQuads<P>]) {
  static_assert(count % kQuad == 0);
  OCCAM_UNROLL
  for (int i = 0; i < kStepQuads<P>; ++i) {
    OCCAM_UNROLL
    for (int r = 0; r < count; r += kQuad) {
      float quad[kQuad];
      read_steps(stage + (kQuad * i + lane() % 4) * stride + kQuad * (lane() / 4) + 8 * r, quad);
      OCCAM_UNROLL
      for (int e = 0; e < kQuad; ++e) element[r + e][i] = quad[e];
    }
  }
}

// Two words of a fragment, rounded.
template <class P>
__device__ __forceinline__ void round_words(const float (&element)[kStepQuads<P>], std::uint32_t (&word)[2]) {
  OCCAM_UNROLL
  for (int i = 0; i < 2; ++i) word[i] = P::operand(element + i * (kStepQuads<P> / 2));
}

// As in product.cuh.
template <OnTensorCores T, Order a_order, Order b_order>
__device__ __forceinline__ void multiply_step(const Stage<T::kM, T::kDepth, a_order, T::kPad>& stage_a,
                                              const Stage<T::kN, T::kDepth, b_order, T::kPad>& stage_b, int k,
                                              float (&sum)[T::kPerM][T::kPerN]) {
  using P = typename T::Operands;
  constexpr int kFragments = T::kWarpN / 8;  // of B
  constexpr int stride_a = std::remove_reference_t<decltype(stage_a)>::kStride,
                stride_b = std::remove_reference_t<decltype(stage_b)>::kStride;
  float of_a[T::kPerM][kStepQuads<P>], of_b[kFragments][kStepQuads<P>];
  if constexpr (a_order == Order::depth) {
    read_along_depth<P, stride_a>(stage_a.value + T::warp_m() * stride_a + k, of_a);
  } else {
    read_along_extent<P, stride_a>(stage_a.value + k * stride_a + T::warp_m(), of_a);
  }
  if constexpr (b_order == Order::depth) {
    read_along_depth<P, stride_b>(stage_b.value + T::warp_n() * stride_b + k, of_b);
  } else {
    read_along_extent<P, stride_b>(stage_b.value + k * stride_b + T::warp_n(), of_b);
  }
  std::uint32_t b[kFragments][2];
  OCCAM_UNROLL
  for (int j = 0; j < kFragments; ++j) round_words<P>(of_b[j], b[j]);
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; i += 2) {
    std::uint32_t upper[2], lower[2];
    round_words<P>(of_a[i], upper), round_words<P>(of_a[i + 1], lower);
    const std::uint32_t a[4] = {upper[0], lower[0], upper[1], lower[1]};
    OCCAM_UNROLL
    for (int j = 0; j < kFragments; ++j) {
      float of[4] = {sum[i][j], sum[i][j + kQuad], sum[i + 1][j], sum[i + 1][j + kQuad]};
      P::multiply(of, a, b[j]);
      sum[i][j] = of[0], sum[i][j + kQuad] = of[1], sum[i + 1][j] = of[2], sum[i + 1][j + kQuad] = of[3];
    }
  }
}

template <class P>
using WideOnTensorCores = TensorTile<P, 2, 4>;  // 128 × 128
template <class P>
using SquareOnTensorCores = TensorTile<P, 1, 2>;  // 64 × 64, of small batches

// Layers of so few units have the law's products in every precision.
inline constexpr int kFewUnits = FewUnits::kM;

inline bool is_on_tensor_cores(Precision precision, const LayerView& layer) {
  return precision != Precision::fp32 && layer.out > kFewUnits;
}

// Calls f<P>() for the operands of this precision, which is not fp32.
template <class F>
void with_operands(Precision precision, const F& f) {
  precision == Precision::tf32 ? f.template operator()<Tf32>() : f.template operator()<Bf16>();
}

// Calls f<T>() for the tile of a product of so many rows.
template <class F>
void with_tensor_tile(Precision precision, int rows, const F& f) {
  with_operands(precision, [&]<class P>() {
    rows <= SquareOnTensorCores<P>::kM ? f.template operator()<SquareOnTensorCores<P>>()
                                       : f.template operator()<WideOnTensorCores<P>>();
  });
}

}  // namespace occam::cuda
