// Floating point, by IEEE 754 and to the bit: fast approximations (MUFU) are rounded correctly here, and hardware's are
// not; what nvcc makes of divisions and roots comes to the same bits.
#include <algorithm>
#include <cfenv>
#include <cmath>

#include "operands.hpp"

namespace occam::machine {
namespace {

template <class T>
bool compared(Compare c, T a, T b) {
  const bool unordered = a != a || b != b;
  switch (c) {
    case Compare::f: return false;
    case Compare::lt: return a < b;
    case Compare::eq: return a == b;
    case Compare::le: return a <= b;
    case Compare::gt: return a > b;
    case Compare::ne: return !unordered && a != b;
    case Compare::ge: return a >= b;
    case Compare::ltu: return unordered || a < b;
    case Compare::equ: return unordered || a == b;
    case Compare::leu: return unordered || a <= b;
    case Compare::gtu: return unordered || a > b;
    case Compare::neu: return unordered || a != b;
    case Compare::geu: return unordered || a >= b;
    case Compare::num: return !unordered;
    case Compare::nan: return unordered;
  }
  return false;
}

float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

// Runs f with the instruction's rounding.
template <class F>
void rounded(const Instruction& i, F f) {
  const int way = i.has(kUp)     ? FE_UPWARD
                  : i.has(kDown) ? FE_DOWNWARD
                  : i.has(kZero) ? FE_TOWARDZERO
                                 : FE_TONEAREST;
  if (way == FE_TONEAREST) return f();
  std::fesetround(way);
  f();
  std::fesetround(FE_TONEAREST);
}

// True where the short division might go wrong. NVIDIA does not say when; here: near the ends of the exponents.
bool needs_long_division(float a, float b) {
  const int ea = static_cast<int>(bits<std::uint32_t>(a) >> 23 & 255),
            eb = static_cast<int>(bits<std::uint32_t>(b) >> 23 & 255);
  if (a == 0 && eb > 1 && eb < 252) return false;
  return ea < 25 || ea == 255 || eb < 2 || eb > 251 || ea - eb > 125 || ea - eb < -125;
}

}  // namespace

void floats(Block& block, Warp& warp, const Instruction& i, std::uint32_t mask) {
  const Operands on(block, warp, i);
  const auto& o = i.operand;
  Lanes ba, bb, bc, out;
  const bool ftz = i.has(kFtz);
  const auto f = [](const Lanes& x, std::size_t l) { return bits<float>(x[l]); };
  switch (i.op) {
    case Op::ffma: {
      const Lanes &a = on.real(o[1], ba), &b = on.real(o[2], bb), &c = on.real(o[3], bc);
      rounded(i, [&] {
        for (std::size_t l = 0; l < 32; ++l) out[l] = canonical(__builtin_fmaf(f(a, l), f(b, l), f(c, l)));
      });
      return on.put(o[0], mask, out);
    }
    case Op::fadd: {
      const Lanes &a = on.real(o[1], ba), &b = on.real(o[2], bb);
      for (std::size_t l = 0; l < 32; ++l)
        out[l] = canonical(ftz ? flushed(flushed(f(a, l)) + flushed(f(b, l))) : f(a, l) + f(b, l));
      return on.put(o[0], mask, out);
    }
    case Op::fmul: {
      const Lanes &a = on.real(o[1], ba), &b = on.real(o[2], bb);
      for (std::size_t l = 0; l < 32; ++l)
        out[l] = canonical(ftz ? flushed(flushed(f(a, l)) * flushed(f(b, l))) : f(a, l) * f(b, l));
      return on.put(o[0], mask, out);
    }
    case Op::fsel: {
      const Lanes &a = on.real(o[1], ba), &b = on.real(o[2], bb);
      const std::uint32_t p = on.predicate(o[3]);
      for (std::size_t l = 0; l < 32; ++l) out[l] = p >> l & 1 ? a[l] : b[l];
      return on.put(o[0], mask, out);
    }
    case Op::fmnmx: {
      const Lanes &a = on.real(o[1], ba), &b = on.real(o[2], bb);
      const std::uint32_t least = on.predicate(o[3]);
      for (std::size_t l = 0; l < 32; ++l) {
        const float x = f(a, l), y = f(b, l);
        if (x != x || y != y) {
          out[l] = i.has(kNan) || (x != x && y != y) ? 0x7fffffffu : x != x ? b[l] : a[l];
          continue;
        }
        const bool x_less = x < y || (x == y && std::signbit(x));
        out[l] = x_less == static_cast<bool>(least >> l & 1) ? a[l] : b[l];
      }
      return on.put(o[0], mask, out);
    }
    case Op::fsetp: {
      const Lanes &a = on.real(o[2], ba), &b = on.real(o[3], bb);
      std::uint32_t yes = 0;
      for (std::size_t l = 0; l < 32; ++l) {
        const bool r =
            compared(i.compare, ftz ? flushed(f(a, l)) : f(a, l), ftz ? flushed(f(b, l)) : f(b, l));
        yes |= std::uint32_t{r} << l;
      }
      const std::uint32_t with = on.predicate(o[4]);
      on.put_predicate(o[0], mask, i.combine == Combine::and_ ? yes & with : yes | with);
      on.put_predicate(o[1], mask, i.combine == Combine::and_ ? ~yes & with : ~yes | with);
      return;
    }
    case Op::fchk: {
      const Lanes &a = on.real(o[1], ba), &b = on.real(o[2], bb);
      std::uint32_t slow = 0;
      for (std::size_t l = 0; l < 32; ++l) slow |= std::uint32_t{needs_long_division(f(a, l), f(b, l))} << l;
      return on.put_predicate(o[0], mask, slow);
    }
    case Op::mufu: {
      const Lanes& a = on.real(o[1], ba);
      for (std::size_t l = 0; l < 32; ++l) {
        const double x = flushed(f(a, l)), high = bits<double>(std::uint64_t{a[l]} << 32);
        switch (i.mode) {
          case Mode::rcp: out[l] = canonical(static_cast<float>(1 / x)); break;
          case Mode::rsq: out[l] = canonical(static_cast<float>(1 / std::sqrt(x))); break;
          case Mode::rcp64h: out[l] = static_cast<std::uint32_t>(bits<std::uint64_t>(1 / high) >> 32); break;
          case Mode::rsq64h:
            out[l] = static_cast<std::uint32_t>(bits<std::uint64_t>(1 / std::sqrt(high)) >> 32);
            break;
          default: stop(i, "no meaning here");
        }
      }
      return on.put(o[0], mask, out);
    }
    case Op::hfma2: {  // a way to load a constant: -0 * 0 + it
      if (o[1].index != kZeroRegister || o[2].index != kZeroRegister || o[1].kind != Operand::Kind::reg)
        stop(i, "arithmetic on halves");
      out.value.fill(o[3].value << 16 | o[4].value);
      return on.put(o[0], mask, out);
    }
    case Op::i2f: {
      if (i.has(kU64 | kS64)) {
        rounded(i, [&] {
          for (std::size_t l = 0; l < 32; ++l) {
            const volatile std::uint64_t x = on.pair(o[1], l);
            const float y =
                i.has(kU64) ? static_cast<float>(x) : static_cast<float>(static_cast<std::int64_t>(x));
            out[l] = bits<std::uint32_t>(y);
          }
        });
        return on.put(o[0], mask, out);
      }
      const Lanes& a = on.integer(o[1], ba);
      rounded(i, [&] {
        for (std::size_t l = 0; l < 32; ++l) {
          const volatile std::uint32_t x = a[l];
          const volatile float y =
              i.has(kU32) ? static_cast<float>(x) : static_cast<float>(static_cast<std::int32_t>(x));
          out[l] = bits<std::uint32_t>(static_cast<float>(y));
        }
      });
      return on.put(o[0], mask, out);
    }
    case Op::f2i: {
      const Lanes& a = on.real(o[1], ba);
      if (i.has(kU64)) {
        std::array<std::uint64_t, 32> r{};
        for (std::size_t l = 0; l < 32; ++l) {
          const float x = f(a, l);
          r[l] = !(x > 0) ? 0 : x >= 0x1p64f ? ~0ull : static_cast<std::uint64_t>(x);
        }
        return on.put_pair(o[0], mask, r);
      }
      for (std::size_t l = 0; l < 32; ++l) {
        const float x = f(a, l);
        if (i.has(kU32))
          out[l] = !(x > 0) ? 0 : x >= 0x1p32f ? kAllLanes : static_cast<std::uint32_t>(x);
        else
          stop(i, "a conversion");
      }
      return on.put(o[0], mask, out);
    }
    case Op::f2f:
      each(mask, [&](std::size_t l) { out[l] = canonical(static_cast<float>(on.twice(o[1], l))); });
      return on.put(o[0], mask, out);
    case Op::f2fp: {
      const Lanes &a = on.real(o[1], ba), &b = on.real(o[2], bb);
      const auto bf16 = [](std::uint32_t x) -> std::uint32_t {
        if ((x & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
        return (x + 0x7fffu + (x >> 16 & 1)) >> 16;
      };
      for (std::size_t l = 0; l < 32; ++l) out[l] = bf16(a[l]) << 16 | bf16(b[l]);
      return on.put(o[0], mask, out);
    }
    case Op::dadd:
    case Op::dmul:
    case Op::dfma: {
      std::array<std::uint64_t, 32> r{};
      rounded(i, [&] {
        each(mask, [&](std::size_t l) {
          const volatile double a = on.twice(o[1], l), b = on.twice(o[2], l);
          const volatile double c = i.op == Op::dfma ? on.twice(o[3], l) : 0;
          const volatile double x = i.op == Op::dadd   ? a + b
                                    : i.op == Op::dmul ? a * b
                                                       : __builtin_fma(a, b, c);
          r[l] = bits<std::uint64_t>(static_cast<double>(x));
        });
      });
      return on.put_pair(o[0], mask, r);
    }
    case Op::dsetp: {
      std::uint32_t yes = 0;
      each(mask, [&](std::size_t l) {
        yes |= std::uint32_t{compared(i.compare, on.twice(o[2], l), on.twice(o[3], l))} << l;
      });
      const std::uint32_t with = on.predicate(o[4]);
      on.put_predicate(o[0], mask, i.combine == Combine::and_ ? yes & with : yes | with);
      on.put_predicate(o[1], mask, i.combine == Combine::and_ ? ~yes & with : ~yes | with);
      return;
    }
    default: stop(i, "no meaning here");
  }
}

}  // namespace occam::machine
