#include "experiment/results.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include <cblas.h>

#include "explain.hpp"
#include "occam/error.hpp"
#include "occam/statistics.hpp"
#include "occam_build_info.hpp"

namespace occam::experiment {
namespace {

const char* status_word(FitStatus status) {
  switch (status) {
    case FitStatus::converged: return "converged";
    case FitStatus::limit: return "limit";
    case FitStatus::diverged: return "diverged";
  }
  return "";
}

// Whole numbers are written without a fraction.
nlohmann::ordered_json number(double value) {
  if (std::isfinite(value) && value == std::floor(value) && std::abs(value) < 1e15 && std::abs(value) > 1)
    return static_cast<std::int64_t>(value);
  return value;  // NaN becomes null
}

// The version of NVIDIA's kernel driver; empty on a CPU.
std::string driver_of(const Device& device) {
  if (device.kind == DeviceKind::cpu) return "";
  std::string version;
  std::ifstream("/sys/module/nvidia/version") >> version;
  return version.empty() ? "unknown" : version;
}

// OpenBLAS as this process has it: its version, and the processor whose kernels it chose, on which its bits
// depend too.
std::string openblas() {
  std::istringstream config(openblas_get_config());  // "OpenBLAS 0.3.21 DYNAMIC_ARCH …"
  std::string name, version;
  config >> name >> version;
  return version + " " + openblas_get_corename();
}

nlohmann::ordered_json provenance(const Run& run) {
  nlohmann::ordered_json p;
  p["command"] = run.command;
  p["commit"] = build_info::commit;
  p["dirty"] = build_info::dirty;
  p["compiler"] = build_info::compiler;
  p["flags"] = build_info::flags;
  nlohmann::ordered_json libraries = nlohmann::ordered_json::object();
  for (const build_info::Library& library : build_info::libraries) libraries[library.name] = library.version;
  libraries["OpenBLAS"] = openblas();
  p["libraries"] = libraries;
  p["threads"] = run.device.threads;
  p["driver"] = driver_of(run.device);
  p["data_checksums"] = nlohmann::ordered_json::object();
  for (const auto& [file, sum] : run.plan.data_checksums) p["data_checksums"][file] = sum;
  return p;
}

// What was published for a case: the numbers, without the seconds of somebody else's machine.
nlohmann::ordered_json published_json(const PlannedCase& planned) {
  nlohmann::ordered_json result = nlohmann::ordered_json::object();
  if (!planned.published.is_object() || !planned.published.contains("published")) return result;
  for (const auto& [key, value] : planned.published["published"].items())
    if (!key.ends_with("_seconds")) result[key] = value;
  return result;
}

nlohmann::ordered_json case_json(const Run& run, std::size_t c, const std::vector<Judged>& judged) {
  const PlannedCase& planned = run.plan.cases[c];
  const Members& members = run.plan.members;
  nlohmann::ordered_json j;
  j["name"] = planned.settings.name;
  j["config"] = planned.config;
  if (!planned.data.empty())
    j["plan"] = plan_of(run.device, planned.settings.network, planned.settings.training,
                        std::holds_alternative<ShapeData>(planned.data.front()));
  j["seeds"] = members.labels;
  if (members.product) {
    for (const char* name : {"data", "init", "order"})
      j["member_seeds"][name] = nlohmann::ordered_json::array();
    for (const Seeds& seeds : members.seeds) {
      j["member_seeds"]["data"].push_back(seeds.data);
      j["member_seeds"]["init"].push_back(seeds.init);
      j["member_seeds"]["order"].push_back(seeds.order);
    }
  }
  j["status"] = nlohmann::ordered_json::array();
  for (std::size_t m = 0; m < members.size(); ++m)
    j["status"].push_back(status_word(run.record(c, m).history.status));
  j["metrics"] = nlohmann::ordered_json::object();
  for (const std::string& name : run.metric_names(c)) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (double value : run.values(c, name)) list.push_back(number(value));
    j["metrics"][name] = std::move(list);
  }
  for (const Judged& row : judged)  // differences
    if (row.planned_case == static_cast<int>(c) && !j["metrics"].contains(row.metric)) {
      j["metrics"][row.metric] = nlohmann::ordered_json::array();
      for (double value : run.values(c, row.metric)) j["metrics"][row.metric].push_back(number(value));
    }
  j["shown"] = shown_metrics(run, c, judged);
  if (!planned.settings.expectations.empty()) j["protocol"] = planned.as_published ? "published" : "changed";
  j["published"] = published_json(planned);
  j["verdicts"] = nlohmann::ordered_json::object();
  j["verdict_details"] = nlohmann::ordered_json::object();
  for (const Judged& row : judged)
    if (row.planned_case == static_cast<int>(c)) {
      j["verdicts"][row.metric] = row.verdict.word;
      j["verdict_details"][row.metric] = row.verdict.detail;
    }
  // Half the width of what counts as equal to the published value, where that is a number.
  nlohmann::ordered_json tolerances = nlohmann::ordered_json::object();
  if (planned.as_published)
    for (const Expectation& e : planned.settings.expectations)
      if (e.margin > 0) tolerances[e.quantity()] = e.margin;
  if (!tolerances.empty()) j["tolerances"] = tolerances;
  if (members.factors.size() > 1) {
    nlohmann::ordered_json shares = nlohmann::ordered_json::object();
    for (const std::string& name : run.metric_names(c)) {
      const std::vector<double> parts = shares_of(run, c, name);
      for (std::size_t f = 0; f < parts.size(); ++f)
        shares[name][f < members.factors.size() ? members.factors[f].name : "rest"] = parts[f];
    }
    j["variance_shares"] = shares;
  }
  return j;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char ch : text) quoted += ch == '"' ? std::string("\"\"") : std::string(1, ch);
  return quoted + "\"";
}

}  // namespace

