// Launches that fail: fake_cuda.cpp has no kernels, so each of them does.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "cuda/runtime.hpp"

namespace occam::cuda {

namespace detail {  // of kernels/launch.hpp, which nvcc compiles
void launch(Stream& stream, const char* name, const void* kernel, dim3 grid, dim3 block,
            std::size_t shared_bytes, void** arguments);
}

namespace {

std::string refusal(std::size_t shared_bytes) {
  Stream stream;
  const int kernel = 0;
  try {
    detail::launch(stream, "forward", &kernel, dim3(1, 2, 3), dim3(256), shared_bytes, nullptr);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    return error.what();
  }
  return "none";
}

TEST(Launch, AFailureNamesTheKernelAndItsSizes) {
  EXPECT_EQ(refusal(16), "launch of forward <<<(1, 2, 3), (256, 1, 1), 16 B>>>: a name: what is wrong");
}

TEST(Launch, SharedMemoryThatIsRefusedIsAnError) {
  EXPECT_NE(refusal(48 * 1024 + 1), "none");
  EXPECT_NE(refusal(48 * 1024 + 1), refusal(48 * 1024));
}

}  // namespace
}  // namespace occam::cuda
