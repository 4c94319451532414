// The optimiser's step of a tile of weights whose gradients are in registers.
#pragma once

#include "backward.hpp"
#include "epilogue.cuh"
#include "optimizer.cuh"

namespace occam::cuda {

// gradient: of the weights [unit][input] of the tile at (first_m, first_n); bias_gradient: of unit first_m +
// thread, where has_bias.
// live(n): whether training changes the weights of the quad of inputs from n on.
template <class T, class Live>
__device__ __forceinline__ void step_weights(const WeightGradientArguments& a, int id, int first_m,
                                             int first_n, const float (&gradient)[T::kPerM][T::kPerN],
                                             bool has_bias, float bias_gradient, const Live& live) {
  const Trainee trainee{a.wave, id};
  with_optimizer(trainee.optimizer, [&](auto kind, auto momentum) {
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) {
      const int m = first_m + T::template row<Order::extent>(i);
      if (m >= a.layer.out) continue;
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; j += kQuad) {
        const int n = first_n + T::column(j);
        if (n >= a.layer.in || !live(n)) continue;
        const float quad[kQuad] = {gradient[i][j], gradient[i][j + 1], gradient[i][j + 2],
                                   gradient[i][j + 3]};
        trainee.step_quad<decltype(kind)::value, decltype(momentum)::value>(
            a.layer.weight + static_cast<std::int64_t>(m) * a.layer.in_stride + n, a.layer.in - n, quad);
      }
    }
    if (has_bias)
      trainee.step<decltype(kind)::value, decltype(momentum)::value>(
          a.layer.bias + first_m + static_cast<int>(threadIdx.x), bias_gradient);
  });
}

}  // namespace occam::cuda
