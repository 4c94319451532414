// The gradients of a layer's weights and biases over the samples of a batch, in batch order, and the
// optimiser's step while they are on the chip: they never reach device memory.

#include "weight_step.cuh"

namespace occam::cuda {

// ---- kernels ----------------------------------------------------------------------------------------------

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) weight_gradient_kernel(WeightGradientArguments a) {
  static_assert(T::kM <= T::kThreads, "a thread sums one unit's bias gradient");
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  if (rows == 0) return;
  const int across = tiles(a.layer.in, T::kN);
  const int first_m = static_cast<int>(blockIdx.x) / across * T::kM,
            first_n = static_cast<int>(blockIdx.x) % across * T::kN;
  const int id = a.slots.member_of(slot);
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row

  // weight gradient[j][k] = Σ_s delta[s][j] · input[s][k]; bias gradient[j] = Σ_s delta[s][j] by the blocks
  // of k = 0
  float gradient[T::kPerM][T::kPerN] = {}, bias_gradient = 0.0f;
  const int unit = static_cast<int>(threadIdx.x);
  const bool has_bias = first_n == 0 && unit < T::kM && first_m + unit < a.layer.out;
  const Operand delta{a.delta + place * a.layer.out_stride, nullptr, a.layer.out_stride};
  const Operand input = a.input ? Operand{a.input + place * a.layer.in_stride, nullptr, a.layer.in_stride}
                                : Operand{a.wave.members[id].train_x, a.batch + place, a.layer.in_stride};
  accumulate<T, Order::extent, Order::extent>(delta, first_m, a.layer.out, input, first_n, a.layer.in, rows,
                                              gradient, [&](const auto& stage, int steps) {
                                                if (!has_bias) return;
#pragma unroll 8  // their loads overlap
                                                for (int s = 0; s < steps; ++s)
                                                  bias_gradient += stage.value[s * T::kM + unit];
                                              });

  using Of = Stages<T, Order::extent, Order::extent>;
  static_assert(sizeof(Of) >= sizeof(float) * T::kM * T::kN);
  auto* const gradients = reinterpret_cast<float*>(&shared<Of>());
  __syncthreads();
  put_gradients<T, T::kN>(gradients, gradient);
  __syncthreads();
  const Trainee trainee{a.wave, id};
  step_tile<T, T::kN>(trainee, a.layer, first_m, first_n, gradients, [](int) { return true; });
  if (has_bias) trainee.step(a.layer.bias + first_m + unit, bias_gradient);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <class T>
void launch_tiles(Stream& stream, const WeightGradientArguments& a) {
  const dim3 grid(static_cast<unsigned>(tiles(a.layer.out, T::kM) * tiles(a.layer.in, T::kN)),
                  static_cast<unsigned>(a.slots.count));
  launch(stream, "weight_gradient", weight_gradient_kernel<T>, grid, dim3(T::kThreads),
         sizeof(Stages<T, Order::extent, Order::extent>), a);
}

}  // namespace

void launch_weight_gradient(Stream& stream, const WeightGradientArguments& a) {
  const NvtxRange range{"weight gradient"};
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots,
          "weight gradient: {} members at once; give 1 to {}", a.slots.count, kMaxSlots);
  require(a.delta && (a.input || a.batch), "weight gradient: no delta, or neither input nor batch");
  if (a.layer.out <= FewUnits::kM) return launch_tiles<FewUnits>(stream, a);
  launch_tiles<Square>(stream, a);
}

}  // namespace occam::cuda
