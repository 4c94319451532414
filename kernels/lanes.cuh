// The law's lane sum on the device (law/sum.hpp): lane l adds the elements l, l + 32, …, then a tree adds the
// lanes.
#pragma once

#include "launch.hpp"
#include "law/sum.hpp"
#include "product.cuh"

namespace occam::cuda {

inline constexpr unsigned kWarp = 0xFFFFFFFFu;

__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % law::kLanes; }

// The tree over a warp's lanes; the sum is lane 0's. It equals law::LaneSum::total().
__device__ __forceinline__ float warp_total(float lane) {
  OCCAM_UNROLL
  for (int stride = law::kLanes / 2; stride > 0; stride /= 2)
    lane += __shfl_down_sync(kWarp, lane, static_cast<unsigned>(stride));
  return lane;
}

}  // namespace occam::cuda
