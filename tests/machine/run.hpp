// Executes machine code on the CPU: the blocks of a grid one after the other, the warps of a block in turns up to their
// next barrier, the lanes of a warp together until they part. Every access to memory is checked for its bounds and its
// alignment. Errors are std::runtime_error and name address and instruction.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "code.hpp"

namespace occam::machine {

// An instruction that a warp issued.
struct Issued {
  std::uint32_t instruction = 0;
  std::uint16_t cost =
      0;  // wavefronts of shared memory, sectors of global memory; 1: a branch that was taken
  std::uint16_t expected = 0;  // at a barrier: the threads it waits for, 0 for all of the block
  std::uint8_t barrier = 0;    // its number
  bool on = true;              // false: no lane did it
};

struct BlockTrace {
  std::vector<std::vector<Issued>> warps;
};

struct Dim {
  std::uint32_t x = 1, y = 1, z = 1;
};

struct Launch {
  const Code* code = nullptr;
  Dim grid, block;
  std::vector<std::uint8_t> parameters;  // as the constant bank holds them from code->parameter_base on
  std::uint32_t dynamic_shared = 0;      // B
};

// What the device has allocated: first byte -> bytes.
using Allocations = std::map<std::uintptr_t, std::size_t>;

// `traces`: where given, what every block issued is appended.
void run(const Launch& launch, const Allocations& allocations, std::vector<BlockTrace>* traces = nullptr);

}  // namespace occam::machine
