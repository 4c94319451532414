#include "experiment/measure.hpp"

#include "experiment/attack_measure.hpp"
#include "experiment/shape_measure.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "occam/error.hpp"
#include "occam/statistics.hpp"

namespace occam::experiment {
namespace {

constexpr std::int64_t kSampleRows = 2000;
constexpr std::int64_t kBoundaryPoints = 100'000;
// Cases with pictures, which take up to a megabyte: those that tools/report draws (DETAILED_CASES).
constexpr int kPicturedCases = 8;

// A test-set variant and the metrics it gives: <name>_auc, <name>_accuracy, <name>_loss; "agreement" variants
// compare with the model's own predictions and give <name>_agreement.
struct Variant {
  std::string name;
  Randomization randomization;
  bool agreement = false;
};

std::vector<Variant> variants_of(const PlannedCase& planned) {
  using Kind = Randomization::Kind;
  using Against = Randomization::Against;
  const std::vector<int>& simple = planned.settings.simple;
  const std::vector<int>& complement = planned.complement;
  const Measures& measures = planned.settings.measures;
  std::vector<Variant> variants{{"standard", {}, false},
                                {"s_randomized", {simple, Kind::permute, Against::labels}, false},
                                {"sc_randomized", {complement, Kind::permute, Against::labels}, false}};
  for (const auto& [name, coordinates] : measures.groups)
    variants.push_back({name + "_randomized", {coordinates, Kind::permute, Against::labels}, false});
  if (measures.swap) {
    variants.push_back({"s_swapped", {simple, Kind::swap, Against::labels}, false});
    variants.push_back({"sc_swapped", {complement, Kind::swap, Against::labels}, false});
  }
  if (measures.predictions) {
    variants.push_back({"s_randomized", {simple, Kind::permute, Against::predictions}, true});
    variants.push_back({"sc_randomized", {complement, Kind::permute, Against::predictions}, true});
  }
  return variants;
}

void add_scores(MemberRecord& record, const std::string& prefix, const std::vector<Variant>& variants,
                const std::vector<Score>& scores) {
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const std::string name = prefix + variants[v].name;
    if (variants[v].agreement) {
      record.metrics.emplace_back(name + "_agreement", scores[v].accuracy);
      continue;
    }
    record.metrics.emplace_back(name + "_auc", scores[v].mean_auc());
    if (scores[v].auc.size() > 1)
      for (std::size_t k = 0; k < scores[v].auc.size(); ++k)
        record.metrics.emplace_back(fmt::format("{}_auc_class{}", name, k), scores[v].auc[k]);
    record.metrics.emplace_back(name + "_accuracy", scores[v].accuracy);
    record.metrics.emplace_back(name + "_loss", scores[v].loss);
  }
}

}  // namespace

void add_history(MemberRecord& record, Which evaluated) {
  const MemberHistory& history = record.history;
  const Check& last = history.checks.back();
  const Check& best =
      history.best_check < 0 ? last : history.checks[static_cast<std::size_t>(history.best_check)];
  const auto add = [&](const std::string& prefix, const Check& check) {
    record.metrics.emplace_back(prefix + "train_accuracy", check.train_accuracy);
    record.metrics.emplace_back(prefix + "train_loss", check.train_loss);
    if (check.validation_accuracy < 0) return;
    record.metrics.emplace_back(prefix + "validation_accuracy", check.validation_accuracy);
    record.metrics.emplace_back(prefix + "validation_loss", check.validation_loss);
  };
  add("", evaluated == Which::last ? last : best);
  record.metrics.emplace_back("updates", static_cast<double>(history.updates));
  record.metrics.emplace_back("best_at_update", static_cast<double>(best.updates));
  add(evaluated == Which::last ? "best_" : "last_", evaluated == Which::last ? best : last);
}

