// Plan *resident, whole batch* on tensor cores in TF32: as kernels/whole_batch.cu, with the second hidden layer in
// the registers of the warps whose products made it. A warp owns 32 samples and all units; so logits, loss, the last
// layer's gradient and the second layer's are its own affair, without a meeting of the block. The fp32 weights that
// the optimiser steps stay in the L2 cache; biases and, in registers, the last layer are fp32 on the chip.

#include "whole_batch_tensor.hpp"

#include "lanes.cuh"
#include "law/activation.hpp"
#include "law/batch.hpp"
#include "law/loss.hpp"
#include "optimizer.cuh"
#include "resident_tensor_product.cuh"

namespace occam::cuda {

// ---- building blocks --------------------------------------------------------------------------------------

using W = WholeBatchTensor;
using P = Tf32;

// 16 · down × 8 · across sums of a warp. Element e of tile (i, j) is at row 16 i + lane / 4 + e / 2 · 8 and column
// 8 j + lane % 4 · 2 + e % 2.
template <int down, int across>
using Sums = float[down][across][4];
using SampleSums = Sums<2, W::kTiles>;  // of a warp's 32 samples

__device__ __forceinline__ int tensor_warp() { return static_cast<int>(threadIdx.x) / 32; }

__device__ __forceinline__ OperandPanel panel(float* data, int columns) {
  return {reinterpret_cast<char*>(data), columns * P::kBytes};
}

// sums += A · B over the depth. `ones`: the last column tile of B is of ones. Where registers allow it (`ahead`), the
// next step's operands are on their way while the present one's are multiplied.
template <int down, int across, bool ahead, class AtA, class AtB>
__device__ __forceinline__ void multiply(const AtA& at_a, const AtB& at_b, Depth depth, bool ones,
                                         Sums<down, across>& sums) {
  std::uint32_t a[down][4], b[across][2];
  const auto read = [&](int step) {
    at_a.read(a, step);
    at_b.read(b, step);
    if (ones) b[across - 1][0] = b[across - 1][1] = P::one();
  };
  const auto add = [&](const std::uint32_t(&of_a)[down][4], const std::uint32_t(&of_b)[across][2]) {
    OCCAM_UNROLL
    for (int i = 0; i < down; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) P::multiply(sums[i][j], of_a[i], of_b[j]);
    }
  };
  if constexpr (ahead) {
    const int last = depth.steps - (depth.half ? 0 : 1);
    read(0);
    OCCAM_UNROLL_TWICE
    for (int step = 0; step < depth.steps; ++step) {
      std::uint32_t now_a[down][4], now_b[across][2];
      OCCAM_UNROLL
      for (int i = 0; i < down * 4; ++i) now_a[i / 4][i % 4] = a[i / 4][i % 4];
      OCCAM_UNROLL
      for (int j = 0; j < across * 2; ++j) now_b[j / 2][j % 2] = b[j / 2][j % 2];
      read(step < last ? step + 1 : last);
      add(now_a, now_b);
    }
  } else {
    OCCAM_UNROLL_TWICE
    for (int step = 0; step < depth.steps; ++step) {
      read(step);
      add(a, b);
    }
    if (depth.half) read(depth.steps);
  }
  if (!depth.half) return;
  OCCAM_UNROLL
  for (int i = 0; i < down; ++i) a[i][2] = a[i][3] = 0;
  OCCAM_UNROLL
  for (int j = 0; j < across; ++j) b[j][1] = 0;
  add(a, b);
}

// Calls f(i, j, half, sample, unit) for every pair of neighbouring units of the warp's samples: elements 2 · half and
// 2 · half + 1 of tile (i, j).
template <class F>
__device__ __forceinline__ void each_pair(const F& f) {
  const int first = tensor_warp() * 32 + lane() / 4;
  OCCAM_UNROLL
  for (int j = 0; j < W::kTiles; ++j) {
    OCCAM_UNROLL
    for (int i = 0; i < 2; ++i) {
      OCCAM_UNROLL
      for (int half = 0; half < 2; ++half) f(i, j, half, first + 16 * i + 8 * half, 8 * j + lane() % 4 * 2);
    }
  }
}

