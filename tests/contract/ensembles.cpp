#include "contract/ensembles.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "support/small_data.hpp"

namespace occam::test {

const Optimizer kOptimizers[5] = {
    {.kind = OptimizerKind::sgd, .learning_rate = 0.1},
    {.kind = OptimizerKind::sgd, .learning_rate = 0.05, .momentum = 0.9, .weight_decay = 5e-3},
    {.kind = OptimizerKind::adam, .learning_rate = 0.01, .weight_decay = 5e-3},
    {.kind = OptimizerKind::rmsprop, .learning_rate = 0.003},
    {.kind = OptimizerKind::rmsprop, .learning_rate = 0.002, .momentum = 0.5, .weight_decay = 5e-3},
};

void Ensemble::add(const Data& one, const Training& training, std::uint32_t seed) {
  data.push_back(one);
  seeds.push_back({.data = seed, .init = seed + 1, .order = seed + 2});
  trainings.push_back(training);
  start.push_back(random_parameters(spec, seed));
}

std::string describe(const Ensemble& e) {
  std::string text =
      fmt::format("{}-{}-{}, activation {}, loss {}, batch norm {}, batch {}", e.spec.inputs,
                  architecture_name(e.spec.hidden), e.spec.outputs(), static_cast<int>(e.spec.activation),
                  static_cast<int>(e.spec.loss), e.spec.batch_norm, e.trainings[0].batch);
  for (std::size_t m = 0; m < e.data.size(); ++m)
    text += fmt::format("; member {}: {} rows of {}, optimizer {} momentum {}, dropout {} {}", m,
                        rows(e.data[m], Split::train),
                        std::holds_alternative<SlabData>(e.data[m]) ? "slabs" : "a table",
                        static_cast<int>(e.trainings[m].optimizer.kind), e.trainings[m].optimizer.momentum,
                        e.trainings[m].input_dropout, e.trainings[m].hidden_dropout);
  return text;
}

std::unique_ptr<Wave> open_loaded(Backend& backend, const Ensemble& ensemble, bool trains) {
  std::unique_ptr<Wave> wave = backend.open(ensemble.request(trains));
  for (int m = 0; m < ensemble.members(); ++m) wave->load(m, ensemble.start[static_cast<std::size_t>(m)]);
  return wave;
}

std::vector<float> parameters(const Ensemble& ensemble, const Wave& wave, int member) {
  std::vector<float> result(static_cast<std::size_t>(ParameterLayout(ensemble.spec).total), 0.0f);
  wave.store(member, result);
  return result;
}

ScalarTwin twin_of(const Ensemble& ensemble, int member) {
  const auto m = static_cast<std::size_t>(member);
  return {ensemble.spec, ensemble.trainings[m], ensemble.seeds[m].order, ensemble.start[m]};
}

Data slabs(int dim, std::int64_t train, std::int64_t validation, std::int64_t test, bool rotate,
           std::uint32_t seed) {
  const SlabCoordinate kinds[] = {
      {.kind = BlockKind::linear, .margin = 0.1, .noise = 0.2, .noise_kind = NoiseKind::margin, .shift = 0.3},
      {.kind = BlockKind::slab5, .margin = 0.05, .noise = 0.3, .noise_kind = NoiseKind::label},
      {.kind = BlockKind::slab7,
       .margin = 0.1,
       .noise = 0.1,
       .noise_kind = NoiseKind::label,
       .inner_probability0 = 0.25},
      {.kind = BlockKind::slab3, .margin = 0.2, .shift = -0.5},
      {.kind = BlockKind::slab5, .margin = 0.1, .noise = 0.25, .noise_kind = NoiseKind::margin},
      {.kind = BlockKind::linear, .margin = 0.0, .noise = 0.5, .noise_kind = NoiseKind::flip},
      {.kind = BlockKind::unused},
  };
  SlabSpec spec;
  for (int i = 0; i < dim; ++i)
    spec.coordinates.push_back(kinds[static_cast<std::size_t>(i) % std::size(kinds)]);
  spec.rotate = rotate;
  spec.train = train, spec.validation = validation, spec.test = test;
  return slab_data(spec, {seed})[0];
}

Ensemble drawn_ensemble(std::uint32_t number, const Limits& limits) {
  constexpr int kWidths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 50, 63, 64, 65, 127, 128, 129, 150};
  constexpr int kBatches[] = {1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129};
  struct Output {
    Loss loss;
    int classes;
  };
  constexpr Output kOutputs[] = {{Loss::cross_entropy, 2},        {Loss::cross_entropy, 3},
                                 {Loss::cross_entropy, 5},        {Loss::cross_entropy, 9},
                                 {Loss::binary_cross_entropy, 2}, {Loss::hinge, 2}};
  std::mt19937 random(number);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<std::uint32_t>(n)); };
  const auto one_of = [&](std::span<const int> choices, int limit) {
    const auto fitting = std::upper_bound(choices.begin(), choices.end(), limit) - choices.begin();
    return choices[static_cast<std::size_t>(below(static_cast<int>(fitting)))];
  };

  Ensemble ensemble;
  const Output output = kOutputs[below(std::size(kOutputs))];
  ensemble.spec.inputs = one_of(kWidths, limits.widest);
  ensemble.spec.hidden.clear();
  for (int depth = below(limits.depth + 1); depth > 0; --depth)
    ensemble.spec.hidden.push_back(one_of(kWidths, limits.widest));
  ensemble.spec.loss = output.loss;
  ensemble.spec.classes = output.classes;
  ensemble.spec.activation = static_cast<Activation>(number % 5);
  ensemble.spec.batch_norm = number / 5 % 3 == 0;
  const int batch = ensemble.spec.batch_norm ? std::max(2, one_of(kBatches, limits.largest_batch))
                                             : one_of(kBatches, limits.largest_batch);
  std::optional<Data> shared;
  for (int m = 0; m < 1 + below(limits.members); ++m) {
    // A batch of one sample has no variance, so batch norm gets whole batches; else the last batch of an
    // epoch is short.
    std::int64_t train = ensemble.spec.batch_norm ? batch * (1 + below(3)) : 1 + below(2 * batch + 20);
    const bool slab = output.classes == 2 && below(2) == 0;
    Data data = slab ? slabs(ensemble.spec.inputs, train, below(2) * 9, 1 + below(40), below(3) != 0,
                             number + static_cast<unsigned>(m))
                     : clouds_data({ensemble.spec.inputs, output.classes, train, below(2) * 9, 1 + below(40)},
                                   number + static_cast<unsigned>(m));
    if (!slab && shared && below(2) == 0) data = *shared;  // members may share a table
    if (!slab) shared = data;
    Training training;
    training.optimizer = kOptimizers[below(std::size(kOptimizers))];
    training.batch = batch;
    training.input_dropout = below(3) == 0 ? 0.2 : 0.0;
    training.hidden_dropout = below(3) == 0 ? 0.4 : 0.0;
    ensemble.add(data, training, 1000 * number + static_cast<unsigned>(m));
  }
  return ensemble;
}

}  // namespace occam::test
