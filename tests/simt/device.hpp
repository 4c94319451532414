// CUDA's device language for the host compiler: what kernels/launch.hpp includes when OCCAM_SIMT is defined.
// Every primitive that orders, exchanges or checks goes to the executor (executor.hpp); the rest is plain
// C++. What is missing here is unsupported, and the names below that end in a message say so at compile time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include "simt/executor.hpp"

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)
#define __shared__ _Pragma("GCC error \"__shared__ arrays are not supported: use shared<Layout>()\"")
#define __constant__ _Pragma("GCC error \"__constant__ memory is not supported: pass a kernel parameter\"")
#define __managed__ _Pragma("GCC error \"__managed__ memory is not supported: use DeviceBuffer\"")
#define __cluster_dims__(...) _Pragma("GCC error \"thread block clusters are not supported by the executor\"")

#include "simt/device_types.hpp"

// ---- indices ----------------------------------------------------------------------------------------------
#define threadIdx (::occam::simt::thread_index())
#define blockIdx (::occam::simt::block_index())
#define blockDim (::occam::simt::block_dimension())
#define gridDim (::occam::simt::grid_dimension())
inline constexpr int warpSize = 32;

namespace occam::simt {
template <class T>
__forceinline__ std::uint64_t to_bits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "shuffles move values of at most 8 bytes");
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
__forceinline__ T from_bits(std::uint64_t bits) {
  T value;
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
inline constexpr bool is_atomic_integer =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;
template <class T>
__forceinline__ T atomic(AtomicOperation operation, T* address, T value, T compare, Where where) {
  static_assert(!std::is_floating_point_v<T>,
                "floating-point atomics have no fixed order, so Occam has none");
  static_assert(is_atomic_integer<T>, "atomics are int, unsigned or unsigned long long");
  return from_bits<T>(atomic_access(operation, address, sizeof(T), std::is_signed_v<T>, to_bits(value),
                                    to_bits(compare), where));
}
}  // namespace occam::simt

// ---- barriers ---------------------------------------------------------------------------------------------
__forceinline__ void __syncthreads(occam::simt::Where where = occam::simt::Where::current()) {
  occam::simt::block_barrier(occam::simt::BlockReduction::none, 0, where);
}
__forceinline__ int __syncthreads_count(int predicate,
                                        occam::simt::Where where = occam::simt::Where::current()) {
  return occam::simt::block_barrier(occam::simt::BlockReduction::count, predicate, where);
}
__forceinline__ int __syncthreads_and(int predicate,
                                      occam::simt::Where where = occam::simt::Where::current()) {
  return occam::simt::block_barrier(occam::simt::BlockReduction::all, predicate, where);
}
__forceinline__ int __syncthreads_or(int predicate,
                                     occam::simt::Where where = occam::simt::Where::current()) {
  return occam::simt::block_barrier(occam::simt::BlockReduction::any, predicate, where);
}
__forceinline__ void __syncwarp(unsigned mask = 0xFFFFFFFFu,
                                occam::simt::Where where = occam::simt::Where::current()) {
  occam::simt::warp_collective(occam::simt::WarpOperation::sync, mask, 0, 0, where);
}
__forceinline__ void __threadfence_block() {}
__forceinline__ void __threadfence() {}

