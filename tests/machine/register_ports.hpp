// The register banks of a scheduler: registers with even and odd numbers lie in two banks, each of which can be read
// once a cycle. What an instruction reads beyond that spills into the next cycles, and the next instruction waits if it
// needs that bank then. An operand marked .reuse stays at hand for the same slot of the warp's next instruction.
#pragma once

#include <array>
#include <cstdint>

#include "code.hpp"

namespace occam::machine {

struct SourceRegisters {
  struct Source {
    std::uint8_t number = 0, slot = 0;
    bool reuse = false;
  };
  int count = 0;
  std::array<Source, 3> source{};
};

SourceRegisters source_registers(const Instruction& instruction);

class RegisterPorts {
 public:
  // True where the warp's instruction can issue at `now`; its reads are booked then.
  bool read(std::uint64_t now, int warp, const SourceRegisters& sources);

 private:
  static constexpr int kBanks = 2, kSlots = 3;
  std::array<std::uint64_t, kBanks> free_{};  // the first cycle at which nothing of the bank is booked
  int warp_ = -1;                             // whose operands are at hand
  using AtHand = std::array<std::array<int, kSlots>, kBanks>;  // a register, or -1
  static constexpr AtHand kNothing{{{-1, -1, -1}, {-1, -1, -1}}};
  AtHand at_hand_ = kNothing;
};

}  // namespace occam::machine
