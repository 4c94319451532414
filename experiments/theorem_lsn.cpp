// Claim: a ReLU network with one hidden layer, trained by SGD with the hinge loss on LSN data, learns the
// linear coordinate x1 alone, although |x2| tells the class as well (Shah et al. 2020, section 4.1 and
// appendix F).
// Protocol: k neurons with fixed output weights ±1/√k, W ~ N(0, 1/(d k log⁴ d)), fresh batches of c d² rows.
//   Identities: while every hinge is active, a step changes w1 and w2 of each neuron in expectation by η v_j
//     times a closed form (occam/lsn.hpp). Checked by Monte Carlo at the initial weights and again after the
//     first update with mean |w1| > mean ‖w̄‖, where the closed form is far from its linear beginning. They hold when
//     no neuron's score is rejected at 5% by Holm's correction over the scores of a member, then over all members.
//   Training: until no row of a batch has an active hinge, or --max-updates. Then accuracy with x1, and with
//     all other coordinates, shuffled; and |w2| and ‖w̄‖ (the norm of all other weights) against |w1|.
//   Scaling: for each seed the slope of ln(|w2| / |w1|) and of ln(‖w̄‖ / |w1|) over ln d.
// What this does not show: the theorem's constants. They need dimensions that no computer reaches; the slopes
// describe these few d and are no test of its asymptotic orders.
#include <algorithm>
#include <cmath>

#include "occam/computation.hpp"
#include "occam/limits.hpp"
#include "occam/lsn.hpp"
#include "occam/statistics.hpp"

