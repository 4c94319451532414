// What products do with a finished tile while it is still in registers, and the tiles they use.
#pragma once

#include "law/activation.hpp"
#include "law/dropout.hpp"
#include "product.cuh"

namespace occam::cuda {

// Rows are a batch's samples, columns features. The tile follows from the shape alone; the bits follow from
// neither.
using Wide = Tile<16, 8, 8, 8>;        // 128 × 64
using Square = Tile<8, 8, 8, 8>;       // 64 × 64
using FewRows = Tile<4, 16, 4, 4>;     // 16 × 64
using FewColumns = Tile<64, 1, 2, 4>;  // 128 × 4
using FewUnits = Tile<2, 32, 4, 4>;    // 8 × 128, of a weight gradient

// Calls f with the activation as a compile-time constant; kernels for ReLU alone have no other code.
template <bool relu, class F>
__device__ __forceinline__ void with_activation(Activation kind, const F& f) {
  if constexpr (relu) {
    f(std::integral_constant<Activation, Activation::relu>{});
  } else {
    law::with_activation(kind, f);
  }
}

// Where a tile of C [rows][columns] lies.
template <class T>
struct TilePlace {
  int first_m, rows;
  int first_n, columns, stride;  // stride: columns padded

  template <Order a_order = Order::depth>
  __device__ __forceinline__ int row(int i) const {
    return first_m + T::template row<a_order>(i);
  }
  __device__ __forceinline__ int column(int j) const { return first_n + T::column(j); }
};

// matrix: [rows][stride]
template <class T, Order a_order = Order::depth>
__device__ __forceinline__ void store_tile(float* matrix, const TilePlace<T>& at,
                                           const float (&value)[T::kPerM][T::kPerN]) {
  const auto quad = [&](int i, int j) {
    return make_float4(value[i][j], value[i][j + 1], value[i][j + 2], value[i][j + 3]);
  };
  // Most tiles lie inside the matrix, where nothing needs to be asked.
  if (at.first_m + T::kM <= at.rows && at.first_n + T::kN <= at.columns) {
    float* row = matrix + static_cast<std::int64_t>(at.template row<a_order>(0)) * at.stride + at.column(0);
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; j += kQuad)
        *reinterpret_cast<float4*>(row + T::column(j) - T::column(0)) = quad(i, j);
      constexpr bool depth = a_order == Order::depth;
      row += (depth ? T::kThreadsM : (i + 1) % kQuad ? 1 : kQuad * T::kThreadsM - kQuad + 1) * at.stride;
    }
    return;
  }
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    if (at.template row<a_order>(i) >= at.rows) continue;
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; j += kQuad) {
      if (at.column(j) >= at.columns) continue;
      store_quad(matrix + static_cast<std::int64_t>(at.template row<a_order>(i)) * at.stride, at.column(j),
                 at.columns, quad(i, j));
    }
  }
}

// value ← value · dropout factor. A quad of columns shares a draw.
template <class T>
__device__ __forceinline__ void drop_tile(const Member& member, std::uint32_t layer, std::int64_t update,
                                          const TilePlace<T>& at, float (&value)[T::kPerM][T::kPerN]) {
  const law::Dropout dropout = member.hidden_dropout;
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; j += kQuad) {
      const Philox words = law::dropout_draws(
          member.order_seed, static_cast<std::uint32_t>(at.column(j) / kQuad),
          static_cast<std::uint32_t>(at.row(i)), layer, static_cast<std::uint32_t>(update));
      OCCAM_UNROLL
      for (int e = 0; e < kQuad; ++e) value[i][j + e] *= law::dropout_factor(dropout, words.word[e]);
    }
  }
}

}  // namespace occam::cuda
