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

// Members that train as one ensemble: one architecture, one batch size, one S and the same measures. Of cases that share
// a training the one it is trained for stands for all, until every one has measured it.
std::vector<std::vector<Place>> groups_of(const Plan& plan, const Records& done);

// Networks of the calls of `fit`, one call after the other: enough to keep every thread of a CPU or a whole GPU busy,
// and no more than 1 GiB of parameters (last and best, on the host) allow, on a GPU 8 GiB. What a call trains is
// measured and kept at its end, so within those limits it should take minutes. Networks that several cases measure are
// copied for it, no more than a call has at a time.
class CallSize {
 public:
  CallSize(const MlpSpec& spec, const Device& device);
  std::size_t networks() const { return static_cast<std::size_t>(networks_); }
  void took(std::size_t networks, double seconds);

 private:
  static constexpr double kSeconds = 300;
  std::int64_t unit_, least_, most_, networks_;
};

struct TrainHooks {
  Progress* progress = nullptr;
  // Members that are not in `records` and go on from here; those under way are told and kept here now and then, and
  // when train() is interrupted. Null: they start anew.
  States* states = nullptr;
  const std::atomic<bool>* interrupt = nullptr;
  // Called when `records` or `states` has changed, from any thread, one call at a time.
  std::function<void()> saved;
  // Seconds after the request to stop in which members that have trained may still be measured. Clusters wait half a
  // minute before they kill.
  double grace = 20;
};

// Adds the missing members to `records`. Returns false when it was interrupted; every member that had stopped
// by then, and could be measured within the grace, is in `records`.
bool train(const Plan& plan, const Options& options, const Device& device, const TrainHooks& hooks,
           Records& records, Seconds& seconds);

}  // namespace occam::experiment
