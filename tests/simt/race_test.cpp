// Races: accesses that nothing orders are refused with a message that names both; right kernels pass under many
// seeds.
#include "simt/executor_fixture.hpp"

namespace occam::cuda {
namespace {

class Races : public Executor {};

// Reverses 64 values through shared memory; without the barrier threads read what others are still to write.
constexpr int kReverseLine = __LINE__;  // its barrier stands 6 lines below
template <bool with_barrier>
__global__ void reverse_kernel(float* out, const float* in) {
  Rows& rows = shared<Rows>();
  const unsigned t = threadIdx.x;
  rows.value[t] = in[t];
  if constexpr (with_barrier) __syncthreads();
  out[t] = rows.value[kThreads - 1 - t];
}

TEST_F(Races, ReversesThroughSharedMemoryUnderManySeeds) {
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

TEST_F(Races, MissingBarrierIsFoundUnderEverySeed) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    simt::set_seed(seed);
    EXPECT_THAT(violation([&] {
                  launch(stream, "reverse", reverse_kernel<false>, 1, kThreads, sizeof(Rows), out.data(),
                         in.data());
                }),
                AllOf(HasSubstr("kernel reverse"), HasSubstr("uninitialised"), HasSubstr("shared memory"),
                      HasSubstr("race_test.cpp:")));
  }
}

// Each thread replaces its value by its neighbour's: between the read and the write a barrier is missing.
__global__ void rotate_kernel(float* values) {
  const unsigned t = threadIdx.x;
  const float neighbour = values[(t + 1) % blockDim.x];
  values[t] = neighbour;
}

TEST_F(Races, RaceNamesBothThreadsAndBothLines) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    auto values = upload("values", kThreads);
    simt::set_seed(seed);
    EXPECT_THAT(
        violation([&] { launch(stream, "rotate", rotate_kernel, 1, kThreads, 0, values.data()); }),
        testing::ContainsRegex("race on byte [0-9]+ of buffer 'values' .*: "
                               "thread \\([0-9]+, 0, 0\\) (reads|writes) it at race_test.cpp:[0-9]+.*"
                               "thread \\([0-9]+, 0, 0\\) (reads|writes) it at race_test.cpp:[0-9]+"));
  }
}

TEST_F(Races, SkippedBarrierIsAMissingBarrier) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  const auto reverse = [&] {
    launch(stream, "reverse", reverse_kernel<true>, 1, kThreads, sizeof(Rows), out.data(), in.data());
  };
  for (const int line : {5, 6, 7}) {
    simt::skip_barrier("race_test.cpp:" + std::to_string(kReverseLine + line));
    EXPECT_EQ(!violation(reverse).empty(), line == 6) << line;
  }
  simt::skip_barrier("");
  EXPECT_EQ(violation(reverse), "");
}

__global__ void same_word_kernel(int* out) { out[0] = 1; }

TEST_F(Races, BlocksThatWriteOneWordRace) {
  DeviceBuffer<int> out("out", 1);
  EXPECT_THAT(violation([&] { launch(stream, "same_word", same_word_kernel, 2, 1, 0, out.data()); }),
              AllOf(HasSubstr("race on byte 0 of buffer 'out'"), HasSubstr("another block writes")));
  launch(stream, "same_word", same_word_kernel, 1, 1, 0, out.data());  // one after the other is no race
  launch(stream, "same_word", same_word_kernel, 1, 1, 0, out.data());
}

__global__ void bytes_kernel(unsigned char* out) {
  out[threadIdx.x] = static_cast<unsigned char>(threadIdx.x);
}

TEST_F(Races, BytesOfOneWordAreApart) {
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

TEST_F(Races, AtomicsDoNotRaceWithEachOtherButWithReads) {
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

// ---- order within a warp and between warps ----------------------------------------------------------------

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

TEST_F(Races, SyncwarpOrdersLanesAndShufflesDoNot) {
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

TEST_F(Races, SyncwarpDoesNotOrderWarps) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  EXPECT_THAT(violation([&] {
                launch(stream, "cross_warp", cross_warp_kernel, 1, kThreads, sizeof(Rows), out.data(),
                       in.data());
              }),
              AnyOf(HasSubstr("race on"), HasSubstr("uninitialised")));
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

TEST_F(Races, NamedBarrierOrdersItsWarpsAlone) {
  const auto in = upload("in", 96);
  DeviceBuffer<float> out("out", 96);
  launch(stream, "named", named_kernel<true>, 1, 96, 96 * sizeof(float), out.data(), in.data());
  EXPECT_EQ(download(out)[0], 64.0f);
  EXPECT_THAT(violation([&] {
                launch(stream, "named", named_kernel<false>, 1, 96, 96 * sizeof(float), out.data(),
                       in.data());
              }),
              AnyOf(HasSubstr("race on"), HasSubstr("uninitialised")));
}

}  // namespace
}  // namespace occam::cuda
