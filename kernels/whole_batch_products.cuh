// What the bodies of plan resident with sizes at compile time multiply (kernels/whole_batch.cu,
// kernels/one_hidden_chip.cu), under the law: each element is one accumulator and one fmaf chain in ascending order of
// what is summed over. Features and units beyond the last ones are computed from whatever stands there and never used.
//
// S says the sizes: kRows × kColumns threads, with kPerM × kPerN samples and units of a product each; kStride floats from
// one sample's units to the next one's.
#pragma once

#include "law/activation.hpp"
#include "optimizer.cuh"
#include "resident_product.cuh"
#include "whole_batch.hpp"

namespace occam::cuda {

using B = WholeBatch;

// Samples m, m + kRows, … and features n, n + kColumns, … of a matrix.
template <class S>
using BatchTile = float[S::kPerM][S::kPerN];

// Where a thread's tile begins. Neighbouring lanes share a feature, and lanes two apart a sample, so that 16 of them
// are served at a time where 16 bytes are read; samples two apart put what a warp stores into different banks.
template <class S>
struct TilePosition {
  int m, n;

  __device__ __forceinline__ TilePosition() {
    constexpr int kDown = S::kRows / 8;  // pairs of warps one below the other
    const int lane = thread() % 32, warp = thread() / 32;
    m = 2 * (lane % 2 + lane / 4 % 2 * 2) + warp % 2 + warp / 2 % kDown * 8;
    n = lane / 2 % 2 + lane / 8 * 2 + warp / 2 / kDown * 8;
  }
};

// Rows of weights from this unit on keep the two features of a pair in each other's place, in the layers below the
// last. Four weights that are read at once lie side by side in registers, the first one in an even one, and a sum
// should be in the other bank than the weight that is read with it (docs/gpu_performance.md). So half of a thread's sums
// want an even register where the other half wants an odd one, and there are enough of both.
template <class S>
inline constexpr int kFirstSwapped = S::kPerN / 2 * S::kColumns;

template <class S>
__device__ __forceinline__ bool swapped(int unit) {
  return unit >= kFirstSwapped<S>;
}

// tile[s][j] = bias[j] + Σ_k x[s][k] · weight[j][k]; x at the tile's first sample, weight and bias at its first unit.
template <class S, int stride>
__device__ __forceinline__ void multiply_forward(const float* x, const float* weight, const float* bias,
                                                 int quads, BatchTile<S>& tile) {
  OCCAM_UNROLL
  for (int j = 0; j < S::kPerN; ++j) {
    const float start = bias[j * S::kColumns];
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) tile[i][j] = start;
  }
  OCCAM_NO_UNROLL
  for (int k = 0; k < quads; ++k, x += kQuad, weight += kQuad) {
    float b[S::kPerN][kQuad];
    OCCAM_UNROLL
    for (int j = 0; j < S::kPerN; ++j) read_steps(weight + j * S::kColumns * stride, b[j]);
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) {
      float a[kQuad];
      read_steps(x + i * S::kRows * stride, a);
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        OCCAM_UNROLL
        for (int at = 0; at < S::kPerN; ++at) {  // the two kinds of units by turns
          const int j = at % 2 ? at / 2 : kFirstSwapped<S> / S::kColumns + at / 2;
          tile[i][j] = law::fma(a[step], b[j][at % 2 ? step : step ^ 1], tile[i][j]);
        }
      }
    }
  }
}

// What a thread owns of an input gradient, of half a batch: samples m + 32 i, and features in quads, 4 n + 32 q, and
// one more, 96 + n. A quad of weights is read at once, and a quad of gradients takes the place of its activations.
struct InputGradient {
  static constexpr int kSamples = B::kHalf / B::kRows, kQuads = B::kPerN / kQuad;
  static constexpr int kSingle = kQuads * kQuad * B::kColumns;  // of thread 0
  static_assert(B::kPerN % kQuad == 1 && kSingle < B::kUnits);
  float sum[kSamples][B::kPerN];

  // sum[s][k] = Σ_j delta[s][j] · weight[j][k]; `delta`: of the half, from the thread's first sample on.
  __device__ __forceinline__ void multiply(const float* delta, const float* weight, int n, int units) {
    OCCAM_UNROLL
    for (int i = 0; i < kSamples; ++i) {
      OCCAM_UNROLL
      for (int c = 0; c < B::kPerN; ++c) sum[i][c] = 0.0f;
    }
    add<false>(delta, weight, n, kFirstSwapped<B> / kQuad);
    add<true>(delta + kFirstSwapped<B>, weight + kFirstSwapped<B> * B::kUnits, n,
              (units - kFirstSwapped<B>) / kQuad);
  }