namespace {

bool same_models(const MlpEnsemble& models) {
  for (int i = 0; i < models.members(); ++i) {
    const auto last = models.last(i), best = models.best(i);
    // As bits: a diverged model's NaN equals itself.
    if (!std::ranges::equal(std::as_bytes(last), std::as_bytes(best))) return false;
  }
  return true;
}

// ---- accuracy per coordinate and subset -------------------------------------------------------------------

void add_per_coordinate(MemberRecord& record, const PlannedCase& planned, std::span<const Score> scores) {
  std::vector<double> accuracy;
  for (const Score& score : scores) accuracy.push_back(score.accuracy);
  double simple = 0, other = 1;
  for (int i : planned.settings.simple) simple += accuracy[static_cast<std::size_t>(i)];
  for (int i : planned.complement) other = std::min(other, accuracy[static_cast<std::size_t>(i)]);
  record.metrics.emplace_back("per_coordinate_simple_accuracy",
                              simple / static_cast<double>(planned.settings.simple.size()));
  record.metrics.emplace_back("per_coordinate_other_least_accuracy", other);
  record.arrays.push_back(member_array<double>("per_coordinate_accuracy", accuracy,
                                               {static_cast<std::int64_t>(accuracy.size())}));
}

void add_subsets(MemberRecord& record, int size, const std::vector<std::vector<int>>& sets,
                 std::span<const Score> scores, bool first) {
  std::vector<double> accuracy;
  for (const Score& score : scores) accuracy.push_back(score.accuracy);
  const auto count = static_cast<std::int64_t>(sets.size());
  const double sum = std::accumulate(accuracy.begin(), accuracy.end(), 0.0);
  record.metrics.emplace_back(fmt::format("subset{}_mean_accuracy", size), sum / static_cast<double>(count));
  record.metrics.emplace_back(fmt::format("subset{}_least_accuracy", size),
                              *std::min_element(accuracy.begin(), accuracy.end()));
  record.arrays.push_back(member_array<double>(fmt::format("subset{}/accuracy", size), accuracy, {count}));
  if (!first) return;
  std::vector<std::int32_t> flat;
  for (const auto& set : sets) flat.insert(flat.end(), set.begin(), set.end());
  record.arrays.push_back(
      member_array<std::int32_t>(fmt::format("subset{}/coordinates", size), flat, {count, size}, true));
}

// ---- arrays of the kept members ---------------------------------------------------------------------------

void add_kept_scores(MemberRecord& record, const MlpEnsemble& models, int i, const Data& data,
                     const PlannedCase& planned, Which which) {
  std::vector<std::uint8_t> labels;
  const std::vector<Variant> variants = variants_of(planned);
  for (std::size_t v = 0; v < 3; ++v) {
    const Logits values = logits(models, i, data, variants[v].randomization, which);
    if (v == 0) labels.assign(values.labels.begin(), values.labels.end());
    if (models.spec().classes == 2)
      record.arrays.push_back(
          member_array<float>("scores/" + variants[v].name, scores_of(values), {values.rows}));
    else
      record.arrays.push_back(
          member_array<float>("logits/" + variants[v].name, values.values, {values.rows, values.outputs}));
  }
  record.arrays.push_back(
      member_array<std::uint8_t>("scores/labels", labels, {static_cast<std::int64_t>(labels.size())}));
}

void add_geometry(MemberRecord& record, const MlpEnsemble& models, int i, const Data& data,
                  const PlannedCase& planned, Which which) {
  const std::int64_t d = models.spec().inputs;
  if (const std::vector<float> w = rotation(data); !w.empty())
    record.arrays.push_back(member_array<float>("rotation", w, {d, d}));
  const Alignment alignment = first_layer_alignment(models, i, data, planned.settings.simple.front(), which);
  const auto units = static_cast<std::int64_t>(alignment.cosine.size());
  record.arrays.push_back(member_array<float>("alignment/cosine", alignment.cosine, {units}));
  record.arrays.push_back(member_array<float>("alignment/norm", alignment.norm, {units}));
  if (!alignment.output_correlation.empty())
    record.arrays.push_back(
        member_array<double>("alignment/output_correlation", alignment.output_correlation,
                             {static_cast<std::int64_t>(alignment.output_correlation.size())}));
}

// Of the first member alone: test rows before the rotation, and the decision boundary on the first simple
// coordinate and the first other one.
void add_pictures(MemberRecord& record, const MlpEnsemble& models, int i, const Data& data,
                  const PlannedCase& planned, bool symmetric, Which which) {
  const std::int64_t count = std::min(kSampleRows, rows(data, Split::test)), d = models.spec().inputs;
  std::vector<float> x(static_cast<std::size_t>(count * d));
  std::vector<std::int32_t> y(static_cast<std::size_t>(count));
  generate(data, first_row(data, Split::test), count, x.data(), y.data());
  record.arrays.push_back(member_array<float>("sample/x", x, {count, d}, true));
  record.arrays.push_back(member_array<std::int32_t>("sample/y", y, {count}, true));
  const int a = planned.settings.simple.front(), b = planned.complement.front();
  const double limit = std::holds_alternative<SlabData>(data) ? planned.settings.slab.width : 1.0;
  const Boundary boundary =
      decision_boundary(models, i, data, a, b, kBoundaryPoints, limit, symmetric, which);
  const std::vector<std::uint8_t> label(boundary.label.begin(), boundary.label.end());
  record.arrays.push_back(member_array<float>("boundary/a", boundary.a, {kBoundaryPoints}, true));
  record.arrays.push_back(member_array<float>("boundary/b", boundary.b, {kBoundaryPoints}, true));
  record.arrays.push_back(member_array<std::uint8_t>("boundary/label", label, {kBoundaryPoints}, true));
  const std::vector<std::int32_t> coordinates{a, b};
  record.arrays.push_back(member_array<std::int32_t>("boundary/coordinates", coordinates, {2}, true));
}

}  // namespace

