// The last layer, of at most two units, in the bodies of plan resident with sizes at compile time. Their samples' activations
// lie in rows of S::kStride floats, weights in rows of as many, logits in pairs.
#pragma once

#include "law/loss.hpp"
#include "whole_batch_products.cuh"

namespace occam::cuda {

// logits[s] ← dL/dlogits of the mean loss. units: of the layer below; label: of the first sample; inverse: 1 / samples of the
// batch. Ends with a barrier.
template <class S>
__device__ __forceinline__ void loss_gradient_of_rows(Loss loss, const float* hidden, const float* weight,
                                                      const float* bias, int units, int outputs,
                                                      const std::int32_t* label, int samples, float inverse,
                                                      float* logits) {
  const int sample = thread() / outputs, output = thread() % outputs;
  float* const of_sample = logits + sample * S::kOutputs;
  if (sample < samples) {
    float sum = bias[output];
    const float *h = hidden + sample * S::kStride, *w_row = weight + output * S::kStride;
#pragma unroll 5
    for (int k = 0; k < units; k += kQuad) {
      float x[kQuad], w[kQuad];
      read_steps(h + k, x);
      read_steps(w_row + k, w);
      OCCAM_UNROLL
      for (int i = 0; i < kQuad; ++i) sum = law::fma(x[i], w[i], sum);
    }
    of_sample[output] = sum;
  }
  __syncwarp();
  if (sample < samples && output == 0)
    law::sample_loss_gradient(loss, of_sample, outputs, label[sample], inverse, of_sample);
  __syncthreads();
}

// A thread's part of the last layer's gradient: the weights of a unit below, or one bias.
template <class S>
struct LastGradient {
  static constexpr int kBiasThread =
      (S::kUnits + 31) / 32 * 32;  // of the first bias, in a warp without weights
  static_assert(kBiasThread + S::kOutputs <= kResidentThreads && S::kOutputs == 2);
  float sum[S::kOutputs] = {};  // of each unit's weight, or [0] of the bias

  // The bias that the thread owns, −1: none.
  static __device__ __forceinline__ int bias(int outputs) {
    const int which = thread() - kBiasThread;
    return which >= 0 && which < outputs ? which : -1;
  }

  // Adds samples in ascending order; logits: their gradients.
  __device__ __forceinline__ void add(const float* hidden, const float* logits, int units, int outputs,
                                      int samples) {
    if (thread() < units) {
      const float* h = hidden + thread();
      in_runs<16>(
          samples,
          [&](int s) {
            const float2 of = *reinterpret_cast<const float2*>(logits + s * S::kOutputs);
            sum[0] = law::fma(of.x, h[s * S::kStride], sum[0]);
            sum[1] = law::fma(of.y, h[s * S::kStride], sum[1]);
          },
          [&](int run) { h += run * S::kStride, logits += run * S::kOutputs; });
    } else if (bias(outputs) >= 0) {
      logits += bias(outputs);
      in_runs<16>(
          samples, [&](int s) { sum[0] += logits[s * S::kOutputs]; },
          [&](int run) { logits += run * S::kOutputs; });
    }
  }

  // f(unit, unit below, sum) and g(unit, sum) of the weights and the bias that the thread owns.
  template <class Weight, class Bias>
  __device__ __forceinline__ void each(int units, int outputs, const Weight& f, const Bias& g) const {
    OCCAM_UNROLL
    for (int c = 0; c < S::kOutputs; ++c)
      if (thread() < units && c < outputs) f(c, thread(), sum[c]);
    if (bias(outputs) >= 0) g(bias(outputs), sum[0]);
  }
};

}  // namespace occam::cuda
