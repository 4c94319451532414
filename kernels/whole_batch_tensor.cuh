// The products of plan *resident, whole batch* on tensor cores, and what is done with their sums in a warp's registers.
#pragma once

#include "lanes.cuh"
#include "law/activation.hpp"
#include "optimizer.cuh"
#include "resident_tensor_product.cuh"
#include "whole_batch_rows.cuh"
#include "whole_batch_tensor.hpp"

namespace occam::cuda {

// Where things lie.
template <class P>
using Chip = WholeBatchTensor<P::kBytes>;

// 16 · down × 8 · across sums of a warp. Element e of tile (i, j) is at row 16 i + lane / 4 + e / 2 · 8 and column
// 8 j + lane % 4 · 2 + e % 2.
template <int down, int across>
using Sums = float[down][across][4];
constexpr int kSampleTiles = WholeBatchTensor<4>::kTiles;  // of units
using SampleSums = Sums<2, kSampleTiles>;                  // of a warp's 32 samples

__device__ __forceinline__ int tensor_warp() { return static_cast<int>(threadIdx.x) / 32; }

// sums += A · B over the depth. `ones`: the last column tile of B is of ones. Where registers allow it (`ahead`), the
// next step's operands are on their way while the present one's are multiplied.
template <class P, int down, int across, bool ahead, class AtA, class AtB>
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
  for (int j = 0; j < kSampleTiles; ++j) {
    OCCAM_UNROLL
    for (int i = 0; i < 2; ++i) {
      OCCAM_UNROLL
      for (int half = 0; half < 2; ++half) f(i, j, half, first + 16 * i + 8 * half, 8 * j + lane() % 4 * 2);
    }
  }
}

// sums = bias + x · weightᵀ, of the warp's samples, over `depth` columns.
template <class P>
__device__ __forceinline__ void multiply_samples(OperandPanel x, OperandPanel weight, const float* bias,
                                                 int depth, SampleSums& sums) {
  OCCAM_UNROLL
  for (int j = 0; j < kSampleTiles; ++j) {
    const float2 start = *reinterpret_cast<const float2*>(bias + 8 * j + lane() % 4 * 2);
    OCCAM_UNROLL
    for (int i = 0; i < 2; ++i) {
      sums[i][j][0] = sums[i][j][2] = start.x;
      sums[i][j][1] = sums[i][j][3] = start.y;
    }
  }
  multiply<P, 2, kSampleTiles, true>(RowsA<P>{x}.template place<2>(2 * tensor_warp()),
                                     RowsB<P>{weight}.template place<kSampleTiles>(0), depth_of<P>(depth),
                                     false, sums);
}

// sums ← ReLU, rounded; `active` gets a bit for each that is positive.
using ActiveBits = std::uint32_t[(8 * kSampleTiles + 31) / 32];
template <class P>
__device__ __forceinline__ void activate(SampleSums& sums, ActiveBits& active) {
  OCCAM_UNROLL
  for (int w = 0; w < static_cast<int>(sizeof(ActiveBits) / sizeof(active[0])); ++w) active[w] = 0;
  OCCAM_UNROLL
  for (int bit = 0; bit < 8 * kSampleTiles; ++bit) {
    float& value = sums[bit / 4 / kSampleTiles][bit / 4 % kSampleTiles][bit % 4];
    value = P::round(law::activate<Activation::relu>(value, 0.0f));
    if (value > 0.0f) active[bit / 32] |= 1u << bit % 32;
  }
}
// value where the bit is set, else 0: a mask, as a predicate for each bit costs more.
__device__ __forceinline__ float where_active(const ActiveBits& active, int i, int j, int e, float value) {
  const int bit = (i * kSampleTiles + j) * 4 + e;
  const auto mask = static_cast<std::int32_t>(active[bit / 32] << (31 - bit % 32)) >> 31;
  return __uint_as_float(__float_as_uint(value) & static_cast<std::uint32_t>(mask));
}

// Sums of eight values over the eight groups of a warp, each by the tree over lanes 4, 8 and 16 apart. A lane gets the
// sum of the value that the bits of its group name, the lowest bit first.
__device__ __forceinline__ float sum_over_groups(const float (&value)[8]) {
  const int group = lane() / 4;
  float four[4], two[2];
  const auto halve = [&](bool upper, float low, float high, int apart) {
    const float other = __shfl_xor_sync(kWarp, upper ? low : high, apart);
    return (upper ? high : low) + other;
  };
  OCCAM_UNROLL
  for (int k = 0; k < 4; ++k) four[k] = halve(group % 2 != 0, value[k], value[k + 4], 4);
  OCCAM_UNROLL
  for (int k = 0; k < 2; ++k) two[k] = halve(group / 2 % 2 != 0, four[k], four[k + 2], 8);
  return halve(group / 4 != 0, two[0], two[1], 16);
}

