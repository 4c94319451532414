// One hidden layer, wider than the chip, backward. A block owns 128 units and goes through all samples: it makes the
// layer's gradient from the logits' and the activations as it needs them, and steps both layers' weights of its units.

#include "one_hidden.cuh"
#include "weight_step.cuh"

namespace occam::cuda {

namespace {

// The last of the columns behind the quads stands for the bias: its input is 1.
struct OneHiddenTile : GradientTile<16, 4> {
  static constexpr int kSamples = 16;               // of a stage
  static constexpr int kBias = kStride - 1;         // the column
  static constexpr int kUnitsEach = kM / kThreads;  // whose activations and last weights a thread has
};
static_assert(kOneHiddenInputs <= OneHiddenTile::kBias);
static_assert(OneHiddenTile::kUnitsEach == 2, "pairs are read at once");

struct BackwardStages {
  alignas(16) float delta[2][OneHiddenTile::kSamples][OneHiddenTile::kM];
  alignas(16) float x[2][OneHiddenTile::kSamples][OneHiddenTile::kStride];
  alignas(16) float logits[2][OneHiddenTile::kSamples][kOneHiddenOutputs];  // their gradients
};
union BackwardShared {
  BackwardStages stages;
  alignas(16) float gradient[OneHiddenTile::kM][OneHiddenTile::kStride];  // once all samples are done with
};

}  // namespace

// ---- kernels ----------------------------------------------------------------------------------------------

template <int outputs, bool relu>
__global__ void __launch_bounds__(OneHiddenTile::kThreads, 4)
    one_hidden_backward_kernel(OneHiddenArguments a) {
  using T = OneHiddenTile;
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot],
            thread = static_cast<int>(threadIdx.x);
  if (rows == 0) return;
  const int first_m = static_cast<int>(blockIdx.x) * T::kM, unit = first_m + thread * T::kUnitsEach;
  const int id = a.slots.member_of(slot), units = a.hidden.out;
  const Member& member = a.wave.members[id];
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row
  BackwardStages& stage = shared<BackwardShared>().stages;

  // Four threads copy a sample's inputs: whole quads, and what is behind them one by one up to the bias. Which row
  // comes next they know one stage ahead.
  const Operand x = rows_of(a, member, place);
  static_assert(T::kSamples * T::kThreadsN == T::kThreads);
  const int sample = thread / T::kThreadsN, across = thread % T::kThreadsN;
  const auto row_at = [&](int first_k) {
    const int k = first_k + sample < rows ? first_k + sample : 0;
    return x.index ? x.index[k] : static_cast<std::uint32_t>(k);
  };
  std::uint32_t next_row = row_at(0);
  const auto start_rows = [&](int first_k, int to) {
    const int inputs = first_k + sample < rows ? a.hidden.in : 0;
    const float* const row = x.data + next_row * x.stride;  // the number has arrived by now
    OCCAM_UNROLL
    for (int at = kQuad * across, q = 0; q < T::kPerN / kQuad; ++q, at += kQuad * T::kThreadsN)
      copy_async_if(at < inputs, &stage.x[to][sample][at], row + at);
    const int at = T::kN + across;
    copy_async_if<4>(at < inputs, &stage.x[to][sample][at], row + at);
  };
  const auto start_logits = [&](int first_k, int to) {
    if (thread < T::kSamples && first_k + thread < rows)
      copy_async<4 * outputs>(stage.logits[to][thread], a.logits + (place + first_k + thread) * kQuad);
  };

  // Of its two units a thread has the activations of a stage in hand while the one before is multiplied, and the last
  // layer's weights and their gradients.
  float hidden[T::kSamples][T::kUnitsEach], weight[outputs][T::kUnitsEach] = {},
                                            last[outputs][T::kUnitsEach] = {};
  const auto read_pair = [](const float* from, float(&to)[T::kUnitsEach]) {
    const float2 pair = *reinterpret_cast<const float2*>(from);
    to[0] = pair.x, to[1] = pair.y;
  };
  const float* const hidden_from = a.activations + place * a.hidden.out_stride + unit;
  const auto fetch = [&](int first_k) {
    const float* from = hidden_from + static_cast<std::int64_t>(first_k) * a.hidden.out_stride;
    if (unit >= units) return;
    if (first_k + T::kSamples <= rows) {
      OCCAM_UNROLL
      for (int s = 0; s < T::kSamples; ++s) read_pair(from + s * a.hidden.out_stride, hidden[s]);
    } else {
      OCCAM_UNROLL
      for (int s = 0; s < T::kSamples; ++s)
        if (first_k + s < rows) read_pair(from + s * a.hidden.out_stride, hidden[s]);
    }
  };
  // The layer's gradient dL/dz of a stage goes to shared memory, its part of the last layer's gradients to their sums.
  float last_bias = 0.0f;
  const bool has_last_bias = blockIdx.x == 0 && thread < outputs;
  const auto put = [&](int first_k, int to) {
    const int samples = rows - first_k;
    if (has_last_bias) {
      OCCAM_NO_UNROLL
      for (int s = 0; s < T::kSamples && s < samples; ++s) last_bias += stage.logits[to][s][thread];
    }
    with_activation<relu>(a.hidden.activation, [&](auto kind) {
      // Read together, two samples at a time: a store in between would hold the next read back.
      float all_logits[T::kSamples][kOneHiddenOutputs];
      OCCAM_UNROLL
      for (int s = 0; s < T::kSamples; s += 2) {
        float quad[kQuad];
        read_steps(stage.logits[to][s], quad);
        all_logits[s][0] = quad[0], all_logits[s][1] = quad[1];
        all_logits[s + 1][0] = quad[2], all_logits[s + 1][1] = quad[3];
      }
      const auto one = [&](int s) {
        const auto& logits = all_logits[s];
        float delta[T::kUnitsEach] = {};
        OCCAM_UNROLL
        for (int o = 0; o < outputs; ++o) {
          OCCAM_UNROLL
          for (int e = 0; e < T::kUnitsEach; ++e) {
            delta[e] = law::fma(logits[o], weight[o][e], delta[e]);
            last[o][e] = law::fma(logits[o], hidden[s][e], last[o][e]);
          }
        }
        OCCAM_UNROLL
        for (int e = 0; e < T::kUnitsEach; ++e)
          delta[e] =
              law::activation_gradient<decltype(kind)::value>(delta[e], hidden[s][e], hidden[s][e], 0.0f);
        *reinterpret_cast<float2*>(&stage.delta[to][s][thread * T::kUnitsEach]) =
            make_float2(delta[0], delta[1]);
      };
      if (samples >= T::kSamples) {
        OCCAM_UNROLL
        for (int s = 0; s < T::kSamples; ++s) one(s);
      } else {
        OCCAM_UNROLL
        for (int s = 0; s < T::kSamples; ++s)
          if (s < samples) one(s);
      }
    });
  };

