#include "occam/attack.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "attack_parts.hpp"
#include "occam/limits.hpp"
#include "singular.hpp"
#include "threads.hpp"
#include "waves.hpp"

namespace occam {

namespace {

const char* name_of(AttackLoss loss) {
  constexpr const char* kNames[] = {"untargeted", "targeted",        "random-targeted",
                                    "plus-one",   "binary-targeted", "binary-hybrid"};
  return kNames[static_cast<int>(loss)];
}

void require_finite(const char* what, double value) {
  require(std::isfinite(value), "attack {}: {} is not a finite number", what, value);
}

void require_length(const char* what, double value) {
  require_finite(what, value);
  require(value <= kMostLength, "attack {}: {} is more than {:g}", what, value, kMostLength);
}

// What PGD and AS-UAP have in common.
template <class Attack>
void validate_steps(const Attack& a, int classes) {
  require_length("epsilon", a.epsilon), require_length("step", a.step);
  require_finite("lower bound", a.lower), require_finite("upper bound", a.upper);
  require(a.lower >= -kMostBound && a.upper <= kMostBound, "attack bounds: [{}, {}] reach beyond ±{:g}",
          a.lower, a.upper, kMostBound);
  require(a.epsilon >= 0, "attack epsilon: {} is negative", a.epsilon);
  require(static_cast<float>(a.step) > 0, "attack step: {} is not positive in fp32", a.step);
  require(a.iterations >= 1 && a.iterations <= kMostRepeats, "attack iterations: {} is outside 1 … {}",
          a.iterations, kMostRepeats);
  require(a.lower < a.upper, "attack bounds: [{}, {}] hold no value (give the smaller first)", a.lower,
          a.upper);
  require(a.batch >= 1 && a.batch <= kMostBatch, "attack batch: {} is outside 1 … {}", a.batch, kMostBatch);
  const bool binary = a.loss == AttackLoss::binary_targeted || a.loss == AttackLoss::binary_hybrid;
  require(!binary || classes == 2,
          "attack loss: {} is for two classes, the data have {} (use untargeted or targeted)",
          name_of(a.loss), classes);
  require(a.loss != AttackLoss::targeted || (a.target >= 0 && a.target < classes),
          "attack target: {} is no class (0 … {})", a.target, classes - 1);
}

// The attacks of some of a wave's members, from `first` on.
class WaveAttack {
 public:
  WaveAttack(Wave& wave, const MlpSpec& spec, int threads, Split split, int first, std::span<const Data> data,
             std::span<const AttackSuite> suites)
      : wave_(wave), first_(first), spec_(spec), threads_(threads), data_(data),
        suites_(suites.begin(), suites.end()), split_(split), results_(suites.size()),
        labels_(suites.size()) {
    set_bounds();
  }

  std::vector<AttackResult> run() {
    perturb([](const AttackSuite& s) { return s.pgd ? &*s.pgd : nullptr; },
            [this](std::size_t m, Perturbed&& made) {
              results_[m].pgd_score = score_of(m, made.logits);
              results_[m].pgd = std::move(made);
            });
    svd();
    descend();
    return std::move(results_);
  }

 private:
  static DataRange joined(DataRange a, DataRange b) {
    return {std::min(a.low, b.low), std::max(a.high, b.high)};
  }

  // Their numbers in the wave.
  std::vector<int> in_wave(std::vector<int> members) const {
    for (int& m : members) m += first_;
    return members;
  }

  std::vector<DataRange> ranges(const std::vector<int>& members, Split split) {
    std::vector<DataRange> result(members.size());
    if (!members.empty()) wave_.ranges(in_wave(members), split, result);
    return result;
  }

