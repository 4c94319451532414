// Sorts many lists of keys at once. On a GPU this is CUB (src/cuda/vendor_sort.cu); on the SIMT executor it
// is the host.
#pragma once

#include <cstdint>
#include <span>

#include "cuda/runtime.hpp"

namespace occam::cuda {

// List i is keys[i · pitch, i · pitch + lengths[i]); it arrives in `sorted` at the same place, ascending.
// Only the lowest `bits` bits of a key are looked at.
void sort_lists(Stream& stream, std::uint64_t* keys, std::uint64_t* sorted, std::int64_t pitch,
                std::span<const std::int64_t> lengths, int bits);

}  // namespace occam::cuda
