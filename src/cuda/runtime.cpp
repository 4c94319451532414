// src/cuda/runtime.hpp on the CUDA runtime; its copies are in copies.cpp.
#include "cuda/runtime.hpp"

#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "cuda/stream_state.hpp"
#include "occam_build_info.hpp"

namespace occam::cuda {
namespace {

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

// ---- devices ---------------------------------------------------------------------------------------------

int device_count(std::string* why) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (why != nullptr)
    *why = status == cudaSuccess                   ? (count == 0 ? "no CUDA device" : "")
           : status == cudaErrorInsufficientDriver ? "no NVIDIA driver, or one older than this build's CUDA"
                                                   : cudaGetErrorString(status);
  if (status != cudaSuccess) (void)cudaGetLastError();
  return status == cudaSuccess ? count : 0;
}

DeviceProperties device_properties(int index) {
  cudaDeviceProp native_properties{};
  check(cudaGetDeviceProperties(&native_properties, index), "cudaGetDeviceProperties");
  DeviceProperties properties;
  properties.name = native_properties.name;
  properties.major = native_properties.major;
  properties.minor = native_properties.minor;
  properties.multiprocessors = native_properties.multiProcessorCount;
  properties.cycles_per_second = 1e3 * attribute(cudaDevAttrClockRate, index);
  // Twice a clock cycle, as all memory of these devices.
  properties.bytes_per_second = 2e3 * attribute(cudaDevAttrMemoryClockRate, index) *
                                attribute(cudaDevAttrGlobalMemoryBusWidth, index) / 8;
  properties.shared_per_block = native_properties.sharedMemPerBlockOptin;
  properties.l2 = static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize, index));
  properties.memory = native_properties.totalGlobalMem;
  check(cudaDriverGetVersion(&properties.driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&properties.runtime), "cudaRuntimeGetVersion");
  return properties;
}

const char* compiled_for() { return build_info::cuda_architectures; }

void set_device(int index) { check(cudaSetDevice(index), "cudaSetDevice"); }

Memory device_memory() {
  Memory memory;
  check(cudaMemGetInfo(&memory.free, &memory.total), "cudaMemGetInfo");
  return memory;
}

// ---- streams, events, graphs -----------------------------------------------------------------------------

Stream::Stream(int copy_threads) : handle_(new StreamState) {
  state_of(*this).copy_threads = std::clamp(copy_threads, 1, kMostLanes);
  check(cudaStreamCreateWithFlags(&state_of(*this).stream, cudaStreamNonBlocking),
        "cudaStreamCreateWithFlags");
}
void Stream::synchronize() const { check(cudaStreamSynchronize(native(*this)), "cudaStreamSynchronize"); }
void Stream::wait(const Event& event) {
  refuse_recording(*this, "a stream waits for an event");
  check(cudaStreamWaitEvent(native(*this), static_cast<cudaEvent_t>(event.handle()), 0),
        "cudaStreamWaitEvent");
}
void* Stream::handle() const { return native(*this); }

Event::Event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate");
  handle_.reset(event);
}
void Event::record(Stream& stream) {
  refuse_recording(stream, "an event is recorded");
  check(cudaEventRecord(static_cast<cudaEvent_t>(handle()), native(stream)), "cudaEventRecord");
}
void Event::synchronize() const {
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(handle())), "cudaEventSynchronize");
}
float Event::milliseconds_since(const Event& start) const {
  synchronize();
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start.handle()),
                             static_cast<cudaEvent_t>(handle())),
        "cudaEventElapsedTime");
  return milliseconds;
}

void Graph::launch(Stream& stream) const {
  if (!handle_) fail(ErrorKind::device, "launch of a graph that was never captured");
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(handle_.get()), native(stream)), "cudaGraphLaunch");
}

