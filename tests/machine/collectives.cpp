// What concerns a warp as a whole: votes, shuffles, reductions, predicates as bits, special registers.
#include "operands.hpp"

namespace occam::machine {

void collectives(Block& block, Warp& warp, const Instruction& i, std::uint32_t mask) {
  const Operands on(block, warp, i);
  const auto& o = i.operand;
  Lanes ba, bb, bc, out;
  switch (i.op) {
    case Op::s2r: {
      const auto threads = block.launch->block;
      each(kAllLanes, [&](std::size_t l) {
        const std::uint32_t t = 32 * warp.number + static_cast<std::uint32_t>(l);
        switch (o[1].index) {
          case kTidX: out[l] = t % threads.x; break;
          case kTidY: out[l] = t / threads.x % threads.y; break;
          case kCtaidX: out[l] = block.x; break;
          case kCtaidY: out[l] = block.y; break;
          case kCtaidZ: out[l] = block.z; break;
          case kLaneId: out[l] = static_cast<std::uint32_t>(l); break;
          case kClusterCtaid: out[l] = 0; break;
          case kSharedWindow: out[l] = kSharedWindowHigh; break;
          default: stop(i, "a special register");
        }
      });
      return on.put(o[0], mask, out);
    }
    case Op::cs2r:
      if (o[1].index != kZeros) stop(i, "a special register");
      on.put(o[0], mask, out);
      on.put(o[0], mask, out, 1);
      return;
    case Op::r2ur: return on.put(o[0], mask, on.raw(o[1], ba));
    case Op::b2r:
      return on.put_predicate(o[1], mask, block.reduced != block.reduces_with_and ? kAllLanes : 0);
    case Op::uflo: {
      const std::uint32_t x = on.scalar(o[1]);
      out.value.fill(x ? 31u - static_cast<std::uint32_t>(std::countl_zero(x)) : kAllLanes);
      return on.put(o[0], mask, out);
    }
    case Op::p2r: {
      const Lanes& c = on.integer(o[2], ba);
      const std::uint32_t which = on.scalar(o[3]);
      each(kAllLanes, [&](std::size_t l) {
        std::uint32_t all = 0;
        for (std::size_t p = 0; p < 7; ++p) all |= (warp.predicates[p] >> l & 1) << p;
        out[l] = (all & which) | (c[l] & ~which);
      });
      return on.put(o[0], mask, out);
    }
    case Op::r2p: {
      const Lanes& a = on.integer(o[1], ba);
      const std::uint32_t which = on.scalar(o[2]);
      for (std::uint32_t p = 0; p < 7; ++p) {
        if (!(which >> p & 1)) continue;
        std::uint32_t value = 0;
        each(kAllLanes, [&](std::size_t l) { value |= (a[l] >> (8u * o[1].byte + p) & 1) << l; });
        warp.predicates[p] = (warp.predicates[p] & ~mask) | (value & mask);
      }
      return;
    }
    case Op::plop3: {
      const std::uint32_t a = on.predicate(o[2]), b = on.predicate(o[3]), c = on.predicate(o[4]);
      on.put_predicate(o[0], mask, looked_up(o[5].value, a, b, c));
      on.put_predicate(o[1], mask, looked_up(o[6].value, a, b, c));
      return;
    }
    case Op::vote: {
      if (i.mode != Mode::any && i.mode != Mode::all) stop(i, "no meaning here");
      const bool flag_only = i.count == 2;
      const std::uint32_t p = on.predicate(o[i.count - 1u]) & mask;
      const std::uint32_t flag = (i.mode == Mode::any ? p != 0 : p == mask) ? kAllLanes : 0;
      if (flag_only) return on.put_predicate(o[0], mask, flag);
      out.value.fill(p);
      on.put(o[0], mask, out);
      return on.put_predicate(o[1], mask, flag);
    }
    case Op::redux: {
      const Lanes& a = on.integer(o[1], ba);
      std::uint32_t r = a[static_cast<std::size_t>(std::countr_zero(mask))];
      bool begun = false;
      each(mask, [&](std::size_t l) {
        if (!begun) {
          begun = true;
          return;
        }
        const bool less =
            i.has(kSigned) ? static_cast<std::int32_t>(a[l]) < static_cast<std::int32_t>(r) : a[l] < r;
        switch (i.mode) {
          case Mode::or_: r |= a[l]; break;
          case Mode::min: r = less ? a[l] : r; break;
          case Mode::max: r = less ? r : a[l]; break;
          case Mode::sum: r += a[l]; break;
          default: stop(i, "a reduction");
        }
      });
      out.value.fill(r);
      return on.put(o[0], mask, out);
    }
    case Op::shfl: {
      const Lanes &a = on.raw(o[2], ba), &b = on.raw(o[3], bb), &c = on.raw(o[4], bc);
      std::uint32_t valid = 0;
      each(mask, [&](std::size_t l) {
        const auto lane = static_cast<std::uint32_t>(l);
        const std::uint32_t segment = c[l] >> 8 & 31, clamp = c[l] & 31;
        const std::uint32_t last = (lane & segment) | (clamp & ~segment), first = lane & segment;
        std::uint32_t from = 0;
        bool good = false;
        switch (i.mode) {
          case Mode::up:
            from = lane - (b[l] & 31);
            good = static_cast<std::int32_t>(from) >= static_cast<std::int32_t>(last);
            break;
          case Mode::down:
            from = lane + (b[l] & 31);
            good = from <= last;
            break;
          case Mode::butterfly:
            from = lane ^ (b[l] & 31);
            good = from <= last;
            break;
          default: from = first | (b[l] & 31 & ~segment); good = from <= last;
        }
        if (!good) from = lane;
        if (good && !(mask >> from & 1)) stop(i, "a lane reads from one that is not there");
        valid |= std::uint32_t{good} << l;
        out[l] = a[from];
      });
      on.put(o[1], mask, out);
      return on.put_predicate(o[0], mask, valid);
    }
    default: stop(i, "no meaning here");
  }
}

}  // namespace occam::machine
