// src/cuda/runtime.hpp on the CUDA runtime.
#include "cuda/runtime.hpp"

#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <source_location>
#include <string_view>

#include "threads.hpp"

namespace occam::cuda {
namespace {

constexpr std::size_t kStagingBytes = std::size_t{4} << 20;  // of each of a lane's two chunks
constexpr std::size_t kLaneBytes = 4 * kStagingBytes;        // what is worth a thread
constexpr int kMostLanes = 8;                                // more than fill the bus
constexpr std::size_t kLine = 128;                           // bytes; lanes share none

void check(cudaError_t status, const char* call,
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

StreamState& state_of(const Stream& stream) { return *static_cast<StreamState*>(stream.state()); }
cudaStream_t native(const Stream& stream) { return state_of(stream).stream; }

bool is_capturing(const Stream& stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(native(stream), &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

void refuse_recording(const Stream& stream, const char* what) {
  if (is_capturing(stream))
    fail(ErrorKind::device, "{} while a graph is captured: it cannot be replayed", what);
}

// What a copy moves at a time: rows of one after the other on the host, `pitch` apart on the device. A plain
// copy is of rows of one byte at a pitch of one, so that any part of it is of whole rows.
struct Move {
  cudaStream_t stream;
  std::size_t row_bytes, pitch;

  std::size_t rows_at_a_time() const { return kStagingBytes / row_bytes; }
  void to_device(void* device, const void* chunk, std::size_t rows) const {
    if (pitch == row_bytes)
      check(cudaMemcpyAsync(device, chunk, rows * row_bytes, cudaMemcpyHostToDevice, stream),
            "cudaMemcpyAsync to the device");
    else
      check(
          cudaMemcpy2DAsync(device, pitch, chunk, row_bytes, row_bytes, rows, cudaMemcpyHostToDevice, stream),
          "cudaMemcpy2DAsync to the device");
  }
  void to_host(void* chunk, const void* device, std::size_t rows) const {
    if (pitch == row_bytes)
      check(cudaMemcpyAsync(chunk, device, rows * row_bytes, cudaMemcpyDeviceToHost, stream),
            "cudaMemcpyAsync to the host");
    else
      check(
          cudaMemcpy2DAsync(chunk, row_bytes, device, pitch, row_bytes, rows, cudaMemcpyDeviceToHost, stream),
          "cudaMemcpy2DAsync to the host");
  }
};

// Enqueues the lane's rows of a copy to the device.
void lane_to_device(const Move& move, Staging& staging, unsigned char* device, const unsigned char* host,
                    std::size_t rows) {
  staging.open();
  const std::size_t most = move.rows_at_a_time();
  for (std::size_t first = 0, turn = 0; first < rows; first += most, turn ^= 1) {
    const std::size_t part = std::min(most, rows - first);
    check(cudaEventSynchronize(staging.done[turn]),
          "cudaEventSynchronize");  // the chunk's last copy has left it
    std::memcpy(staging.chunk[turn], host + first * move.row_bytes, part * move.row_bytes);
    move.to_device(device + first * move.pitch, staging.chunk[turn], part);
    check(cudaEventRecord(staging.done[turn], move.stream), "cudaEventRecord");
  }
}

// Returns when the lane's rows are in `host`.
void lane_to_host(const Move& move, Staging& staging, unsigned char* host, const unsigned char* device,
                  std::size_t rows) {
  staging.open();
  const std::size_t most = move.rows_at_a_time();
  const auto start = [&](std::size_t first, std::size_t turn) {
    if (first >= rows) return;
    move.to_host(staging.chunk[turn], device + first * move.pitch, std::min(most, rows - first));
    check(cudaEventRecord(staging.done[turn], move.stream), "cudaEventRecord");
  };
  start(0, 0);
  for (std::size_t first = 0, turn = 0; first < rows; first += most, turn ^= 1) {
    start(first + most, turn ^ 1);
    check(cudaEventSynchronize(staging.done[turn]), "cudaEventSynchronize");
    std::memcpy(host + first * move.row_bytes, staging.chunk[turn],
                std::min(most, rows - first) * move.row_bytes);
  }
}

// copy(staging, first row, rows) for every lane that this copy is worth, side by side. Lanes of a plain copy
// begin at whole lines.
template <class Copy>
void on_lanes(StreamState& state, std::size_t rows, std::size_t row_bytes, const Copy& copy) {
  const auto lanes = static_cast<int>(std::clamp<std::size_t>(rows * row_bytes / kLaneBytes, 1,
                                                              static_cast<std::size_t>(state.copy_threads)));
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  const std::size_t unit = row_bytes == 1 ? kLine : 1;
  const std::size_t of_lane = rows / static_cast<std::size_t>(lanes) / unit * unit;
  on_threads(lanes, [&](int lane) {
    if (lane > 0) check(cudaSetDevice(device), "cudaSetDevice");  // a new thread has device 0
    const auto l = static_cast<std::size_t>(lane);
    const std::size_t first = l * of_lane;
    copy(state.lanes[l], first, lane + 1 < lanes ? of_lane : rows - first);
  });
}

void move_to_device(StreamState& state, const Move& move, void* device, const void* host, std::size_t rows) {
  on_lanes(state, rows, move.row_bytes, [&](Staging& staging, std::size_t first, std::size_t part) {
    lane_to_device(move, staging, static_cast<unsigned char*>(device) + first * move.pitch,
                   static_cast<const unsigned char*>(host) + first * move.row_bytes, part);
  });
}

void move_to_host(StreamState& state, const Move& move, void* host, const void* device, std::size_t rows) {
  on_lanes(state, rows, move.row_bytes, [&](Staging& staging, std::size_t first, std::size_t part) {
    lane_to_host(move, staging, static_cast<unsigned char*>(host) + first * move.row_bytes,
                 static_cast<const unsigned char*>(device) + first * move.pitch, part);
  });
}

bool is_pinned(const void* host) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, host), "cudaPointerGetAttributes");
  return attributes.type == cudaMemoryTypeHost;
}

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

void copy_to_device(Stream& stream, void* device, const void* host, std::size_t bytes) {
  refuse_recording(stream, "a copy from the host");
  if (bytes == 0) return;
  if (is_pinned(host)) {
    check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, native(stream)),
          "cudaMemcpyAsync to the device");
    stream.synchronize();
    return;
  }
  move_to_device(state_of(stream), {native(stream), 1, 1}, device, host, bytes);
}

