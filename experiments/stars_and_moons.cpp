// Claim: where place and shape both tell the classes apart, a network learns the place. It is perfect on
// images from the training distribution, at chance where places say nothing, and wrong wherever places say
// the opposite (Geirhos et al. 2020, "Shortcut Learning in Deep Neural Networks", figure 2; the two test
// sets that the figure shows and its script lacks are `swapped` and, with the script's own, `uniform`).
// Protocol, the script's on shapes of our own (shapes.hpp says how near they are): 2,000 training images a class,
// half in each of its two places; 40000-1024-1024-2, ReLU, Adam with learning rate 1e-4 (the script's later 0.001
// never reaches the optimiser), batches of 100, 5 epochs; test sets of 2,000 images a class; the last model.
// --sweep asks when shape wins: with less bias, larger shapes, more images, deeper or wider networks. All
// networks of a sweep train for the same 200 updates. With less bias `conflict` answers, not `swapped`: about two in
// five of the swapped places are places in which no training image of the class stands, whatever the bias.
#include <fmt/format.h>

#include "occam/experiment.hpp"

namespace {

using namespace occam;
using Test = Expectation::Test;

//                       cpu: quick, default, full; cuda: quick, default, full
constexpr Sizes kSizes{2, 20, 20, 20, 100, 1000};
constexpr Sizes kSweepSizes{1, 3, 10, 10, 20, 100};

// The published run has no numbers, only a picture; the margins say what the picture claims.
std::vector<Expectation> expectations() {
  return {{.metric = "iid_accuracy", .test = Test::every, .threshold = 0.99},
          {.metric = "uniform_accuracy", .test = Test::equivalence, .center = 0.5, .margin = 0.05},
          {.metric = "swapped_accuracy", .test = Test::every_at_most, .threshold = 0.05}};
}

// The network that the script trains. The two convolutional ones are not here.
Case fully_connected() {
  return {.name = "FCN",
          .shapes = ShapeRecipe{},
          .network = {.hidden = {1024, 1024}},
          .training = {.optimizer = {.kind = OptimizerKind::adam, .learning_rate = 1e-4},
                       .stop = {.criterion = StopCriterion::none, .check_every = 200, .max_updates = 200},
                       .batch = 100},
          .expectations = expectations(),
          .published = "FCN"};
}

std::vector<Case> sweep(const std::string& what) {
  std::vector<Case> cases;
  const auto add = [&](const std::string& value, const auto& change) {
    Case c = fully_connected();
    c.name = fmt::format("{}={}", what, value);
    c.expectations.clear(), c.published.clear();
    change(c);
    cases.push_back(c);
  };
  if (what == "bias")
    for (const double bias : {1.0, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25, 0.0})
      add(fmt::format("{}", bias), [=](Case& c) { c.shapes->bias = bias; });
  if (what == "size")
    for (const double scale : {0.5, 0.75, 1.0, 1.25, 1.5})
      add(fmt::format("{}", scale), [=](Case& c) { c.shapes->style.scale = scale; });
  if (what == "data")
    for (const int images : {500, 1000, 2000, 4000, 8000, 16000})
      add(fmt::format("{}", images), [=](Case& c) { c.shapes->train = images; });
  if (what == "depth")
    for (const int layers : {0, 1, 2, 3, 4})
      add(fmt::format("{}", layers),
          [=](Case& c) { c.network.hidden.assign(static_cast<std::size_t>(layers), 1024); });
  if (what == "width")
    for (const int width : {16, 64, 256, 1024, 2048})
      add(fmt::format("{}", width), [=](Case& c) { c.network.hidden.assign(2, width); });
  return cases;
}

}  // namespace

int main(int argc, char** argv) {
  Experiment experiment("stars_and_moons",
                        "Where place and shape both tell the classes apart, a network learns the place.");
  std::string swept;
  experiment.option("sweep", swept, "one case for each of several values, in place of the script's run",
                    {"bias", "size", "data", "depth", "width"});
  experiment.shapes();
  experiment.sizes(kSizes);
  return experiment.run(argc, argv, [&] {
    if (swept.empty()) return experiment.add(fully_connected());
    experiment.sizes(kSweepSizes);
    for (const Case& c : sweep(swept)) experiment.add(c);
  });
}
