// Copies between host and device, with the runtime's own code on a fake of CUDA.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/runtime.hpp"
#include "fake_cuda.hpp"

namespace occam::cuda {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kSizes[] = {
    1, 127, 4 * kMiB, 4 * kMiB + 1, 13 * kMiB, 32 * kMiB, 33 * kMiB + 77, 100 * kMiB + 3, 160 * kMiB};

std::vector<unsigned char> random_bytes(std::size_t count) {
  std::vector<unsigned char> bytes(count);
  std::mt19937_64 engine(count);
  for (std::size_t i = 0; i + 8 <= count; i += 8) {
    const std::uint64_t word = engine();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  if (count % 8) bytes.back() = 0xA5;
  return bytes;
}

class Copies : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_device(1), fake_cuda::forget_copies(); }
  void TearDown() override { fake_cuda::fail_copy(0), set_device(0); }
};

TEST_P(Copies, TheDeviceHasTheBytesAndTheHostMayChangeItsOwn) {
  Stream stream(GetParam());
  for (const std::size_t size : kSizes) {
    SCOPED_TRACE(size);
    const std::vector<unsigned char> bytes = random_bytes(size);
    std::vector<unsigned char> host = bytes;
    DeviceBuffer<unsigned char> device("bytes", size);
    copy_to_device(stream, device.data(), host.data(), size);
    std::ranges::fill(host, 0);  // while the stream still works
    stream.synchronize();
    EXPECT_EQ(std::memcmp(device.data(), bytes.data(), size), 0);
  }
}

TEST_P(Copies, TheHostHasTheBytes) {
  Stream stream(GetParam());
  for (const std::size_t size : kSizes) {
    SCOPED_TRACE(size);
    const std::vector<unsigned char> bytes = random_bytes(size);
    DeviceBuffer<unsigned char> from("from", size), to("to", size);
    std::memcpy(from.data(), bytes.data(), size);
    copy_on_device(stream, to.data(), from.data(), size);
    std::vector<unsigned char> host(size + 1, 0x5A);
    copy_to_host(stream, host.data(), to.data(), size);
    EXPECT_EQ(std::memcmp(host.data(), bytes.data(), size), 0);
    EXPECT_EQ(host[size], 0x5A);
  }
}

TEST_P(Copies, CopiesOfOneStreamKeepTheirOrder) {
  Stream stream(GetParam());
  const std::size_t size = 50 * kMiB;
  const std::vector<unsigned char> first(size, 1), second = random_bytes(size);
  DeviceBuffer<unsigned char> device("bytes", size);
  copy_to_device(stream, device.data(), first.data(), size);
  copy_to_device(stream, device.data(), second.data(), size);
  std::vector<unsigned char> host(size);
  copy_to_host(stream, host.data(), device.data(), size);
  EXPECT_EQ(host, second);
}

TEST_P(Copies, RowsLieApartOnTheDevice) {
  Stream stream(GetParam());
  struct Shape {
    std::int64_t rows, columns, stride;
  };
  for (const auto [rows, columns, stride] :
       {Shape{1, 1, 1}, {3, 1, 4}, {7, 5, 5}, {300, 40'001, 40'004}, {9, 1 << 20, (1 << 20) + 4}}) {
    const std::vector<unsigned char> bytes = random_bytes(static_cast<std::size_t>(rows * columns) * 4);
    std::vector<std::uint32_t> host(static_cast<std::size_t>(rows * columns)), back(host);
    std::memcpy(host.data(), bytes.data(), bytes.size());
    const std::vector<std::uint32_t> kept = host;
    DeviceBuffer<std::uint32_t> device("rows", static_cast<std::size_t>(rows * stride));
    std::ranges::fill_n(device.data(), rows * stride, 7u);
    copy_rows_to_device(stream, device.data(), stride, host.data(), rows, columns);
    std::ranges::fill(host, 0u);  // while the stream still works
    copy_rows_to_host(stream, back.data(), device.data(), stride, rows, columns);
    EXPECT_EQ(back, kept);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t k = columns; k < stride; ++k) ASSERT_EQ(device.data()[r * stride + k], 7u);
  }
}

TEST_P(Copies, LargeOnesAreMadeByTheThreadsAskedFor) {
  Stream stream(GetParam());
  const std::vector<unsigned char> bytes(160 * kMiB, 1);
  DeviceBuffer<unsigned char> device("bytes", bytes.size());
  copy_to_device(stream, device.data(), bytes.data(), 15 * kMiB);
  EXPECT_EQ(fake_cuda::seen().threads.size(), 1u);
  fake_cuda::forget_copies();
  copy_to_device(stream, device.data(), bytes.data(), bytes.size());
  EXPECT_EQ(fake_cuda::seen().threads.size(), static_cast<std::size_t>(std::min(GetParam(), 8)));
}

TEST_P(Copies, AnErrorOnAnyThreadIsThrown) {
  Stream stream(GetParam());
  std::vector<unsigned char> bytes(160 * kMiB, 1);
  DeviceBuffer<unsigned char> device("bytes", bytes.size());
  for (const int failing : {1, 7, 30}) {
    fake_cuda::forget_copies();
    fake_cuda::fail_copy(failing);
    EXPECT_THROW(copy_to_device(stream, device.data(), bytes.data(), bytes.size()), Error);
    fake_cuda::forget_copies();
    EXPECT_THROW(copy_to_host(stream, bytes.data(), device.data(), bytes.size()), Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, Copies, ::testing::Values(1, 3, 16),
                         [](const auto& of) { return "threads" + std::to_string(of.param); });

TEST(PageLocked, MemoryNeedsNoStaging) {
  const std::size_t size = 20 * kMiB;
  PinnedBuffer<unsigned char> host(size);
  const std::vector<unsigned char> bytes = random_bytes(size);
  std::memcpy(host.data(), bytes.data(), size);
  Stream stream(4);
  DeviceBuffer<unsigned char> device("bytes", size);
  fake_cuda::forget_copies();
  copy_to_device(stream, device.data(), host.data(), size);
  std::memset(host.data(), 0, size);
  copy_to_host(stream, host.data(), device.data(), size);
  EXPECT_EQ(std::memcmp(host.data(), bytes.data(), size), 0);
  EXPECT_EQ(fake_cuda::seen().copies, 2);
}

TEST(PageLocked, StagingThatWasRefusedIsAskedForAgain) {
  for (const int refused : {1, 2}) {
    Stream stream;
    const std::vector<unsigned char> bytes = random_bytes(10 * kMiB);
    DeviceBuffer<unsigned char> device("bytes", bytes.size());
    fake_cuda::fail_pinned(refused);
    EXPECT_THROW(copy_to_device(stream, device.data(), bytes.data(), bytes.size()), Error);
    copy_to_device(stream, device.data(), bytes.data(), bytes.size());
    stream.synchronize();
    EXPECT_EQ(std::memcmp(device.data(), bytes.data(), bytes.size()), 0);
  }
}

TEST(PageLocked, StagingIsGivenBackWithTheStream) {
  const std::size_t before = fake_cuda::seen().pinned;
  {
    Stream stream(2);
    const std::vector<unsigned char> bytes(40 * kMiB, 1);
    DeviceBuffer<unsigned char> device("bytes", bytes.size());
    copy_to_device(stream, device.data(), bytes.data(), bytes.size());
    EXPECT_EQ(fake_cuda::seen().pinned, before + 2 * 2 * 4 * kMiB);
  }
  EXPECT_EQ(fake_cuda::seen().pinned, before);
}

}  // namespace
}  // namespace occam::cuda
