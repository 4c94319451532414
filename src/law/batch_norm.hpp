// Batch normalisation of one feature as PyTorch's BatchNorm1d defines it. Moments and gradient sums over the
// samples of a batch are lane sums (law/sum.hpp).
#pragma once

#include "law/functions.hpp"
#include "occam/layers.hpp"

namespace occam::law {

// mean = lane_sum(x) / n; square_sum = lane_sum(squared_deviation(x, mean)).
OCCAM_HD float squared_deviation(float x, float mean) {
  const float deviation = x - mean;
  return deviation * deviation;
}

OCCAM_HD float inverse_deviation(float variance) { return 1.0f / square_root(variance + kBatchNormEpsilon); }

OCCAM_HD float normalized(float x, float mean, float inverse) { return (x - mean) * inverse; }

OCCAM_HD float batch_norm(float x, float mean, float inverse, float gamma, float beta) {
  return fma(normalized(x, mean, inverse), gamma, beta);
}

// running ← running + 0.1 (batch − running); the variance that enters is the unbiased one, square_sum / (n −
// 1).
OCCAM_HD float running_average(float running, float batch) {
  return fma(kBatchNormMomentum, batch - running, running);
}

// dL/dx; beta_gradient = lane_sum(dy), gamma_gradient = lane_sum(dy · x̂), scale = gamma · inverse.
OCCAM_HD float batch_norm_gradient(float dy, float x_hat, float beta_gradient, float gamma_gradient,
                                   float inverse_count, float scale) {
  return scale * fma(-inverse_count, fma(x_hat, gamma_gradient, beta_gradient), dy);
}

// dL/dx in inference mode, where the running averages are constants.
OCCAM_HD float batch_norm_inference_gradient(float dy, float gamma, float inverse) {
  return dy * (gamma * inverse);
}

}  // namespace occam::law
