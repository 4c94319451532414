// Measures a trained ensemble: the metrics and arrays of each of its members.
#pragma once

#include <span>
#include <vector>

#include "experiment/plan.hpp"
#include "experiment/record.hpp"

namespace occam::experiment {

// One member of an ensemble: which case and which seed it is.
struct Place {
  int planned_case = 0;
  int member = 0;
};

// All members share architecture, S, groups and measures. records[i] belongs to places[i] and already has its
// history.
void measure(const MlpEnsemble& models, std::span<const Data> data, const Plan& plan, const Options& options,
             std::span<const Place> places, std::span<MemberRecord> records);

// Training scores of the evaluated and of the other model, as the history's checks saw them.
void add_history(MemberRecord& record, Which evaluated);

// weights/<model>/layers.<l>.<tensor>
void add_weights(MemberRecord& record, const std::string& model, const MlpEnsemble& models,
                 std::span<const float> parameters);

// Every subset of `size` coordinates of `dim`, in lexicographic order.
std::vector<std::vector<int>> subsets(int dim, int size);

}  // namespace occam::experiment
