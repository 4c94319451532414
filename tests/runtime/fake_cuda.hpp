// A CUDA runtime on host memory for tests of src/cuda/runtime.cpp: two devices; every stream works through its
// queue on a thread of its own, late enough that whoever reuses memory too early is seen.
#pragma once

#include <cstddef>
#include <set>
#include <thread>

namespace fake_cuda {

inline constexpr int kDevices = 2;

struct Seen {
  int copies = 0;                     // cudaMemcpyAsync calls
  std::set<std::thread::id> threads;  // that made them
  std::size_t pinned = 0;             // bytes allocated and not yet freed
};
Seen seen();
void forget_copies();

// From now on: the n-th cudaMemcpyAsync, counted from 1, fails; 0: none does.
void fail_copy(int n);

// The n-th page-locked allocation from now on fails; 0: none does.
void fail_pinned(int n);

}  // namespace fake_cuda
