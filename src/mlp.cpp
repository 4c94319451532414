#include "occam/mlp.hpp"

#include <algorithm>
#include <cmath>

#include "initial_draws.hpp"
#include "law/functions.hpp"
#include "law/philox_run.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"
#include "occam/philox.hpp"
#include "threads.hpp"

namespace occam {

void validate(const MlpSpec& spec) {
  require(spec.inputs >= 1 && spec.inputs <= kMostInputs, "inputs: {} is outside 1 … {}", spec.inputs,
          kMostInputs);
  require(spec.hidden.size() <= 15, "hidden: {} layers, at most 15 are supported", spec.hidden.size());
  for (const int width : spec.hidden)
    require(width >= 1 && width <= kMostWidth, "hidden {}: width {} is outside 1 … {}",
            architecture_name(spec.hidden), width, kMostWidth);
  require(spec.classes >= 2 && spec.classes <= kMostClasses, "classes: {} is outside 2 … {}", spec.classes,
          kMostClasses);
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

constexpr std::int64_t kPiece = 1 << 18;  // draws that a thread takes at a time

// out[i] = element first + i of a layer's draws: weights first, row-major, then biases.
struct Draws {
  law::LayerDraws of;
  std::uint32_t seed;
  int layer;
  std::int64_t first;
  std::span<float> out;
};

void draw(const Draws& d) {
  constexpr std::int64_t kCounters = 256, kDraws = 4 * kCounters;
  law::PhiloxRun<kCounters> run;
  const auto last = d.first + static_cast<std::int64_t>(d.out.size());
  for (std::int64_t block = d.first / kDraws * kDraws; block < last; block += kDraws) {
    run.fill(d.seed, Stream::initialization, static_cast<std::uint32_t>(block / 4),
             static_cast<std::uint32_t>(d.layer));
    for (std::int64_t i = std::max(d.first, block); i < std::min(last, block + kDraws); ++i)
      d.out[static_cast<std::size_t>(i - d.first)] =
          law::initial_value(d.of, run.word[i % 4][(i - block) / 4]);
  }
}

// Half width of the uniform, or standard deviation of the normal.
double bound_of(InitializationKind kind, double fan_in, double fan_out) {
  switch (kind) {
    case InitializationKind::pytorch: return 1.0 / std::sqrt(fan_in);
    case InitializationKind::kaiming_uniform: return std::sqrt(6.0 / fan_in);
    case InitializationKind::kaiming_normal: return std::sqrt(2.0 / fan_in);
    case InitializationKind::xavier_uniform: return std::sqrt(6.0 / (fan_in + fan_out));
    default: return std::sqrt(2.0 / (fan_in + fan_out));
  }
}

void validate(const Initialization& init) {
  require(std::isfinite(init.scale) && init.scale >= 0, "init scale: {} is not a finite number >= 0",
          init.scale);
}

// Sets what is not drawn of a member's parameters and appends what is, in pieces.
void begin(const MlpSpec& spec, const ParameterLayout& layout, const Initialization& init, std::uint32_t seed,
           std::span<float> parameters, std::vector<Draws>& pieces) {
  for (int l = 0; l < spec.layers(); ++l) {
    const ParameterLayout::Layer& layer = layout.layers[static_cast<std::size_t>(l)];
    const law::LayerDraws draws = layer_draws(init, layer.fan_in, layer.fan_out);
    const std::int64_t weights = std::int64_t{layer.fan_in} * layer.fan_out;
    const auto tensor = [&](std::int64_t at, std::int64_t count) {
      return parameters.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count));
    };
    for (std::int64_t first = 0; first < weights; first += kPiece)
      pieces.push_back(
          {draws, seed, l, first, tensor(layer.weight + first, std::min(kPiece, weights - first))});
    const std::span<float> bias = tensor(layer.bias, layer.fan_out);
    if (draws.biases)
      pieces.push_back({draws, seed, l, weights, bias});
    else
      std::ranges::fill(bias, 0.0f);
    if (layer.slope >= 0) parameters[static_cast<std::size_t>(layer.slope)] = kPreluStart;
    if (layer.gamma < 0) continue;
    std::ranges::fill(tensor(layer.gamma, layer.fan_out), 1.0f);
    std::ranges::fill(tensor(layer.beta, layer.fan_out), 0.0f);
    std::ranges::fill(tensor(layer.running_mean, layer.fan_out), 0.0f);
    std::ranges::fill(tensor(layer.running_variance, layer.fan_out), 1.0f);
  }
}

}  // namespace