  OCCAM_UNROLL
  for (int s = 0; s < T::kSamples; ++s) hidden[s][0] = hidden[s][1] = 0.0f;
  fetch(0);
  OCCAM_UNROLL
  for (int o = 0; o < outputs; ++o)
    if (unit < units)
      read_pair(parameters + a.last.weight + static_cast<std::int64_t>(o) * a.last.in_stride + unit,
                weight[o]);
  // The bias's input; those of the layer's inputs follow, and what others stand for is not kept.
  for (int i = thread; i < 2 * T::kSamples * T::kStride / kQuad; i += T::kThreads)
    reinterpret_cast<float4*>(stage.x)[i] = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
  // Logits are read by fours, whether all exist or not.
  static_assert(2 * T::kSamples * kOneHiddenOutputs == T::kThreads);
  (&stage.logits[0][0][0])[thread] = 0.0f;
  __syncthreads();
  start_rows(0, 0);
  next_row = row_at(T::kSamples);
  start_logits(0, 0);
  start_logits(T::kSamples, 1);
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  put(0, 0);
  fetch(T::kSamples);

  GradientSums<T> sums;
  for (int k = 0, now = 0; k < rows; k += T::kSamples, now ^= 1) {
    copy_async_wait<0>();
    __syncthreads();  // this stage is there, and nobody reads the one before any more
    if (k + T::kSamples < rows) {
      start_rows(k + T::kSamples, now ^ 1);
      next_row = row_at(k + 2 * T::kSamples);
      start_logits(k + 2 * T::kSamples, now);
      copy_async_commit();
      put(k + T::kSamples, now ^ 1);
      fetch(k + 2 * T::kSamples);
    }
    const int samples = rows - k < T::kSamples ? rows - k : T::kSamples;
    const float* delta = &stage.delta[now][0][kQuad * T::m()];
    const float *quads = &stage.x[now][0][kQuad * T::n()], *column = &stage.x[now][0][T::kN + T::n()];
#pragma unroll 8
    for (int s = 0; s < samples; ++s, delta += T::kM, quads += T::kStride, column += T::kStride)
      sums.add(delta, quads, *column);
  }

  // By way of shared memory gradients meet their weights in the order of memory.
  auto& gradients = shared<BackwardShared>().gradient;
  __syncthreads();
  put_gradients(&gradients[0][0], sums);
  __syncthreads();
  const Trainee trainee{a.wave, id};
  step_tile<T, T::kStride>(trainee, a.hidden, first_m, 0, &gradients[0][0], [](int) { return true; });
  // The biases of the thread's units, the last layer's weights behind them, and a bias of that.
  constexpr int kSingle = T::kUnitsEach * (1 + outputs) + 1;
  std::int64_t offset[kSingle];
  bool exists[kSingle];
  float of[kSingle];
  OCCAM_UNROLL
  for (int e = 0; e < T::kUnitsEach; ++e) {
    offset[e] = a.hidden.bias + unit + e, exists[e] = unit + e < units;
    of[e] = gradients[thread * T::kUnitsEach + e][T::kBias ^ 1];
    OCCAM_UNROLL
    for (int o = 0; o < outputs; ++o) {
      const int i = (1 + o) * T::kUnitsEach + e;
      offset[i] = a.last.weight + static_cast<std::int64_t>(o) * a.last.in_stride + unit + e;
      exists[i] = unit + e < units, of[i] = last[o][e];
    }
  }
  offset[kSingle - 1] = a.last.bias + thread;
  exists[kSingle - 1] = has_last_bias, of[kSingle - 1] = last_bias;
  step_each(trainee, offset, exists, of);
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_one_hidden_backward(Stream& stream, const OneHiddenArguments& a) {
  const NvtxRange range{"one hidden layer, backward"};
  check_one_hidden(a);
  with_one_hidden_variant(a, [&]<int outputs, bool relu>() {
    launch(stream, "one_hidden_backward", one_hidden_backward_kernel<outputs, relu>,
           dim3(static_cast<unsigned>(tiles(a.hidden.out, OneHiddenTile::kM)),
                static_cast<unsigned>(a.slots.count)),
           dim3(OneHiddenTile::kThreads), sizeof(BackwardShared), a);
  });
}

}  // namespace occam::cuda