  // The same for some quads of units, whose features are swapped or not.
  template <bool swapped>
  __device__ __forceinline__ void add(const float* delta, const float* weight, int n, int quads) {
    const float *in_quads = weight + kQuad * n, *single = weight + kSingle + (swapped ? n ^ 1 : n);
    OCCAM_NO_UNROLL
    for (int j = 0; j < quads;
         ++j, delta += kQuad, in_quads += kQuad * B::kUnits, single += kQuad * B::kUnits) {
      float a[kSamples][kQuad];
      OCCAM_UNROLL
      for (int i = 0; i < kSamples; ++i) read_steps(delta + i * B::kRows * B::kUnits, a[i]);
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        float b[B::kPerN];
        read_step<kQuads * kQuad, B::kColumns>(in_quads + step * B::kUnits, b);
        b[B::kPerN - 1] = single[step * B::kUnits];
        OCCAM_UNROLL
        for (int c = 0; c < B::kPerN; ++c) {
          const int from = swapped && c < B::kPerN - 1 ? c ^ 1 : c;
          OCCAM_UNROLL
          for (int at = 0; at < kSamples; ++at) {
            const int i = snake<kSamples>(step + c, at);
            sum[i][c] = law::fma(a[i][step], b[from], sum[i][c]);
          }
        }
      }
    }
  }

  // Back through ReLU; h: the half's activations from the thread's first sample on, which become dL/dz.
  __device__ __forceinline__ void replace(float* h, int n) const {
    const auto gradient = [](float sum_of, float h_of) {
      return law::activation_gradient<Activation::relu>(sum_of, 0.0f, h_of, 0.0f);
    };
    OCCAM_UNROLL
    for (int i = 0; i < kSamples; ++i) {
      float* const row = h + i * B::kRows * B::kUnits;
      OCCAM_UNROLL
      for (int q = 0; q < kQuads; ++q) {
        float4& at = *reinterpret_cast<float4*>(row + kQuad * (n + q * B::kColumns));
        const float(&of)[B::kPerN] = sum[i];
        at = make_float4(gradient(of[kQuad * q], at.x), gradient(of[kQuad * q + 1], at.y),
                         gradient(of[kQuad * q + 2], at.z), gradient(of[kQuad * q + 3], at.w));
      }
      float& at = row[kSingle + n];
      if (kSingle + n < B::kUnits) at = gradient(sum[i][B::kPerN - 1], at);
    }
  }
};

// one(s) of samples from 0 on, in runs whose loads overlap; move(count) goes on to the sample after so many. (A loop
// that the compiler unrolls may be left after any sample, and then nothing is loaded ahead.)
template <int run, class One, class Move>
__device__ __forceinline__ void in_runs(int samples, const One& one, const Move& move) {
  OCCAM_NO_UNROLL
  for (; samples >= run; samples -= run) {
    OCCAM_UNROLL
    for (int s = 0; s < run; ++s) one(s);
    move(run);
  }
  OCCAM_NO_UNROLL
  for (; samples > 0; --samples) one(0), move(1);
}

template <class S>
__device__ __forceinline__ float add_bias_gradient(const float* delta, int samples, float sum) {
  in_runs<32>(
      samples, [&](int s) { sum += delta[s * S::kStride]; }, [&](int run) { delta += run * S::kStride; });
  return sum;
}

// Where a thread's part of a weight gradient lies: `unit_quads` quads of units, one behind the other, and one of ten places
// along the features. Neighbouring lanes share the units, and lanes two apart the place.
template <int unit_quads>
struct PartPosition {
  static constexpr int kPlaces = 10, kUnits = kQuad * unit_quads;
  int unit, place;  // unit: the first one; −1: none

  __device__ __forceinline__ explicit PartPosition(int units) {
    const int parts = (units + kUnits - 1) / kUnits, group = thread() / 4, paired = parts / 2 * (kPlaces / 2);
    int part = group / (kPlaces / 2) * 2 + thread() / 2 % 2;
    place = group % (kPlaces / 2) * 2 + thread() % 2;
    if (group >= paired) {
      part = parts % 2 ? parts - 1 : -1, place = 4 * (group - paired) + thread() % 4;
      if (place >= kPlaces) part = -1;
    }
    unit = part < 0 ? -1 : part * kUnits;
  }
  __device__ __forceinline__ bool exists() const { return unit >= 0; }
};

// A thread's part of a weight gradient: quads of units, and of their features quads, 4 place + 40 q, and `rest` more, from
// 40 quads + rest · place on.
template <class S, int unit_quads, int quads, int rest>
struct WeightGradient {
  using Position = PartPosition<unit_quads>;
  static constexpr int kUnits = kQuad * unit_quads, kFeatures = kQuad * quads + rest;
  static constexpr int kRest = kQuad * quads * Position::kPlaces;  // of place 0
  static constexpr int kCovered = kRest + rest * Position::kPlaces;
  static_assert(rest == 1 || rest == 2);
  float sum[kUnits][kFeatures];

