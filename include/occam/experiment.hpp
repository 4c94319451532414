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

#include "occam/attack.hpp"
#include "occam/data.hpp"
#include "occam/metrics.hpp"
#include "occam/mlp.hpp"
#include "occam/shapes.hpp"
#include "occam/slab.hpp"
#include "occam/training.hpp"
#include "occam/vote.hpp"

namespace occam {

// As many coordinates as the other blocks leave free.
inline constexpr int kRest = -1;

// All coordinates of one kind.
struct SlabBlock {
  int count = 0;  // or kRest, for one kind at most
  double margin = 0.1, noise = 0, shift = 0;
  NoiseKind noise_kind = NoiseKind::label;
  double inner_probability0 = -1, inner_probability1 = -1;  // < 0: the block's default
  bool operator==(const SlabBlock&) const = default;
};

// Slab data as flags describe them: by kind of block, in the order linear, 3-, 5-, 7-slab, unused.
struct SlabRecipe {
  int dim = 50;
  SlabBlock linear{.count = 1, .noise_kind = NoiseKind::flip}, slab3, slab5{.count = kRest}, slab7;
  int linear_position = 0;  // column that the first linear coordinate changes places with; S moves along
  double width = 1, unused_limit = -1;
  bool rotate = true;
  std::int64_t train = 100'000, validation = 0, test = 10'000;
  bool operator==(const SlabRecipe&) const = default;
};

// Throws usage errors: more blocks than dimensions, `rest` twice, noise on a block that is not there, a
// linear position without a linear coordinate, outside the dimensions or with a rotation; and those of
// validate(SlabSpec).
SlabSpec slab_spec(const SlabRecipe& recipe);

// Images of two shapes as flags describe them (occam/shapes.hpp).
struct ShapeRecipe {
  std::string mask0 = "star",
              mask1 = "crescent";  // of class 0 and 1: star, crescent, or a file for read_mask()
  int height = 0, width = 0;       // canvas; 0: what files bring, else 200 x 200
  MaskStyle style;
  Places biased0, biased1, uniform0, uniform1;  // empty: the published ones, on another canvas in proportion
  double bias = 1, background = 0, contrast = 1;
  bool crop = true;
  std::int64_t train = 4000, validation = 0, test = 4000;
  bool operator==(const ShapeRecipe&) const = default;
};

// The specification whose test rows are arranged like this. Throws the errors of read_mask() and
// validate(ShapeSpec), and usage errors where masks and canvas differ in size.
ShapeSpec shape_spec(const ShapeRecipe& recipe, Arrangement test = Arrangement::iid);

// What is measured beside the standard, S- and S^c-randomised test sets.
struct Measures {
  bool per_coordinate = false;
  std::vector<int> subset_sizes;                   // every subset of that many coordinates
  bool swap = false;                               // S and S^c swapped with a donor of the other class
  bool predictions = false;                        // against the model's own predictions
  std::map<std::string, std::vector<int>> groups;  // further named groups of coordinates, randomised jointly
  bool operator==(const Measures&) const = default;
};

// In what an attack's epsilon and step count, and what bounds it keeps.
enum class AttackUnits {
  range,     // PGD's in widths R of the data's range, which bounds the rows (notebook 6)
  absolute,  // as they are, without bounds
};

// What moved rows stay inside, in the data's own units.
struct AttackBounds {
  double lower = 0, upper = 0;
  bool operator==(const AttackBounds&) const = default;
};

// Attacks on the evaluated model's test rows. Metrics: pgd_accuracy, pgd_loss, pgd_share, svd_uap_accuracy,
// svd_uap_share, as_uap_accuracy, as_uap_share, where the share is that of S (perturbation_share); pgd_norm, the mean norm of
// PGD's perturbations; in units of the range data_range.
struct Attacks {
  bool pgd = false, svd_uap = false, as_uap = false;  // which are made
  AttackUnits units = AttackUnits::range;
  std::optional<AttackBounds> bounds = {};  // in place of those that go with the units
  Pgd pgd_settings{.epsilon = 0.5, .step = 0.05, .iterations = 20};
  SvdUap svd_settings;
  AsUap as_settings;
  bool any() const { return pgd || svd_uap || as_uap; }
  // With the draws of a member.
  AttackSuite suite(std::uint32_t seed) const;
  bool operator==(const Attacks&) const = default;
};

// Votes in place of single networks (occam/vote.hpp): each seed of the case is then one vote. Its networks
// train on the seed's data and differ in initialisation and order; a network's evaluated model votes.
struct Votes {
  std::vector<int> sizes;  // of votes; empty: none. The first networks of the largest are the smaller ones
  std::vector<Combiner> combiners = {Combiner::average};
  OptimizerKind combiner_optimizer = OptimizerKind::sgd;
  bool operator==(const Votes&) const = default;

