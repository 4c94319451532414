// What this core can do at best, measured in the process that trains: the ceilings a share of peak refers to.
#pragma once

#include <string>
#include <vector>

namespace occam::bench {

// Single-threaded OpenBLAS sgemm calls, 1024 x 1024 x 1024, each with its wall and CPU time.
inline constexpr double kSgemmFlop = 2.0 * 1024 * 1024 * 1024;
struct Timed {
  double seconds = 0, cpu_seconds = 0;
};
std::vector<Timed> time_sgemm(int calls);

// The kernel family OpenBLAS runs ("SkylakeX"), and the line it describes itself with.
std::string openblas_core();
std::string openblas_config();

// Whether Occam's AVX-512 body can run.
bool has_avx512();

// Fused multiply-adds on registers alone, with enough independent chains to hide their latency: GFLOP/s that
// no product can exceed. fma_rate_avx512 requires has_avx512().
double fma_rate_avx2();
double fma_rate_avx512();

// The version of cuBLAS, "13.0.2", loaded from the first of these shared libraries that there is; empty: of
// those that CUDA 13 and 12 have. Throws a usage error where none can be loaded, a device error without CUDA.
std::string cublas_version(const std::vector<std::string>& libraries);

// cuBLAS in fp32, 8192 x 8192 x 8192, timed with events, the best of nine rounds: GFLOP/s. Throws as
// cublas_version does, and a device error where memory is short.
double cuda_sgemm_rate(int device);

// What cuBLAS takes for each matrix product of one update of all members, likewise: a layer's z = x · wᵀ
// ("forward"), dw = dzᵀ · x ("weight_gradient") and, but for the first, dx = dz · w ("input_gradient"), with the
// members as a strided batch. A round is as many calls as take 20 ms. widths: inputs, hidden layers, outputs.
struct ProductTime {
  int layer;
  const char* product;
  double seconds;
};
std::vector<ProductTime> cuda_product_seconds(int device, const std::vector<int>& widths, int batch,
                                              int members);

// What a CUDA device does at best: multiply-adds (2 FLOP each) of the FP32 units and, through mma.sync, of
// the tensor cores; bytes read and written by a copy of 1 GiB; bytes read from shared memory. outer_…: of outer
// products in registers, where sums and operands lie in different banks of registers or in the same. Throws a device
// error without CUDA.
struct CudaCeilings {
  int multiprocessors = 0;
  double outer_gflops = 0, outer_same_bank_gflops = 0;
  double ffma_gflops = 0, tf32_gflops = 0, bf16_gflops = 0, copy_gbs = 0, shared_gbs = 0;
};
CudaCeilings cuda_ceilings(int device);

}  // namespace occam::bench
