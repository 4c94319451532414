// What a warp's access to shared memory costs there.
#pragma once

#include <array>
#include <cstdint>

namespace occam::machine {

// Wavefronts, a cycle each, for the lanes of `mask`: a wavefront serves 32 lanes with 4 bytes, 16 with 8 or 8 with 16,
// and reads a bank once. Loads of 8 or 16 bytes serve twice as many lanes at a time where lanes l and l ^ 1, or l and
// l ^ 2, read the same address; ncu's counts on an H200 agree with that.
std::uint16_t wavefronts(const std::array<std::uint32_t, 32>& address, std::uint32_t mask, std::size_t bytes,
                         bool load);

}  // namespace occam::machine
