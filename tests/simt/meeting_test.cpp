// Where threads meet, and where they do not: barriers, warp operations, asynchronous copies.
#include "simt/executor_fixture.hpp"

namespace occam::cuda {
namespace {

class Meetings : public Executor {};

__global__ void divergent_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void early_return_kernel() {
  if (threadIdx.x == 5) return;
  __syncthreads();
}

TEST_F(Meetings, DivergentBarriersAreFound) {
  EXPECT_THAT(violation([&] { launch(stream, "divergent", divergent_kernel, 1, kThreads, 0); }),
              AllOf(HasSubstr("divergent barrier"), HasSubstr("meeting_test.cpp:")));
  EXPECT_THAT(violation([&] { launch(stream, "early_return", early_return_kernel, 1, kThreads, 0); }),
              HasSubstr("divergent barrier"));
}

__global__ void deadlock_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    named_barrier(1, 64);
  }
}

TEST_F(Meetings, DeadlockIsFound) {
  EXPECT_THAT(violation([&] { launch(stream, "deadlock", deadlock_kernel, 1, kThreads, 0); }),
              AllOf(HasSubstr("deadlock: 0 of 64 threads ended"), HasSubstr("meeting_test.cpp:")));
}

__global__ void inactive_kernel(float* out, int gone) {
  if (static_cast<int>(threadIdx.x) >= gone) return;
  out[threadIdx.x] = __shfl_down_sync(0xFFFFFFFFu, 1.0f, 1);
}
__global__ void masked_kernel(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000FFFFu, static_cast<int>(threadIdx.x), 20);
}

TEST_F(Meetings, InactiveLanesAreFound) {
  DeviceBuffer<float> out("out", 32);
  launch(stream, "inactive", inactive_kernel, 1, 32, 0, out.data(), 32);
  EXPECT_THAT(violation([&] { launch(stream, "inactive", inactive_kernel, 1, 32, 0, out.data(), 31); }),
              AllOf(HasSubstr("names"), HasSubstr("mask 0xffffffff")));
  EXPECT_THAT(violation([&] { launch(stream, "inactive", inactive_kernel, 1, 31, 0, out.data(), 31); }),
              HasSubstr("lane 31, which this warp does not have"));
  DeviceBuffer<int> lanes("lanes", 32);
  EXPECT_THAT(violation([&] { launch(stream, "masked", masked_kernel, 1, 32, 0, lanes.data()); }),
              HasSubstr("from lane 20, which is not in the mask 0x0000ffff"));
}

__global__ void split_warp_kernel(int* out) {
  const unsigned lane = threadIdx.x;
  const unsigned mask = lane < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  int sum = 0;
  if (lane < 16) {
    sum = __reduce_add_sync(mask, static_cast<int>(lane));
  } else {
    sum = static_cast<int>(__popc(__ballot_sync(mask, lane % 2)));
  }
  out[lane] = sum;
}
__global__ void mixed_warp_kernel(int* out) {
  out[threadIdx.x] = threadIdx.x < 16 ? __any_sync(0xFFFFFFFFu, 1) : __all_sync(0xFFFFFFFFu, 1);
}

TEST_F(Meetings, WarpsMaySplitByMaskAndNotOtherwise) {
  DeviceBuffer<int> out("out", 32);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    simt::set_seed(seed);
    launch(stream, "split_warp", split_warp_kernel, 1, 32, 0, out.data());
    std::vector<int> values(32);
    copy_to_host(stream, values.data(), out.data(), 32);
    for (int lane = 0; lane < 32; ++lane)
      ASSERT_EQ(values[static_cast<std::size_t>(lane)], lane < 16 ? 120 : 8);
  }
  EXPECT_THAT(violation([&] { launch(stream, "mixed_warp", mixed_warp_kernel, 1, 32, 0, out.data()); }),
              HasSubstr("divergent warp"));
}

// ---- asynchronous copies ----------------------------------------------------------------------------------

// 0: right; 1: no wait; 2: no barrier after the wait; 3: the next tile overwrites what others still read.
template <int mistake>
__global__ void pipeline_kernel(float* out, const float* in, int tiles) {
  Rows& rows = shared<Rows>();
  const unsigned t = threadIdx.x;
  float sum = 0.0f;
  for (int tile = 0; tile < tiles; ++tile) {
    copy_async<4>(&rows.value[t], &in[tile * kThreads + static_cast<int>(t)]);
    copy_async_commit();
    if constexpr (mistake != 1) copy_async_wait<0>();
    if constexpr (mistake != 2) __syncthreads();
    sum += rows.value[kThreads - 1 - t];
    if constexpr (mistake != 3) __syncthreads();
  }
  if constexpr (mistake == 1) copy_async_wait<0>();
  out[t] = sum;
}

TEST_F(Meetings, AsynchronousCopiesArriveWhenWaitedFor) {
  const auto in = upload("in", 3 * kThreads);
  DeviceBuffer<float> out("out", kThreads);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    simt::set_seed(seed);
    launch(stream, "pipeline", pipeline_kernel<0>, 1, kThreads, sizeof(Rows), out.data(), in.data(), 3);
    const std::vector<float> sums = download(out);
    for (int t = 0; t < kThreads; ++t) {
      ASSERT_EQ(sums[static_cast<std::size_t>(t)], static_cast<float>(3 * (kThreads - t) + 3 * kThreads));
    }
    EXPECT_THAT(violation([&] {
                  launch(stream, "pipeline", pipeline_kernel<1>, 1, kThreads, sizeof(Rows), out.data(),
                         in.data(), 1);
                }),
                AllOf(HasSubstr("asynchronous copy in flight"), HasSubstr("has not been waited for")));
    EXPECT_THAT(violation([&] {
                  launch(stream, "pipeline", pipeline_kernel<2>, 1, kThreads, sizeof(Rows), out.data(),
                         in.data(), 1);
                }),
                AnyOf(HasSubstr("race on"), HasSubstr("uninitialised"), HasSubstr("in flight")));
    EXPECT_THAT(violation([&] {
                  launch(stream, "pipeline", pipeline_kernel<3>, 1, kThreads, sizeof(Rows), out.data(),
                         in.data(), 2);
                }),
                AnyOf(HasSubstr("race on"), HasSubstr("in flight")));
  }
}

__global__ void forgotten_copy_kernel(const float* in) {
  copy_async<16>(&shared<float>(), in);
  copy_async_commit();
}

TEST_F(Meetings, ForgottenAndMisalignedCopiesAreFound) {
  const auto in = upload("in", 8);
  EXPECT_THAT(
      violation([&] { launch(stream, "forgotten_copy", forgotten_copy_kernel, 1, 1, 16, in.data()); }),
      HasSubstr("ends with an asynchronous copy in flight"));
  EXPECT_THAT(
      violation([&] { launch(stream, "forgotten_copy", forgotten_copy_kernel, 1, 1, 16, in.data() + 1); }),
      HasSubstr("misaligned: asynchronous copy of 16 B"));
}

}  // namespace
}  // namespace occam::cuda
