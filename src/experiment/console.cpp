#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "experiment/fields.hpp"
#include "experiment/progress.hpp"
#include "experiment/results.hpp"
#include "occam/error.hpp"

namespace occam::experiment {
namespace {

// How many columns a terminal shows: UTF-8 continuation bytes take none.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t columns) {
  return text + std::string(columns > width(text) ? columns - width(text) : 0, ' ');
}

const char* const kUsual[] = {"iid_accuracy",
                              "uniform_accuracy",
                              "swapped_accuracy",
                              "conflict_accuracy",
                              "standard_auc",
                              "s_randomized_auc",
                              "sc_randomized_auc",
                              "standard_accuracy",
                              "s_randomized_accuracy",
                              "sc_randomized_accuracy",
                              "train_accuracy",
                              "train_loss",
                              "pgd_accuracy",
                              "pgd_share",
                              "pgd_norm",
                              "svd_uap_accuracy",
                              "svd_uap_share",
                              "as_uap_accuracy",
                              "as_uap_share",
                              "networks_standard_accuracy",
                              "networks_s_randomized_auc",
                              "updates"};

}  // namespace

std::vector<std::string> shown_metrics(const Run& run, std::size_t c, const std::vector<Judged>& judged) {
  std::vector<std::string> shown;
  for (const std::string& name : run.metric_names(c)) {
    // Votes of several sizes and combiners add theirs.
    const bool usual = std::ranges::any_of(
        kUsual, [&](const std::string& one) { return name == one || name.starts_with(one + "_"); });
    const bool verdict = std::ranges::any_of(judged, [&](const Judged& row) {
      return row.planned_case == static_cast<int>(c) && row.metric == name;
    });
    const bool asked = name.starts_with("per_coordinate") || name.starts_with("subset") ||
                       name.find("s_swapped_auc") != name.npos || name.find("sc_swapped_auc") != name.npos ||
                       name.ends_with("_agreement") || name.starts_with("validation_accuracy") ||
                       (name.ends_with("_randomized_auc"));
    const bool other = name.starts_with("best_") || name.starts_with("last_");
    const bool both = name == "best_at_update" || name == "best_s_randomized_auc" ||
                      name == "best_standard_accuracy" || name == "last_s_randomized_auc" ||
                      name == "last_standard_accuracy";
    const bool computed = !run.plan.cases[c].settings.numbers.empty();
    if (computed || verdict || run.published(c, name) || (!other && (usual || asked)) || both)
      shown.push_back(name);
  }
  for (const Judged& row : judged)  // differences, and what there is no metric for
    if (row.planned_case == static_cast<int>(c) && std::ranges::count(shown, row.metric) == 0)
      shown.push_back(row.metric);
  return shown;
}

namespace {

// A published number with the digits it was printed with, three at least where it is no count.
std::string published_text(const std::string& name, double value) {
  if (name == "updates" || name == "best_at_update") return fmt::format("{:.0f}", value);
  const std::string shortest = fmt::format("{}", value), three = fmt::format("{:.3f}", value);
  return shortest.size() > three.size() ? shortest : three;
}

std::string value_text(const std::string& name, std::vector<double> values, bool product) {
  if (values.empty()) return "-";
  const bool whole = name == "updates" || name == "best_at_update";
  if (whole) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    if (*low == *high) return fmt::format("{:.0f}", *low);
    return fmt::format("{:.0f} (median {:.0f})", mean(values), median(values));
  }
  const bool loss = name.find("loss") != name.npos;
  const std::string center = loss ? fmt::format("{:.3g}", mean(values)) : fmt::format("{:.4f}", mean(values));
  if (values.size() < 2) return center;
  if (product) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    return loss ? fmt::format("{} ({:.3g} to {:.3g})", center, *low, *high)
                : fmt::format("{} ({:.4f} to {:.4f})", center, *low, *high);
  }
  const double half = (t_interval(values).high - t_interval(values).low) / 2;
  return loss ? fmt::format("{} ± {:.2g}", center, half) : fmt::format("{} ± {:.4f}", center, half);
}

// "5 seeds: 4 converged, 1 diverged (left out)"
std::string status_text(const Run& run, std::size_t c) {
  int converged = 0, limit = 0, diverged = 0;
  for (std::size_t m = 0; m < run.plan.members.size(); ++m) switch (run.record(c, m).history.status) {
      case FitStatus::converged: ++converged; break;
      case FitStatus::limit: ++limit; break;
      case FitStatus::diverged: ++diverged; break;
    }
  std::string text =
      fmt::format("{} {}{}", run.plan.members.size(), run.plan.members.product ? "member" : "seed",
                  run.plan.members.size() == 1 ? "" : "s");
  std::vector<std::string> parts;
  if (converged) parts.push_back(fmt::format("{} converged", converged));
  if (limit) parts.push_back(fmt::format("{} at the limit of updates", limit));
  if (diverged) parts.push_back(fmt::format("{} diverged and left out", diverged));
  return fmt::format("{}: {}", text, fmt::join(parts, ", "));
}

void add_shares(std::string& text, const Run& run, std::size_t c, const std::vector<std::string>& names) {
  if (run.plan.members.factors.size() < 2) return;
  bool headed = false;
  for (const std::string& name : names) {
    const std::vector<double> shares = shares_of(run, c, name);
    if (shares.empty()) continue;
    if (!std::exchange(headed, true)) text += "  shares of the variance:\n";
    text += "    " + padded(name, 34);
    for (std::size_t f = 0; f < shares.size(); ++f)
      text += fmt::format("  {} {:.1f}%",
                          f < run.plan.members.factors.size() ? run.plan.members.factors[f].name : "rest",
                          100 * shares[f]);
    text += "\n";
  }
}

}  // namespace

std::string console_table(const Run& run, const std::vector<Judged>& judged) {
  std::string text;
  for (std::size_t c = 0; c < run.plan.cases.size(); ++c) {
    const PlannedCase& planned = run.plan.cases[c];
    text += fmt::format("\n{}  ({})\n", planned.settings.name, status_text(run, c));
    const std::vector<std::string> names = shown_metrics(run, c, judged);
    std::size_t column = 36;
    for (const std::string& name : names) column = std::max(column, width(name) + 2);
    // Members of a product share seeds: an interval would need them independent.
    const bool product = run.plan.members.factors.size() > 1;
    text += "  " + padded("", column) + padded(product ? "mean (least to most)" : "mean ± 95%", 24) +
            padded("published", 11) + "verdict\n";
    for (const std::string& name : names) {
      const std::optional<double> published = run.published(c, name);
      std::string line = "  " + padded(name, column) +
                         padded(value_text(name, run.valid_values(c, name), product), 24) +
                         padded(published ? published_text(name, *published) : "", 11);
      for (const Judged& row : judged)
        if (row.planned_case == static_cast<int>(c) && row.metric == name)
          line += row.verdict.word + ": " + row.verdict.detail;
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
    add_shares(text, run, c, names);
    if (!planned.as_published && !planned.settings.expectations.empty())
      text += "  settings differ from the published protocol: no published values, no verdicts\n";
    else if (run.plan.members.product && !planned.settings.expectations.empty())
      text += "  members share seeds: no verdicts\n";
  }
  return text;
}

}  // namespace occam::experiment
