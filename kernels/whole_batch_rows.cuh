// The rows of a whole batch, and how they get to the chip: kernels/whole_batch.cu and kernels/whole_batch_tensor.cu.
#pragma once

#include "launch.hpp"
#include "law/batch.hpp"
#include "whole_batch.hpp"

namespace occam::cuda {

// Of the two batches one is trained on while the other is drawn.
struct BatchRows {
  using B = WholeBatch;

  const Member& member;
  const float* train_x;  // the member's: copies in between would have it read anew
  std::uint32_t* drawn;  // [2][kSamples] which rows of the training set
  std::int32_t* label;   // [2][kSamples]
  int inputs;

  static __device__ __forceinline__ int in_first_half(int count) {
    return count < B::kHalf ? count : B::kHalf;
  }

  __device__ __forceinline__ std::uint32_t* numbers(int which) const { return drawn + which * B::kSamples; }
  __device__ __forceinline__ std::int32_t* labels(int which) const { return label + which * B::kSamples; }
  __device__ __forceinline__ const float* source(int which, int sample, int feature) const {
    return train_x + static_cast<std::int64_t>(numbers(which)[sample]) * padded(inputs) + feature;
  }

  // The order of the epoch that the batch at `place` belongs to.
  __device__ __forceinline__ law::EpochOrder order(const law::BatchPlace& place) const {
    return law::epoch_order(member.order_seed, member.in_order, place.epoch,
                            member.rows[static_cast<int>(Split::train)]);
  }
  // Draws the rows of the batch at `place` and starts to fetch their labels, which a later commit closes. Its order
  // takes a while to make and lasts an epoch.
  __device__ __forceinline__ void open(const law::EpochOrder& order, const law::BatchPlace& place,
                                       int which) const {
    const int sample = static_cast<int>(threadIdx.x);
    if (sample >= place.count) return;
    const std::uint32_t row =
        order(static_cast<std::uint32_t>(place.first) + static_cast<std::uint32_t>(sample));
    numbers(which)[sample] = row;
    copy_async<4>(labels(which) + sample, member.train_y + row);
  }
  __device__ __forceinline__ void open(const law::BatchPlace& place, int which) const {
    open(order(place), place, which);
  }

  // f(sample, feature) of each of the thread's quads of the rows of samples first … end − 1.
  template <class F>
  __device__ __forceinline__ void each_quad(int first, int end, const F& f) const {
    constexpr int kAcross = 16;  // threads of a row
    static_assert(kAcross * kQuad >= B::kInputs);
    const int thread = static_cast<int>(threadIdx.x), at = thread % kAcross * kQuad;
    if (at >= inputs) return;
#pragma unroll 8
    for (int sample = first + thread / kAcross; sample < end; sample += kResidentThreads / kAcross)
      f(sample, at);
  }
  // Starts to copy them to `x`, rows of kInputs floats.
  __device__ __forceinline__ void copy_rows(float* x, int which, int first, int end) const {
    each_quad(first, end, [&](int sample, int at) {
      copy_async<16>(x + sample * B::kInputs + at, source(which, sample, at));
    });
    copy_async_commit();
  }
};

}  // namespace occam::cuda
