// The last layer, of one unit or two, behind samples that are in a warp's registers (tensor_samples.cuh), in fp32. Logits and
// loss are the warp's own affair.
//
// The softmax of two classes depends on the difference of their logits alone: it is the sigmoid, and their gradients are each
// other's negatives. So in either case there is one logit here, with one weight of each unit: that of the only unit, or that
// of the second one less that of the first.
#pragma once

#include "law/loss.hpp"
#include "optimizer.cuh"
#include "tensor_samples.cuh"

namespace occam::cuda {

// Behind 8 · across units. Place u has the weight of unit u, place kWide the bias.
template <int across>
struct TensorLastLayer {
  static constexpr int kWide = 8 * across, kPlaces = last_layer_places(kWide);
  static_assert(kWide < kTensorThreads);

  const LayerView& view;
  float* weight;  // [kPlaces] of the one logit
  float* master;  // [kTensorOutputs][kPlaces] as they are trained

  template <class F>
  __device__ __forceinline__ void each_own(const F& f) const {
    const int place = static_cast<int>(threadIdx.x);
    if (place >= view.in && place != kWide) return;
    for (int c = 0; c < view.out; ++c)
      f(master[c * kPlaces + place],
        place == kWide ? view.bias + c : view.weight + c * view.in_stride + place);
    weight[place] = master[place + (view.out - 1) * kPlaces] - (view.out == 2 ? master[place] : 0.0f);
  }
  __device__ __forceinline__ void bring(const float* trained) const {
    each_own([&](float& of, std::int64_t offset) { of = trained[offset]; });
  }
  __device__ __forceinline__ void give_back(float* trained) const {
    each_own([&](float of, std::int64_t offset) { trained[offset] = of; });
  }
  // gradient: of the one logit's weight.
  template <bool has_state>
  __device__ __forceinline__ void step(const Trainee& trainee, int place, float gradient) const {
    float* const of = master + place;
    if constexpr (has_state) {
      const std::int64_t offset = place == kWide ? view.bias : view.weight + place,
                         apart = place == kWide ? 1 : view.in_stride;
      if (view.out == 2)
        trainee.step_elsewhere<2>({of, of + kPlaces}, {offset, offset + apart}, {-gradient, gradient});
      else
        trainee.step_elsewhere<1>({of}, {offset}, {gradient});
    } else {
      const auto step_one = [&](float& value, float by) {
        float none = 0.0f;
        law::optimizer_step<OptimizerKind::sgd, false>(trainee.optimizer, {}, by, value, none, none);
      };
      step_one(of[(view.out - 1) * kPlaces], gradient);
      if (view.out == 2) step_one(of[0], -gradient);
    }
    weight[place] = of[(view.out - 1) * kPlaces] - (view.out == 2 ? of[0] : 0.0f);
  }

  // Adds to the logits of the lane's samples what two of their activations make of them, units `unit` and `unit` + 1.
  __device__ __forceinline__ void add(int unit, float first, float second, float& logit) const {
    const float2 of = *reinterpret_cast<const float2*>(weight + unit);
    logit = law::fma(second, of.y, law::fma(first, of.x, logit));
  }

  // logit: a lane's sums of its samples over its units, of which four lanes make a sample's, becomes dL/dlogit of these samples;
  // the result is that of the own sample, number lane % 4 of them. label: of that one, −1: there is none; inverse: 1 / samples
  // of the batch.
  __device__ __forceinline__ float loss_gradient(Loss loss, std::int32_t label, float inverse,
                                                 float (&logit)[2 * kDown]) const {
    const int own = lane() % 4;
    float own_logit = 0.0f, gradient = 0.0f;
    OCCAM_UNROLL
    for (int r = 0; r < 2 * kDown; ++r) {
      logit[r] += __shfl_xor_sync(kWarp, logit[r], 1);
      logit[r] += __shfl_xor_sync(kWarp, logit[r], 2);
      if (r == own) own_logit = logit[r] + weight[kWide];
    }
    if (label >= 0) {
      law::sample_loss_gradient(loss == Loss::cross_entropy ? Loss::binary_cross_entropy : loss, &own_logit,
                                1, label, inverse, &gradient);
      // NaN where the logit is infinite, as a softmax is: a member that has diverged does not come back.
      if (loss == Loss::cross_entropy) gradient += own_logit - own_logit;
    }
    OCCAM_UNROLL
    for (int r = 0; r < 2 * kDown; ++r) logit[r] = __shfl_sync(kWarp, gradient, (lane() & ~3) + r);
    return gradient;
  }
};

// Of all lanes, in a fixed order.
__device__ __forceinline__ float sum_of_warp(float value) {
  OCCAM_UNROLL
  for (int apart = 1; apart < law::kLanes; apart *= 2) value += __shfl_xor_sync(kWarp, value, apart);
  return value;
}

}  // namespace occam::cuda
