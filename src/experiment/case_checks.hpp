// Whether a case can be trained and measured at all, asked before anything is. Both throw usage errors that name the flag.
#pragma once

#include "experiment/flags.hpp"
#include "experiment/plan.hpp"

namespace occam::experiment {

// dim: of the case's data. Coordinates, network, training and attacks.
void check_case(const PlannedCase& planned, int dim, const Options& options);

// What votes can be held of and combined by.
void check_votes(const Case& c, const Options& options);

}  // namespace occam::experiment
