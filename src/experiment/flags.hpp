// The command line of every executable.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "experiment/fields.hpp"
#include "occam/experiment.hpp"

namespace occam::experiment {

struct OwnOption {
  std::string flag;
  std::string* value;
  std::string help;
  std::vector<std::string> words;
  bool* truth = nullptr;  // in place of `value`: a flag without one
};

struct Options {
  std::string device = "auto";
  std::string seeds, data_seeds, init_seeds, order_seeds;  // empty: not given
  std::string out = "results", data, precision = "fp32";
  std::string measure, simple, groups, save;
  int threads = 0, keep = 4;
  bool quick = false, full = false, no_report = false, quiet = false;
  bool measure_at_checks = false, boundary_symmetric = false;
  bool print_config = false, describe_device = false, explain_plan = false;
  bool save_weights = false, save_data = false;
  bool computed = false;           // the experiment has a computation of its own
  DataKind kind = DataKind::slab;  // what its cases generate
  // Values given for fields, in the order of fields(); a list has several.
  std::map<std::string, std::vector<std::string>> fields;
  std::vector<std::string> own;  // the experiment's own flags that were given, "--sweep width"

  bool given(const std::string& field) const { return fields.contains(field); }
};

struct CommandLine {
  Options options;
  bool only_prints = false;  // it asks for no run (--help), and is answered
  std::string command;       // as recorded: no path, no --out, --no-report, --quiet
};

// Throws usage errors. `user_data`: --data takes an npz file.
CommandLine read_command_line(const std::string& name, const std::string& claim,
                              const std::vector<OwnOption>& own, bool user_data, int argc,
                              const char* const* argv, const Computation* computation = nullptr,
                              DataKind kind = DataKind::slab);

// The configuration that --config reads back. `cases` are the experiment's own, before flags: a field in
// which they differ, and that no flag sets, is left to them and stands as a comment.
std::string config_text(const std::string& name, const Options& options, const std::vector<OwnOption>& own,
                        const std::vector<Case>& cases, const std::string& seeds, bool user_data,
                        const std::vector<Field>& table = fields());

}  // namespace occam::experiment
