// src/cuda/runtime.hpp on host memory: work runs at once, in the order of the calls. A captured graph is a
// list of closures. Ranges of copies and fills are checked against the live buffers; in the checked build
// also that what is read was written, and that waits order the work of different streams (executor/order.hpp).
#include "cuda/runtime.hpp"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "simt/executor.hpp"
#include "simt/executor/memory.hpp"
#include "simt/executor/order.hpp"

namespace occam::cuda {
namespace {

namespace order = simt::order;
using simt::Access;

struct Step {
  order::Piece piece;
  std::function<void()> run;
};
using Work = std::vector<Step>;

struct StreamState {
  Work* recording = nullptr;
  order::Stream track = order::open_stream();
};
struct EventState {
  std::chrono::steady_clock::time_point when;
  order::Clock clock;
  bool recorded = false;
};

StreamState& state_of(void* stream) { return *static_cast<StreamState*>(stream); }
const EventState& state_of(const Event& event) { return *static_cast<const EventState*>(event.handle()); }

void run_now(void* stream, const order::Piece& piece, const std::function<void()>& work) {
  order::begin(state_of(stream).track, piece);
  work();
}

void do_or_record(void* stream, const order::Piece& piece, std::function<void()> work) {
  if (Work* recording = state_of(stream).recording) {
    recording->push_back({piece, std::move(work)});
  } else {
    run_now(stream, piece, work);
  }
}

void refuse_recording(const Stream& stream, const char* what) {
  if (state_of(stream.state()).recording != nullptr) {
    fail(ErrorKind::device, "{} while a graph is captured: it cannot be replayed", what);
  }
}

// How many graphs this host thread captures, and a buffer that it released meanwhile: a destructor cannot
// throw, so capture() does.
thread_local int captures = 0;
thread_local std::string released_in_capture;

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
  properties.bytes_per_second = 1e10;
  properties.shared_per_block = simt::kSharedLimit;
  properties.l2 = std::size_t{50} << 20;
  properties.memory = simt::memory::limit();
  return properties;
}

KernelResources kernel_resources(const void*, const char*, int, std::size_t) { return {}; }

const char* compiled_for() { return ""; }

void set_device(int index) { device_properties(index); }

Memory device_memory() {
  const std::size_t total = simt::memory::limit();
  return {total - std::min(total, simt::memory::allocated()), total};
}

Stream::Stream(int) : handle_(new StreamState) {}
void Stream::synchronize() const {
  refuse_recording(*this, "a stream is synchronised");
  order::host_waits(state_of(state()).track.clock);
}
void Stream::wait(const Event& event) {
  refuse_recording(*this, "a stream waits for an event");
  order::wait(state_of(state()).track, state_of(event).clock);
}
void* Stream::handle() const { return handle_.get(); }

Event::Event() : handle_(new EventState) {}
void Event::record(Stream& stream) {
  refuse_recording(stream, "an event is recorded");
  *static_cast<EventState*>(handle_.get()) = {std::chrono::steady_clock::now(),
                                              order::record(state_of(stream.state()).track), true};
}
void Event::synchronize() const { order::host_waits(state_of(*this).clock); }
float Event::milliseconds_since(const Event& start) const {
  synchronize();
  const EventState &first = state_of(start), &last = state_of(*this);
  if (!first.recorded || !last.recorded)
    fail(ErrorKind::device, "the time between events that were never recorded");
  return std::chrono::duration<float, std::milli>(last.when - first.when).count();
}

void Graph::launch(Stream& stream) const {
  if (!handle_) fail(ErrorKind::device, "launch of a graph that was never captured");
  int number = 0;
  for (const Step& step : *static_cast<const Work*>(handle_.get()))
    do_or_record(stream.state(), {step.piece.what, step.piece.name, ++number}, step.run);
}

Graph capture(Stream& stream, const std::function<void()>& record) {
  refuse_recording(stream, "a second capture begins");
  Graph graph;
  auto* work = new Work;
  graph.handle_.reset(work);
  struct Recording {  // ends with the scope, also by an exception
    StreamState& state;
    ~Recording() {
      state.recording = nullptr;
      --captures;
      released_in_capture.clear();
    }
  } recording{state_of(stream.state())};
  recording.state.recording = work;
  ++captures;
  record();
  if (!released_in_capture.empty()) {
    throw simt::Violation(
        fmt::format("{} is released while a graph is captured, which ends the capture", released_in_capture));
  }
  return graph;
}

NvtxRange::NvtxRange(const char*) {}
NvtxRange::~NvtxRange() {}

namespace detail {

// As on a GPU, the stream's work is waited for.
void release_stream(void* handle) {
  const std::unique_ptr<StreamState> state{static_cast<StreamState*>(handle)};
  order::close_stream(state->track);
}
void release_event(void* handle) { delete static_cast<EventState*>(handle); }
void release_graph(void* handle) { delete static_cast<Work*>(handle); }
// On a GPU this waits for all work on the device: nothing that was submitted loses its buffer. No order follows
// from it here, so that nobody comes to rely on it.
void release_buffer(void* memory) {
  if (captures > 0) released_in_capture = simt::describe_address(reinterpret_cast<std::uintptr_t>(memory));
  simt::memory::release(memory);
}
void release_pinned(void* memory) { std::free(memory); }

void* allocate_buffer(const char* name, std::size_t count, std::size_t element_bytes) {
  if (captures > 0) fail(ErrorKind::device, "{}: memory is allocated while a graph is captured", name);
  return simt::memory::allocate(name, count, element_bytes);
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) fail(ErrorKind::device, "out of host memory: {} B of pinned memory", bytes);
  return memory;
}

void copy_to_device(Stream& stream, void* device, const void* host, std::size_t bytes) {
  refuse_recording(stream, "a copy from the host");
  run_now(stream.state(), {"copy to the device"}, [&] {
    simt::memory::require_range(device, bytes, Access::write, "copy to the device");
    std::memcpy(device, host, bytes);
    simt::memory::mark_written(device, bytes);
  });  // the host does not wait: on a GPU the bytes may still lie in a staging buffer
}

void copy_to_host(Stream& stream, void* host, const void* device, std::size_t bytes) {
  refuse_recording(stream, "a copy to the host");
  run_now(stream.state(), {"copy to the host"}, [&] {
    simt::memory::require_range(device, bytes, Access::read, "copy to the host", true);
    std::memcpy(host, device, bytes);
  });
  stream.synchronize();
}

void copy_to_device(Stream& stream, void* device, const void* host, const PitchedRows& rows) {
  for (std::size_t r = 0; r < rows.rows; ++r)
    copy_to_device(stream, static_cast<unsigned char*>(device) + r * rows.pitch,
                   static_cast<const unsigned char*>(host) + r * rows.row_bytes, rows.row_bytes);
}

void copy_to_host(Stream& stream, void* host, const void* device, const PitchedRows& rows) {
  for (std::size_t r = 0; r < rows.rows; ++r)
    copy_to_host(stream, static_cast<unsigned char*>(host) + r * rows.row_bytes,
                 static_cast<const unsigned char*>(device) + r * rows.pitch, rows.row_bytes);
}

void copy_on_device(Stream& stream, void* to, const void* from, std::size_t bytes) {
  do_or_record(stream.state(), {"copy on the device"}, [=] {
    simt::memory::require_range(from, bytes, Access::read, "copy on the device, read");
    simt::memory::require_range(to, bytes, Access::write, "copy on the device, write");
    std::memcpy(to, from, bytes);
    simt::memory::copy_state(to, from, bytes);
  });
}

void fill(Stream& stream, void* device, unsigned char byte, std::size_t bytes) {
  do_or_record(stream.state(), {"fill"}, [=] {
    simt::memory::require_range(device, bytes, Access::write, "fill");
    std::memset(device, byte, bytes);
    simt::memory::mark_written(device, bytes);
  });
}

}  // namespace detail
}  // namespace occam::cuda

namespace occam::simt {

void submit(cuda::Stream& stream, const Launch& launch, void (*body)(const void*), const void* argument,
            std::size_t bytes) {
  const order::Piece piece{"launch", launch.name};
  if (cuda::state_of(stream.state()).recording == nullptr) {
    order::begin(cuda::state_of(stream.state()).track, piece);
    run(launch, body, argument, bytes);
    return;
  }
  const auto* first = static_cast<const unsigned char*>(argument);
  cuda::do_or_record(stream.state(), piece,
                     [launch, body, copy = std::vector<unsigned char>(first, first + bytes)] {
                       run(launch, body, copy.data(), copy.size());
                     });
}

}  // namespace occam::simt
