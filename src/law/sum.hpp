// The law's one way to add many numbers: 32 lanes, then a fixed tree. Element i goes to lane i mod 32, in
// ascending order, from +0; then lane[l] += lane[l + stride] for stride 16, 8, 4, 2, 1. On a GPU one warp is
// the lanes and five shuffle-downs are the tree; on a CPU four AVX2 registers are the lanes.
#pragma once

#include <cstdint>

#include "occam/host_device.hpp"

namespace occam::law {

inline constexpr int kLanes = 32;

struct LaneSum {
  float lane[kLanes] = {};

  OCCAM_HD void add(std::int64_t i, float value) { lane[i & (kLanes - 1)] += value; }

  // Elements first … first + 31 at once; `first` is a multiple of 32.
  OCCAM_HD void add_row(const float* values) {
    for (int l = 0; l < kLanes; ++l) lane[l] += values[l];
  }

  OCCAM_HD float total() const {
    float tree[kLanes / 2];
    for (int l = 0; l < kLanes / 2; ++l) tree[l] = lane[l] + lane[l + kLanes / 2];
    for (int stride = kLanes / 4; stride > 0; stride /= 2)
      for (int l = 0; l < stride; ++l) tree[l] += tree[l + stride];
    return tree[0];
  }
};

// Sum of value_of(i) for 0 <= i < n; the loop vectorises when value_of does.
template <class ValueOf>
OCCAM_HD float lane_sum_of(std::int64_t n, const ValueOf& value_of) {
  LaneSum sum;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) sum.lane[l] += value_of(i + l);
  for (; i < n; ++i) sum.add(i, value_of(i));
  return sum.total();
}

// values: [n]
OCCAM_HD float lane_sum(const float* values, std::int64_t n) {
  LaneSum sum;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum.add_row(values + i);
  for (; i < n; ++i) sum.add(i, values[i]);
  return sum.total();
}

}  // namespace occam::law
