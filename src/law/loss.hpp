// Losses of one sample and their gradients with respect to its logits. Sums over the classes of a sample are
// single accumulators in ascending order; the mean over samples is a lane sum (law/sum.hpp) divided by their
// number.
#pragma once

#include <cstdint>

#include "law/functions.hpp"
#include "occam/layers.hpp"

namespace occam::law {

OCCAM_HD float largest(const float* logit, int classes) {
  float top = logit[0];
  for (int c = 1; c < classes; ++c) top = logit[c] > top ? logit[c] : top;
  return top;
}

// −log softmax(logit)[label]
OCCAM_HD float cross_entropy(const float* logit, int classes, std::int32_t label) {
  const float top = largest(logit, classes);
  float sum = 0.0f;
  for (int c = 0; c < classes; ++c) sum += exp(logit[c] - top);
  return log(sum) - (logit[label] - top);
}

// (softmax(logit) − one_hot(label)) · inverse_count; `gradient` may be `logit` itself.
OCCAM_HD void cross_entropy_gradient(const float* logit, int classes, std::int32_t label, float inverse_count,
                                     float* gradient) {
  const float top = largest(logit, classes);
  float sum = 0.0f;
  for (int c = 0; c < classes; ++c) {
    gradient[c] = exp(logit[c] - top);
    sum += gradient[c];
  }
  for (int c = 0; c < classes; ++c)
    gradient[c] = (gradient[c] / sum - (c == label ? 1.0f : 0.0f)) * inverse_count;
}

// max(x, 0) − x·y + log(1 + exp(−|x|))
OCCAM_HD float binary_cross_entropy(float logit, std::int32_t label) {
  const float positive = logit < 0.0f ? 0.0f : logit;
  const float magnitude = logit < 0.0f ? -logit : logit;
  return fma(-logit, static_cast<float>(label), positive) + log1p(exp(-magnitude));
}

OCCAM_HD float binary_cross_entropy_gradient(float logit, std::int32_t label, float inverse_count) {
  return (1.0f / (1.0f + exp(-logit)) - static_cast<float>(label)) * inverse_count;
}

// max(0, 1 − (2y − 1) x)
OCCAM_HD float hinge(float logit, std::int32_t label) {
  const float slack = label != 0 ? 1.0f - logit : 1.0f + logit;
  return slack < 0.0f ? 0.0f : slack;
}

OCCAM_HD float hinge_gradient(float logit, std::int32_t label, float inverse_count) {
  const float slack = label != 0 ? 1.0f - logit : 1.0f + logit;
  const float toward = label != 0 ? -inverse_count : inverse_count;
  return slack > 0.0f ? toward : 0.0f;
}

OCCAM_HD float sample_loss(Loss kind, const float* logit, int outputs, std::int32_t label) {
  if (kind == Loss::cross_entropy) return cross_entropy(logit, outputs, label);
  return kind == Loss::hinge ? hinge(logit[0], label) : binary_cross_entropy(logit[0], label);
}

OCCAM_HD void sample_loss_gradient(Loss kind, const float* logit, int outputs, std::int32_t label,
                                   float inverse_count, float* gradient) {
  if (kind == Loss::cross_entropy)
    return cross_entropy_gradient(logit, outputs, label, inverse_count, gradient);
  gradient[0] = kind == Loss::hinge ? hinge_gradient(logit[0], label, inverse_count)
                                    : binary_cross_entropy_gradient(logit[0], label, inverse_count);
}

// Class the model predicts; ties go to the lower class.
OCCAM_HD std::int32_t predicted_class(const float* logit, int outputs) {
  if (outputs == 1) return logit[0] > 0.0f ? 1 : 0;
  std::int32_t best = 0;
  for (std::int32_t c = 1; c < outputs; ++c) best = logit[c] > logit[best] ? c : best;
  return best;
}

}  // namespace occam::law
