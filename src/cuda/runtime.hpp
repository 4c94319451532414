// The few runtime calls that the host side of the CUDA backend needs, as values with owners. No CUDA type is
// visible, so the same callers run on two bodies: src/cuda/runtime.cpp on a GPU, tests/simt/runtime_simt.cpp
// on host memory with the SIMT executor (docs/simt.md). Every call is checked; a failure is a device error
// that names the call and the sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "cuda/kernel.hpp"
#include "occam/error.hpp"

namespace occam::cuda {

// ---- devices ---------------------------------------------------------------------------------------------

// Zero without a driver or a device; `why` (if given) then receives the reason.
int device_count(std::string* why = nullptr);

struct DeviceProperties {
  std::string name;          // "NVIDIA H200"
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  double cycles_per_second = 0;      // of a multiprocessor, at most
  double bytes_per_second = 0;       // of its memory, at most; 0: not told
  std::size_t shared_per_block = 0;  // bytes, the opt-in limit of one block's dynamic shared memory
  std::size_t l2 = 0, memory = 0;    // bytes
  int driver = 0, runtime = 0;       // versions as CUDA numbers them: 13000 is 13.0
};
DeviceProperties device_properties(int index);

// What this build's kernels were compiled for (architectures.hpp).
const char* compiled_for();

// The device of this host thread; everything below lives on the device that was set when it was made.
void set_device(int index);

struct Memory {
  std::size_t free = 0, total = 0;  // bytes
};
Memory device_memory();

// ---- streams, events, graphs -----------------------------------------------------------------------------

namespace detail {
// Owner of an opaque handle whose release is a plain function.
template <void (*release)(void*)>
struct Releaser {
  void operator()(void* handle) const { release(handle); }
};
template <void (*release)(void*)>
using Handle = std::unique_ptr<void, Releaser<release>>;

void release_stream(void* handle);
void release_event(void* handle);
void release_graph(void* handle);
void release_buffer(void* memory);
void release_pinned(void* memory);
}  // namespace detail

class Event;

// Work in one stream runs in the order of the calls. Streams do not wait for each other unless told.
class Stream {
 public:
  // copy_threads: host threads that one of its large copies from or to the host may keep busy
  explicit Stream(int copy_threads = 1);
  void synchronize() const;       // waits for all of it; throws what went wrong on the device
  void wait(const Event& event);  // later work of this stream comes after the event
  void* handle() const;           // the runtime's own: a cudaStream_t, as a library wants it
  void* state() const { return handle_.get(); }

 private:
  detail::Handle<detail::release_stream> handle_;
};

class Event {
 public:
  Event();
  void record(Stream& stream);
  void synchronize() const;
  // Milliseconds from `start` to this event; waits for this event. Both were recorded.
  float milliseconds_since(const Event& start) const;
  void* handle() const { return handle_.get(); }

 private:
  detail::Handle<detail::release_event> handle_;
};

// A fixed sequence of launches, fills and copies on the device, replayed with one call. Arguments are those
// of the recording; the buffers it names must outlive it.
class Graph {
 public:
  void launch(Stream& stream) const;
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  friend Graph capture(Stream& stream, const std::function<void()>& record);
  detail::Handle<detail::release_graph> handle_;
};

// Runs `record`, whose work on `stream` is recorded and not executed. Copies between host and device, events,
// waits and allocations throw there.
Graph capture(Stream& stream, const std::function<void()>& record);

// ---- memory ----------------------------------------------------------------------------------------------

namespace detail {
// `name` appears in messages. Throws a device error that names elements, bytes, free and total memory.
void* allocate_buffer(const char* name, std::size_t count, std::size_t element_bytes);
void* allocate_pinned(std::size_t bytes);
void copy_to_device(Stream& stream, void* device, const void* host, std::size_t bytes);
void copy_to_host(Stream& stream, void* host, const void* device, std::size_t bytes);
// `rows` rows of row_bytes, one after the other on the host, `pitch` bytes apart on the device.
struct PitchedRows {
  std::size_t rows, row_bytes, pitch;

