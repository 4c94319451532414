// What an initialisation draws: weight i (row-major), then bias i + fan_in · fan_out of a layer take word i mod 4 of
// Philox(seed, `initialization`, {⌊i/4⌋, layer, 0, 0}).
#pragma once

#include "law/functions.hpp"
#include "occam/philox.hpp"

namespace occam::law {

// Of a layer. Biases that are not drawn are 0.
struct LayerDraws {
  bool normal, biases;
  float factor;  // half width of a uniform, or standard deviation
};

OCCAM_HD float initial_value(const LayerDraws& of, std::uint32_t word) {
  const float uniform = fma(2.0f, uniform01(word), -1.0f);  // on [−1, 1)
  return of.factor * (of.normal ? standard_normal(word) : uniform);
}

}  // namespace occam::law
