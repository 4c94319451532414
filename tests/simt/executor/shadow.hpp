// The shadow of a range of memory. Private to memory.cpp and check.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace occam::simt {

// The last write of a 4-byte word and two reads by different threads since: if two threads read it and a
// third writes, at least one of the two is not the writer. `place` holds the return addresses, relative to
// the executor's own code.
struct Cell {
  std::uint64_t write, read[2];  // stamps; 0: none
  std::int32_t write_place, read_place[2];
};

struct Region {
  std::uintptr_t base = 0;
  std::size_t bytes = 0;
  std::uint8_t* word_state = nullptr;  // low four bits: the byte exists; high four: it was written
  Cell* cell = nullptr;

  bool holds(std::uintptr_t address) const { return address - base < bytes; }
  bool get(std::size_t offset, unsigned bit) const {
    return (word_state[offset / 4] & (bit << (offset % 4))) != 0;
  }
  void set(std::size_t offset, unsigned bits, bool value) const {
    const unsigned place = bits << (offset % 4);
    std::uint8_t& byte = word_state[offset / 4];
    byte = static_cast<std::uint8_t>(value ? byte | place : byte & ~place);
  }
};

struct Shadow {
  Region shared, global;
  std::size_t shared_bytes = 0;    // of the block that runs
  std::uint64_t serial = 0;        // of the block that runs
  std::uint64_t first_serial = 1;  // of the launch that runs: lower ones are earlier launches
};
extern Shadow shadow;

}  // namespace occam::simt
