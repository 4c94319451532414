// The fp32 matrix-product peak of a CUDA device. cuBLAS is not linked but loaded when it is asked for: it is
// larger than all of Occam, and nothing else that is measured needs it.
#include "occam/error.hpp"
#include "peaks.hpp"

#if OCCAM_HAS_CUDA

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fmt/ranges.h>

#include <optional>

namespace occam::bench {

namespace {

// The functions used here, of a library that stays loaded.
struct Cublas {
  void* library;
  decltype(&cublasGetProperty) get_property;
  decltype(&cublasGetStatusString) status_string;
  decltype(&cublasCreate_v2) create;
  decltype(&cublasDestroy_v2) destroy;
  decltype(&cublasSgemm_v2) sgemm;

  explicit Cublas(void* loaded) : library(loaded) {
    find(get_property, "cublasGetProperty");
    find(status_string, "cublasGetStatusString");
    find(create, "cublasCreate_v2");
    find(destroy, "cublasDestroy_v2");
    find(sgemm, "cublasSgemm_v2");
  }
  template <class Function>
  void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    require(function != nullptr, "cuBLAS: {}", dlerror());
  }
  void check(cublasStatus_t status, const char* what) const {
    if (status != CUBLAS_STATUS_SUCCESS) fail(ErrorKind::device, "{}: {}", what, status_string(status));
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
  if (status != cudaSuccess) fail(ErrorKind::device, "{}: {}", what, cudaGetErrorString(status));
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
};

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
  constexpr std::size_t bytes = std::size_t{n} * n * sizeof(float);
  check(cudaSetDevice(device), "select the CUDA device");
  Operands on{cublas()};
  for (float** matrix : {&on.a, &on.b, &on.c}) {
    check(cudaMalloc(matrix, bytes), "allocate 256 MiB for the sgemm peak");
    check(cudaMemset(*matrix, 0x3c, bytes),
          "fill a matrix");  // 0x3c3c3c3c = 0.0115: neither zero nor denormal
  }
  on.blas.check(on.blas.create(&on.handle), "create a cuBLAS handle");
  check(cudaEventCreate(&on.start), "create an event");
  check(cudaEventCreate(&on.stop), "create an event");
  const float one = 1, zero = 0;
  float best_ms = 0;
  for (int call = 0; call < 10; ++call) {
    check(cudaEventRecord(on.start), "record an event");
    on.blas.check(
        on.blas.sgemm(on.handle, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &one, on.a, n, on.b, n, &zero, on.c, n),
        "cublasSgemm");
    check(cudaEventRecord(on.stop), "record an event");
    check(cudaEventSynchronize(on.stop), "wait for cublasSgemm");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, on.start, on.stop), "read the events");
    if (call == 1 || ms < best_ms) best_ms = ms;  // the first call warms up
  }
  return 2.0 * n * n * n / best_ms * 1e-6;
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

CudaCeilings cuda_ceilings(int) {
  fail(ErrorKind::device, "the ceilings of a GPU: this build has no CUDA support");
}

}  // namespace occam::bench

#endif
