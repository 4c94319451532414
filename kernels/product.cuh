// The matrix product under the law: C[i][j] = start + sum over k of A[i][k] · B[j][k], each element one
// accumulator and one fmaf chain in ascending k. It equals
//
//     for (int k = 0; k < depth; ++k) c[i][j] = fmaf(a[i][k], b[j][k], c[i][j]);
//
// A block owns a tile of C, its threads own kPerM × kPerN elements each in registers. Tiles of A and B pass
// through two buffers in shared memory: asynchronous copies fill one while the other is multiplied. Operands
// come in either order of storage and, where an index is given, by rows picked through it; sizes are known at
// run time only.
//
// The depth is not a multiple of the tile's. Elements beyond it are −0 in A and +0 in B: their product is −0,
// and fmaf(−0, +0, c) is c for every c, −0 and NaN included, so no accumulator notices.
#pragma once

#include "launch.hpp"
#include "law/functions.hpp"
#include "members.hpp"

#if defined(__CUDA_ARCH__)
#define OCCAM_UNROLL _Pragma("unroll")
#define OCCAM_UNROLL_TWICE _Pragma("unroll 2")
#define OCCAM_UNROLL_THRICE _Pragma("unroll 3")
#define OCCAM_NO_UNROLL _Pragma("unroll 1")
#else
#define OCCAM_UNROLL
#define OCCAM_UNROLL_TWICE
#define OCCAM_UNROLL_THRICE
#define OCCAM_NO_UNROLL
#endif

namespace occam::cuda {

// How an operand's element (i, k) lies in memory; i counts rows of A or columns of B, k the depth.
enum class Order {
  depth,   // row i holds its depth side by side: x[sample][feature] of a forward product
  extent,  // row k holds all i side by side: delta[sample][unit] of a weight gradient
};

struct Operand {
  const float* data;
  const std::uint32_t* index;  // row r is stored at index[r]; null: at r
  std::int64_t stride;         // floats from row to row, a multiple of 4; rows are 16-byte aligned

  __device__ __forceinline__ const float* row(int r) const { return data + (index ? index[r] : r) * stride; }
};

// kThreadsM × kThreadsN threads with kPerM × kPerN elements of C each.
template <int threads_m, int threads_n, int per_m, int per_n>
struct Tile {
  static constexpr int kThreadsM = threads_m, kThreadsN = threads_n, kPerM = per_m, kPerN = per_n;
  static constexpr int kM = threads_m * per_m, kN = threads_n * per_n, kThreads = threads_m * threads_n;
  static constexpr int kDepth = 16;               // of a stage
  static constexpr int kStep = kQuad;             // of the depth, at a time
  static constexpr int kPad = 0;                  // floats, of rows along the extent
  static constexpr int kBlocks = 384 / kThreads;  // of a multiprocessor: leaves 168 registers a thread
  static_assert(per_n % kQuad == 0);

  // A thread's place. Neighbouring lanes share columns and lanes two apart rows, where there are enough of both: then
  // shared memory serves 16 lanes at a time that read 16 bytes, not 8.
  static constexpr bool kShares = threads_m % 2 == 0 && threads_n % 2 == 0;
  static __device__ __forceinline__ int m() {
    const int thread = static_cast<int>(threadIdx.x);
    return kShares ? thread / (2 * kThreadsN) * 2 + thread % 2 : thread / kThreadsN;
  }
  static __device__ __forceinline__ int n() {
    const int thread = static_cast<int>(threadIdx.x);
    return kShares ? thread / 4 % (kThreadsN / 2) * 2 + thread / 2 % 2 : thread % kThreadsN;
  }

