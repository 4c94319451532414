// The rows of a whole batch on the chip, and how they get there: kernels/whole_batch.cu and
// kernels/whole_batch_tensor.cu.
#pragma once

#include "launch.hpp"
#include "law/batch.hpp"
#include "whole_batch.hpp"

namespace occam::cuda {

// L: WholeBatch or WholeBatchTensor, where things lie. Of the two batches one is trained on while the other is drawn;
// only one of them has its rows here.
template <class L>
struct BatchRows {
  const Member& member;
  float* const base;
  int inputs;

  static __device__ __forceinline__ int in_first_half(int count) {
    return count < L::kHalf ? count : L::kHalf;
  }

  __device__ __forceinline__ std::uint32_t* numbers(int which) const {
    return reinterpret_cast<std::uint32_t*>(base + L::kRowNumbers) + which * L::kSamples;
  }
  __device__ __forceinline__ std::int32_t* labels(int which) const {
    return reinterpret_cast<std::int32_t*>(base + L::kLabels) + which * L::kSamples;
  }

  // Draws the rows of the batch at `place` and starts to fetch their labels, which a later copy_rows commits.
  __device__ __forceinline__ void open(const law::BatchPlace& place, int which) const {
    const law::EpochOrder order = law::epoch_order(member.order_seed, member.in_order, place.epoch,
                                                   member.rows[static_cast<int>(Split::train)]);
    const int sample = static_cast<int>(threadIdx.x);
    if (sample >= place.count) return;
    const std::uint32_t row =
        order(static_cast<std::uint32_t>(place.first) + static_cast<std::uint32_t>(sample));
    numbers(which)[sample] = row;
    copy_async<4>(labels(which) + sample, member.train_y + row);
  }

  // f(sample, feature) of each of the thread's quads of the rows of samples first … end − 1.
  template <class F>
  __device__ __forceinline__ void each_quad(int first, int end, const F& f) const {
    constexpr int kQuads = L::kInputs / kQuad;
    for (int item = static_cast<int>(threadIdx.x); item < (end - first) * kQuads; item += kResidentThreads)
      if (item % kQuads * kQuad < inputs) f(first + item / kQuads, item % kQuads * kQuad);
  }
  __device__ __forceinline__ void copy_rows(int which, int first, int end) const {
    const int stride = padded(inputs);
    each_quad(first, end, [&](int sample, int at) {
      copy_async<16>(base + L::kSpare + sample * L::kInputs + at,
                     member.train_x + static_cast<std::int64_t>(numbers(which)[sample]) * stride + at);
    });
    copy_async_commit();
  }
};

}  // namespace occam::cuda
