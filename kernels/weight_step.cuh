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
    // As many rows at a time as registers take.
    constexpr int kArrays = 1 + kReadsState0<decltype(kind)::value, decltype(momentum)::value> +
                            kReadsState1<decltype(kind)::value, decltype(momentum)::value>;
    constexpr int kQuads = T::kPerN / kQuad, kMost = 8 / (kQuads * kArrays), kRows = kMost < 4 ? kMost : 4;
    static_assert(kRows >= 1);
    OCCAM_UNROLL
    for (int from = 0; from < T::kPerM; from += kRows) {
      Trainee::Quad<decltype(kind)::value, decltype(momentum)::value> quad[kRows][kQuads];
      const auto each = [&](const auto& f) {
        OCCAM_UNROLL
        for (int r = 0; r < kRows && from + r < T::kPerM; ++r) {
          const int m = first_m + T::template row<Order::extent>(from + r);
          if (m >= a.layer.out) continue;
          OCCAM_UNROLL
          for (int q = 0; q < kQuads; ++q) {
            const int n = first_n + T::column(q * kQuad);
            if (n < a.layer.in && live(n))
              f(r, q, n, a.layer.weight + static_cast<std::int64_t>(m) * a.layer.in_stride + n);
          }
        }
      };
      each([&](int r, int q, int, std::int64_t offset) { quad[r][q].load(trainee, offset); });
      each([&](int r, int q, int n, std::int64_t offset) {
        const float(&of)[T::kPerN] = gradient[from + r];
        quad[r][q].step(trainee, offset, a.layer.in - n,
                        {of[q * kQuad], of[q * kQuad + 1], of[q * kQuad + 2], of[q * kQuad + 3]});
      });
    }
    if (has_bias)
      trainee.step<decltype(kind)::value, decltype(momentum)::value>(
          a.layer.bias + first_m + static_cast<int>(threadIdx.x), bias_gradient);
  });
}

// Steps single parameters, at offset[i] where exists[i].
template <int count>
__device__ __forceinline__ void step_each(const Trainee& trainee, const std::int64_t (&offset)[count],
                                          const bool (&exists)[count], const float (&gradient)[count]) {
  with_optimizer(trainee.optimizer, [&](auto kind, auto momentum) {
    Trainee::One<decltype(kind)::value, decltype(momentum)::value> one[count];
    OCCAM_UNROLL
    for (int i = 0; i < count; ++i)
      if (exists[i]) one[i].load(trainee, offset[i]);
    OCCAM_UNROLL
    for (int i = 0; i < count; ++i)
      if (exists[i]) one[i].step(trainee, offset[i], gradient[i]);
  });
}

}  // namespace occam::cuda
