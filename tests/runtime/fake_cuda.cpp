#include "fake_cuda.hpp"

#include <cuda_runtime_api.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

namespace {

constexpr auto kLate = std::chrono::microseconds(300);

std::mutex mutex;  // of all that follows
fake_cuda::Seen noticed;
int failing = 0, pinned_left = 0;
std::map<const unsigned char*, std::size_t> pinned;
thread_local int current = 0;  // device

struct Queue {
  int device = current;
  std::mutex mutex;
  std::condition_variable change;
  std::deque<std::function<void()>> work;
  bool busy = false;
  std::jthread worker{[this](const std::stop_token& stop) { run(stop); }};

  void add(std::function<void()> task) {
    const std::lock_guard lock(mutex);
    work.push_back(std::move(task));
    change.notify_all();
  }
  void drain() {
    std::unique_lock lock(mutex);
    change.wait(lock, [this] { return work.empty() && !busy; });
  }
  void run(const std::stop_token& stop) {
    std::stop_callback wake(stop, [this] {
      const std::lock_guard lock(mutex);
      change.notify_all();
    });
    for (;;) {
      std::unique_lock lock(mutex);
      change.wait(lock, [&] { return stop.stop_requested() || !work.empty(); });
      if (work.empty()) return;
      const std::function<void()> task = std::move(work.front());
      work.pop_front();
      busy = true;
      lock.unlock();
      task();
      lock.lock();
      busy = false;
      change.notify_all();
    }
  }
};

struct Mark {
  int device = current;
  std::mutex mutex;
  std::condition_variable change;
  int recorded = 0, reached = 0;
};

std::set<Queue*> queues;

Queue& queue_of(cudaStream_t stream) { return *reinterpret_cast<Queue*>(stream); }
Mark& mark_of(cudaEvent_t event) { return *reinterpret_cast<Mark*>(event); }

bool is_pinned(const void* host) {
  const std::lock_guard lock(mutex);
  auto at = pinned.upper_bound(static_cast<const unsigned char*>(host));
  if (at == pinned.begin()) return false;
  --at;
  return host < at->first + at->second;
}

}  // namespace

namespace fake_cuda {

Seen seen() {
  const std::lock_guard lock(mutex);
  return noticed;
}

void forget_copies() {
  const std::lock_guard lock(mutex);
  noticed.copies = 0;
  noticed.threads.clear();
}

void fail_copy(int n) {
  const std::lock_guard lock(mutex);
  failing = n;
}

void fail_pinned(int n) {
  const std::lock_guard lock(mutex);
  pinned_left = n;
}

}  // namespace fake_cuda

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return *count = fake_cuda::kDevices, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = current, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return current = device, cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "a name"; }
const char* cudaGetErrorString(cudaError_t) { return "what is wrong"; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  auto* queue = new Queue;
  *stream = reinterpret_cast<cudaStream_t>(queue);
  const std::lock_guard lock(mutex);
  queues.insert(queue);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return queue_of(stream).drain(), cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    const std::lock_guard lock(mutex);
    queues.erase(&queue_of(stream));
  }
  return delete &queue_of(stream), cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = reinterpret_cast<cudaEvent_t>(new Mark);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return cudaEventCreate(event); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete &mark_of(event), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Mark& mark = mark_of(event);
  if (mark.device != queue_of(stream).device) return cudaErrorInvalidResourceHandle;
  int number = 0;
  {
    const std::lock_guard lock(mark.mutex);
    number = ++mark.recorded;
  }
  queue_of(stream).add([&mark, number] {
    const std::lock_guard lock(mark.mutex);
    mark.reached = number;
    mark.change.notify_all();
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Mark& mark = mark_of(event);
  std::unique_lock lock(mark.mutex);
  mark.change.wait(lock, [&] { return mark.reached >= mark.recorded; });
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return *memory = std::malloc(bytes), *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {  // waits for the device, as CUDA's does
  std::unique_lock lock(mutex);
  const std::set<Queue*> all = queues;
  lock.unlock();
  for (Queue* queue : all) queue->drain();
  return std::free(memory), cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  const std::lock_guard lock(mutex);
  if (pinned_left > 0 && --pinned_left == 0) return cudaErrorMemoryAllocation;
  *memory = std::malloc(bytes);
  pinned[static_cast<unsigned char*>(*memory)] = bytes;
  noticed.pinned += bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  const std::lock_guard lock(mutex);
  const auto at = pinned.find(static_cast<unsigned char*>(memory));
  noticed.pinned -= at->second;
  pinned.erase(at);
  return std::free(memory), cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  attributes->type = is_pinned(memory) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  {
    const std::lock_guard lock(mutex);
    ++noticed.copies;
    noticed.threads.insert(std::this_thread::get_id());
    if (noticed.copies == failing) return cudaErrorUnknown;
  }
  if (current != queue_of(stream).device) return cudaErrorInvalidResourceHandle;
  // Nothing but page-locked memory may be read or written behind the caller's back.
  if (kind == cudaMemcpyHostToDevice && !is_pinned(from)) return cudaErrorInvalidValue;
  if (kind == cudaMemcpyDeviceToHost && !is_pinned(to)) return cudaErrorInvalidValue;
  queue_of(stream).add([=] {
    std::this_thread::sleep_for(kLate);
    std::memcpy(to, from, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidValue;
  for (std::size_t r = 0; r < height; ++r)
    if (const cudaError_t status =
            cudaMemcpyAsync(static_cast<unsigned char*>(to) + r * to_pitch,
                            static_cast<const unsigned char*>(from) + r * from_pitch, width, kind, stream);
        status != cudaSuccess)
      return status;
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int byte, std::size_t bytes, cudaStream_t stream) {
  queue_of(stream).add([=] { std::memset(memory, byte, bytes); });
  return cudaSuccess;
}

// The rest of what runtime.cpp calls has no body here.
#define NOT_HERE \
  { return cudaErrorNotSupported; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int) NOT_HERE;
cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int) NOT_HERE;
cudaError_t cudaDriverGetVersion(int*) NOT_HERE;
cudaError_t cudaRuntimeGetVersion(int*) NOT_HERE;
cudaError_t cudaMemGetInfo(std::size_t*, std::size_t*) NOT_HERE;
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) NOT_HERE;
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) NOT_HERE;
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) NOT_HERE;
cudaError_t cudaEventElapsedTime(float*, cudaEvent_t, cudaEvent_t) NOT_HERE;
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long) NOT_HERE;
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) NOT_HERE;
cudaError_t cudaGraphDestroy(cudaGraph_t) NOT_HERE;
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) NOT_HERE;
cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, std::size_t, cudaStream_t) NOT_HERE;
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) NOT_HERE;
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) NOT_HERE;
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int*, const void*, int, std::size_t) NOT_HERE;
#undef NOT_HERE

}  // extern "C"
