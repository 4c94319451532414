// One model, its rows, and its attack through the public API.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "occam/attack.hpp"
#include "support/small_data.hpp"

namespace occam::test {

struct Attacked {
  MlpSpec spec;
  Data data;
  MlpEnsemble models;

  Attacked(MlpSpec s, const Data& d, std::uint32_t seed = 1, int threads = 1)
      : spec(std::move(s)), data(d), models(spec, {{seed, seed, seed}}, cpu(threads)) {
    std::ranges::copy(random_parameters(spec, seed), models.last(0).begin());
  }
  AttackResult run(const AttackSuite& suite) {
    AttackResult result;
    attack(models, {&data, 1}, {&suite, 1}, [&](int, AttackResult&& made) { result = std::move(made); });
    return result;
  }
  Perturbed pgd(const Pgd& settings) { return *run({.pgd = settings}).pgd; }
  HostTable rows() const { return materialize(data, Split::test); }
};

inline MlpSpec network(int inputs, std::vector<int> hidden, Activation activation = Activation::tanh,
                       int classes = 2, Loss loss = Loss::cross_entropy) {
  return {.inputs = inputs,
          .hidden = std::move(hidden),
          .classes = classes,
          .activation = activation,
          .loss = loss};
}

}  // namespace occam::test
