// Loads and stores: every one is checked for its bounds and its alignment.
#include <algorithm>
#include <set>

#include "operands.hpp"

namespace occam::machine {
namespace {

constexpr std::uint64_t kSharedWindow = 0x7fff0000ull << 32;

std::string where(const Block& block, const Warp& warp, std::size_t l) {
  return " (block " + std::to_string(block.x) + "," + std::to_string(block.y) + ", thread " + std::to_string(32 * warp.number + l) + ")";
}

std::uint8_t* shared_at(Block& block, const Warp& warp, const Instruction& i, std::uint32_t address, std::size_t bytes, std::size_t l) {
  if (address < kReservedShared || address + bytes > block.shared.size())
    stop(i, "shared memory at " + std::to_string(address) + " of " + std::to_string(block.shared.size()) + where(block, warp, l));
  if (address % bytes) stop(i, "shared memory, not aligned" + where(block, warp, l));
  return block.shared.data() + address;
}

std::uint8_t* global_at(Block& block, const Warp& warp, const Instruction& i, std::uint64_t address, std::size_t bytes, std::size_t l) {
  if (address >= kSharedWindow && address < kSharedWindow + (1ull << 32))
    return shared_at(block, warp, i, static_cast<std::uint32_t>(address), bytes, l);
  thread_local std::uintptr_t first = 1, end = 0;
  if (address < first || address + bytes > end) {
    auto at = block.allocations->upper_bound(address);
    if (at == block.allocations->begin()) stop(i, "memory that nobody has, " + std::to_string(address) + where(block, warp, l));
    --at;
    first = at->first;
    end = at->first + at->second;
    if (address + bytes > end) {
      const std::string by = std::to_string(address + bytes - end);
      first = 1, end = 0;
      stop(i, by + " bytes past an allocation of " + std::to_string(at->second) + " at " + std::to_string(at->first) + where(block, warp, l));
    }
  }
  if (address % bytes) stop(i, "memory, not aligned" + where(block, warp, l));
  return reinterpret_cast<std::uint8_t*>(address);
}

// Wavefronts of an access to shared memory: 128 bytes each, a word of a bank once.
// Loads of 8 or 16 bytes serve twice as many lanes at a time where lanes l and l ^ 1, or l and l ^ 2, read the same.
std::uint16_t wavefronts(const std::array<std::uint32_t, 32>& address, std::uint32_t mask, std::size_t bytes, bool load) {
  std::size_t lanes = bytes == 16 ? 8 : bytes == 8 ? 16 : 32;
  const auto alike = [&](std::size_t apart) {
    bool all = true;
    each(mask, [&](std::size_t l) { all &= !(mask >> (l ^ apart) & 1) || address[l] == address[l ^ apart]; });
    return all;
  };
  if (load && bytes > 4 && (alike(1) || alike(2))) lanes *= 2;
  std::uint16_t total = 0;
  for (std::size_t part = 0; part < 32; part += lanes) {
    std::array<std::array<std::uint32_t, 33>, 32> words;  // of a bank: [0] how many
    for (auto& w : words) w[0] = 0;
    bool any = false;
    for (std::size_t l = part; l < part + lanes; ++l) {
      if (!(mask >> l & 1)) continue;
      any = true;
      for (std::size_t b = 0; b < std::max<std::size_t>(bytes, 4); b += 4) {
        const std::uint32_t word = (address[l] + static_cast<std::uint32_t>(b)) / 4;
        auto& w = words[word % 32];
        if (std::find(w.begin() + 1, w.begin() + 1 + w[0], word) == w.begin() + 1 + w[0] && w[0] < 32) w[1 + w[0]] = word, ++w[0];
      }
    }
    std::uint32_t most = 0;
    for (const auto& w : words) most = std::max(most, w[0]);
    if (any) total = static_cast<std::uint16_t>(total + most);
  }
  return total;
}

}  // namespace

void memory_access(Block& block, Warp& warp, const Instruction& i, std::uint32_t mask, std::uint16_t& cost) {
  const Reader read(block, warp, i);
  const auto& o = i.operand;
  const std::size_t bytes = i.bytes;
  const std::size_t words = std::max<std::size_t>(bytes / 4, 1);
  std::size_t at = 0;  // the address among the operands
  while (at < i.count && o[at].kind != Operand::Kind::memory && o[at].kind != Operand::Kind::constant) ++at;
  const Operand& place = o[at];
  const std::uint32_t base = place.uniform == 63 ? 0 : warp.uniform[static_cast<std::size_t>(place.uniform)];
  Lanes buffer;
  Operand index = place;
  index.kind = Operand::Kind::reg;
  const auto address32 = [&](std::size_t l) {
    return (place.index == 255 ? 0 : warp.registers[static_cast<std::size_t>(place.index)][l]) + base + static_cast<std::uint32_t>(place.offset);
  };
  const auto address64 = [&](std::size_t l) {
    std::uint64_t a = read.pair(index, l) + static_cast<std::uint64_t>(static_cast<std::int64_t>(place.offset));
    if (place.uniform != 63) a += warp.uniform[static_cast<std::size_t>(place.uniform)] | std::uint64_t{warp.uniform[static_cast<std::size_t>(place.uniform) + 1]} << 32;
    return a;
  };
  const auto loaded = [&](const Operand& to, std::size_t l, const std::uint8_t* from) {
    if (to.index == 255) return;
    for (std::size_t w = 0; w < words; ++w) {
      std::uint32_t x = 0;
      std::memcpy(&x, from + 4 * w, std::min<std::size_t>(bytes, 4));
      if (i.flags & kSigned && bytes == 2) x = static_cast<std::uint32_t>(static_cast<std::int16_t>(x));
      warp.registers[static_cast<std::size_t>(to.index) + w][l] = x;
    }
  };
  const auto stored = [&](const Operand& what, std::size_t l, std::uint8_t* to) {
    for (std::size_t w = 0; w < words; ++w) {
      const std::uint32_t x = what.kind != Operand::Kind::reg ? read.scalar(what) : what.index == 255 ? 0 : warp.registers[static_cast<std::size_t>(what.index) + w][l];
      std::memcpy(to + 4 * w, &x, std::min<std::size_t>(bytes, 4));
    }
  };
  std::array<std::uint32_t, 32> addresses{};
  switch (i.op) {
    case Op::lds:
      each(mask, [&](std::size_t l) {
        addresses[l] = address32(l);
        loaded(o[0], l, shared_at(block, warp, i, addresses[l], bytes, l));
      });
      cost = wavefronts(addresses, mask, bytes, true);
      return;
    case Op::sts:
      each(mask, [&](std::size_t l) {
        addresses[l] = address32(l);
        stored(o[1], l, shared_at(block, warp, i, addresses[l], bytes, l));
      });
      cost = wavefronts(addresses, mask, bytes, false);
      return;
    case Op::ldl:
    case Op::stl:
      each(mask, [&](std::size_t l) {
        const std::uint32_t a = address32(l);
        const std::size_t frame = warp.local.size() / 32;
        if (a + bytes > frame) stop(i, "local memory at " + std::to_string(a));
        std::uint8_t* p = warp.local.data() + l * frame + a;
        if (i.op == Op::ldl) loaded(o[0], l, p);
        else stored(o[1], l, p);
      });
      cost = static_cast<std::uint16_t>(words);
      return;
    case Op::ldg:
    case Op::stg: {
      std::set<std::uint64_t> sectors;
      each(mask, [&](std::size_t l) {
        const std::uint64_t a = address64(l);
        sectors.insert(a / 32);
        std::uint8_t* p = global_at(block, warp, i, a, bytes, l);
        if (i.op == Op::ldg) loaded(o[0], l, p);
        else stored(o[1], l, p);
      });
      cost = static_cast<std::uint16_t>(sectors.size());
      return;
    }
    case Op::ldgsts: {
      const Operand& from = o[1];
      Operand pair = from;
      pair.kind = Operand::Kind::reg;
      std::set<std::uint64_t> sectors;
      each(mask, [&](std::size_t l) {
        const std::uint64_t a = read.pair(pair, l) + static_cast<std::uint64_t>(static_cast<std::int64_t>(from.offset));
        sectors.insert(a / 32);
        std::memcpy(shared_at(block, warp, i, address32(l), bytes, l), global_at(block, warp, i, a, bytes, l), bytes);
      });
      cost = static_cast<std::uint16_t>(sectors.size());
      return;
    }
    case Op::ldc:
      if (o[0].kind == Operand::Kind::ureg) {
        std::uint32_t data[4] = {};  // the index may lie in what is loaded
        read.constant(place, 0, 0, data, bytes);
        for (std::size_t w = 0; w < words; ++w)
          if (o[0].index != 63) warp.uniform[static_cast<std::size_t>(o[0].index) + w] = data[w];
        return;
      }
      each(mask, [&](std::size_t l) {
        std::uint8_t data[16] = {};
        read.constant(place, place.index == 255 ? 0 : warp.registers[static_cast<std::size_t>(place.index)][l], 0, data, bytes);
        loaded(o[0], l, data);
      });
      return;
    case Op::atoms:
    case Op::redg:
      each(mask, [&](std::size_t l) {
        std::uint8_t* p = i.op == Op::atoms ? shared_at(block, warp, i, address32(l), 4, l) : global_at(block, warp, i, address64(l), 4, l);
        std::uint32_t old;
        std::memcpy(&old, p, 4);
        const std::uint32_t x = warp.registers[static_cast<std::size_t>(o[i.count - 1u].index)][l];
        const bool less = i.flags & kSigned ? static_cast<std::int32_t>(x) < static_cast<std::int32_t>(old) : x < old;
        std::uint32_t now = old;
        switch (i.mode) {
          case 0: now = old | x; break;
          case 1: now = less ? x : old; break;
          case 2: now = less ? old : x; break;
          default: stop(i, "an atomic operation");
        }
        std::memcpy(p, &now, 4);
        if (i.op == Op::atoms && o[0].index != 255) stop(i, "what stood there before");
      });
      return;
    case Op::ldsm: {  // 8 x 8 matrices of 16 bits; lanes 8m to 8m + 7 have the addresses of matrix m's rows
      if (mask != kAllLanes) stop(i, "some lanes load matrices");
      const std::size_t matrices = i.mode;
      std::array<std::array<std::uint16_t, 64>, 4> m{};
      for (std::size_t l = 0; l < 8 * matrices; ++l) {
        addresses[l] = address32(l);
        std::memcpy(&m[l / 8][8 * (l % 8)], shared_at(block, warp, i, addresses[l], 16, l), 16);
      }
      for (std::size_t k = 0; k < matrices; ++k)
        for (std::size_t l = 0; l < 32; ++l) {
          const std::size_t row = l / 4, column = 2 * (l % 4);
          const auto cell = [&](std::size_t r, std::size_t c) -> std::uint32_t { return i.flags & kTransposed ? m[k][8 * c + r] : m[k][8 * r + c]; };
          warp.registers[static_cast<std::size_t>(o[0].index) + k][l] = cell(row, column) | cell(row, column + 1) << 16;
        }
      cost = wavefronts(addresses, matrices == 4 ? kAllLanes : (1u << 8 * matrices) - 1, 16, false);
      return;
    }
    default: stop(i, "no meaning here");
  }
}

}  // namespace occam::machine
