// What a run leaves behind, and what it prints: result.json, cases.csv, timing.json, arrays.npz and the
// console's tables.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "experiment/checkpoint.hpp"
#include "experiment/plan.hpp"
#include "experiment/verdicts.hpp"
#include "occam/device.hpp"

namespace occam::experiment {

// One judged expectation of a case.
struct Judged {
  int planned_case;
  std::string metric;  // or "a - b"
  Verdict verdict;
};

// What the writers share.
struct Run {
  std::string experiment;
  const Plan& plan;
  const Options& options;
  const Device& device;
  const Records& records;
  std::string command;

  const MemberRecord& record(std::size_t c, std::size_t m) const {
    return records.at({static_cast<int>(c), static_cast<int>(m)});
  }
  // Names of a case's metrics, in order.
  std::vector<std::string> metric_names(std::size_t c) const;
  // One value per member; NaN where it diverged. "a - b" is the difference of two metrics.
  std::vector<double> values(std::size_t c, const std::string& name) const;
  // Those that are numbers.
  std::vector<double> valid_values(std::size_t c, const std::string& name) const;
  // The published number for a metric, if there is one.
  std::optional<double> published(std::size_t c, const std::string& name) const;
  // The original code's values of ten seeds, run elsewhere; empty where there are none.
  std::vector<double> original_seeds(std::size_t c, const std::string& name) const;
};

// Verdicts of every case whose settings are the published ones.
std::vector<Judged> judge_all(const Run& run);

// Metrics of a case that are worth a line on the console and in the report: the usual ones, those asked for, published or
// judged; losses and the other model's stay in the files.
std::vector<std::string> shown_metrics(const Run& run, std::size_t c, const std::vector<Judged>& judged);

nlohmann::ordered_json result_json(const Run& run, const std::vector<Judged>& judged);
std::string cases_csv(const Run& run);
std::string timing_json(const Run& run, const Seconds& seconds);
void write_arrays(const Run& run, const std::filesystem::path& path);
std::string console_table(const Run& run, const std::vector<Judged>& judged);

// Shares of the variance of a metric by the factors of the seeds, and what is left over; empty without two
// factors.
std::vector<double> shares_of(const Run& run, std::size_t c, const std::string& name);

// Makes report.html in `folder` by tools/report; false, and one line on standard error, when that cannot be
// done.
bool make_report(const std::string& experiment, const std::filesystem::path& folder);

}  // namespace occam::experiment
