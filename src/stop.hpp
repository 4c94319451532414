// When a member is checked and when it stops (occam/training.hpp, StopRule): a pure state machine over update
// counts.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "occam/training.hpp"

namespace occam {

class StopState {
 public:
  explicit StopState(const StopRule& rule) : rule_(rule) {}

  bool finished() const { return finished_; }
  FitStatus status() const { return status_; }
  std::int64_t updates() const { return updates_; }

  // How many updates to do before the next check.
  std::int64_t until_check() const { return next_check() - updates_; }

  // The check after these updates was made; says what it was. Values are those of the training set;
  // `worst_loss` is the larger of its loss and the test (or validation) loss.
  struct Outcome {
    bool periodic;  // follows update u with u mod check_every = 0
    bool final;     // training ends here
  };
  Outcome check(double train_accuracy, double train_loss, double worst_loss) {
    updates_ = next_check();
    const bool periodic = (updates_ - 1) % rule_.check_every == 0;
    if (!std::isfinite(train_loss) || !std::isfinite(worst_loss) || worst_loss > kDivergedLoss) {
      finished_ = true;
      status_ = FitStatus::diverged;
      return {periodic, true};
    }
    const bool reached = rule_.criterion == StopCriterion::accuracy ? train_accuracy >= 1.0 - rule_.epsilon
                         : rule_.criterion == StopCriterion::loss   ? train_loss < rule_.epsilon
                                                                    : false;
    if (reached && end_ < 0) {
      end_ = updates_ + rule_.patience - 1;
      status_ = FitStatus::converged;
    }
    finished_ = updates_ == end_ || updates_ == rule_.max_updates;
    return {periodic, finished_};
  }

 private:
  static constexpr double kDivergedLoss = 1e6;

  std::int64_t next_check() const {
    // The first update count above updates_ that is 1 mod check_every.
    const std::int64_t periodic =
        updates_ == 0 ? 1 : (updates_ - 1) / rule_.check_every * rule_.check_every + rule_.check_every + 1;
    const std::int64_t end = end_ > updates_ ? std::min(end_, rule_.max_updates) : rule_.max_updates;
    return std::min(periodic, end);
  }

  StopRule rule_;
  std::int64_t updates_ = 0;
  std::int64_t end_ = -1;  // where patience ends; −1: not started
  bool finished_ = false;
  FitStatus status_ = FitStatus::limit;
};

}  // namespace occam
