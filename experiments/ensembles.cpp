// Claim: a vote of independently trained networks relies on the simplest coordinate as much as each of them
// does; it helps where networks err independently and not where all err alike (Shah et al. 2020, appendix
// E.1 and notebook 4).
// Protocol: one seed is one vote. Its networks train on the seed's data from initialisations and in orders
// of their own; the model with the highest test accuracy of each votes. Several sizes are nested subsets of
// the same networks: the first 1, 3, 5 of ten.
//   LMS-5          notebook 4: (100,2)-FCNs, votes of three; and of 1, 5 and 10
//   MS-5           few training rows, so that a single network is right in about 75% of the test set: votes
//                  of 5 and 10 gain 15 and 20 points. The paper does not say how few: 4,000 rows are our own
//                  finding, by seeds that are not judged (100 to 139: one network is right in 74 ± 3%). The rest is
//                  as for LMS-5, checked every 1,000 updates
//   MS-5 (10,2)    likewise with (10,2)-FCNs and 3,000 rows, both our own finding: one network is right in 75% and
//                  votes gain as the paper says, on average. No verdicts, since no network is like that: each
//                  learns (right in nearly all) or stays at chance, and votes gain by having one that learnt
//   noisy-LMS-7    half of the linear coordinate's rows are margin noise, so that it is right in 75%; votes
//                  of 3, 5 and 10 stay there. The paper gives no settings: here notebook 3's data,
//                  (100,2)-FCNs with learning rate 0.1, no momentum, weight decay 5e-4 and at most 10,000
//                  updates, checked every 1,000
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "occam/error.hpp"
#include "occam/experiment.hpp"

