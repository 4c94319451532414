// Bounds, initialisation and alignment of what a kernel accesses.
#include "simt/executor_fixture.hpp"

namespace occam::cuda {
namespace {

class MemoryChecks : public Executor {};

__global__ void copy_kernel(float* out, const float* in, unsigned n) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = in[i];
}

TEST_F(MemoryChecks, IndexOffByOneIsOutOfBounds) {
  const auto in = upload("in", 100);
  DeviceBuffer<float> out("out", 101);
  launch(stream, "copy", copy_kernel, 2, kThreads, 0, out.data(), in.data(), 100u);
  EXPECT_THAT(
      violation([&] { launch(stream, "copy", copy_kernel, 2, kThreads, 0, out.data(), in.data(), 101u); }),
      AllOf(HasSubstr("out of bounds"), HasSubstr("thread (36, 0, 0) reads byte 400 of buffer 'in' (400 B"),
            HasSubstr("block (1, 0, 0)"), HasSubstr("memory_test.cpp:")));
}

__global__ void beyond_kernel() { (&shared<float>())[threadIdx.x] = 0.0f; }

TEST_F(MemoryChecks, SharedMemoryEndsWhereTheLaunchSays) {
  launch(stream, "beyond", beyond_kernel, 1, 32, 32 * sizeof(float));
  EXPECT_THAT(violation([&] { launch(stream, "beyond", beyond_kernel, 1, 33, 32 * sizeof(float)); }),
              HasSubstr("writes byte 128 of the block's 128 B of shared memory"));
}

struct TwoRows {
  float first[32], second[32];
};
__global__ void overrun_kernel(unsigned n) {
  TwoRows& rows = shared<TwoRows>();
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) rows.first[i] = 0.0f;
}

TEST_F(MemoryChecks, ArrayOfALayoutEndsWhereItsTypeSays) {
  launch(stream, "overrun", overrun_kernel, 1, 32, sizeof(TwoRows), 32u);
  EXPECT_THAT(violation([&] { launch(stream, "overrun", overrun_kernel, 1, 32, sizeof(TwoRows), 33u); }),
              HasSubstr("out of bounds: index 32 of an array of type 'float [32]'"));
}

TEST_F(MemoryChecks, LayoutMustFitTheLaunch) {
  EXPECT_THAT(violation([&] { launch(stream, "overrun", overrun_kernel, 1, 32, sizeof(TwoRows) - 4, 1u); }),
              HasSubstr("needs 256 B of shared memory, the launch gives 252"));
}

TEST_F(MemoryChecks, UninitialisedReadsAreFound) {
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

TEST_F(MemoryChecks, UninitialisedSharedReadIsFoundInEveryBlock) {
  DeviceBuffer<float> out("out", 1);
  EXPECT_THAT(
      violation(
          [&] { launch(stream, "shared_sum", shared_sum_kernel, 1, kThreads, sizeof(Rows), out.data()); }),
      AllOf(HasSubstr("uninitialised: thread (0, 0, 0) reads byte 0 of the block's 256 B of shared memory"),
            HasSubstr("nobody wrote")));
}

TEST_F(MemoryChecks, ReleasedBufferIsFound) {
  const auto in = upload("in", kThreads);
  DeviceBuffer<float> out("out", kThreads);
  float* const dangling = out.data();
  out = {};
  EXPECT_THAT(
      violation([&] { launch(stream, "copy", copy_kernel, 1, kThreads, 0, dangling, in.data(), 64u); }),
      AllOf(HasSubstr("out of bounds"), HasSubstr("released buffer 'out'")));
}

TEST_F(MemoryChecks, HostMemoryIsFound) {
  const auto in = upload("in", kThreads);
  std::vector<float> host(kThreads);
  EXPECT_THAT(
      violation([&] { launch(stream, "copy", copy_kernel, 1, kThreads, 0, host.data(), in.data(), 64u); }),
      HasSubstr("which is not device memory"));
}

__global__ void vector_kernel(float* out, const float* in, int offset) {
  *reinterpret_cast<float4*>(out) = *reinterpret_cast<const float4*>(in + offset);
}

TEST_F(MemoryChecks, MisalignedVectorAccessIsFound) {
  const auto in = upload("in", 8);
  DeviceBuffer<float> out("out", 4);
  launch(stream, "vector", vector_kernel, 1, 1, 0, out.data(), in.data(), 4);
  EXPECT_EQ(download(out), (std::vector<float>{5, 6, 7, 8}));
  EXPECT_THAT(violation([&] { launch(stream, "vector", vector_kernel, 1, 1, 0, out.data(), in.data(), 2); }),
              AllOf(HasSubstr("misaligned"), HasSubstr("float4"), HasSubstr("no multiple of 16"),
                    HasSubstr("memory_test.cpp:")));
}

}  // namespace
}  // namespace occam::cuda
