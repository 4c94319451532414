// What a pass of samples multiplies, under the law: each element is one accumulator and one fmaf chain in ascending
// order of what is summed over. Columns beyond the last are computed from whatever stands there and never used.
//
// The rows of 128 samples stay in shared memory: a layer's inputs, its outputs, gradients in turn. A product leaves its
// results in registers until all threads have read the rows. Two warps share some columns, half of the samples each; they
// bring those columns' weights themselves, 16 of the depth a stage, so that others meet only where rows change.
#pragma once

#include "epilogue.cuh"
#include "sample_pass.hpp"

namespace occam::cuda {

// 128 samples × 64 columns for each of a thread's quads and 16 behind them for each single one. A thread owns samples
// m + 8 i, quads of columns 4 n + 64 q, and single columns n + 16 s behind all quads.
template <int quads, int singles>
struct PassTile {
  static constexpr int kThreadsM = 8, kAcross = 4;  // of a warp, along the samples and the columns
  static constexpr int kPairs = 4, kHalves = 2, kPairThreads = 32 * kHalves;
  static constexpr int kThreadsN = kPairs * kAcross, kThreads = kPairs * kPairThreads;
  static constexpr int kPerM = 8, kQuads = quads, kSingles = singles, kPerN = kQuad * quads + singles;
  static constexpr int kM = kHalves * kThreadsM * kPerM, kN = kThreadsN * kPerN;
  static constexpr int kApart = kQuad * kThreadsN;          // of a thread's quads
  static constexpr int kSingle = quads * kApart;            // the first single column of thread 0
  static constexpr int kRuns = (kN + kApart - 1) / kApart;  // of kApart columns, the last one of the singles
  static constexpr int kColumns = kN / kPairs;              // of a pair
  static constexpr int kDepth = 16;                         // of a stage
  static constexpr int kStride =
      (kN / kQuad - (kN / kQuad + 1) % 2) * kQuad;  // of rows: an odd number of quads
  static_assert(singles <= kAcross, "a run takes all singles");
  using Value = float[kPerM][kPerN];

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ __forceinline__ int pair() { return static_cast<int>(threadIdx.x) / kPairThreads; }
  static __device__ __forceinline__ int in_pair() { return static_cast<int>(threadIdx.x) % kPairThreads; }
  // Neighbouring lanes share columns and lanes two apart rows: 16 lanes that read 16 bytes are served at a time.
  static __device__ __forceinline__ int m() {
    return lane() % 2 + lane() / 4 % 2 * 2 + lane() / 16 * 4 + in_pair() / 32 * (kM / kHalves);
  }
  // Of the warp's threads along the columns.
  static __device__ __forceinline__ int across() { return lane() / 2 % 2 + lane() / 8 % 2 * 2; }
  static __device__ __forceinline__ int n() { return across() + pair() * kAcross; }
};

template <class T>
struct PassShared {
  alignas(16) float rows[T::kM * T::kStride];
  alignas(16) float weight[T::kPairs][2][T::kDepth * T::kColumns];
  alignas(16) float bias[T::kPairs][2][T::kColumns];  // of layer l in l % 2
  alignas(16) float last[kPassOutputs][T::kStride];   // the last layer's weights
  alignas(16) float logits[T::kM][kPassOutputs];      // their gradients
  // Of the hidden layers' activations but the last one's, which has them at hand: whether they are positive.
  unsigned positive[kMaxPassLayers - 2][T::kRuns][T::kThreads];
};

// Samples m + 8 i of odd i keep the two features of a pair in each other's place. Four features that are read at once
// lie side by side in registers, and so do four sums that are stored at once: of a run of multiply-adds that share a
// weight, every second one then has its feature and its sum in the other banks (docs/gpu_performance.md).
__device__ __forceinline__ constexpr bool pass_swaps(int i) { return i % 2 != 0; }

// A pair's columns come in runs of 16, the last one of single columns shorter. The column of the layer that is the run's
// `in`-th one: a thread's columns lie kAcross apart.
template <class T>
__device__ __forceinline__ int pair_column(int run, int in) {
  return run < T::kQuads
             ? run * T::kApart + (T::pair() * T::kAcross + in % T::kAcross) * kQuad + in / T::kAcross
             : T::kSingle + in / T::kAcross * T::kThreadsN + T::pair() * T::kAcross + in % T::kAcross;
}

// Where the run's `in`-th quad of columns begins in a layer.
template <class T>
__device__ __forceinline__ int pair_quad(int run, int in) {
  return run < T::kQuads ? run * T::kApart + (T::pair() * T::kAcross + in) * kQuad
                         : T::kSingle + in * T::kThreadsN + T::pair() * T::kAcross;
}

// Where in its row a stage keeps the quad of weights from depth k on, of a thread `across`: four threads that read side by
// side find theirs in different banks.
__device__ __forceinline__ int staged_depth(int k, int across) { return k ^ across % 4 * kQuad; }

// Starts the copies of a stage of W for the pair: of its columns `kDepth` weights from depth k on, side by side.
template <class T>
__device__ __forceinline__ void start_columns(const LayerView& layer, const float* parameters, int k,
                                              float* to) {
  constexpr int kParts = T::kDepth / kQuad, kRun = kQuad * T::kAcross;
  static_assert(T::kPairThreads == kParts * kRun);
  const int part = T::in_pair() % kParts * kQuad, at = k + part, in = T::in_pair() / kParts;
  const float* const weight = parameters + layer.weight + at;
  const int columns = layer.out, stride = layer.in_stride;
  const bool exists = at < layer.in;
  to += in * T::kDepth + staged_depth(part, in);
  OCCAM_UNROLL
  for (int run = 0; run < T::kRuns; ++run) {
    const int column = pair_column<T>(run, in);
    copy_async_if(exists & (column < columns) & (run < T::kQuads || in < T::kSingles * T::kAcross),
                  to + run * kRun * T::kDepth, weight + column * stride);
  }
}

// The same of Wᵀ: of the pair's inputs, side by side, the weights of the units from k on.
template <class T>
__device__ __forceinline__ void start_units(const LayerView& layer, const float* parameters, int k,
                                            float* to) {
  static_assert(T::kPairThreads == T::kDepth * T::kAcross);
  const int row = T::in_pair() / T::kAcross, in = T::in_pair() % T::kAcross, unit = k + row;
  const float* const from = parameters + layer.weight + unit * layer.in_stride;
  const int inputs = layer.in;
  const bool exists = unit < layer.out;
  to += row * T::kColumns + in * kQuad;
  const auto each_run = [&](const auto& f) {
    OCCAM_UNROLL
    for (int run = 0; run < T::kRuns; ++run)
      f(pair_quad<T>(run, in), run < T::kQuads || in < T::kSingles, to + run * T::kAcross * kQuad);
  };
  each_run([&](int input, bool is_quad, float* place) {
    copy_async_if(exists & (input < inputs) & is_quad, place, from + input);
  });
  // Behind the last unit of a quad, +0 beside the rows' −0.
  if (!exists && k + row / kQuad * kQuad < layer.out)
    each_run([](int, bool is_quad, float* place) {
      if (is_quad) *reinterpret_cast<float4*>(place) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    });
}

// Starts the copies of the biases of the pair's columns, in the order of start_units.
template <class T>
__device__ __forceinline__ void start_bias(const LayerView& layer, const float* parameters, float* to) {
  const int quad = T::in_pair(), column = pair_quad<T>(quad / T::kAcross, quad % T::kAcross);
  copy_async_if(quad < T::kColumns / kQuad && column < layer.out, to + quad * kQuad,
                parameters + layer.bias + column);
}

// The thread's quads and its single columns, if it has any, of a row of the warp's columns.
template <class T>
__device__ __forceinline__ void read_columns(const float* row, float (&element)[T::kPerN]) {
  read_step<T::kQuads * kQuad, T::kAcross>(row + kQuad * T::across(), element);
  OCCAM_UNROLL
  for (int j = T::kQuads * kQuad; j < T::kPerN; ++j) element[j] = row[j * T::kAcross + T::across()];
}

// value[s][j] += Σ rows[s][k] · weight[j][k] over four k; rows: at the thread's first sample and k, weight: at the stage's
// depth.
template <class T>
__device__ __forceinline__ void multiply_columns(const float* rows, const float* weight,
                                                 typename T::Value& value) {
  float a[T::kPerM][kQuad];
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) read_steps(rows + i * T::kThreadsM * T::kStride, a[i]);
  // Columns by fours: where the next one of a run begins the sample is at hand.
  const auto add = [&]<int columns>(std::integral_constant<int, columns>, int first) {
    float b[columns][kQuad];
    OCCAM_UNROLL
    for (int j = 0; j < columns; ++j) read_steps(weight + (first + j) * T::kAcross * T::kDepth, b[j]);
    OCCAM_UNROLL
    for (int step = 0; step < kQuad; ++step) {
      OCCAM_UNROLL
      for (int j = 0; j < columns; ++j) {
        OCCAM_UNROLL
        for (int at = 0; at < T::kPerM; ++at) {
          const int i = snake<T::kPerM>(j, at);
          value[i][first + j] =
              law::fma(a[i][pass_swaps(i) ? step ^ 1 : step], b[j][step], value[i][first + j]);
        }
      }
    }
  };
  OCCAM_UNROLL
  for (int j = 0; j < T::kQuads * kQuad; j += kQuad) add(std::integral_constant<int, kQuad>{}, j);
  if constexpr (T::kSingles > 0) add(std::integral_constant<int, T::kSingles>{}, T::kQuads * kQuad);
}

