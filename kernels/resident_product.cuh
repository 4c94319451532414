// The three products of a layer between matrices in one block's shared memory, under the law: each element is
// one accumulator and one fmaf chain in ascending order of what is summed over.
//
// The threads form a grid of 16 × 16 over samples and features, or as many quads of units as there are by
// what is left over features. Features beyond the last and samples beyond the slice's last are computed from
// whatever stands there and never used.
#pragma once

#include "launch.hpp"
#include "law/functions.hpp"
#include "members.hpp"
#include "product.cuh"
#include "resident.hpp"

namespace occam::cuda {

// Rows of a matrix in shared memory, 16-byte aligned.
struct Panel {
  float* data;
  int stride;  // an odd number of quads, so that 16 bytes of eight rows touch all 32 banks once

  __device__ __forceinline__ float* row(int r) const { return data + r * stride; }
};

inline constexpr int kGrid = 16;
static_assert(kGrid * kGrid == kResidentThreads);

__device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }

// Calls f with the least of the compiled numbers of columns a thread may own that is at least `columns`.
template <class F>
__device__ __forceinline__ void with_columns(int columns, const F& f) {
  if (columns <= 1) return f(std::integral_constant<int, 1>{});
  if (columns <= 2) return f(std::integral_constant<int, 2>{});
  if (columns <= 4) return f(std::integral_constant<int, 4>{});
  if (columns <= 6) return f(std::integral_constant<int, 6>{});
  if (columns <= 7) return f(std::integral_constant<int, 7>{});
  return f(std::integral_constant<int, 8>{});
}
inline constexpr int kMostColumns = 8;

// One pass over `columns` columns a thread, from column `first` on. store(sample, feature, sum) once each.
template <int slice, int columns, class Store>
__device__ __forceinline__ void forward_pass(Panel x, Panel weight, const float* bias, int in, int out,
                                             int first, const Store& store) {
  constexpr int per_m = slice / kGrid;
  const int m = thread() / kGrid, n = thread() % kGrid;
  const float* x_row = x.row(m);
  const float* weight_row[columns];
  float sum[per_m][columns];
  OCCAM_UNROLL
  for (int j = 0; j < columns; ++j) {
    const int unit = first + n + j * kGrid < out ? first + n + j * kGrid : out - 1;
    weight_row[j] = weight.row(unit);
    const float start = bias[unit];
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) sum[i][j] = start;
  }
  // Beyond `in` x is −0 and the weight +0: no accumulator notices (product.cuh).
  OCCAM_UNROLL_TWICE
  for (int k = 0; k < in; k += kQuad) {
    float a[per_m][kQuad];
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) read_steps(x_row + i * kGrid * x.stride + k, a[i]);
    OCCAM_UNROLL
    for (int j = 0; j < columns; ++j) {
      float b[kQuad];
      read_steps(weight_row[j] + k, b);
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        OCCAM_UNROLL
        for (int i = 0; i < per_m; ++i) sum[i][j] = law::fma(a[i][step], b[step], sum[i][j]);
      }
    }
  }
  OCCAM_UNROLL
  for (int j = 0; j < columns; ++j) {
    const int unit = first + n + j * kGrid;
    if (unit >= out) continue;
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) store(m + i * kGrid, unit, sum[i][j]);
  }
}

// z[s][j] = bias[j] + Σ_k x[s][k] · weight[j][k]
template <int slice, class Store>
__device__ __forceinline__ void forward_product(Panel x, Panel weight, const float* bias, int in, int out,
                                                const Store& store) {
  const int all = (out + kGrid - 1) / kGrid, passes = (all + kMostColumns - 1) / kMostColumns;
  const int each = (all + passes - 1) / passes;
  with_columns(each, [&](auto columns) {
    OCCAM_NO_UNROLL
    for (int first = 0; first < out; first += columns * kGrid)
      forward_pass<slice, columns>(x, weight, bias, in, out, first, store);
  });
}

// The same for a few units: one thread a sample and unit.
template <class Store>
__device__ __forceinline__ void forward_few(Panel x, Panel weight, const float* bias, int samples, int in,
                                            int out, const Store& store) {
  for (int item = thread(); item < samples * out; item += kResidentThreads) {
    const int sample = item / out, unit = item % out;
    float sum = bias[unit];
    for (int k = 0; k < in; k += kQuad) {
      float a[kQuad], b[kQuad];
      read_steps(x.row(sample) + k, a);
      read_steps(weight.row(unit) + k, b);
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) sum = law::fma(a[step], b[step], sum);
    }
    store(sample, unit, sum);
  }
}

