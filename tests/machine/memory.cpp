// Loads and stores. Copies to shared memory (LDGSTS) are done at once.
#include <algorithm>
#include <set>

#include "operands.hpp"
#include "wavefronts.hpp"

namespace occam::machine {
namespace {

class Access {
 public:
  Access(Block& block, Warp& warp, const Instruction& i, std::uint32_t mask)
      : block_(block), warp_(warp), i_(i), mask_(mask), on_(block, warp, i) {}

  std::uint16_t load_shared() {
    each_address([&](std::size_t l, std::uint32_t a) { loaded(l, shared(a, i_.bytes, l)); });
    return wavefronts(addresses_, mask_, i_.bytes, true);
  }
  std::uint16_t store_shared() {
    each_address([&](std::size_t l, std::uint32_t a) { stored(l, shared(a, i_.bytes, l)); });
    return wavefronts(addresses_, mask_, i_.bytes, false);
  }
  std::uint16_t local() {
    each_address([&](std::size_t l, std::uint32_t a) {
      const std::size_t of_lane = warp_.local.size() / 32;
      if (a + i_.bytes > of_lane) stop(i_, "local memory at " + std::to_string(a) + who(l));
      std::uint8_t* const p = warp_.local.data() + l * of_lane + a;
      i_.op == Op::ldl ? loaded(l, p) : stored(l, p);
    });
    return static_cast<std::uint16_t>(words());
  }
  std::uint16_t global() {
    if (i_.count > 2) stop(i_, "an operand that has no meaning here");
    each(mask_, [&](std::size_t l) {
      std::uint8_t* const p = at_global(place(), i_.bytes, l);
      i_.op == Op::ldg ? loaded(l, p) : stored(l, p);
    });
    return sectors();
  }
  // Lanes whose predicate is not set, behind the addresses, get zeros and read nothing.
  std::uint16_t copy() {
    const std::uint32_t reads = i_.count > 2 ? on_.predicate(i_.operand[2]) : kAllLanes, all = mask_;
    mask_ = all & ~reads;
    each_address([&](std::size_t l, std::uint32_t a) { std::memset(shared(a, i_.bytes, l), 0, i_.bytes); });
    mask_ = all & reads;
    each_address([&](std::size_t l, std::uint32_t a) {
      const std::uint8_t* const from = at_global(i_.operand[1], i_.bytes, l);
      std::memcpy(shared(a, i_.bytes, l), from, i_.bytes);
    });
    return sectors();
  }
  void load_constant() {
    const Operand& to = i_.operand[0];
    std::array<std::uint32_t, 4> data{};
    if (to.kind == Operand::Kind::ureg) {
      on_.constant(place(), 0, data.data(), i_.bytes);
      for (std::size_t w = 0; w < words() && to.index != kZeroUniform; ++w)
        warp_.uniform[static_cast<std::size_t>(to.index) + w] = data[w];
      return;
    }
    each(mask_, [&](std::size_t l) {
      data = {};
      on_.constant(place(), base(l), data.data(), i_.bytes);
      loaded(l, reinterpret_cast<const std::uint8_t*>(data.data()));
    });
  }
  // Nobody asks for what stood there before.
  void update() {
    if (i_.op == Op::atoms && i_.operand[0].index != kZeroRegister) stop(i_, "the value before is asked for");
    each(mask_, [&](std::size_t l) {
      std::uint8_t* const p = i_.op == Op::atoms ? shared(address(l), 4, l) : at_global(place(), 4, l);
      std::uint32_t old = 0;
      std::memcpy(&old, p, 4);
      const std::uint32_t x = warp_.registers[static_cast<std::size_t>(i_.operand[i_.count - 1u].index)][l];
      const bool less =
          i_.has(kSigned) ? static_cast<std::int32_t>(x) < static_cast<std::int32_t>(old) : x < old;
      switch (i_.mode) {
        case Mode::or_: old |= x; break;
        case Mode::min: old = less ? x : old; break;
        case Mode::max: old = less ? old : x; break;
        default: stop(i_, "no meaning here");
      }
      std::memcpy(p, &old, 4);
    });
  }
  // 8 x 8 matrices of 16 bits; lanes 8 m to 8 m + 7 have the addresses of matrix m's rows.
  std::uint16_t load_matrices() {
    if (mask_ != kAllLanes) stop(i_, "some lanes load matrices");
    mask_ = i_.matrices == 4 ? kAllLanes : (1u << 8 * i_.matrices) - 1;
    std::array<std::array<std::uint16_t, 64>, 4> matrix{};
    each_address([&](std::size_t l, std::uint32_t a) {
      std::memcpy(&matrix[l / 8][8 * (l % 8)], shared(a, 16, l), 16);
    });
    for (std::size_t k = 0; k < i_.matrices; ++k)
      for (std::size_t l = 0; l < 32; ++l) {
        const auto cell = [&](std::size_t row, std::size_t column) -> std::uint32_t {
          return i_.has(kTransposed) ? matrix[k][8 * column + row] : matrix[k][8 * row + column];
        };
        const std::size_t row = l / 4, column = 2 * (l % 4);
        warp_.registers[static_cast<std::size_t>(i_.operand[0].index) + k][l] =
            cell(row, column) | cell(row, column + 1) << 16;
      }
    return wavefronts(addresses_, mask_, 16, false);
  }