  void set_bounds() {
    std::vector<int> attacked, scaled;
    for (std::size_t m = 0; m < suites_.size(); ++m) {
      if (suites_[m].empty()) continue;
      attacked.push_back(static_cast<int>(m));
      if (suites_[m].in_range_units) scaled.push_back(static_cast<int>(m));
    }
    const std::vector<DataRange> of_attacked = ranges(attacked, split_);
    for (const Split split : {Split::test, Split::train}) {
      if (scaled.empty()) break;
      const std::vector<DataRange> of_split =
          split == split_ && scaled == attacked ? of_attacked : ranges(scaled, split);
      for (std::size_t k = 0; k < scaled.size(); ++k) {
        DataRange& range = results_[static_cast<std::size_t>(scaled[k])].range;
        range = split == Split::test ? of_split[k] : joined(range, of_split[k]);
      }
    }
    for (std::size_t k = 0; k < attacked.size(); ++k)
      set_bounds(static_cast<std::size_t>(attacked[k]), of_attacked[k]);
  }

  void set_bounds(std::size_t m, DataRange attacked) {
    AttackSuite& suite = suites_[m];
    if (suite.in_range_units) {
      const DataRange range = results_[m].range;
      const auto scale = [&](Pgd& attack) {
        attack.epsilon *= double{range.width()}, attack.step *= double{range.width()};
        require(
            attack.epsilon <= kMostLength && attack.step <= kMostLength,
            "attack: epsilon {:g} and step {:g} in units of the range of the data, {:g}, are more than {:g} "
            "(scale the data)",
            attack.epsilon / double{range.width()}, attack.step / double{range.width()},
            double{range.width()}, kMostLength);
      };
      const auto bound = [&](auto& attack) {
        if (!suite.keeps_bounds) attack.lower = range.low, attack.upper = range.high;
      };
      if (suite.pgd) scale(*suite.pgd), bound(*suite.pgd);
      if (suite.svd_uap) scale(suite.svd_uap->attack), bound(suite.svd_uap->attack);
      if (suite.as_uap) bound(*suite.as_uap);
    }
    const auto check = [&](const auto& attack) {
      require(static_cast<float>(attack.lower) <= attacked.low &&
                  static_cast<float>(attack.upper) >= attacked.high,
              "attack bounds: [{}, {}] exclude the data, which reach from {} to {}", attack.lower,
              attack.upper, attacked.low, attacked.high);
    };
    if (suite.pgd) check(*suite.pgd);
    if (suite.svd_uap) check(suite.svd_uap->attack);
    if (suite.as_uap) check(*suite.as_uap);
  }

  std::int64_t rows_of(std::size_t m) const { return rows(data_[m], split_); }

  // PGD of the members for which pgd_of(suite) is not null; each goes to take(member, perturbed), several members side
  // by side.
  template <class PgdOf, class Take>
  void perturb(const PgdOf& pgd_of, const Take& take) {
    std::vector<int> members;
    std::vector<Pgd> attacks;
    for (std::size_t m = 0; m < suites_.size(); ++m)
      if (const Pgd* attack = pgd_of(suites_[m]))
        members.push_back(static_cast<int>(m)), attacks.push_back(*attack);
    if (members.empty()) return;
    std::vector<Perturbed> made(members.size());
    wave_.perturb(in_wave(members), split_, attacks, made);
    side_by_side(threads_, members.size(),
                 [&](std::size_t k) { take(static_cast<std::size_t>(members[k]), std::move(made[k])); });
  }

  Score score_of(std::size_t m, std::span<const float> logits) {
    std::vector<std::int32_t>& labels = labels_[m];
    if (labels.empty()) labels = occam::labels(data_[m], split_);
    return occam::score_of(spec_.loss, spec_.outputs(), logits, labels);
  }

