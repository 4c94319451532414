// The three products of a layer on tensor cores, between matrices of operands in one block's shared memory. A
// warp owns tiles of the result; each element is one accumulator to which the depth is added in ascending
// steps, so neither the tiles nor the slices of a batch change a bit. Tiles that would reach beyond the last
// one are moved back over their neighbours and keep what is theirs alone.
#pragma once

#include "resident_tensor_operand.cuh"

namespace occam::cuda {

inline constexpr int kWarps = kTensorThreads / 32;

// A matrix whose rows are read along the depth: samples (A), or units in the order of weight_row (B).
template <class P>
struct RowsA {
  OperandPanel panel;

  template <int count>
  struct At {
    const char* at;
    int row_bytes;

    __device__ __forceinline__ void read(std::uint32_t (&a)[count][4], int step) const {
      OCCAM_UNROLL
      for (int i = 0; i < count; ++i) ldmatrix<4>(a[i], at + i * 16 * row_bytes + step * 2 * kChunkBytes);
    }
  };
  template <int count>
  __device__ __forceinline__ At<count> place(int tile) const {
    return {panel.row(16 * tile + lane() % 16) + lane() / 16 * kChunkBytes, panel.row_bytes};
  }
};

template <class P>
struct RowsB {
  OperandPanel panel;

  template <int count>
  struct At {
    const char* at;
    int row_bytes;

    __device__ __forceinline__ void read(std::uint32_t (&b)[count][2], int step) const {
      const char* from = at + step * 2 * kChunkBytes;
      OCCAM_UNROLL
      for (int j = 0; j + 1 < count; j += 2) {
        std::uint32_t four[4];
        ldmatrix<4>(four, from + j * 8 * row_bytes);
        b[j][0] = four[0], b[j][1] = four[1], b[j + 1][0] = four[2], b[j + 1][1] = four[3];
      }
      if constexpr (count % 2 == 1) ldmatrix<2>(b[count - 1], from + (count - 1) * 8 * row_bytes);
    }
  };
  template <int count>
  __device__ __forceinline__ At<count> place(int tile) const {
    // The last tile of an odd number is read by sixteen lanes alone; the others stay with it.
    const int second = count > 1 ? lane() / 16 : 0;
    return {panel.row(P::weight_row(8 * (tile + second) + lane() % 8)) + lane() / 8 % 2 * kChunkBytes,
            panel.row_bytes};
  }
};

// A matrix [depth][extent], read along its columns.
template <class P>
struct ColumnsA {
  OperandPanel panel;

  template <int count>
  struct At {
    const char* at;
    int row_bytes;

    __device__ __forceinline__ void read(std::uint32_t (&a)[count][4], int step) const {
      OCCAM_UNROLL
      for (int i = 0; i < count; ++i)
        P::read_columns_a(a[i], at + step * P::kStep * row_bytes + i * 16 * P::kBytes, row_bytes);
    }
  };
  template <int count>
  __device__ __forceinline__ At<count> place(int tile) const {
    return {P::columns_a(panel, 16 * tile), panel.row_bytes};
  }
};

template <class P>
struct ColumnsB {
  OperandPanel panel;

  template <int count>
  struct At {
    const char* at;
    int row_bytes;

    __device__ __forceinline__ void read(std::uint32_t (&b)[count][2], int step) const {
      P::template read_columns_b<count>(b, at + step * P::kStep * row_bytes, row_bytes);
    }
  };
  template <int count>
  __device__ __forceinline__ At<count> place(int tile) const {
    return {P::columns_b(panel, 8 * tile), panel.row_bytes};
  }
};

// How deep a product is: whole steps, and perhaps one chunk more. Of that last step the second chunk lies beyond
// the matrix; both operands are zeros there, whatever stands in memory.
struct Depth {
  int steps;
  bool half;
};
template <class P>
__device__ __forceinline__ Depth depth_of(int size) {
  const int chunks = (size + P::kChunk - 1) / P::kChunk;
  return {chunks / 2, chunks % 2 != 0};
}

// What a warp has in hand: its sums and where they lie. Tiles before `own` are another warp's.
template <int down, int across>
struct WarpSums {
  int m, n;          // first tile of 16 rows, of 8 columns
  int own_m, own_n;  // first that is kept
  float sum[down][across][4];

  __device__ __forceinline__ int row(int i, int e) const { return 16 * (m + i) + lane() / 4 + e / 2 * 8; }
  __device__ __forceinline__ int column(int j) const { return 8 * (n + j) + lane() % 4 * 2; }
  __device__ __forceinline__ bool keeps(int i, int j) const { return m + i >= own_m && n + j >= own_n; }

