// Integer arithmetic, comparisons, shifts, selections.
#include <algorithm>

#include "operands.hpp"

namespace occam::machine {
namespace {

bool compared(Compare c, std::int64_t a, std::int64_t b) {
  switch (c) {
    case Compare::lt: return a < b;
    case Compare::le: return a <= b;
    case Compare::gt: return a > b;
    case Compare::ge: return a >= b;
    case Compare::eq: return a == b;
    case Compare::ne: return a != b;
    default: return false;
  }
}

std::uint32_t combined(Combine c, std::uint32_t a, std::uint32_t b) {
  return c == Combine::and_ ? a & b : c == Combine::or_ ? a | b : a ^ b;
}

std::uint32_t permuted(std::uint32_t a, std::uint32_t selector, std::uint32_t c) {
  const std::uint64_t bytes = a | std::uint64_t{c} << 32;
  std::uint32_t out = 0;
  for (std::uint32_t k = 0; k < 4; ++k) {
    const std::uint32_t nibble = selector >> 4 * k & 15;
    std::uint32_t byte = static_cast<std::uint32_t>(bytes >> 8 * (nibble & 7)) & 255;
    if (nibble & 8) byte = byte & 128 ? 255 : 0;
    out |= byte << 8 * k;
  }
  return out;
}

}  // namespace

void integers(Block& block, Warp& warp, const Instruction& i, std::uint32_t mask) {
  const Operands on(block, warp, i);
  if (i.has(kUniform)) mask &= 0u - mask;  // once
  const auto& o = i.operand;
  const std::size_t s = i.first;
  Lanes ba, bb, bc, out;
  const bool is_u32 = i.has(kU32);
  switch (i.op) {
    case Op::mov: return on.put(o[0], mask, on.integer(o[1], ba));
    case Op::sel: {
      const Lanes &a = on.integer(o[1], ba), &b = on.integer(o[2], bb);
      const std::uint32_t p = on.predicate(o[3]);
      each(kAllLanes, [&](std::size_t l) { out[l] = p >> l & 1 ? a[l] : b[l]; });
      return on.put(o[0], mask, out);
    }
    case Op::iabs: {
      const Lanes& a = on.integer(o[1], ba);
      each(kAllLanes, [&](std::size_t l) { out[l] = a[l] >> 31 ? 0u - a[l] : a[l]; });
      return on.put(o[0], mask, out);
    }
    case Op::popc: {
      const Lanes& a = on.integer(o[1], ba);
      each(kAllLanes, [&](std::size_t l) { out[l] = static_cast<std::uint32_t>(std::popcount(a[l])); });
      return on.put(o[0], mask, out);
    }
    case Op::viadd: {
      const Lanes &a = on.integer(o[1], ba), &b = on.integer(o[2], bb);
      each(kAllLanes, [&](std::size_t l) { out[l] = a[l] + b[l]; });
      return on.put(o[0], mask, out);
    }
    case Op::viaddmnmx:
    case Op::vimnmx:
    case Op::vimnmx3: {
      const bool three = i.op != Op::vimnmx;
      const Lanes &a = on.integer(o[1], ba), &b = on.integer(o[2], bb);
      const Lanes& c = three ? on.integer(o[3], bc) : b;
      const std::uint32_t least = on.predicate(o[three ? 4 : 3]);
      const auto pick = [&](std::uint32_t x, std::uint32_t y, bool min) {
        const bool less = is_u32 ? x < y : static_cast<std::int32_t>(x) < static_cast<std::int32_t>(y);
        return less == min ? x : y;
      };
      each(kAllLanes, [&](std::size_t l) {
        const bool min = least >> l & 1;
        if (i.op == Op::viaddmnmx)
          out[l] = pick(a[l] + b[l], c[l], min);
        else if (i.op == Op::vimnmx)
          out[l] = pick(a[l], b[l], min);
        else
          out[l] = pick(pick(a[l], b[l], min), c[l], min);
        if (i.has(kRelu) && static_cast<std::int32_t>(out[l]) < 0) out[l] = 0;
      });
      return on.put(o[0], mask, out);
    }
    case Op::iadd3: {
      const Lanes &a = on.raw(o[s], ba), &b = on.raw(o[s + 1], bb), &c = on.raw(o[s + 2], bc);
      const std::uint32_t in1 = i.has(kX) ? on.predicate(o[s + 3]) : 0;
      const std::uint32_t in2 = i.has(kX) && s + 4 < i.count ? on.predicate(o[s + 4]) : 0;
      std::uint32_t one = 0, two = 0;
      const auto term = [](const Operand& x, std::uint32_t v) -> std::uint64_t {
        if (x.negative) return std::uint64_t{~v} + 1;
        return x.inverted ? ~v : v;
      };
      each(kAllLanes, [&](std::size_t l) {
        const std::uint64_t sum =
            term(o[s], a[l]) + term(o[s + 1], b[l]) + term(o[s + 2], c[l]) + (in1 >> l & 1) + (in2 >> l & 1);
        out[l] = static_cast<std::uint32_t>(sum);
        const std::uint64_t carry = sum >> 32;
        one |= std::uint32_t{carry >= 1} << l;
        two |= std::uint32_t{carry >= 2} << l;
      });
      on.put(o[0], mask, out);
      if (s > 1) on.put_predicate(o[1], mask, one);
      if (s > 2) on.put_predicate(o[2], mask, two);
      return;
    }
    case Op::imad: {
      const Lanes &a = on.integer(o[s], ba), &b = on.integer(o[s + 1], bb);
      const auto product = [&](std::size_t l) -> std::uint64_t {
        if (is_u32) return std::uint64_t{a[l]} * b[l];
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(a[l])) *
                                          static_cast<std::int32_t>(b[l]));
      };
      if (i.has(kWide | kHi)) {
        const Operand& c = o[s + 2];
        if (c.negative) stop(i, "a sign of a pair");
        std::array<std::uint64_t, 32> sums{};
        std::uint32_t carries = 0;
        const std::uint32_t in = i.has(kX) ? on.predicate(o[s + 3]) : 0;
        each(mask, [&](std::size_t l) {
          const std::uint64_t x = product(l);
          const std::uint64_t addend = c.inverted ? ~on.pair(c, l) : on.pair(c, l);
          sums[l] = x + addend + (in >> l & 1);
          carries |= std::uint32_t{sums[l] < x} << l;
          out[l] = static_cast<std::uint32_t>(sums[l] >> 32);
        });
        if (i.has(kHi))
          on.put(o[0], mask, out);
        else
          on.put_pair(o[0], mask, sums);
        if (s > 1) on.put_predicate(o[1], mask, carries);
        return;
      }
      if (s > 1) stop(i, "a carry of a product");
      const Lanes& c = on.integer(o[s + 2], bc);
      const std::uint32_t in = i.has(kX) ? on.predicate(o[s + 3]) : 0;
      each(kAllLanes, [&](std::size_t l) { out[l] = a[l] * b[l] + c[l] + (in >> l & 1); });
      return on.put(o[0], mask, out);
    }
    case Op::lea: {
      const Lanes &a = on.integer(o[s], ba), &b = on.integer(o[s + 1], bb);
      const bool high = i.has(kHi), extend = i.has(kSx32);
      const std::size_t after = s + (high && !extend ? 3u : 2u);
      const Lanes& c = high && !extend ? on.integer(o[s + 2], bc) : a;
      const std::uint32_t shift = on.scalar(o[after]) & 31;
      const std::uint32_t in = i.has(kX) ? on.predicate(o[after + 1]) : 0;
      std::uint32_t carries = 0;
      const bool minus = o[s + 1].negative;
      Lanes bare;
      const Lanes& b_raw = on.raw(o[s + 1], bare);
      each(kAllLanes, [&](std::size_t l) {
        std::uint32_t x;
        if (high) {
          const std::uint64_t wide =
              extend ? static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(a[l])))
                     : a[l] | std::uint64_t{c[l]} << 32;
          x = static_cast<std::uint32_t>(wide << shift >> 32);
        } else {
          x = a[l] << shift;
        }
        const std::uint64_t sum =
            std::uint64_t{x} + (minus ? std::uint64_t{~b_raw[l]} + 1 : b[l]) + (in >> l & 1);
        out[l] = static_cast<std::uint32_t>(sum);
        carries |= std::uint32_t{sum >> 32 != 0} << l;
      });
      on.put(o[0], mask, out);
      if (s > 1) on.put_predicate(o[1], mask, carries);
      return;
    }
    case Op::lop3: {
      const bool flag = o[0].kind == Operand::Kind::pred || o[0].kind == Operand::Kind::upred;
      const std::size_t d = flag ? 1 : 0;
      const Lanes &a = on.integer(o[d + 1], ba), &b = on.integer(o[d + 2], bb), &c = on.integer(o[d + 3], bc);
      const std::uint32_t lut = o[d + 4].value;
      std::uint32_t some = on.predicate(o[d + 5]);
      each(kAllLanes, [&](std::size_t l) {
        out[l] = looked_up(lut, a[l], b[l], c[l]);
        some |= std::uint32_t{out[l] != 0} << l;
      });
      on.put(o[d], mask, out);
      if (flag) on.put_predicate(o[0], mask, some);
      return;
    }
    case Op::shf: {
      const Lanes &a = on.integer(o[1], ba), &b = on.integer(o[2], bb), &c = on.integer(o[3], bc);
      const bool left = i.has(kLeft), high = i.has(kHi), wide = i.has(kU64 | kS64),
                 with_sign = i.has(kS64 | kSigned);
      each(kAllLanes, [&](std::size_t l) {
        const std::uint32_t most = wide ? 63u : 32u,
                            by = i.has(kWrap) ? b[l] & (wide ? 63u : 31u) : std::min(b[l], most);
        const std::uint64_t both = a[l] | std::uint64_t{c[l]} << 32;
        if (left && wide)
          out[l] = static_cast<std::uint32_t>((high ? both << by >> 32 : both << by));
        else if (left)
          out[l] = high ? static_cast<std::uint32_t>(both << by >> 32) : by >= 32 ? 0 : a[l] << by;
        else if (wide)
          out[l] = static_cast<std::uint32_t>(
              with_sign ? static_cast<std::uint64_t>(static_cast<std::int64_t>(both) >> by) : both >> by);
        else if (high)
          out[l] = with_sign
                       ? static_cast<std::uint32_t>(static_cast<std::int32_t>(c[l]) >> std::min(by, 31u))
                   : by >= 32 ? 0
                              : c[l] >> by;
        else
          out[l] = static_cast<std::uint32_t>(both >> by);
      });
      return on.put(o[0], mask, out);
    }
    case Op::prmt: {
      const Lanes &a = on.integer(o[1], ba), &b = on.integer(o[2], bb), &c = on.integer(o[3], bc);
      each(kAllLanes, [&](std::size_t l) { out[l] = permuted(a[l], b[l], c[l]); });
      return on.put(o[0], mask, out);
    }
    case Op::isetp: {
      const Lanes &a = on.integer(o[2], ba), &b = on.integer(o[3], bb);
      const std::uint32_t with = on.predicate(o[4]);
      const std::uint32_t low = i.has(kEx) ? on.predicate(o[5]) : 0;
      std::uint32_t yes = 0;
      each(kAllLanes, [&](std::size_t l) {
        std::int64_t x = a[l], y = b[l];
        if (!is_u32) x = static_cast<std::int32_t>(a[l]), y = static_cast<std::int32_t>(b[l]);
        bool r = compared(i.compare, x, y);
        if (i.has(kEx) && x == y) r = low >> l & 1;
        yes |= std::uint32_t{r} << l;
      });
      on.put_predicate(o[0], mask, combined(i.combine, yes, with));
      on.put_predicate(o[1], mask, combined(i.combine, ~yes, with));
      return;
    }
    default: stop(i, "no meaning here");
  }
}

}  // namespace occam::machine
