// The products of the resident kernel's variants (variant.cuh): kernels/resident_product.cuh with the grid of
// threads, the unrolling and the place of the gradients as parameters.
#pragma once

#include "launch.hpp"
#include "optimizer.cuh"
#include "resident.hpp"
#include "resident_product.cuh"

namespace occam::lab {

using namespace occam::cuda;

enum class Gradients { shared, registers };

// m × n threads over samples and features; slice samples at a time; the loops over what is summed are
// unrolled `unroll` times; so many blocks share a multiprocessor.
template <int m, int n, int slice, int unroll, int blocks, Gradients gradients>
struct Shape {
  static constexpr int kM = m, kN = n, kThreads = m * n, kSlice = slice, kUnroll = unroll, kBlocks = blocks;
  static constexpr int kPerM = slice / m;
  static constexpr Gradients kGradients = gradients;
  static_assert(slice % m == 0 && kThreads % 32 == 0);
};

// With gradients in registers: three layers, and pairs of features that a thread owns of a quad of units in
// each.
inline constexpr int kHeldLayers = 3;
OCCAM_HD constexpr int held_pairs(int layer) { return layer == 0 ? 3 : layer == 1 ? 5 : 1; }

// ---- building blocks --------------------------------------------------------------------------------------

template <class F>
__device__ __forceinline__ void with_few_columns(int columns, const F& f) {
  if (columns <= 2) return f(std::integral_constant<int, 2>{});
  if (columns <= 4) return f(std::integral_constant<int, 4>{});
  return f(std::integral_constant<int, 7>{});
}

// Runs pass(columns, first) over all `features`, in passes of at most 7 columns a thread.
template <class S, class Pass>
__device__ __forceinline__ void over_columns(int features, const Pass& pass) {
  const int all = (features + S::kN - 1) / S::kN, passes = (all + 6) / 7;
  with_few_columns((all + passes - 1) / passes, [&](auto columns) {
    OCCAM_NO_UNROLL
    for (int first = 0; first < features; first += columns * S::kN) pass(columns, first);
  });
}

template <class S, int columns, class Store>
__device__ __forceinline__ void forward_columns(Panel x, Panel weight, const float* bias, int in, int out,
                                                int first, const Store& store) {
  const int m = thread() / S::kN, n = thread() % S::kN;
  const float* weight_row[columns];
  float sum[S::kPerM][columns];
  OCCAM_UNROLL
  for (int j = 0; j < columns; ++j) {
    const int unit = first + n + j * S::kN < out ? first + n + j * S::kN : out - 1;
    weight_row[j] = weight.row(unit);
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) sum[i][j] = bias[unit];
  }
#pragma unroll S::kUnroll
  for (int k = 0; k < in; k += kQuad) {
    float a[S::kPerM][kQuad];
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) read_steps(x.row(m + i * S::kM) + k, a[i]);
    OCCAM_UNROLL
    for (int j = 0; j < columns; ++j) {
      float b[kQuad];
      read_steps(weight_row[j] + k, b);
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        OCCAM_UNROLL
        for (int i = 0; i < S::kPerM; ++i) sum[i][j] = law::fma(a[i][step], b[step], sum[i][j]);
      }
    }
  }
  OCCAM_UNROLL
  for (int j = 0; j < columns; ++j) {
    const int unit = first + n + j * S::kN;
    if (unit >= out) continue;
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) store(m + i * S::kM, unit, sum[i][j]);
  }
}

template <class S, class Store>
__device__ __forceinline__ void forward_variant(Panel x, Panel weight, const float* bias, int samples, int in,
                                                int out, const Store& store) {
  if (out > S::kN / 2)
    return over_columns<S>(out, [&](auto columns, int first) {
      forward_columns<S, columns>(x, weight, bias, in, out, first, store);
    });
  for (int item = thread(); item < samples * out; item += S::kThreads) {
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

template <class S, int columns, class Store>
__device__ __forceinline__ void input_gradient_columns(Panel delta, Panel weight, int in, int out, int first,
                                                       const Store& store) {
  const int m = thread() / S::kN, n = thread() % S::kN;
  const float* weight_row = weight.data + first + n;
  float sum[S::kPerM][columns] = {};
  const auto add = [&](int i, float a, const float(&b)[columns]) {
    OCCAM_UNROLL
    for (int c = 0; c < columns; ++c) sum[i][c] = law::fma(a, b[c], sum[i][c]);
  };
  const auto read = [&](float(&b)[columns]) {
    OCCAM_UNROLL
    for (int c = 0; c < columns; ++c) b[c] = weight_row[c * S::kN];
    weight_row += weight.stride;
  };
  const int whole = out / kQuad * kQuad;
#pragma unroll(S::kUnroll + 1) / 2
  for (int j = 0; j < whole; j += kQuad) {
    float a[S::kPerM][kQuad];
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) read_steps(delta.row(m + i * S::kM) + j, a[i]);
    OCCAM_UNROLL
    for (int step = 0; step < kQuad; ++step) {
      float b[columns];
      read(b);
      OCCAM_UNROLL
      for (int i = 0; i < S::kPerM; ++i) add(i, a[i][step], b);
    }
  }
  OCCAM_NO_UNROLL
  for (int j = whole; j < out; ++j) {
    float b[columns];
    read(b);
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) add(i, delta.row(m + i * S::kM)[j], b);
  }
  OCCAM_UNROLL
  for (int c = 0; c < columns; ++c) {
    const int feature = first + n + c * S::kN;
    if (feature >= in) continue;
    OCCAM_UNROLL
    for (int i = 0; i < S::kPerM; ++i) store(m + i * S::kM, feature, sum[i][c]);
  }
}

