#include "experiment/verdicts.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

namespace occam::experiment {
namespace {

using Test = Expectation::Test;

bool tests_equivalence(const Expectation& e) {
  return e.test == Test::equivalence || e.test == Test::equivalence_and_prediction;
}

bool tests_prediction(const Expectation& e) {
  return e.test == Test::prediction || e.test == Test::equivalence_and_prediction;
}

int needed(const Expectation& e, DeviceKind device) {
  return device == DeviceKind::cuda ? e.seeds_cuda : e.seeds_cpu;
}

std::string share_text(std::int64_t successes, std::size_t trials) {
  const Interval interval = clopper_pearson(successes, static_cast<std::int64_t>(trials));
  return fmt::format("{}/{} [{:.3f}, {:.3f}]", successes, trials, interval.low, interval.high);
}

struct Outcome {
  bool holds = true;
  std::string detail;
  void add(bool part, const std::string& text) {
    holds = holds && part;
    detail += (detail.empty() ? "" : "; ") + text;
  }
};

void add_prediction(Outcome& outcome, const Row& row) {
  const Expectation& e = row.expectation;
  if (!row.published) {
    outcome.add(false, "no published value");
    return;
  }
  Interval interval = prediction_interval(row.values, e.analytic_deviation);
  interval.low -= e.published_resolution / 2;
  interval.high += e.published_resolution / 2;
  outcome.add(interval.contains(*row.published),
              fmt::format("95% prediction [{:.4f}, {:.4f}]", interval.low, interval.high));
}

void add_counts(Outcome& outcome, const Row& row) {
  const Expectation& e = row.expectation;
  if (e.test == Test::every) {
    const auto good =
        std::count_if(row.values.begin(), row.values.end(), [&](double v) { return v >= e.threshold; });
    outcome.add(good == static_cast<std::ptrdiff_t>(row.values.size()),
                fmt::format("{} at least {}", share_text(good, row.values.size()), e.threshold));
  } else if (e.test == Test::share) {
    const auto good = std::count_if(row.values.begin(), row.values.end(), [&](double v) {
      return std::find(e.values.begin(), e.values.end(), v) != e.values.end();
    });
    outcome.add(static_cast<double>(good) >= e.threshold * static_cast<double>(row.values.size()),
                fmt::format("{} at {}; {}", share_text(good, row.values.size()), fmt::join(e.values, ", "),
                            frequencies(row.values)));
  }
}

}  // namespace

std::string frequencies(std::span<const double> values) {
  std::map<double, std::int64_t> counts;
  for (double v : values) ++counts[v];
  std::vector<std::pair<double, std::int64_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [value, count] : sorted)
    text += fmt::format("{}{} ×{}", text.empty() ? "" : ", ", value, count);
  return text;
}

std::vector<Verdict> judge(std::span<const Row> rows, DeviceKind device) {
  // A row with too few seeds stays in Holm's family: leaving it out would make the others easier to pass.
  std::vector<double> p;
  for (const Row& row : rows)
    if (tests_equivalence(row.expectation))
      p.push_back(row.values.size() < 2
                      ? std::numeric_limits<double>::quiet_NaN()
                      : equivalence(row.values, row.expectation.center, row.expectation.margin).p);
  const std::vector<bool> equivalent = holm(p);

  std::vector<Verdict> verdicts;
  std::size_t next = 0;
  for (const Row& row : rows) {
    const Expectation& e = row.expectation;
    Outcome outcome;
    if (tests_equivalence(e)) {
      const bool holds = equivalent[next++];
      const Interval interval = equivalence(row.values, e.center, e.margin).interval;
      if (row.values.size() < 2)
        outcome.holds = false;
      else
        outcome.add(holds, fmt::format("90% interval [{:.4f}, {:.4f}] against {} ± {}", interval.low,
                                       interval.high, e.center, e.margin));
    }
    if (row.values.empty())
      outcome = {false, "no member is left"};
    else {
      if (tests_prediction(e) && row.values.size() > 1) add_prediction(outcome, row);
      add_counts(outcome, row);
    }
    Verdict verdict{outcome.holds ? "reproduced" : "not reproduced", outcome.detail};
    if (static_cast<int>(row.values.size()) < needed(e, device)) {
      verdict.word = "insufficient";
      verdict.detail += fmt::format("{}{} of {} seeds", verdict.detail.empty() ? "" : "; ", row.values.size(),
                                    needed(e, device));
    } else if (row.train_accuracy < e.least_train_accuracy) {
      verdict = {"void", fmt::format("train accuracy {:.4f} is below {}", row.train_accuracy,
                                     e.least_train_accuracy)};
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace occam::experiment