namespace {

using namespace occam;
using lsn::Net;

struct Means {
  double w1 = 0, w2 = 0, rest = 0;
};

Means means_of(const Net& net) {
  Means means;
  for (int j = 0; j < net.neurons; ++j) {
    const Net::Parts parts = net.parts(j);
    means.w1 += std::abs(parts.w1) / net.neurons;
    means.w2 += std::abs(parts.w2) / net.neurons;
    means.rest += parts.rest / net.neurons;
  }
  return means;
}

void add_neurons(ComputedMember& member, const std::string& name, int neurons, const auto& value_of) {
  std::vector<float> values;
  for (int j = 0; j < neurons; ++j) values.push_back(static_cast<float>(value_of(j)));
  member.arrays.push_back({name, {neurons}, std::move(values)});
}

void add_identities(ComputedMember& member, const std::string& when, const lsn::Identities& identities) {
  const auto neurons = static_cast<int>(identities.z.size());
  const auto at = [](int j) { return static_cast<std::size_t>(j); };
  add_neurons(member, "identities/" + when + "_z1", neurons, [&](int j) { return identities.z[at(j)].w1; });
  add_neurons(member, "identities/" + when + "_z2", neurons, [&](int j) { return identities.z[at(j)].w2; });
}

// Holm's adjusted p of the most extreme of n normal scores.
double least_p(double largest_z, int n) {
  return std::min(n * std::erfc(largest_z / std::sqrt(2.0)), 1.0);  // NaN where z is
}

ComputedMember train_member(const Case& settings, const Seeds& seeds, const Work& work) {
  const auto number = [&](const char* flag) { return settings.numbers.at(flag); };
  const int dim = static_cast<int>(number("dim")), neurons = static_cast<int>(number("neurons"));
  const std::int64_t rows = std::max<std::int64_t>(1, std::llround(number("batch-factor") * dim * dim));
  const auto samples = static_cast<std::int64_t>(number("samples"));
  const auto most = static_cast<std::int64_t>(number("max-updates"));
  Net net = lsn::initial_net(dim, neurons, seeds.init);

  ComputedMember member;
  const lsn::Identities initial =
      lsn::measure_identities(net, {seeds.data, lsn::Use::identities, 0, samples}, work.pause);
  lsn::Identities moved;
  double moved_ratio = std::nan("");

  MemberHistory& history = member.history;
  std::int64_t linear_updates = -1;
  while (history.updates < most) {
    const lsn::Update update = lsn::train_on(
        net, {seeds.data, lsn::Use::training, static_cast<std::uint32_t>(history.updates), rows},
        number("lr"), work.pause);
    if (linear_updates < 0 && update.active < rows) linear_updates = history.updates;
    history.checks.push_back({.updates = history.updates,
                              .periodic = true,
                              .final = update.active == 0,
                              .train_accuracy = update.accuracy,
                              .train_loss = update.loss,
                              .test_accuracy = kNan,
                              .test_loss = kNan});
    if (!std::isfinite(update.loss)) {
      history.status = FitStatus::diverged;
      return member;
    }
    if (update.active == 0) {  // the update was none
      history.status = FitStatus::converged;
      break;
    }
    ++history.updates;
    work.advance(1);
    const Means means = means_of(net);
    if (moved.z.empty() && means.w1 > means.rest) {
      moved = lsn::measure_identities(net, {seeds.data, lsn::Use::identities, 1, samples}, work.pause);
      moved_ratio = means.w1 / means.rest;
    }
  }

  const Means means = means_of(net);
  const lsn::Reliance reliance = lsn::measure_reliance(
      net, {seeds.data, lsn::Use::test, 0, static_cast<std::int64_t>(number("test"))}, work.pause);
  const double initial_z = initial.max_abs_z(), moved_z = moved.z.empty() ? std::nan("") : moved.max_abs_z();
  // NaN of either is NaN.
  const double largest_z = moved.z.empty()       ? initial_z
                           : std::isnan(moved_z) ? moved_z
                                                 : std::max(initial_z, moved_z);
  member.metrics = {
      {"max_abs_z", initial_z},
      {"max_abs_z_moved", moved_z},
      {"least_p", least_p(largest_z, (moved.z.empty() ? 2 : 4) * neurons)},
      {"inactive_hinges", static_cast<double>(initial.inactive + moved.inactive)},
      {"moved_w1_over_rest", moved_ratio},
      {"standard_accuracy", reliance.standard},
      {"s_randomized_accuracy", reliance.s_randomized},
      {"sc_randomized_accuracy", reliance.sc_randomized},
      {"standard_loss", reliance.loss},
      {"w1_sqrt_k", means.w1 * std::sqrt(neurons)},
      {"w2_over_w1", means.w2 / means.w1},
      {"rest_over_w1", means.rest / means.w1},
      {"linear_updates", static_cast<double>(linear_updates < 0 ? history.updates : linear_updates)},
      {"updates", static_cast<double>(history.updates)},
  };
  add_identities(member, "initial", initial);
  if (moved.z.empty()) moved.z.assign(static_cast<std::size_t>(neurons), {std::nan(""), std::nan("")});
  add_identities(member, "moved", moved);
  add_neurons(member, "neurons/w1", neurons, [&](int j) { return net.parts(j).w1; });
  add_neurons(member, "neurons/w2", neurons, [&](int j) { return net.parts(j).w2; });
  add_neurons(member, "neurons/rest", neurons, [&](int j) { return net.parts(j).rest; });
  return member;
}

// For one seed: slopes over the dimensions, where the cases differ in nothing else.
Metrics scaling(std::span<const Case> cases, std::span<const Metrics> metrics) {
  Metrics slopes;
  for (const std::string name : {"w2_over_w1", "rest_over_w1"}) {
    std::vector<std::pair<double, double>> points;
    bool comparable = true;
    for (std::size_t c = 0; c < cases.size(); ++c) {
      std::map<std::string, double> others = cases[c].numbers, first = cases[0].numbers;
      const double dim = others["dim"];
      others.erase("dim"), first.erase("dim");
      comparable = comparable && others == first;
      for (const auto& [metric, value] : metrics[c])
        if (metric == name) points.emplace_back(dim, value);
    }
    slopes.emplace_back(name + "_slope", comparable ? lsn::log_log_slope(points) : std::nan(""));
  }
  return slopes;
}

}  // namespace

int main(int argc, char** argv) {
  Experiment experiment("theorem_lsn",
                        "On LSN data a network with one hidden layer learns the linear coordinate alone.");
  experiment.compute({
      .numbers = {{"dim", "20,50,100,200", "coordinates d", 3, kMostDim},
                  {"neurons", "100", "hidden neurons k, even", 2, kMostWidth, true, true},
                  {"lr", "0.1", "learning rate", 0, 1e6, false},
                  {"batch-factor", "1", "c: fresh batches of c d^2 rows", 1e-6, 1e6, false},
                  {"max-updates", "1000", "most updates", 1, 1e9},
                  {"samples", "1000000", "Monte Carlo samples of the identities", 1, 2147483647},
                  {"test", "10000", "test rows", 1, 2147483647}},
      .member = train_member,
      .summary_name = "scaling over d",
      .summary = scaling,
  });
  experiment.sizes({.cpu_quick = 2, .cpu = 5, .cpu_full = 20});
  return experiment.run(argc, argv, [&] {
    using Test = Expectation::Test;
    experiment.add(
        {.name = "LSN",
         .expectations = {{.metric = "least_p", .test = Test::none_rejected, .seeds_cpu = 1, .seeds_cuda = 1},
                          {.metric = "inactive_hinges",
                           .test = Test::every_at_most,
                           .seeds_cpu = 1,
                           .seeds_cuda = 1,
                           .threshold = 0}}});
  });
}