// A thread's part of a weight gradient: `pairs` pairs of features, from `first` on, of one quad of units.
template <int pairs>
struct Part {
  float sum[kQuad][2 * pairs];

  template <class F>
  __device__ __forceinline__ void each(const LayerView& view, int quad, int first, const F& f) {
    OCCAM_UNROLL
    for (int e = 0; e < kQuad; ++e) {
      OCCAM_UNROLL
      for (int c = 0; c < 2 * pairs; ++c)
        if (kQuad * quad + e < view.out && first + c < view.in) f(kQuad * quad + e, first + c, sum[e][c]);
    }
  }

  // Adds the slice's samples, in ascending order.
  template <class S>
  __device__ __forceinline__ void add(Panel delta, Panel x, int samples, int quad, int first) {
    const float* delta_row = delta.data + kQuad * quad;
    const float* x_row = x.data + first;
#pragma unroll S::kUnroll
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

// Which part of a layer's weight gradient this thread owns first; the next ones are `across` parts further.
template <class S>
struct Place {
  int across, quad, place;

  __device__ __forceinline__ explicit Place(int out) {
    const int quads = (out + kQuad - 1) / kQuad;
    across = S::kThreads / quads, quad = thread() / across, place = thread() % across;
    if (quad >= quads) quad = -1;
  }
};

template <class S, int pairs>
__device__ __forceinline__ void weight_gradient_parts(Panel delta, Panel x, Panel gradient,
                                                      const LayerView& view, int samples, bool begins) {
  const Place<S> own(view.out);
  if (own.quad < 0) return;
  OCCAM_NO_UNROLL
  for (int first = 2 * pairs * own.place; first < view.in; first += 2 * pairs * own.across) {
    Part<pairs> part{};
    if (!begins)
      part.each(view, own.quad, first, [&](int unit, int k, float& sum) { sum = gradient.row(unit)[k]; });
    part.template add<S>(delta, x, samples, own.quad, first);
    part.each(view, own.quad, first, [&](int unit, int k, float& sum) { gradient.row(unit)[k] = sum; });
  }
}

// Gradients in shared memory, added to from slice to slice.
template <class S, Gradients = S::kGradients>
struct Accumulated {
  float* gradients;  // [parameter_stride]

  template <int l>
  __device__ __forceinline__ void add(const LayerView& view, Panel delta, Panel x, int samples, bool begins) {
    for (int unit = thread(); unit < view.out; unit += S::kThreads) {
      float sum = begins ? 0.0f : gradients[view.bias + unit];
      for (int s = 0; s < samples; ++s) sum += delta.row(s)[unit];
      gradients[view.bias + unit] = sum;
    }
    const Panel gradient{gradients + view.weight, view.in_stride};
    const int across = S::kThreads / ((view.out + kQuad - 1) / kQuad);
    const int each = (view.in + 2 * across - 1) / (2 * across);
    if (each <= 1) return weight_gradient_parts<S, 1>(delta, x, gradient, view, samples, begins);
    if (each <= 3) return weight_gradient_parts<S, 3>(delta, x, gradient, view, samples, begins);
    weight_gradient_parts<S, 5>(delta, x, gradient, view, samples, begins);
  }

  __device__ __forceinline__ void step(const Trainee& trainee, const ResidentPlan&, int parameter_count) {
    for (int i = kQuad * thread(); i < parameter_count; i += kQuad * S::kThreads) {
      float gradient[kQuad];
      read_steps(gradients + i, gradient);
      trainee.template step_quad<OptimizerKind::sgd, false>(i, kQuad, gradient);
    }
  }
};

// Gradients in registers over the whole batch: every thread keeps its part of each layer.
template <class S>
struct Accumulated<S, Gradients::registers> {
  float* gradients;  // null
  Part<held_pairs(0)> first;
  Part<held_pairs(1)> second;
  Part<held_pairs(2)> third;
  float bias[kHeldLayers];

  template <int l>
  __device__ __forceinline__ auto& part() {
    if constexpr (l == 0) return first;
    if constexpr (l == 1) return second;
    if constexpr (l == 2) return third;
  }

  template <int l>
  __device__ __forceinline__ void add(const LayerView& view, Panel delta, Panel x, int samples, bool begins) {
    if (begins) part<l>() = {}, bias[l] = 0.0f;
    if (thread() < view.out)
      for (int s = 0; s < samples; ++s) bias[l] += delta.row(s)[thread()];
    const Place<S> own(view.out);
    if (own.quad >= 0) part<l>().template add<S>(delta, x, samples, own.quad, 2 * held_pairs(l) * own.place);
  }

  template <int l>
  __device__ __forceinline__ void step_layer(const Trainee& trainee, const LayerView& view) {
    if (thread() < view.out) trainee.template step<OptimizerKind::sgd, false>(view.bias + thread(), bias[l]);
    const Place<S> own(view.out);
    if (own.quad < 0) return;
    part<l>().each(view, own.quad, 2 * held_pairs(l) * own.place, [&](int unit, int k, float gradient) {
      trainee.template step<OptimizerKind::sgd, false>(view.weight + unit * view.in_stride + k, gradient);
    });
  }

  __device__ __forceinline__ void step(const Trainee& trainee, const ResidentPlan& plan, int) {
    step_layer<0>(trainee, plan.layer[0].view);
    step_layer<1>(trainee, plan.layer[1].view);
    step_layer<2>(trainee, plan.layer[2].view);
  }
};

}  // namespace occam::lab