  // Column of C that a thread's element j is: quads, so that they are stored whole.
  static __device__ __forceinline__ int column(int j) {
    return kQuad * n() + j % kQuad + j / kQuad * kQuad * kThreadsN;
  }
  // Row of C that a thread's element i is.
  template <Order a_order>
  static __device__ __forceinline__ int row(int i) {
    if constexpr (a_order == Order::depth) return m() + i * kThreadsM;
    return kQuad * m() + i % kQuad + i / kQuad * kQuad * kThreadsM;
  }
};

// ---- building blocks --------------------------------------------------------------------------------------

// One stage of an operand in shared memory. Rows along the depth are an odd number of quads apart, so that eight
// threads that read 16 bytes of eight rows touch all 32 banks once.
template <int extent, int depth, Order order, int pad = 0>
struct Stage {
  static constexpr int kStride = order == Order::depth ? depth + kQuad : extent + pad;
  float value[(order == Order::depth ? extent : depth) * kStride];
};

template <class T, Order a_order, Order b_order>
struct Stages {
  alignas(16) Stage<T::kM, T::kDepth, a_order, T::kPad> a[2];
  alignas(16) Stage<T::kN, T::kDepth, b_order, T::kPad> b[2];
  static constexpr int kDepth = T::kDepth, kStep = T::kStep;
};

// Which column of the tile row p of a depth-ordered stage of B holds, so that thread n of `threads_n` finds its quads of
// neighbouring columns at rows n, n + threads_n, ….
template <int threads_n>
__device__ __forceinline__ int staged_column(int p) {
  const int j = p / threads_n;
  return kQuad * (p % threads_n) + j % kQuad + j / kQuad * kQuad * threads_n;
}

// Starts the copies of one operand's stages. `permute` is 0 for A; for B it is the number of threads along N, and rows
// of a depth-ordered stage are then those of staged_column.
template <int extent, int depth, int threads, Order order, int permute, int pad = 0>
class Loader {
 public:
  using Of = Stage<extent, depth, order, pad>;

  // Rows of A and columns of B beyond the last one are never copied; they stand as `outside` in both stages.
  __device__ __forceinline__ Loader(const Operand& operand, int first, int size, int size_k, float outside,
                                    Of (&stages)[2])
      : operand_(operand), first_(first), size_k_(size_k), outside_(outside) {
    OCCAM_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      const int at = first + (order == Order::depth ? position(row(c)) : column(c));
      exists_[c] = is_chunk(c) && at < size;
      from_[c] = operand.data;
      if constexpr (order == Order::depth) {
        if (exists_[c]) from_[c] = operand.row(at) + column(c);
      } else {
        if (exists_[c] && !operand.index) from_[c] = operand.data + row(c) * operand.stride + at;
      }
      if (is_chunk(c) && !exists_[c])
        for (Of& stage : stages) put_outside(place(stage, c));
    }
    if (order == Order::extent && operand.index) pick(0);
  }

  __device__ __forceinline__ void start(Of& stage, int first_k) {
    if (order == Order::extent && operand_.index) {
      OCCAM_UNROLL
      for (int c = 0; c < kChunks; ++c) {
        const bool inside = first_k + row(c) < size_k_;
        copy_async_if(exists_[c] && inside, place(stage, c),
                      operand_.data + picked_[c / kEach] * operand_.stride + first_ + column(c));
        if (exists_[c] && !inside) put_outside(place(stage, c));
      }
      pick(first_k + depth);
      return;
    }
    const std::int64_t further = order == Order::depth ? first_k : first_k * operand_.stride;
    if (first_k + depth <= size_k_) {
      OCCAM_UNROLL
      for (int c = 0; c < kChunks; ++c) copy_async_if(exists_[c], place(stage, c), from_[c] + further);
      return;
    }
    OCCAM_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      const bool inside = first_k + (order == Order::depth ? column(c) : row(c)) < size_k_;
      copy_async_if(exists_[c] && inside, place(stage, c), from_[c] + further);
      if (exists_[c] && !inside) put_outside(place(stage, c));
    }
  }

 private:
  // Quads of a stage's row; so many threads share a row, each of which has kEach quads of it, the last ones perhaps none.
  static constexpr int kAcross = (order == Order::depth ? depth : extent) / kQuad,
                       kDown = order == Order::depth ? extent : depth;
  static constexpr int kSide = threads % kAcross == 0 ? kAcross : 8, kEach = (kAcross + kSide - 1) / kSide;
  static constexpr int kRows = threads / kSide;                        // at once
  static constexpr int kChunks = (kDown + kRows - 1) / kRows * kEach;  // of one thread
  static_assert(threads % kSide == 0);

  static __device__ __forceinline__ int row(int c) {
    return static_cast<int>(threadIdx.x / kSide) + c / kEach * kRows;
  }
  static __device__ __forceinline__ int column(int c) {
    return (static_cast<int>(threadIdx.x % kSide) + c % kEach * kSide) * kQuad;
  }
  // Whether the stage has such a chunk.
  static __device__ __forceinline__ bool is_chunk(int c) {
    return (kDown % kRows == 0 || row(c) < kDown) && (kAcross % kSide == 0 || column(c) < kAcross * kQuad);
  }
  static __device__ __forceinline__ float* place(Of& stage, int c) {
    return stage.value + row(c) * Of::kStride + column(c);
  }
  static __device__ __forceinline__ int position(int row) {
    constexpr int kAcrossN = permute == 0 ? 1 : permute;
    return permute == 0 ? row : staged_column<kAcrossN>(row);
  }
  __device__ __forceinline__ void put_outside(float* to) const {
    *reinterpret_cast<float4*>(to) = make_float4(outside_, outside_, outside_, outside_);
  }

  // Which rows the stage from first_k on holds: known one stage ahead.
  __device__ __forceinline__ void pick(int first_k) {
    OCCAM_UNROLL
    for (int r = 0; r < kChunks / kEach; ++r) {
      const int k = first_k + row(r * kEach);
      picked_[r] = operand_.index[k < size_k_ ? k : 0];
    }
  }

  Operand operand_;
  int first_, size_k_;
  float outside_;
  std::uint32_t picked_[kChunks / kEach];  // where rows are picked along the depth
  bool exists_[kChunks];
  const float* from_[kChunks];  // of the first stage, where rows are not picked along the depth
};

