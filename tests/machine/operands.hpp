// What an instruction reads and writes, lane by lane.
#pragma once

#include "state.hpp"

namespace occam::machine {

template <class To, class From>
To bits(From from) {
  return std::bit_cast<To>(from);
}

// Of a mask that has one.
inline std::size_t first_lane(std::uint32_t mask) {
  return static_cast<std::size_t>(std::countr_zero(mask)) % 32;
}

// f(lane) for every lane of the mask.
template <class F>
inline void each(std::uint32_t mask, F f) {
  if (mask == kAllLanes) {
    for (std::size_t l = 0; l < 32; ++l) f(l);
  } else {
    for (; mask; mask &= mask - 1) f(first_lane(mask));
  }
}

class Operands {
 public:
  Operands(const Block& block, Warp& warp, const Instruction& instruction)
      : block_(block), warp_(warp), i_(instruction) {}

  // 32 bits of each lane, without a sign. of_pair: 1 for the register that follows. What is the same in all lanes is
  // written into `buffer`.
  const Lanes& raw(const Operand& o, Lanes& buffer, int of_pair = 0) const {
    static const Lanes zeros;
    if (o.kind != Operand::Kind::reg) return buffer.value.fill(scalar(o, of_pair)), buffer;
    return o.index == kZeroRegister ? zeros : warp_.registers[at(o.index + of_pair)];
  }
  std::uint32_t scalar(const Operand& o, int of_pair = 0) const {
    switch (o.kind) {
      case Operand::Kind::ureg: return o.index == kZeroUniform ? 0 : warp_.uniform[at(o.index + of_pair)];
      case Operand::Kind::immediate: return of_pair == 0 ? o.value : 0;
      default: stop(i_, "an operand that is not a number");
    }
  }
  // `bytes` of a constant bank from o's offset plus `base` on.
  void constant(const Operand& o, std::uint32_t base, void* to, std::size_t bytes) const {
    const std::size_t from = base + static_cast<std::uint32_t>(o.offset) + uniform_base(o);
    const std::vector<std::uint8_t>* bank = &block_.constants;
    if (o.bank != 0) {
      const auto found = block_.launch->code->constants.find(o.bank);
      if (found == block_.launch->code->constants.end()) stop(i_, "no such constant bank");
      bank = &found->second;
    }
    if (from + bytes > bank->size()) stop(i_, "a constant bank is read beyond its end");
    std::memcpy(to, bank->data() + from, bytes);
  }
  std::uint32_t uniform_base(const Operand& o) const {
    return o.uniform == kZeroUniform ? 0 : warp_.uniform[at(o.uniform)];
  }

  const Lanes& integer(const Operand& o, Lanes& buffer) const {
    const Lanes& r = raw(o, buffer);
    if (!o.negative && !o.inverted) return r;
    for (std::size_t l = 0; l < 32; ++l) buffer[l] = o.negative ? 0u - r[l] : ~r[l];
    return buffer;
  }
  const Lanes& real(const Operand& o, Lanes& buffer) const {
    const Lanes& r = raw(o, buffer);
    if (!o.negative && !o.absolute) return r;
    const std::uint32_t kept = o.absolute ? 0x7fffffffu : kAllLanes, turned = o.negative ? 0x80000000u : 0;
    for (std::size_t l = 0; l < 32; ++l) buffer[l] = (r[l] & kept) ^ turned;
    return buffer;
  }
  std::uint64_t pair(const Operand& o, std::size_t lane) const {
    if (o.kind == Operand::Kind::immediate)
      return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(o.value)));
    if (o.kind != Operand::Kind::reg) {
      if (o.kind == Operand::Kind::ureg && o.index == kZeroUniform) return 0;
      return scalar(o) | std::uint64_t{scalar(o, 1)} << 32;
    }
    if (o.index == kZeroRegister) return 0;
    return warp_.registers[at(o.index)][lane] | std::uint64_t{warp_.registers[at(o.index + 1)][lane]} << 32;
  }
  double twice(const Operand& o, std::size_t lane) const {
    std::uint64_t x = o.kind == Operand::Kind::immediate ? std::uint64_t{o.value} << 32 : pair(o, lane);
    if (o.absolute) x &= ~(1ull << 63);
    if (o.negative) x ^= 1ull << 63;
    return bits<double>(x);
  }
  // A bit a lane.
  std::uint32_t predicate(const Operand& o) const {
    std::uint32_t p = 0;
    if (o.kind == Operand::Kind::upred)
      p = warp_.uniform_predicates[at(o.index)] ? kAllLanes : 0;
    else if (o.kind == Operand::Kind::pred)
      p = warp_.predicates[at(o.index)];
    else
      stop(i_, "an operand that is not a predicate");
    return o.inverted ? ~p : p;
  }

  void put(const Operand& o, std::uint32_t mask, const Lanes& value, int of_pair = 0) const {
    if (o.kind == Operand::Kind::ureg) {
      if (o.index != kZeroUniform) warp_.uniform[at(o.index + of_pair)] = value[first_lane(mask)];
      return;
    }
    if (o.kind != Operand::Kind::reg) stop(i_, "a result that is no register");
    if (o.index == kZeroRegister) return;
    Lanes& r = warp_.registers[at(o.index + of_pair)];
    if (mask == kAllLanes)
      r = value;
    else
      each(mask, [&](std::size_t l) { r[l] = value[l]; });
  }
  void put_pair(const Operand& o, std::uint32_t mask, const std::array<std::uint64_t, 32>& value) const {
    Lanes low, high;
    for (std::size_t l = 0; l < 32; ++l)
      low[l] = static_cast<std::uint32_t>(value[l]), high[l] = static_cast<std::uint32_t>(value[l] >> 32);
    put(o, mask, low);
    put(o, mask, high, 1);
  }
  void put_predicate(const Operand& o, std::uint32_t mask, std::uint32_t value) const {
    if (o.index == kTrue) return;
    if (o.kind == Operand::Kind::upred) {
      warp_.uniform_predicates[at(o.index)] = (value & mask) != 0;
    } else {
      std::uint32_t& p = warp_.predicates[at(o.index)];
      p = (p & ~mask) | (value & mask);
    }
  }

 private:
  static std::size_t at(int index) { return static_cast<std::size_t>(index); }

  const Block& block_;
  Warp& warp_;
  const Instruction& i_;
};

// A float that is none has one form.
inline std::uint32_t canonical(float x) { return x != x ? 0x7fffffffu : bits<std::uint32_t>(x); }

// Bit by bit: that bit of `table` whose number is a b c, read as three digits.
inline std::uint32_t looked_up(std::uint32_t table, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t out = 0;
  for (std::uint32_t k = 0; k < 8; ++k)
    if (table >> k & 1) out |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
  return out;
}

// What the lanes of `mask` do. access: returns wavefronts of shared memory, or sectors of global memory.
void integers(Block& block, Warp& warp, const Instruction& instruction, std::uint32_t mask);
void floats(Block& block, Warp& warp, const Instruction& instruction, std::uint32_t mask);
void collectives(Block& block, Warp& warp, const Instruction& instruction, std::uint32_t mask);
void tensor(Block& block, Warp& warp, const Instruction& instruction, std::uint32_t mask);
std::uint16_t access(Block& block, Warp& warp, const Instruction& instruction, std::uint32_t mask);

}  // namespace occam::machine
