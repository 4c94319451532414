// Votes: several networks trained on one data set, whose outputs are combined into one answer (Shah et al.
// 2020, appendix E.1 and notebook 4). The members' outputs on the same rows make a ballot; a combiner turns
// a ballot into logits.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "occam/data.hpp"
#include "occam/metrics.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"

namespace occam {

enum class Combiner : std::int32_t {
  average = 0,  // mean of the logits
  softmax = 1,  // logarithm of the mean of the members' probabilities
  linear = 2,   // a linear map of all outputs, trained; starts from 1 / (outputs · members) each and bias 0
  mlp = 3,      // one hidden layer of outputs · members ReLU units, trained
};

const char* name_of(Combiner combiner);  // "average"
bool is_trained(Combiner combiner);

// What the members of a vote say about the rows of one set. All outputs 0 come first, then all outputs 1, …
struct Ballot {
  int members = 0, outputs = 0;
  Loss loss = Loss::cross_entropy;   // the members' own
  std::vector<float> values;         // [rows][outputs][members], logits
  std::vector<std::int32_t> labels;  // [rows]

  std::int64_t rows() const { return static_cast<std::int64_t>(labels.size()); }
  int inputs() const { return outputs * members; }  // of a trained combiner
  // The ballot of the first `count` members alone. A usage error for fewer than 1 or more than there are.
  Ballot first(int count) const;
};

// A set of rows that a vote is held on. Randomised against the labels: the same rows for all members.
struct Poll {
  Split split = Split::test;
  Randomization variant;
};

// ballots[poll]: what all members of `models` say, in one pass over the members. Throws a usage error for a variant
// against predictions, and what logits() throws.
std::vector<Ballot> ballots(const MlpEnsemble& models, const Data& data, std::span<const Poll> polls,
                            Which which = Which::last);

// Here and below a ballot whose values or labels do not fit its sizes is a usage error.
// Logits [rows][outputs] of a combiner that needs no training. Means are taken in double precision. Usage errors: a
// combiner that must be trained; softmax of one output.
std::vector<float> combine(Combiner combiner, const Ballot& ballot);

// How Shah et al.'s code trains a combiner: batches in order, SGD with learning rate 0.05 (or Adam with
// 0.001) and weight decay 5e-5 (Adam: none), to a train loss below 0.01, checked every 1,000 updates.
// `batch` is that of the training set.
Training combiner_training(int batch, OptimizerKind optimizer = OptimizerKind::sgd);

// A trained combiner: a network of one member whose inputs are a ballot's values. It is trained on the CPU,
// whatever device the members are on, and judged by its best model (highest accuracy on the validation
// ballot, on the test ballot where there is none). `validation` may be empty. `seed` draws the first weights
// of an MLP. Usage errors: a combiner that needs no training, ballots of other members or outputs, values that are not
// finite, and those of fit().
struct TrainedCombiner {
  MlpEnsemble network;
  MemberHistory history;
};
TrainedCombiner train_combiner(Combiner combiner, const Ballot& train, const Ballot& validation,
                               const Ballot& test, std::uint32_t seed, const Training& training,
                               const FitOptions& options = {});

// Logits [rows][outputs] of a trained combiner's best model. A usage error for a ballot of another size.
std::vector<float> combine(const TrainedCombiner& combiner, const Ballot& ballot);

// Accuracy, mean loss and AUC of logits [rows][ballot.outputs] on the ballot's rows. A usage error without rows, and for
// logits of another length.
Score score(std::span<const float> logits, const Ballot& ballot);

// Seeds of member k of the vote with these seeds: the data are shared, initialisation and order are 1024 ·
// seed + k (modulo 2^32). The first members of a vote are those of any smaller one. A usage error for k outside
// 0 … kMostVoters − 1.
inline constexpr int kMostVoters = 1024;
Seeds voter_seeds(const Seeds& vote, int member);

}  // namespace occam
