// Donor rows of a randomised test set: row i takes the randomised coordinates of row donor(i).
#pragma once

#include <cstdint>

#include "occam/permutation.hpp"

namespace occam::law {

// The joint row permutation of a `permute` variant.
OCCAM_HD KeyedPermutation donor_permutation(std::uint32_t data_seed, std::uint32_t salt, std::uint32_t rows) {
  return KeyedPermutation(draw(data_seed, Stream::randomize, salt), rows);
}

// Which of the `candidates` rows of another class gives row `row` its coordinates in a `swap` variant,
// counted in ascending order of row.
OCCAM_HD std::uint32_t swap_donor(std::uint32_t data_seed, std::uint32_t salt, std::uint32_t row,
                                  std::uint32_t candidates) {
  return uniform_below(draw(data_seed, Stream::swap_donor, row, salt).word[0], candidates);
}

}  // namespace occam::law
