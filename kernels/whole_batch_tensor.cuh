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

// Groups 0 … 3 of a warp have the even ones of eight samples, in rows of tiles, and groups 4 … 7 the odd ones: shared
// memory takes pairs of floats from sixteen lanes at a time, and of neighbouring rows these would share banks.
__device__ __forceinline__ int sample_of_row(int row) { return (row & ~7) | (row & 3) << 1 | (row >> 2 & 1); }
// The lane's first sample; the others are 8, 16 and 24 further on.
__device__ __forceinline__ int first_sample() { return tensor_warp() * 32 + sample_of_row(lane() / 4); }

// A warp's samples as rows of A. Nobody else's are read, so what the warp itself has stored needs no barrier: where the
// last step has one chunk, the lanes that read the second chunk of a step read the first, too. B is 0 there.
struct SampleRows {
  const char* at;
  int row_bytes, last;

  __device__ __forceinline__ SampleRows(OperandPanel p, Depth depth)
      : at(p.row(tensor_warp() * 32 + sample_of_row(lane() % 16)) + lane() / 16 * kChunkBytes),
        row_bytes(p.row_bytes), last((2 * depth.steps - (depth.half ? lane() / 16 : 0)) * kChunkBytes) {}
  __device__ __forceinline__ void read(std::uint32_t (&a)[2][4], int step) const {
    const int offset = step * 2 * kChunkBytes;
    const char* from = at + (offset < last ? offset : last);
    OCCAM_UNROLL
    for (int i = 0; i < 2; ++i) ldmatrix<4>(a[i], from + i * 16 * row_bytes);
  }
};

// sums += A · B over the depth. `ones`: the last column tile of B is of ones. Where registers allow it (`ahead`), the
// next step's operands are on their way while the present one's are multiplied.
template <class P, int down, int across, bool ahead, class AtA, class AtB>
__device__ __forceinline__ void multiply(const AtA& at_a, const AtB& at_b, Depth depth, bool ones,
                                         Sums<down, across>& sums) {
  struct Operands {
    std::uint32_t a[down][4], b[across][2];
  } now, then;
  const auto read = [&](Operands& to, int step) {
    at_a.read(to.a, step);
    at_b.read(to.b, step);
    if (ones) to.b[across - 1][0] = to.b[across - 1][1] = P::one();
  };
  const auto add = [&](const Operands& of) {
    OCCAM_UNROLL
    for (int i = 0; i < down; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) P::multiply(sums[i][j], of.a[i], of.b[j]);
    }
  };
  if constexpr (ahead) {
    const int last = depth.steps - (depth.half ? 0 : 1);
    read(now, 0);
    OCCAM_NO_UNROLL
    for (int step = 0; step + 1 < depth.steps; step += 2) {
      read(then, step + 1);
      add(now);
      read(now, step + 2 < last ? step + 2 : last);
      add(then);
    }
    if (depth.steps % 2 == 1) {
      add(now);
      if (depth.half) read(now, last);
    }
  } else {
    OCCAM_UNROLL_TWICE
    for (int step = 0; step < depth.steps; ++step) {
      read(now, step);
      add(now);
    }
    if (depth.half) read(now, depth.steps);
  }
  if (!depth.half) return;
  OCCAM_UNROLL
  for (int j = 0; j < across; ++j) now.b[j][1] = 0;
  add(now);
}

// Calls f(i, j, half, sample, unit) for every pair of neighbouring units of the warp's samples: elements 2 · half and
// 2 · half + 1 of tile (i, j).
template <class F>
__device__ __forceinline__ void each_pair(const F& f) {
  const int first = first_sample();
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
  const Depth steps = depth_of<P>(depth);
  multiply<P, 2, kSampleTiles, true>(SampleRows{x, steps}, RowsB<P>{weight}.template place<kSampleTiles>(0),
                                     steps, false, sums);
}

// ReLU, of NaN NaN, in one instruction.
__device__ __forceinline__ float rectified(float z) {
#if defined(__CUDA_ARCH__)
  float h;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(h) : "f"(z));
  return h;
#else
  return law::activate<Activation::relu>(z, 0.0f) + 0.0f;  // no −0 either
#endif
}

// sums ← ReLU, rounded; f(e, value) sees each.
template <class P, class F>
__device__ __forceinline__ void activate(SampleSums& sums, const F& f) {
  OCCAM_UNROLL
  for (int i = 0; i < 2; ++i) {
    OCCAM_UNROLL
    for (int j = 0; j < kSampleTiles; ++j) {
      OCCAM_UNROLL
      for (int e = 0; e < 4; ++e) {
        float& value = sums[i][j][e];
        value = P::round_sum(rectified(value));
        f(e, value);
      }
    }
  }
}