std::vector<std::string> Run::metric_names(std::size_t c) const {
  std::vector<std::string> names;
  for (std::size_t m = 0; m < plan.members.size(); ++m)
    for (const auto& [name, value] : record(c, m).metrics)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  return names;
}

std::vector<double> Run::values(std::size_t c, const std::string& name) const {
  if (const auto at = name.find(" - "); at != name.npos) {  // a difference, member by member
    std::vector<double> result = values(c, name.substr(0, at));
    const std::vector<double> minus = values(c, name.substr(at + 3));
    for (std::size_t m = 0; m < result.size(); ++m) result[m] -= minus[m];
    return result;
  }
  std::vector<double> result;
  for (std::size_t m = 0; m < plan.members.size(); ++m) {
    const MemberRecord& member = record(c, m);
    result.push_back(member.diverged() ? kNan : metric(member, name));
  }
  return result;
}

std::vector<double> Run::valid_values(std::size_t c, const std::string& name) const {
  std::vector<double> result = values(c, name);
  std::erase_if(result, [](double v) { return !std::isfinite(v); });
  return result;
}

std::optional<double> Run::published(std::size_t c, const std::string& name) const {
  const nlohmann::json& entry = plan.cases[c].published;
  if (!entry.is_object() || !entry.contains("published")) return std::nullopt;
  const auto found = entry["published"].find(name);
  if (found == entry["published"].end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::vector<double> Run::original_seeds(std::size_t c, const std::string& name) const {
  const nlohmann::json& entry = plan.cases[c].published;
  if (!entry.is_object() || !entry.contains("original_cpu_ten_seeds")) return {};
  const auto found = entry["original_cpu_ten_seeds"].find(name);
  if (found == entry["original_cpu_ten_seeds"].end()) return {};
  return found->get<std::vector<double>>();
}

std::vector<double> shares_of(const Run& run, std::size_t c, const std::string& name) {
  if (run.plan.members.factors.size() < 2) return {};
  return variance_shares(run.values(c, name), run.plan.members.levels);
}

std::vector<Judged> judge_all(const Run& run) {
  std::vector<Row> rows;
  std::vector<Judged> judged;
  // Verdicts are about independent members; members of a product share seeds.
  if (run.plan.members.product) return judged;
  for (std::size_t c = 0; c < run.plan.cases.size(); ++c) {
    const PlannedCase& planned = run.plan.cases[c];
    if (!planned.as_published) continue;
    for (const Expectation& e : planned.settings.expectations) {
      const std::vector<double> train = run.valid_values(c, "train_accuracy");
      const std::string name = e.quantity();
      std::vector<double> values = run.valid_values(c, name);
      const std::size_t lost = run.plan.members.size() - values.size();
      rows.push_back({static_cast<int>(c), e, std::move(values), run.published(c, name),
                      train.empty() ? 0.0 : mean(train), run.original_seeds(c, name), lost});
    }
  }
  const std::vector<Verdict> verdicts = judge(rows, run.device.kind);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const Expectation& e = rows[r].expectation;
    const std::vector<std::string> names = run.metric_names(static_cast<std::size_t>(rows[r].planned_case));
    Verdict verdict = verdicts[r];
    for (const std::string& name : {e.metric, e.minus})
      if (!name.empty() && !names.empty() && std::ranges::count(names, name) == 0)
        verdict = {"insufficient", fmt::format("there is no metric '{}'", name)};
    judged.push_back({rows[r].planned_case, e.quantity(), std::move(verdict)});
  }
  return judged;
}

nlohmann::ordered_json result_json(const Run& run, const std::vector<Judged>& judged) {
  nlohmann::ordered_json j;
  j["schema"] = 1;
  j["experiment"] = run.experiment;
  j["version"] = build_info::version;
  j["device"]["kind"] = run.device.kind == DeviceKind::cpu ? "cpu" : "cuda";
  j["device"]["name"] = run.device.name;
  j["precision"] = run.options.precision;
  j["provenance"] = provenance(run);
  j["cases"] = nlohmann::ordered_json::array();
  for (std::size_t c = 0; c < run.plan.cases.size(); ++c) j["cases"].push_back(case_json(run, c, judged));
  return j;
}

std::string cases_csv(const Run& run) {
  std::vector<std::string> names;
  for (std::size_t c = 0; c < run.plan.cases.size(); ++c)
    for (const std::string& name : run.metric_names(c))
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  std::string text = "case,seed,data_seed,init_seed,order_seed,status";
  for (const std::string& name : names) text += "," + csv_field(name);
  text += "\n";
  for (std::size_t c = 0; c < run.plan.cases.size(); ++c)
    for (std::size_t m = 0; m < run.plan.members.size(); ++m) {
      const Seeds& seeds = run.plan.members.seeds[m];
      const MemberRecord& record = run.record(c, m);
      text += fmt::format("{},{},{},{},{},{}", csv_field(run.plan.cases[c].settings.name),
                          run.plan.members.labels[m], seeds.data, seeds.init, seeds.order,
                          status_word(record.history.status));
      for (const std::string& name : names) {
        const double value = record.diverged() ? kNan : metric(record, name);
        text += std::isfinite(value) ? fmt::format(",{}", value) : ",";
      }
      text += "\n";
    }
  return text;
}

std::string timing_json(const Run& run, const Seconds& seconds) {
  std::int64_t updates = 0;
  for (const auto& [place, record] : run.records)
    if (!run.plan.cases[static_cast<std::size_t>(place.first)].readers.empty())
      updates += record.history.updates;
  nlohmann::ordered_json j;
  j["data"] = seconds.data;
  j["train"] = seconds.train;
  j["measure"] = seconds.measure;
  j["total"] = seconds.total;
  j["updates"] = updates;
  j["updates_per_second"] = seconds.train > 0 ? static_cast<double>(updates) / seconds.train : 0.0;
  return j.dump(2) + "\n";
}

}  // namespace occam::experiment
