// Predicts the cycles that one multiprocessor of an H200 takes for blocks whose instructions were recorded.
//
// In order: a warp issues its next instruction when the stall count of the one before has passed, the scoreboards it
// waits for are released, its pipe is free and the register banks can be read. A scheduler issues one instruction a
// cycle and stays with a warp while it can. docs/machine.md says what was measured against it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "code.hpp"
#include "run.hpp"

namespace occam::machine {

// Cycles, where nothing else is said.
struct Chip {
  int shared_latency = 29;  // of a load, beyond its wavefronts
  int local_latency = 35, constant_latency = 40, special_latency = 25, math_latency = 28;
  int global_latency = 300, copy_latency = 500;  // from L2; LDGSTS
  int tensor_cycles = 7;  // of m16n8k8 in TF32 and m16n8k16 in BF16, as mma.sync reached on an H200
  int tensor_latency = 33, double_latency = 20;
  int barrier_latency = 20;  // from the last arrival on
  int branch = 14;           // a taken branch
  int block_start = 300;     // from the end of a block to the first instruction of the next
  int memory_queue = 24;     // of wavefronts that wait before a warp waits
  double sector = 2.06;      // of 32 bytes from or to L2 and memory, a multiprocessor's share of 4.05 TB/s
};

// Why a warp did not issue in a cycle; `issued` where it did.
enum class Stall : std::uint8_t { issued, fixed, memory, pipe, not_chosen, barrier, register_banks };
inline constexpr int kStalls = 7;
inline constexpr std::array<const char*, kStalls> kStallNames = {
    "issued", "fixed", "memory", "pipe", "not chosen", "barrier", "register banks"};

struct InstructionTime {
  std::array<std::uint64_t, kStalls> warps{};  // cycles of warps that stood at it
  double idle = 0;  // cycles of schedulers that issued nothing, shared among the warps that stood there
};

struct Timed {
  std::uint64_t cycles = 0;
  std::uint64_t issued = 0, idle = 0;  // of the four schedulers together
  std::vector<InstructionTime> instructions;
};

// The blocks run in their order, `resident` at a time.
Timed time(const Code& code, const std::vector<BlockTrace>& blocks, int resident, const Chip& chip = {});

// Blocks of `warps` warps that fit a multiprocessor at once, with `shared` bytes each, static, dynamic and reserved.
int resident_blocks(const Code& code, std::uint32_t warps, std::uint32_t shared);

}  // namespace occam::machine
