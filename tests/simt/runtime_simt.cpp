// src/cuda/runtime.hpp on host memory: work runs at once, in the order of the calls. A captured graph is a
// list of closures. Ranges of copies and fills are checked against the live buffers; in the checked build
// also that what is read was written.
#include "cuda/runtime.hpp"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "simt/executor.hpp"
#include "simt/executor/memory.hpp"

namespace occam::cuda {
namespace {

using Work = std::vector<std::function<void()>>;

struct StreamState {
  Work* recording = nullptr;
};
struct EventState {
  std::chrono::steady_clock::time_point when;
  bool recorded = false;
};

StreamState& state_of(void* stream) { return *static_cast<StreamState*>(stream); }

void do_or_record(void* stream, std::function<void()> work) {
  if (Work* recording = state_of(stream).recording) {
    recording->push_back(std::move(work));
  } else {
    work();
  }
}

void refuse_recording(const Stream& stream, const char* what) {
  if (state_of(stream.state()).recording != nullptr) {
    fail(ErrorKind::device, "{} while a graph is captured: it cannot be replayed", what);
  }
}

}  // namespace

int device_count(std::string* why) {
  if (why != nullptr) why->clear();
  return 1;
}

DeviceProperties device_properties(int index) {
  require(index == 0, "there is no device {} beside the emulated device 0", index);
  DeviceProperties properties;
  properties.name = "SIMT executor";
  properties.major = 9;
  properties.multiprocessors = 4;
  properties.cycles_per_second = 1e9;
  properties.shared_per_block = simt::kSharedLimit;
  properties.l2 = std::size_t{50} << 20;
  properties.memory = simt::memory::limit();
  return properties;
}

KernelResources kernel_resources(const void*, const char*, int, std::size_t) { return {}; }

void set_device(int index) { device_properties(index); }

Memory device_memory() {
  const std::size_t total = simt::memory::limit();
  return {total - std::min(total, simt::memory::allocated()), total};
}

Stream::Stream() : handle_(new StreamState) {}
void Stream::synchronize() const { refuse_recording(*this, "a stream is synchronised"); }
void Stream::wait(const Event&) {}
void* Stream::handle() const { return handle_.get(); }

Event::Event() : handle_(new EventState) {}
void Event::record(Stream& stream) {
  do_or_record(stream.state(), [event = static_cast<EventState*>(handle_.get())] {
    *event = {std::chrono::steady_clock::now(), true};
  });
}
void Event::synchronize() const {}
float Event::milliseconds_since(const Event& start) const {
  const auto& first = *static_cast<const EventState*>(start.handle());
  const auto& last = *static_cast<const EventState*>(handle());
  if (!first.recorded || !last.recorded)
    fail(ErrorKind::device, "the time between events that were never recorded");
  return std::chrono::duration<float, std::milli>(last.when - first.when).count();
}

void Graph::launch(Stream& stream) const {
  if (!handle_) fail(ErrorKind::device, "launch of a graph that was never captured");
  const Work* work = static_cast<const Work*>(handle_.get());
  do_or_record(stream.state(), [work] {
    for (const auto& step : *work) step();
  });
}

Graph capture(Stream& stream, const std::function<void()>& record) {
  refuse_recording(stream, "a second capture begins");
  Graph graph;
  auto* work = new Work;
  graph.handle_.reset(work);
  struct Recording {  // ends with the scope, also by an exception
    StreamState& state;
    ~Recording() { state.recording = nullptr; }
  } recording{state_of(stream.state())};
  recording.state.recording = work;
  record();
  return graph;
}

NvtxRange::NvtxRange(const char*) {}
NvtxRange::~NvtxRange() {}

namespace detail {

void release_stream(void* handle) { delete static_cast<StreamState*>(handle); }
void release_event(void* handle) { delete static_cast<EventState*>(handle); }
void release_graph(void* handle) { delete static_cast<Work*>(handle); }
void release_buffer(void* memory) { simt::memory::release(memory); }
void release_pinned(void* memory) { std::free(memory); }

void* allocate_buffer(const char* name, std::size_t count, std::size_t element_bytes) {
  return simt::memory::allocate(name, count, element_bytes);
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) fail(ErrorKind::device, "out of host memory: {} B of pinned memory", bytes);
  return memory;
}

void copy_to_device(Stream& stream, void* device, const void* host, std::size_t bytes) {
  refuse_recording(stream, "a copy from the host");
  simt::memory::require_range(device, bytes, false, "copy to the device");
  std::memcpy(device, host, bytes);
  simt::memory::mark_written(device, bytes);
}

void copy_to_host(Stream& stream, void* host, const void* device, std::size_t bytes) {
  refuse_recording(stream, "a copy to the host");
  simt::memory::require_range(device, bytes, true, "copy to the host");
  std::memcpy(host, device, bytes);
}

void copy_on_device(Stream& stream, void* to, const void* from, std::size_t bytes) {
  do_or_record(stream.state(), [=] {
    simt::memory::require_range(from, bytes, false, "copy on the device, read");
    simt::memory::require_range(to, bytes, false, "copy on the device, write");
    std::memcpy(to, from, bytes);
    simt::memory::copy_state(to, from, bytes);
  });
}

void fill(Stream& stream, void* device, unsigned char byte, std::size_t bytes) {
  do_or_record(stream.state(), [=] {
    simt::memory::require_range(device, bytes, false, "fill");
    std::memset(device, byte, bytes);
    simt::memory::mark_written(device, bytes);
  });
}

}  // namespace detail
}  // namespace occam::cuda

namespace occam::simt {

void submit(void* stream, const Launch& launch, void (*body)(const void*), const void* argument,
            std::size_t bytes) {
  if (cuda::state_of(stream).recording == nullptr) {
    run(launch, body, argument, bytes);
    return;
  }
  const auto* first = static_cast<const unsigned char*>(argument);
  cuda::do_or_record(stream, [launch, body, copy = std::vector<unsigned char>(first, first + bytes)] {
    run(launch, body, copy.data(), copy.size());
  });
}

}  // namespace occam::simt
