// Training of an ensemble to each member's stop: what notebook 1's `fit_model` does for one model, for all
// members at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "occam/attack.hpp"
#include "occam/data.hpp"
#include "occam/metrics.hpp"
#include "occam/mlp.hpp"
#include "occam/optimizer.hpp"
#include "occam/perturbation.hpp"

namespace occam {

enum class StopCriterion : std::int32_t { none = 0, accuracy = 1, loss = 2 };

// Updates are numbered u = 0, 1, …; a check follows update u when u mod check_every = 0, that is after 1, g +
// 1, 2g + 1, … updates. At the first check with train accuracy >= 1 − epsilon (or train loss < epsilon)
// patience starts: patience − 1 more updates, periodic checks going on, then one final check. max_updates is
// exact and ends with a check.
struct StopRule {
  StopCriterion criterion = StopCriterion::accuracy;
  double epsilon = 1e-4;
  std::int64_t check_every = 5000;
  std::int64_t patience = 1;  // >= 1
  std::int64_t max_updates = 100'000;
  bool operator==(const StopRule&) const = default;
};

// Everything but the batch size and the precision may differ from member to member.
struct Training {
  Optimizer optimizer;
  Schedule schedule;
  StopRule stop;
  double input_dropout = 0.0, hidden_dropout = 0.0;  // probability of zeroing, in [0, 1)
  int batch = 256;
  Precision precision = Precision::fp32;
  bool in_order = false;  // every epoch takes the rows as they stand, none is shuffled
  // Adversarial training (Madry et al. 2018): every batch is first moved by this attack on the weights as
  // they are, in inference mode. The attack's own batch and seed are not used: the batch is the training's,
  // draws are keyed by the order seed, the place in the batch and the update.
  std::optional<Pgd> adversary;
  bool operator==(const Training&) const = default;
};

// Throws a usage error that names the field and its value. rows = training rows.
void validate(const Training& training, std::int64_t rows, const MlpSpec& spec);

struct Check {
  std::int64_t updates = 0;  // done so far
  bool periodic = false;     // follows an update u with u mod check_every = 0
  bool final = false;        // ends training
  double train_accuracy = 0, train_loss = 0;
  double validation_accuracy = -1, validation_loss = -1;  // −1: no validation split
  double test_accuracy = 0, test_loss = 0;
  std::vector<Score> randomized;  // one per FitOptions::at_checks, on the test set
  std::vector<Score> further;     // one per FitOptions::sets_at_checks
  // On the test set moved by PGD (FitOptions::attacks_at_checks); none where that is not asked for or losses are no numbers.
  std::optional<Score> pgd;
};

enum class FitStatus { converged, limit, diverged };

struct MemberHistory {
  std::vector<Check> checks;
  std::int64_t updates = 0;  // done
  FitStatus status = FitStatus::limit;
  // Index into checks of the best model: highest validation (else test) accuracy among the periodic checks
  // after update u > 0, ties to the later; −1: none, the best model is the last.
  int best_check = -1;
};
using History = std::vector<MemberHistory>;

// What training has of a member beside its parameters.
struct TrainingState {
  std::int64_t updates = 0;  // done
  // The optimiser's arrays, none to two, each in the order of the parameters: [layout.total]. Running moments have none
  // and are 0 there.
  std::vector<std::vector<float>> optimizer;
};

// A member under way, or done: with it fit() goes on, and every bit is that of a training without a break.
struct MemberState {
  TrainingState training;
  std::vector<float> last, best;  // [layout.total]; best: empty while it is the last
  MemberHistory history;          // its checks so far
};

struct FitOptions {
  std::vector<Randomization> at_checks;  // measured on the test set at every check
  bool test_at_checks = true;            // false: only the train set is measured (test scores are then −1)
  // Further data, [set][member], whose test rows are scored at every check, by as many members at a time as the device
  // holds beside those that train. A usage error for a set without one for each member, or without test rows.
  std::vector<std::vector<Data>> sets_at_checks;
  // Empty, or one a member: its PGD attacks the test rows at every check. Usage errors are those of attack().
  std::vector<AttackSuite> attacks_at_checks;
  // Called from worker threads as training advances, with the updates done since the last call.
  std::function<void(std::int64_t updates)> progress;
  // Called once for each member that has stopped, when its last and best parameters are in `models`; one call
  // at a time.
  std::function<void(int member, const MemberHistory&)> finished;
  // Empty, or one entry a member: where it goes on; null: it starts anew. The states outlive fit(). A usage error for that
  // of another network or optimiser, or whose checks another stop rule would have made.
  std::span<const MemberState* const> resumed;
  // Called from worker threads, one call at a time, with every member that is under way in a wave: before fit throws
  // Interrupted, and every so many seconds (0: not). Members whose wave is not open yet have no state.
  std::function<void(int member, MemberState&& state)> under_way;
  double under_way_every = 0;
  // Becomes true: fit throws Interrupted within about half a second, or after an update of every resident member where
  // that takes longer. How many updates half a second has is found out; the first look comes after 16.
  const std::atomic<bool>* interrupt = nullptr;
};

struct Interrupted {};

// Trains member i on data[i] with trainings[i] (equal batch sizes) and leaves its last and best parameters in
// `models`. A member that has parameters begins with these, at update 0 of a new optimiser, unless it is resumed. Only
// members that are resident hold data. A member whose loss at a check is not finite or above
// 1e6 ends with status diverged. Throws usage errors for impossible settings, device errors from the backend.
History fit(MlpEnsemble& models, std::span<const Data> data, std::span<const Training> trainings,
            const FitOptions& options = {});

}  // namespace occam
