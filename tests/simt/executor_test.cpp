// The executor itself: kernels with one mistake each are refused with a message that names it, right ones
// pass under many seeds and compute the right thing. Built with the access hooks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "launch.hpp"

namespace occam::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kThreads = 64;

// Runs `work` and returns the message of the violation, or "" when there was none.
template <class F>
std::string violation(F&& work) {
  try {
    work();
  } catch (const simt::Violation& error) {
    return error.what();
  }
  return "";
}

std::vector<float> ramp(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

class Executor : public testing::Test {
 protected:
  void SetUp() override { simt::set_seed(1); }
  void TearDown() override { simt::skip_barrier(""); }

  DeviceBuffer<float> upload(const char* name, std::size_t n) {
    DeviceBuffer<float> buffer(name, n);
    const std::vector<float> values = ramp(n);
    copy_to_device(stream, buffer.data(), values.data(), n);
    return buffer;
  }
  std::vector<float> download(const DeviceBuffer<float>& buffer) {
    std::vector<float> values(buffer.size());
    copy_to_host(stream, values.data(), buffer.data(), values.size());
    return values;
  }

  Stream stream;
};

struct Rows {
  float value[kThreads];
};

// ---- races
// -----------------------------------------------------------------------------------------------------------

// Reverses 64 values through shared memory; without the barrier threads read what others are still to write.
template <bool with_barrier>
__global__ void reverse_kernel(float* out, const float* in) {
  Rows& rows = shared<Rows>();
  const unsigned t = threadIdx.x;
  rows.value[t] = in[t];
  if constexpr (with_barrier) __syncthreads();
  out[t] = rows.value[kThreads - 1 - t];
}

TEST_F(Executor, ReversesThroughSharedMemoryUnderManySeeds) {
  const auto in = upload("in", kThreads);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    simt::set_seed(seed);
    DeviceBuffer<float> out("out", kThreads);
    launch(stream, "reverse", reverse_kernel<true>, 1, kThreads, sizeof(Rows), out.data(), in.data());
    std::vector<float> expected = ramp(kThreads);
    std::reverse(expected.begin(), expected.end());
    ASSERT_EQ(download(out), expected);
  }
}

TEST_F(Executor, MissingBarrierIsFoundUnderEverySeed) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    simt::set_seed(seed);
    EXPECT_THAT(violation([&] {
                  launch(stream, "reverse", reverse_kernel<false>, 1, kThreads, sizeof(Rows), out.data(),
                         in.data());
                }),
                AllOf(HasSubstr("kernel reverse"), HasSubstr("uninitialised"), HasSubstr("shared memory"),
                      HasSubstr("executor_test.cpp:")));
  }
}

// Each thread replaces its value by its neighbour's: between the read and the write a barrier is missing.
__global__ void rotate_kernel(float* values) {
  const unsigned t = threadIdx.x;
  const float neighbour = values[(t + 1) % blockDim.x];
  values[t] = neighbour;
}

TEST_F(Executor, RaceNamesBothThreadsAndBothLines) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    auto values = upload("values", kThreads);
    simt::set_seed(seed);
    EXPECT_THAT(
        violation([&] { launch(stream, "rotate", rotate_kernel, 1, kThreads, 0, values.data()); }),
        testing::ContainsRegex("race on byte [0-9]+ of buffer 'values' .*: "
                               "thread \\([0-9]+, 0, 0\\) (reads|writes) it at executor_test.cpp:[0-9]+.*"
                               "thread \\([0-9]+, 0, 0\\) (reads|writes) it at executor_test.cpp:[0-9]+"));
  }
}

TEST_F(Executor, SkippedBarrierIsAMissingBarrier) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  const auto reverse = [&] {
    launch(stream, "reverse", reverse_kernel<true>, 1, kThreads, sizeof(Rows), out.data(), in.data());
  };
  int line = 0;
  for (int candidate = 60; candidate < 80; ++candidate) {
    simt::skip_barrier("executor_test.cpp:" + std::to_string(candidate));
    if (!violation(reverse).empty()) line = candidate;
  }
  EXPECT_NE(line, 0);
  simt::skip_barrier("");
  EXPECT_EQ(violation(reverse), "");
}

__global__ void same_word_kernel(int* out) { out[0] = 1; }

