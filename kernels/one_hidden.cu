// One hidden layer, wider than the chip: its activations are what passes through memory, written once and read once.
// Forward, a block owns 128 samples and goes through all units in their order, tile by tile, so that logits grow
// beside the product and the loss follows at once. Backward, a block owns 128 units and goes through all samples: it
// makes the layer's gradient from the logits' and the activations as it needs them, and steps both layers' weights
// of its units.

#include "one_hidden.hpp"

#include "forward.cuh"
#include "law/loss.hpp"
#include "weight_step.cuh"

namespace occam::cuda {

namespace {

// All inputs are one stage.
struct DeepTile : Wide {
  static constexpr int kDepth = kOneHiddenInputs;
};
using SampleStage = Stage<DeepTile::kM, DeepTile::kDepth, Order::depth>;
using UnitStage = Stage<DeepTile::kN, DeepTile::kDepth, Order::depth>;
static_assert(padded(kOneHiddenOutputs) == kQuad);
using GradientTile = Wide;  // units × inputs

constexpr int kHiddenStride = DeepTile::kN + kQuad;  // an odd number of quads

struct ForwardShared {
  alignas(16) SampleStage x;
  alignas(16) UnitStage weight[2];  // of a tile of units; one is used while the other is filled
  alignas(16) float last[2][kOneHiddenOutputs][DeepTile::kN];  // the last layer's, of the same units
  alignas(16) float hidden[DeepTile::kM * kHiddenStride];
};

struct BackwardShared {
  alignas(16) Stage<GradientTile::kM, GradientTile::kDepth, Order::extent> delta[2],
      hidden[2];  // [sample][unit]
  alignas(16) Stage<GradientTile::kN, GradientTile::kDepth, Order::extent> x[2];
  alignas(16) float logits[2][GradientTile::kDepth][kQuad];  // their gradients
  alignas(16) float last[kOneHiddenOutputs][GradientTile::kM];
};

}  // namespace

// ---- building blocks --------------------------------------------------------------------------------------

__device__ __forceinline__ Operand rows_of(const OneHiddenArguments& a, const Member& member,
                                           std::int64_t place) {
  return a.input ? Operand{a.input + place * a.hidden.in_stride, nullptr, a.hidden.in_stride}
                 : Operand{member.train_x, a.batch + place, a.hidden.in_stride};
}

// Fetches what tiles of units need: their weights, in the order of staged_column, and the last layer's. What does
// not exist stays as it is. A thread has the same places of every tile, whose offsets it works out once.
class UnitLoader {
 public:
  using T = DeepTile;

  __device__ __forceinline__ UnitLoader(const OneHiddenArguments& a, const float* parameters)
      : units_(a.hidden.out), stride_(a.hidden.in_stride), weight_(parameters + a.hidden.weight) {
    const int quads = (a.hidden.in + kQuad - 1) / kQuad, thread = static_cast<int>(threadIdx.x);
    OCCAM_UNROLL
    for (int i = 0; i < kPlaces; ++i) {
      const int item = thread + i * T::kThreads, row = item / quads, at = item % quads * kQuad;
      unit_[i] = row < T::kN ? staged_column<T::kThreadsN>(row) : units_;  // beyond every tile
      from_[i] = unit_[i] * stride_ + at, to_[i] = row * UnitStage::kStride + at;
    }
    const int c = thread / (T::kN / kQuad), at = thread % (T::kN / kQuad) * kQuad;
    last_unit_ = c < a.last.out ? at : units_, last_to_ = c * T::kN + at;
    last_ = parameters + a.last.weight +
            static_cast<std::int64_t>(c < a.last.out ? c : 0) * a.last.in_stride + at;
  }

  // Starts with the tile of units from `first_n` on.
  __device__ __forceinline__ void start(int first_n, UnitStage& weight, float* last) const {
    const float* const from = weight_ + static_cast<std::int64_t>(first_n) * stride_;
    OCCAM_UNROLL
    for (int i = 0; i < kPlaces; ++i)
      copy_async_if(first_n + unit_[i] < units_, weight.value + to_[i], from + from_[i]);
    copy_async_if(first_n + last_unit_ < units_, last + last_to_, last_ + first_n);
    copy_async_commit();
  }

