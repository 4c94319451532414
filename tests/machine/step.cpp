// Guards, branches and meetings; all else is dispatched.
#include <cstdlib>

#include "operands.hpp"

namespace occam::machine {

void stop(const Instruction& i, const std::string& why) {
  char address[16];
  std::snprintf(address, sizeof address, "%x", i.address);
  throw std::runtime_error("machine code at " + std::string(address) + " '" + i.text + "': " + why);
}

namespace {

std::uint32_t index_at(const Block& block, const Instruction& i, std::uint64_t address) {
  const auto& at = block.launch->code->at;
  const auto found = at.find(static_cast<std::uint32_t>(address));
  if (found == at.end()) stop(i, "a jump to " + std::to_string(address));
  return found->second;
}

// Lanes of `taken` go to `target`, the others on.
void branch(Warp& warp, std::size_t g, std::uint32_t taken, std::uint32_t target) {
  Group& group = warp.groups[g];
  if (taken == group.mask) {
    group.pc = target;
    return;
  }
  ++group.pc;
  if (taken == 0) return;
  group.mask &= ~taken;
  warp.groups.push_back({.mask = taken, .pc = target});
}

}  // namespace

void step(Block& block, Warp& warp, std::size_t g) {
  Group& group = warp.groups[g];
  const Code& code = *block.launch->code;
  if (group.pc >= code.instructions.size()) throw std::runtime_error("machine code of " + code.name + " ran past its end");
  const Instruction& i = code.instructions[group.pc];
  const Reader read(block, warp, i);
  std::uint32_t guard = i.guard == 7 ? kAll
                        : i.guard_uniform ? (warp.uniform_predicates[static_cast<std::size_t>(i.guard)] ? kAll : 0)
                                          : warp.predicates[static_cast<std::size_t>(i.guard)];
  if (i.guard_not) guard = ~guard;
  std::uint32_t mask = group.mask & guard;
  std::uint16_t cost = 0;
  const std::uint32_t here = group.pc;
  switch (i.op) {
    case Op::bra: {
      for (std::size_t k = 0; k + 1 < i.count; ++k) mask &= read.predicate(i.operand[k]);
      branch(warp, g, mask, i.operand[i.count - 1u].value);
      break;
    }
    case Op::bra_div:
      if (mask && (read.scalar(i.operand[0]) & warp.alive) != group.mask) stop(i, "lanes that have not come together");
      ++group.pc;
      break;
    case Op::brx: {
      if (mask != group.mask) stop(i, "an indirect jump of some lanes");
      Lanes buffer;
      const Lanes& where = read.raw(i.operand[0], buffer);
      std::uint32_t left = mask;
      const std::uint32_t base = i.address + 0x10 + (i.count > 1 ? i.operand[1].value : 0);
      const std::uint32_t first = where[static_cast<std::size_t>(std::countr_zero(left))];
      std::uint32_t same = 0;
      each(left, [&](std::size_t l) { same |= where[l] == first ? 1u << l : 0; });
      if (same == group.mask) {
        group.pc = index_at(block, i, static_cast<std::uint32_t>(base + first));
      } else {  // the others meet the jump again
        group.mask &= ~same;
        warp.groups.push_back({.mask = same, .pc = index_at(block, i, static_cast<std::uint32_t>(base + first))});
      }
      break;
    }
    case Op::call: branch(warp, g, mask, i.operand[0].value); break;
    case Op::ret: {
      if (mask != group.mask) stop(i, "some lanes return");
      const std::uint64_t to = read.pair(i.operand[0], static_cast<std::size_t>(std::countr_zero(mask)));
      each(mask, [&](std::size_t l) {
        if (read.pair(i.operand[0], l) != to) stop(i, "lanes return to different places");
      });
      group.pc = index_at(block, i, to);
      break;
    }
    case Op::bssy:
      each(mask, [&](std::size_t l) { warp.members[static_cast<std::size_t>(i.operand[0].index)][l] = mask; });
      ++group.pc;
      break;
    case Op::brk:
      for (auto& m : warp.members[static_cast<std::size_t>(i.operand[0].index)]) m &= ~mask;
      ++group.pc;
      break;
    case Op::bsync: {
      if (mask != group.mask) stop(i, "some lanes meet");
      ++group.pc;
      const auto b = static_cast<std::size_t>(i.operand[0].index);
      if ((warp.members[b][static_cast<std::size_t>(std::countr_zero(mask))] & warp.alive) == mask) break;
      group.state = Group::State::at_sync;
      group.barrier = i.operand[0].index;
      break;
    }
    case Op::warpsync:
      ++group.pc;
      if (i.count > 0) stop(i, "lanes that have not come together");
      if (warp.alive == mask) break;
      group.state = Group::State::at_warpsync;
      group.barrier = 0;
      break;
    case Op::bar_sync:
    case Op::bar_red:
      if (mask == 0) {
        ++group.pc;
        break;
      }
      if (mask != group.mask) stop(i, "some lanes meet");
      if (i.op == Op::bar_red) {
        std::uint32_t p = read.predicate(i.operand[1]);
        block.all_of = i.mode == 4;
        if (block.all_of) p = ~p;
        block.reduction[0] |= (p & mask) != 0;
      }
      ++group.pc;
      {
        Lanes buffer;
        const auto first = static_cast<std::size_t>(std::countr_zero(mask));
        group.barrier = static_cast<int>(read.raw(i.operand[0], buffer)[first]);
        const auto b = static_cast<std::size_t>(group.barrier);
        if (b > 15) stop(i, "a barrier past 15");
        const bool some = i.op == Op::bar_sync && i.count > 1;
        block.expected[b] = some ? read.raw(i.operand[1], buffer)[first] : 0;
        block.arrived[b] += static_cast<std::uint32_t>(std::popcount(mask));
      }
      group.state = Group::State::at_barrier;
      break;
    case Op::exit: {
      if (i.count > 0) mask &= read.predicate(i.operand[0]);
      warp.alive &= ~mask;
      ++group.pc;
      group.mask &= ~mask;
      if (group.mask == 0) warp.groups.erase(warp.groups.begin() + static_cast<std::ptrdiff_t>(g));
      break;
    }
    case Op::nop:
    case Op::yield_:
    case Op::endcollective:
    case Op::depbar:
    case Op::ldgdepbar: ++group.pc; break;
    default:
      ++group.pc;
      if (mask == 0) break;
      switch (i.op) {
        case Op::ldg: case Op::stg: case Op::lds: case Op::sts: case Op::ldl: case Op::stl: case Op::ldgsts:
        case Op::ldc: case Op::atoms: case Op::redg: case Op::ldsm: memory_access(block, warp, i, mask, cost); break;
        case Op::shfl: case Op::vote: case Op::redux: case Op::r2ur: case Op::b2r: case Op::s2r: case Op::cs2r:
        case Op::uflo: case Op::p2r: case Op::r2p: case Op::plop3: collective(block, warp, i, mask); break;
        case Op::hmma: tensor(block, warp, i, mask); break;
        case Op::iadd3: case Op::imad: case Op::isetp: case Op::iabs: case Op::lea: case Op::lop3: case Op::mov:
        case Op::popc: case Op::prmt: case Op::sel: case Op::shf: case Op::viadd: case Op::viaddmnmx: case Op::vimnmx:
        case Op::vimnmx3: arithmetic(block, warp, i, mask); break;
        default: floating(block, warp, i, mask);
      }
  }
  static const char* loud = std::getenv("OCCAM_LOUD");
  if (loud && code.name.find(loud) != std::string::npos && warp.number == (std::getenv("OCCAM_WARP") ? 1u : 0u) && mask) {
    std::fprintf(stderr, "%5x %08x %-60s", i.address, mask, i.text.c_str());
    for (std::size_t k = 0; k < i.count; ++k) {
      const auto& o = i.operand[k];
      const auto l = static_cast<std::size_t>(std::countr_zero(mask));
      if (o.kind == Operand::Kind::reg && o.index != 255) std::fprintf(stderr, " R%d=%x", o.index, warp.registers[static_cast<std::size_t>(o.index)][l]);
      if (o.kind == Operand::Kind::pred && o.index != 7) std::fprintf(stderr, " P%d=%x", o.index, warp.predicates[static_cast<std::size_t>(o.index)]);
      if (o.kind == Operand::Kind::memory && o.index != 255) std::fprintf(stderr, " [R%d=%x]", o.index, warp.registers[static_cast<std::size_t>(o.index)][l]);
    }
    std::fprintf(stderr, "\n");
  }
  if (block.trace) {
    Issued issued{here, cost};
    issued.off = mask == 0;
    if ((i.op == Op::bar_sync || i.op == Op::bar_red) && mask) {
      for (const Group& at : warp.groups)
        if (at.state == Group::State::at_barrier) issued.barrier = static_cast<std::uint16_t>(at.barrier);
      issued.expected = static_cast<std::uint16_t>(block.expected[issued.barrier]);
    }
    if (i.op == Op::bra) issued.cost = mask != 0;
    (*block.trace)[warp.number].push_back(issued);
  }
}

}  // namespace occam::machine
