// What takes long heeds a request to stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "occam/data.hpp"
#include "occam/slab.hpp"
#include "occam/training.hpp"

namespace occam {

// nullptr: nobody will ask.
using Interrupt = const std::atomic<bool>*;

inline void heed(Interrupt interrupt) {
  if (interrupt != nullptr && interrupt->load()) throw Interrupted{};
}

// As in occam/slab.hpp and occam/data.hpp: of thousands of coordinates it takes minutes.
std::vector<float> slab_rotation(const SlabSpec& spec, std::uint32_t data_seed, Interrupt interrupt);
std::vector<float> rotation(const Data& data, Interrupt interrupt);

}  // namespace occam
