// The numbered variants of the resident kernel that the lab compares with kernels/resident.cu.
#pragma once

#include <string>
#include <vector>

#include "cuda/runtime.hpp"
#include "resident.hpp"

namespace occam::lab {

struct Variant {
  int number;
  const char* name;
  std::string instance;                // of the kernel, as its template arguments in machine code
  int threads, slice, unroll, blocks;  // blocks on a multiprocessor that the registers allow
  bool holds_gradients;                // in registers: no gradients in shared memory, three layers
  void (*launch)(cuda::Stream& stream, const cuda::ResidentArguments& arguments);
  const void* kernel;
};

const std::vector<Variant>& variants();

// Why a variant cannot train this network; empty: it can.
std::string obstacle(const Variant& variant, const cuda::ResidentArguments& arguments);

}  // namespace occam::lab
