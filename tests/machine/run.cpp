#include "run.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "state.hpp"

namespace occam::machine {
namespace {

constexpr std::uint32_t kLocal = 4096;        // bytes of a lane's local memory, at least
constexpr std::size_t kStackPointer = 0x28;   // in constant bank 0
constexpr std::uint8_t kNeverWritten = 0xcd;  // what shared memory holds at the beginning

std::uint32_t local_bytes(const Code& code) { return std::max(kLocal, code.frame + 2048); }

std::vector<std::uint8_t> constant_bank(const Launch& launch) {
  const Code& code = *launch.code;
  std::vector<std::uint8_t> bank(code.parameter_base + launch.parameters.size() + 64, 0);
  const std::uint32_t dims[] = {launch.block.x, launch.block.y, launch.block.z,
                                launch.grid.x,  launch.grid.y,  launch.grid.z};
  const std::uint32_t stack = local_bytes(code);
  std::memcpy(bank.data(), dims, sizeof dims);
  std::memcpy(bank.data() + kStackPointer, &stack, sizeof stack);
  std::ranges::copy(launch.parameters, bank.begin() + code.parameter_base);
  return bank;
}

bool is_ready(const Group& group) { return group.state == Group::State::ready; }

// Lets groups of lanes go on that wait for one another and have all come. True where some did.
bool release_lanes(Warp& warp) {
  for (const Group group : warp.groups) {
    if (group.state != Group::State::at_sync && group.state != Group::State::at_warpsync) continue;
    std::uint32_t needed = warp.alive, there = 0;
    if (group.state == Group::State::at_sync)
      needed &= warp.members[static_cast<std::size_t>(group.barrier)]
                            [static_cast<std::size_t>(std::countr_zero(group.mask))];
    const auto with_it = [&](const Group& other) {
      return other.state == group.state && other.barrier == group.barrier;
    };
    for (const Group& other : warp.groups)
      if (with_it(other)) there |= other.mask;
    if ((there & needed) != needed) continue;
    std::uint32_t together = 0;
    std::erase_if(warp.groups, [&](const Group& other) {
      const bool comes = with_it(other) && (other.mask & needed) != 0;
      if (comes) together |= other.mask;
      return comes;
    });
    warp.groups.push_back({.mask = together, .pc = group.pc});
    return true;
  }
  return false;
}

// Issues all that the warp can do by itself. True where it did something.
bool advance(Block& block, Warp& warp) {
  bool any = false;
  do {
    for (;;) {
      const auto group = std::ranges::find_if(warp.groups, is_ready);
      if (group == warp.groups.end()) break;
      step(block, warp, static_cast<std::size_t>(group - warp.groups.begin()));
      any = true;
    }
  } while (release_lanes(warp));
  return any;
}

// Lets the warps go on whose barrier is full. True where some did.
bool release_barriers(Block& block) {
  std::uint32_t alive = 0;
  for (const Warp& warp : block.warps) alive += static_cast<std::uint32_t>(std::popcount(warp.alive));
  bool any = false;
  for (std::size_t b = 0; b < block.barriers.size(); ++b) {
    BlockBarrier& barrier = block.barriers[b];
    if (barrier.arrived == 0 || barrier.arrived != (barrier.expected != 0 ? barrier.expected : alive))
      continue;
    for (Warp& warp : block.warps) {
      std::uint32_t together = 0, pc = 0;
      std::erase_if(warp.groups, [&](const Group& group) {
        if (group.state != Group::State::at_barrier || group.barrier != static_cast<int>(b)) return false;
        together |= group.mask, pc = group.pc;
        return true;
      });
      if (together != 0) warp.groups.push_back({.mask = together, .pc = pc});
    }
    barrier = {};
    block.reduced = std::exchange(block.reducing, false);
    any = true;
  }
  return any;
}

void begin(Block& block, std::uint32_t threads) {
  const Launch& launch = *block.launch;
  block.shared.assign(std::max(kReservedShared, launch.code->shared) + launch.dynamic_shared, kNeverWritten);
  block.barriers = {};
  block.warps.resize((threads + 31) / 32);
  for (std::uint32_t w = 0; w < block.warps.size(); ++w) {
    Warp& warp = block.warps[w];
    const std::uint32_t lanes = std::min(32u, threads - 32 * w);
    warp.number = w;
    warp.alive = lanes == 32 ? kAllLanes : (1u << lanes) - 1;
    warp.groups.assign(1, {.mask = warp.alive});
    warp.predicates = {}, warp.uniform_predicates = {};
    warp.predicates[kTrue] = kAllLanes, warp.uniform_predicates[kTrue] = true;
    warp.local.resize(std::size_t{32} * local_bytes(*launch.code));
  }
}

void run_block(Block& block) {
  const auto lives = [](const Warp& warp) { return !warp.groups.empty(); };
  while (std::ranges::any_of(block.warps, lives)) {
    bool any = false;
    for (Warp& warp : block.warps) any |= advance(block, warp);
    any |= release_barriers(block);
    if (!any)
      throw std::runtime_error("machine code of " + block.launch->code->name +
                               ": a barrier that not all threads reach");
  }
}

}  // namespace

void run(const Launch& launch, const Allocations& allocations, std::vector<BlockTrace>* traces) {
  Block block;
  block.launch = &launch, block.allocations = &allocations, block.constants = constant_bank(launch);
  const std::uint32_t threads = launch.block.x * launch.block.y * launch.block.z;
  for (block.z = 0; block.z < launch.grid.z; ++block.z)
    for (block.y = 0; block.y < launch.grid.y; ++block.y)
      for (block.x = 0; block.x < launch.grid.x; ++block.x) {
        begin(block, threads);
        BlockTrace trace;
        if (traces) trace.warps.resize(block.warps.size()), block.trace = &trace;
        run_block(block);
        if (traces) traces->push_back(std::move(trace));
      }
}

}  // namespace occam::machine