TEST_F(Executor, BlocksThatWriteOneWordRace) {
  DeviceBuffer<int> out("out", 1);
  EXPECT_THAT(violation([&] { launch(stream, "same_word", same_word_kernel, 2, 1, 0, out.data()); }),
              AllOf(HasSubstr("race on byte 0 of buffer 'out'"), HasSubstr("another block writes")));
  launch(stream, "same_word", same_word_kernel, 1, 1, 0, out.data());  // one after the other is no race
  launch(stream, "same_word", same_word_kernel, 1, 1, 0, out.data());
}

__global__ void bytes_kernel(unsigned char* out) {
  out[threadIdx.x] = static_cast<unsigned char>(threadIdx.x);
}

TEST_F(Executor, BytesOfOneWordAreApart) {
  DeviceBuffer<unsigned char> out("out", kThreads);
  launch(stream, "bytes", bytes_kernel, 1, kThreads, 0, out.data());
  std::vector<unsigned char> values(kThreads);
  copy_to_host(stream, values.data(), out.data(), kThreads);
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
}

__global__ void count_kernel(int* count) { atomicAdd(count, 1); }
__global__ void count_and_read_kernel(int* count, int* out) {
  atomicAdd(count, 1);
  out[threadIdx.x] = *count;
}

TEST_F(Executor, AtomicsDoNotRaceWithEachOtherButWithReads) {
  DeviceBuffer<int> count("count", 1), out("out", kThreads);
  fill(stream, count);
  launch(stream, "count", count_kernel, 3, kThreads, 0, count.data());
  int value = 0;
  copy_to_host(stream, &value, count.data(), 1);
  EXPECT_EQ(value, 3 * kThreads);
  EXPECT_THAT(violation([&] {
                launch(stream, "count_and_read", count_and_read_kernel, 1, kThreads, 0, count.data(),
                       out.data());
              }),
              HasSubstr("race on byte 0 of buffer 'count'"));
}

// ---- order within a warp and between warps
// ---------------------------------------------------------------------------

template <bool with_sync>
__global__ void warp_reverse_kernel(float* out, const float* in) {
  Rows& rows = shared<Rows>();
  const unsigned t = threadIdx.x, warp_first = t / 32 * 32;
  rows.value[t] = in[t];
  if constexpr (with_sync) {
    __syncwarp();
  } else {
    (void)__shfl_sync(0xFFFFFFFFu, 0, 0);  // lanes meet, but a shuffle orders no memory
  }
  out[t] = rows.value[warp_first + 31 - t % 32];
}

TEST_F(Executor, SyncwarpOrdersLanesAndShufflesDoNot) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    simt::set_seed(seed);
    launch(stream, "warp_reverse", warp_reverse_kernel<true>, 1, kThreads, sizeof(Rows), out.data(),
           in.data());
    EXPECT_EQ(download(out)[0], 32.0f);
    EXPECT_THAT(violation([&] {
                  launch(stream, "warp_reverse", warp_reverse_kernel<false>, 1, kThreads, sizeof(Rows),
                         out.data(), in.data());
                }),
                HasSubstr("race on"));
  }
}

__global__ void cross_warp_kernel(float* out, const float* in) {
  Rows& rows = shared<Rows>();
  const unsigned t = threadIdx.x;
  rows.value[t] = in[t];
  __syncwarp();
  out[t] = rows.value[(t + 32) % kThreads];
}

TEST_F(Executor, SyncwarpDoesNotOrderWarps) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  EXPECT_THAT(violation([&] {
                launch(stream, "cross_warp", cross_warp_kernel, 1, kThreads, sizeof(Rows), out.data(),
                       in.data());
              }),
              testing::AnyOf(HasSubstr("race on"), HasSubstr("uninitialised")));
}

// Warps 0 and 1 exchange through named barrier 1; `right` false lets warp 2 look at it, too.
template <bool right>
__global__ void named_kernel(float* out, const float* in) {
  float* rows = &shared<float>();
  const unsigned t = threadIdx.x;
  rows[t] = in[t];
  if (t < 64) {
    named_barrier(1, 64);
    out[t] = rows[63 - t];
  } else {
    out[t] = right ? rows[t] : rows[t - 64];
  }
}

