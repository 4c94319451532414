// The optimiser's step of a tile of weights. Gradients leave the registers by way of shared memory, to meet weights and
// their state in the order of memory.
#pragma once

#include "backward.hpp"
#include "epilogue.cuh"
#include "gradient_tile.cuh"
#include "optimizer.cuh"

namespace occam::cuda {

// gradient: of the weights [unit][input] of a tile; `to`: [T::kM][columns], where nobody reads any more.
//
// Of two neighbours the second is stored first. What is stored at once lies side by side in registers, so a sum's
// register is even where its input's is odd: a multiply-add reads them from different banks (docs/gpu_performance.md).
template <class T, int columns>
__device__ __forceinline__ void put_gradients(float* to, const float (&gradient)[T::kPerM][T::kPerN]) {
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    float* const row = to + T::template row<Order::extent>(i) * columns;
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; j += kQuad)
      *reinterpret_cast<float4*>(row + T::column(j)) =
          make_float4(gradient[i][j + 1], gradient[i][j], gradient[i][j + 3], gradient[i][j + 2]);
  }
}

template <class T>
__device__ __forceinline__ void put_gradients(float* to, const GradientSums<T>& sums) {
  put_gradients<T, T::kStride>(to, sums.in_quads);
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i)
    to[T::template row<Order::extent>(i) * T::kStride + ((T::kN + T::n()) ^ 1)] = sums.behind[i];
}

// Steps the weights of a layer's units from first_m and inputs from first_n on, as many as there are of T::kM and
// `columns`; gradient: [T::kM][columns] as put_gradients puts them, after a barrier.
// live(n): whether training changes the weights of the quad of inputs from n on.
template <class T, int columns, class Live>
__device__ __forceinline__ void step_tile(const Trainee& trainee, const LayerView& layer, int first_m,
                                          int first_n, const float* gradient, const Live& live) {
  constexpr int kAcross = columns / kQuad;  // quads of a row
  const int left = layer.out - first_m, units = left < T::kM ? left : T::kM;
  with_optimizer(trainee.optimizer, [&](auto kind, auto momentum) {
    constexpr bool kHasState = kReadsState0<decltype(kind)::value, decltype(momentum)::value>;
    constexpr int kAtOnce = kHasState ? 2 : 4;  // quads in a thread's hands, as many as registers take
    OCCAM_NO_UNROLL
    for (int first = static_cast<int>(threadIdx.x); first < units * kAcross; first += kAtOnce * T::kThreads) {
      Trainee::Quad<decltype(kind)::value, decltype(momentum)::value> quad[kAtOnce];
      const auto each = [&](const auto& f) {
        OCCAM_UNROLL
        for (int i = 0; i < kAtOnce; ++i) {
          const int item = first + i * T::kThreads, unit = item / kAcross, at = item % kAcross * kQuad,
                    n = first_n + at;
          if (unit < units && n < layer.in && live(n))
            f(quad[i], gradient + unit * columns + at, layer.in - n,
              layer.weight + static_cast<std::int64_t>(first_m + unit) * layer.in_stride + n);
        }
      };
      each([&](auto& one, const float*, int, std::int64_t offset) { one.load(trainee, offset); });
      each([&](auto& one, const float* from, int count, std::int64_t offset) {
        float of[kQuad];
        read_steps(from, of);
        one.step(trainee, offset, count, {of[1], of[0], of[3], of[2]});
      });
    }
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
