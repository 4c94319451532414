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
  return e.test == Test::prediction || e.test == Test::equivalence_and_prediction ||
         e.test == Test::prediction_logit;
}

// Tests that count members, where one that diverged has failed.
bool counts_members(const Expectation& e) {
  return e.test == Test::every || e.test == Test::every_at_most || e.test == Test::none_rejected ||
         e.test == Test::share || e.test == Test::share_above;
}

double logit(double p) { return std::log(p / (1 - p)); }
double inverse_logit(double x) { return 1 / (1 + std::exp(-x)); }

bool inside_0_1(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v > 0 && v < 1; });
}

std::vector<double> logits_of(std::span<const double> values) {
  std::vector<double> result;
  for (const double v : values) result.push_back(logit(v));
  return result;
}

// The 95% prediction interval, taken on the logit scale and carried back. A deviation of p becomes that of
// its logit by the slope there, 1 / (p (1 − p)).
Interval logit_prediction_interval(std::span<const double> values, double analytic_deviation) {
  const std::vector<double> logits = logits_of(values);
  const double p = inverse_logit(mean(logits));
  const Interval interval = prediction_interval(logits, analytic_deviation / (p * (1 - p)));
  return {inverse_logit(interval.low), inverse_logit(interval.high)};
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
  const bool logarithmic = e.test == Test::prediction_logit;
  if (!row.published) {
    outcome.add(false, "no published value");
    return;
  }
  if (row.values.size() < 2) {
    outcome.add(false, "a prediction interval needs two members");
    return;
  }
  if (logarithmic && !(inside_0_1(row.values) && inside_0_1({&*row.published, 1}))) {
    outcome.add(false, "0 and 1 have no logit: values strictly between them are needed");
    return;
  }
  Interval interval = logarithmic ? logit_prediction_interval(row.values, e.analytic_deviation)
                                  : prediction_interval(row.values, e.analytic_deviation);
  interval.low -= e.published_resolution / 2;
  interval.high += e.published_resolution / 2;
  if (logarithmic) interval.low = std::max(0.0, interval.low), interval.high = std::min(1.0, interval.high);
  outcome.add(interval.contains(*row.published),
              fmt::format("95% prediction [{:.4f}, {:.4f}]{}", interval.low, interval.high,
                          logarithmic ? " by logits" : ""));
  // Told beside the verdict, not part of it.
  if (logarithmic && row.original.size() > 1 && inside_0_1(row.original))
    outcome.add(true, fmt::format("Welch against {} seeds of the original: p = {:.3g}", row.original.size(),
                                  welch_test(logits_of(row.values), logits_of(row.original))));
}

void add_counts(Outcome& outcome, const Row& row) {
  const Expectation& e = row.expectation;
  const std::size_t all = row.values.size() + row.lost;
  const auto members = static_cast<double>(all);
  const auto count = [&](auto holds) {
    return static_cast<std::int64_t>(std::count_if(row.values.begin(), row.values.end(), holds));
  };
  if (e.test == Test::every || e.test == Test::every_at_most) {
    const bool least = e.test == Test::every;
    const std::int64_t good = count([&](double v) { return least ? v >= e.threshold : v <= e.threshold; });
    outcome.add(static_cast<double>(good) == members,
                fmt::format("{} at {} {}", share_text(good, all), least ? "least" : "most", e.threshold));
  } else if (e.test == Test::share) {
    const std::int64_t good =
        count([&](double v) { return std::find(e.values.begin(), e.values.end(), v) != e.values.end(); });
    outcome.add(static_cast<double>(good) >= e.threshold * members,
                fmt::format("{} at {}; {}", share_text(good, all), fmt::join(e.values, ", "),
                            frequencies(row.values)));
  } else if (e.test == Test::share_above) {
    const std::int64_t above = count([&](double v) { return v > e.threshold; });
    constexpr double kRounding = 1e-9;  // 0.05 · 20 is one member
    const double least = static_cast<double>(above) / members;
    const double most = static_cast<double>(above + static_cast<std::int64_t>(row.lost)) / members;
    outcome.add(least >= e.least_share - kRounding && most <= e.most_share + kRounding,
                fmt::format("{} above {}, expected {} to {} of them", share_text(above, all), e.threshold,
                            e.least_share, e.most_share));
  }
  if (row.lost > 0)
    outcome.add(true, counts_members(e)
                          ? fmt::format("{} of them without a value", row.lost)
                          : fmt::format("{} of {} without a value are left out", row.lost, all));
}

// Of each row with this test, how many of its members are rejected after Holm's correction over those of all of them.
std::vector<std::int64_t> rejected_members(std::span<const Row> rows) {
  std::vector<double> p;
  for (const Row& row : rows)
    if (row.expectation.test == Test::none_rejected) p.insert(p.end(), row.values.begin(), row.values.end());
  const std::vector<bool> rejected = holm(p);
  std::vector<std::int64_t> counts;
  auto next = rejected.begin();
  for (const Row& row : rows) {
    if (row.expectation.test != Test::none_rejected) continue;
    const auto end = next + static_cast<std::ptrdiff_t>(row.values.size());
    counts.push_back(std::count(next, end, true));
    next = end;
  }
  return counts;
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
  const std::vector<std::int64_t> rejected = rejected_members(rows);

  std::vector<Verdict> verdicts;
  std::size_t next = 0, next_rejected = 0;
  for (const Row& row : rows) {
    const Expectation& e = row.expectation;
    Outcome outcome;
    if (e.test == Test::none_rejected) {
      const std::int64_t count = rejected[next_rejected++];
      outcome.add(count == 0 && row.lost == 0,
                  fmt::format("{} of {} rejected at 5% after Holm's correction", count, row.values.size()));
    }
    if (tests_equivalence(e)) {
      const bool holds = equivalent[next++];
      const Interval interval = equivalence(row.values, e.center, e.margin).interval;
      if (row.values.size() < 2) {
        outcome.holds = false;
      } else {
        outcome.add(holds, fmt::format("90% interval [{:.4f}, {:.4f}] against {} ± {}", interval.low,
                                       interval.high, e.center, e.margin));
        if (!holds && equivalence(row.values, e.center, e.margin).p < 0.05)
          outcome.add(false, fmt::format("not after Holm's correction over {} rows", p.size()));
      }
    }
    const std::size_t judged = row.values.size() + (counts_members(e) ? row.lost : 0);
    if (judged == 0)
      outcome = {false, "no member is left"};
    else {
      if (tests_prediction(e)) add_prediction(outcome, row);
      add_counts(outcome, row);
    }
    Verdict verdict{outcome.holds ? "reproduced" : "not reproduced", outcome.detail};
    if (static_cast<int>(judged) < needed(e, device)) {
      verdict.word = "insufficient";
      verdict.detail +=
          fmt::format("{}{} of {} seeds", verdict.detail.empty() ? "" : "; ", judged, needed(e, device));
    } else if (row.train_accuracy < e.least_train_accuracy) {
      verdict = {"void", fmt::format("train accuracy {:.4f} is below {}", row.train_accuracy,
                                     e.least_train_accuracy)};
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace occam::experiment