// sums = bias + x · weightᵀ, of the warp's samples. x and weight: rows of `columns` floats, `depth` of them used.
__device__ __forceinline__ void multiply_samples(float* x, float* weight, const float* bias, int columns,
                                                 int depth, SampleSums& sums) {
  OCCAM_UNROLL
  for (int j = 0; j < W::kTiles; ++j) {
    const float2 start = *reinterpret_cast<const float2*>(bias + 8 * j + lane() % 4 * 2);
    OCCAM_UNROLL
    for (int i = 0; i < 2; ++i) {
      sums[i][j][0] = sums[i][j][2] = start.x;
      sums[i][j][1] = sums[i][j][3] = start.y;
    }
  }
  multiply<2, W::kTiles, true>(RowsA<P>{panel(x, columns)}.template place<2>(2 * tensor_warp()),
                               RowsB<P>{panel(weight, columns)}.template place<W::kTiles>(0),
                               depth_of<P>(depth), false, sums);
}

// sums ← ReLU, rounded; `active` gets a bit for each that is positive.
using ActiveBits = std::uint32_t[(8 * W::kTiles + 31) / 32];
__device__ __forceinline__ void activate(SampleSums& sums, ActiveBits& active) {
  OCCAM_UNROLL
  for (int w = 0; w < static_cast<int>(sizeof(ActiveBits) / sizeof(active[0])); ++w) active[w] = 0;
  OCCAM_UNROLL
  for (int bit = 0; bit < 8 * W::kTiles; ++bit) {
    float& value = sums[bit / 4 / W::kTiles][bit / 4 % W::kTiles][bit % 4];
    value = law::activate<Activation::relu>(value, 0.0f);
    if (value > 0.0f) active[bit / 32] |= 1u << bit % 32;
    value = round_to_tf32(value);
  }
}
__device__ __forceinline__ bool is_active(const ActiveBits& active, int i, int j, int e) {
  const int bit = (i * W::kTiles + j) * 4 + e;
  return (active[bit / 32] >> bit % 32 & 1) != 0;
}

// A warp's values of samples to a panel [samples][kUnits] whose first row is sample `first`.
__device__ __forceinline__ void put(const SampleSums& value, float* to, int first, int units) {
  each_pair([&](int i, int j, int half, int sample, int unit) {
    if (unit < units)
      *reinterpret_cast<float2*>(to + (sample - first) * W::kUnits + unit) =
          make_float2(value[i][j][2 * half], value[i][j][2 * half + 1]);
  });
}

// A warp's part of a weight gradient, with units as rows: `down` tiles of units from tile `m` on and `across` tiles of
// features from `n` on; with `ones` the last of them is the bias's gradient instead. Rows below own_m are another
// warp's.
template <int down, int across>
struct WeightPart {
  int m, own_m, n;
  bool ones, idle;
  Sums<down, across> sums;

  __device__ __forceinline__ void clear() {
    OCCAM_UNROLL
    for (int e = 0; e < down * across * 4; ++e) sums[e / 4 / across][e / 4 % across][e % 4] = 0.0f;
  }

  // += deltaᵀ · x over `samples` samples; those up to the next multiple of eight are zeros in delta.
  __device__ __forceinline__ void add(float* delta, float* x, int columns, int samples) {
    if (idle || samples <= 0) return;
    multiply<down, across, true>(ColumnsA<P>{panel(delta, W::kUnits)}.template place<down>(m),
                                 ColumnsB<P>{panel(x, columns)}.template place<across>(n),
                                 Depth{(samples + P::kStep - 1) / P::kStep, false}, ones, sums);
  }