// Which of a lane's activations are 0: a bit each, in four words, whose chains of instructions run side by side.
class Inactive {
 public:
  __device__ __forceinline__ void push(int e, float activation) {
    const std::uint32_t below = __float_as_uint(activation) - 1u;  // its top bit: the activation is 0
#if defined(__CUDA_ARCH__)
    // Volatile: or activations would be kept, at a spill each, to take their bits where they are needed.
    asm volatile("shf.l.wrap.b32 %0, %1, %0, 1;" : "+r"(word_[e]) : "r"(below));
#else
    word_[e] = word_[e] << 1 | below >> 31;
#endif
  }
  // value, or 0 where the activation is: by a mask, as a predicate for each bit costs more.
  __device__ __forceinline__ float pass(int i, int j, int e, float value) const {
    const int place = 2 * kSampleTiles - 1 - (i * kSampleTiles + j);
    const auto mask = static_cast<std::int32_t>(word_[e] << (31 - place)) >> 31;
    return __uint_as_float(__float_as_uint(value) & ~static_cast<std::uint32_t>(mask));
  }

 private:
  std::uint32_t word_[4] = {};
};

// Sums of eight values over the eight samples of a warp's groups, each by the tree over samples 1, 2 and 4 apart, which
// are lanes 16, 4 and 8 apart. A lane gets the sum of value 4 · bit 2 + 2 · bit 0 + bit 1 of its group.
__device__ __forceinline__ float sum_over_groups(const float (&value)[8]) {
  const int group = lane() / 4;
  float four[4], two[2];
  const auto halve = [&](bool upper, float low, float high, int apart) {
    const float other = __shfl_xor_sync(kWarp, upper ? low : high, apart);
    return (upper ? high : low) + other;
  };
  OCCAM_UNROLL
  for (int k = 0; k < 4; ++k) four[k] = halve(group / 4 != 0, value[k], value[k + 4], 16);
  OCCAM_UNROLL
  for (int k = 0; k < 2; ++k) two[k] = halve(group % 2 != 0, four[k], four[k + 2], 4);
  return halve(group / 2 % 2 != 0, two[0], two[1], 8);
}

// A warp's values, rounded ones, to a panel whose first row is sample `first`.
template <class P>
__device__ __forceinline__ void put(const SampleSums& value, OperandPanel to, int first, int units) {
  each_pair([&](int i, int j, int half, int sample, int unit) {
    if (unit < units)
      P::put_rounded_pair(to.row(sample - first), unit, value[i][j][2 * half], value[i][j][2 * half + 1]);
  });
}

// A warp's part of a weight gradient, with units as rows. Seven tiles of units for four pairs of warps: two each, the
// last pair moved back over its neighbour, whose tile it leaves alone. `across` tiles of features for each of a pair;
// the last of them is the bias's gradient instead.
template <class P, int across>
struct WeightPart {
  static constexpr int kTilesDown = (WholeBatch::kUnits + 15) / 16;

  int m, own_m, n;
  bool ones;
  Sums<2, across> sums;
  float2 master[2][2][across];

  __device__ __forceinline__ WeightPart() {
    own_m = tensor_warp() / 2 * 2, m = own_m < kTilesDown - 2 ? own_m : kTilesDown - 2;
    ones = tensor_warp() % 2 == 1, n = tensor_warp() % 2 * across;
    OCCAM_UNROLL
    for (int e = 0; e < 8 * across; ++e) sums[e / 4 / across][e / 4 % across][e % 4] = 0.0f;
  }

  // += deltaᵀ · x over `samples` samples; those up to the next whole step are zeros in delta.
  __device__ __forceinline__ void add(OperandPanel delta, OperandPanel x, int samples) {
    if (samples <= 0) return;
    multiply<P, 2, across, true>(ColumnsA<P>{delta}.template place<2>(m),
                                 ColumnsB<P>{x}.template place<across>(n),
                                 Depth{(samples + P::kStep - 1) / P::kStep, false}, ones, sums);
  }

