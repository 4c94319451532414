// A stream of src/cuda/runtime.hpp on the CUDA runtime, and the check of that runtime's calls. It shows CUDA's types, so
// only runtime.cpp and copies.cpp include it.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <source_location>
#include <string_view>

#include "cuda/runtime.hpp"

namespace occam::cuda {

inline constexpr std::size_t kStagingBytes = std::size_t{4} << 20;  // of each of a lane's two chunks
inline constexpr int kMostLanes = 8;                                // more than fill the bus

inline void check(cudaError_t status, const char* call,
                  std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // an error that can be survived does not show up in the next call
  const std::string_view path = where.file_name();
  fail(ErrorKind::device, "{} at {}:{}: {}: {}", call, path.substr(path.rfind('/') + 1), where.line(),
       cudaGetErrorName(status), cudaGetErrorString(status));
}

// Page-locked chunks through which pageable memory travels, so that the bus runs while the host copies the
// next chunk.
struct Staging {
  std::array<void*, 2> chunk{};
  std::array<cudaEvent_t, 2> done{};
  std::size_t turn = 0;  // of the chunk whose last copy to the device is the older one

  void open() {
    for (std::size_t i = 0; i < 2; ++i) {  // what an earlier try has made stays
      if (done[i] == nullptr)
        check(cudaEventCreateWithFlags(&done[i], cudaEventDisableTiming), "cudaEventCreateWithFlags");
      if (chunk[i] == nullptr)
        check(cudaHostAlloc(&chunk[i], kStagingBytes, cudaHostAllocDefault), "cudaHostAlloc");
    }
  }
  ~Staging() {
    for (std::size_t i = 0; i < 2; ++i) {
      if (chunk[i] != nullptr) cudaFreeHost(chunk[i]);
      if (done[i] != nullptr) cudaEventDestroy(done[i]);
    }
  }
};

// The lanes of a stream: each moves its part of a copy with a thread of its own.
struct StreamState {
  cudaStream_t stream = nullptr;
  int copy_threads = 1;
  std::array<Staging, kMostLanes> lanes;
};

inline StreamState& state_of(const Stream& stream) { return *static_cast<StreamState*>(stream.state()); }
inline cudaStream_t native(const Stream& stream) { return state_of(stream).stream; }

inline bool is_capturing(const Stream& stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(native(stream), &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

inline void refuse_recording(const Stream& stream, const char* what) {
  if (is_capturing(stream))
    fail(ErrorKind::device, "{} while a graph is captured: it cannot be replayed", what);
}

}  // namespace occam::cuda