void add_weights(MemberRecord& record, const std::string& model, const MlpEnsemble& models,
                 std::span<const float> parameters) {
  const auto add = [&](int layer, const char* tensor, std::int64_t offset, std::vector<std::int64_t> shape) {
    if (offset < 0) return;
    std::int64_t count = 1;
    for (std::int64_t extent : shape) count *= extent;
    record.arrays.push_back(member_array<float>(
        fmt::format("weights/{}/layers.{}.{}", model, layer, tensor),
        parameters.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(count)),
        std::move(shape)));
  };
  const ParameterLayout& layout = models.layout();
  for (int l = 0; l < models.spec().layers(); ++l) {
    const ParameterLayout::Layer& layer = layout.layers[static_cast<std::size_t>(l)];
    add(l, "weight", layer.weight, {layer.fan_out, layer.fan_in});
    add(l, "bias", layer.bias, {layer.fan_out});
    add(l, "slope", layer.slope, {1});
    add(l, "gamma", layer.gamma, {layer.fan_out});
    add(l, "beta", layer.beta, {layer.fan_out});
    add(l, "running_mean", layer.running_mean, {layer.fan_out});
    add(l, "running_variance", layer.running_variance, {layer.fan_out});
  }
}

namespace {

void add_data(MemberRecord& record, const Data& data) {
  const std::pair<Split, const char*> splits[] = {
      {Split::train, "train"}, {Split::validation, "validation"}, {Split::test, "test"}};
  for (const auto& [split, name] : splits) {
    if (rows(data, split) == 0) continue;
    const HostTable table = materialize(data, split);
    record.arrays.push_back(
        member_array<float>(fmt::format("data/{}_x", name), table.x, {table.rows, table.dim}));
    record.arrays.push_back(
        member_array<std::int32_t>(fmt::format("data/{}_y", name), table.y, {table.rows}));
  }
}

}  // namespace

