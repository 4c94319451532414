// Scores on other data than those a wave has, while that wave is open.
#pragma once

#include <span>
#include <vector>

#include "backend.hpp"

namespace occam {

// Of networks with these parameters [layout.total], on the test rows of one set of data each, in waves of their own: of as
// many networks as the device holds beside what is open.
std::vector<Score> score_beside(Backend& device, const MlpSpec& spec,
                                std::span<const std::span<const float>> parameters,
                                std::span<const Data> data, std::span<const Seeds> seeds);

}  // namespace occam
