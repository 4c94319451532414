// A block and its warps while they run.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "run.hpp"

namespace occam::machine {

inline constexpr std::uint32_t kAllLanes = ~0u;
inline constexpr std::uint32_t kSharedWindowHigh =
    0x7fff0000u;                                        // SR_SWINHI: of a generic address in shared memory
inline constexpr std::uint32_t kReservedShared = 1024;  // bytes that the driver keeps at the beginning

struct alignas(64) Lanes {
  std::array<std::uint32_t, 32> value{};
  std::uint32_t& operator[](std::size_t lane) { return value[lane]; }
  std::uint32_t operator[](std::size_t lane) const { return value[lane]; }
};

// Lanes that go on together.
struct Group {
  enum class State : std::uint8_t { ready, at_sync, at_warpsync, at_barrier };
  std::uint32_t mask = 0, pc = 0;  // pc: index of an instruction
  State state = State::ready;
  int barrier = 0;  // that it waits at: of lanes (at_sync) or of the block
};

struct Warp {
  std::uint32_t number = 0, alive = 0;
  std::vector<Group> groups;
  std::array<Lanes, 256> registers{};
  std::array<std::uint32_t, 64> uniform{};
  std::array<std::uint32_t, 8> predicates{};  // a bit a lane
  std::array<bool, 8> uniform_predicates{};
  std::array<std::array<std::uint32_t, 32>, 16>
      members{};                    // [barrier of lanes][lane]: whom the lane meets there
  std::vector<std::uint8_t> local;  // [32][bytes of a lane]
};

struct BlockBarrier {
  std::uint32_t arrived = 0, expected = 0;  // threads; expected 0: all that live
};

struct Block {
  const Launch* launch = nullptr;
  const Allocations* allocations = nullptr;
  std::uint32_t x = 0, y = 0, z = 0;
  std::vector<std::uint8_t> shared, constants;  // constants: of bank 0
  std::vector<Warp> warps;
  std::array<BlockBarrier, 16> barriers{};
  bool reduced = false, reducing = false;  // BAR.RED: of the last barrier, of the one that fills
  bool reduces_with_and = false;
  BlockTrace* trace = nullptr;
};

// Issues the next instruction of the warp's group.
void step(Block& block, Warp& warp, std::size_t group);

[[noreturn]] void stop(const Instruction& instruction, const std::string& why);

}  // namespace occam::machine
