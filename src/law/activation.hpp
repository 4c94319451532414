// Activations of a hidden layer and their derivatives, one definition for every body. z: before, h = f(z):
// after.
#pragma once

#include <type_traits>

#include "law/functions.hpp"
#include "occam/layers.hpp"

namespace occam::law {

// Written so that NaN goes through: a diverged member must show. `slope` is PReLU's parameter and unused
// otherwise.
template <Activation kind>
OCCAM_HD float activate(float z, float slope) {
  if constexpr (kind == Activation::relu) return z < 0.0f ? 0.0f : z;
  if constexpr (kind == Activation::leaky_relu) return z > 0.0f ? z : kLeakySlope * z;
  if constexpr (kind == Activation::prelu) return z > 0.0f ? z : slope * z;
  if constexpr (kind == Activation::tanh) return tanh(z);
  return z;
}

// dL/dz from dL/dh. Only PReLU reads z (its slope may turn negative, so the sign of h says nothing).
template <Activation kind>
OCCAM_HD float activation_gradient(float gradient, float z, float h, float slope) {
  if constexpr (kind == Activation::relu) return h > 0.0f ? gradient : 0.0f;
  if constexpr (kind == Activation::leaky_relu) return h > 0.0f ? gradient : kLeakySlope * gradient;
  if constexpr (kind == Activation::prelu) return z > 0.0f ? gradient : slope * gradient;
  if constexpr (kind == Activation::tanh) return gradient * fma(-h, h, 1.0f);
  return gradient;
}

// One sample's and feature's share of dL/dslope. The slope's gradient is a lane sum over samples of the lane
// sums over features.
OCCAM_HD float prelu_slope_term(float gradient, float z) { return z > 0.0f ? 0.0f : gradient * z; }

// Calls f with the activation as a compile-time constant.
template <class F>
OCCAM_HD decltype(auto) with_activation(Activation kind, F&& f) {
  switch (kind) {
    case Activation::relu: return f(std::integral_constant<Activation, Activation::relu>{});
    case Activation::leaky_relu: return f(std::integral_constant<Activation, Activation::leaky_relu>{});
    case Activation::prelu: return f(std::integral_constant<Activation, Activation::prelu>{});
    case Activation::tanh: return f(std::integral_constant<Activation, Activation::tanh>{});
    default: return f(std::integral_constant<Activation, Activation::identity>{});
  }
}

}  // namespace occam::law