// value[s][k] += Σ rows[s][j] · weight[j][k] over four j; weight: at the stage's row.
template <class T>
__device__ __forceinline__ void multiply_units(const float* rows, const float* weight,
                                               typename T::Value& value) {
  float a[T::kPerM][kQuad];
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) read_steps(rows + i * T::kThreadsM * T::kStride, a[i]);
  OCCAM_UNROLL
  for (int step = 0; step < kQuad; ++step) {
    float b[T::kPerN];
    read_columns<T>(weight + step * T::kColumns, b);
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; ++j) {
      OCCAM_UNROLL
      for (int at = 0; at < T::kPerM; ++at) {
        const int i = snake<T::kPerM>(j, at);
        value[i][j] = law::fma(a[i][pass_swaps(i) ? step ^ 1 : step], b[j], value[i][j]);
      }
    }
  }
}

// The thread's sums take the rows' place, in quads that lie side by side in registers, too.
template <class T>
__device__ __forceinline__ void put_sums(float* rows, int columns, const typename T::Value& value) {
  const int first = kQuad * T::n();
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    float* const row = rows + i * T::kThreadsM * T::kStride;
    const auto& of = value[i];
    OCCAM_UNROLL
    for (int q = 0; q < T::kQuads; ++q) {
      const int at = first + q * T::kApart, j = q * kQuad;
      if (at < columns)
        *reinterpret_cast<float4*>(row + at) = pass_swaps(i)
                                                   ? make_float4(of[j + 1], of[j], of[j + 3], of[j + 2])
                                                   : make_float4(of[j], of[j + 1], of[j + 2], of[j + 3]);
    }
    OCCAM_UNROLL
    for (int s = 0; s < T::kSingles; ++s) {
      const int single = T::kSingle + s * T::kThreadsN + T::n();
      if (single < columns) row[pass_swaps(i) ? single ^ 1 : single] = of[T::kQuads * kQuad + s];
    }
  }
}