  // Calls f(row, column, value, value of the next column) for what is kept.
  template <class F>
  __device__ __forceinline__ void each_pair(const F& f) const {
    OCCAM_UNROLL
    for (int i = 0; i < down; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) {
        if (!keeps(i, j)) continue;
        f(row(i, 0), column(j), sum[i][j][0], sum[i][j][1]);
        f(row(i, 2), column(j), sum[i][j][2], sum[i][j][3]);
      }
    }
  }
  // The same by a loop that is not unrolled, for an f that is long.
  template <class F>
  __device__ __forceinline__ void each_pair_looped(const F& f) const {
    float copy[down * across * 4];
    OCCAM_UNROLL
    for (int i = 0; i < down * across * 4; ++i) copy[i] = sum[i / 4 / across][i / 4 % across][i % 4];
    OCCAM_NO_UNROLL
    for (int pair = 0; pair < down * across * 2; ++pair) {
      const int i = pair / 2 / across, j = pair / 2 % across;
      if (keeps(i, j)) f(row(i, pair % 2 * 2), column(j), copy[2 * pair], copy[2 * pair + 1]);
    }
  }
};

// start(sums) sets the accumulators, each_step(sums, a) sees the fragments of A, finish(sums) stores.
template <class P, int down, int across, class A, class B, class Start, class EachStep, class Finish>
__device__ __forceinline__ void multiply_tiles(const A& of_a, const B& of_b, int m_tiles, int n_tiles,
                                               Depth depth, const Start& start, const EachStep& each_step,
                                               const Finish& finish) {
  const int wide = (n_tiles + across - 1) / across, all = (m_tiles + down - 1) / down * wide;
  OCCAM_NO_UNROLL
  for (int tile = static_cast<int>(threadIdx.x) / 32; tile < all; tile += kWarps) {
    WarpSums<down, across> sums;
    sums.own_m = tile / wide * down, sums.own_n = tile % wide * across;
    sums.m = sums.own_m < m_tiles - down ? sums.own_m : m_tiles - down;
    sums.n = sums.own_n < n_tiles - across ? sums.own_n : n_tiles - across;
    start(sums);
    const auto at_a = of_a.template place<down>(sums.m);
    const auto at_b = of_b.template place<across>(sums.n);
    const auto add = [&](const std::uint32_t(&a)[down][4], const std::uint32_t(&b)[across][2]) {
      OCCAM_UNROLL
      for (int i = 0; i < down; ++i) {
        OCCAM_UNROLL
        for (int j = 0; j < across; ++j) P::multiply(sums.sum[i][j], a[i], b[j]);
      }
      each_step(sums, a);
    };
    std::uint32_t a[down][4], b[across][2];
    OCCAM_UNROLL_TWICE
    for (int step = 0; step < depth.steps; ++step) {
      at_a.read(a, step);
      at_b.read(b, step);
      add(a, b);
    }
    if (depth.half) {
      at_a.read(a, depth.steps);
      at_b.read(b, depth.steps);
      OCCAM_UNROLL
      for (int i = 0; i < down; ++i) a[i][2] = a[i][3] = 0;
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) b[j][1] = 0;
      add(a, b);
    }
    finish(sums);
  }
}

// Calls f with the warp tile of this number (kWarpTiles) as compile-time constants.
template <class F>
__device__ __forceinline__ void with_warp_tile(int number, const F& f) {
  const auto call = [&]<int which>(std::integral_constant<int, which>) {
    f(std::integral_constant<int, kWarpTiles[which].down>{},
      std::integral_constant<int, kWarpTiles[which].across>{});
  };
  switch (number) {
    case 0: return call(std::integral_constant<int, 0>{});
    case 1: return call(std::integral_constant<int, 1>{});
    case 2: return call(std::integral_constant<int, 2>{});
    case 3: return call(std::integral_constant<int, 3>{});
    default: return call(std::integral_constant<int, 4>{});
  }
}

struct NoStep {
  template <class Sums, class Fragment>
  __device__ __forceinline__ void operator()(Sums&, const Fragment&) const {}
};

// z[s][j] = bias[j] + Σ_k x[s][k] · weight[j][k]; finish(sums) with rows samples and columns units. bias: as
// many floats as the columns' tiles have.
template <class P, class Finish>
__device__ __forceinline__ void forward_tensor(int warp_tile, OperandPanel x, OperandPanel weight,
                                               const float* bias, int slice, int in, int out,
                                               const Finish& finish) {
  with_warp_tile(warp_tile, [&](auto down, auto across) {
    const auto start = [&](auto& sums) {
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) {
        const float2 from = *reinterpret_cast<const float2*>(bias + sums.column(j));
        OCCAM_UNROLL
        for (int i = 0; i < down; ++i) {
          sums.sum[i][j][0] = sums.sum[i][j][2] = from.x;
          sums.sum[i][j][1] = sums.sum[i][j][3] = from.y;
        }
      }
    };
    multiply_tiles<P, down, across>(RowsA<P>{x}, RowsB<P>{weight}, slice / 16, (out + 7) / 8, depth_of<P>(in),
                                    start, NoStep{}, finish);
  });
}