// A warp's values, rounded ones, to a panel whose first row is sample `first`.
template <class P>
__device__ __forceinline__ void put(const SampleSums& value, OperandPanel to, int first, int units) {
  each_pair([&](int i, int j, int half, int sample, int unit) {
    if (unit < units)
      P::put_rounded_pair(to.row(sample - first), unit, value[i][j][2 * half], value[i][j][2 * half + 1]);
  });
}

// A warp's part of a weight gradient, with units as rows: `down` tiles of units from tile `m` on and `across` tiles of
// features from `n` on; with `ones` the last of them is the bias's gradient instead. Rows below own_m are another
// warp's.
template <class P, int down, int across>
struct WeightPart {
  int m, own_m, n;
  bool ones, idle;
  Sums<down, across> sums;

  __device__ __forceinline__ void clear() {
    OCCAM_UNROLL
    for (int e = 0; e < down * across * 4; ++e) sums[e / 4 / across][e / 4 % across][e % 4] = 0.0f;
  }

  // += deltaᵀ · x over `samples` samples; those up to the next whole step are zeros in delta.
  __device__ __forceinline__ void add(OperandPanel delta, OperandPanel x, int samples) {
    if (idle || samples <= 0) return;
    multiply<P, down, across, true>(ColumnsA<P>{delta}.template place<down>(m),
                                    ColumnsB<P>{x}.template place<across>(n),
                                    Depth{(samples + P::kStep - 1) / P::kStep, false}, ones, sums);
  }

  // Steps the weights [units][features] at `master`, rows `stride` apart, and rounds them into `operand`; biases stand
  // in fp32 at `bias`.
  __device__ __forceinline__ void step(const Trainee& trainee, float* master, int stride,
                                       OperandPanel operand, float* bias, int units, int features) const {
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
    float2 value[down][2][across] =
        {};  // else what is not loaded would be kept from update to update, at a spill each
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
        P::put_pair(operand.row(P::weight_row(unit)), feature, v.x, v.y);
      }
      if (ones && lane() % 4 == 0) bias[unit] = stepped(bias[unit], sums[i][across - 1][2 * half]);
    });
  }
};

// How a batch's rows get to the chip as operands. In TF32 they are copied to where they stay and rounded there by the
// threads that copied them, by calls with the same bounds.
__device__ __forceinline__ void round_rows(const BatchRows& rows, float* x, int first, int end) {
  rows.each_quad(first, end, [&](int sample, int at) {
    float v[kQuad];
    float* const quad = x + sample * WholeBatch::kInputs + at;
    read_steps(quad, v);
    Tf32::put_quad(reinterpret_cast<char*>(quad), 0, v);
  });
}

// In BF16 they pass through registers, all of a thread's quads at once.
struct RowsInRegisters {
  static constexpr int kAll = WholeBatch::kSamples * WholeBatch::kInputs / kQuad / kTensorThreads;
  float v[kAll][kQuad] = {};  // else what is not loaded would be kept from update to update

  template <class F>
  static __device__ __forceinline__ void each(const BatchRows& rows, int count, const F& f) {
    OCCAM_UNROLL
    for (int q = 0; q < kAll; ++q) {
      const int item = static_cast<int>(threadIdx.x) + q * kTensorThreads;
      const int sample = item / (WholeBatch::kInputs / kQuad),
                at = item % (WholeBatch::kInputs / kQuad) * kQuad;
      if (sample < count && at < rows.inputs) f(q, sample, at);
    }
  }
  __device__ __forceinline__ void load(const BatchRows& rows, int which, int count) {
    each(rows, count, [&](int q, int sample, int at) { read_steps(rows.source(which, sample, at), v[q]); });
  }
  __device__ __forceinline__ void store(const BatchRows& rows, OperandPanel x, int count) const {
    each(rows, count, [&](int q, int sample, int at) { Bf16::put_quad(x.row(sample), at, v[q]); });
  }
};

}  // namespace occam::cuda
