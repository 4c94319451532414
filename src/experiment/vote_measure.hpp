// Measures a vote: the metrics and arrays of one seed of a case with votes.
#pragma once

#include <span>

#include "experiment/plan.hpp"
#include "experiment/record.hpp"

namespace occam::experiment {

// `networks` are those of one vote, with one history each; all are trained on `data`. `kept`: the record
// holds the vote's scores, too. Replaces the record's history: updates are those of all networks together,
// the checks are those of the first, and a network that diverged or met its limit says so for the vote.
void measure_vote(const MlpEnsemble& networks, std::span<const MemberHistory> histories, const Data& data,
                  const PlannedCase& planned, bool kept, MemberRecord& record);

}  // namespace occam::experiment