  int networks() const;  // of each seed: the largest size; 1 without votes
  // Name of a metric of the vote of this size by this combiner. The first size with the first combiner has
  // plain names; others add "_<size>", "_<combiner>" or both, whichever the case has several of.
  std::string metric(const std::string& name, int size, Combiner combiner) const;
};

// What must hold before a quantity counts as reproduced. Margins are fixed before the runs.
struct Expectation {
  enum class Test {
    equivalence,                 // the 90% interval of the mean lies in center ± margin (Holm over all rows)
    equivalence_and_prediction,  // and the published single run lies in the 95% prediction interval
    prediction,                  // the published single run lies in the 95% prediction interval
    prediction_logit,            // the same on the logit scale, for values strictly inside (0, 1)
    every,                       // every member's value is >= threshold
    every_at_most,               // every member's value is <= threshold
    none_rejected,  // no member's value, a p, is rejected at 5% (Holm over the members of all such rows)
    share,          // at least `threshold` of the members have one of `values`
    share_above,    // least_share to most_share of the members have a value > threshold
  };
  std::string metric;
  std::string minus = {};  // judge metric − minus, member by member; empty: the metric itself
  Test test = Test::equivalence;
  int seeds_cpu = 20, seeds_cuda = 20;  // fewer: "insufficient"
  double center = 0, margin = 0;
  double threshold = 0;
  double least_share = 0, most_share = 1;
  std::vector<double> values;
  double analytic_deviation = 0;    // least standard deviation a prediction interval may use
  double published_resolution = 0;  // unit of the published value's last digit
  // Mean training accuracy below this makes the row "void".
  double least_train_accuracy = 0;
  bool operator==(const Expectation&) const = default;

  // What results call it: "a", or "a - b" for a difference.
  std::string quantity() const { return minus.empty() ? metric : metric + " - " + minus; }
};

// One combination of settings. Members are its seeds.
struct Case {
  std::string name;  // "LMS-5"
  SlabRecipe slab;
  std::optional<ShapeRecipe> shapes = {};  // in place of slab data
  MlpSpec network;                         // inputs and classes follow from the data
  Initialization initialization;
  Training training;  // but for adversary and precision, which `adversary` below and --precision give
  Votes votes;
  std::vector<int> simple = {0};  // S, before linear_position is applied; --simple names columns of the data
  Measures measures;
  Attacks attacks;
  // Adversarial training: batches are moved by this attack where its epsilon is positive; a step of 0 stands
  // for 2.5 epsilon / iterations. Without bounds.
  Pgd adversary{.epsilon = 0, .step = 0, .iterations = 40};
  Which evaluate =
      Which::last;  // whose metrics carry plain names; the other model's start with "best_" or "last_"
  std::vector<Expectation> expectations;
  std::string published;  // "LMS-5": entry of this experiment in experiments/published.json; empty: none
  std::map<std::string, double> numbers = {};  // settings of an experiment with a computation of its own
  // Training ends after so many epochs and is checked every `check_epochs`, whatever training rows and batch are; 0: as
  // training.stop says.
  std::int64_t epochs = 0, check_epochs = 1;
  // What the case is called after or a flag of the experiment says, by the field's flag: {"hidden", "widths"}. Another
  // value of that field is a usage error.
  std::map<std::string, std::string> settled = {};
  bool operator==(const Case&) const = default;
};

struct Computation;  // occam/computation.hpp

// How many seeds --quick, no flag and --full stand for, on a CPU and on a GPU. Every experiment has one such table for
// each of its runs, at its top.
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
  // The same without a value: `value` becomes true.
  void option(const std::string& flag, bool& value, const std::string& help);

  // The user's own data, --data FILE.npz, are welcome in place of slab data.
  void accept_user_data();

  // --data is one of these names, which goes to `chosen`, in place of a folder.
  void data_sets(std::string& chosen, const std::vector<std::string>& names);

  // Seeds that --quick, no flag and --full stand for.
  void sizes(const Sizes& sizes);

  // The cases are of images of shapes. Their metrics: iid_, uniform_, swapped_ and conflict_ accuracy,
  // loss and AUC.
  void shapes();

  // The members are no MLPs: this computation makes them. Its numbers are the only settings with a flag.
  void compute(const Computation& computation);

  // Adds a case; flags then change its fields, and lists in flags multiply it.
  void add(const Case& added);

  // Whether --quick or --full was given; known when `cases` is called.
  bool quick() const;
  bool full() const;
  // The value of an option as a whole number from `least` to `most`, a finite number, or the entries of a list with
  // commas, none of them empty. Anything else is a usage error that names the flag.
  static std::int64_t integer(const std::string& flag, const std::string& text, std::int64_t least,
                              std::int64_t most);
  static double real(const std::string& flag, const std::string& text);
  static std::vector<std::string> list(const std::string& flag, const std::string& text);

  // Reads the flags, calls `cases` (which adds the cases), trains and measures every case with every seed and
  // records the results. Returns the exit code of the executable: 0 done, 2 usage, 3 data, 4 device, 5 every
  // member diverged, 75 interrupted and resumable. Errors are one line on stderr.
  int run(int argc, const char* const* argv, const std::function<void()>& cases);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Entry of experiments/published.json as JSON text: published_entry("extreme_slab", "LMS-5"). Throws when
// there is none.
std::string published_entry(const std::string& experiment, const std::string& entry);

}  // namespace occam
