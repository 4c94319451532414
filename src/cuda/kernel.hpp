// What a kernel's launchers need of the runtime (cuda/runtime.hpp), and no more: every file of device code includes it.
#pragma once

#include <cstddef>

#include "occam/error.hpp"

namespace occam::cuda {

class Stream;

// What the compiler and the present device make of a kernel.
struct KernelResources {
  int registers = 0;    // of a thread
  int local_bytes = 0;  // of a thread: spilled registers
  int blocks = 0;       // that run on a multiprocessor at a time
};
KernelResources kernel_resources(const void* kernel, const char* name, int threads, std::size_t shared_bytes);

// A named range on the profiler's timeline (Nsight), from here to the end of the scope.
class NvtxRange {
 public:
  explicit NvtxRange(const char* name);
  ~NvtxRange();
  NvtxRange(const NvtxRange&) = delete;
  NvtxRange& operator=(const NvtxRange&) = delete;
};

}  // namespace occam::cuda
