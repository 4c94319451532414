// The frame of an experiment: flags, cases, members, progress, checkpoints and everything a run leaves behind
// (docs/results.md). An experiment names its cases; the frame takes each through data, models, fit, measures
// and record.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "occam/data.hpp"
#include "occam/metrics.hpp"
#include "occam/mlp.hpp"
#include "occam/slab.hpp"
#include "occam/training.hpp"

namespace occam {

// As many coordinates as the other blocks leave free.
inline constexpr int kRest = -1;

// All coordinates of one kind.
struct SlabBlock {
  int count = 0;  // or kRest, for one kind at most
  double margin = 0.1, noise = 0, shift = 0;
  NoiseKind noise_kind = NoiseKind::label;
  double inner_probability0 = -1, inner_probability1 = -1;  // < 0: the block's default
};

// Slab data as flags describe them: by kind of block, in the order linear, 3-, 5-, 7-slab, unused.
struct SlabRecipe {
  int dim = 50;
  SlabBlock linear{.count = 1, .noise_kind = NoiseKind::flip}, slab3, slab5{.count = kRest}, slab7;
  int linear_position = 0;  // column that the first linear coordinate changes places with; S moves along
  double width = 1, unused_limit = -1;
  bool rotate = true;
  std::int64_t train = 100'000, validation = 0, test = 10'000;
};

// Throws usage errors: more blocks than dimensions, `rest` twice, noise on a block that is not there, a
// linear position without a linear coordinate, outside the dimensions or with a rotation; and those of
// validate(SlabSpec).
SlabSpec slab_spec(const SlabRecipe& recipe);

// What is measured beside the standard, S- and S^c-randomised test sets.
struct Measures {
  bool per_coordinate = false;
  std::vector<int> subset_sizes;                   // every subset of that many coordinates
  bool swap = false;                               // S and S^c swapped with a donor of the other class
  bool predictions = false;                        // against the model's own predictions
  std::map<std::string, std::vector<int>> groups;  // further named groups of coordinates, randomised jointly
  bool operator==(const Measures&) const = default;
};

// What must hold before a quantity counts as reproduced. Margins are fixed before the runs.
struct Expectation {
  enum class Test {
    equivalence,                 // the 90% interval of the mean lies in center ± margin (Holm over all rows)
    equivalence_and_prediction,  // and the published single run lies in the 95% prediction interval
    prediction,                  // the published single run lies in the 95% prediction interval
    every,                       // every member's value is >= threshold
    share,                       // at least `threshold` of the members have one of `values`
  };
  std::string metric;
  Test test = Test::equivalence;
  int seeds_cpu = 20, seeds_cuda = 20;  // fewer: "insufficient"
  double center = 0, margin = 0;
  double threshold = 0;
  std::vector<double> values;
  double analytic_deviation = 0;    // least standard deviation a prediction interval may use
  double published_resolution = 0;  // unit of the published value's last digit
  // Mean training accuracy below this makes the row "void".
  double least_train_accuracy = 0;
};

// One combination of settings. Members are its seeds.
struct Case {
  std::string name;  // "LMS-5"
  SlabRecipe slab;
  MlpSpec network;  // inputs and classes follow from the data
  Initialization initialization;
  Training training;
  std::vector<int> simple = {0};  // S, before linear_position is applied
  Measures measures;
  Which evaluate =
      Which::last;  // whose metrics carry plain names; the other model's start with "best_" or "last_"
  std::vector<Expectation> expectations;
  std::string published;  // "LMS-5": entry of this experiment in experiments/published.json; empty: none
};

// Seeds by default; every experiment has one such table for each of its runs, at its top.
struct Sizes {
  int cpu_quick = 2, cpu = 5, cpu_full = 20;
  int cuda_quick = 20, cuda = 100, cuda_full = 1000;
};

class Experiment {
 public:
  Experiment(std::string name, std::string claim);
  ~Experiment();
  Experiment(const Experiment&) = delete;
  Experiment& operator=(const Experiment&) = delete;

  // A flag of this experiment alone. `words` are the values it takes; empty: any.
  void option(const std::string& flag, std::string& value, const std::string& help,
              const std::vector<std::string>& words = {});

  // The user's own data, --data FILE.npz, are welcome in place of slab data.
  void accept_user_data();

  // Seeds that --quick, no flag and --full stand for.
  void sizes(const Sizes& sizes);

  // Adds a case; flags then change its fields, and lists in flags multiply it.
  void add(const Case& added);

  // Reads the flags, calls `cases` (which adds the cases), trains and measures every case with every seed and
  // records the results. Returns the exit code of the executable: 0 done, 2 usage, 3 data, 4 device, 5 every
  // member diverged, 75 interrupted and resumable. Errors are one line on stderr.
  int run(int argc, const char* const* argv, const std::function<void()>& cases);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// ---- what a recorded run is made of -----------------------------------------------------------------------

// Entry of experiments/published.json as JSON text: published_entry("extreme_slab", "LMS-5"). Throws when
// there is none.
std::string published_entry(const std::string& experiment, const std::string& entry);

}  // namespace occam