law::LayerDraws layer_draws(const Initialization& init, int fan_in, int fan_out) {
  const bool normal =
      init.kind == InitializationKind::kaiming_normal || init.kind == InitializationKind::xavier_normal;
  return {normal, init.kind == InitializationKind::pytorch,
          static_cast<float>(bound_of(init.kind, fan_in, fan_out) * init.scale)};
}

void initialize(const MlpSpec& spec, const ParameterLayout& layout, const Initialization& init,
                std::uint32_t seed, std::span<float> parameters, int threads) {
  validate(init);
  std::vector<Draws> pieces;
  begin(spec, layout, init, seed, parameters, pieces);
  const auto enough = static_cast<int>(std::clamp<std::int64_t>(layout.total / kPiece, 1, threads));
  side_by_side(enough, pieces.size(), [&](std::size_t i) { draw(pieces[i]); });
}

MlpEnsemble::MlpEnsemble(MlpSpec spec, std::vector<Seeds> seeds, std::vector<Initialization> inits,
                         Device device)
    : spec_((validate(spec), std::move(spec))), layout_(spec_), seeds_(std::move(seeds)),
      inits_(std::move(inits)), device_(std::move(device)), last_(seeds_.size()), best_(seeds_.size()) {
  require(!seeds_.empty(), "ensemble: no members (at least one seed is needed)");
  require(inits_.size() == seeds_.size(), "ensemble: {} initialisations for {} members", inits_.size(),
          seeds_.size());
  require(device_.threads >= 1, "ensemble: a device with {} host threads (select_device counts them)",
          device_.threads);
  for (const Initialization& init : inits_) validate(init);
}

MlpEnsemble::MlpEnsemble(const MlpEnsemble& of, std::vector<Seeds> seeds, std::vector<Initialization> inits)
    : spec_(of.spec_), layout_(of.layout_), seeds_(std::move(seeds)), inits_(std::move(inits)),
      device_(of.device_), last_(seeds_.size()), best_(seeds_.size()) {}

void MlpEnsemble::require_member(int member) const {
  require(member >= 0 && member < members(), "ensemble: member {} of {}; they are counted from 0", member,
          members());
}

std::span<float> MlpEnsemble::drawn(int member) const {
  require_member(member);
  const std::lock_guard lock(*drawing_);
  const auto m = static_cast<std::size_t>(member);
  if (!last_[m]) {
    std::unique_ptr<float[]> made = unset();
    initialize(spec_, layout_, inits_[m], seeds_[m].init, values(made), device_.threads);
    last_[m] = std::move(made);
  }
  return floats(last_, member);
}

std::unique_ptr<float[]> MlpEnsemble::unset() const {
  return std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(layout_.total));
}

MlpEnsemble MlpEnsemble::subset(std::span<const int> members) const {
  require(!members.empty(), "ensemble: a subset without members");
  std::vector<Seeds> chosen;
  std::vector<Initialization> inits;
  for (const int member : members) {
    require_member(member);
    chosen.push_back(seeds(member));
    inits.push_back(initialization(member));
  }
  MlpEnsemble some(*this, std::move(chosen), std::move(inits));
  some.heed(interrupt_);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto to = static_cast<int>(i);
    const int from = members[i];
    if (is_drawn(from))
      some.replace_last(to, [&](std::span<float> values) { std::ranges::copy(last(from), values.begin()); });
    if (own_best(from))
      some.replace_best(to, [&](std::span<float> values) { std::ranges::copy(best(from), values.begin()); });
  }
  return some;
}

std::span<float> MlpEnsemble::best(int member) {
  if (!own_best(member))
    replace_best(member, [&](std::span<float> values) { std::ranges::copy(last(member), values.begin()); });
  return floats(best_, member);
}

}  // namespace occam
