// What a CUDA device can do at best: multiply-adds of its FP32 units and, through mma.sync, of its tensor
// cores, copying global memory and reading shared memory. Each kernel does one thing in a loop that nothing
// else holds up.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "occam/error.hpp"
#include "peaks.hpp"

namespace occam::bench {

namespace {

constexpr int kThreads = 256, kBlocksEach = 4, kChains = 16, kTiles = 8, kSteps = 4096, kLoads = 8,
              kCopies = 4, kOuter = 8, kOuterThreads = 128;
constexpr int kRepeats = 8;
constexpr float kWarmUpMs = 500;  // an idle device takes a while to its full clock
constexpr std::size_t kCopyBytes = std::size_t{1} << 30;
constexpr int kSharedFloats = 4 * kThreads * kLoads;  // 32 KiB

// ---- kernels ----------------------------------------------------------------------------------------------

// kChains independent multiply-adds a step and 8 warps a scheduler hide the latency of one many times over. What ends a
// pass of the loop, and takes turns of its own, comes after 512 of them.
__global__ void __launch_bounds__(kThreads) ffma_kernel(float factor, float* sink) {
  float sum[kChains];
#pragma unroll
  for (int c = 0; c < kChains; ++c) sum[c] = static_cast<float>(threadIdx.x + c);
#pragma unroll 32
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int c = 0; c < kChains; ++c) sum[c] = __fmaf_rn(sum[c], factor, factor);
  }
  float total = 0.0f;
#pragma unroll
  for (int c = 0; c < kChains; ++c) total += sum[c];
  if (total == -1.0f) sink[0] = total;  // never: the sums are positive
}

// The same with operands in registers, as in a product: outer products of 8 by 8. Sums leave by quads, so a sum's register
// is even where its column's is; `swapped`: where it is odd, and a multiply-add reads both from different banks.
template <bool swapped>
__global__ void __launch_bounds__(kOuterThreads, kBlocksEach) outer_kernel(int kept, float* sink) {
  __shared__ float4 operand[4], quad[kOuter * kOuter / 4][kOuterThreads];
  const auto lane = static_cast<float>(threadIdx.x);
  if (threadIdx.x < 4) operand[threadIdx.x] = make_float4(lane + 1.0f, lane + 2.0f, lane + 3.0f, lane + 4.0f);
  __syncthreads();
  float row[kOuter], column[kOuter], sum[kOuter][kOuter] = {};
#pragma unroll
  for (int q = 0; q < kOuter / 4; ++q) {
    const float4 r = operand[q], c = operand[2 + q];
    row[4 * q] = r.x, row[4 * q + 1] = r.y, row[4 * q + 2] = r.z, row[4 * q + 3] = r.w;
    column[4 * q] = c.x, column[4 * q + 1] = c.y, column[4 * q + 2] = c.z, column[4 * q + 3] = c.w;
  }
#pragma unroll 4
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int i = 0; i < kOuter; ++i) {
#pragma unroll
      for (int at = 0; at < kOuter; ++at) {
        const int j = i % 2 ? kOuter - 1 - at : at;
        sum[i][j] = __fmaf_rn(row[i], column[j], sum[i][j]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kOuter; ++i) {
#pragma unroll
    for (int j = 0; j < kOuter; j += 4)
      quad[(i * kOuter + j) / 4][threadIdx.x] = make_float4(
          sum[i][j + swapped], sum[i][j + !swapped], sum[i][j + 2 + swapped], sum[i][j + 2 + !swapped]);
  }
  if (quad[kept][threadIdx.x].x == -1.0f) sink[0] = 0.0f;  // never: the sums are positive
}

// D += A · B with kTiles independent accumulators a warp; 16 × 8 elements, depth 8 (TF32) or 16 (BF16).
template <bool bf16>
__global__ void __launch_bounds__(kThreads) mma_kernel(std::uint32_t operand, float* sink) {
  float d[kTiles][4] = {};
  const std::uint32_t a = operand + threadIdx.x % 2, b = operand;
#pragma unroll 8
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      if constexpr (bf16) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%5,%5}, "
            "{%0,%1,%2,%3};"
            : "+f"(d[t][0]), "+f"(d[t][1]), "+f"(d[t][2]), "+f"(d[t][3])
            : "r"(a), "r"(b));
      } else {
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%5,%5}, "
            "{%0,%1,%2,%3};"
            : "+f"(d[t][0]), "+f"(d[t][1]), "+f"(d[t][2]), "+f"(d[t][3])
            : "r"(a), "r"(b));
      }
    }
  }
  float total = 0.0f;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) total += d[t][0] + d[t][1] + d[t][2] + d[t][3];
  if (total == -1.0f) sink[0] = total;
}

// kCopies quads a thread, all loaded before the first is stored.
__global__ void __launch_bounds__(kThreads) copy_kernel(const float4* from, float4* to) {
  const std::size_t first = std::size_t{blockIdx.x} * kThreads * kCopies + threadIdx.x;
  float4 quad[kCopies];
#pragma unroll
  for (int c = 0; c < kCopies; ++c) quad[c] = from[first + c * kThreads];
#pragma unroll
  for (int c = 0; c < kCopies; ++c) to[first + c * kThreads] = quad[c];
}