 private:
  std::size_t words() const { return std::max<std::size_t>(i_.bytes / 4u, 1); }

  const Operand& place() const {
    for (const Operand& o : i_.operand)
      if (o.kind == Operand::Kind::memory || o.kind == Operand::Kind::constant) return o;
    stop(i_, "no address");
  }
  std::uint32_t base(std::size_t l) const {
    const int index = place().index;
    return index == kZeroRegister ? 0 : warp_.registers[static_cast<std::size_t>(index)][l];
  }
  std::uint32_t address(std::size_t l) const {
    return base(l) + on_.uniform_base(place()) + static_cast<std::uint32_t>(place().offset);
  }
  template <class F>
  void each_address(const F& f) {
    each(mask_, [&](std::size_t l) { f(l, addresses_[l] = address(l)); });
  }

  std::string who(std::size_t l) const {
    return " (block " + std::to_string(block_.x) + ", " + std::to_string(block_.y) + ", thread " +
           std::to_string(32 * warp_.number + l) + ")";
  }
  std::uint8_t* shared(std::uint32_t a, std::size_t bytes, std::size_t l) {
    if (a < kReservedShared || a + bytes > block_.shared.size())
      stop(i_, "shared memory at " + std::to_string(a) + " of " + std::to_string(block_.shared.size()) +
                   " bytes" + who(l));
    if (a % bytes != 0) stop(i_, "shared memory at " + std::to_string(a) + ", not aligned" + who(l));
    return block_.shared.data() + a;
  }
  std::uint8_t* at_global(Operand o, std::size_t bytes, std::size_t l) {
    const auto offset = static_cast<std::uint64_t>(static_cast<std::int64_t>(o.offset));
    o.kind = Operand::Kind::reg;
    std::uint64_t a = on_.pair(o, l) + offset;
    if (o.uniform != kZeroUniform) {
      const auto u = static_cast<std::size_t>(o.uniform);
      a += warp_.uniform[u] | std::uint64_t{warp_.uniform[u + 1]} << 32;
    }
    if (a >> 32 == kSharedWindowHigh) return shared(static_cast<std::uint32_t>(a), bytes, l);
    sectors_.insert(a / 32);
    auto allocation = block_.allocations->upper_bound(a);
    if (allocation == block_.allocations->begin()) stop(i_, "memory that nobody has" + who(l));
    --allocation;
    if (a + bytes > allocation->first + allocation->second)
      stop(i_, std::to_string(a + bytes - allocation->first - allocation->second) +
                   " bytes beyond an allocation of " + std::to_string(allocation->second) + who(l));
    if (a % bytes != 0) stop(i_, "memory, not aligned" + who(l));
    return reinterpret_cast<std::uint8_t*>(a);
  }
  std::uint16_t sectors() const { return static_cast<std::uint16_t>(sectors_.size()); }

  void loaded(std::size_t l, const std::uint8_t* from) {
    const int to = i_.operand[0].index;
    for (std::size_t w = 0; w < words() && to != kZeroRegister; ++w) {
      std::uint32_t x = 0;
      std::memcpy(&x, from + 4 * w, std::min<std::size_t>(i_.bytes, 4));
      if (i_.has(kSigned) && i_.bytes == 2) x = static_cast<std::uint32_t>(static_cast<std::int16_t>(x));
      warp_.registers[static_cast<std::size_t>(to) + w][l] = x;
    }
  }
  void stored(std::size_t l, std::uint8_t* to) const {
    const Operand& what = i_.operand[1];
    for (std::size_t w = 0; w < words(); ++w) {
      const std::uint32_t x = what.kind != Operand::Kind::reg ? on_.scalar(what)
                              : what.index == kZeroRegister
                                  ? 0
                                  : warp_.registers[static_cast<std::size_t>(what.index) + w][l];
      std::memcpy(to + 4 * w, &x, std::min<std::size_t>(i_.bytes, 4));
    }
  }

  Block& block_;
  Warp& warp_;
  const Instruction& i_;
  std::uint32_t mask_;
  const Operands on_;
  std::array<std::uint32_t, 32> addresses_{};
  std::set<std::uint64_t> sectors_;
};

}  // namespace

std::uint16_t access(Block& block, Warp& warp, const Instruction& instruction, std::uint32_t mask) {
  Access access(block, warp, instruction, mask);
  switch (instruction.op) {
    case Op::lds: return access.load_shared();
    case Op::sts: return access.store_shared();
    case Op::ldl:
    case Op::stl: return access.local();
    case Op::ldg:
    case Op::stg: return access.global();
    case Op::ldgsts: return access.copy();
    case Op::ldsm: return access.load_matrices();
    case Op::ldc: return access.load_constant(), 0;
    default: return access.update(), 1;
  }
}

}  // namespace occam::machine
