// The bodies of the contract (src/backend.hpp) that a test can run on, here and now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend.hpp"

namespace occam::test {

// A device body comes twice: as it is, with what fits on the chip done there (plan resident, evaluation in one
// launch), and with plan tiled alone.
enum class Body { cpu, simt_checked, simt_checked_tiled, simt_plain, simt_plain_tiled, cuda, cuda_tiled };

std::string name_of(Body body);
bool is_tiled(Body body);
inline void PrintTo(Body body, std::ostream* out) { *out << name_of(body); }

// Why this body cannot run here; empty when it can. Not built counts as cannot run.
std::string obstacle(Body body);

inline constexpr std::size_t kWholeBlock = SIZE_MAX;

// A fresh backend of a body without obstacle. memory_limit: bytes of device memory to use; 0: all.
// shared_limit: bytes of shared memory a block may have for plan resident; 0: plan tiled alone. The CPU has
// no limits.
std::unique_ptr<Backend> make_backend(Body body, std::int64_t memory_limit = 0,
                                      std::size_t shared_limit = kWholeBlock);

// While it lives an emulated device has so many bytes of memory, not one more. A GPU has what it has.
class DeviceOfBytes {
 public:
  DeviceOfBytes(Body body, std::size_t bytes);
  ~DeviceOfBytes();
  DeviceOfBytes(const DeviceOfBytes&) = delete;
  DeviceOfBytes& operator=(const DeviceOfBytes&) = delete;

 private:
  Body body_;
};

// Tests that run once per body; a body that cannot run is skipped and says why.
class OnBody : public testing::TestWithParam<Body> {
 protected:
  void SetUp() override {
    if (const std::string why = obstacle(GetParam()); !why.empty())
      GTEST_SKIP() << name_of(GetParam()) << ": " << why;
  }
  std::unique_ptr<Backend> make(std::int64_t memory_limit = 0, std::size_t shared_limit = kWholeBlock) const {
    return make_backend(GetParam(), memory_limit, shared_limit);
  }
  // Bytes of shared memory that make what is done on the chip differ: with slices as large as can be, and with
  // smaller ones.
  std::vector<std::size_t> shared_limits(std::size_t small) const {
    if (GetParam() == Body::cpu || is_tiled(GetParam())) return {kWholeBlock};
    return {kWholeBlock, small};
  }
  bool is_slow() const { return GetParam() == Body::simt_checked || GetParam() == Body::simt_checked_tiled; }
};

#define OCCAM_ON_BODIES(suite, ...)                                     \
  INSTANTIATE_TEST_SUITE_P(Bodies, suite, testing::Values(__VA_ARGS__), \
                           [](const testing::TestParamInfo<Body>& body) { return name_of(body.param); })

#define OCCAM_ON_EVERY_BODY(suite)                                                                  \
  OCCAM_ON_BODIES(suite, Body::cpu, Body::simt_checked, Body::simt_checked_tiled, Body::simt_plain, \
                  Body::simt_plain_tiled, Body::cuda, Body::cuda_tiled)

#define OCCAM_ON_EVERY_DEVICE_BODY(suite)                                                \
  OCCAM_ON_BODIES(suite, Body::simt_checked, Body::simt_checked_tiled, Body::simt_plain, \
                  Body::simt_plain_tiled, Body::cuda, Body::cuda_tiled)

// Claims about what plan resident alone does: a skipped case would prove nothing on a GPU.
#define OCCAM_ON_THE_CHIP(suite) OCCAM_ON_BODIES(suite, Body::simt_checked, Body::simt_plain, Body::cuda)

}  // namespace occam::test
