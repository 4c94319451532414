// CUDA's runtime on the host's memory: streams work at once, and a launch executes the kernel's machine code. It takes
// the place of libcudart in a program that was compiled by nvcc. Environment:
//   OCCAM_MACHINE_CODE   the listing of all kernels (tools/machine writes it)
//   OCCAM_MACHINE_TRACE  a kernel's name or a part of it; what its launches issue is written to
//   OCCAM_MACHINE_TO     this file (trace_file.hpp)
// An error of the machine code is printed, and the program aborts.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "run.hpp"
#include "trace_file.hpp"

namespace occam::machine {
namespace {

using Work = std::function<void()>;

struct Queue {
  bool captures = false;
  std::vector<Work> captured;
};

// Kernels register before other objects of this program exist.
struct Runtime {
  std::recursive_mutex mutex;
  std::map<const void*, std::string> kernels;  // by the address of the host's function
  std::map<std::string, Code> codes;
  Allocations device, pinned;

  const Code* code_of(const void* kernel) {
    if (codes.empty()) {
      const char* const listing = std::getenv("OCCAM_MACHINE_CODE");
      if (listing == nullptr) throw std::runtime_error("OCCAM_MACHINE_CODE names no listing of machine code");
      codes = read_codes(listing);
    }
    const auto name = kernels.find(kernel);
    const auto code = name == kernels.end() ? codes.end() : codes.find(name->second);
    return code == codes.end() ? nullptr : &code->second;
  }
};
Runtime& runtime() {
  static Runtime the_runtime;
  return the_runtime;
}
using Lock = std::lock_guard<std::recursive_mutex>;

template <class T>
T* object(void* handle) {
  return static_cast<T*>(handle);
}
template <class Handle, class T>
cudaError_t hand_out(Handle* handle, T* made) {
  return *handle = reinterpret_cast<Handle>(made), cudaSuccess;
}

void enqueue(cudaStream_t stream, Work work) {
  auto* const queue = object<Queue>(stream);
  if (queue != nullptr && queue->captures)
    queue->captured.push_back(std::move(work));
  else
    work();
}

void execute(const Launch& launch) {
  const char* const wanted = std::getenv("OCCAM_MACHINE_TRACE");
  if (wanted == nullptr || launch.code->name.find(wanted) == std::string::npos)
    return run(launch, runtime().device);
  TracedLaunch traced{launch.code->name, launch.code->shared + launch.dynamic_shared, {}};
  run(launch, runtime().device, &traced.blocks);
  append_trace(std::getenv("OCCAM_MACHINE_TO"), traced);
}

Dim dim(const dim3& d) { return {d.x, d.y, d.z}; }

}  // namespace
}  // namespace occam::machine

using namespace occam::machine;

extern "C" {

// ---- kernels ---------------------------------------------------------------------------------------------

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* device, int, uint3*, uint3*, dim3*,
                            dim3*, int*) {
  const Lock lock(runtime().mutex);
  runtime().kernels[host] = device;
}

thread_local std::vector<std::tuple<dim3, dim3, std::size_t, void*>> configurations;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, cudaStream_t stream) {
  configurations.emplace_back(grid, block, shared, stream);
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  std::tie(*grid, *block, *shared, *static_cast<void**>(stream)) = configurations.back();
  configurations.pop_back();
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                             cudaStream_t stream) {
  const Lock lock(runtime().mutex);
  Launch launch;
  launch.code = runtime().code_of(kernel);
  if (launch.code == nullptr) return cudaErrorInvalidDeviceFunction;
  launch.grid = dim(grid), launch.block = dim(block),
  launch.dynamic_shared = static_cast<std::uint32_t>(shared);
  for (std::size_t k = 0; k < launch.code->parameters.size(); ++k) {
    const Parameter p = launch.code->parameters[k];
    launch.parameters.resize(std::max<std::size_t>(launch.parameters.size(), p.offset + p.bytes));
    std::memcpy(launch.parameters.data() + p.offset, arguments[k], p.bytes);
  }
  enqueue(stream, [launch] {
    try {
      execute(launch);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", launch.code->name.c_str(), error.what());
      std::abort();
    }
  });
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  return *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function)), cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared, cudaStream_t stream) {
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, arguments, shared, stream);
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  const Lock lock(runtime().mutex);
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024, attributes->binaryVersion = attributes->ptxVersion = 90;
  if (const Code* code = runtime().code_of(kernel)) {  // CUB asks an empty kernel, for the versions alone
    attributes->numRegs = static_cast<int>(code->registers), attributes->localSizeBytes = code->frame;
    attributes->sharedSizeBytes = code->shared > 1024 ? code->shared - 1024 : 0;
  }
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, std::size_t) {
  return *blocks = 1, cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, std::size_t,
                                                                   unsigned) {
  return *blocks = 1, cudaSuccess;
}

