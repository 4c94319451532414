// An update of layers that are too large for plan resident and not wider than 300 units, up to their weights' steps: a
// block owns 128 samples and takes them through all layers, through the loss, and back to the gradient of the first
// layer. What the weights' steps need goes to memory, activations and gradients, each written once; within the pass
// only weights are read and, unless they are ReLU's, activations once more.

#include "sample_pass.cuh"

#include "law/loss.hpp"

namespace occam::cuda {

// ---- kernel -----------------------------------------------------------------------------------------------

template <class T, bool relu>
__global__ void __launch_bounds__(T::kThreads) sample_pass_kernel(SamplePassArguments a) {
  const int slot = static_cast<int>(blockIdx.y), first = static_cast<int>(blockIdx.x) * T::kM,
            thread = static_cast<int>(threadIdx.x);
  const int rows = a.slots.rows[slot], samples = rows - first < T::kM ? rows - first : T::kM;
  if (samples <= 0) return;
  const int id = a.slots.member_of(slot), hidden = a.layers - 1;
  const Member& member = a.wave.members[id];
  const float* const parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place =
      static_cast<std::int64_t>(slot) * a.slots.capacity + first;  // of the first sample
  const LayerView& last = a.layer[hidden];
  auto& stage = shared<PassShared<T>>();

  // What is read and never used; rows only if there are not all samples.
  constexpr int kAllQuads = static_cast<int>(sizeof stage / sizeof(float4)),
                kRowQuads = T::kM * T::kStride / kQuad;
  for (int i = (samples < T::kM ? 0 : kRowQuads) + thread; i < kAllQuads; i += T::kThreads)
    reinterpret_cast<float4*>(&stage)[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  __syncthreads();

  // The first rows, four features a copy; pairs are swapped where they lie.
  const int own_sample = thread % 8 + thread % 32 / 8 * 16 + thread / 32 % 2 * 8 + thread / 64 * 64;
  std::int32_t label = 0;
  if (own_sample < samples && thread < T::kM) label = member.train_y[a.batch[place + own_sample]];
  constexpr int kAcross = 16, kDown = T::kThreads / kAcross;  // threads of a row, rows at once
  const int inputs = a.layer[0].in, in_stride = a.layer[0].in_stride;
  const auto each_row = [&](const auto& f) {
    OCCAM_UNROLL
    for (int row = thread / kAcross, i = 0; i < (T::kM + kDown - 1) / kDown; ++i, row += kDown)
      if (row < samples) f(i, row);
  };
  const float* const from = a.input ? a.input : member.train_x;
  std::int64_t picked[(T::kM + kDown - 1) / kDown] = {};  // all at once, before the first is waited for
  each_row([&](int i, int row) { picked[i] = a.input ? place + row : a.batch[place + row]; });
  each_row([&](int i, int row) {
    OCCAM_NO_UNROLL
    for (int k = thread % kAcross * kQuad; k < inputs; k += kAcross * kQuad)
      copy_async<16>(stage.rows + row * T::kStride + k, from + picked[i] * in_stride + k);
  });
  copy_async_commit();
  OCCAM_NO_UNROLL
  for (int o = 0; o < last.out; ++o)
    for (int n = thread * kQuad; n < last.in; n += T::kThreads * kQuad)
      copy_async<16>(stage.last[o] + n, parameters + last.weight + o * last.in_stride + n);
  // Stages of a forward product, with its biases the first one.
  auto& stages = stage.weight[T::pair()];
  const auto start_forward = [&](int l, int k, float* to) {
    start_columns<T>(a.layer[l], parameters, k, to);
    if (k == 0) start_bias<T>(a.layer[l], parameters, stage.bias[T::pair()][l % 2]);
  };
  start_forward(0, 0, stages[0]);
  copy_async_commit();
  copy_async_wait<1>();
  each_row([&](int, int row) {
    if (!pass_swaps(row / T::kThreadsM)) return;
    OCCAM_NO_UNROLL
    for (int k = thread % kAcross * kQuad; k < inputs; k += kAcross * kQuad) {
      float4& at = *reinterpret_cast<float4*>(stage.rows + row * T::kStride + k);
      at = make_float4(at.y, at.x, at.w, at.z);
    }
  });
  __syncthreads();

  // Forward. A layer's activations take the place of its inputs.
  typename T::Value value;
  float* const own = stage.rows + T::m() * T::kStride;
  RowStore<T> store(stage.rows, samples);
  int now = 0;  // the stage that comes next
  // value += the rows by a product's weights, four of its depth at a time. While one stage is used start(k, to) starts
  // the copies of the next, after the last one next(to) those of the next product's first.
  const auto go_through = [&](int depth, const auto& start, const auto& next, const auto& multiply) {
    OCCAM_NO_UNROLL
    for (int k = 0; k < depth; k += T::kDepth) {
      copy_async_wait<0>();
      // The stage has arrived, and neither warp of the pair reads the other one any more.
      named_barrier(1 + T::pair(), T::kPairThreads);
      const float* const weight = stages[now];
      now ^= 1;
      if (k + T::kDepth < depth)
        start(k + T::kDepth, stages[now]);
      else
        next(stages[now]);
      copy_async_commit();
      store.step();
      OCCAM_NO_UNROLL
      for (int step = 0; step < T::kDepth && k + step < depth; step += kQuad)
        multiply(own + k + step, weight, step);
    }
    store.finish();
  };
  for (int l = 0; l < hidden; ++l) {
    const LayerView& layer = a.layer[l];
    copy_async_wait<0>();
    named_barrier(1 + T::pair(), T::kPairThreads);  // the biases have arrived
    float bias[T::kPerN];
    read_columns<T>(stage.bias[T::pair()][l % 2], bias);
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; ++j) value[i][j] = bias[j];
    }
    go_through(
        layer.in, [&](int k, float* to) { start_forward(l, k, to); },
        [&](float* to) {
          if (l + 1 < hidden)
            start_forward(l + 1, 0, to);
          else if (l > 0)
            start_units<T>(layer, parameters, 0, to);
        },
        [&](const float* at, const float* weight, int step) {
          multiply_columns<T>(at, weight + T::across() * T::kDepth + staged_depth(step, T::across()), value);
        });
    __syncthreads();  // nobody reads the inputs any more
    put_sums<T>(own, layer.out, value);
    __syncthreads();
    with_activation<relu>(layer.activation, [&](auto kind) {
      finish_rows<T>(stage.rows, layer.out, [&](RowQuads<T>& q) {
        unsigned positive = 0;
        OCCAM_UNROLL
        for (int i = 0; i < RowQuads<T>::kCount; ++i) {
          float4& quad = q.quad[i];
          quad = each_of(quad, quad,
                         [](float z, float) { return law::activate<decltype(kind)::value>(z, 0.0f); });
          positive |= signs_of(quad) << kQuad * i;
        }
        if (relu && l + 1 < hidden) stage.positive[l][q.number][thread] = positive;
      });
    });
    __syncthreads();
    store.begin(a.output[l] + place * layer.out_stride, layer.out, layer.out_stride);
  }