// The at-th element of a row of `count` that is gone through as a snake goes: where a row ends the next one begins, and
// the operand that both share is read from registers once.
template <int count>
__device__ constexpr int snake(int row, int at) {
  return row % 2 ? count - 1 - at : at;
}

// element[i] of step k of the depth, for `count` of a thread's rows of an extent-ordered stage that start at
// `first`.
template <int count, int apart, int size>
__device__ __forceinline__ void read_step(const float* first, float (&element)[size]) {
  static_assert(count <= size && count % kQuad == 0);
  OCCAM_UNROLL
  for (int i = 0; i < count; i += kQuad) {
    const float4 quad = *reinterpret_cast<const float4*>(first + i * apart);
    element[i] = quad.x, element[i + 1] = quad.y, element[i + 2] = quad.z, element[i + 3] = quad.w;
  }
}

// Four steps of the depth of one row of a depth-ordered stage.
__device__ __forceinline__ void read_steps(const float* first, float (&element)[kQuad]) {
  const float4 quad = *reinterpret_cast<const float4*>(first);
  element[0] = quad.x, element[1] = quad.y, element[2] = quad.z, element[3] = quad.w;
}

// T::kStep of the depth, here four, from k on. What is read ahead is what a quad brings along; more would cost registers.
template <class T, Order a_order, Order b_order>
__device__ __forceinline__ void multiply_step(const Stage<T::kM, T::kDepth, a_order>& stage_a,
                                              const Stage<T::kN, T::kDepth, b_order>& stage_b, int k,
                                              float (&sum)[T::kPerM][T::kPerN]) {
  constexpr int stride_a = Stage<T::kM, T::kDepth, a_order>::kStride,
                stride_b = Stage<T::kN, T::kDepth, b_order>::kStride;
  const int m = T::m(), n = T::n();
  if constexpr (a_order == Order::extent) {
    static_assert(b_order == Order::extent && T::kPerM % kQuad == 0);
    OCCAM_UNROLL
    for (int step = 0; step < kQuad; ++step) {
      float a[T::kPerM], b[T::kPerN];
      read_step<T::kPerM, T::kThreadsM>(stage_a.value + (k + step) * stride_a + kQuad * m, a);
      read_step<T::kPerN, T::kThreadsN>(stage_b.value + (k + step) * stride_b + kQuad * n, b);
      OCCAM_UNROLL
      for (int i = 0; i < T::kPerM; ++i) {
        OCCAM_UNROLL
        for (int at = 0; at < T::kPerN; ++at) {
          const int j = snake<T::kPerN>(i, at);
          sum[i][j] = law::fma(a[i], b[j], sum[i][j]);
        }
      }
    }
  } else {
    float a[T::kPerM][kQuad];
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i)
      read_steps(stage_a.value + (m + i * T::kThreadsM) * stride_a + k, a[i]);
    if constexpr (b_order == Order::depth) {
      float b[T::kPerN][kQuad];
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; ++j)
        read_steps(stage_b.value + (n + j * T::kThreadsN) * stride_b + k, b[j]);
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        OCCAM_UNROLL
        for (int j = 0; j < T::kPerN; ++j) {
          OCCAM_UNROLL
          for (int at = 0; at < T::kPerM; ++at) {
            const int i = snake<T::kPerM>(j, at);
            sum[i][j] = law::fma(a[i][step], b[j][step], sum[i][j]);
          }
        }
      }
    } else {
      OCCAM_UNROLL
      for (int step = 0; step < kQuad; ++step) {
        float b[T::kPerN];
        read_step<T::kPerN, T::kThreadsN>(stage_b.value + (k + step) * stride_b + kQuad * n, b);
        OCCAM_UNROLL
        for (int j = 0; j < T::kPerN; ++j) {
          OCCAM_UNROLL
          for (int at = 0; at < T::kPerM; ++at) {
            const int i = snake<T::kPerM>(j, at);
            sum[i][j] = law::fma(a[i][step], b[j], sum[i][j]);
          }
        }
      }
    }
  }
}