// ---- the device, an H200 ---------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
const char* cudaGetErrorString(cudaError_t) {
  return "refused by the machine that executes machine code on the CPU";
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  switch (which) {
    case cudaDevAttrComputeCapabilityMajor: return *value = 9, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock: return *value = 48 << 10, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return *value = 227 << 10, cudaSuccess;
    case cudaDevAttrWarpSize: return *value = 32, cudaSuccess;
    case cudaDevAttrMaxGridDimX: return *value = 2147483647, cudaSuccess;
    case cudaDevAttrMultiProcessorCount: return *value = 132, cudaSuccess;
    case cudaDevAttrClockRate: return *value = 1'980'000, cudaSuccess;
    case cudaDevAttrMemoryClockRate: return *value = 3'201'000, cudaSuccess;
    case cudaDevAttrGlobalMemoryBusWidth: return *value = 6144, cudaSuccess;
    case cudaDevAttrL2CacheSize: return *value = 60 << 20, cudaSuccess;
    default: return *value = 0, cudaSuccess;
  }
}
constexpr std::size_t kMemory = std::size_t{8} << 30;  // of the host's
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "machine code on a CPU");
  const char* const multiprocessors = std::getenv("OCCAM_MACHINE_MULTIPROCESSORS");
  properties->major = 9, properties->multiProcessorCount = multiprocessors ? std::atoi(multiprocessors) : 132;
  properties->sharedMemPerBlockOptin = 227 << 10, properties->totalGlobalMem = kMemory;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return *free = *total = kMemory, cudaSuccess;
}

// ---- streams, events, graphs -----------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return hand_out(stream, new Queue); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete object<Queue>(stream), cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const bool captures = stream != nullptr && object<Queue>(stream)->captures;
  return *status = captures ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return object<Queue>(stream)->captures = true, cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  auto* const queue = object<Queue>(stream);
  queue->captures = false;
  return hand_out(graph, new std::vector<Work>(std::exchange(queue->captured, {})));
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return hand_out(executable, new std::vector<Work>(*object<std::vector<Work>>(graph)));
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const Work& work : *object<std::vector<Work>>(executable)) enqueue(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return delete object<std::vector<Work>>(graph), cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return delete object<std::vector<Work>>(executable), cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return hand_out(event, new char); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return cudaEventCreate(event); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete object<char>(event), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  return *milliseconds = 1, cudaSuccess;
}

// ---- memory ----------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  constexpr std::size_t kAlignment = 512;
  constexpr int kNeverWritten = 0xcd;
  const Lock lock(runtime().mutex);
  *memory = std::aligned_alloc(kAlignment, (bytes / kAlignment + 1) * kAlignment);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, kNeverWritten, bytes);
  runtime().device[reinterpret_cast<std::uintptr_t>(*memory)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  const Lock lock(runtime().mutex);
  runtime().device.erase(reinterpret_cast<std::uintptr_t>(memory));
  return std::free(memory), cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  const Lock lock(runtime().mutex);
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  runtime().pinned[reinterpret_cast<std::uintptr_t>(*memory)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(runtime().mutex);
  runtime().pinned.erase(reinterpret_cast<std::uintptr_t>(memory));
  return std::free(memory), cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const Lock lock(runtime().mutex);
  const auto at = reinterpret_cast<std::uintptr_t>(memory);
  auto next = runtime().pinned.upper_bound(at);
  const bool pinned = next != runtime().pinned.begin() && (--next, at < next->first + next->second);
  return attributes->type = pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered, cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return enqueue(stream, [=] { std::memcpy(to, from, bytes); }), cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind, cudaStream_t stream) {
  const auto copy = [=] {
    for (std::size_t row = 0; row < height; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                  width);
  };
  return enqueue(stream, copy), cudaSuccess;
}
cudaError_t cudaMemset(void* memory, int byte, std::size_t bytes) {
  return std::memset(memory, byte, bytes), cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int byte, std::size_t bytes, cudaStream_t stream) {
  return enqueue(stream, [=] { std::memset(memory, byte, bytes); }), cudaSuccess;
}

}  // extern "C"