  // Calls f(i, half, unit) of the warp's own rows.
  template <class F>
  __device__ __forceinline__ void each_row(int units, const F& f) const {
    OCCAM_UNROLL
    for (int i = 0; i < 2; ++i) {
      OCCAM_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int unit = 16 * (m + i) + lane() / 4 + 8 * half;
        if (m + i >= own_m && unit < units) f(i, half, unit);
      }
    }
  }
  __device__ __forceinline__ int feature(int j) const { return 8 * (n + j) + lane() % 4 * 2; }
  __device__ __forceinline__ bool has(int j, int features) const {
    return (j < across - 1 || !ones) && feature(j) < features;
  }

  // Fetches the fp32 weights [units][features] at `weights`, rows `stride` apart: they come from the L2 cache, and
  // products hide how long that takes.
  __device__ __forceinline__ void fetch(const float* weights, int stride, int units, int features) {
    OCCAM_UNROLL
    for (int e = 0; e < 4 * across; ++e)  // else what is not loaded would be kept from update to update
      master[e / 2 / across][e / across % 2][e % across] = make_float2(0.0f, 0.0f);
    each_row(units, [&](int i, int half, int unit) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) {
        if (has(j, features))
          master[i][half][j] = *reinterpret_cast<const float2*>(weights + unit * stride + feature(j));
      }
    });
  }

  // Steps what was fetched and rounds it into `operand`; biases stand in fp32 at `bias`. All is stepped, so that there is
  // no branch around each pair, and stored where it is a weight.
  __device__ __forceinline__ void step(const law::OptimizerConstants& optimizer, float* weights, int stride,
                                       OperandPanel operand, float* bias, int units, int features) {
    const auto stepped = [&](float value, float gradient) {
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::sgd, false>(optimizer, {}, gradient, value, none, none);
      return value;
    };
    OCCAM_UNROLL
    for (int e = 0; e < 4 * across; ++e) {
      const int i = e / 2 / across, half = e / across % 2, j = e % across;
      float2& v = master[i][half][j];
      v.x = stepped(v.x, sums[i][j][2 * half]);
      v.y = stepped(v.y, feature(j) + 1 < features ? sums[i][j][2 * half + 1] : 0.0f);
    }
    each_row(units, [&](int i, int half, int unit) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) {
        const float2 v = master[i][half][j];
        const float first = P::round(v.x), second = P::round(v.y);
        if (!has(j, features)) continue;
        *reinterpret_cast<float2*>(weights + unit * stride + feature(j)) = v;
        P::put_rounded_pair(operand.row(P::weight_row(unit)), feature(j), first, second);
      }
      if (ones && lane() % 4 == 0) bias[unit] = stepped(bias[unit], sums[i][across - 1][2 * half]);
    });
  }
};

// Rows of a batch on their way to the chip, `samples` of them, from `first` on: a thread's quads, all at once.
template <class P, int samples>
struct RowsInRegisters {
  static constexpr int kQuads = WholeBatch::kInputs / kQuad,
                       kAll = (samples * kQuads + kTensorThreads - 1) / kTensorThreads;
  float v[kAll][kQuad] = {};  // else what is not loaded would be kept from update to update

  // f(q, sample, at) of the thread's quads of samples first … end − 1, of which there are at most `samples`.
  template <class F>
  static __device__ __forceinline__ void each(const BatchRows& rows, int first, int end, const F& f) {
    OCCAM_UNROLL
    for (int q = 0; q < kAll; ++q) {
      const int item = static_cast<int>(threadIdx.x) + q * kTensorThreads;
      const int sample = first + item / kQuads, at = item % kQuads * kQuad;
      if (sample < end && at < rows.inputs) f(q, sample, at);
    }
  }
  __device__ __forceinline__ void load(const BatchRows& rows, int which, int first, int end) {
    each(rows, first, end,
         [&](int q, int sample, int at) { read_steps(rows.source(which, sample, at), v[q]); });
  }
  __device__ __forceinline__ void store(const BatchRows& rows, OperandPanel x, int first, int end) const {
    each(rows, first, end, [&](int q, int sample, int at) { P::put_quad(x.row(sample), at, v[q]); });
  }
};

// Where registers have no room, rows are copied to where they stay, and rounded there by the threads that copied them: a
// quad at a time, as what is unrolled takes registers.
template <class F>
__device__ __forceinline__ void each_quad_in_place(const BatchRows& rows, int count, const F& f) {
  constexpr int kQuads = WholeBatch::kInputs / kQuad;
  for (int item = static_cast<int>(threadIdx.x); item < count * kQuads; item += kTensorThreads)
    if (item % kQuads * kQuad < rows.inputs) f(item / kQuads, item % kQuads * kQuad);
}
__device__ __forceinline__ void copy_rows(const BatchRows& rows, int which, OperandPanel x, int count) {
  each_quad_in_place(rows, count, [&](int sample, int at) {
    copy_async<16>(x.row(sample) + at * Tf32::kBytes, rows.source(which, sample, at));
  });
  copy_async_commit();
}
__device__ __forceinline__ void round_rows(const BatchRows& rows, OperandPanel x, int count) {
  each_quad_in_place(rows, count, [&](int sample, int at) {
    float v[kQuad];
    read_steps(reinterpret_cast<const float*>(x.row(sample)) + at, v);
    Tf32::put_quad(x.row(sample), at, v);
  });
}

}  // namespace occam::cuda