  void svd() {
    std::vector<int> members;
    for (std::size_t m = 0; m < suites_.size(); ++m)
      if (suites_[m].svd_uap) members.push_back(static_cast<int>(m));
    std::vector<std::vector<float>> vectors[2];  // [sign][member]
    for (auto& of_sign : vectors) of_sign.resize(suites_.size());
    perturb([](const AttackSuite& s) { return s.svd_uap ? &s.svd_uap->attack : nullptr; },
            [&](std::size_t m, Perturbed&& made) {
              Singular decomposed = singular(made.perturbation, spec_.inputs);
              const double epsilon = has_direction(decomposed.values) ? suites_[m].svd_uap->epsilon : 0.0;
              vectors[0][m] = along(decomposed.first, epsilon),
              vectors[1][m] = along(decomposed.first, -epsilon);
              results_[m].svd_uap = Universal{{}, std::move(decomposed.values), {}};
            });
    if (members.empty()) return;
    std::vector<WaveScore> scores[2];
    for (int sign = 0; sign < 2; ++sign) {
      std::vector<Shift> shifts;
      for (std::size_t k = 0; k < members.size(); ++k) {
        const auto m = static_cast<std::size_t>(members[k]);
        const Pgd& attack = suites_[m].svd_uap->attack;
        shifts.push_back({vectors[sign][m], attack.lower, attack.upper});
      }
      scores[sign].resize(members.size());
      wave_.score(in_wave(members), split_, shifts, true, scores[sign]);
    }
    for (std::size_t k = 0; k < members.size(); ++k) {
      const auto m = static_cast<std::size_t>(members[k]);
      const int sign = scores[0][k].correct < scores[1][k].correct ? 0 : 1;
      results_[m].svd_uap->perturbation = std::move(vectors[sign][m]);
      results_[m].svd_uap->score = as_score(std::move(scores[sign][k]), rows_of(m));
    }
  }

  void descend() {
    std::vector<int> members;
    std::vector<AsUap> attacks;
    for (std::size_t m = 0; m < suites_.size(); ++m)
      if (suites_[m].as_uap) members.push_back(static_cast<int>(m)), attacks.push_back(*suites_[m].as_uap);
    if (members.empty()) return;
    std::vector<std::vector<float>> vectors(members.size());
    wave_.fit_universal(in_wave(members), split_, attacks, vectors);
    std::vector<Shift> shifts;
    for (std::size_t k = 0; k < members.size(); ++k)
      shifts.push_back({vectors[k], attacks[k].lower, attacks[k].upper});
    std::vector<WaveScore> scores(members.size());
    wave_.score(in_wave(members), split_, shifts, true, scores);
    for (std::size_t k = 0; k < members.size(); ++k) {
      const auto m = static_cast<std::size_t>(members[k]);
      results_[m].as_uap = Universal{std::move(vectors[k]), {}, as_score(std::move(scores[k]), rows_of(m))};
    }
  }

