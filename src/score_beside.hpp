// Scores of a wave's members, and of members on other data than those a wave has, while that wave is open.
#pragma once

#include <span>
#include <vector>

#include "backend.hpp"

namespace occam {

// Of all members on one variant of a split. data: what the wave was opened with or shown last.
std::vector<Score> score_all(Wave& wave, std::span<const Data> data, Split split,
                             const Randomization& variant);

// scores[set][member − first] of the members first … first + count − 1 on sets of data [set][member]: the wave has
// these members, and the first set's data of them; it is shown the others in turn. Heeds `interrupt` before each.
std::vector<std::vector<Score>> score_sets(Wave& wave, std::span<const std::vector<Data>> sets,
                                           std::size_t first, std::size_t count, Split split,
                                           Interrupt interrupt = nullptr);

// scores[set][member] of networks with these parameters [layout.total], on the test rows of several sets of data
// [set][member], in waves of their own: of as many networks as the device holds with each set beside what is open.
std::vector<std::vector<Score>> score_beside(Backend& device, const MlpSpec& spec,
                                             std::span<const std::span<const float>> parameters,
                                             std::span<const std::vector<Data>> sets,
                                             std::span<const Seeds> seeds);

}  // namespace occam