 private:
  static constexpr int kPlaces = T::kN * kOneHiddenInputs / kQuad / T::kThreads;
  static_assert(T::kThreads >= kOneHiddenOutputs * T::kN / kQuad,
                "a thread has one quad of the last layer's");

  int units_, stride_;
  const float *weight_, *last_;
  int unit_[kPlaces], from_[kPlaces], to_[kPlaces], last_unit_, last_to_;
};

// ---- kernels ----------------------------------------------------------------------------------------------

template <int outputs>
__global__ void __launch_bounds__(DeepTile::kThreads, 2) one_hidden_forward_kernel(OneHiddenArguments a) {
  using T = DeepTile;
  static_assert(T::kM == T::kThreads, "a thread has a sample's logits");
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot],
            thread = static_cast<int>(threadIdx.x);
  const int first_m = static_cast<int>(blockIdx.x) * T::kM;
  if (first_m >= rows) return;
  const int id = a.slots.member_of(slot), units = a.hidden.out;
  const Member& member = a.wave.members[id];
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row
  auto& stage = shared<ForwardShared>();

  for (int i = thread; i < static_cast<int>(sizeof(ForwardShared) / 4); i += T::kThreads)
    reinterpret_cast<float*>(&stage)[i] = 0.0f;
  __syncthreads();
  const Operand x = rows_of(a, member, place);
  const int quads = (a.hidden.in + kQuad - 1) / kQuad;
  for (int item = thread; item < T::kM * quads; item += T::kThreads) {
    const int row = item / quads, at = item % quads * kQuad;
    if (first_m + row < rows)
      copy_async<16>(stage.x.value + row * SampleStage::kStride + at, x.row(first_m + row) + at);
  }
  const UnitLoader load_units(a, parameters);
  load_units.start(0, stage.weight[0], &stage.last[0][0][0]);

  float logit[outputs];
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c) logit[c] = parameters[a.last.bias + c];
  for (int first_n = 0, now = 0; first_n < units; first_n += T::kN, now ^= 1) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and nobody reads the one before any more
    if (first_n + T::kN < units)
      load_units.start(first_n + T::kN, stage.weight[now ^ 1], &stage.last[now ^ 1][0][0]);
    float value[T::kPerM][T::kPerN];
    start_forward<T>(a.hidden, parameters, first_n, value);
    OCCAM_NO_UNROLL
    for (int k = 0; k < a.hidden.in; k += kQuad)
      multiply_quad<T, Order::depth, Order::depth>(stage.x, stage.weight[now], k, value);
    law::with_activation(a.hidden.activation, [&](auto kind) {
      OCCAM_UNROLL
      for (int i = 0; i < T::kPerM; ++i) {
        OCCAM_UNROLL
        for (int j = 0; j < T::kPerN; ++j)
          value[i][j] = law::activate<decltype(kind)::value>(value[i][j], 0.0f);
      }
    });
    store_tile<T>(a.activations + place * a.hidden.out_stride,
                  {first_m, rows, first_n, units, a.hidden.out_stride}, value);
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; j += kQuad)
        *reinterpret_cast<float4*>(stage.hidden + T::row<Order::depth>(i) * kHiddenStride + T::column(j)) =
            make_float4(value[i][j], value[i][j + 1], value[i][j + 2], value[i][j + 3]);
    }
    __syncthreads();
    const int left = units - first_n < T::kN ? units - first_n : T::kN;
    OCCAM_UNROLL_TWICE
    for (int k = 0; k < left; k += kQuad) {
      float h[kQuad];
      read_steps(stage.hidden + thread * kHiddenStride + k, h);
      OCCAM_UNROLL
      for (int c = 0; c < outputs; ++c) {
        float w[kQuad];
        read_steps(&stage.last[now][c][k], w);
        OCCAM_UNROLL
        for (int step = 0; step < kQuad; ++step)
          if (k + step < left) logit[c] = law::fma(h[step], w[step], logit[c]);
      }
    }
  }
  const int sample = first_m + thread;
  if (sample >= rows) return;
  float* const logits = a.logits + (place + sample) * kQuad;
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c) logits[c] = logit[c];
  law::sample_loss_gradient(a.loss, logits, outputs, member.train_y[a.batch[place + sample]],
                            1.0f / static_cast<float>(rows), logits);
}