// A quad of columns of eight samples, 16 apart.
template <class T>
struct RowQuads {
  static constexpr int kDown = T::kThreads / T::kThreadsN, kCount = T::kM / kDown;
  static_assert(kDown == T::kHalves * T::kThreadsM);
  int first, at, number;  // sample and column; which one of the thread
  float4 quad[kCount];
};

// A pass over the rows, `columns` columns of each: f changes RowQuads, also of samples that do not exist. Behind the last
// column stands the padding. If `to` is null they go back where they were, otherwise to to[sample][stride], samples of
// them.
template <class T, class F>
__device__ __forceinline__ void finish_rows(float* rows, int columns, const F& f, float* to = nullptr,
                                            int stride = 0, int samples = 0) {
  using Q = RowQuads<T>;
  const int thread = static_cast<int>(threadIdx.x), row = thread / T::kThreadsN;
  const auto swapped = [&](int i, const float4& quad) {
    return pass_swaps(row / T::kThreadsM + i * T::kHalves) ? make_float4(quad.y, quad.x, quad.w, quad.z)
                                                           : quad;
  };
  OCCAM_NO_UNROLL
  for (int number = 0; number < T::kRuns; ++number) {
    Q q;
    q.first = row, q.at = thread % T::kThreadsN * kQuad + number * T::kApart, q.number = number;
    if (q.at >= columns) break;
    float* const from = rows + row * T::kStride + q.at;
    OCCAM_UNROLL
    for (int i = 0; i < Q::kCount; ++i)
      q.quad[i] = swapped(i, *reinterpret_cast<const float4*>(from + i * Q::kDown * T::kStride));
    f(q);
    if (q.at + kQuad > columns) {
      OCCAM_UNROLL
      for (float4& quad : q.quad) {
        if (q.at + 1 >= columns) quad.y = kPadding;
        if (q.at + 2 >= columns) quad.z = kPadding;
        if (q.at + 3 >= columns) quad.w = kPadding;
      }
    }
    OCCAM_UNROLL
    for (int i = 0; i < Q::kCount; ++i) {
      const int sample = row + i * Q::kDown;
      if (!to)
        *reinterpret_cast<float4*>(from + i * Q::kDown * T::kStride) = swapped(i, q.quad[i]);
      else if (sample < samples)
        *reinterpret_cast<float4*>(to + sample * stride + q.at) = q.quad[i];
    }
  }
}

