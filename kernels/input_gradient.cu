// The gradient of a layer's input: delta · weight, over the units in ascending order, then back through
// dropout and activation of the layer below while the tile is in registers; in inference through batch norm
// and PReLU, too.

#include "backward.hpp"
#include "epilogue.cuh"
#include "law/activation.hpp"
#include "law/batch_norm.hpp"
#include "product.cuh"
#include "tensor_tile.cuh"

namespace occam::cuda {

// ---- building blocks --------------------------------------------------------------------------------------

// gradient ← gradient · activation'; kept: [rows][stride] h, or z of PReLU. Places outside read one inside and keep what
// nobody stores: without branches all loads are under way at once.
template <Activation kind, class T>
__device__ __forceinline__ void differentiate_tile(const float* kept, const TilePlace<T>& at, float slope,
                                                   float (&gradient)[T::kPerM][T::kPerN]) {
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    const float* const row =
        kept + static_cast<std::int64_t>(at.row(i) < at.rows ? at.row(i) : 0) * at.stride;
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; j += kQuad) {
      float h[kQuad];
      read_steps(row + (at.column(j) < at.columns ? at.column(j) : 0), h);
      OCCAM_UNROLL
      for (int e = 0; e < kQuad; ++e)
        gradient[i][j + e] = law::activation_gradient<kind>(gradient[i][j + e], h[e], h[e], slope);
    }
  }
}

// gradient ← gradient through batch norm by the running averages.
template <class T>
__device__ __forceinline__ void denormalize_tile(const LayerView& layer, const float* parameters,
                                                 const TilePlace<T>& at,
                                                 float (&gradient)[T::kPerM][T::kPerN]) {
  OCCAM_UNROLL
  for (int j = 0; j < T::kPerN; ++j) {
    const int n = at.column(j);
    if (n >= at.columns) continue;
    const float gamma = parameters[layer.gamma + n],
                inverse = law::inverse_deviation(parameters[layer.running_variance + n]);
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i)
      gradient[i][j] = law::batch_norm_inference_gradient(gradient[i][j], gamma, inverse);
  }
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <class T, bool inference>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) input_gradient_kernel(InputGradientArguments a) {
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  const int across = tiles(a.layer.in, T::kN);
  const int first_m = static_cast<int>(blockIdx.x) / across * T::kM,
            first_n = static_cast<int>(blockIdx.x) % across * T::kN;
  if (first_m >= rows) return;
  const int id = a.slots.member_of(slot);
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row

  float gradient[T::kPerM][T::kPerN] = {};
  const Operand delta{a.delta + place * a.layer.out_stride, nullptr, a.layer.out_stride};
  const Operand weight{parameters + a.layer.weight, nullptr, a.layer.in_stride};  // row j holds all k
  accumulate<T, Order::depth, Order::extent>(delta, first_m, rows, weight, first_n, a.layer.in, a.layer.out,
                                             gradient);

  const TilePlace<T> at{first_m, rows, first_n, a.below.out, a.below.out_stride};
  const auto differentiate = [&](float slope) {
    law::with_activation(a.below.activation, [&](auto kind) {
      if constexpr (inference || decltype(kind)::value != Activation::prelu)
        differentiate_tile<decltype(kind)::value, T>(a.kept + place * a.below.out_stride, at, slope,
                                                     gradient);
    });
  };
  if constexpr (inference) {
    if (a.below.hidden) {
      if (a.below.gamma >= 0) denormalize_tile<T>(a.below, parameters, at, gradient);
      differentiate(a.below.slope >= 0 ? parameters[a.below.slope] : 0.0f);
    }
  } else if (a.below.gamma < 0) {
    const Member& member = a.wave.members[id];
    if (member.hidden_dropout.threshold > 0)
      drop_tile<T>(member, static_cast<std::uint32_t>(a.below.number) + 1, a.wave.progress[id].update, at,
                   gradient);
    differentiate(0.0f);
  }
  store_tile<T>(a.gradient + place * a.below.out_stride, at, gradient);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <class T, bool inference>
void launch_tiles(Stream& stream, const InputGradientArguments& a) {
  const dim3 grid(static_cast<unsigned>(tiles(a.slots.capacity, T::kM) * tiles(a.layer.in, T::kN)),
                  static_cast<unsigned>(a.slots.count));
  launch(stream, "input_gradient", input_gradient_kernel<T, inference>, grid, dim3(T::kThreads),
         sizeof(Stages<T, Order::depth, Order::extent>), a);
}

template <bool inference>
void launch_by_rows(Stream& stream, const InputGradientArguments& a) {
  if (a.slots.capacity <= FewRows::kM) return launch_tiles<FewRows, inference>(stream, a);
  if (a.slots.capacity <= Square::kM) return launch_tiles<Square, inference>(stream, a);
  launch_tiles<Wide, inference>(stream, a);
}

}  // namespace

void launch_input_gradient(Stream& stream, const InputGradientArguments& a) {
  const NvtxRange range{"input gradient"};
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots,
          "input gradient: {} members at once; give 1 to {}", a.slots.count, kMaxSlots);
  require(a.layer.in == a.below.out && (a.below.hidden || a.inference),
          "input gradient: a layer of {} inputs after one of {} units", a.layer.in, a.below.out);
  require(!a.inference || a.precision == Precision::fp32, "input gradient: inference is in fp32");
  if (a.inference) return launch_by_rows<true>(stream, a);
  if (!is_on_tensor_cores(a.precision, a.layer)) return launch_by_rows<false>(stream, a);
  with_tensor_tile(a.precision, a.slots.capacity, [&]<class T>() { launch_tiles<T, false>(stream, a); });
}

}  // namespace occam::cuda
