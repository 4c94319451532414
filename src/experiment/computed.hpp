// The frame's part of occam/computation.hpp: flags, plan and members of an experiment that computes its
// members itself.
#pragma once

#include <vector>

#include "experiment/fields.hpp"
#include "experiment/plan.hpp"
#include "experiment/train.hpp"
#include "occam/computation.hpp"

namespace occam::experiment {

// The numbers of a computation as fields of a case.
std::vector<Field> fields_of(const Computation& computation);

// `options.fields` holds every number's values.
Plan make_plan(const std::string& experiment, const std::vector<Case>& own, const Computation& computation,
               const Options& options, int default_seeds);

// As `train`.
bool compute(const Plan& plan, const Computation& computation, const Device& device, const TrainHooks& hooks,
             Records& records, Seconds& seconds);

}  // namespace occam::experiment