inline constexpr int kFewUnits = kGrid / 2;  // so few leave most of the grid's threads idle

// The better of the two. store(sample, feature, sum) also for samples that do not exist.
template <int slice, class Store>
__device__ __forceinline__ void forward_layer_product(Panel x, Panel weight, const float* bias, int samples,
                                                      int in, int out, const Store& store) {
  if (out <= kFewUnits) return forward_few(x, weight, bias, samples, in, out, store);
  forward_product<slice>(x, weight, bias, in, out, store);
}

template <int slice, int columns, class Store>
__device__ __forceinline__ void input_gradient_pass(Panel delta, Panel weight, int in, int out, int first,
                                                    const Store& store) {
  constexpr int per_m = slice / kGrid;
  const int m = thread() / kGrid, n = thread() % kGrid;
  const float* delta_row = delta.row(m);
  // Columns beyond `in` are what follows in shared memory, another row or other parameters; none is kept.
  const float* weight_row = weight.data + first + n;
  float sum[per_m][columns] = {};
  const auto add = [&](const float(&a)[per_m], const float* row) {
    OCCAM_UNROLL
    for (int c = 0; c < columns; ++c) {
      const float b = row[c * kGrid];
      OCCAM_UNROLL
      for (int i = 0; i < per_m; ++i) sum[i][c] = law::fma(a[i], b, sum[i][c]);
    }
  };
  const int whole = out / kQuad * kQuad;
  OCCAM_NO_UNROLL
  for (int j = 0; j < whole; j += kQuad) {
    float a[per_m][kQuad];
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) read_steps(delta_row + i * kGrid * delta.stride + j, a[i]);
    OCCAM_UNROLL
    for (int step = 0; step < kQuad; ++step) {
      float of_step[per_m];
      OCCAM_UNROLL
      for (int i = 0; i < per_m; ++i) of_step[i] = a[i][step];
      add(of_step, weight_row);
      weight_row += weight.stride;
    }
  }
  OCCAM_NO_UNROLL
  for (int j = whole; j < out; ++j) {
    float of_step[per_m];
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) of_step[i] = delta_row[i * kGrid * delta.stride + j];
    add(of_step, weight_row);
    weight_row += weight.stride;
  }
  OCCAM_UNROLL
  for (int c = 0; c < columns; ++c) {
    const int feature = first + n + c * kGrid;
    if (feature >= in) continue;
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) store(m + i * kGrid, feature, sum[i][c]);
  }
}

// dL/dx[s][k] = Σ_j delta[s][j] · weight[j][k]
template <int slice, class Store>
__device__ __forceinline__ void input_gradient_product(Panel delta, Panel weight, int in, int out,
                                                       const Store& store) {
  const int all = (in + kGrid - 1) / kGrid, passes = (all + kMostColumns - 1) / kMostColumns;
  const int each = (all + passes - 1) / passes;
  with_columns(each, [&](auto columns) {
    OCCAM_NO_UNROLL
    for (int first = 0; first < in; first += columns * kGrid)
      input_gradient_pass<slice, columns>(delta, weight, in, out, first, store);
  });
}

// The same of one unit or two: output[s][k] = through(kept[s][k], dL/dx[s][k]), where kept may be the output. A thread
// has a quad of features.
template <class Through>
__device__ __forceinline__ void input_gradient_of_few(Panel delta, Panel weight, Panel kept, Panel output,
                                                      int samples, int in, int out, const Through& through) {
  constexpr int kAtOnce = 4;  // samples
  const int quads = (in + kQuad - 1) / kQuad, apart = kResidentThreads / quads;
  const int k = thread() % quads * kQuad, first = thread() / quads;
  if (first >= apart) return;
  float w[2][kQuad];
  read_steps(weight.data + k, w[0]);
  read_steps(weight.row(out - 1) + k, w[1]);
  OCCAM_NO_UNROLL
  for (int begin = first; begin < samples; begin += kAtOnce * apart) {
    float h[kAtOnce][kQuad], d[kAtOnce][2];
    OCCAM_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int sample = begin + i * apart < samples ? begin + i * apart : begin;
      read_steps(kept.row(sample) + k, h[i]);
      d[i][0] = delta.row(sample)[0], d[i][1] = delta.row(sample)[1];
    }
    OCCAM_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      float gradient[kQuad];
      OCCAM_UNROLL
      for (int e = 0; e < kQuad; ++e) {
        float sum = law::fma(d[i][0], w[0][e], 0.0f);
        if (out > 1) sum = law::fma(d[i][1], w[1][e], sum);
        gradient[e] = k + e < in ? through(h[i][e], sum) : kPadding;
      }
      if (begin + i * apart < samples)
        *reinterpret_cast<float4*>(output.row(begin + i * apart) + k) =
            make_float4(gradient[0], gradient[1], gradient[2], gradient[3]);
    }
  }
}

