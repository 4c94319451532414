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

// A thread's place in the grid of samples and features. The lowest bit of a lane is of the sample, the others are of
// the feature: lanes l and l ^ 1 read the same weights, l and l ^ 2 the same sample. Of such pairs shared memory
// serves twice as many lanes at a time.
struct GridPlace {
  int m, n;
};
__device__ __forceinline__ GridPlace grid_place() {
  return {thread() / 32 * 2 + thread() % 2, thread() % 32 / 2};
}

// A quad of neighbouring floats, or one.
template <int width>
__device__ __forceinline__ void read_run(const float* from, float (&value)[width]) {
  if constexpr (width == kQuad) {
    read_steps(from, value);
  } else {
    value[0] = *from;
  }
}

// To a row of `columns` columns, from `column` on; beyond them goes the padding.
template <int width>
__device__ __forceinline__ void write_run(float* row, int column, int columns, const float (&value)[width]) {
  if constexpr (width == kQuad) {
    store_quad(row, column, columns, make_float4(value[0], value[1], value[2], value[3]));
  } else {
    row[column] = value[0];
  }
}

// gradient[e] ← through(gradient[e], kept[e])
template <int width, class Through>
__device__ __forceinline__ void through_run(const float* kept, float (&gradient)[width],
                                            const Through& through) {
  float h[width];
  read_run(kept, h);
  OCCAM_UNROLL
  for (int e = 0; e < width; ++e) gradient[e] = through(gradient[e], h[e]);
}

// A thread's `columns` columns as quads of neighbours and, what is left, single ones: calls f(columns before, width).
template <int columns, int before = 0, class F>
__device__ __forceinline__ void each_run(const F& f) {
  if constexpr (before < columns) {
    constexpr int width = columns - before >= kQuad ? kQuad : 1;
    f(std::integral_constant<int, before>{}, std::integral_constant<int, width>{});
    each_run<columns, before + width>(f);
  }
}

// add(stage) for steps 0 … steps − 1, in order, each after load(stage, step). While one stage is added the next one's
// loads are under way: with two warps a scheduler nobody else hides how long they take.
template <class Stage, class Load, class Add>
__device__ __forceinline__ void pipelined(int steps, const Load& load, const Add& add) {
  Stage even, odd;
  load(even, 0);
  OCCAM_NO_UNROLL
  for (int step = 0; step < steps; step += 2) {
    load(odd, step + 1 < steps ? step + 1 : step);
    add(even);
    if (step + 1 == steps) break;
    load(even, step + 2 < steps ? step + 2 : step + 1);
    add(odd);
  }
}

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
  const GridPlace own = grid_place();
  const int m = own.m, n = own.n;
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
  struct Stage {
    float a[per_m][kQuad], b[columns][kQuad];
  };
  const auto load = [&](Stage& to, int quad) {
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) read_steps(x_row + i * kGrid * x.stride + kQuad * quad, to.a[i]);
    OCCAM_UNROLL
    for (int j = 0; j < columns; ++j) read_steps(weight_row[j] + kQuad * quad, to.b[j]);
  };
  // Beyond `in` x is −0 and the weight +0: no accumulator notices (product.cuh).
  pipelined<Stage>((in + kQuad - 1) / kQuad, load, [&](const Stage& of) {
    OCCAM_UNROLL
    for (int j = 0; j < columns; ++j) {
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        OCCAM_UNROLL
        for (int i = 0; i < per_m; ++i) sum[i][j] = law::fma(of.a[i][step], of.b[j][step], sum[i][j]);
      }
    }
  });
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
#pragma unroll 8  // few threads: their loads must overlap
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

// store(sample, feature, run) with run a float[4] or [1], of neighbouring features from `feature` on, of which at least
// the first exists.
template <int slice, int columns, class Store>
__device__ __forceinline__ void input_gradient_pass(Panel delta, Panel weight, int in, int out, int first,
                                                    const Store& store) {
  constexpr int per_m = slice / kGrid;
  const GridPlace own = grid_place();
  const int m = own.m;
  const auto run_at = [&](int before, int width) { return before * kGrid + width * own.n; };
  const float* delta_row = delta.row(m);
  // Columns beyond `in` are what follows in shared memory, another row or other parameters; none is kept.
  const float* weight_row = weight.data + first;
  float sum[per_m][columns] = {};
  const auto read_row = [&](int j, float(&b)[columns]) {
    each_run<columns>([&](auto before, auto width) {
      float run[width];
      read_run(weight_row + j * weight.stride + run_at(before, width), run);
      OCCAM_UNROLL
      for (int e = 0; e < width; ++e) b[before + e] = run[e];
    });
  };
  struct Stage {
    float a[per_m][kQuad], b[kQuad][columns];
  };
  const auto load = [&](Stage& to, int quad) {
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) read_steps(delta_row + i * kGrid * delta.stride + kQuad * quad, to.a[i]);
    OCCAM_UNROLL
    for (int step = 0; step < kQuad; ++step) read_row(kQuad * quad + step, to.b[step]);
  };
  const int quads = out / kQuad;
  if (quads > 0)
    pipelined<Stage>(quads, load, [&](const Stage& of) {
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        OCCAM_UNROLL
        for (int c = 0; c < columns; ++c) {
          OCCAM_UNROLL
          for (int i = 0; i < per_m; ++i) sum[i][c] = law::fma(of.a[i][step], of.b[step][c], sum[i][c]);
        }
      }
    });
  OCCAM_NO_UNROLL
  for (int j = kQuad * quads; j < out; ++j) {
    float b[columns];
    read_row(j, b);
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) {
      const float a = delta_row[i * kGrid * delta.stride + j];
      OCCAM_UNROLL
      for (int c = 0; c < columns; ++c) sum[i][c] = law::fma(a, b[c], sum[i][c]);
    }
  }
  each_run<columns>([&](auto before, auto width) {
    const int feature = first + run_at(before, width);
    if (feature >= in) return;
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) {
      float run[width];
      OCCAM_UNROLL
      for (int e = 0; e < width; ++e) run[e] = sum[i][before + e];
      store(m + i * kGrid, feature, run);
    }
  });
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

