// Copies between host and device, and on the device (src/cuda/runtime.hpp), on the CUDA runtime. What is not page-locked
// travels through page-locked chunks of the stream, by as many lanes as the copy is worth.
#include <algorithm>
#include <cstring>

#include "cuda/stream_state.hpp"
#include "threads.hpp"

namespace occam::cuda {
namespace {

constexpr std::size_t kLaneBytes = 4 * kStagingBytes;  // what is worth a thread
constexpr std::size_t kLine = 128;                     // bytes; lanes share none

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
  for (std::size_t first = 0; first < rows; first += most) {
    const std::size_t part = std::min(most, rows - first),
                      turn = std::exchange(staging.turn, staging.turn ^ 1);
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

}  // namespace

namespace detail {

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

}  // namespace detail
}  // namespace occam::cuda