  // Logits and the loss's gradient: a thread has a sample, whose chains go through all units. Pairs are swapped for odd
  // warps, for even ones they lie as they are.
  if (thread < T::kM) {
    float logit[kPassOutputs];
    OCCAM_UNROLL
    for (int o = 0; o < kPassOutputs; ++o) logit[o] = o < last.out ? parameters[last.bias + o] : 0.0f;
    const float* const row = stage.rows + own_sample * T::kStride;
    const auto chains = [&](auto swaps) {
#pragma unroll 4
      for (int k = 0; k < last.in; k += kQuad) {
        float h[kQuad];
        read_steps(row + k, h);
        OCCAM_UNROLL
        for (int o = 0; o < kPassOutputs; ++o) {
          float w[kQuad];
          read_steps(stage.last[o] + k, w);
          OCCAM_UNROLL
          for (int step = 0; step < kQuad; ++step)
            logit[o] = law::fma(h[decltype(swaps)::value ? step ^ 1 : step], w[step], logit[o]);
        }
      }
    };
    if (thread / 32 % 2 == 0)
      chains(std::false_type{});
    else
      chains(std::true_type{});
    if (own_sample < samples) {
      float* const logits = stage.logits[own_sample];
      OCCAM_UNROLL
      for (int o = 0; o < kPassOutputs; ++o) logits[o] = logit[o];
      law::sample_loss_gradient(a.loss, logits, last.out, label, 1.0f / static_cast<float>(rows), logits);
      store_quad(a.delta[hidden] + (place + own_sample) * last.out_stride, 0, last.out,
                 make_float4(logits[0], logits[1], 0.0f, 0.0f));
    }
  }
  store.finish();  // of the last activations, half of the warps beside the chains
  __syncthreads();

