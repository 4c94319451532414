// A randomised split in plain loops, as the model sees it: what logits() and score() of every body must be
// computed on.
#pragma once

#include "occam/data.hpp"
#include "occam/metrics.hpp"

namespace occam::test {

// Rows before the rotation, each listed coordinate taken from the row's donor; then the rotation by the law.
// Labels are the rows' own.
HostTable randomized_table(const Data& data, Split split, const Randomization& variant);

}  // namespace occam::test
