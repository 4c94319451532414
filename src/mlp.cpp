#include "occam/mlp.hpp"

#include <algorithm>
#include <cmath>

#include "law/functions.hpp"
#include "law/philox_run.hpp"
#include "occam/error.hpp"
#include "occam/philox.hpp"

namespace occam {

void validate(const MlpSpec& spec) {
  require(spec.inputs >= 1 && spec.inputs <= 65536, "inputs: {} is outside 1 … 65536", spec.inputs);
  require(spec.hidden.size() <= 15, "hidden: {} layers, at most 15 are supported", spec.hidden.size());
  for (const int width : spec.hidden)
    require(width >= 1 && width <= 16384, "hidden {}: width {} is outside 1 … 16384",
            architecture_name(spec.hidden), width);
  require(spec.classes >= 2 && spec.classes <= 256, "classes: {} is outside 2 … 256", spec.classes);
  require(spec.loss == Loss::cross_entropy || spec.classes == 2,
          "loss: binary cross-entropy and hinge have one logit and need 2 classes, the data have {} (use "
          "cross-entropy)",
          spec.classes);
}

std::string architecture_name(const std::vector<int>& hidden) {
  if (hidden.empty()) return "linear";
  std::string name = std::to_string(hidden[0]);
  for (std::size_t l = 1; l < hidden.size(); ++l) name.append(1, 'x').append(std::to_string(hidden[l]));
  return name;
}

ParameterLayout::ParameterLayout(const MlpSpec& spec) {
  std::int64_t at = 0;
  const auto take = [&at](std::int64_t count) {
    const std::int64_t first = at;
    at += count;
    return first;
  };
  for (int l = 0; l < spec.layers(); ++l) {
    Layer layer;
    layer.fan_in = spec.fan_in(l);
    layer.fan_out = spec.fan_out(l);
    layer.weight = take(std::int64_t{layer.fan_in} * layer.fan_out);
    layer.bias = take(layer.fan_out);
    if (l + 1 < spec.layers()) {
      if (spec.activation == Activation::prelu) layer.slope = take(1);
      if (spec.batch_norm) {
        layer.gamma = take(layer.fan_out);
        layer.beta = take(layer.fan_out);
      }
    }
    layers.push_back(layer);
  }
  trainable = at;
  for (Layer& layer : layers)
    if (layer.gamma >= 0) {
      layer.running_mean = take(layer.fan_out);
      layer.running_variance = take(layer.fan_out);
    }
  total = at;
}

namespace {

// out[i] = factor times element first + i of a layer's draws: weights first, row-major, then biases.
void initial_draws(std::uint32_t seed, int layer, std::int64_t first, bool normal, float factor,
                   std::span<float> out) {
  constexpr std::int64_t kCounters = 256, kDraws = 4 * kCounters;
  law::PhiloxRun<kCounters> run;
  const auto last = first + static_cast<std::int64_t>(out.size());
  for (std::int64_t block = first / kDraws * kDraws; block < last; block += kDraws) {
    run.fill(seed, Stream::initialization, static_cast<std::uint32_t>(block / 4),
             static_cast<std::uint32_t>(layer));
    for (std::int64_t i = std::max(first, block); i < std::min(last, block + kDraws); ++i) {
      const std::uint32_t word = run.word[i % 4][(i - block) / 4];
      const float uniform = law::fma(2.0f, uniform01(word), -1.0f);  // on [−1, 1)
      out[static_cast<std::size_t>(i - first)] = factor * (normal ? law::standard_normal(word) : uniform);
    }
  }
}

}  // namespace

void initialize(const MlpSpec& spec, const ParameterLayout& layout, const Initialization& init,
                std::uint32_t seed, std::span<float> parameters) {
  require(std::isfinite(init.scale) && init.scale >= 0, "init scale: {} is not a finite number >= 0",
          init.scale);
  const bool pytorch = init.kind == InitializationKind::pytorch;
  const bool normal =
      init.kind == InitializationKind::kaiming_normal || init.kind == InitializationKind::xavier_normal;
  for (int l = 0; l < spec.layers(); ++l) {
    const ParameterLayout::Layer& layer = layout.layers[static_cast<std::size_t>(l)];
    const double fan_in = layer.fan_in, fan_sum = fan_in + layer.fan_out;
    double bound = 0;  // half width of the uniform, or standard deviation of the normal
    switch (init.kind) {
      case InitializationKind::pytorch: bound = 1.0 / std::sqrt(fan_in); break;
      case InitializationKind::kaiming_uniform: bound = std::sqrt(6.0 / fan_in); break;
      case InitializationKind::kaiming_normal: bound = std::sqrt(2.0 / fan_in); break;
      case InitializationKind::xavier_uniform: bound = std::sqrt(6.0 / fan_sum); break;
      case InitializationKind::xavier_normal: bound = std::sqrt(2.0 / fan_sum); break;
    }
    const float factor = static_cast<float>(bound * init.scale);
    const std::int64_t weights = std::int64_t{layer.fan_in} * layer.fan_out;
    const auto tensor = [&](std::int64_t at, std::int64_t count) {
      return parameters.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count));
    };
    initial_draws(seed, l, 0, normal, factor, tensor(layer.weight, weights));
    const std::span<float> bias = tensor(layer.bias, layer.fan_out);
    if (pytorch)
      initial_draws(seed, l, weights, false, factor, bias);
    else
      std::ranges::fill(bias, 0.0f);
    if (layer.slope >= 0) parameters[static_cast<std::size_t>(layer.slope)] = kPreluStart;
    for (std::int64_t i = 0; i < (layer.gamma >= 0 ? layer.fan_out : 0); ++i) {
      parameters[static_cast<std::size_t>(layer.gamma + i)] = 1.0f;
      parameters[static_cast<std::size_t>(layer.beta + i)] = 0.0f;
      parameters[static_cast<std::size_t>(layer.running_mean + i)] = 0.0f;
      parameters[static_cast<std::size_t>(layer.running_variance + i)] = 1.0f;
    }
  }
}

MlpEnsemble::MlpEnsemble(MlpSpec spec, std::vector<Seeds> seeds, std::vector<Initialization> inits,
                         Device device)
    : spec_((validate(spec), std::move(spec))), layout_(spec_), seeds_(std::move(seeds)),
      device_(std::move(device)) {
  require(!seeds_.empty(), "ensemble: no members (at least one seed is needed)");
  require(inits.size() == seeds_.size(), "ensemble: {} initialisations for {} members", inits.size(),
          seeds_.size());
  last_.resize(seeds_.size() * static_cast<std::size_t>(layout_.total));
  for (int m = 0; m < members(); ++m)
    initialize(spec_, layout_, inits[static_cast<std::size_t>(m)], seeds_[static_cast<std::size_t>(m)].init,
               last(m));
  best_ = last_;
}

}  // namespace occam