// Goes through the stages of A and B: multiply(stage of A, of B, k) adds S::kStep of the depth from k on. Every thread
// of the block calls it; with many_registers three calls of multiply may overlap.
template <bool many_registers, class S, class LoadA, class LoadB, class Multiply>
__device__ __forceinline__ void go_through_stages(S& stages, LoadA& load_a, LoadB& load_b, int depth,
                                                  const Multiply& multiply) {
  load_a.start(stages.a[0], 0);
  load_b.start(stages.b[0], 0);
  copy_async_commit();
  for (int k = 0, now = 0; k < depth; k += S::kDepth, now ^= 1) {
    copy_async_wait<0>();
    __syncthreads();  // this stage has arrived, and nobody reads the other one any more
    if (k + S::kDepth < depth) {
      load_a.start(stages.a[now ^ 1], k + S::kDepth);
      load_b.start(stages.b[now ^ 1], k + S::kDepth);
      copy_async_commit();
    }
    const int steps = depth - k < S::kDepth ? depth - k : S::kDepth;
    // 256 multiplications a pass or more are enough to overlap; more would spill registers where there are few.
    if constexpr (many_registers) {
      OCCAM_UNROLL_THRICE
      for (int step = 0; step < steps; step += S::kStep) multiply(stages.a[now], stages.b[now], step);
    } else {
      OCCAM_NO_UNROLL
      for (int step = 0; step < steps; step += S::kStep) multiply(stages.a[now], stages.b[now], step);
    }
  }
}

// Adds A · B over the whole depth to the tile of C at (first_m, first_n); C is [m][n].
template <class T, Order a_order, Order b_order>
__device__ __forceinline__ void accumulate(const Operand& a, int first_m, int m, const Operand& b,
                                           int first_n, int n, int depth, float (&sum)[T::kPerM][T::kPerN]) {
  auto& stages = shared<Stages<T, a_order, b_order>>();
  Loader<T::kM, T::kDepth, T::kThreads, a_order, 0, T::kPad> load_a{a, first_m, m, depth, -0.0f, stages.a};
  Loader<T::kN, T::kDepth, T::kThreads, b_order, T::kThreadsN, T::kPad> load_b{b,     first_n, n,
                                                                               depth, 0.0f,    stages.b};
  go_through_stages<false>(stages, load_a, load_b, depth,
                           [&](const auto& stage_a, const auto& stage_b, int k) {
                             multiply_step<T, a_order, b_order>(stage_a, stage_b, k, sum);
                           });
}

// Stores a quad of a row of `columns` columns; beyond them goes the padding.
__device__ __forceinline__ void store_quad(float* row, int column, int columns, float4 value) {
  if (column + 1 >= columns) value.y = kPadding;
  if (column + 2 >= columns) value.z = kPadding;
  if (column + 3 >= columns) value.w = kPadding;
  *reinterpret_cast<float4*>(row + column) = value;
}

// Number of tiles that cover `size`.
OCCAM_HD constexpr int tiles(int size, int tile) { return (size + tile - 1) / tile; }

}  // namespace occam::cuda
