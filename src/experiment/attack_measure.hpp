// Attacks a trained ensemble: the metrics and arrays of each of its members.
#pragma once

#include <span>

#include "experiment/measure.hpp"
#include "occam/limits.hpp"

namespace occam::experiment {

// Bounds that keep nothing out.
inline constexpr double kUnbounded = kMostBound;

// The step that a step of 0 stands for. A radius of 0 takes any.
inline double usual_step(double epsilon, int iterations) {
  return epsilon > 0 ? 2.5 * epsilon / iterations : 1;
}

// Adds to records[i], which belongs to places[i], what the attacks of its case do to the evaluated model; the
// perturbations of PGD are kept for the first `keep` members of a case.
void measure_attacks(const MlpEnsemble& models, std::span<const Data> data, const Plan& plan, int keep,
                     std::span<const Place> places, std::span<MemberRecord> records);

}  // namespace occam::experiment
