// What cuBLAS takes for fp32 matrix products on a CUDA device: a large one, and those of an update. cuBLAS is
// not linked but loaded when it is asked for: it is larger than all of Occam, and nothing else that is measured
// needs it.
#include "occam/error.hpp"
#include "peaks.hpp"

#if OCCAM_HAS_CUDA

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace occam::bench {

namespace {

// Throws. CUDA's last error is read, else Occam's next launch would find it.
[[noreturn]] void fail_with(const char* what, const char* why) {
  (void)cudaGetLastError();
  fail(ErrorKind::device, "{}: {}", what, why);
}

// The functions used here, of a library that stays loaded.
struct Cublas {
  void* library;
  decltype(&cublasGetProperty) get_property;
  decltype(&cublasGetStatusString) status_string;
  decltype(&cublasCreate_v2) create;
  decltype(&cublasDestroy_v2) destroy;
  decltype(&cublasSgemm_v2) sgemm;
  decltype(&cublasSgemmStridedBatched) sgemm_batched;

  explicit Cublas(void* loaded) : library(loaded) {
    find(get_property, "cublasGetProperty");
    find(status_string, "cublasGetStatusString");
    find(create, "cublasCreate_v2");
    find(destroy, "cublasDestroy_v2");
    find(sgemm, "cublasSgemm_v2");
    find(sgemm_batched, "cublasSgemmStridedBatched");
  }
  template <class Function>
  void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    require(function != nullptr, "cuBLAS: {}", dlerror());
  }
  void check(cublasStatus_t status, const char* what) const {
    if (status != CUBLAS_STATUS_SUCCESS) fail_with(what, status_string(status));
  }
};

const Cublas& cublas(const std::vector<std::string>& names = {"libcublas.so.13", "libcublas.so.12"}) {
  static std::optional<Cublas> loaded;
  std::vector<std::string> refused;
  for (std::size_t n = 0; !loaded && n < names.size(); ++n) {
    if (void* library = dlopen(names[n].c_str(), RTLD_NOW | RTLD_LOCAL)) {
      loaded.emplace(library);
    } else {
      refused.emplace_back(dlerror());
    }
  }
  require(loaded.has_value(), "cuBLAS cannot be loaded ({}): name its folder in LD_LIBRARY_PATH",
          fmt::join(refused, "; "));
  return *loaded;
}

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail_with(what, cudaGetErrorString(status));
}

// What a measurement holds on the device, given back whatever happens.
struct Operands {
  const Cublas& blas;
  float *a = nullptr, *b = nullptr, *c = nullptr;
  cublasHandle_t handle = nullptr;
  cudaEvent_t start = nullptr, stop = nullptr;

  ~Operands() {
    for (float* matrix : {a, b, c}) cudaFree(matrix);
    if (handle) blas.destroy(handle);
    for (cudaEvent_t event : {start, stop})
      if (event) cudaEventDestroy(event);
  }
  // Matrices of so many floats, a cuBLAS handle in its default mode, which does not round to TF32, and events.
  void make(std::size_t of_a, std::size_t of_b, std::size_t of_c) {
    for (const auto& [matrix, count] : {std::pair{&a, of_a}, {&b, of_b}, {&c, of_c}}) {
      const std::size_t bytes = count * sizeof(float);
      check(cudaMalloc(matrix, bytes),
            fmt::format("allocate {} MiB for a product of cuBLAS", bytes >> 20).c_str());
      check(cudaMemset(*matrix, 0x3c, bytes),
            "fill a matrix");  // 0x3c3c3c3c = 0.0115: neither zero nor denormal
    }
    blas.check(blas.create(&handle), "create a cuBLAS handle");
    check(cudaEventCreate(&start), "create an event");
    check(cudaEventCreate(&stop), "create an event");
  }
};

constexpr int kRounds = 9;
constexpr double kRoundMs = 20;

// Seconds of a call, which launches a product of cuBLAS: the best of kRounds rounds, each of as many calls as
// take kRoundMs.
template <class Call>
double least_seconds(const Operands& on, const Call& call) {
  const auto elapsed_ms = [&](int calls) {
    check(cudaEventRecord(on.start), "record an event");
    for (int n = 0; n < calls; ++n) on.blas.check(call(), "launch a product of cuBLAS");
    check(cudaEventRecord(on.stop), "record an event");
    check(cudaEventSynchronize(on.stop), "wait for a product");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, on.start, on.stop), "read the events");
    return double{ms};
  };
  elapsed_ms(1);  // warms up
  int calls = 1;
  for (int estimate = 0; estimate < 2; ++estimate)  // one call alone takes longer than one of many
    calls = static_cast<int>(std::clamp(std::ceil(calls * kRoundMs / elapsed_ms(calls)), 1.0, 1e5));
  double best_ms = elapsed_ms(calls);
  for (int round = 1; round < kRounds; ++round) best_ms = std::min(best_ms, elapsed_ms(calls));
  return best_ms / calls * 1e-3;
}