template <int outputs>
__global__ void __launch_bounds__(GradientTile::kThreads, GradientTile::kBlocks)
    one_hidden_backward_kernel(OneHiddenArguments a) {
  using T = GradientTile;
  static_assert(T::kM == T::kThreads && T::kN >= kOneHiddenInputs, "a thread has a unit's bias");
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot],
            thread = static_cast<int>(threadIdx.x);
  if (rows == 0) return;
  const int first_m = static_cast<int>(blockIdx.x) * T::kM, unit = first_m + thread;
  const int id = a.slots.member_of(slot), units = a.hidden.out;
  const Member& member = a.wave.members[id];
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row
  auto& stage = shared<BackwardShared>();
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c)
    stage.last[c][thread] =
        unit < units ? parameters[a.last.weight + static_cast<std::int64_t>(c) * a.last.in_stride + unit]
                     : 0.0f;
  const Loader<T::kN, T::kDepth, T::kThreads, Order::extent, T::kThreadsN> load_x{
      rows_of(a, member, place), 0, a.hidden.in, rows, 0.0f, stage.x};

  // A thread has quads of a few samples' activations in hand, those of the next stage while this one is multiplied.
  constexpr int kAcross = T::kM / kQuad, kChunks = T::kDepth * kAcross / T::kThreads;
  const int quad = thread % kAcross * kQuad;
  const auto sample_of = [&](int c) { return thread / kAcross + c * (T::kThreads / kAcross); };
  float hidden[kChunks][kQuad], logits[kChunks][outputs];
  const float* const h_from = a.activations + (place + sample_of(0)) * a.hidden.out_stride + first_m + quad;
  const float* const logits_from = a.logits + (place + sample_of(0)) * kQuad;
  const auto fetch = [&](int first_k) {
    const float* h = h_from + static_cast<std::int64_t>(first_k) * a.hidden.out_stride;
    const float* of_sample = logits_from + static_cast<std::int64_t>(first_k) * kQuad;
    OCCAM_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      if (first_k + sample_of(c) < rows && first_m + quad < units) {
        read_steps(h, hidden[c]);
        OCCAM_UNROLL
        for (int o = 0; o < outputs; ++o) logits[c][o] = of_sample[o];
      }
      h += (T::kThreads / kAcross) * a.hidden.out_stride, of_sample += T::kThreads / kAcross * kQuad;
    }
  };
  // hidden, its gradient dL/dz and the logits' to shared memory.
  const auto put = [&](int first_k, int to) {
    law::with_activation(a.hidden.activation, [&](auto kind) {
      OCCAM_UNROLL
      for (int c = 0; c < kChunks; ++c) {
        const int s = sample_of(c);
        const bool exists = first_k + s < rows && first_m + quad < units;
        float delta[kQuad] = {};
        OCCAM_UNROLL
        for (int o = 0; o < outputs; ++o) {
          OCCAM_UNROLL
          for (int e = 0; e < kQuad; ++e)
            delta[e] = law::fma(logits[c][o], stage.last[o][quad + e], delta[e]);
        }
        OCCAM_UNROLL
        for (int e = 0; e < kQuad; ++e)
          delta[e] = exists ? law::activation_gradient<decltype(kind)::value>(delta[e], hidden[c][e],
                                                                              hidden[c][e], 0.0f)
                            : kPadding;
        *reinterpret_cast<float4*>(stage.delta[to].value + s * T::kM + quad) =
            make_float4(delta[0], delta[1], delta[2], delta[3]);
        *reinterpret_cast<float4*>(stage.hidden[to].value + s * T::kM + quad) =
            exists ? make_float4(hidden[c][0], hidden[c][1], hidden[c][2], hidden[c][3])
                   : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (quad != 0) continue;
        OCCAM_UNROLL
        for (int o = 0; o < outputs; ++o) stage.logits[to][s][o] = logits[c][o];
      }
    });
  };

  float gradient[T::kPerM][T::kPerN] = {}, bias_gradient = 0.0f, last_bias = 0.0f;
  float last[outputs] = {};
  OCCAM_UNROLL
  for (int c = 0; c < kChunks; ++c) {
    OCCAM_UNROLL
    for (int e = 0; e < kQuad; ++e) hidden[c][e] = 0.0f;
    OCCAM_UNROLL
    for (int o = 0; o < outputs; ++o) logits[c][o] = 0.0f;
  }
  const bool has_bias = unit < units, has_last_bias = blockIdx.x == 0 && thread < outputs;
  load_x.start(stage.x[0], 0);
  copy_async_commit();
  fetch(0);
  __syncthreads();  // the last layer's weights are there
  for (int k = 0, now = 0; k < rows; k += T::kDepth, now ^= 1) {
    put(k, now);
    copy_async_wait<0>();
    __syncthreads();  // this stage is there, and nobody reads the other one any more
    if (k + T::kDepth < rows) {
      load_x.start(stage.x[now ^ 1], k + T::kDepth);
      copy_async_commit();
      fetch(k + T::kDepth);
    }
    const int steps = rows - k < T::kDepth ? rows - k : T::kDepth;
    OCCAM_NO_UNROLL
    for (int step = 0; step < steps; step += kQuad)
      multiply_quad<T, Order::extent, Order::extent>(stage.delta[now], stage.x[now], step, gradient);
#pragma unroll 8  // their loads overlap
    for (int s = 0; s < steps; ++s) {
      bias_gradient += stage.delta[now].value[s * T::kM + thread];
      const float h = stage.hidden[now].value[s * T::kM + thread];
      OCCAM_UNROLL
      for (int c = 0; c < outputs; ++c) last[c] = law::fma(stage.logits[now][s][c], h, last[c]);
    }
    if (has_last_bias)
      for (int s = 0; s < steps; ++s) last_bias += stage.logits[now][s][thread];
  }

  step_weights<T>({a.wave, a.slots, a.hidden, nullptr, nullptr, nullptr}, id, first_m, 0, gradient, has_bias,
                  bias_gradient, [](int) { return true; });
  const Trainee trainee{a.wave, id};
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c)
    if (has_bias)
      trainee.step(a.last.weight + static_cast<std::int64_t>(c) * a.last.in_stride + unit, last[c]);
  if (has_last_bias) trainee.step(a.last.bias + thread, last_bias);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {
void check(const OneHiddenArguments& a) {
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots,
          "one hidden layer: {} members at once; give 1 to {}", a.slots.count, kMaxSlots);
  require(a.hidden.in <= kOneHiddenInputs && a.last.out <= kOneHiddenOutputs,
          "one hidden layer: {} inputs and {} outputs; at most {} and {}", a.hidden.in, a.last.out,
          kOneHiddenInputs, kOneHiddenOutputs);
}
}  // namespace

void launch_one_hidden_forward(Stream& stream, const OneHiddenArguments& a) {
  const NvtxRange range{"one hidden layer, forward"};
  check(a);
  launch(stream, "one_hidden_forward",
         a.last.out == 1 ? one_hidden_forward_kernel<1> : one_hidden_forward_kernel<2>,
         dim3(static_cast<unsigned>(tiles(a.slots.capacity, DeepTile::kM)),
              static_cast<unsigned>(a.slots.count)),
         dim3(DeepTile::kThreads), sizeof(ForwardShared), a);
}

void launch_one_hidden_backward(Stream& stream, const OneHiddenArguments& a) {
  const NvtxRange range{"one hidden layer, backward"};
  check(a);
  launch(stream, "one_hidden_backward",
         a.last.out == 1 ? one_hidden_backward_kernel<1> : one_hidden_backward_kernel<2>,
         dim3(static_cast<unsigned>(tiles(a.hidden.out, GradientTile::kM)),
              static_cast<unsigned>(a.slots.count)),
         dim3(GradientTile::kThreads), sizeof(BackwardShared), a);
}

}  // namespace occam::cuda
