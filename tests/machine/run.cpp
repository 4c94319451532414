#include "run.hpp"

#include <algorithm>

#include "warp.hpp"

namespace occam::machine {
namespace {

constexpr std::uint32_t kLocal = 4096;  // a lane's local memory, at least

std::uint32_t alive_lanes(const Block& block) {
  std::uint32_t n = 0;
  for (const Warp& w : block.warps) n += static_cast<std::uint32_t>(std::popcount(w.alive));
  return n;
}

// Groups that wait for one another go on when all have come.
void release_syncs(Warp& warp) {
  for (bool again = true; again;) {
    again = false;
    for (std::size_t g = 0; g < warp.groups.size(); ++g) {
      const Group group = warp.groups[g];
      if (group.state != Group::State::at_sync && group.state != Group::State::at_warpsync) continue;
      std::uint32_t needed = warp.alive, there = 0;
      if (group.state == Group::State::at_sync)
        needed &= warp.members[static_cast<std::size_t>(group.barrier)][static_cast<std::size_t>(std::countr_zero(group.mask))];
      for (const Group& other : warp.groups)
        if (other.state == group.state && other.barrier == group.barrier) there |= other.mask;
      if ((there & needed) != needed) continue;
      std::uint32_t merged = 0;
      std::erase_if(warp.groups, [&](const Group& other) {
        const bool in = other.state == group.state && other.barrier == group.barrier && (other.mask & needed);
        if (in) merged |= other.mask;
        return in;
      });
      warp.groups.push_back({.mask = merged, .pc = group.pc});
      again = true;
      break;
    }
  }
}

}  // namespace

void run(const Launch& launch, const Memory& memory, Trace* trace, std::uint32_t traced) {
  const Code& code = *launch.code;
  Block block;
  block.launch = &launch;
  block.memory = &memory;
  block.constants.assign(std::max<std::size_t>(0x210, code.parameter_base) + launch.parameters.size() + 64, 0);
  const std::uint32_t dims[6] = {launch.block.x, launch.block.y, launch.block.z, launch.grid.x, launch.grid.y, launch.grid.z};
  std::memcpy(block.constants.data(), dims, sizeof dims);
  const std::uint32_t stack = std::max(kLocal, code.frame + 2048);
  std::memcpy(block.constants.data() + 0x28, &stack, 4);
  std::copy(launch.parameters.begin(), launch.parameters.end(), block.constants.begin() + code.parameter_base);
  const std::uint32_t threads = launch.block.x * launch.block.y * launch.block.z;
  const std::uint32_t warps = (threads + 31) / 32;
  std::uint32_t number = 0;
  for (block.z = 0; block.z < launch.grid.z; ++block.z)
    for (block.y = 0; block.y < launch.grid.y; ++block.y)
      for (block.x = 0; block.x < launch.grid.x; ++block.x, ++number) {
        block.shared.assign(std::max<std::uint32_t>(1024, code.shared) + launch.dynamic_shared, 0xcd);
        block.warps.resize(warps);
        block.arrived = {};
        block.trace = nullptr;
        if (trace && number == traced) trace->assign(warps, {}), block.trace = trace;
        for (std::uint32_t w = 0; w < warps; ++w) {
          Warp& warp = block.warps[w];
          warp.number = w;
          const std::uint32_t lanes = std::min(32u, threads - 32 * w);
          warp.alive = lanes == 32 ? kAll : (1u << lanes) - 1;
          warp.groups.assign(1, {.mask = warp.alive, .pc = 0});
          warp.predicates = {};
          warp.predicates[7] = kAll;
          warp.uniform_predicates = {};
          warp.uniform_predicates[7] = true;
          warp.local.resize(std::size_t{32} * stack);
        }
        for (;;) {
          bool any = false, living = false;
          for (Warp& warp : block.warps) {
            for (;;) {
              const auto ready = std::find_if(warp.groups.begin(), warp.groups.end(), [](const Group& g) { return g.state == Group::State::ready; });
              if (ready == warp.groups.end()) {
                const std::size_t before = warp.groups.size();
                release_syncs(warp);
                const bool more = std::any_of(warp.groups.begin(), warp.groups.end(), [](const Group& g) { return g.state == Group::State::ready; });
                if (!more || before == 0) break;
                continue;
              }
              any = true;
              step(block, warp, static_cast<std::size_t>(ready - warp.groups.begin()));
            }
            living |= !warp.groups.empty();
          }
          if (!living) break;
          for (std::size_t b = 0; b < 16; ++b) {
            if (block.arrived[b] == 0 || block.arrived[b] != (block.expected[b] ? block.expected[b] : alive_lanes(block))) continue;
            for (Warp& warp : block.warps) {
              std::uint32_t merged = 0, pc = 0;
              std::erase_if(warp.groups, [&](const Group& g) {
                if (g.state != Group::State::at_barrier || g.barrier != static_cast<int>(b)) return false;
                return merged |= g.mask, pc = g.pc, true;
              });
              if (merged) warp.groups.push_back({.mask = merged, .pc = pc});
            }
            block.arrived[b] = 0;
            block.reduction[1] = block.reduction[0];
            block.reduction[0] = false;
            any = true;
          }
          if (!any) throw std::runtime_error("machine code of " + code.name + ": a barrier that not all threads reach");
        }
      }
}

}  // namespace occam::machine