TEST_F(Executor, NamedBarrierOrdersItsWarpsAlone) {
  const auto in = upload("in", 96);
  DeviceBuffer<float> out("out", 96);
  launch(stream, "named", named_kernel<true>, 1, 96, 96 * sizeof(float), out.data(), in.data());
  EXPECT_EQ(download(out)[0], 64.0f);
  EXPECT_THAT(violation([&] {
                launch(stream, "named", named_kernel<false>, 1, 96, 96 * sizeof(float), out.data(),
                       in.data());
              }),
              testing::AnyOf(HasSubstr("race on"), HasSubstr("uninitialised")));
}

// ---- bounds, initialisation, alignment
// -------------------------------------------------------------------------------

__global__ void copy_kernel(float* out, const float* in, unsigned n) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = in[i];
}

TEST_F(Executor, IndexOffByOneIsOutOfBounds) {
  const auto in = upload("in", 100);
  DeviceBuffer<float> out("out", 101);
  launch(stream, "copy", copy_kernel, 2, kThreads, 0, out.data(), in.data(), 100u);
  EXPECT_THAT(
      violation([&] { launch(stream, "copy", copy_kernel, 2, kThreads, 0, out.data(), in.data(), 101u); }),
      AllOf(HasSubstr("out of bounds"), HasSubstr("thread (36, 0, 0) reads byte 400 of buffer 'in' (400 B"),
            HasSubstr("block (1, 0, 0)"), HasSubstr("executor_test.cpp:")));
}

__global__ void beyond_shared_kernel() { (&shared<float>())[threadIdx.x] = 0.0f; }

TEST_F(Executor, SharedMemoryEndsWhereTheLaunchSays) {
  launch(stream, "beyond_shared", beyond_shared_kernel, 1, 32, 32 * sizeof(float));
  EXPECT_THAT(
      violation([&] { launch(stream, "beyond_shared", beyond_shared_kernel, 1, 33, 32 * sizeof(float)); }),
      HasSubstr("writes byte 128 of the block's 128 B of shared memory"));
}

struct TwoRows {
  float first[32], second[32];
};
__global__ void overrun_kernel(unsigned n) {
  TwoRows& rows = shared<TwoRows>();
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) rows.first[i] = 0.0f;
}

TEST_F(Executor, ArrayOfALayoutEndsWhereItsTypeSays) {
  launch(stream, "overrun", overrun_kernel, 1, 32, sizeof(TwoRows), 32u);
  EXPECT_THAT(violation([&] { launch(stream, "overrun", overrun_kernel, 1, 32, sizeof(TwoRows), 33u); }),
              HasSubstr("out of bounds: index 32 of an array of type 'float [32]'"));
}

TEST_F(Executor, LayoutMustFitTheLaunch) {
  EXPECT_THAT(violation([&] { launch(stream, "overrun", overrun_kernel, 1, 32, sizeof(TwoRows) - 4, 1u); }),
              HasSubstr("needs 256 B of shared memory, the launch gives 252"));
}

TEST_F(Executor, UninitialisedReadsAreFound) {
  DeviceBuffer<float> in("in", kThreads), out("out", kThreads);
  EXPECT_THAT(
      violation([&] { launch(stream, "copy", copy_kernel, 1, kThreads, 0, out.data(), in.data(), 64u); }),
      AllOf(HasSubstr("uninitialised"), HasSubstr("of buffer 'in'")));
  EXPECT_THAT(violation([&] { download(out); }), HasSubstr("byte 0 of buffer 'out'"));
}

__global__ void shared_sum_kernel(float* out) {
  Rows& rows = shared<Rows>();
  if (threadIdx.x > 0) rows.value[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (const float value : rows.value) sum += value;
    *out = sum;
  }
}

TEST_F(Executor, UninitialisedSharedReadIsFoundInEveryBlock) {
  DeviceBuffer<float> out("out", 1);
  EXPECT_THAT(
      violation(
          [&] { launch(stream, "shared_sum", shared_sum_kernel, 1, kThreads, sizeof(Rows), out.data()); }),
      AllOf(HasSubstr("uninitialised: thread (0, 0, 0) reads byte 0 of the block's 256 B of shared memory"),
            HasSubstr("nobody wrote")));
}

