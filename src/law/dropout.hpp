// Dropout: each feature of each sample of each update has its own draw, so a mask is never stored.
#pragma once

#include <cstdint>

#include "occam/philox.hpp"

namespace occam::law {

struct Dropout {
  std::uint32_t threshold;  // dropped if the draw is below: probability · 2^32
  float scale;              // 1 / (1 − probability)
};

inline Dropout dropout_constants(double probability) {
  return {static_cast<std::uint32_t>(probability * 4294967296.0),
          static_cast<float>(1.0 / (1.0 - probability))};
}

// The four draws of features 4·group … 4·group + 3. `layer` is 0 for the input, l + 1 for hidden layer l.
OCCAM_HD Philox dropout_draws(std::uint32_t order_seed, std::uint32_t group, std::uint32_t sample,
                              std::uint32_t layer, std::uint32_t update) {
  return draw(order_seed, Stream::dropout, group, sample, layer, update);
}

// What a feature is multiplied by.
OCCAM_HD float dropout_factor(Dropout dropout, std::uint32_t word) {
  return word < dropout.threshold ? 0.0f : dropout.scale;
}

}  // namespace occam::law