// The way of finished rows to memory, to[sample][stride]: a quad of each of a thread's samples at a time. All at once they
// would hold up what others read.
template <class T>
class RowStore {
  using Q = RowQuads<T>;

 public:
  __device__ __forceinline__ RowStore(const float* rows, int samples)
      : rows_(rows + row() * T::kStride + at()), left_(samples - row()) {}

  __device__ __forceinline__ void begin(float* to, int columns, int stride) {
    to_ = to + row() * stride + at(), columns_ = columns, stride_ = stride, column_ = 0;
  }
  // A quad of each of the thread's samples. Whether there was something left to do.
  __device__ __forceinline__ bool step() {
    static_assert(Q::kDown % (2 * T::kThreadsM) == 0,
                  "of all of a thread's samples pairs are swapped, or of none");
    if (column_ >= columns_) return false;
    if (at() + column_ < columns_) {
      float4 quad[Q::kCount];
      OCCAM_UNROLL
      for (int i = 0; i < Q::kCount; ++i)
        quad[i] = *reinterpret_cast<const float4*>(rows_ + i * Q::kDown * T::kStride + column_);
      float* to = to_ + column_;
      OCCAM_UNROLL
      for (int i = 0; i < Q::kCount; ++i, to += Q::kDown * stride_) {
        const float4 back = pass_swaps(row() / T::kThreadsM)
                                ? make_float4(quad[i].y, quad[i].x, quad[i].w, quad[i].z)
                                : quad[i];
        if (i * Q::kDown < left_) *reinterpret_cast<float4*>(to) = back;
      }
    }
    column_ += T::kApart;
    return true;
  }
  __device__ __forceinline__ void finish() {
    OCCAM_NO_UNROLL
    while (step()) {
    }
  }

 private:
  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / T::kThreadsN; }
  static __device__ __forceinline__ int at() { return static_cast<int>(threadIdx.x) % T::kThreadsN * kQuad; }

  const float* const rows_;
  const int left_;  // samples from the thread's first one on
  float* to_ = nullptr;
  int columns_ = 0, stride_ = 0, column_ = 0;
};

// f(element of a, element of b) of each of four.
template <class F>
__device__ __forceinline__ float4 each_of(const float4& a, const float4& b, const F& f) {
  return make_float4(f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w));
}

// Bit e: whether element e is positive; and the elements whose bits are set, 0 elsewhere.
__device__ __forceinline__ unsigned signs_of(const float4& quad) {
  return (quad.x > 0.0f ? 1u : 0u) | (quad.y > 0.0f ? 2u : 0u) | (quad.z > 0.0f ? 4u : 0u) |
         (quad.w > 0.0f ? 8u : 0u);
}
__device__ __forceinline__ float4 where(unsigned bits, const float4& quad) {
  return make_float4(bits & 1u ? quad.x : 0.0f, bits & 2u ? quad.y : 0.0f, bits & 4u ? quad.z : 0.0f,
                     bits & 8u ? quad.w : 0.0f);
}

}  // namespace occam::cuda
