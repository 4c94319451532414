// Trains and measures everything of a plan: data, models, fit, measures, record.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "experiment/checkpoint.hpp"
#include "experiment/measure.hpp"
#include "experiment/plan.hpp"
#include "experiment/progress.hpp"

namespace occam::experiment {

// Members that train as one ensemble: one architecture, one batch size, one S and the same measures.
std::vector<std::vector<Place>> groups_of(const Plan& plan, const Records& done);

// Members of one call of `fit`: enough to keep every thread of a CPU busy, and and no more than 1 GiB of parameters (last
// and best, on the host) allow, on a GPU 8 GiB. A finished call is safe in the next checkpoint.
std::size_t call_members(const MlpSpec& spec, const Device& device);

struct TrainHooks {
  Progress* progress = nullptr;
  const std::atomic<bool>* interrupt = nullptr;
  std::function<void()> saved;  // called when `records` has grown
};

// Adds the missing members to `records`. Returns false when it was interrupted; every member that had stopped
// by then is in `records`.
bool train(const Plan& plan, const Options& options, const Device& device, const TrainHooks& hooks,
           Records& records, Seconds& seconds);

}  // namespace occam::experiment
