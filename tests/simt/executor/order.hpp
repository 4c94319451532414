// Order of work in streams. Every launch, fill and copy is a piece of work with a number in its stream. A clock
// says, for each stream, up to which piece its work is known to be over: each stream carries one, each event
// the one of its stream at record(), and the host that of what it waited for. Work submitted to a stream comes
// after the stream's earlier work, after the events that the stream waited for, and after what the host had
// waited for by then. Two pieces that nothing orders and that use one buffer, one of them writing, are a
// mistake, although the executor runs one piece after the other. Private to the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "simt/executor/memory.hpp"

namespace occam::simt::order {

using Clock = std::map<std::uint32_t, std::uint64_t>;  // stream → the last of its work that is over

struct Stream {
  std::uint32_t number = 0;  // 1, 2, … in the order of creation
  Clock clock;               // its own entry counts its work
};

// What a message calls a piece of work. `name` is kept by pointer.
struct Piece {
  const char* what = "";  // "launch", "fill", …
  const char* name = "";  // of the kernel
  int step = 0;           // of a replayed graph, from 1; 0: submitted by itself
};

Stream open_stream();
void close_stream(const Stream& stream);  // waits for it

// The piece of work that runs from now on.
void begin(Stream& stream, Piece piece);
void wait(Stream& stream, const Clock& event);  // later work of the stream comes after the event
Clock record(Stream& stream);                   // the event: everything in the stream so far
void host_waits(const Clock& clock);            // work submitted from now on comes after it

// ---- for memory.cpp and check.cpp -------------------------------------------------------------------------

void start(std::uint32_t* lines);                         // one for each line of device memory, all 0
void open_buffer(std::size_t offset, std::size_t bytes);  // offsets are from the start of device memory
void close_buffer(std::size_t offset, std::size_t bytes);

constexpr std::size_t kLine = 256;  // bytes; no two buffers share one

// Which buffers the present piece of work was seen to use: checked once a piece and buffer.
struct Seen {
  std::uint32_t* buffer_of_line = nullptr;  // 0: none
  std::uint64_t* last = nullptr;            // by buffer: twice the number of the piece, + 1 if it wrote
  std::uint64_t now = 0;                    // number of the piece, over all streams
};
extern constinit Seen seen;

void check(std::uint32_t buffer, std::size_t offset, Access access, std::uintptr_t return_address);

// The present piece of work uses the buffer at `offset`. A return address of 0 stands for the host.
inline void see(std::size_t offset, Access access, std::uintptr_t return_address) {
  const std::uint32_t buffer = seen.buffer_of_line[offset / kLine];
  const std::uint64_t last = seen.last[buffer];
  if (access == Access::read ? last >> 1 != seen.now : last != 2 * seen.now + 1) [[unlikely]]
    check(buffer, offset, access, return_address);
}

}  // namespace occam::simt::order
