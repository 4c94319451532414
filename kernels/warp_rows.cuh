// Products of rows that a warp has to itself, in a block's shared memory, under the law: each element is one
// accumulator and one fmaf chain in ascending order of what is summed over. No other warp reads or writes these rows, so
// a warp meets nobody on their way through a network.
//
// The lanes form a grid of 2 over rows and 16 over features; neighbouring lanes share features. Features beyond the last
// are computed from whatever stands there and never used.
#pragma once

#include "lanes.cuh"
#include "network_on_chip.hpp"
#include "resident_product.cuh"

namespace occam::cuda {

inline constexpr int kRowGroups = 2, kAcross = law::kLanes / kRowGroups;
// Of every second 16 units weights keep the two features of a pair in each other's place. Four weights that are read at
// once lie side by side in registers, the first one in an even one; so of a run of multiply-adds that share a row's
// feature every second one reads its weight from the other register bank (docs/gpu_performance.md).
__device__ __forceinline__ constexpr bool swaps_pairs(int unit) { return unit / kAcross % 2 != 0; }

// Of a thread and pass: 13 x 8 sums, and what they are made of, are in registers; so are quads of features.
inline constexpr int kMostUnits = 13, kMostQuads = 3;
// Where there are several passes; even, so that units are swapped by turns in each.
inline constexpr int kUnitsOfPass = 10;
static_assert(kChipPassUnits == kMostUnits * kAcross && kChipPassInputs == kMostQuads * kQuad * kAcross);

__device__ __forceinline__ int lane_row() { return lane() % kRowGroups; }
__device__ __forceinline__ int lane_feature() { return lane() / kRowGroups; }

// Calls f with the least of the compiled numbers of units a thread may own that is at least `units`; with few rows, which
// are those of wide networks, there are fewer numbers.
template <int rows, class F>
__device__ __forceinline__ void with_units(int units, const F& f) {
  if constexpr (rows >= 8) {
    if (units <= 1) return f(std::integral_constant<int, 1>{});
    if (units <= 2) return f(std::integral_constant<int, 2>{});
    if (units <= 7 && units > 4) return f(std::integral_constant<int, 7>{});
  }
  if (units <= 4) return f(std::integral_constant<int, 4>{});
  if (units <= 10) return f(std::integral_constant<int, 10>{});
  return f(std::integral_constant<int, kMostUnits>{});
}

// z[s][j] = bias[j] + Σ_k x[s][k] · weight[j][k] of so many rows of the warp. store(sum, first) once a pass, when
// no lane reads rows any more if one pass is all: sum[i][j] is of row lane_row() + 2 i and unit
// first + lane_feature() + 16 j. Who reads what it stores has the warp meet first.
template <int rows, class Store>
__device__ __forceinline__ void multiply_forward(Panel x, Panel weight, const float* bias, int in, int out,
                                                 const Store& store) {
  constexpr int per_m = rows / kRowGroups;
  const int all = (out + kAcross - 1) / kAcross;
  with_units<rows>(all > kMostUnits ? kUnitsOfPass : all, [&](auto units) {
    OCCAM_NO_UNROLL
    for (int first = 0; first < out; first += units * kAcross) {
      const float* from = x.row(lane_row());
      const float* weights[units];
      float sum[per_m][units];
      OCCAM_UNROLL
      for (int j = 0; j < units; ++j) {
        const int unit = first + lane_feature() + j * kAcross, at = unit < out ? unit : out - 1;
        weights[j] = weight.row(at);
        const float start = bias[at];
        OCCAM_UNROLL
        for (int i = 0; i < per_m; ++i) sum[i][j] = start;
      }
      // Beyond `in` x is −0 and the weight +0: no accumulator notices (product.cuh).
      OCCAM_NO_UNROLL
      for (int k = 0; k < in; k += kQuad, from += kQuad) {
        float b[units][kQuad];
        OCCAM_UNROLL
        for (int j = 0; j < units; ++j) read_steps(weights[j] + k, b[j]);
        OCCAM_UNROLL
        for (int i = 0; i < per_m; ++i) {
          float a[kQuad];
          read_steps(from + i * kRowGroups * x.stride, a);
          OCCAM_UNROLL
          for (int step = 0; step < kQuad; ++step) {
            OCCAM_UNROLL
            for (int j = 0; j < units; ++j)
              sum[i][j] = law::fma(a[step], b[j][j % 2 == 0 ? step : step ^ 1], sum[i][j]);
          }
        }
      }
      __syncwarp();
      store(sum, first);
    }
  });
}

// The same of the few units behind the last hidden layer: one lane a row and unit. store(s, unit, z).
template <int rows, class Store>
__device__ __forceinline__ void multiply_forward_few(Panel x, Panel weight, const float* bias, int in,
                                                     int out, const Store& store) {
  OCCAM_NO_UNROLL
  for (int item = lane(); item < rows * out; item += law::kLanes) {
    const int s = item / out, unit = item % out;
    const float *a = x.row(s), *b = weight.row(unit);
    float sum = bias[unit];
    const auto add = [&](auto quads) {
      float of_row[quads][kQuad], of_unit[quads][kQuad];
      OCCAM_UNROLL
      for (int q = 0; q < quads; ++q) {
        read_steps(a + q * kQuad, of_row[q]);
        read_steps(b + q * kQuad, of_unit[q]);
      }
      OCCAM_UNROLL
      for (int q = 0; q < quads; ++q) {
        OCCAM_UNROLL
        for (int step = 0; step < kQuad; ++step) sum = law::fma(of_row[q][step], of_unit[q][step], sum);
      }
      a += quads * kQuad, b += quads * kQuad;
    };
    int left = (in + kQuad - 1) / kQuad;
    OCCAM_NO_UNROLL
    for (; left >= 4; left -= 4) add(std::integral_constant<int, 4>{});
    OCCAM_NO_UNROLL
    for (; left > 0; --left) add(std::integral_constant<int, 1>{});
    store(s, unit, sum);
  }
  __syncwarp();
}

// One pass of multiply_backward, from feature `first` on.
template <int rows, int quads, class Store>
__device__ __forceinline__ void backward_pass(Panel delta, Panel weight, int in, int out, int first,
                                              const Store& store) {
  constexpr int per_m = rows / kRowGroups, columns = quads * kQuad;
  const float* from = delta.row(lane_row());
  const float* weights[quads];
  float sum[per_m][columns] = {};
  OCCAM_UNROLL
  for (int q = 0; q < quads; ++q) {
    const int k = first + kQuad * (lane_feature() + q * kAcross);
    weights[q] = weight.data + (k < in ? k : 0);
  }
  const auto add = [&](auto swapped, const auto& of_step) {
    float b[quads][kQuad];
    OCCAM_UNROLL
    for (int q = 0; q < quads; ++q) read_steps(weights[q], b[q]), weights[q] += weight.stride;
    OCCAM_UNROLL
    for (int i = 0; i < per_m; ++i) {
      OCCAM_UNROLL
      for (int at = 0; at < columns; ++at) {
        const int c = snake<columns>(i, at), e = c % kQuad;
        sum[i][c] = law::fma(of_step(i), b[c / kQuad][swapped ? e ^ 1 : e], sum[i][c]);
      }
    }
  };
  const auto add_units = [&](auto swapped, int units) {
    OCCAM_NO_UNROLL
    for (; units >= kQuad; units -= kQuad, from += kQuad) {
      float a[per_m][kQuad];
      OCCAM_UNROLL
      for (int i = 0; i < per_m; ++i) read_steps(from + i * kRowGroups * delta.stride, a[i]);
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) add(swapped, [&](int i) { return a[i][step]; });
    }
    OCCAM_NO_UNROLL
    for (; units > 0; --units, ++from)
      add(swapped, [&](int i) { return from[i * kRowGroups * delta.stride]; });
  };
  OCCAM_NO_UNROLL
  for (int j = 0; j < out; j += 2 * kAcross) {
    const int left = out - j;
    add_units(std::false_type{}, left < kAcross ? left : kAcross);
    add_units(std::true_type{}, left < kAcross ? 0 : left < 2 * kAcross ? left - kAcross : kAcross);
  }
  __syncwarp();
  store(sum, first);
}