std::vector<std::vector<int>> subsets(int dim, int size) {
  std::vector<std::vector<int>> all;
  std::vector<int> set(static_cast<std::size_t>(size));
  std::iota(set.begin(), set.end(), 0);
  for (;;) {
    all.push_back(set);
    int at = size - 1;
    while (at >= 0 && set[static_cast<std::size_t>(at)] == dim - size + at) --at;
    if (at < 0) return all;
    ++set[static_cast<std::size_t>(at)];
    for (auto i = static_cast<std::size_t>(at) + 1; i < set.size(); ++i) set[i] = set[i - 1] + 1;
  }
}

double metric(const MemberRecord& record, const std::string& name) {
  for (const auto& [key, value] : record.metrics)
    if (key == name) return value;
  return kNan;
}

void measure(const MlpEnsemble& models, std::span<const Data> data, const Plan& plan, const Options& options,
             std::span<const Place> places, std::span<MemberRecord> records) {
  const PlannedCase& shared = plan.cases[static_cast<std::size_t>(places.front().planned_case)];
  if (shared.settings.shapes) return measure_shapes(models, data, plan, options, places, records);
  const Which evaluated = shared.settings.evaluate,
              other = evaluated == Which::last ? Which::best : Which::last;
  const Measures& measures = shared.settings.measures;
  const std::vector<Variant> variants = variants_of(shared);

  // All variants of the evaluated model in one pass: those above, then single coordinates, then subsets.
  std::vector<Randomization> randomizations;
  for (const Variant& variant : variants) randomizations.push_back(variant.randomization);
  const std::size_t named = randomizations.size();
  if (measures.per_coordinate)
    for (int i = 0; i < models.spec().inputs; ++i) randomizations.push_back({.coordinates = {i}});
  std::vector<std::vector<std::vector<int>>> sets;
  for (int size : measures.subset_sizes) {
    sets.push_back(subsets(models.spec().inputs, size));
    for (const auto& set : sets.back()) randomizations.push_back({.coordinates = set});
  }
  const auto scores = score(models, data, randomizations, evaluated);
  const auto other_scores =
      same_models(models) ? scores : score(models, data, std::span(randomizations).first(named), other);

  for (std::size_t i = 0; i < places.size(); ++i) {
    MemberRecord& record = records[i];
    const PlannedCase& planned = plan.cases[static_cast<std::size_t>(places[i].planned_case)];
    const bool first = places[i].member == 0, kept = places[i].member < options.keep;
    const int m = static_cast<int>(i);
    add_scores(record, "", variants, scores[i]);
    add_history(record, evaluated);
    std::span<const Score> rest = std::span(scores[i]).subspan(named);
    if (measures.per_coordinate) {
      const auto d = static_cast<std::size_t>(models.spec().inputs);
      add_per_coordinate(record, planned, rest.first(d));
      rest = rest.subspan(d);
    }
    for (std::size_t s = 0; s < sets.size(); ++s) {
      add_subsets(record, measures.subset_sizes[s], sets[s], rest.first(sets[s].size()), first);
      rest = rest.subspan(sets[s].size());
    }
    add_scores(record, evaluated == Which::last ? "best_" : "last_", variants, other_scores[i]);
    if (kept) {
      add_kept_scores(record, models, m, data[i], planned, evaluated);
      add_geometry(record, models, m, data[i], planned, evaluated);
    }
    if (first && places[i].planned_case < kPicturedCases)
      add_pictures(record, models, m, data[i], planned, options.boundary_symmetric, evaluated);
    if (options.save_weights) {
      add_weights(record, "last", models, models.last(m));
      add_weights(record, "best", models, models.best(m));
    }
    if (options.save_data && kept) add_data(record, data[i]);
  }
  const bool attacked = std::ranges::any_of(places, [&](const Place& place) {
    return plan.cases[static_cast<std::size_t>(place.planned_case)].settings.attacks.any();
  });
  if (attacked) measure_attacks(models, data, plan, options.keep, places, records);
}

}  // namespace occam::experiment
