#include "peaks.hpp"

#include <cblas.h>
#include <immintrin.h>

#include <algorithm>
#include <ctime>
#include <random>

namespace occam::bench {

namespace {

double read_clock(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

constexpr long kFmaSteps = 2'000'000;
constexpr int kFmaRepeats = 5;

// 4 cycles of latency times 2 units ask for 8 chains; 12 leave slack and fit the 16 registers of AVX2.
__attribute__((noinline)) float fma_chains_avx2(long steps, float factor) {
  const __m256 a = _mm256_set1_ps(factor), b = _mm256_set1_ps(1.0f - factor);
  __m256 c0 = b, c1 = b, c2 = b, c3 = b, c4 = b, c5 = b, c6 = b, c7 = b, c8 = b, c9 = b, c10 = b, c11 = b;
  for (long step = 0; step < steps; ++step) {
    c0 = _mm256_fmadd_ps(c0, a, b), c1 = _mm256_fmadd_ps(c1, a, b), c2 = _mm256_fmadd_ps(c2, a, b);
    c3 = _mm256_fmadd_ps(c3, a, b), c4 = _mm256_fmadd_ps(c4, a, b), c5 = _mm256_fmadd_ps(c5, a, b);
    c6 = _mm256_fmadd_ps(c6, a, b), c7 = _mm256_fmadd_ps(c7, a, b), c8 = _mm256_fmadd_ps(c8, a, b);
    c9 = _mm256_fmadd_ps(c9, a, b), c10 = _mm256_fmadd_ps(c10, a, b), c11 = _mm256_fmadd_ps(c11, a, b);
    // The chains would be equal values, which a compiler may merge; as operands of this they stay apart.
    asm volatile("" : "+x"(c0), "+x"(c1), "+x"(c2), "+x"(c3), "+x"(c4), "+x"(c5));
    asm volatile("" : "+x"(c6), "+x"(c7), "+x"(c8), "+x"(c9), "+x"(c10), "+x"(c11));
  }
  const __m256 sum = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;
  return sum[0];
}

__attribute__((noinline, target("avx512f"))) float fma_chains_avx512(long steps, float factor) {
  const __m512 a = _mm512_set1_ps(factor), b = _mm512_set1_ps(1.0f - factor);
  __m512 c0 = b, c1 = b, c2 = b, c3 = b, c4 = b, c5 = b, c6 = b, c7 = b, c8 = b, c9 = b, c10 = b, c11 = b;
  for (long step = 0; step < steps; ++step) {
    c0 = _mm512_fmadd_ps(c0, a, b), c1 = _mm512_fmadd_ps(c1, a, b), c2 = _mm512_fmadd_ps(c2, a, b);
    c3 = _mm512_fmadd_ps(c3, a, b), c4 = _mm512_fmadd_ps(c4, a, b), c5 = _mm512_fmadd_ps(c5, a, b);
    c6 = _mm512_fmadd_ps(c6, a, b), c7 = _mm512_fmadd_ps(c7, a, b), c8 = _mm512_fmadd_ps(c8, a, b);
    c9 = _mm512_fmadd_ps(c9, a, b), c10 = _mm512_fmadd_ps(c10, a, b), c11 = _mm512_fmadd_ps(c11, a, b);
    asm volatile("" : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5));
    asm volatile("" : "+v"(c6), "+v"(c7), "+v"(c8), "+v"(c9), "+v"(c10), "+v"(c11));
  }
  const __m512 sum = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;
  return sum[0];
}

template <class Chains>
double fma_rate(const Chains& chains, int lanes) {
  volatile float sink = chains(kFmaSteps / 10, 0.5f);  // the clock settles
  double best = 0;
  for (int repeat = 0; repeat < kFmaRepeats; ++repeat) {
    const double start = read_clock(CLOCK_THREAD_CPUTIME_ID);
    sink = chains(kFmaSteps, 0.5f);
    best =
        std::max(best, 2.0 * 12 * lanes * kFmaSteps / (read_clock(CLOCK_THREAD_CPUTIME_ID) - start) * 1e-9);
  }
  static_cast<void>(sink);
  return best;
}

}  // namespace

std::vector<Timed> time_sgemm(int calls) {
  constexpr int n = 1024;
  static_assert(kSgemmFlop == 2.0 * n * n * n);
  static const auto matrices = [] {
    std::mt19937 bits{1};
    std::uniform_real_distribution<float> uniform{-1, 1};
    std::vector<std::vector<float>> made(2, std::vector<float>(std::size_t{n} * n));
    for (std::vector<float>& matrix : made)
      for (float& value : matrix) value = uniform(bits);
    return made;
  }();
  static std::vector<float> product(std::size_t{n} * n);
  openblas_set_num_threads(1);
  std::vector<Timed> times;
  for (int call = 0; call < calls; ++call) {
    const double start = read_clock(CLOCK_MONOTONIC), cpu_start = read_clock(CLOCK_THREAD_CPUTIME_ID);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0f, matrices[0].data(), n,
                matrices[1].data(), n, 0.0f, product.data(), n);
    times.push_back({read_clock(CLOCK_MONOTONIC) - start, read_clock(CLOCK_THREAD_CPUTIME_ID) - cpu_start});
  }
  return times;
}

std::string openblas_core() { return openblas_get_corename(); }
std::string openblas_config() { return openblas_get_config(); }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}

double fma_rate_avx2() { return fma_rate(fma_chains_avx2, 8); }
double fma_rate_avx512() { return fma_rate(fma_chains_avx512, 16); }

}  // namespace occam::bench