Graph capture(Stream& stream, const std::function<void()>& record) {
  refuse_recording(stream, "a second capture begins");
  check(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t recorded = nullptr;
  try {
    record();
  } catch (...) {
    if (cudaStreamEndCapture(native(stream), &recorded) == cudaSuccess && recorded != nullptr)
      cudaGraphDestroy(recorded);
    (void)cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(native(stream), &recorded), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, recorded, 0);
  cudaGraphDestroy(recorded);
  check(status, "cudaGraphInstantiate");
  Graph graph;
  graph.handle_.reset(executable);
  return graph;
}

NvtxRange::NvtxRange(const char* name) { nvtxRangePushA(name); }
NvtxRange::~NvtxRange() { nvtxRangePop(); }

// ---- memory ----------------------------------------------------------------------------------------------

namespace detail {

// Owners are released on the way out, often of an error: what the runtime then says was said before.
void release_stream(void* handle) {
  auto* state = static_cast<StreamState*>(handle);
  if (state->stream != nullptr) {
    cudaStreamSynchronize(state->stream);
    cudaStreamDestroy(state->stream);
  }
  delete state;
}
void release_event(void* handle) { cudaEventDestroy(static_cast<cudaEvent_t>(handle)); }
void release_graph(void* handle) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle)); }
void release_buffer(void* memory) { cudaFree(memory); }
void release_pinned(void* memory) { cudaFreeHost(memory); }

void* allocate_buffer(const char* name, std::size_t count, std::size_t element_bytes) {
  void* memory = nullptr;
  const bool overflow = count > ~std::size_t{0} / element_bytes;
  const cudaError_t status =
      overflow ? cudaErrorMemoryAllocation : cudaMalloc(&memory, count * element_bytes);
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    const Memory now = device_memory();
    fail(ErrorKind::device, "{}: out of device memory: {} elements of {} B asked for, {} of {} B are free",
         name, count, element_bytes, now.free, now.total);
  }
  check(status, "cudaMalloc");
  return memory;
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    fail(ErrorKind::device, "out of host memory: {} B of pinned memory", bytes);
  }
  check(status, "cudaHostAlloc");
  return memory;
}

void fill(Stream& stream, void* device, unsigned char byte, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemsetAsync(device, byte, bytes, native(stream)), "cudaMemsetAsync");
}

// ---- launches (kernels/launch.hpp) -----------------------------------------------------------------------

// More dynamic shared memory than the default of 48 KB.
void raise_shared_limit(const void* kernel, const char* name, std::size_t bytes) {
  static std::mutex mutex;
  static std::map<std::pair<int, const void*>, std::size_t> raised;  // by device and kernel
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  const std::lock_guard lock(mutex);
  std::size_t& limit = raised[{device, kernel}];
  if (bytes <= limit) return;
  const auto most = static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  if (bytes > most) {
    fail(ErrorKind::device, "launch of {}: {} B of shared memory asked for, a block of this device has {} B",
         name, bytes, most);
  }
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "cudaFuncSetAttribute of the shared memory");
  limit = bytes;
}

void launch(Stream& stream, const char* name, const void* kernel, dim3 grid, dim3 block,
            std::size_t shared_bytes, void** arguments) {
  if (shared_bytes > 48 * 1024) raise_shared_limit(kernel, name, shared_bytes);
  const cudaError_t error = cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, native(stream));
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();
  fail(ErrorKind::device, "launch of {} <<<({}, {}, {}), ({}, {}, {}), {} B>>>: {}: {}", name, grid.x, grid.y,
       grid.z, block.x, block.y, block.z, shared_bytes, cudaGetErrorName(error), cudaGetErrorString(error));
}

}  // namespace detail

KernelResources kernel_resources(const void* kernel, const char* name, int threads,
                                 std::size_t shared_bytes) {
  if (shared_bytes > 48 * 1024) detail::raise_shared_limit(kernel, name, shared_bytes);
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  KernelResources resources{attributes.numRegs, static_cast<int>(attributes.localSizeBytes), 0};
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resources.blocks, kernel, threads, shared_bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  return resources;
}

}  // namespace occam::cuda
