// Whether a case can be trained and measured at all, asked before anything is. They throw usage errors that name the flag.
#pragma once

#include <span>

#include "experiment/flags.hpp"
#include "experiment/plan.hpp"

namespace occam::experiment {

// A field that the case is called after, or that a flag of the experiment says, keeps its value.
void check_settled(const Field& field, const Case& before, const Case& after);

// dim: of the case's data. Coordinates, network, training and attacks.
void check_case(const PlannedCase& planned, int dim, const Options& options);

// Flags that change a field must mean something in one of the cases, which have their measures. own: before the flags.
void check_idle(const std::vector<Field>& table, const std::vector<Case>& own,
                const std::vector<PlannedCase>& cases, const Options& options);

// What votes can be held of and combined by. seeds: of the votes.
void check_votes(const Case& c, const Options& options, std::span<const Seeds> seeds);

}  // namespace occam::experiment