  // Adds the samples in ascending order; `delta`: of the first one, from the part's first unit on, x: of the first one.
  __device__ __forceinline__ void add(const float* delta, const float* x, int stride, int samples,
                                      int place) {
    const float *in_quads = x + kQuad * place, *in_rest = x + kRest + rest * place;
    constexpr int kRun = 320 / (kUnits * kFeatures);  // so many hide the wait where a run begins
    in_runs<kRun>(
        samples,
        [&](int s) {
          float d[kUnits], of[kFeatures];
          read_step<kUnits, 1>(delta + s * S::kStride, d);
          read(in_quads + s * stride, in_rest + s * stride, of);
          OCCAM_UNROLL
          for (int c = 0; c < kFeatures; ++c) {
            OCCAM_UNROLL
            for (int at = 0; at < kUnits; ++at) {
              const int e = snake<kUnits>(c, at);
              sum[e][c] = law::fma(d[e], of[c], sum[e][c]);
            }
          }
        },
        [&](int run) { delta += run * S::kStride, in_quads += run * stride, in_rest += run * stride; });
  }

  // f(unit of the part, feature, sum) of features below `in`.
  template <class F>
  __device__ __forceinline__ void each(int in, int place, const F& f) const {
    OCCAM_UNROLL
    for (int e = 0; e < kUnits; ++e) {
      OCCAM_UNROLL
      for (int c = 0; c < kFeatures; ++c)
        if (feature(c, place) < in) f(e, feature(c, place), sum[e][c]);
    }
  }

  // Steps the weights, rows of `stride` from the part's first unit on, of features below `in`.
  __device__ __forceinline__ void step(const law::OptimizerConstants& optimizer, float* weight, int stride,
                                       int in, int place, bool swaps) const {
    if (swaps) return step<true>(optimizer, weight, stride, in, place);
    step<false>(optimizer, weight, stride, in, place);
  }

 private:
  static __device__ __forceinline__ int feature(int c, int place) {
    return c < kQuad * quads ? kQuad * (place + c / kQuad * Position::kPlaces) + c % kQuad
                             : kRest + rest * place + c - kQuad * quads;
  }
  template <bool swaps>
  __device__ __forceinline__ void step(const law::OptimizerConstants& optimizer, float* weight, int stride,
                                       int in, int place) const {
    float* const in_quads = weight + kQuad * place;
    float* const in_rest = weight + kRest + (rest == 1 && swaps ? place ^ 1 : rest * place);
    float value[kUnits][kFeatures];  // all are read before the first is stepped, so memory is waited for once
    OCCAM_UNROLL
    for (int e = 0; e < kUnits; ++e) read(in_quads + e * stride, in_rest + e * stride, value[e]);
    OCCAM_UNROLL
    for (int e = 0; e < kUnits; ++e) {
      OCCAM_UNROLL
      for (int c = 0; c < kFeatures; ++c) {
        const int at = swaps && (c < kQuad * quads || rest == 2) ? c ^ 1 : c;
        float none = 0.0f;
        if (feature(c, place) < in)
          law::optimizer_step<OptimizerKind::sgd, false>(optimizer, {}, sum[e][c], value[e][at], none, none);
      }
    }
    OCCAM_UNROLL
    for (int e = 0; e < kUnits; ++e) write(in_quads + e * stride, in_rest + e * stride, value[e]);
  }

  static __device__ __forceinline__ void read(const float* in_quads, const float* in_rest,
                                              float (&of)[kFeatures]) {
    read_step<kQuad * quads, Position::kPlaces>(in_quads, of);
    if constexpr (rest == 2) {
      const float2 pair = *reinterpret_cast<const float2*>(in_rest);
      of[kFeatures - 2] = pair.x, of[kFeatures - 1] = pair.y;
    } else {
      of[kFeatures - 1] = *in_rest;
    }
  }
  static __device__ __forceinline__ void write(float* in_quads, float* in_rest,
                                               const float (&of)[kFeatures]) {
    OCCAM_UNROLL
    for (int c = 0; c < kQuad * quads; c += kQuad)
      *reinterpret_cast<float4*>(in_quads + c * Position::kPlaces) =
          make_float4(of[c], of[c + 1], of[c + 2], of[c + 3]);
    if constexpr (rest == 2)
      *reinterpret_cast<float2*>(in_rest) = make_float2(of[kFeatures - 2], of[kFeatures - 1]);
    else
      *in_rest = of[kFeatures - 1];
  }
};

}  // namespace occam::cuda