  template <class T>
  static PitchedRows of(std::int64_t rows, std::int64_t columns, std::int64_t stride) {
    const auto bytes = [](std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(T); };
    return {static_cast<std::size_t>(rows), bytes(columns), bytes(stride)};
  }
};
void copy_to_device(Stream& stream, void* device, const void* host, const PitchedRows& rows);
void copy_to_host(Stream& stream, void* host, const void* device, const PitchedRows& rows);
void copy_on_device(Stream& stream, void* to, const void* from, std::size_t bytes);
void fill(Stream& stream, void* device, unsigned char byte, std::size_t bytes);
}  // namespace detail

// Device memory of `count` elements, 256-byte aligned, with undefined contents (poisoned under the executor).
// `name` is a literal: it is kept by pointer. Empty when default-made or of no elements.
template <class T>
class DeviceBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  DeviceBuffer() = default;
  DeviceBuffer(const char* name, std::size_t count)
      : memory_(count == 0 ? nullptr : detail::allocate_buffer(name, count, sizeof(T))), count_(count) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : memory_(std::move(other.memory_)), count_(std::exchange(other.count_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    count_ = std::exchange(other.count_, 0);
    return *this;
  }

  T* data() { return static_cast<T*>(memory_.get()); }
  const T* data() const { return static_cast<const T*>(memory_.get()); }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  bool empty() const { return count_ == 0; }

 private:
  detail::Handle<detail::release_buffer> memory_;
  std::size_t count_ = 0;
};

// Page-locked host memory: copies to and from it need no staging.
template <class T>
class PinnedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t count)
      : memory_(count == 0 ? nullptr : detail::allocate_pinned(count * sizeof(T))), count_(count) {}
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : memory_(std::move(other.memory_)), count_(std::exchange(other.count_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    count_ = std::exchange(other.count_, 0);
    return *this;
  }

  T* data() { return static_cast<T*>(memory_.get()); }
  const T* data() const { return static_cast<const T*>(memory_.get()); }
  std::size_t size() const { return count_; }
  std::span<T> span() { return {data(), count_}; }
  std::span<const T> span() const { return {data(), count_}; }

 private:
  detail::Handle<detail::release_pinned> memory_;
  std::size_t count_ = 0;
};

// In stream order. When it returns, `host` may be changed or freed. Elements, not bytes.
template <class T>
void copy_to_device(Stream& stream, T* device, const std::type_identity_t<T>* host, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T>);
  detail::copy_to_device(stream, device, host, count * sizeof(T));
}

// In stream order. When it returns, the elements are in `host`.
template <class T>
void copy_to_host(Stream& stream, T* host, const std::type_identity_t<T>* device, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T>);
  detail::copy_to_host(stream, host, device, count * sizeof(T));
}

// In stream order, asynchronous. The ranges do not overlap.
template <class T>
void copy_on_device(Stream& stream, T* to, const std::type_identity_t<T>* from, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T>);
  detail::copy_on_device(stream, to, from, count * sizeof(T));
}

// As above, of `rows` rows of `columns` elements that are `stride` elements apart on the device.
template <class T>
void copy_rows_to_device(Stream& stream, T* device, std::int64_t stride, const std::type_identity_t<T>* host,
                         std::int64_t rows, std::int64_t columns) {
  static_assert(std::is_trivially_copyable_v<T>);
  detail::copy_to_device(stream, device, host, detail::PitchedRows::of<T>(rows, columns, stride));
}
template <class T>
void copy_rows_to_host(Stream& stream, T* host, const std::type_identity_t<T>* device, std::int64_t stride,
                       std::int64_t rows, std::int64_t columns) {
  static_assert(std::is_trivially_copyable_v<T>);
  detail::copy_to_host(stream, host, device, detail::PitchedRows::of<T>(rows, columns, stride));
}

// Every byte of `count` elements, in stream order, asynchronous.
template <class T>
void fill(Stream& stream, T* device, std::size_t count, unsigned char byte = 0) {
  static_assert(std::is_trivially_copyable_v<T>);
  detail::fill(stream, device, byte, count * sizeof(T));
}

template <class T>
void copy_to_device(Stream& stream, DeviceBuffer<T>& device, std::span<const std::type_identity_t<T>> host) {
  require(host.size() <= device.size(), "copy to device: {} elements into a buffer of {}", host.size(),
          device.size());
  copy_to_device(stream, device.data(), host.data(), host.size());
}

template <class T>
void copy_to_host(Stream& stream, std::span<T> host, const DeviceBuffer<std::remove_const_t<T>>& device) {
  require(host.size() <= device.size(), "copy to host: {} elements from a buffer of {}", host.size(),
          device.size());
  copy_to_host(stream, host.data(), device.data(), host.size());
}

template <class T>
void fill(Stream& stream, DeviceBuffer<T>& device, unsigned char byte = 0) {
  fill(stream, device.data(), device.size(), byte);
}

}  // namespace occam::cuda