// dL/dx[s][k] = Σ_j delta[s][j] · weight[j][k] of so many rows of the warp. store(sum, first) once a pass, as above:
// sum[i][c] is of row lane_row() + 2 i and feature first + 4 lane_feature() + 64 (c / 4) + c % 4.
template <int rows, class Store>
__device__ __forceinline__ void multiply_backward(Panel delta, Panel weight, int in, int out,
                                                  const Store& store) {
  constexpr int kApart = kAcross * kQuad;
  const int all = (in + kApart - 1) / kApart, passes = (all + kMostQuads - 1) / kMostQuads;
  const auto run = [&](auto quads) {
    OCCAM_NO_UNROLL
    for (int first = 0; first < in; first += quads * kApart)
      backward_pass<rows, quads>(delta, weight, in, out, first, store);
  };
  const int each = (all + passes - 1) / passes;
  if (each <= 1)
    run(std::integral_constant<int, 1>{});
  else if (each <= 2)
    run(std::integral_constant<int, 2>{});
  else
    run(std::integral_constant<int, kMostQuads>{});
  __syncwarp();
}

// The same from the few units behind the last hidden layer: a lane takes a quad of features of some rows at a time.
// store(s, k, sum): sum[i][e] is of row s + i and feature k + e.
template <int rows, class Store>
__device__ __forceinline__ void multiply_backward_few(Panel delta, Panel weight, int in, int out,
                                                      const Store& store) {
  constexpr int kAtOnce = rows < 8 ? rows : 8;
  OCCAM_NO_UNROLL
  for (int k = kQuad * lane(); k < in; k += kQuad * law::kLanes) {
    OCCAM_NO_UNROLL
    for (int s = 0; s < rows; s += kAtOnce) {
      float sum[kAtOnce][kQuad] = {};
      OCCAM_NO_UNROLL
      for (int j = 0; j < out; ++j) {
        float b[kQuad];
        read_steps(weight.row(j) + k, b);
        OCCAM_UNROLL
        for (int i = 0; i < kAtOnce; ++i) {
          const float a = delta.row(s + i)[j];
          OCCAM_UNROLL
          for (int e = 0; e < kQuad; ++e) sum[i][e] = law::fma(a, b[e], sum[i][e]);
        }
      }
      store(s, k, sum);
    }
  }
  __syncwarp();
}

// Lane sums of several rows at once, as law::LaneSum has them: 32 / rows neighbouring lanes return that of one row. The
// rows share the tree's shuffles: with every level half of the lanes go on with one half of the rows.
template <int rows>
__device__ __forceinline__ float totals(float (&of_row)[rows]) {
  int stride = law::kLanes / 2;
  OCCAM_UNROLL
  for (int half = rows / 2; half > 0; half /= 2, stride /= 2) {
    const bool upper = (lane() & stride) != 0;
    OCCAM_UNROLL
    for (int i = 0; i < half; ++i) {
      const float mine = upper ? of_row[i + half] : of_row[i], other = upper ? of_row[i] : of_row[i + half];
      of_row[i] = mine + __shfl_xor_sync(kWarp, other, stride);
    }
  }
  OCCAM_UNROLL
  for (; stride > 0; stride /= 2) of_row[0] += __shfl_xor_sync(kWarp, of_row[0], stride);
  return of_row[0];
}
// Row i's, of what lanes have for the rows of their totals.
template <int rows>
__device__ __forceinline__ float of_total_row(float value, int i) {
  return __shfl_sync(kWarp, value, i * (law::kLanes / rows));
}

}  // namespace occam::cuda
