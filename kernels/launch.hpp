// The only way device code is launched, and the only device primitives that kernels use beside CUDA's own
// indices, barriers, shuffles, votes and integer atomics. Included by kernels/*.cu alone: nvcc compiles them
// for a GPU, and with OCCAM_SIMT defined the host compiler compiles the same sources for the SIMT executor
// (docs/simt.md).
//
// Rules that both compilers enforce or rely on:
//   - one block's scratch is dynamic shared memory, through shared<Layout>(); there are no __shared__ or
//     __constant__ arrays;
//   - parameters of a kernel are values (pointers, numbers, plain structs), never references;
//   - inline PTX stands in small leaf functions here and in tensor.cuh, each with an emulated body;
//   - every thread of a block reaches every __syncthreads(): no early return before a barrier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "cuda/kernel.hpp"

#if defined(OCCAM_SIMT)
#include "simt/device.hpp"
#elif defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#error "kernels/launch.hpp is compiled by nvcc, or by the host compiler with OCCAM_SIMT defined"
#endif

namespace occam::cuda {

// The most dynamic shared memory one block may ask for on compute capability 9.0, in bytes (8.0: 163 KB).
inline constexpr std::size_t kSharedLimit = 227 * 1024;
// The least that a device of compute capability 8.0 or more allows (8.6, 8.9, 12.0). Kernels without a smaller form, or
// another plan in their place, keep to it.
inline constexpr std::size_t kSharedOfEveryDevice = 99 * 1024;

#if !defined(OCCAM_SIMT)

namespace detail {
// `arguments` point to the kernel's parameters. Lets it use as much dynamic shared memory as it asks for.
void launch(Stream& stream, const char* name, const void* kernel, dim3 grid, dim3 block,
            std::size_t shared_bytes, void** arguments);
}  // namespace detail

// The block's dynamic shared memory, seen as a Layout. A layout whose sizes are known only at run time starts
// at &shared<float>() and is carved from there. 16-byte aligned (128 on request of the type).
template <class Layout>
__device__ __forceinline__ Layout& shared() {
  static_assert(std::is_trivially_default_constructible_v<Layout>, "shared memory is never constructed");
  static_assert(sizeof(Layout) <= kSharedLimit && alignof(Layout) <= 128);
  extern __shared__ __align__(128) unsigned char occam_shared_memory[];
  return *reinterpret_cast<Layout*>(occam_shared_memory);
}

// Starts a copy of 4, 8 or 16 bytes; both addresses are aligned to them. The bytes may be used by this thread
// after copy_async_wait, and by the others after a barrier that follows it.
template <int Bytes>
__device__ __forceinline__ void copy_async(void* shared_memory, const void* global) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "asynchronous copies move 4, 8 or 16 bytes");
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared_memory));
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(address), "l"(global), "n"(Bytes)
                 : "memory");
  }
}

// The same of 4 or 16 bytes where `wanted`, without a branch.
template <int Bytes = 16>
__device__ __forceinline__ void copy_async_if(bool wanted, void* shared_memory, const void* global) {
  static_assert(Bytes == 4 || Bytes == 16);
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared_memory));
  if constexpr (Bytes == 16) {
    asm volatile(
        "{ .reg .pred wanted; setp.ne.b32 wanted, %2, 0; @wanted cp.async.cg.shared.global [%0], [%1], 16; "
        "}" ::"r"(address),
        "l"(global), "r"(static_cast<int>(wanted))
        : "memory");
  } else {
    asm volatile(
        "{ .reg .pred wanted; setp.ne.b32 wanted, %2, 0; @wanted cp.async.ca.shared.global [%0], [%1], 4; "
        "}" ::"r"(address),
        "l"(global), "r"(static_cast<int>(wanted))
        : "memory");
  }
}

// Closes this thread's group of copies.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `Pending` of this thread's latest groups are unfinished.
template <int Pending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Waits for `threads` threads (a multiple of 32, whole warps) at the named barrier `id`, 1 … 15.
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Launches `kernel` in stream order and throws a device error when that fails. Units of grid and block: blocks,
// threads.
template <class... Parameters, class... Arguments>
void launch(Stream& stream, const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t dynamic_shared_bytes, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments),
                "the kernel takes another number of arguments");
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "kernel parameters are plain values");
  const auto call = [&](Parameters... values) {
    void* pointers[] = {static_cast<void*>(&values)..., nullptr};
    detail::launch(stream, name, reinterpret_cast<const void*>(kernel), grid, block, dynamic_shared_bytes,
                   pointers);
  };
  call(std::forward<Arguments>(arguments)...);
}

#endif

}  // namespace occam::cuda
