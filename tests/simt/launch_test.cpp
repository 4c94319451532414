// Launches: results, replayed orders, graphs, limits, messages.
#include "simt/executor_fixture.hpp"

namespace occam::cuda {
namespace {

class Launches : public Executor {};

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

TEST_F(Launches, ReductionsAreRightUnderManySeeds) {
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

TEST_F(Launches, SeedReplaysTheOrderAndAnotherChangesIt) {
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

TEST_F(Launches, GraphsAreRecordedAndReplayed) {
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

__global__ void beyond_shared_kernel() { (&shared<float>())[threadIdx.x] = 0.0f; }

TEST_F(Launches, ImpossibleLaunchesAndAllocationsAreRefused) {
  EXPECT_THROW(launch(stream, "beyond_shared", beyond_shared_kernel, 1, 1025, 0), Error);
  EXPECT_THROW(launch(stream, "beyond_shared", beyond_shared_kernel, 0, 32, 0), Error);
  EXPECT_THROW(launch(stream, "beyond_shared", beyond_shared_kernel, 1, 32, kSharedLimit + 1), Error);
  try {
    DeviceBuffer<double> huge("activations", std::size_t{1} << 40);
    FAIL() << "a terabyte was allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("activations: out of device memory"), HasSubstr("1099511627776 elements")));
  }
}

TEST_F(Launches, ViolationNamesSeedAndLaunch) {
  simt::set_seed(1234);
  launch(stream, "beyond_shared", beyond_shared_kernel, 1, 1, 4);
  EXPECT_THAT(violation([&] { launch(stream, "beyond_shared", beyond_shared_kernel, 1, kThreads, 4); }),
              AllOf(HasSubstr("kernel beyond_shared <<<(1, 1, 1), (64, 1, 1), 4 B>>>"),
                    HasSubstr("OCCAM_SIMT_SEED=1234, launch 2")));
}

}  // namespace
}  // namespace occam::cuda
