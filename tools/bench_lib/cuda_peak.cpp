// The fp32 matrix-product peak of a CUDA device.
#include "occam/error.hpp"
#include "peaks.hpp"

#if OCCAM_HAS_CUDA

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>

namespace occam::bench {

namespace {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(ErrorKind::device, "{}: {}", what, cudaGetErrorString(status));
}
void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(ErrorKind::device, "{}: {}", what, cublasGetStatusString(status));
}

// What a measurement holds on the device, given back whatever happens.
struct Operands {
  float *a = nullptr, *b = nullptr, *c = nullptr;
  cublasHandle_t handle = nullptr;
  cudaEvent_t start = nullptr, stop = nullptr;

  ~Operands() {
    for (float* matrix : {a, b, c}) cudaFree(matrix);
    if (handle) cublasDestroy(handle);
    for (cudaEvent_t event : {start, stop})
      if (event) cudaEventDestroy(event);
  }
};

}  // namespace

double cuda_sgemm_rate(int device) {
  constexpr int n = 8192;
  constexpr std::size_t bytes = std::size_t{n} * n * sizeof(float);
  check(cudaSetDevice(device), "select the CUDA device");
  Operands on;
  for (float** matrix : {&on.a, &on.b, &on.c}) {
    check(cudaMalloc(matrix, bytes), "allocate 256 MiB for the sgemm peak");
    check(cudaMemset(*matrix, 0x3c, bytes),
          "fill a matrix");  // 0x3c3c3c3c = 0.0115: neither zero nor denormal
  }
  check(cublasCreate(&on.handle), "create a cuBLAS handle");
  check(cudaEventCreate(&on.start), "create an event");
  check(cudaEventCreate(&on.stop), "create an event");
  const float one = 1, zero = 0;
  float best_ms = 0;
  for (int call = 0; call < 10; ++call) {
    check(cudaEventRecord(on.start), "record an event");
    check(cublasSgemm(on.handle, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &one, on.a, n, on.b, n, &zero, on.c, n),
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

double cuda_sgemm_rate(int) {
  fail(ErrorKind::device, "the sgemm peak of a GPU: this build has no CUDA support");
}

CudaCeilings cuda_ceilings(int) {
  fail(ErrorKind::device, "the ceilings of a GPU: this build has no CUDA support");
}

}  // namespace occam::bench

#endif
