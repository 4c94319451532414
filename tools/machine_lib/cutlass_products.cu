// machine_products PRODUCT M N K TILE: one of CUTLASS's fp32 products C = A · B on FFMA, of M x N sums over K, by tile
// TILE, for the machine of tests/machine. PRODUCT says how operands lie, as in an update of a layer:
//   forward           C[sample][unit]  = A[sample][input] · B[unit][input]ᵀ
//   input_gradient    C[sample][input] = A[sample][unit] · B[unit][input]
//   weight_gradient   C[unit][input]   = A[sample][unit]ᵀ · B[sample][input]
// Prints the number of tiles, or, with TILE, checks some sums; exits with 1 where one is wrong.
#include <cuda_runtime.h>
#include <cutlass/gemm/device/gemm_universal.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using Row = cutlass::layout::RowMajor;
using Column = cutlass::layout::ColumnMajor;

struct Problem {
  int m, n, k;
};

float* on_device(const std::vector<float>& values) {
  float* at = nullptr;
  cudaMalloc(reinterpret_cast<void**>(&at), values.size() * sizeof(float));
  cudaMemcpyAsync(at, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice, nullptr);
  return at;
}

std::vector<float> numbers(int count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(std::rand() % 1000 - 500) * 1e-3f;
  return values;
}

// Threads go through a block's tile in warps of warp_m x warp_n, with four stages of depth 8.
template <class LayoutA, class LayoutB, int block_m, int block_n, int warp_m, int warp_n>
int product(const Problem& p) {
  using Gemm = cutlass::gemm::device::GemmUniversal<
      float, LayoutA, float, LayoutB, float, Row, float, cutlass::arch::OpClassSimt, cutlass::arch::Sm80,
      cutlass::gemm::GemmShape<block_m, block_n, 8>, cutlass::gemm::GemmShape<warp_m, warp_n, 8>,
      cutlass::gemm::GemmShape<1, 1, 1>, cutlass::epilogue::thread::LinearCombination<float, 1, float, float>,
      cutlass::gemm::threadblock::GemmIdentityThreadblockSwizzle<>, 4, 1, 1>;
  using Kernel = typename Gemm::GemmKernel;
  constexpr bool a_by_rows = std::is_same_v<LayoutA, Row>, b_by_rows = std::is_same_v<LayoutB, Row>;
  const std::vector<float> a = numbers(p.m * p.k), b = numbers(p.k * p.n), none(p.m * p.n);
  float* const device_a = on_device(a);
  float* const device_b = on_device(b);
  float* const device_c = on_device(none);
  const typename Gemm::Arguments arguments(cutlass::gemm::GemmUniversalMode::kGemm, {p.m, p.n, p.k}, 1,
                                           {1.0f, 0.0f}, device_a, device_b, device_c, device_c, p.m * p.k,
                                           p.k * p.n, p.m * p.n, p.m * p.n, a_by_rows ? p.k : p.m,
                                           b_by_rows ? p.n : p.k, p.n, p.n);
  typename Kernel::Params parameters(arguments, 132, 1);
  const dim3 grid = cutlass::gemm::threadblock::GemmIdentityThreadblockSwizzle<>().get_grid_shape(
      parameters.grid_tiled_shape);
  constexpr int shared = static_cast<int>(sizeof(typename Kernel::SharedStorage));
  cudaFuncSetAttribute(cutlass::Kernel2<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  cutlass::Kernel2<Kernel><<<grid, Kernel::kThreadCount, shared>>>(parameters);
  std::vector<float> c(none);
  cudaMemcpyAsync(c.data(), device_c, c.size() * sizeof(float), cudaMemcpyDeviceToHost, nullptr);
  for (int check = 0; check < 200; ++check) {
    const int i = std::rand() % p.m, j = std::rand() % p.n;
    double sum = 0;
    for (int k = 0; k < p.k; ++k)
      sum += static_cast<double>(a[static_cast<std::size_t>(a_by_rows ? i * p.k + k : k * p.m + i)]) *
             b[static_cast<std::size_t>(b_by_rows ? k * p.n + j : j * p.k + k)];
    const double found = c[static_cast<std::size_t>(i * p.n + j)];
    if (std::abs(found - sum) <= 1e-4) continue;
    std::fprintf(stderr, "C[%d][%d] is %g, not %g\n", i, j, found, sum);
    return 1;
  }
  return 0;
}

template <class LayoutA, class LayoutB>
int by_tile(int tile, const Problem& p) {
  using Product = int (*)(const Problem&);
  constexpr Product products[] = {
      product<LayoutA, LayoutB, 128, 128, 32, 64>, product<LayoutA, LayoutB, 64, 128, 32, 64>,
      product<LayoutA, LayoutB, 128, 64, 64, 32>,  product<LayoutA, LayoutB, 64, 64, 32, 32>,
      product<LayoutA, LayoutB, 256, 128, 64, 64>, product<LayoutA, LayoutB, 128, 256, 64, 64>,
      product<LayoutA, LayoutB, 256, 64, 64, 32>,  product<LayoutA, LayoutB, 64, 256, 32, 64>};
  constexpr int count = static_cast<int>(std::size(products));
  if (tile < 0) return std::printf("%d\n", count), 0;
  return tile < count ? products[tile](p) : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc > 6) return std::fputs("usage: machine_products PRODUCT M N K [TILE]\n", stderr), 2;
  const std::string product = argv[1];
  const Problem p{std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4])};
  const int tile = argc > 5 ? std::atoi(argv[5]) : -1;
  if (product == "forward") return by_tile<Row, Column>(tile, p);
  if (product == "input_gradient") return by_tile<Row, Row>(tile, p);
  if (product == "weight_gradient") return by_tile<Column, Row>(tile, p);
  return std::fprintf(stderr, "no product is called '%s'\n", argv[1]), 2;
}
