#include "experiment/attack_measure.hpp"

#include <algorithm>
#include <cmath>

#include "occam/statistics.hpp"
#include "singular.hpp"

namespace occam {

AttackSuite Attacks::suite(std::uint32_t seed) const {
  AttackSuite suite;
  suite.in_range_units = units == AttackUnits::range;
  suite.keeps_bounds = bounds.has_value();
  const AttackBounds range = bounds.value_or(AttackBounds{-experiment::kUnbounded, experiment::kUnbounded});
  const auto bounded = [&](auto attack) {
    attack.lower = range.lower, attack.upper = range.upper;
    if (attack.step == 0) attack.step = experiment::usual_step(attack.epsilon, attack.iterations);
    return attack;
  };
  if (pgd) suite.pgd = bounded(pgd_settings), suite.pgd->seed = seed;
  if (svd_uap) {
    suite.svd_uap = svd_settings;
    suite.svd_uap->attack = bounded(svd_settings.attack), suite.svd_uap->attack.seed = seed;
  }
  if (as_uap) suite.as_uap = bounded(as_settings);
  return suite;
}

namespace experiment {
namespace {

// Mean over the rows [rows][width] of their norm.
double mean_norm(std::span<const float> perturbations, std::size_t width, Norm norm) {
  double sum = 0;
  for (std::size_t first = 0; first < perturbations.size(); first += width) {
    double size = 0;
    for (const float value : perturbations.subspan(first, width))
      size = norm == Norm::l2 ? size + double{value} * value : std::max(size, std::abs(double{value}));
    sum += norm == Norm::l2 ? std::sqrt(size) : size;
  }
  return sum / static_cast<double>(perturbations.size() / width);
}

}  // namespace

void measure_attacks(const MlpEnsemble& models, std::span<const Data> data, const Plan& plan, int keep,
                     std::span<const Place> places, std::span<MemberRecord> records) {
  const auto case_of = [&](std::size_t i) -> const Case& {
    return plan.cases[static_cast<std::size_t>(places[i].planned_case)].settings;
  };
  // One that diverged is not attacked: its logits are no numbers.
  std::vector<AttackSuite> suites;
  for (std::size_t i = 0; i < places.size(); ++i)
    suites.push_back(records[i].diverged()
                         ? AttackSuite{}
                         : case_of(i).attacks.suite(models.seeds(static_cast<int>(i)).order));
  const int width = models.spec().inputs;
  const auto take = [&](int member, AttackResult&& made) {
    const auto i = static_cast<std::size_t>(member);
    MemberRecord& record = records[i];
    const Attacks& asked = case_of(i).attacks;
    if (!asked.any()) return;
    if (record.diverged()) {
      const auto none = [&](bool wanted, std::initializer_list<const char*> names) {
        for (const char* name : names)
          if (wanted) record.metrics.emplace_back(name, kNan);
      };
      none(asked.pgd, {"pgd_accuracy", "pgd_loss", "pgd_share", "pgd_norm"});
      none(asked.svd_uap, {"svd_uap_accuracy", "svd_uap_share"});
      none(asked.as_uap, {"as_uap_accuracy", "as_uap_share"});
      return none(asked.units == AttackUnits::range, {"data_range"});
    }
    const std::vector<float> matrix = rotation(data[i]);
    const auto share = [&](std::span<const float> perturbations) {
      return perturbation_share(perturbations, matrix, width, case_of(i).simple);
    };
    if (made.pgd) {
      record.metrics.emplace_back("pgd_accuracy", made.pgd_score.accuracy);
      record.metrics.emplace_back("pgd_loss", made.pgd_score.loss);
      record.metrics.emplace_back("pgd_share", share(made.pgd->perturbation));
      record.metrics.emplace_back(
          "pgd_norm",
          mean_norm(made.pgd->perturbation, static_cast<std::size_t>(width), asked.pgd_settings.norm));
      if (places[i].member < keep)
        record.arrays.push_back(member_array<float>("pgd/perturbation", made.pgd->perturbation,
                                                    {rows(data[i], Split::test), width}));
    }
    const auto add = [&](const std::string& name, const std::optional<Universal>& universal) {
      if (!universal) return;
      // Of perturbations that are all zero there is no singular vector.
      const bool none = !universal->singular_values.empty() && !has_direction(universal->singular_values);
      record.metrics.emplace_back(name + "_accuracy", none ? kNan : universal->score.accuracy);
      record.metrics.emplace_back(name + "_share", share(universal->perturbation));
      record.arrays.push_back(member_array<float>(name + "/perturbation", universal->perturbation, {width}));
      if (!universal->singular_values.empty())
        record.arrays.push_back(
            member_array<double>(name + "/singular_values", universal->singular_values, {width}));
    };
    add("svd_uap", made.svd_uap);
    add("as_uap", made.as_uap);
    if (asked.units == AttackUnits::range) record.metrics.emplace_back("data_range", made.range.width());
  };
  attack(models, data, suites, take, case_of(0).evaluate);
}

}  // namespace experiment
}  // namespace occam
