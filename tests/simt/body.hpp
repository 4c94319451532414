// The CUDA backend on the SIMT executor, as two more bodies of the contract (src/backend.hpp). Each is a
// shared library of its own, because both define what the CUDA backend of a GPU build defines, too; only
// these functions are visible.
#pragma once

#include <cstdint>
#include <memory>

#include "backend.hpp"
#include "simt/executor.hpp"

namespace occam::simt {

struct Body {
  const char* name;
  // Bytes of device memory and of a block's shared memory, as CudaBackend understands them; memory 0 is all
  // of the emulated 8 GiB.
  std::unique_ptr<Backend> (*make_backend)(std::int64_t memory_limit, std::size_t shared_limit);
  // What the device has from now on; SIZE_MAX: all that is emulated.
  void (*set_device_bytes)(std::size_t bytes);
  void (*set_seed)(std::uint64_t seed);  // executor.hpp
  const Statistics& (*statistics)();
  std::vector<std::string> (*launched_kernels)();
};

const Body& checked_body();  // every memory access of a kernel is checked: for small cases
const Body& plain_body();    // none is: for larger ones

}  // namespace occam::simt
