// What launches issued, in a file: for each launch a line with the kernel's name, its bytes of shared memory, its blocks
// and the warps of one, and then for every warp the number of its entries (8 bytes) and these.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "run.hpp"

namespace occam::machine {

struct TracedLaunch {
  std::string kernel;
  std::uint32_t shared = 0;  // of a block, B
  std::vector<BlockTrace> blocks;
};

void append_trace(const char* file, const TracedLaunch& launch);
std::vector<TracedLaunch> read_traces(const std::string& file);

}  // namespace occam::machine
