// What tests of the executor share. Kernels in a test source are compiled with the access hooks.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/runtime.hpp"
#include "launch.hpp"

namespace occam::cuda {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

inline constexpr int kThreads = 64;

struct Rows {
  float value[kThreads];
};

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

// 1, 2, 3, …
inline std::vector<float> ramp(std::size_t n) {
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
  template <class T>
  std::vector<T> download(const DeviceBuffer<T>& buffer) {
    std::vector<T> values(buffer.size());
    copy_to_host(stream, values.data(), buffer.data(), values.size());
    return values;
  }

  Stream stream;
};

}  // namespace occam::cuda