// A row-major matrix of every member, one after the other; rows begin 16-byte aligned, as Occam's do. cuBLAS is
// column-major: it sees the transpose.
struct Matrix {
  int rows, columns;

  int stride() const { return (columns + 3) / 4 * 4; }
  long long floats() const { return static_cast<long long>(rows) * stride(); }
};

// Seconds of c = op(a) · op(b) of every member, where op may transpose. Of the transposes that it sees cuBLAS
// makes that of c, op(b)ᵀ · op(a)ᵀ: b comes first, and what is to be transposed still is.
double product_seconds(const Matrix& a, bool transpose_a, const Matrix& b, bool transpose_b, const Matrix& c,
                       int members) {
  Operands on{cublas()};
  const auto all = [members](const Matrix& matrix) {
    return static_cast<std::size_t>(matrix.floats()) * static_cast<std::size_t>(members);
  };
  on.make(all(a), all(b), all(c));
  const auto op = [](bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const int depth = transpose_a ? a.rows : a.columns;
  const float one = 1, zero = 0;
  return least_seconds(on, [&] {
    return on.blas.sgemm_batched(on.handle, op(transpose_b), op(transpose_a), c.columns, c.rows, depth, &one,
                                 on.b, b.stride(), b.floats(), on.a, a.stride(), a.floats(), &zero, on.c,
                                 c.stride(), c.floats(), members);
  });
}

}  // namespace

std::string cublas_version(const std::vector<std::string>& libraries) {
  const Cublas& blas = libraries.empty() ? cublas() : cublas(libraries);
  int major = 0, minor = 0, patch = 0;
  blas.check(blas.get_property(MAJOR_VERSION, &major), "read cuBLAS's version");
  blas.check(blas.get_property(MINOR_VERSION, &minor), "read cuBLAS's version");
  blas.check(blas.get_property(PATCH_LEVEL, &patch), "read cuBLAS's version");
  return fmt::format("{}.{}.{}", major, minor, patch);
}

double cuda_sgemm_rate(int device) {
  constexpr int n = 8192;
  check(cudaSetDevice(device), "select the CUDA device");
  Operands on{cublas()};
  on.make(std::size_t{n} * n, std::size_t{n} * n, std::size_t{n} * n);
  const float one = 1, zero = 0;
  const double seconds = least_seconds(on, [&] {
    return on.blas.sgemm(on.handle, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &one, on.a, n, on.b, n, &zero, on.c,
                         n);
  });
  return 2.0 * n * n * n / seconds * 1e-9;
}

std::vector<ProductTime> cuda_product_seconds(int device, const std::vector<int>& widths, int batch,
                                              int members) {
  check(cudaSetDevice(device), "select the CUDA device");
  std::vector<ProductTime> times;
  for (int layer = 0; layer + 1 < static_cast<int>(widths.size()); ++layer) {
    const int in = widths[static_cast<std::size_t>(layer)], out = widths[static_cast<std::size_t>(layer) + 1];
    const Matrix x{batch, in}, w{out, in}, z{batch, out};  // gradients have the same shapes
    times.push_back({layer, "forward", product_seconds(x, false, w, true, z, members)});
    times.push_back({layer, "weight_gradient", product_seconds(z, true, x, false, w, members)});
    if (layer > 0)
      times.push_back({layer, "input_gradient", product_seconds(z, false, w, false, x, members)});
  }
  return times;
}

}  // namespace occam::bench

#else

namespace occam::bench {

std::string cublas_version(const std::vector<std::string>&) {
  fail(ErrorKind::device, "cuBLAS: this build has no CUDA support");
}

double cuda_sgemm_rate(int) {
  fail(ErrorKind::device, "the sgemm peak of a GPU: this build has no CUDA support");
}

std::vector<ProductTime> cuda_product_seconds(int, const std::vector<int>&, int, int) {
  fail(ErrorKind::device, "cuBLAS's products: this build has no CUDA support");
}

CudaCeilings cuda_ceilings(int) {
  fail(ErrorKind::device, "the ceilings of a GPU: this build has no CUDA support");
}

}  // namespace occam::bench

#endif
