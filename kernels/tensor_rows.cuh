// How a batch's rows get to the chip as operands, in the bodies of plan resident on tensor cores with sizes at compile time.
#pragma once

#include "resident_tensor_operand.cuh"
#include "whole_batch_rows.cuh"

namespace occam::cuda {

// Rows of a batch on their way to the chip, `samples` of them, from `first` on, by so many neighbouring threads: a thread's
// quads, all at once.
template <class P, int samples, int threads = kTensorThreads>
struct RowsInRegisters {
  static constexpr int kQuads = WholeBatch::kInputs / kQuad,
                       kAll = (samples * kQuads + threads - 1) / threads;
  float v[kAll][kQuad] = {};  // else what is not loaded would be kept from update to update

  // f(q, sample, at) of the thread's quads of samples first … end − 1, of which there are at most `samples`.
  template <class F>
  static __device__ __forceinline__ void each(const BatchRows& rows, int first, int end, const F& f) {
    OCCAM_UNROLL
    for (int q = 0; q < kAll; ++q) {
      const int item = static_cast<int>(threadIdx.x) % threads + q * threads;
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

}  // namespace occam::cuda
