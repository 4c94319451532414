// What a thread owns of a weight gradient: 8 units × 13 inputs, three quads of inputs and one of the columns behind the
// quads of all threads.
#pragma once

#include "product.cuh"

namespace occam::cuda {

// Units × inputs.
template <int threads_m, int threads_n>
struct GradientTile : Tile<threads_m, threads_n, 8, 12> {
  using Tile<threads_m, threads_n, 8, 12>::kN;
  static constexpr int kStride = kN + threads_n;  // inputs of a tile
};

template <class T>
struct GradientSums {
  float in_quads[T::kPerM][T::kPerN] = {}, behind[T::kPerM] = {};

  // Adds a sample: delta from the thread's first quad of units on, inputs from its first quad on, and the input behind.
  __device__ __forceinline__ void add(const float* delta, const float* quads, float other) {
    float d[T::kPerM], input[T::kPerN];
    read_step<T::kPerM, T::kThreadsM>(delta, d);
    read_step<T::kPerN, T::kThreadsN>(quads, input);
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; ++j) {
      OCCAM_UNROLL
      for (int at = 0; at < T::kPerM; ++at) {
        const int i = snake<T::kPerM>(j, at);
        in_quads[i][j] = law::fma(d[i], input[j], in_quads[i][j]);
      }
    }
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) behind[i] = law::fma(d[i], other, behind[i]);
  }
};

}  // namespace occam::cuda