  // Steps the weights [units][features] at `master`, rows `stride` apart, and rounds them into `operand`, rows
  // `columns` apart; biases stand in fp32 at `bias`.
  __device__ __forceinline__ void step(const Trainee& trainee, float* master, int stride, float* operand,
                                       int columns, float* bias, int units, int features) const {
    if (idle) return;
    const auto stepped = [&](float value, float gradient) {
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::sgd, false>(trainee.optimizer, {}, gradient, value, none, none);
      return value;
    };
    const auto each_row = [&](const auto& f) {
      OCCAM_UNROLL
      for (int i = 0; i < down; ++i) {
        OCCAM_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int unit = 16 * (m + i) + lane() / 4 + 8 * half;
          if (m + i >= own_m && unit < units) f(i, half, unit);
        }
      }
    };
    const int all = ones ? across - 1 : across;
    float2 value[down][2][across];
    each_row([&](int i, int half, int unit) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) {
        const int feature = 8 * (n + j) + lane() % 4 * 2;
        if (j < all && feature < features)
          value[i][half][j] = *reinterpret_cast<const float2*>(master + unit * stride + feature);
      }
    });
    each_row([&](int i, int half, int unit) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) {
        const int feature = 8 * (n + j) + lane() % 4 * 2;
        if (j >= all || feature >= features) continue;
        float2& v = value[i][half][j];
        v.x = stepped(v.x, sums[i][j][2 * half]);
        if (feature + 1 < features) v.y = stepped(v.y, sums[i][j][2 * half + 1]);
        *reinterpret_cast<float2*>(master + unit * stride + feature) = v;
        *reinterpret_cast<float2*>(operand + P::weight_row(unit) * columns + feature) =
            make_float2(round_to_tf32(v.x), round_to_tf32(v.y));
      }
      if (ones && lane() % 4 == 0) bias[unit] = stepped(bias[unit], sums[i][across - 1][2 * half]);
    });
  }
};

// What one block works with.
struct WholeBatchTensorMember {
  const TensorPlan& plan;
  const Member& member;
  float* const base;

  __device__ __forceinline__ const LayerView& view(int l) const { return plan.layer[l].view; }
  __device__ __forceinline__ std::uint32_t* rows(int which) const {
    return reinterpret_cast<std::uint32_t*>(base + W::kRowNumbers) + which * W::kSamples;
  }
  __device__ __forceinline__ std::int32_t* labels(int which) const {
    return reinterpret_cast<std::int32_t*>(base + W::kLabels) + which * W::kSamples;
  }

  // Draws the rows of the batch at `place` and starts to fetch their labels.
  __device__ __forceinline__ void open(const law::BatchPlace& place, int which) const {
    const law::EpochOrder order = law::epoch_order(member.order_seed, member.in_order, place.epoch,
                                                   member.rows[static_cast<int>(Split::train)]);
    const int sample = static_cast<int>(threadIdx.x);
    if (sample >= place.count) return;
    const std::uint32_t row =
        order(static_cast<std::uint32_t>(place.first) + static_cast<std::uint32_t>(sample));
    rows(which)[sample] = row;
    copy_async<4>(labels(which) + sample, member.train_y + row);
  }

  // f(sample, feature) of each of the thread's quads of the rows of samples first … end − 1.
  template <class F>
  __device__ __forceinline__ void each_quad(int first, int end, const F& f) const {
    constexpr int kQuads = W::kInputs / kQuad;
    for (int item = static_cast<int>(threadIdx.x); item < (end - first) * kQuads; item += kTensorThreads)
      if (item % kQuads * kQuad < plan.inputs) f(first + item / kQuads, item % kQuads * kQuad);
  }
  __device__ __forceinline__ void copy_rows(int which, int first, int end) const {
    each_quad(first, end, [&](int sample, int at) {
      copy_async<16>(
          base + W::kSpare + sample * W::kInputs + at,
          member.train_x + static_cast<std::int64_t>(rows(which)[sample]) * padded(plan.inputs) + at);
    });
    copy_async_commit();
  }
  // Of what the thread itself copied, by the same calls; it must have arrived.
  __device__ __forceinline__ void round_rows(int first, int end) const {
    each_quad(first, end, [&](int sample, int at) {
      float* quad = base + W::kSpare + sample * W::kInputs + at;
      float v[kQuad];
      read_steps(quad, v);
      P::put_quad(reinterpret_cast<char*>(quad), 0, v);
    });
  }
};

