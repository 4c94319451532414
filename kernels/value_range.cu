// The range of values of many members' rows: a warp takes a row at a time, a block sums up its rows, and integer
// atomics, whose order does not matter, join the blocks.

#include "value_range.hpp"

#include "law/sum.hpp"
#include "product.cuh"
#include "score_key.cuh"

namespace occam::cuda {

namespace {
constexpr int kThreads = 256, kWarps = kThreads / law::kLanes, kRowsOfBlock = 64;
}

// ---- kernels ----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads)
    value_range_kernel(Slots slots, int inputs, const float* x, ValueRange* ranges) {
  const int slot = static_cast<int>(blockIdx.y), rows = slots.rows[slot];
  const int lane = static_cast<int>(threadIdx.x) % law::kLanes;
  const int first = static_cast<int>(blockIdx.x) * kRowsOfBlock;
  const int last = first + kRowsOfBlock < rows ? first + kRowsOfBlock : rows;
  std::uint32_t low = UINT32_MAX, high = 0;
  for (int at = first + static_cast<int>(threadIdx.x) / law::kLanes; at < last; at += kWarps) {
    const float* row = x + (static_cast<std::int64_t>(slot) * slots.capacity + at) * padded(inputs);
    for (int k = lane; k < inputs; k += law::kLanes) {
      const std::uint32_t key = ordered_bits(row[k]);
      low = low < key ? low : key, high = high > key ? high : key;
    }
  }
  for (int lanes = law::kLanes / 2; lanes > 0; lanes /= 2) {
    const std::uint32_t other_low = __shfl_xor_sync(~0u, low, lanes),
                        other_high = __shfl_xor_sync(~0u, high, lanes);
    low = low < other_low ? low : other_low, high = high > other_high ? high : other_high;
  }
  if (lane > 0 || first >= rows) return;
  atomicMin(&ranges[slot].low, low);
  atomicMax(&ranges[slot].high, high);
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_value_range(Stream& stream, const Slots& slots, int inputs, const float* x, ValueRange* ranges) {
  const NvtxRange range{"value range"};
  launch(stream, "value_range", value_range_kernel,
         dim3(static_cast<unsigned>(tiles(slots.capacity, kRowsOfBlock)), static_cast<unsigned>(slots.count)),
         dim3(kThreads), 0, slots, inputs, x, ranges);
}

DataRange values_of(ValueRange range) {
  if (range.low > range.high) return {};
  return {of_ordered_bits(range.low), of_ordered_bits(range.high)};
}

}  // namespace occam::cuda