TEST_F(Executor, ReleasedBufferIsFound) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  float* const dangling = out.data();
  out = {};
  EXPECT_THAT(
      violation([&] { launch(stream, "copy", copy_kernel, 1, kThreads, 0, dangling, in.data(), 64u); }),
      AllOf(HasSubstr("out of bounds"), HasSubstr("released buffer 'out'")));
}

TEST_F(Executor, HostMemoryIsFound) {
  const auto in = upload("in", kThreads);
  std::vector<float> host(kThreads);
  EXPECT_THAT(
      violation([&] { launch(stream, "copy", copy_kernel, 1, kThreads, 0, host.data(), in.data(), 64u); }),
      HasSubstr("which is not device memory"));
}

__global__ void vector_kernel(float* out, const float* in, int offset) {
  *reinterpret_cast<float4*>(out) = *reinterpret_cast<const float4*>(in + offset);
}

TEST_F(Executor, MisalignedVectorAccessIsFound) {
  const auto in = upload("in", 8);
  DeviceBuffer<float> out("out", 4);
  launch(stream, "vector", vector_kernel, 1, 1, 0, out.data(), in.data(), 4);
  EXPECT_EQ(download(out), (std::vector<float>{5, 6, 7, 8}));
  EXPECT_THAT(violation([&] { launch(stream, "vector", vector_kernel, 1, 1, 0, out.data(), in.data(), 2); }),
              AllOf(HasSubstr("misaligned"), HasSubstr("float4"), HasSubstr("no multiple of 16"),
                    HasSubstr("executor_test.cpp:")));
}

// ---- barriers and warp operations that do not meet
// -------------------------------------------------------------------

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

TEST_F(Executor, DivergentBarriersAreFound) {
  EXPECT_THAT(violation([&] { launch(stream, "divergent", divergent_kernel, 1, kThreads, 0); }),
              AllOf(HasSubstr("divergent barrier"), HasSubstr("executor_test.cpp:")));
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

TEST_F(Executor, DeadlockIsFound) {
  EXPECT_THAT(violation([&] { launch(stream, "deadlock", deadlock_kernel, 1, kThreads, 0); }),
              AllOf(HasSubstr("deadlock: 0 of 64 threads ended"), HasSubstr("executor_test.cpp:")));
}

__global__ void inactive_kernel(float* out, int gone) {
  if (static_cast<int>(threadIdx.x) >= gone) return;
  out[threadIdx.x] = __shfl_down_sync(0xFFFFFFFFu, 1.0f, 1);
}
__global__ void masked_kernel(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000FFFFu, static_cast<int>(threadIdx.x), 20);
}

TEST_F(Executor, InactiveLanesAreFound) {
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

TEST_F(Executor, WarpsMaySplitByMaskAndNotOtherwise) {
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

// ---- asynchronous copies
// ---------------------------------------------------------------------------------------------

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

TEST_F(Executor, AsynchronousCopiesArriveWhenWaitedFor) {
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
                testing::AnyOf(HasSubstr("race on"), HasSubstr("uninitialised"), HasSubstr("in flight")));
    EXPECT_THAT(violation([&] {
                  launch(stream, "pipeline", pipeline_kernel<3>, 1, kThreads, sizeof(Rows), out.data(),
                         in.data(), 2);
                }),
                testing::AnyOf(HasSubstr("race on"), HasSubstr("in flight")));
  }
}

__global__ void forgotten_copy_kernel(const float* in) {
  copy_async<16>(&shared<float>(), in);
  copy_async_commit();
}

TEST_F(Executor, ForgottenAndMisalignedCopiesAreFound) {
  const auto in = upload("in", 8);
  EXPECT_THAT(
      violation([&] { launch(stream, "forgotten_copy", forgotten_copy_kernel, 1, 1, 16, in.data()); }),
      HasSubstr("ends with an asynchronous copy in flight"));
  EXPECT_THAT(
      violation([&] { launch(stream, "forgotten_copy", forgotten_copy_kernel, 1, 1, 16, in.data() + 1); }),
      HasSubstr("misaligned: asynchronous copy of 16 B"));
}

// ---- results
// ---------------------------------------------------------------------------------------------------------