namespace {

using namespace occam;

// Seeds, that is votes, of each run. The four cases together take about 75 seconds of one CPU core a vote.
//                           cpu: quick, default, full; cuda: quick, default, full
constexpr Sizes kVotes{1, 3, 30, 20, 100, 1000};

using Test = Expectation::Test;

Votes votes_of(std::vector<int> sizes) { return {.sizes = std::move(sizes)}; }

Case lms5() {
  return {.name = "LMS-5",  // 1 linear coordinate, the rest 5-slabs
          .training = {.optimizer = {.learning_rate = 0.1, .weight_decay = 5e-5},
                       .stop = {.criterion = StopCriterion::accuracy, .epsilon = 1e-4, .patience = 1000}},
          .votes = votes_of({3, 1, 5, 10}),
          .evaluate = Which::best,
          .published = "LMS-5 x3"};
}

Case ms5() {
  Case c = lms5();
  c.name = "MS-5";
  c.slab.linear = {.count = 0, .noise_kind = NoiseKind::flip};
  c.slab.train = 4000;
  c.training.stop.check_every = 1000;
  c.votes.sizes = {10, 1, 3, 5};
  c.published.clear();
  return c;
}

Case narrow_ms5() {
  Case c = ms5();
  c.name = "MS-5 (10,2)";
  c.network.hidden = {10, 10};
  c.settled = {{"hidden", "case"}};
  c.slab.train = 3000;
  return c;
}

Case noisy_lms7() {
  return {.name = "noisy-LMS-7",
          .slab = {.linear = {.count = 1, .noise = 0.5, .noise_kind = NoiseKind::margin},
                   .slab5 = {.count = 0},
                   .slab7 = {.count = kRest},
                   .train = 40'000},
          .training = {.optimizer = {.learning_rate = 0.1, .weight_decay = 5e-4},
                       .stop = {.criterion = StopCriterion::accuracy,
                                .epsilon = 0.005,
                                .check_every = 1000,
                                .max_updates = 10'000}},
          .votes = votes_of({10, 1, 3, 5}),
          .evaluate = Which::best};
}

// ---- what is expected, for every size and combiner that is measured --------------------------------------

void expect_lms5(Case& c) {
  const auto n = static_cast<double>(c.slab.test);
  for (const int size : c.votes.sizes)
    for (const Combiner combiner : c.votes.combiners) {
      const auto name = [&](const char* metric) { return c.votes.metric(metric, size, combiner); };
      const bool published = !c.published.empty() && size == 3 && combiner == Combiner::average;
      Expectation every{
          .metric = name("standard_auc"), .test = Test::every, .seeds_cuda = 1000, .threshold = 0.9995};
      c.expectations.push_back(every);
      every.metric = name("sc_randomized_auc");
      c.expectations.push_back(every);
      c.expectations.push_back({.metric = name("s_randomized_auc"),
                                .test = published ? Test::equivalence_and_prediction : Test::equivalence,
                                .seeds_cuda = 1000,
                                .center = 0.5,
                                .margin = 0.01,
                                .analytic_deviation = 1 / std::sqrt(3 * n),
                                .published_resolution = 0.001});
    }
}

// Points above the mean of the networks.
void expect_ms5(Case& c) {
  for (const int size : c.votes.sizes)
    for (const Combiner combiner : c.votes.combiners)
      if (size == 5 || size == 10)
        c.expectations.push_back({.metric = c.votes.metric("standard_accuracy", size, combiner),
                                  .minus = "networks_standard_accuracy",
                                  .test = Test::equivalence,
                                  .seeds_cpu = 30,
                                  .seeds_cuda = 30,
                                  .center = size == 5 ? 0.15 : 0.2,
                                  .margin = 0.05});
}

void expect_noisy_lms7(Case& c) {
  for (const int size : c.votes.sizes)
    for (const Combiner combiner : c.votes.combiners)
      if (size > 1)
        c.expectations.push_back({.metric = c.votes.metric("standard_accuracy", size, combiner),
                                  .test = Test::equivalence,
                                  .center = 0.75,
                                  .margin = 0.01});
}

// ---- flags -----------------------------------------------------------------------------------------------

std::vector<int> sizes_of(const std::string& text) {
  std::vector<int> sizes;
  for (const std::string& item : Experiment::list("vote-sizes", text))
    sizes.push_back(static_cast<int>(Experiment::integer("vote-sizes", item, 1, kMostVoters)));
  return sizes;
}

std::vector<Combiner> combiners_of(const std::string& text) {
  constexpr Combiner all[] = {Combiner::average, Combiner::softmax, Combiner::linear, Combiner::mlp};
  std::vector<Combiner> combiners;
  if (text.empty()) return {Combiner::average};
  for (const std::string& item : Experiment::list("combiner", text)) {
    const auto found =
        std::find_if(std::begin(all), std::end(all), [&](Combiner c) { return item == name_of(c); });
    require(found != std::end(all), "--combiner: '{}' is not one of average, softmax, linear, mlp", item);
    combiners.push_back(*found);
  }
  return combiners;
}

}  // namespace

int main(int argc, char** argv) {
  Experiment experiment(
      "ensembles", "Votes of independently trained networks are as biased to simplicity as one network.");
  std::string chosen, sizes, combiners, optimizer;
  experiment.option("case", chosen, "only this data set", {"LMS-5", "MS-5", "MS-5 (10,2)", "noisy-LMS-7"});
  experiment.option("vote-sizes", sizes,
                    "networks a vote, such as 1,3,5,10; plain metrics are those of the first");
  experiment.option("combiner", combiners,
                    "how votes are combined: average,softmax,linear,mlp; one or several");
  experiment.option("combiner-optimizer", optimizer, "what trains a linear or MLP combiner", {"sgd", "adam"});
  experiment.sizes(kVotes);
  return experiment.run(argc, argv, [&] {
    require(optimizer.empty() || std::ranges::any_of(combiners_of(combiners), is_trained),
            "--combiner-optimizer: {} means nothing without --combiner linear or mlp", optimizer);
    const std::pair<Case, void (*)(Case&)> cases[] = {{lms5(), expect_lms5},
                                                      {ms5(), expect_ms5},
                                                      {narrow_ms5(), [](Case&) {}},
                                                      {noisy_lms7(), expect_noisy_lms7}};
    for (auto [c, expect] : cases) {
      if (!chosen.empty() && c.name != chosen) continue;
      if (!sizes.empty()) c.votes.sizes = sizes_of(sizes);
      if (!combiners.empty()) c.votes.combiners = combiners_of(combiners);
      if (optimizer == "adam") c.votes.combiner_optimizer = OptimizerKind::adam;
      const bool as_published = c.votes.sizes.front() == 3 && c.votes.combiners.front() == Combiner::average;
      if (!as_published) c.published.clear();
      expect(c);
      experiment.add(c);
    }
  });
}