// A thread's part of a weight gradient: `pairs` pairs of neighbouring features, from `first` on, of a quad of units.
// An odd number of pairs keeps the pairs that a warp reads at once in different banks.
template <int pairs>
struct GradientPart {
  static_assert(pairs % 2 == 1);
  float sum[kQuad][2 * pairs];

  // f(unit, feature, sum) for those that exist.
  template <class F>
  __device__ __forceinline__ void each(int in, int out, int quad, int first, const F& f) {
    OCCAM_UNROLL
    for (int e = 0; e < kQuad; ++e) {
      OCCAM_UNROLL
      for (int c = 0; c < 2 * pairs; ++c)
        if (kQuad * quad + e < out && first + c < in) f(kQuad * quad + e, first + c, sum[e][c]);
    }
  }

  // Adds the samples in ascending order.
  __device__ __forceinline__ void add(Panel delta, Panel x, int samples, int quad, int first) {
    const float* delta_row = delta.data + kQuad * quad;
    const float* x_row = x.data + first;  // what follows the row is read and not kept
#pragma unroll 4
    for (int s = 0; s < samples; ++s, delta_row += delta.stride, x_row += x.stride) {
      float d[kQuad];
      read_steps(delta_row, d);
      OCCAM_UNROLL
      for (int p = 0; p < pairs; ++p) {
        const float2 value = *reinterpret_cast<const float2*>(x_row + 2 * p);
        OCCAM_UNROLL
        for (int e = 0; e < kQuad; ++e) {
          sum[e][2 * p] = law::fma(d[e], value.x, sum[e][2 * p]);
          sum[e][2 * p + 1] = law::fma(d[e], value.y, sum[e][2 * p + 1]);
        }
      }
    }
  }
};

// The part of a weight gradient that a thread owns first; the next ones of its quad are `across` parts further.
struct GradientPlace {
  int across, quad, place;

  __device__ __forceinline__ explicit GradientPlace(int out) {
    static_assert(kMaxResidentWidth == kQuad * kResidentThreads);
    const int quads = (out + kQuad - 1) / kQuad;
    across = kResidentThreads / quads, quad = thread() / across, place = thread() % across;
    if (quad >= quads) quad = -1;  // it owns none
  }
};

__device__ __forceinline__ float bias_gradient(Panel delta, int samples, int unit, float sum) {
#pragma unroll 16  // their loads overlap
  for (int s = 0; s < samples; ++s) sum += delta.row(s)[unit];
  return sum;
}

// gradient[j][k] = (begins ? 0 : gradient[j][k]) + Σ_s delta[s][j] · x[s][k], and the bias's with x = 1.
__device__ __forceinline__ void weight_gradient_product(Panel delta, Panel x, Panel gradient, float* bias,
                                                        int samples, int in, int out, bool begins) {
  // Without a barrier in between, these few chains run beside the product.
  for (int unit = thread(); unit < out; unit += kResidentThreads)
    bias[unit] = bias_gradient(delta, samples, unit, begins ? 0.0f : bias[unit]);
  const GradientPlace own(out);
  if (own.quad < 0) return;
  const auto run = [&](auto pairs) {
    OCCAM_NO_UNROLL
    for (int first = 2 * pairs * own.place; first < in; first += 2 * pairs * own.across) {
      GradientPart<pairs> part{};
      if (!begins)
        part.each(in, out, own.quad, first,
                  [&](int unit, int k, float& sum) { sum = gradient.row(unit)[k]; });
      part.add(delta, x, samples, own.quad, first);
      part.each(in, out, own.quad, first, [&](int unit, int k, float& sum) { gradient.row(unit)[k] = sum; });
    }
  };
  const int each = (in + 2 * own.across - 1) / (2 * own.across);  // pairs for each thread
  if (each <= 1) return run(std::integral_constant<int, 1>{});
  if (each <= 3) return run(std::integral_constant<int, 3>{});
  return run(std::integral_constant<int, 5>{});
}

}  // namespace occam::cuda