  Wave& wave_;
  int first_;
  const MlpSpec& spec_;
  int threads_;
  std::span<const Data> data_;
  std::vector<AttackSuite> suites_;
  Split split_;
  std::vector<AttackResult> results_;
  std::vector<std::vector<std::int32_t>> labels_;
};

}  // namespace

void validate(const Pgd& a, int classes) {
  validate_steps(a, classes);
  require_length("start", a.start);
  require(a.start >= 0, "attack start: {} is negative", a.start);
  require(a.restarts >= 1 && a.restarts <= kMostRepeats, "attack restarts: {} is outside 1 … {}", a.restarts,
          kMostRepeats);
  require(
      !a.minimal || a.restarts == 1,
      "attack restarts: of {} minimal runs the largest loss would count, not the nearest mistake (give 1)",
      a.restarts);
  require(!a.track || a.restarts == 1, "attack: {} restarts cannot be tracked (track one run)", a.restarts);
}

void validate(const SvdUap& a, int classes) {
  validate(a.attack, classes);
  require(static_cast<float>(a.attack.epsilon) > 0,
          "attack epsilon: {} leaves SVD-UAP no perturbation to decompose", a.attack.epsilon);
  require_length("epsilon of SVD-UAP", a.epsilon);
  require(a.epsilon >= 0, "attack epsilon of SVD-UAP: {} is negative", a.epsilon);
}

void validate(const AsUap& a, int classes) {
  validate_steps(a, classes);
  require(a.epochs >= 1 && a.epochs <= kMostRepeats, "attack epochs: {} is outside 1 … {}", a.epochs,
          kMostRepeats);
  require(a.loss != AttackLoss::random_targeted && a.loss != AttackLoss::plus_one,
          "attack loss: {} is no aim of a universal perturbation (use untargeted or targeted)",
          name_of(a.loss));
}

void attack(const MlpEnsemble& models, std::span<const Data> data, std::span<const AttackSuite> suites,
            const std::function<void(int member, AttackResult&& result)>& finished, Which which,
            Split split) {
  require(static_cast<int>(suites.size()) == models.members(), "ensemble: {} attacks for {} members",
          suites.size(), models.members());
  for (const AttackSuite& suite : suites) {
    if (suite.pgd) validate(*suite.pgd, models.spec().classes);
    if (suite.svd_uap) validate(*suite.svd_uap, models.spec().classes);
    if (suite.as_uap) validate(*suite.as_uap, models.spec().classes);
  }
  for (const Data& one : data) require(rows(one, split) > 0, "attack: the split has no rows");
  for_each_wave(models, data, {}, [&](Wave& wave, WaveRange range) {
    for (int m = 0; m < range.count; ++m)
      wave.load(m, which == Which::last ? models.last(range.first + m) : models.best(range.first + m));
    const auto from = static_cast<std::size_t>(range.first), size = static_cast<std::size_t>(range.count);
    attack_wave(
        wave, models.spec(), data.subspan(from, size), suites.subspan(from, size), split,
        [&](int m, AttackResult&& result) { finished(range.first + m, std::move(result)); },
        models.device().threads, models.interrupt());
  });
}

void attack_wave(Wave& wave, const MlpSpec& spec, std::span<const Data> data,
                 std::span<const AttackSuite> suites, Split split,
                 const std::function<void(int member, AttackResult&& result)>& finished, int threads,
                 Interrupt interrupt, std::int64_t floats) {
  for (std::size_t first = 0, count = 0; first < suites.size(); first += count) {
    heed(interrupt);
    count = 0;
    for (std::int64_t held = 0; first + count < suites.size() && held < floats; ++count)
      held += rows(data[first + count], split) * spec.inputs;
    std::vector<AttackResult> results = WaveAttack(wave, spec, threads, split, static_cast<int>(first),
                                                   data.subspan(first, count), suites.subspan(first, count))
                                            .run();
    side_by_side(threads, count,
                 [&](std::size_t m) { finished(static_cast<int>(first + m), std::move(results[m])); });
  }
}

double perturbation_share(std::span<const float> perturbations, std::span<const float> rotation, int dim,
                          std::span<const int> coordinates) {
  require(dim >= 1 && perturbations.size() % static_cast<std::size_t>(dim) == 0,
          "perturbations: {} values of rows of {}", perturbations.size(), dim);
  const auto width = static_cast<std::size_t>(dim);
  require(rotation.empty() || rotation.size() == width * width, "rotation: {} values of {} rows and columns",
          rotation.size(), dim);
  for (const int coordinate : coordinates)
    require(coordinate >= 0 && coordinate < dim, "coordinate {} of {}", coordinate, dim);
  double sum = 0;
  std::int64_t counted = 0;
  for (std::size_t row = 0; row < perturbations.size() / width; ++row) {
    const std::span<const float> p = perturbations.subspan(row * width, width);
    double all = 0, simple = 0;
    for (const float value : p) all += double{value} * value;
    if (!(all > 0)) continue;
    for (const int coordinate : coordinates) {
      const auto c = static_cast<std::size_t>(coordinate);
      double along = 0;
      if (rotation.empty())
        along = p[c];
      else
        for (std::size_t k = 0; k < width; ++k) along += double{p[k]} * rotation[c * width + k];
      simple += along * along;
    }
    sum += std::sqrt(simple / all);
    ++counted;
  }
  return counted == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(counted);
}

}  // namespace occam
