// The smallest and the largest value of rows (kernels/value_range.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"
#include "occam/perturbation.hpp"

namespace occam::cuda {

// Of what has been seen so far, as keys that sort like the values; none_seen() of nothing.
struct ValueRange {
  std::uint32_t low, high;
};
inline ValueRange none_seen() { return {UINT32_MAX, 0}; }
DataRange values_of(ValueRange range);  // {0, 0} of nothing; −0 counts as +0

// Widens ranges[slot] by the slot's rows in hand. x: [slots][capacity][padded(inputs)]
void launch_value_range(Stream& stream, const Slots& slots, int inputs, const float* x, ValueRange* ranges);

}  // namespace occam::cuda
