// From flags and the experiment's own cases to everything that will be trained: cases (the product of all
// lists) times members (the product of all seeds). All impossible settings are refused here, before anything
// is trained or written.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "experiment/fields.hpp"
#include "experiment/flags.hpp"
#include "occam/experiment.hpp"

namespace occam::experiment {

struct PlannedCase {
  Case settings;                  // resolved: inputs, classes and the simple coordinates follow the data
  nlohmann::ordered_json config;  // every field
  nlohmann::json
      published;  // entry of published.json; null when there is none or the settings differ from it
  bool as_published = true;     // no flag changed the experiment's own settings
  std::vector<Data> data;       // [members], recipes
  std::vector<int> complement;  // S^c
  // The cases that measure the networks trained for this one: itself, and those that differ from it in their attacks
  // alone. None: an earlier case's networks are measured.
  std::vector<int> readers;
};

// Seeds that vary together: "seed" stands for data, init and order at once.
struct SeedFactor {
  std::string name;  // "data", "init", "order", "init+order", "seed"
  std::vector<std::uint32_t> values;
};

struct Members {
  std::vector<Seeds> seeds;
  std::vector<std::uint32_t> labels;  // what result.json lists: the seed, or the running number of a product
  bool product = false;               // some seed flag was given on its own
  std::vector<SeedFactor> factors;    // those with more than one value
  std::vector<std::vector<int>> levels;  // [factor][member]
  std::size_t size() const { return seeds.size(); }
};

struct Plan {
  std::vector<PlannedCase> cases;
  Members members;
  std::map<std::string, std::string> data_checksums;
  std::uint64_t hash = 0;  // of everything that decides the results, but for the device

  std::size_t trainings() const;  // of all members
};

// `default_seeds` is how many seeds stand for no --seeds flag.
Members plan_members(const Options& options, int default_seeds);

// The seeds as --seeds takes them; empty when they are a product of the other flags.
std::string seeds_text(const Options& options, int default_seeds);

// training.stop of a case whose length is given in epochs.
void follow_epochs(Case& c);

// The experiment's own cases with every flag applied and every list multiplied out, names included.
struct Expanded {
  Case settings;
  std::size_t origin;  // index of the experiment's own case
};
std::vector<Expanded> expand(const std::vector<Case>& own, const Options& options,
                             const std::vector<Field>& table = fields());

// Of a text that says everything about a run.
std::uint64_t fnv1a(const std::string& text);

Plan make_plan(const std::string& experiment, const std::vector<Case>& own, const Options& options,
               bool user_data, int default_seeds);

}  // namespace occam::experiment
