// What this core can do at best, measured in the process that trains: the ceilings a share of peak refers to.
#pragma once

#include <string>
#include <vector>

namespace occam::bench {

// Rates of `calls` single-threaded OpenBLAS sgemm calls, 1024 x 1024 x 1024, in GFLOP/s.
std::vector<double> sgemm_rates(int calls);

// The kernel family OpenBLAS runs ("SkylakeX"), and the line it describes itself with.
std::string openblas_core();
std::string openblas_config();

bool has_avx512();

// Fused multiply-adds on registers alone, with enough independent chains to hide their latency: GFLOP/s that no product
// can exceed. fma_rate_avx512 requires has_avx512().
double fma_rate_avx2();
double fma_rate_avx512();

}  // namespace occam::bench
