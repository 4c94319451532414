// Claim: an FCN trained by SGD on LMS-5 or MS-(5,7) relies on the simplest coordinate alone: its AUC is that
// of a coin when this coordinate is randomised and stays perfect when all others are (Shah et al. 2020,
// section 4 and notebook 1).
// Protocol: fresh data, initialisation and order for every seed; the last model is evaluated, the best one
// beside it.
//
// --table runs the FCN part of the paper's tables. The paper gives no settings for them; as chosen here, each
// cell is notebook 1's with these changes:
//   architectures (Table 4)  100 and 100x100
//   optimizers    (Table 6)  each activation with SGD (lr 0.1), Adam and RMSProp (lr 0.001); on MS-(5,7) Tanh
//                            starts from 3 times PyTorch's weights: from these themselves it is not learned
//                            in 100,000 updates
//   dimensions    (Table 8)  (d,|S^c|) = (20,19), (50,24), (50,49), (100,49), (100,99); the other coordinates
//                            are unused
//   init          (Table 9)  PyTorch's default times 0.1, 0.5, 2, 10; Kaiming and Xavier, uniform
//   width         (Fig. 3b)  2000, with |S^c| = 49 and 249
// Of 20 seeds, 9 do not learn MS-(5,7) in 100,000 updates from 10 times the default, nor 3 with (100,99): void cells.
#include <cmath>

#include <fmt/format.h>

#include "occam/experiment.hpp"

