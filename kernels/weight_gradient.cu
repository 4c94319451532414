// The gradients of layers' weights and biases over the samples of a batch, in batch order, and the
// optimiser's step while they are on the chip: they never reach device memory. All layers are one launch, so that few
// multiprocessors wait for the last blocks of each.

#include "tensor_tile.cuh"
#include "weight_step.cuh"

namespace occam::cuda {

namespace {

// A tile with stages for two turns of go_through_stages.
template <class T>
struct Deep : T {
  static constexpr int kDepth = 24;
};

// Of a precision's operands: the tiles of few units and of many, and blocks of a multiprocessor.
template <class P>
struct Gradients {
  using Many = WideOnTensorCores<P>;
  using Few = Deep<Tile<FewUnits::kThreadsM, Many::kThreads / FewUnits::kThreadsM, 4, 4>>;
  static constexpr int kBlocks = Many::kBlocks;
};
using Law = void;  // in the place of operands
template <>
struct Gradients<Law> {
  using Many = Deep<Square>;
  using Few = Deep<FewUnits>;
  static constexpr int kBlocks = 8;  // 128 registers a thread: more warps gain more
};

// Shared memory of a tile: two stages, then the gradients.
template <class T>
union GradientShared {
  Stages<T, Order::extent, Order::extent> stages;
  alignas(16) float gradient[T::kM * T::kN];
};

// The bias is one more input, which is 1; it has the first column behind the quads of the others.
__host__ __device__ int bias_column(const LayerView& layer) { return tiles(layer.in, kQuad) * kQuad; }

// Tiles that cover the inputs and the bias.
template <class T>
__host__ __device__ int tiles_across(const LayerView& layer) {
  return tiles(bias_column(layer) + 1, T::kN);
}

// f<tile>()
template <class P, class F>
__host__ __device__ auto with_tile(const LayerView& layer, const F& f) {
  using Of = Gradients<P>;
  if (layer.out <= kFewUnits) return f.template operator()<typename Of::Few>();
  return f.template operator()<typename Of::Many>();
}

}  // namespace

// ---- kernels ----------------------------------------------------------------------------------------------

// A block's tile: weight gradient[j][k] = Σ_s delta[s][j] · input[s][k]. A bias's input is 1: fmaf(d, 1, sum) is sum + d.
template <class T>
__device__ __forceinline__ void step_weights(const WeightGradientArguments& a, const WeightGradient& of,
                                             int block, int slot) {
  static_assert(T::kM <= T::kThreads, "a thread steps one unit's bias");
  const int rows = a.slots.rows[slot], across = tiles_across<T>(of.layer);
  const int first_m = block / across * T::kM, first_n = block % across * T::kN;
  const int id = a.slots.member_of(slot);
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row
  const int bias = bias_column(of.layer) - first_n;  // its column; in the last tile across
  const Operand delta{of.delta + place * of.layer.out_stride, nullptr, of.layer.out_stride};
  const Operand input = of.input ? Operand{of.input + place * of.layer.in_stride, nullptr, of.layer.in_stride}
                                 : Operand{a.wave.members[id].train_x, a.batch + place, of.layer.in_stride};
  auto& stage = shared<GradientShared<T>>();
  auto& stages = stage.stages;
  Loader<T::kM, T::kDepth, T::kThreads, Order::extent, 0, T::kPad> load_delta{delta, first_m, of.layer.out,
                                                                              rows,  -0.0f,   stages.a};
  Loader<T::kN, T::kDepth, T::kThreads, Order::extent, 0, T::kPad> load_input{input, first_n, of.layer.in,
                                                                              rows,  0.0f,    stages.b};
  if (bias < T::kN) {
    __syncthreads();  // zeros stand there
    for (int i = static_cast<int>(threadIdx.x); i < 2 * T::kDepth; i += T::kThreads)
      stages.b[i / T::kDepth].value[i % T::kDepth * (T::kN + T::kPad) + bias] = 1.0f;
  }
  float sum[T::kPerM][T::kPerN] = {};
  go_through_stages<true>(stages, load_delta, load_input, rows,
                          [&](const auto& deltas, const auto& inputs, int k) {
                            multiply_step<T, Order::extent, Order::extent>(deltas, inputs, k, sum);
                          });
  __syncthreads();
  put_gradients<T, T::kN>(stage.gradient, sum);
  __syncthreads();
  const Trainee trainee{a.wave, id};
  step_tile<T, T::kN>(trainee, of.layer, first_m, first_n, stage.gradient, [](int) { return true; });
  const int unit = static_cast<int>(threadIdx.x);
  if (bias < T::kN && unit < T::kM && first_m + unit < of.layer.out)
    trainee.step(of.layer.bias + first_m + unit, stage.gradient[unit * T::kN + (bias ^ 1)]);
}

template <class P>
__global__ void __launch_bounds__(Gradients<P>::Many::kThreads, Gradients<P>::kBlocks)
    weight_gradient_kernel(WeightGradientArguments a) {
  const int slot = static_cast<int>(blockIdx.y), block = static_cast<int>(blockIdx.x);
  if (a.slots.rows[slot] == 0) return;
  int i = 0;
  while (block >= a.end[i]) ++i;
  const WeightGradient& of = a.gradient[i];
  const int first = i > 0 ? a.end[i - 1] : 0;
  with_tile<P>(of.layer, [&]<class T>() { step_weights<T>(a, of, block - first, slot); });
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <class P>
void launch_gradients(Stream& stream, WeightGradientArguments a) {
  int blocks = 0;
  std::size_t bytes = 0;
  for (int i = 0; i < a.count; ++i) {
    const WeightGradient& of = a.gradient[i];
    require(of.delta && (of.input || a.batch), "weight gradients: no delta, or neither input nor batch");
    with_tile<P>(of.layer, [&]<class T>() {
      blocks += tiles(of.layer.out, T::kM) * tiles_across<T>(of.layer);
      if (bytes < sizeof(GradientShared<T>)) bytes = sizeof(GradientShared<T>);
    });
    a.end[i] = blocks;
  }
  launch(stream, "weight_gradient", weight_gradient_kernel<P>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(a.slots.count)),
         dim3(Gradients<P>::Many::kThreads), bytes, a);
}

}  // namespace

void launch_weight_gradients(Stream& stream, const WeightGradientArguments& a) {
  const NvtxRange range{"weight gradients"};
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots,
          "weight gradients: {} members at once; give 1 to {}", a.slots.count, kMaxSlots);
  require(a.count >= 1 && a.count <= kMaxGradients, "weight gradients: {} layers at once; give 1 to {}",
          a.count, kMaxGradients);
  if (a.precision == Precision::fp32) return launch_gradients<Law>(stream, a);
  with_operands(a.precision, [&]<class P>() { launch_gradients<P>(stream, a); });
}

}  // namespace occam::cuda
