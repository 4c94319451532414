// The rules of when a quantity counts as reproduced (docs/results.md has the table).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "occam/experiment.hpp"
#include "occam/statistics.hpp"

namespace occam::experiment {

// One row of a verdict table: an expectation and the values it judges, of the members that did not diverge.
struct Row {
  int planned_case = 0;
  Expectation expectation;
  std::vector<double> values;
  std::optional<double> published;
  double train_accuracy = 1;          // mean over the same members
  std::vector<double> original = {};  // what the original code gave seed by seed, where that is known
  std::size_t lost = 0;               // members without a value: diverged, or it does not exist for them
};

struct Verdict {
  std::string word;    // reproduced, not reproduced, insufficient, void
  std::string detail;  // "90% interval [0.4981, 0.5012] against 0.5 ± 0.01"
};

// Holm's method runs over the equivalence tests of all rows.
std::vector<Verdict> judge(std::span<const Row> rows, DeviceKind device);

// How often each value occurs: "5001 ×19, 10001 ×1", the most frequent first.
std::string frequencies(std::span<const double> values);

}  // namespace occam::experiment