// A warp's 16-byte loads lie side by side: no two of its quarters meet in a bank.
__global__ void __launch_bounds__(kThreads) shared_kernel(float* sink) {
  __shared__ alignas(16) float values[kSharedFloats];
  for (int i = static_cast<int>(threadIdx.x); i < kSharedFloats; i += kThreads) values[i] = 1.0f;
  __syncthreads();
  const unsigned base = static_cast<unsigned>(__cvta_generic_to_shared(values + 4 * threadIdx.x));
  float total = 0.0f;
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int l = 0; l < kLoads; ++l) {
      float4 v;
      asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];"
                   : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                   : "r"(base + l * kThreads * 16));
      total += v.x + v.y + v.z + v.w;  // of an unused part only the rest would be loaded
    }
  }
  if (total == -1.0f) sink[0] = total;
}

// ---- launchers --------------------------------------------------------------------------------------------

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(ErrorKind::device, "ceilings: {}: {}", what, cudaGetErrorString(status));
}

// What the measurements hold on the device, given back whatever happens.
struct Held {
  float4 *from = nullptr, *to = nullptr;
  cudaEvent_t start = nullptr, stop = nullptr;

  ~Held() {
    cudaFree(from), cudaFree(to);
    for (cudaEvent_t event : {start, stop})
      if (event) cudaEventDestroy(event);
  }
};

// Least seconds of `run`, which launches something.
template <class Run>
double least_seconds(const Held& on, const char* what, const Run& run) {
  float best_ms = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    check(cudaEventRecord(on.start), what);
    run();
    check(cudaGetLastError(), what);
    check(cudaEventRecord(on.stop), what);
    check(cudaEventSynchronize(on.stop), what);
    float ms = 0;
    check(cudaEventElapsedTime(&ms, on.start, on.stop), what);
    if (repeat == 1 || ms < best_ms) best_ms = ms;  // the first one warms up
  }
  return best_ms * 1e-3;
}

void warm_up(const Held& on, int blocks, float* sink) {
  check(cudaEventRecord(on.start), "warm up");
  for (float ms = 0; ms < kWarmUpMs;) {
    for (int launch = 0; launch < kRepeats; ++launch) ffma_kernel<<<blocks, kThreads>>>(0.5f, sink);
    check(cudaEventRecord(on.stop), "warm up");
    check(cudaEventSynchronize(on.stop), "warm up");
    check(cudaEventElapsedTime(&ms, on.start, on.stop), "warm up");
  }
}

}  // namespace

CudaCeilings cuda_ceilings(int device) {
  check(cudaSetDevice(device), "select the CUDA device");
  int multiprocessors = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "count multiprocessors");
  Held on;
  check(cudaMalloc(&on.from, kCopyBytes), "allocate 1 GiB");
  check(cudaMalloc(&on.to, kCopyBytes), "allocate 1 GiB");
  check(cudaMemset(on.from, 0, kCopyBytes), "fill memory");
  check(cudaEventCreate(&on.start), "create an event");
  check(cudaEventCreate(&on.stop), "create an event");
  float* sink = reinterpret_cast<float*>(on.to);

  const int blocks = multiprocessors * kBlocksEach;  // all resident at once
  constexpr int copy_blocks = kCopyBytes / (sizeof(float4) * kThreads * kCopies);
  const double threads = static_cast<double>(blocks) * kThreads, warps = threads / 32;
  const double giga = 1e-9, mma = warps * kSteps * kTiles * 2 * 16 * 8;  // times the depth: FLOP of a launch
  warm_up(on, blocks, sink);
  CudaCeilings found;
  found.multiprocessors = multiprocessors;
  found.ffma_gflops = threads * kSteps * kChains * 2 * giga /
                      least_seconds(on, "FFMA", [&] { ffma_kernel<<<blocks, kThreads>>>(0.5f, sink); });
  const auto outer_gflops = [&](auto swapped) {
    return threads / kThreads * kOuterThreads * kSteps * kOuter * kOuter * 2 * giga /
           least_seconds(on, "outer products",
                         [&] { outer_kernel<swapped><<<blocks, kOuterThreads>>>(0, sink); });
  };
  found.outer_gflops = outer_gflops(std::true_type{});
  found.outer_same_bank_gflops = outer_gflops(std::false_type{});
  found.tf32_gflops = mma * 8 * giga / least_seconds(on, "TF32", [&] {
                        mma_kernel<false><<<blocks, kThreads>>>(0x3f800000u, sink);
                      });
  found.bf16_gflops = mma * 16 * giga / least_seconds(on, "BF16", [&] {
                        mma_kernel<true><<<blocks, kThreads>>>(0x3f803f80u, sink);
                      });
  found.copy_gbs = 2.0 * kCopyBytes * giga /
                   least_seconds(on, "copy", [&] { copy_kernel<<<copy_blocks, kThreads>>>(on.from, on.to); });
  found.shared_gbs = threads * kSteps * kLoads * 16 * giga /
                     least_seconds(on, "shared memory", [&] { shared_kernel<<<blocks, kThreads>>>(sink); });
  return found;
}

}  // namespace occam::bench