// ---- kernels -----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kTensorThreads, 1) whole_batch_tensor_kernel(TensorArguments a) {
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0 || !is_plain(a.wave.members[id])) return;
  const WholeBatchTensorMember t{a.plan, a.wave.members[id], &shared<float>()};
  float *const base = t.base, *const hidden = base + W::kHidden, *const spare = base + W::kSpare;
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const LayerView &view1 = t.view(0), &view2 = t.view(1), &view3 = t.view(2);
  const int units1 = view1.out, units2 = view2.out, outputs = view3.out,
            thread = static_cast<int>(threadIdx.x);
  const Trainee trainee{a.wave, id, trained, {}};

  for (int i = thread; i < W::kBytes / 4; i += kTensorThreads) base[i] = 0.0f;
  __syncthreads();
  const auto round_weights = [&](const LayerView& view, float* operand, int columns, float* bias) {
    for (int item = thread; item < view.out * view.in; item += kTensorThreads) {
      const int unit = item / view.in, k = item % view.in;
      operand[P::weight_row(unit) * columns + k] =
          round_to_tf32(trained[view.weight + unit * view.in_stride + k]);
    }
    for (int unit = thread; unit < view.out; unit += kTensorThreads) bias[unit] = trained[view.bias + unit];
  };
  round_weights(view1, base + W::kWeight1, W::kInputs, base + W::kBias1);
  round_weights(view2, base + W::kWeight2, W::kUnits, base + W::kBias2);
  // Of the last layer each thread owns at most one weight or bias; both its fp32 value and its sum stay with it.
  float* last_operand = nullptr;
  float* last_master = nullptr;
  float last_value = 0.0f;
  if (thread < outputs * W::kWide && thread % W::kWide < units2) {
    last_operand = base + W::kWeight3 + thread;
    last_master = trained + view3.weight + thread / W::kWide * view3.in_stride + thread % W::kWide;
  } else if (thread >= W::kOutputs * W::kWide && thread - W::kOutputs * W::kWide < outputs) {
    last_operand = base + W::kBias3 + thread - W::kOutputs * W::kWide;
    last_master = trained + view3.bias + thread - W::kOutputs * W::kWide;
  }
  const bool is_weight = thread < W::kOutputs * W::kWide;
  const auto put_last = [&] { *last_operand = is_weight ? round_to_tf32(last_value) : last_value; };
  if (last_operand) {
    last_value = *last_master;
    put_last();
  }

  const std::int64_t all_rows = t.member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, a.plan.batch);
  const auto in_first_half = [](int count) { return count < W::kHalf ? count : W::kHalf; };
  int batch = 0;
  t.open(place, batch);
  __syncthreads();
  t.copy_rows(batch, 0, in_first_half(place.count));
  t.copy_rows(batch, W::kHalf, place.count);

  const int warp = tensor_warp(), group = lane() / 4, pair = lane() % 4;
  constexpr int kUnitTiles = (W::kUnits + 15) / 16;
  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace next = law::following(place, all_rows, a.plan.batch);
    const bool goes_on = update + 1 < end;
    copy_async_wait<0>();
    t.round_rows(0, in_first_half(place.count));
    t.round_rows(W::kHalf, place.count);
    __syncthreads();  // the rows have arrived, and all have done their step
    if (goes_on) t.open(next, batch ^ 1);

    SampleSums tile;
    ActiveBits active1;
    multiply_samples(spare, base + W::kWeight1, base + W::kBias1, W::kInputs, a.plan.inputs, tile);
    activate(tile, active1);
    put(tile, hidden, 0, units1);
    __syncthreads();
    {
      ActiveBits active2;
      multiply_samples(hidden, base + W::kWeight2, base + W::kBias2, W::kUnits, units1, tile);
      activate(tile, active2);

      // Logits: a lane adds its columns of four samples, four lanes make a sample's sum.
      float logit[2][2][W::kOutputs] = {};
      each_pair([&](int i, int j, int half, int, int unit) {
        OCCAM_UNROLL
        for (int c = 0; c < W::kOutputs; ++c) {
          const float2 weight = *reinterpret_cast<const float2*>(base + W::kWeight3 + c * W::kWide + unit);
          logit[i][half][c] = law::fma(tile[i][j][2 * half], weight.x, logit[i][half][c]);
          logit[i][half][c] = law::fma(tile[i][j][2 * half + 1], weight.y, logit[i][half][c]);
        }
      });
      float* const logits = base + W::kLogits;  // [sample][kOutputs]
      const int own_i = pair / 2, own_half = pair % 2, own = warp * 32 + group + 16 * own_i + 8 * own_half;
      OCCAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        OCCAM_UNROLL
        for (int half = 0; half < 2; ++half) {
          OCCAM_UNROLL
          for (int c = 0; c < W::kOutputs; ++c) {
            float sum = logit[i][half][c];
            sum += __shfl_xor_sync(kWarp, sum, 1);
            sum += __shfl_xor_sync(kWarp, sum, 2);
            if (i == own_i && half == own_half) logits[own * W::kOutputs + c] = sum + base[W::kBias3 + c];
          }
        }
      }
      if (own < place.count)
        law::sample_loss_gradient(a.loss, logits + own * W::kOutputs, outputs, t.labels(batch)[own],
                                  1.0f / static_cast<float>(place.count), logits + own * W::kOutputs);
      OCCAM_UNROLL
      for (int c = 0; c < W::kOutputs; ++c) {
        float& gradient = logits[own * W::kOutputs + c];
        gradient = own < place.count && c < outputs ? round_to_tf32(gradient) : 0.0f;
      }
      __syncwarp();

      // The last layer's gradient over the warp's samples, and dL/dz of the second layer in place of h.
      float delta[2][2][W::kOutputs];
      OCCAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        OCCAM_UNROLL
        for (int half = 0; half < 2; ++half) {
          OCCAM_UNROLL
          for (int c = 0; c < W::kOutputs; ++c)
            delta[i][half][c] = logits[(warp * 32 + group + 16 * i + 8 * half) * W::kOutputs + c];
        }
      }
      float* const partial = base + W::kPartial + warp * W::kPartials;
      OCCAM_UNROLL
      for (int j = 0; j < W::kTiles; ++j) {
        OCCAM_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int unit = 8 * j + 2 * pair + e;
          float weight[W::kOutputs], sum[W::kOutputs] = {};
          OCCAM_UNROLL
          for (int c = 0; c < W::kOutputs; ++c) weight[c] = base[W::kWeight3 + c * W::kWide + unit];
          OCCAM_UNROLL
          for (int i = 0; i < 2; ++i) {
            OCCAM_UNROLL
            for (int half = 0; half < 2; ++half) {
              float &h = tile[i][j][2 * half + e], gradient = 0.0f;
              OCCAM_UNROLL
              for (int c = 0; c < W::kOutputs; ++c) {
                sum[c] = law::fma(delta[i][half][c], h, sum[c]);
                gradient = law::fma(delta[i][half][c], weight[c], gradient);
              }
              h = is_active(active2, i, j, 2 * half + e) ? round_to_tf32(gradient) : 0.0f;
            }
          }
          OCCAM_UNROLL
          for (int c = 0; c < W::kOutputs; ++c) {
            OCCAM_UNROLL
            for (int apart = 4; apart < 32; apart *= 2) sum[c] += __shfl_xor_sync(kWarp, sum[c], apart);
            if (group == 0) partial[c * W::kWide + unit] = sum[c];
          }
        }
      }
      OCCAM_UNROLL
      for (int c = 0; c < W::kOutputs; ++c) {
        float sum = logits[own * W::kOutputs + c];
        OCCAM_UNROLL
        for (int apart = 1; apart < 32; apart *= 2) sum += __shfl_xor_sync(kWarp, sum, apart);
        if (lane() == 0) partial[W::kOutputs * W::kWide + c] = sum;
      }
    }

    // Halves of the second layer's delta, for its weights' gradient. Seven tiles of units for four pairs of warps, of
    // which one has the last features and the bias.
    WeightPart<2, 7> second;
    second.own_m = warp / 2 * 2, second.m = second.own_m < kUnitTiles - 2 ? second.own_m : kUnitTiles - 2;
    second.ones = warp % 2 == 1, second.n = warp % 2 * 7, second.idle = false;
    second.clear();
    if (warp < 4) put(tile, spare, 0, units2);
    __syncthreads();
    if (last_operand) {
      float sum = 0.0f;
      OCCAM_UNROLL
      for (int w = 0; w < kWarps; ++w) sum += base[W::kPartial + w * W::kPartials + thread];
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::sgd, false>(trainee.optimizer, {}, sum, last_value, none, none);
      put_last();
    }
    second.add(spare, hidden, W::kUnits, in_first_half(place.count));
    __syncthreads();
    if (warp >= 4) put(tile, spare, W::kHalf, units2);
    __syncthreads();
    second.add(spare, hidden + W::kHalf * W::kUnits, W::kUnits, place.count - W::kHalf);
    __syncthreads();

    t.copy_rows(batch, 0, place.count);
    put(tile, hidden, 0, units2);
    __syncthreads();
    OCCAM_UNROLL
    for (int e = 0; e < 8 * W::kTiles; ++e) tile[e / 4 / W::kTiles][e / 4 % W::kTiles][e % 4] = 0.0f;
    multiply<2, W::kTiles, false>(
        RowsA<P>{panel(hidden, W::kUnits)}.template place<2>(2 * warp),
        ColumnsB<P>{panel(base + W::kWeight2, W::kUnits)}.template place<W::kTiles>(0), depth_of<P>(units2),
        false, tile);
    OCCAM_UNROLL
    for (int bit = 0; bit < 8 * W::kTiles; ++bit) {
      const int i = bit / 4 / W::kTiles, j = bit / 4 % W::kTiles, e = bit % 4;
      tile[i][j][e] = is_active(active1, i, j, e) ? round_to_tf32(tile[i][j][e]) : 0.0f;
    }
    copy_async_wait<0>();
    t.round_rows(0, place.count);
    __syncthreads();  // all have read the second layer's weights and delta
    put(tile, hidden, 0, units1);
    second.step(trainee, trained + view2.weight, view2.in_stride, base + W::kWeight2, W::kUnits,
                base + W::kBias2, units2, units1);
    __syncthreads();

    // Rows of the next update take the place of those that everybody is done with.
    WeightPart<1, 8> first;
    first.m = first.own_m = warp, first.n = 0, first.ones = true, first.idle = warp >= kUnitTiles;
    first.clear();
    first.add(hidden, spare, W::kInputs, in_first_half(place.count));
    __syncthreads();
    if (goes_on) t.copy_rows(batch ^ 1, 0, in_first_half(next.count));
    first.add(hidden + W::kHalf * W::kUnits, spare + W::kHalf * W::kInputs, W::kInputs,
              place.count - W::kHalf);
    __syncthreads();
    if (goes_on) t.copy_rows(batch ^ 1, W::kHalf, next.count);
    first.step(trainee, trained + view1.weight, view1.in_stride, base + W::kWeight1, W::kInputs,
               base + W::kBias1, units1, a.plan.inputs);
    place = next;
  }
  __syncthreads();
  if (last_operand) *last_master = last_value;
  for (int unit = thread; unit < units1; unit += kTensorThreads)
    trained[view1.bias + unit] = base[W::kBias1 + unit];
  for (int unit = thread; unit < units2; unit += kTensorThreads)
    trained[view2.bias + unit] = base[W::kBias2 + unit];
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_whole_batch_tensor(Stream& stream, const TensorArguments& a) {
  const NvtxRange range{"whole batch on tensor cores"};
  require(a.members >= 1, "whole batch on tensor cores: {} members", a.members);
  launch(stream, "whole batch on tensor cores", whole_batch_tensor_kernel,
         dim3(static_cast<unsigned>(a.members)), dim3(kTensorThreads), W::kBytes, a);
}

KernelResources whole_batch_tensor_resources() {
  return kernel_resources(reinterpret_cast<const void*>(whole_batch_tensor_kernel),
                          "whole batch on tensor cores", kTensorThreads, W::kBytes);
}

}  // namespace occam::cuda