  // Backward. A layer's gradient takes the place of the one above; the first of them that of its own activations.
  with_activation<relu>(a.layer[hidden - 1].activation, [&](auto kind) {
    const LayerView& layer = a.layer[hidden - 1];
    finish_rows<T>(stage.rows, layer.out, [&](RowQuads<T>& q) {
      const float4 w0 = *reinterpret_cast<const float4*>(stage.last[0] + q.at),
                   w1 = *reinterpret_cast<const float4*>(stage.last[1] + q.at);
      OCCAM_UNROLL
      for (int i = 0; i < RowQuads<T>::kCount; ++i) {
        const float2 logits =
            *reinterpret_cast<const float2*>(stage.logits[q.first + i * RowQuads<T>::kDown]);
        float4 delta = each_of(w0, w0, [&](float w, float) { return law::fma(logits.x, w, 0.0f); });
        if (last.out > 1)
          delta = each_of(w1, delta, [&](float w, float sum) { return law::fma(logits.y, w, sum); });
        q.quad[i] = each_of(delta, q.quad[i], [](float gradient, float h) {
          return law::activation_gradient<decltype(kind)::value>(gradient, h, h, 0.0f);
        });
      }
    });
  });
  __syncthreads();
  store.begin(a.delta[hidden - 1] + place * a.layer[hidden - 1].out_stride, a.layer[hidden - 1].out,
              a.layer[hidden - 1].out_stride);
  for (int l = hidden - 1; l > 0; --l) {
    const LayerView& layer = a.layer[l];
    const LayerView& below = a.layer[l - 1];
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; ++j) value[i][j] = 0.0f;
    }
    go_through(
        layer.out, [&](int k, float* to) { start_units<T>(layer, parameters, k, to); },
        [&](float* to) {
          if (l > 1) start_units<T>(below, parameters, 0, to);
        },
        [&](const float* at, const float* weight, int step) {
          multiply_units<T>(at, weight + step * T::kColumns, value);
        });
    __syncthreads();  // nobody reads the gradient above any more
    put_sums<T>(own, below.out, value);
    __syncthreads();
    const float* const kept = a.output[l - 1] + place * below.out_stride;
    float* const delta = a.delta[l - 1] + place * below.out_stride;
    with_activation<relu>(below.activation, [&](auto kind) {
      const auto derive = [&](RowQuads<T>& q) {
        using Q = RowQuads<T>;
        if constexpr (relu) {
          const unsigned positive = stage.positive[l - 1][q.number][thread];
          OCCAM_UNROLL
          for (int i = 0; i < Q::kCount; ++i) q.quad[i] = where(positive >> kQuad * i, q.quad[i]);
        } else {
          float4 h[Q::kCount];
          OCCAM_UNROLL
          for (int i = 0; i < Q::kCount; ++i) {
            const int sample = q.first + i * Q::kDown;
            h[i] = *reinterpret_cast<const float4*>(
                kept + (sample < samples ? sample : 0) * below.out_stride + q.at);
          }
          OCCAM_UNROLL
          for (int i = 0; i < Q::kCount; ++i)
            q.quad[i] = each_of(q.quad[i], h[i], [](float gradient, float of) {
              return law::activation_gradient<decltype(kind)::value>(gradient, of, of, 0.0f);
            });
        }
      };
      // The first layer's gradient is read no more in this pass.
      finish_rows<T>(stage.rows, below.out, derive, l > 1 ? nullptr : delta, below.out_stride, samples);
    });
    if (l == 1) break;
    __syncthreads();
    store.begin(delta, below.out, below.out_stride);
  }
  store.finish();
}

// ---- launcher ---------------------------------------------------------------------------------------------

namespace {

using NarrowPass = PassTile<3, 1>;
using WidePass = PassTile<4, 3>;
static_assert(NarrowPass::kStride == kNarrowPassUnits && WidePass::kStride == kPassUnits &&
              padded(kPassOutputs) == kQuad);
static_assert(NarrowPass::kN == sample_pass_columns(kNarrowPassUnits) &&
              WidePass::kN == sample_pass_columns(kPassUnits));
static_assert(Wide::kN == kLayerTile);
static_assert(sizeof(PassShared<NarrowPass>) == sample_pass_bytes(kNarrowPassUnits));
static_assert(sizeof(PassShared<WidePass>) == sample_pass_bytes(kPassUnits));

template <class T>
void launch_tiles(Stream& stream, const SamplePassArguments& a) {
  bool relu = true;
  for (int l = 0; l + 1 < a.layers; ++l) relu &= a.layer[l].activation == Activation::relu;
  launch(stream, "sample_pass", relu ? sample_pass_kernel<T, true> : sample_pass_kernel<T, false>,
         dim3(static_cast<unsigned>(tiles(a.slots.capacity, T::kM)), static_cast<unsigned>(a.slots.count)),
         dim3(T::kThreads), sizeof(PassShared<T>), a);
}

}  // namespace

void launch_sample_pass(Stream& stream, const SamplePassArguments& a) {
  const NvtxRange range{"sample pass"};
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots, "sample pass: {} members at once; give 1 to {}",
          a.slots.count, kMaxSlots);
  require(a.layers >= 2 && a.layers <= kMaxPassLayers, "sample pass: {} layers; give 2 to {}", a.layers,
          kMaxPassLayers);
  int widest = a.layer[0].in;
  for (int l = 0; l + 1 < a.layers; ++l) widest = widest < a.layer[l].out ? a.layer[l].out : widest;
  require(widest <= kPassUnits && a.layer[a.layers - 1].out <= kPassOutputs,
          "sample pass: {} units and {} outputs; at most {} and {}", widest, a.layer[a.layers - 1].out,
          kPassUnits, kPassOutputs);
  if (widest <= kNarrowPassUnits) return launch_tiles<NarrowPass>(stream, a);
  launch_tiles<WidePass>(stream, a);
}

}  // namespace occam::cuda
