// What a network's layers and its loss may be, and their constants.
#pragma once

#include <cstdint>

namespace occam {

enum class Activation : std::int32_t { relu = 0, leaky_relu = 1, prelu = 2, tanh = 3, identity = 4 };
enum class Loss : std::int32_t {
  cross_entropy = 0,         // one logit per class
  binary_cross_entropy = 1,  // one logit; class 1 if > 0
  hinge = 2,                 // one logit; max(0, 1 − (2y − 1) logit); class 1 if > 0
};

inline constexpr float kLeakySlope = 0.01f;
inline constexpr float kPreluStart = 0.25f;
inline constexpr float kBatchNormMomentum = 0.1f;
inline constexpr float kBatchNormEpsilon = 1e-5f;

}  // namespace occam