// f(place of the pair, unit of the quad, pair) for those of a thread's pairs that exist, as float2*; as float* where
// the second feature is padding.
template <int pairs, class F>
__device__ __forceinline__ void each_pair(Panel gradient, int in, int out, int quad, int first, const F& f) {
  OCCAM_UNROLL
  for (int e = 0; e < kQuad; ++e) {
    const int unit = kQuad * quad + e;
    if (unit >= out) continue;
    float* const row = gradient.row(unit) + first;
    OCCAM_UNROLL
    for (int p = 0; p < pairs; ++p) {
      if (first + 2 * p + 1 < in)
        f(reinterpret_cast<float2*>(row + 2 * p), e, p);
      else if (first + 2 * p < in)
        f(row + 2 * p, e, p);
    }
  }
}

// `pairs` pairs of neighbouring features, from `first` on, of a quad of units. An odd number of pairs keeps
// the pairs that a warp reads at once in different banks.
template <int pairs>
__device__ __forceinline__ void weight_gradient_pass(Panel delta, Panel x, Panel gradient, int samples,
                                                     int in, int out, int quad, int first, bool begins) {
  static_assert(pairs % 2 == 1);
  float2 sum[kQuad][pairs] = {};
  if (!begins)
    each_pair<pairs>(gradient, in, out, quad, first, [&](auto* at, int e, int p) {
      if constexpr (std::is_same_v<decltype(at), float2*>)
        sum[e][p] = *at;
      else
        sum[e][p].x = *at;
    });
  const float* delta_row = delta.data + kQuad * quad;
  const float* x_row = x.data + first;  // what follows the row is read and not kept
  // A thread with one pair is one of few, which have little to add: they load more samples at a time.
  constexpr int at_once = pairs == 1 ? 8 : 2;
  struct Stage {
    float d[at_once][kQuad];
    float2 x[at_once][pairs];
  };
  const auto load_sample = [&](Stage& to, int at, int s) {
    read_steps(delta_row + s * delta.stride, to.d[at]);
    OCCAM_UNROLL
    for (int p = 0; p < pairs; ++p)
      to.x[at][p] = *reinterpret_cast<const float2*>(x_row + s * x.stride + 2 * p);
  };
  const auto add_sample = [&](const Stage& of, int at) {
    OCCAM_UNROLL
    for (int p = 0; p < pairs; ++p) {
      OCCAM_UNROLL
      for (int e = 0; e < kQuad; ++e) {
        sum[e][p].x = law::fma(of.d[at][e], of.x[at][p].x, sum[e][p].x);
        sum[e][p].y = law::fma(of.d[at][e], of.x[at][p].y, sum[e][p].y);
      }
    }
  };
  const int stages = samples / at_once;
  if (stages > 0)
    pipelined<Stage>(
        stages,
        [&](Stage& to, int stage) {
          OCCAM_UNROLL
          for (int at = 0; at < at_once; ++at) load_sample(to, at, stage * at_once + at);
        },
        [&](const Stage& of) {
          OCCAM_UNROLL
          for (int at = 0; at < at_once; ++at) add_sample(of, at);
        });
  OCCAM_NO_UNROLL
  for (int s = stages * at_once; s < samples; ++s) {
    Stage one;
    load_sample(one, 0, s);
    add_sample(one, 0);
  }
  each_pair<pairs>(gradient, in, out, quad, first, [&](auto* at, int e, int p) {
    if constexpr (std::is_same_v<decltype(at), float2*>)
      *at = sum[e][p];
    else
      *at = sum[e][p].x;
  });
}

// gradient[j][k] = (begins ? 0 : gradient[j][k]) + Σ_s delta[s][j] · x[s][k], and the bias's with x = 1.
__device__ __forceinline__ void weight_gradient_product(Panel delta, Panel x, Panel gradient,
                                                        float* bias_gradient, int samples, int in, int out,
                                                        bool begins) {
  // Without a barrier in between, these few chains run beside the product.
  for (int unit = thread(); unit < out; unit += kResidentThreads) {
    float sum = begins ? 0.0f : bias_gradient[unit];
#pragma unroll 16
    for (int s = 0; s < samples; ++s) sum += delta.row(s)[unit];
    bias_gradient[unit] = sum;
  }
  static_assert(kMaxResidentWidth == kQuad * kResidentThreads);
  const int quads = (out + kQuad - 1) / kQuad, across = kResidentThreads / quads;  // threads a row of quads
  const int quad = thread() / across, place = thread() % across;
  if (quad >= quads) return;
  const auto run = [&](auto pairs) {
    OCCAM_NO_UNROLL
    for (int first = 2 * pairs * place; first < in; first += 2 * pairs * across)
      weight_gradient_pass<pairs>(delta, x, gradient, samples, in, out, quad, first, begins);
  };
  const int each = (in + 2 * across - 1) / (2 * across);  // pairs for each thread
  if (each <= 1) return run(std::integral_constant<int, 1>{});
  if (each <= 3) return run(std::integral_constant<int, 3>{});
  return run(std::integral_constant<int, 5>{});
}

}  // namespace occam::cuda
