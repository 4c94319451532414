// Guards, branches and meetings; all else is dispatched.
#include <cstdio>
#include <stdexcept>

#include "operands.hpp"

namespace occam::machine {
namespace {

std::uint32_t index_at(const Block& block, const Instruction& i, std::uint64_t address) {
  const auto found = block.launch->code->at.find(static_cast<std::uint32_t>(address));
  if (found == block.launch->code->at.end()) stop(i, "a jump to address " + std::to_string(address));
  return found->second;
}

std::uint32_t guarded(const Warp& warp, const Instruction& i) {
  const auto p = static_cast<std::size_t>(i.guard);
  const std::uint32_t lanes =
      i.guard_uniform ? (warp.uniform_predicates[p] ? kAllLanes : 0) : warp.predicates[p];
  return i.guard_not ? ~lanes : lanes;
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

// Lanes that jump elsewhere than the first one meet the instruction again.
void branch_indirectly(const Block& block, Warp& warp, std::size_t g, const Instruction& i) {
  Group& group = warp.groups[g];
  Lanes buffer;
  const Lanes& where = Operands(block, warp, i).raw(i.operand[0], buffer);
  const std::uint32_t offset = where[first_lane(group.mask)];
  std::uint32_t same = 0;
  each(group.mask, [&](std::size_t l) { same |= std::uint32_t{where[l] == offset} << l; });
  const std::uint32_t next = i.address + 0x10 + (i.count > 1 ? i.operand[1].value : 0);
  const std::uint32_t target = index_at(block, i, next + offset);
  if (same == group.mask) {
    group.pc = target;
  } else {
    group.mask &= ~same;
    warp.groups.push_back({.mask = same, .pc = target});
  }
}

void meet_block(Block& block, Warp& warp, Group& group, const Instruction& i) {
  const Operands on(block, warp, i);
  const std::size_t lane = first_lane(group.mask);
  Lanes number, expected;
  group.barrier = static_cast<int>(on.raw(i.operand[0], number)[lane]);
  if (group.barrier >= static_cast<int>(block.barriers.size())) stop(i, "a barrier beyond the last");
  BlockBarrier& barrier = block.barriers[static_cast<std::size_t>(group.barrier)];
  if (i.op == Op::bar_sync && i.count > 1)
    barrier.expected = on.raw(i.operand[1], expected)[lane];
  else
    barrier.expected = 0;
  barrier.arrived += static_cast<std::uint32_t>(std::popcount(group.mask));
  if (i.op == Op::bar_red) {
    block.reduces_with_and = i.mode == Mode::and_;
    std::uint32_t p = on.predicate(i.operand[1]);
    if (block.reduces_with_and) p = ~p;
    block.reducing |= (p & group.mask) != 0;
  }
  group.state = Group::State::at_barrier;
}

void meet_lanes(Warp& warp, Group& group, const Instruction& i) {
  const bool all = i.op == Op::warpsync;
  const int barrier = all ? 0 : i.operand[0].index;
  const std::uint32_t expected =
      all ? kAllLanes : warp.members[static_cast<std::size_t>(barrier)][first_lane(group.mask)];
  if ((expected & warp.alive) == group.mask) return;
  group.state = all ? Group::State::at_warpsync : Group::State::at_sync;
  group.barrier = barrier;
}

std::uint16_t compute(Block& block, Warp& warp, const Instruction& i, std::uint32_t mask) {
  switch (i.op) {
    case Op::ldg:
    case Op::stg:
    case Op::lds:
    case Op::sts:
    case Op::ldl:
    case Op::stl:
    case Op::ldgsts:
    case Op::ldc:
    case Op::atoms:
    case Op::redg:
    case Op::ldsm: return access(block, warp, i, mask);
    case Op::shfl:
    case Op::vote:
    case Op::redux:
    case Op::r2ur:
    case Op::b2r:
    case Op::s2r:
    case Op::cs2r:
    case Op::uflo:
    case Op::p2r:
    case Op::r2p:
    case Op::plop3: collectives(block, warp, i, mask); return 0;
    case Op::iadd3:
    case Op::imad:
    case Op::isetp:
    case Op::iabs:
    case Op::lea:
    case Op::lop3:
    case Op::mov:
    case Op::popc:
    case Op::prmt:
    case Op::sel:
    case Op::shf:
    case Op::viadd:
    case Op::viaddmnmx:
    case Op::vimnmx:
    case Op::vimnmx3: integers(block, warp, i, mask); return 0;
    case Op::hmma: tensor(block, warp, i, mask); return 1;
    default: floats(block, warp, i, mask); return 0;
  }
}

}  // namespace

void stop(const Instruction& instruction, const std::string& why) {
  char address[16];
  std::snprintf(address, sizeof address, "%x", instruction.address);
  throw std::runtime_error("machine code at " + std::string(address) + " '" + instruction.text + "': " + why);
}

void step(Block& block, Warp& warp, std::size_t g) {
  const Code& code = *block.launch->code;
  Group& group = warp.groups[g];
  if (group.pc >= code.instructions.size())
    throw std::runtime_error("machine code of " + code.name + " ran past its end");
  const Instruction& i = code.instructions[group.pc];
  std::uint32_t mask = group.mask & guarded(warp, i);
  Issued issued{.instruction = group.pc, .on = mask != 0};
  const auto whole = [&] {  // true where lanes do it, and then all of the group do
    if (mask != 0 && mask != group.mask) stop(i, "some lanes of a group alone");
    return mask != 0;
  };
  switch (i.op) {
    case Op::bra:
      for (std::size_t k = 0; k + 1 < i.count; ++k) mask &= Operands(block, warp, i).predicate(i.operand[k]);
      issued.cost = mask != 0;
      branch(warp, g, mask, i.operand[i.count - 1u].value);
      break;
    case Op::call: branch(warp, g, mask, i.operand[0].value); break;
    case Op::brx:
      if (whole())
        branch_indirectly(block, warp, g, i);
      else
        ++group.pc;
      break;
    case Op::ret: {
      if (!whole()) stop(i, "nobody returns");
      const std::uint64_t to = Operands(block, warp, i).pair(i.operand[0], first_lane(mask));
      each(mask, [&](std::size_t l) {
        if (Operands(block, warp, i).pair(i.operand[0], l) != to) stop(i, "lanes return to different places");
      });
      group.pc = index_at(block, i, to);
      break;
    }
    case Op::bra_div:  // taken by lanes that have not come together, which here they always have
      if (mask && (Operands(block, warp, i).scalar(i.operand[0]) & warp.alive) != group.mask)
        stop(i, "lanes that are apart");
      ++group.pc;
      break;
    case Op::bssy:
      each(mask,
           [&](std::size_t l) { warp.members[static_cast<std::size_t>(i.operand[0].index)][l] = mask; });
      ++group.pc;
      break;
    case Op::brk:
      for (std::uint32_t& members : warp.members[static_cast<std::size_t>(i.operand[0].index)])
        members &= ~mask;
      ++group.pc;
      break;
    case Op::bsync:
    case Op::warpsync:
      if (i.op == Op::warpsync && i.count > 0) stop(i, "lanes that are apart");
      ++group.pc;
      if (whole()) meet_lanes(warp, group, i);
      break;
    case Op::bar_sync:
    case Op::bar_red:
      ++group.pc;
      if (!whole()) break;
      meet_block(block, warp, group, i);
      issued.barrier = static_cast<std::uint8_t>(group.barrier);
      issued.expected = static_cast<std::uint16_t>(block.barriers[issued.barrier].expected);
      break;
    case Op::exit:
      if (i.count > 0) mask &= Operands(block, warp, i).predicate(i.operand[0]);
      warp.alive &= ~mask;
      ++group.pc;
      group.mask &= ~mask;
      if (group.mask == 0) warp.groups.erase(warp.groups.begin() + static_cast<std::ptrdiff_t>(g));
      break;
    case Op::nop:
    case Op::fence:
    case Op::yield:
    case Op::endcollective:
    case Op::depbar:
    case Op::ldgdepbar: ++group.pc; break;
    default:
      ++group.pc;
      if (mask != 0) issued.cost = compute(block, warp, i, mask);
  }
  if (block.trace) block.trace->warps[warp.number].push_back(issued);
}

}  // namespace occam::machine