void copy_to_host(Stream& stream, void* host, const void* device, std::size_t bytes) {
  refuse_recording(stream, "a copy to the host");
  if (bytes == 0) return;
  if (is_pinned(host)) {
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, native(stream)),
          "cudaMemcpyAsync to the host");
    stream.synchronize();
    return;
  }
  move_to_host(state_of(stream), {native(stream), 1, 1}, host, device, bytes);
}

void copy_to_device(Stream& stream, void* device, const void* host, const PitchedRows& rows) {
  refuse_recording(stream, "a copy from the host");
  require(rows.row_bytes >= 1 && rows.row_bytes <= kStagingBytes, "copy of rows: {} bytes each; give 1 to {}",
          rows.row_bytes, kStagingBytes);
  move_to_device(state_of(stream), {native(stream), rows.row_bytes, rows.pitch}, device, host, rows.rows);
}

void copy_to_host(Stream& stream, void* host, const void* device, const PitchedRows& rows) {
  refuse_recording(stream, "a copy to the host");
  require(rows.row_bytes >= 1 && rows.row_bytes <= kStagingBytes, "copy of rows: {} bytes each; give 1 to {}",
          rows.row_bytes, kStagingBytes);
  move_to_host(state_of(stream), {native(stream), rows.row_bytes, rows.pitch}, host, device, rows.rows);
}

void copy_on_device(Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, native(stream)),
        "cudaMemcpyAsync on the device");
}

void fill(Stream& stream, void* device, unsigned char byte, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemsetAsync(device, byte, bytes, native(stream)), "cudaMemsetAsync");
}

// ---- launches (kernels/launch.hpp) -----------------------------------------------------------------------

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

void check_launch(int status, const char* name, dim3 grid, dim3 block, std::size_t shared_bytes) {
  const auto error = static_cast<cudaError_t>(status);
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
