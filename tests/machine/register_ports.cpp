#include "register_ports.hpp"

#include <algorithm>

namespace occam::machine {

SourceRegisters source_registers(const Instruction& instruction) {
  SourceRegisters sources;
  for (int k = instruction.first; k < instruction.count && sources.count < 3; ++k) {
    const Operand& o = instruction.operand[static_cast<std::size_t>(k)];
    if (o.kind != Operand::Kind::reg || o.index == kZeroRegister) continue;
    sources.source[static_cast<std::size_t>(sources.count++)] = {
        static_cast<std::uint8_t>(o.index), static_cast<std::uint8_t>(k - instruction.first), o.reuse};
  }
  return sources;
}

bool RegisterPorts::read(std::uint64_t now, int warp, const SourceRegisters& sources) {
  AtHand at_hand = warp_ == warp ? at_hand_ : kNothing;
  std::array<int, kBanks> needed{};
  for (int s = 0; s < sources.count; ++s) {
    const auto& source = sources.source[static_cast<std::size_t>(s)];
    if (source.slot >= kSlots || at_hand[source.number % kBanks][source.slot] != source.number)
      ++needed[source.number % kBanks];
  }
  for (std::size_t bank = 0; bank < kBanks; ++bank)
    if (needed[bank] > 0 && free_[bank] > now) return false;
  for (std::size_t bank = 0; bank < kBanks; ++bank)
    if (needed[bank] > 0) free_[bank] = now + static_cast<std::uint64_t>(needed[bank]);
  for (int s = 0; s < sources.count; ++s) {
    const auto& source = sources.source[static_cast<std::size_t>(s)];
    if (source.slot < kSlots)
      at_hand[source.number % kBanks][source.slot] = source.reuse ? source.number : -1;
  }
  at_hand_ = at_hand;
  warp_ = warp;
  return true;
}

}  // namespace occam::machine