// ---- warp shuffles, votes, reductions ---------------------------------------------------------------------
template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                              occam::simt::Where where = occam::simt::Where::current()) {
  const unsigned lane = occam::simt::lane_index(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  const unsigned from = segment | (static_cast<unsigned>(source) & (static_cast<unsigned>(width) - 1));
  return occam::simt::from_bits<T>(occam::simt::warp_collective(occam::simt::WarpOperation::shuffle, mask,
                                                                occam::simt::to_bits(value), from, where));
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                 occam::simt::Where where = occam::simt::Where::current()) {
  const unsigned lane = occam::simt::lane_index(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  const unsigned from = lane >= segment + delta ? lane - delta : lane;
  return occam::simt::from_bits<T>(occam::simt::warp_collective(occam::simt::WarpOperation::shuffle, mask,
                                                                occam::simt::to_bits(value), from, where));
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                   occam::simt::Where where = occam::simt::Where::current()) {
  const unsigned lane = occam::simt::lane_index(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  const unsigned from = lane + delta < segment + static_cast<unsigned>(width) ? lane + delta : lane;
  return occam::simt::from_bits<T>(occam::simt::warp_collective(occam::simt::WarpOperation::shuffle, mask,
                                                                occam::simt::to_bits(value), from, where));
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                                  occam::simt::Where where = occam::simt::Where::current()) {
  const unsigned lane = occam::simt::lane_index(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  const unsigned other = lane ^ static_cast<unsigned>(lanes);
  const unsigned from = other < segment + static_cast<unsigned>(width) ? other : lane;
  return occam::simt::from_bits<T>(occam::simt::warp_collective(occam::simt::WarpOperation::shuffle, mask,
                                                                occam::simt::to_bits(value), from, where));
}
__forceinline__ unsigned __ballot_sync(unsigned mask, int predicate,
                                       occam::simt::Where where = occam::simt::Where::current()) {
  return static_cast<unsigned>(
      occam::simt::warp_collective(occam::simt::WarpOperation::ballot, mask, predicate != 0, 0, where));
}
__forceinline__ int __any_sync(unsigned mask, int predicate,
                               occam::simt::Where where = occam::simt::Where::current()) {
  return static_cast<int>(
      occam::simt::warp_collective(occam::simt::WarpOperation::any, mask, predicate != 0, 0, where));
}
__forceinline__ int __all_sync(unsigned mask, int predicate,
                               occam::simt::Where where = occam::simt::Where::current()) {
  return static_cast<int>(
      occam::simt::warp_collective(occam::simt::WarpOperation::all, mask, predicate != 0, 0, where));
}
#define OCCAM_SIMT_REDUCTION(name, type, operation)                                           \
  __forceinline__ type name(unsigned mask, type value,                                        \
                            occam::simt::Where where = occam::simt::Where::current()) {       \
    return occam::simt::from_bits<type>(occam::simt::warp_collective(                         \
        occam::simt::WarpOperation::operation, mask, occam::simt::to_bits(value), 0, where)); \
  }
OCCAM_SIMT_REDUCTION(__reduce_add_sync, int, add)
OCCAM_SIMT_REDUCTION(__reduce_add_sync, unsigned, add)
OCCAM_SIMT_REDUCTION(__reduce_min_sync, int, min_signed)
OCCAM_SIMT_REDUCTION(__reduce_min_sync, unsigned, min_unsigned)
OCCAM_SIMT_REDUCTION(__reduce_max_sync, int, max_signed)
OCCAM_SIMT_REDUCTION(__reduce_max_sync, unsigned, max_unsigned)
OCCAM_SIMT_REDUCTION(__reduce_and_sync, unsigned, bit_and)
OCCAM_SIMT_REDUCTION(__reduce_or_sync, unsigned, bit_or)
OCCAM_SIMT_REDUCTION(__reduce_xor_sync, unsigned, bit_xor)
#undef OCCAM_SIMT_REDUCTION
#define __activemask() \
  _Pragma("GCC error \"__activemask() depends on the hardware's schedule: pass the mask\"") 0u

// ---- atomics ----------------------------------------------------------------------------------------------
#define OCCAM_SIMT_ATOMIC(name, operation)                                                              \
  template <class T>                                                                                    \
  __forceinline__ T name(T* address, std::type_identity_t<T> value,                                     \
                         occam::simt::Where where = occam::simt::Where::current()) {                    \
    return occam::simt::atomic<T>(occam::simt::AtomicOperation::operation, address, value, T{}, where); \
  }
OCCAM_SIMT_ATOMIC(atomicAdd, add)
OCCAM_SIMT_ATOMIC(atomicSub, subtract)
OCCAM_SIMT_ATOMIC(atomicExch, exchange)
OCCAM_SIMT_ATOMIC(atomicMin, min)
OCCAM_SIMT_ATOMIC(atomicMax, max)
OCCAM_SIMT_ATOMIC(atomicAnd, bit_and)
OCCAM_SIMT_ATOMIC(atomicOr, bit_or)
OCCAM_SIMT_ATOMIC(atomicXor, bit_xor)
#undef OCCAM_SIMT_ATOMIC
template <class T>
__forceinline__ T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value,
                            occam::simt::Where where = occam::simt::Where::current()) {
  return occam::simt::atomic<T>(occam::simt::AtomicOperation::compare_exchange, address, value, compare,
                                where);
}

// ---- loads and arithmetic ---------------------------------------------------------------------------------
template <class T>
__forceinline__ T __ldg(const T* address) {
  return *address;
}
template <class T>
__forceinline__ T __ldcg(const T* address) {
  return *address;
}
template <class T>
__forceinline__ T __ldcs(const T* address) {
  return *address;
}
template <class T>
__forceinline__ void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <class T>
__forceinline__ void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}
__forceinline__ float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
__forceinline__ float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
__forceinline__ float __fdiv_rn(float a, float b) { return a / b; }
__forceinline__ float __fadd_rn(float a, float b) { return a + b; }
__forceinline__ float __fmul_rn(float a, float b) { return a * b; }
__forceinline__ int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
__forceinline__ unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
__forceinline__ float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
__forceinline__ float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
__forceinline__ unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
__forceinline__ int __popc(unsigned x) { return __builtin_popcount(x); }
__forceinline__ int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
__forceinline__ int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
__forceinline__ int __ffs(int x) { return __builtin_ffs(x); }
#define OCCAM_SIMT_MIN_MAX(type)                                     \
  __forceinline__ type min(type a, type b) { return b < a ? b : a; } \
  __forceinline__ type max(type a, type b) { return a < b ? b : a; }
OCCAM_SIMT_MIN_MAX(int)
OCCAM_SIMT_MIN_MAX(unsigned)
OCCAM_SIMT_MIN_MAX(long)
OCCAM_SIMT_MIN_MAX(unsigned long)
OCCAM_SIMT_MIN_MAX(long long)
OCCAM_SIMT_MIN_MAX(unsigned long long)
#undef OCCAM_SIMT_MIN_MAX

// ---- kernels/launch.hpp on the executor -------------------------------------------------------------------
namespace occam::cuda {

template <class Layout>
__forceinline__ Layout& shared(simt::Where where = simt::Where::current()) {
  static_assert(std::is_trivially_default_constructible_v<Layout>, "shared memory is never constructed");
  static_assert(sizeof(Layout) <= simt::kSharedLimit && alignof(Layout) <= 128);
  return *static_cast<Layout*>(simt::shared_memory(sizeof(Layout), where));
}

template <int Bytes>
__forceinline__ void copy_async(void* shared_memory, const void* global,
                                simt::Where where = simt::Where::current()) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "asynchronous copies move 4, 8 or 16 bytes");
  simt::start_copy(shared_memory, global, Bytes, where);
}
template <int Bytes = 16>
__forceinline__ void copy_async_if(bool wanted, void* shared_memory, const void* global,
                                   simt::Where where = simt::Where::current()) {
  if (wanted) copy_async<Bytes>(shared_memory, global, where);
}
__forceinline__ void copy_async_commit() { simt::commit_copies(); }
template <int Pending>
__forceinline__ void copy_async_wait(simt::Where where = simt::Where::current()) {
  simt::wait_copies(Pending, where);
}

__forceinline__ void named_barrier(int id, int threads, simt::Where where = simt::Where::current()) {
  simt::named_barrier(id, threads, where);
}

template <class... Parameters, class... Arguments>
void launch(Stream& stream, const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t dynamic_shared_bytes, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments),
                "the kernel takes another number of arguments");
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "kernel parameters are plain values");
  using Values = std::tuple<Parameters...>;
  struct Call {
    void (*kernel)(Parameters...);
    Values values;
    static void run(const void* call) {
      const Call& self = *static_cast<const Call*>(call);
      std::apply(self.kernel, self.values);
    }
  };
  const Call call{kernel, Values{std::forward<Arguments>(arguments)...}};
  simt::submit(stream,
               {name,
                {grid.x, grid.y, grid.z},
                {block.x, block.y, block.z},
                dynamic_shared_bytes,
                reinterpret_cast<const void*>(kernel)},
               Call::run, &call, sizeof(Call));
}

}  // namespace occam::cuda