namespace {

using namespace occam;

// Seeds of each run. On two CPU cores --quick takes about ten seconds and the default less than two minutes; so does a
// table by default, but for width, which takes about four.
//                                    cpu: quick, default, full; cuda: quick, default, full
constexpr Sizes kNotebook{2, 20, 100, 20, 1000, 10'000};
constexpr Sizes kArchitectures{1, 10, 20, 20, 100, 1000};
constexpr Sizes kOptimizers{1, 1, 20, 20, 100, 1000};
constexpr Sizes kDimensions{1, 3, 20, 20, 100, 1000};
constexpr Sizes kInit{1, 2, 20, 20, 100, 1000};
constexpr Sizes kWidth{1, 1, 20, 20, 100, 1000};

using Test = Expectation::Test;

std::vector<Expectation> notebook_expectations(std::vector<double> stops, std::int64_t test_rows) {
  const auto n = static_cast<double>(test_rows);
  return {
      {.metric = "standard_auc",
       .test = Test::every,
       .seeds_cpu = 20,
       .seeds_cuda = 1000,
       .threshold = 0.9995},
      {.metric = "s_randomized_auc",
       .test = Test::equivalence_and_prediction,
       .seeds_cpu = 20,
       .seeds_cuda = 1000,
       .center = 0.5,
       .margin = 0.01,
       .analytic_deviation = 1 / std::sqrt(3 * n),
       .published_resolution = 0.001},
      {.metric = "sc_randomized_auc",
       .test = Test::every,
       .seeds_cpu = 20,
       .seeds_cuda = 1000,
       .threshold = 0.9995},
      {.metric = "per_coordinate_simple_accuracy", .test = Test::equivalence, .center = 0.5, .margin = 0.01},
      {.metric = "per_coordinate_other_least_accuracy", .test = Test::every, .threshold = 0.9995},
      {.metric = "updates",
       .test = Test::share,
       .seeds_cpu = 100,
       .seeds_cuda = 100,
       .threshold = 0.95,
       .values = std::move(stops)},
  };
}

Training notebook_training(std::int64_t patience) {
  return {.optimizer = {.kind = OptimizerKind::sgd, .learning_rate = 0.1, .weight_decay = 5e-5},
          .stop = {.criterion = StopCriterion::accuracy,
                   .epsilon = 1e-4,
                   .check_every = 5000,
                   .patience = patience},
          .batch = 256};
}

Case lms5() {
  return {.name = "LMS-5",
          .slab = {.test = 10'000},  // 1 linear coordinate, the rest 5-slabs
          .training = notebook_training(1),
          .measures = {.per_coordinate = true},
          .expectations = notebook_expectations({5001}, 10'000),
          .published = "LMS-5"};
}

Case ms57() {
  return {.name = "MS-(5,7)",
          .slab = {.linear = {.count = 0, .noise_kind = NoiseKind::flip},
                   .slab5 = {.count = 1},
                   .slab7 = {.count = kRest},
                   .test = 50'000},
          .training = notebook_training(1000),
          .measures = {.per_coordinate = true},
          .expectations = notebook_expectations({11'000, 16'000, 21'000}, 50'000),
          .published = "MS-(5,7)"};
}

// A cell of a table: one of the two data sets, changed. named: the fields that the name tells.
template <class Change>
void add_cells(std::vector<Case>& cells, const std::string& name, const std::vector<std::string>& named,
               const Change& change) {
  for (Case c : {lms5(), ms57()}) {
    change(c);
    for (const std::string& field : named) c.settled[field] = "table";
    c.name += " " + name;
    c.measures = {};
    c.published.clear();
    c.expectations = {{.metric = "s_randomized_auc",
                       .test = Test::equivalence,
                       .center = 0.5,
                       .margin = 0.02,
                       .least_train_accuracy = 0.99}};
    cells.push_back(std::move(c));
  }
}

std::vector<Case> architecture_cells() {
  std::vector<Case> cells;
  add_cells(cells, "(100,1)", {"hidden"}, [](Case& c) { c.network.hidden = {100}; });
  add_cells(cells, "(100,2)", {"hidden"}, [](Case&) {});
  return cells;
}

std::vector<Case> optimizer_cells() {
  const std::pair<const char*, Activation> activations[] = {{"ReLU", Activation::relu},
                                                            {"LeakyReLU", Activation::leaky_relu},
                                                            {"PReLU", Activation::prelu},
                                                            {"Tanh", Activation::tanh}};
  const std::pair<const char*, Optimizer> optimizers[] = {
      {"SGD", {.kind = OptimizerKind::sgd, .learning_rate = 0.1, .weight_decay = 5e-5}},
      {"Adam", {.kind = OptimizerKind::adam, .learning_rate = 0.001, .weight_decay = 5e-5}},
      {"RMSProp", {.kind = OptimizerKind::rmsprop, .learning_rate = 0.001, .weight_decay = 5e-5}}};
  std::vector<Case> cells;
  for (const auto& activation : activations)
    for (const auto& optimizer : optimizers)
      add_cells(cells, std::string(activation.first) + " " + optimizer.first, {"activation", "optimizer"},
                [&](Case& c) {
                  const bool tanh = activation.second == Activation::tanh;
                  c.network.activation = activation.second;
                  c.training.optimizer = optimizer.second;
                  if (tanh && c.name.starts_with("MS")) c.initialization.scale = 3;
                });
  return cells;
}

std::vector<Case> dimension_cells() {
  const std::pair<int, int> sizes[] = {{20, 19}, {50, 24}, {50, 49}, {100, 49}, {100, 99}};
  std::vector<Case> cells;
  for (const auto& [d, complement] : sizes)
    add_cells(cells, fmt::format("({},{})", d, complement), {"dim", "slabs5", "slabs7"},
              [d = d, complement = complement](Case& c) {
                c.slab.dim = d;
                (c.slab.slab7.count == kRest ? c.slab.slab7 : c.slab.slab5).count = complement;
              });
  return cells;
}

std::vector<Case> init_cells() {
  std::vector<Case> cells;
  for (const auto& [name, scale] : {std::pair{"x0.1", 0.1}, {"x0.5", 0.5}, {"x2", 2.0}, {"x10", 10.0}})
    add_cells(cells, std::string("default ") + name, {"init", "init-scale"},
              [scale = scale](Case& c) { c.initialization.scale = scale; });
  add_cells(cells, "Kaiming", {"init"},
            [](Case& c) { c.initialization.kind = InitializationKind::kaiming_uniform; });
  add_cells(cells, "Xavier", {"init"},
            [](Case& c) { c.initialization.kind = InitializationKind::xavier_uniform; });
  return cells;
}

std::vector<Case> width_cells() {
  std::vector<Case> cells;
  for (int d : {50, 250})
    add_cells(cells, "(2000,1) d=" + std::to_string(d), {"hidden", "dim"}, [d](Case& c) {
      c.network.hidden = {2000};
      c.slab.dim = d;
    });
  return cells;
}

struct Table {
  std::string name;
  Sizes sizes;
  std::vector<Case> (*cells)();
};
const Table kTables[] = {{"architectures", kArchitectures, architecture_cells},
                         {"optimizers", kOptimizers, optimizer_cells},
                         {"dimensions", kDimensions, dimension_cells},
                         {"init", kInit, init_cells},
                         {"width", kWidth, width_cells}};

}  // namespace

int main(int argc, char** argv) {
  Experiment experiment("extreme_slab",
                        "Networks trained on slab data rely on the simplest coordinate alone.");
  std::string chosen, table;
  experiment.option("case", chosen, "only this data set", {"LMS-5", "MS-(5,7)"});
  experiment.option("table", table, "the FCN cells of a table of the paper",
                    {"architectures", "optimizers", "dimensions", "init", "width"});
  return experiment.run(argc, argv, [&] {
    std::vector<Case> cases{lms5(), ms57()};
    experiment.sizes(kNotebook);
    for (const Table& t : kTables)
      if (t.name == table) {
        cases = t.cells();
        experiment.sizes(t.sizes);
      }
    for (const Case& c : cases)
      if (chosen.empty() || c.name == chosen || c.name.starts_with(chosen + " ")) experiment.add(c);
  });
}