// Per block: count, all, any of the positive values, the warp sums by shuffles.
__global__ void reductions_kernel(int* out, const float* in) {
  int* const warp_sum = &shared<int>();
  const int t = static_cast<int>(threadIdx.x);
  const int value = static_cast<int>(in[blockIdx.x * blockDim.x + threadIdx.x]);
  int sum = value;
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, lanes);
  if (t % 32 == 0) warp_sum[t / 32] = sum;
  const int odd = __syncthreads_count(value % 2), all = __syncthreads_and(value > 0),
            any = __syncthreads_or(value > 9999);
  if (t == 0) {
    int* const row = out + blockIdx.x * 5;
    row[0] = odd, row[1] = all != 0, row[2] = any != 0, row[3] = warp_sum[0], row[4] = warp_sum[1];
  }
}

TEST_F(Executor, ReductionsAreRightUnderManySeeds) {
  const auto in = upload("in", 3 * kThreads);
  DeviceBuffer<int> out("out", 15);
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    simt::set_seed(seed);
    launch(stream, "reductions", reductions_kernel, 3, kThreads, 2 * sizeof(int), out.data(), in.data());
    std::vector<int> rows(15);
    copy_to_host(stream, rows.data(), out.data(), 15);
    for (int b = 0; b < 3; ++b) {
      const int first = b * kThreads, warp = 32 * 33 / 2;
      const std::vector<int> expected{32, 1, 0, 32 * first + warp, 32 * (first + 32) + warp};
      ASSERT_EQ(std::vector<int>(rows.begin() + b * 5, rows.begin() + b * 5 + 5), expected);
    }
  }
}

__global__ void order_kernel(int* counter, int* order) {
  order[atomicAdd(counter, 1)] = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

TEST_F(Executor, SeedReplaysTheOrderAndAnotherChangesIt) {
  const auto order = [&](std::uint64_t seed) {
    simt::set_seed(seed);
    DeviceBuffer<int> counter("counter", 1), out("order", 4 * kThreads);
    fill(stream, counter);
    launch(stream, "order", order_kernel, 4, kThreads, 0, counter.data(), out.data());
    std::vector<int> values(4 * kThreads);
    copy_to_host(stream, values.data(), out.data(), values.size());
    return values;
  };
  const std::vector<int> first = order(7);
  EXPECT_EQ(first, order(7));
  EXPECT_NE(first, order(8));
  std::vector<int> sorted = first;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 4 * kThreads; ++i) ASSERT_EQ(sorted[static_cast<std::size_t>(i)], i);
}

__global__ void double_kernel(float* values) { values[threadIdx.x] *= 2.0f; }

TEST_F(Executor, GraphsAreRecordedAndReplayed) {
  auto values = upload("values", kThreads);
  const Graph graph = capture(stream, [&] {
    launch(stream, "double", double_kernel, 1, kThreads, 0, values.data());
    EXPECT_THROW(download(values), Error);
  });
  EXPECT_EQ(download(values)[0], 1.0f);
  graph.launch(stream);
  graph.launch(stream);
  EXPECT_EQ(download(values)[0], 4.0f);
}

TEST_F(Executor, ImpossibleLaunchesAndAllocationsAreRefused) {
  EXPECT_THROW(launch(stream, "divergent", divergent_kernel, 1, 1025, 0), Error);
  EXPECT_THROW(launch(stream, "divergent", divergent_kernel, 0, 32, 0), Error);
  EXPECT_THROW(launch(stream, "divergent", divergent_kernel, 1, 32, kSharedLimit + 1), Error);
  try {
    DeviceBuffer<double> huge("activations", std::size_t{1} << 40);
    FAIL() << "a terabyte was allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("activations: out of device memory"), HasSubstr("1099511627776 elements")));
  }
}

TEST_F(Executor, ViolationNamesSeedAndLaunch) {
  simt::set_seed(1234);
  launch(stream, "beyond_shared", beyond_shared_kernel, 1, 1, 4);
  EXPECT_THAT(violation([&] { launch(stream, "early_return", early_return_kernel, 1, kThreads, 0); }),
              AllOf(HasSubstr("kernel early_return <<<(1, 1, 1), (64, 1, 1), 0 B>>>"),
                    HasSubstr("OCCAM_SIMT_SEED=1234, launch 2")));
}

}  // namespace
}  // namespace occam::cuda