// dL/dx[s][k] = Σ_j delta[s][j] · weight[j][k]
template <class P, class Finish>
__device__ __forceinline__ void input_gradient_tensor(int warp_tile, OperandPanel delta, OperandPanel weight,
                                                      int slice, int in, int out, const Finish& finish) {
  with_warp_tile(warp_tile, [&](auto down, auto across) {
    const auto start = [&](auto& sums) {
      OCCAM_UNROLL
      for (int i = 0; i < down * across * 4; ++i) sums.sum[i / 4 / across][i / 4 % across][i % 4] = 0.0f;
    };
    multiply_tiles<P, down, across>(RowsA<P>{delta}, ColumnsB<P>{weight}, slice / 16, (in + 7) / 8,
                                    depth_of<P>(out), start, NoStep{}, finish);
  });
}

// gradient[j][k] = (begins ? 0 : gradient[j][k]) + Σ_s delta[s][j] · x[s][k], and the bias's with x = 1.
// gradient: [out][stride] floats.
template <class P>
__device__ __forceinline__ void weight_gradient_tensor(int warp_tile, OperandPanel delta, OperandPanel x,
                                                       float* gradient, int stride, float* bias_gradient,
                                                       int samples, int in, int out, bool begins) {
  with_warp_tile(warp_tile, [&](auto down, auto across) {
    float of_bias[down][4];  // every column of a tile holds the same
    const auto each_bias = [&](auto& sums, const auto& f) {
      if (sums.own_n > 0 || lane() % 4 != 0) return;
      OCCAM_UNROLL
      for (int i = 0; i < down; ++i) {
        OCCAM_UNROLL
        for (int e = 0; e < 4; e += 2)
          if (sums.keeps(i, 0) && sums.row(i, e) < out) f(bias_gradient[sums.row(i, e)], of_bias[i][e]);
      }
    };
    // f(at, a, b, whether there is a b): sums of neighbouring columns.
    const auto each_pair = [&](auto& sums, const auto& f) {
      OCCAM_UNROLL
      for (int i = 0; i < down; ++i) {
        OCCAM_UNROLL
        for (int j = 0; j < across; ++j) {
          OCCAM_UNROLL
          for (int e = 0; e < 4; e += 2) {
            const int unit = sums.row(i, e), feature = sums.column(j);
            if (!sums.keeps(i, j) || unit >= out || feature >= in) continue;
            f(gradient + unit * stride + feature, sums.sum[i][j][e], sums.sum[i][j][e + 1], feature + 1 < in);
          }
        }
      }
    };
    const auto start = [&](auto& sums) {
      OCCAM_UNROLL
      for (int i = 0; i < down; ++i) {
        OCCAM_UNROLL
        for (int e = 0; e < 4; ++e) {
          of_bias[i][e] = 0.0f;
          OCCAM_UNROLL
          for (int j = 0; j < across; ++j) sums.sum[i][j][e] = 0.0f;
        }
      }
      if (begins) return;
      each_pair(sums, [](const float* at, float& a, float& b, bool both) {
        if (both) {
          const float2 so_far = *reinterpret_cast<const float2*>(at);
          a = so_far.x, b = so_far.y;
        } else {
          a = *at;
        }
      });
      each_bias(sums, [](float& so_far, float& sum) { sum = so_far; });
    };
    // The bias goes with the first columns; its product has fragments of ones.
    const auto each_step = [&](auto& sums, const auto& a) {
      if (sums.own_n > 0) return;
      const std::uint32_t ones[2] = {P::one(), P::one()};
      OCCAM_UNROLL
      for (int i = 0; i < down; ++i) P::multiply(of_bias[i], a[i], ones);
    };
    const auto finish = [&](auto& sums) {
      each_pair(sums, [](float* at, float a, float b, bool both) {
        if (both) {
          *reinterpret_cast<float2*>(at) = make_float2(a, b);
        } else {
          *at = a;
        }
      });
      each_bias(sums, [](float& so_far, float& sum) { so_far = sum; });
    };
    multiply_tiles<P, down, across>(ColumnsA<P>{delta}, ColumnsB<P>{x}, (out + 15) / 16, (in + 7) / 8,
                                    Depth{(samples + P::kStep - 1) / P::kStep, false}, start, each_step,
                                    finish);
  });
}

}  // namespace occam::cuda
