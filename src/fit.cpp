#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "attack_parts.hpp"
#include "interrupt.hpp"
#include "occam/attack.hpp"
#include "occam/limits.hpp"
#include "occam/training.hpp"
#include "score_beside.hpp"
#include "stop.hpp"
#include "waves.hpp"

namespace occam {

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::tf32: return "tf32";
    default: return "bf16";
  }
}

void validate(const Training& training, std::int64_t rows, const MlpSpec& spec) {
  const auto finite = [](double v) { return std::isfinite(v); };
  const Optimizer& o = training.optimizer;
  require(finite(o.learning_rate) && o.learning_rate >= 0, "lr: {} is not a finite number >= 0",
          o.learning_rate);
  require(o.momentum >= 0 && o.momentum < 1, "momentum: {} is outside [0, 1)", o.momentum);
  require(finite(o.weight_decay) && o.weight_decay >= 0, "weight decay: {} is not a finite number >= 0",
          o.weight_decay);
  require(o.beta1 >= 0 && o.beta1 < 1, "beta1: {} is outside [0, 1)", o.beta1);
  require(o.beta2 >= 0 && o.beta2 < 1, "beta2: {} is outside [0, 1)", o.beta2);
  require(o.alpha >= 0 && o.alpha < 1, "alpha: {} is outside [0, 1)", o.alpha);
  require(finite(o.epsilon) && static_cast<float>(o.epsilon) > 0,
          "optimizer epsilon: {} is not a finite number > 0 in fp32", o.epsilon);
  const Schedule& schedule = training.schedule;
  require(schedule.epochs >= 0, "lr epochs: {} is negative (0: the learning rate stays)", schedule.epochs);
  require(schedule.factor > 0 && finite(schedule.factor), "lr factor: {} is not a finite number > 0",
          schedule.factor);
  const StopRule& stop = training.stop;
  require(stop.check_every >= 1 && stop.check_every <= kMostUpdates,
          "check every: {} updates is outside 1 … {}", stop.check_every, kMostUpdates);
  require(stop.patience >= 1 && stop.patience <= kMostUpdates, "patience: {} updates is outside 1 … {}",
          stop.patience, kMostUpdates);
  require(stop.max_updates >= 1 && stop.max_updates <= kMostUpdates, "max updates: {} is outside 1 … {}",
          stop.max_updates, kMostUpdates);
  if (stop.criterion == StopCriterion::accuracy)
    require(stop.epsilon >= 0 && stop.epsilon <= 1, "stop accuracy: 1 - {} is outside [0, 1]", stop.epsilon);
  if (stop.criterion == StopCriterion::loss)
    require(finite(stop.epsilon) && stop.epsilon > 0, "stop loss: {} is not a finite number > 0",
            stop.epsilon);
  require(training.input_dropout >= 0 && training.input_dropout < 1, "input dropout: {} is outside [0, 1)",
          training.input_dropout);
  require(training.hidden_dropout >= 0 && training.hidden_dropout < 1, "hidden dropout: {} is outside [0, 1)",
          training.hidden_dropout);
  if (training.adversary) {
    validate(*training.adversary, spec.classes);
    require(training.input_dropout == 0, "input dropout: {} does not go with adversarial training",
            training.input_dropout);
    require(!training.adversary->track, "adversary: its logits cannot be tracked");
  }
  require(training.batch >= 1 && training.batch <= kMostBatch, "batch: {} is outside 1 … {}", training.batch,
          kMostBatch);
  require(rows >= 1, "train: no training rows");
  require(!spec.batch_norm || (rows % training.batch != 1 && training.batch > 1),
          "batch norm: {} training rows in batches of {} leave a batch of one sample, which has no variance "
          "(change --train "
          "or --batch)",
          rows, training.batch);
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// NaN is the larger: a comparison would drop it.
double worst_loss(const Check& c) {
  const double other =
      std::isnan(c.validation_loss) ? c.validation_loss : std::max(c.validation_loss, c.test_loss);
  return std::isnan(c.test_loss) || std::isnan(other) ? std::nan("") : std::max(other, c.train_loss);
}

// Trains the members of one wave to their stops.
class WaveFit {
 public:
  // mutex: of all waves, for what the options call.
  WaveFit(Wave& wave, WaveRange range, MlpEnsemble& models, std::span<const Data> data,
          std::span<const Training> trainings, const FitOptions& options, History& history, std::mutex& mutex)
      : wave_(wave), range_(range), models_(models), data_(data), options_(options), history_(history),
        mutex_(mutex), ahead_(static_cast<std::size_t>(range.count)) {
    for (int m = 0; m < range.count; ++m) {
      const auto member = static_cast<std::size_t>(range.first + m);
      stops_.emplace_back(trainings[member].stop);
      if (!options.resumed.empty() && options.resumed[member] != nullptr) resume(m, *options.resumed[member]);
      const int of_ensemble = range.first + m;
      if (models.is_drawn(of_ensemble))
        wave.load(m, models.last(of_ensemble));
      else
        wave.initialize(m, models.initialization(of_ensemble), models.seeds(of_ensemble).init);
    }
  }

  // done(member of the ensemble) is called when a member has stopped.
  template <class Done>
  void run(const Done& done) {
    for (int m = 0; m < range_.count; ++m)
      if (stop(m).finished()) finish(m, done);  // so it was resumed
    for (std::vector<int> active = unfinished(); !active.empty(); active = unfinished()) {
      advance_to_checks(active);
      check(active);
      for (const int m : active)
        if (stop(m).finished()) finish(m, done);
    }
  }

 private:
  static constexpr double kPieceSeconds = 0.5;  // between looks at the interrupt flag
  static constexpr std::int64_t kFirstPiece = 16, kLargestPiece = 1 << 14;

  // The checks alone decide when a member stops.
  void resume(int m, const MemberState& from) {
    const int member = range_.first + m;
    require(static_cast<std::int64_t>(from.last.size()) == models_.layout().total &&
                (from.best.empty() || from.best.size() == from.last.size()),
            "resume: {} parameters, the network has {}", from.last.size(), models_.layout().total);
    for (const Check& c : from.history.checks) {
      stop(m).check(c.train_accuracy, c.train_loss, worst_loss(c));
      require(c.updates == stop(m).updates(), "resume: a check after {} updates, by this rule it is after {}",
              c.updates, stop(m).updates());
    }
    const auto checks = static_cast<int>(from.history.checks.size()), best = from.history.best_check;
    require(best >= -1 && best < checks, "resume: check {} of {} is said to be the best", best, checks);
    MemberHistory& history = history_[static_cast<std::size_t>(member)];
    history.checks = from.history.checks, history.best_check = from.history.best_check;
    models_.replace_last(member, [&](auto values) { std::ranges::copy(from.last, values.begin()); });
    if (!from.best.empty())
      models_.replace_best(member, [&](auto values) { std::ranges::copy(from.best, values.begin()); });
    if (stop(m).finished()) return;
    const std::int64_t ahead = from.training.updates - stop(m).updates();
    require(ahead >= 0 && ahead <= stop(m).until_check(),
            "resume: {} updates after the last check, by this rule there are at most {}", ahead,
            stop(m).until_check());
    wave_.resume(m, from.training);
    ahead_[static_cast<std::size_t>(m)] = ahead;
  }

  // Tells where the members are. The wave has no update under way.
  void tell(const std::vector<int>& active) {
    if (!options_.under_way) return;
    for (const int m : active) {
      const int member = range_.first + m;
      MemberState state{wave_.training_state(m),
                        std::vector<float>(static_cast<std::size_t>(models_.layout().total)),
                        {},
                        history_[static_cast<std::size_t>(member)]};
      wave_.store(m, state.last);
      if (state.history.best_check >= 0) {
        const std::span<const float> best = std::as_const(models_).best(member);
        state.best.assign(best.begin(), best.end());
      }
      const std::lock_guard lock(mutex_);
      options_.under_way(member, std::move(state));
    }
    told_ = Clock::now();
  }

  void store_last(int m) {
    models_.replace_last(range_.first + m, [&](auto values) { wave_.store(m, values); });
  }
  StopState& stop(int m) { return stops_[static_cast<std::size_t>(m)]; }
  const Data& data_of(int m) const { return data_[static_cast<std::size_t>(range_.first + m)]; }

  std::vector<int> unfinished() {
    std::vector<int> members;
    for (int m = 0; m < range_.count; ++m)
      if (!stop(m).finished()) members.push_back(m);
    return members;
  }

  // Each active member does its updates up to its own next check, in pieces, whose size changes nothing.
  void advance_to_checks(const std::vector<int>& active) {
    std::vector<std::int64_t> left(static_cast<std::size_t>(range_.count), 0), piece(left);
    for (const int m : active)
      left[static_cast<std::size_t>(m)] = stop(m).until_check() - ahead_[static_cast<std::size_t>(m)];
    for (std::int64_t done = 1; done > 0;) {
      const bool stops = options_.interrupt != nullptr && options_.interrupt->load();
      if (stops || (options_.under_way_every > 0 && seconds_since(told_) >= options_.under_way_every))
        tell(active);
      if (stops) throw Interrupted{};
      done = 0;
      for (std::size_t m = 0; m < left.size(); ++m) {
        piece[m] = std::min(left[m], piece_);
        left[m] -= piece[m], ahead_[m] += piece[m];
        done += piece[m];
      }
      if (done == 0) break;
      const Clock::time_point start = Clock::now();
      wave_.train(piece);
      const double pace = std::clamp(kPieceSeconds / seconds_since(start), 0.25, 4.0);
      // The last piece before a check is smaller, and says little.
      if (std::ranges::max(piece) == piece_)
        piece_ = std::clamp(static_cast<std::int64_t>(static_cast<double>(piece_) * pace), std::int64_t{1},
                            kLargestPiece);
      if (options_.progress) options_.progress(done);
    }
  }

  std::vector<WaveScore> scores(const std::vector<int>& members, Split split, const Randomization& variant,
                                bool auc) {
    std::vector<WaveScore> result(members.size());
    wave_.score(members, split, variant, auc, result);
    return result;
  }

  // Of the members as they are.
  void score_further(const std::vector<int>& members, std::span<Check> checks) {
    std::vector<std::span<const float>> parameters;
    std::vector<Seeds> seeds;
    for (const int m : members) {
      store_last(m);
      parameters.push_back(models_.last(range_.first + m));
      seeds.push_back(models_.seeds(range_.first + m));
    }
    std::vector<std::vector<Data>> sets;
    for (const std::vector<Data>& set : options_.sets_at_checks) {
      sets.emplace_back();
      for (const int m : members) sets.back().push_back(set[static_cast<std::size_t>(range_.first + m)]);
    }
    for (std::vector<Score>& scores :
         score_beside(backend(models_.device()), models_.spec(), parameters, sets, seeds))
      for (std::size_t k = 0; k < members.size(); ++k)
        checks[static_cast<std::size_t>(members[k])].further.push_back(std::move(scores[k]));
  }

  void attack_tested(const std::vector<int>& members, std::span<Check> checks) {
    const auto first = static_cast<std::size_t>(range_.first), count = static_cast<std::size_t>(range_.count);
    std::vector<AttackSuite> suites(count);
    for (const int member : members) {
      const auto m = static_cast<std::size_t>(member);
      if (!std::isfinite(worst_loss(checks[m]))) continue;
      suites[m] = options_.attacks_at_checks[first + m];
      suites[m].svd_uap.reset(), suites[m].as_uap.reset();
    }
    attack_wave(
        wave_, models_.spec(), data_.subspan(first, count), suites, Split::test,
        [&](int m, AttackResult&& made) {
          if (made.pgd) checks[static_cast<std::size_t>(m)].pgd = std::move(made.pgd_score);
        },
        models_.device().threads);
  }

  void check(const std::vector<int>& active) {
    // Members of one ensemble may have different splits: each is scored where it has rows.
    const auto having = [&](Split split, bool wanted) {
      std::vector<int> members;
      for (const int m : active)
        if (wanted && rows(data_of(m), split) > 0) members.push_back(m);
      return members;
    };
    std::vector<Check> checks(static_cast<std::size_t>(range_.count));
    const auto fill = [&](Split split, bool wanted, double Check::*accuracy, double Check::*loss) {
      const std::vector<int> members = having(split, wanted);
      for (const int m : active)
        checks[static_cast<std::size_t>(m)].*accuracy = checks[static_cast<std::size_t>(m)].*loss = -1;
      if (members.empty()) return;
      const std::vector<WaveScore> of = scores(members, split, {}, false);
      for (std::size_t k = 0; k < members.size(); ++k) {
        Check& c = checks[static_cast<std::size_t>(members[k])];
        c.*accuracy =
            static_cast<double>(of[k].correct) / static_cast<double>(rows(data_of(members[k]), split));
        c.*loss = static_cast<double>(of[k].loss);
      }
    };
    fill(Split::train, true, &Check::train_accuracy, &Check::train_loss);
    fill(Split::validation, true, &Check::validation_accuracy, &Check::validation_loss);
    fill(Split::test, options_.test_at_checks, &Check::test_accuracy, &Check::test_loss);
    const std::vector<int> tested = having(Split::test, true);
    for (const Randomization& variant : options_.at_checks) {
      std::vector<WaveScore> of = scores(tested, Split::test, variant, true);
      for (std::size_t k = 0; k < tested.size(); ++k)
        checks[static_cast<std::size_t>(tested[k])].randomized.push_back(
            as_score(std::move(of[k]), rows(data_of(tested[k]), Split::test)));
    }
    if (!options_.sets_at_checks.empty()) score_further(active, checks);
    try {
      if (!options_.attacks_at_checks.empty()) attack_tested(tested, checks);
    } catch (const Interrupted&) {  // the wave heeds it within an attack; the check is made anew
      tell(active);
      throw;
    }
    for (const int m : active) record(m, checks[static_cast<std::size_t>(m)]);
  }

  void record(int m, Check& c) {
    const StopState::Outcome outcome = stop(m).check(c.train_accuracy, c.train_loss, worst_loss(c));
    ahead_[static_cast<std::size_t>(m)] = 0;
    c.updates = stop(m).updates();
    c.periodic = outcome.periodic;
    c.final = outcome.final;
    MemberHistory& of = history_[static_cast<std::size_t>(range_.first + m)];
    of.checks.push_back(c);
    const auto accuracy = [](const Check& at) {
      return at.validation_accuracy >= 0 ? at.validation_accuracy : at.test_accuracy;
    };
    const bool candidate =
        c.periodic && c.updates > 1 && accuracy(c) >= 0 && stop(m).status() != FitStatus::diverged;
    if (candidate &&
        (of.best_check < 0 || accuracy(c) >= accuracy(of.checks[static_cast<std::size_t>(of.best_check)]))) {
      of.best_check = static_cast<int>(of.checks.size()) - 1;
      models_.replace_best(range_.first + m, [&](auto values) { wave_.store(m, values); });
    }
  }

  template <class Done>
  void finish(int m, const Done& done) {
    const int member = range_.first + m;
    MemberHistory& of = history_[static_cast<std::size_t>(member)];
    of.updates = stop(m).updates();
    of.status = stop(m).status();
    store_last(m);
    if (of.best_check < 0) models_.best_is_last(member);
    done(member);
  }

  Wave& wave_;
  WaveRange range_;
  MlpEnsemble& models_;
  std::span<const Data> data_;
  const FitOptions& options_;
  History& history_;
  std::mutex& mutex_;
  std::vector<StopState> stops_;
  std::vector<std::int64_t> ahead_;  // updates done since the last check
  Clock::time_point told_ = Clock::now();
  std::int64_t piece_ = kFirstPiece;
};

}  // namespace

void require_state(const TrainingState& state, int slots, std::int64_t parameters) {
  require(state.updates >= 0 && static_cast<int>(state.optimizer.size()) == slots,
          "resume: {} updates and {} arrays of an optimiser that has {}", state.updates,
          state.optimizer.size(), slots);
  for (const std::vector<float>& values : state.optimizer)
    require(static_cast<std::int64_t>(values.size()) == parameters, "resume: {} values of {} parameters",
            values.size(), parameters);
}

History fit(MlpEnsemble& models, std::span<const Data> data, std::span<const Training> trainings,
            const FitOptions& options) {
  require(static_cast<int>(trainings.size()) == models.members(), "ensemble: {} trainings for {} members",
          trainings.size(), models.members());
  for (std::size_t m = 0; m < trainings.size() && m < data.size(); ++m) {
    validate(trainings[m], rows(data[m], Split::train), models.spec());
    require(!std::holds_alternative<ShapeData>(data[m]) ||
                (trainings[m].input_dropout == 0 && !trainings[m].adversary),
            "images of shapes: neither input dropout nor adversarial training goes with them");
    require(trainings[m].batch == trainings[0].batch,
            "ensemble: batch sizes {} and {} (one ensemble has one)", trainings[0].batch, trainings[m].batch);
  }
  for (const std::vector<Data>& set : options.sets_at_checks) {
    require(set.size() == trainings.size(), "fit: a further set of data for {} members has {}",
            trainings.size(), set.size());
    for (const Data& one : set) {
      require(dim(one) == models.spec().inputs,
              "fit: further data of dimension {}, the network has {} inputs", dim(one), models.spec().inputs);
      require(classes(one) <= models.spec().classes, "fit: further data of {} classes, the network has {}",
              classes(one), models.spec().classes);
      require(rows(one, Split::test) > 0, "fit: further data have no test rows");
    }
  }
  require(options.attacks_at_checks.empty() || options.attacks_at_checks.size() == trainings.size(),
          "fit: {} attacks for {} members", options.attacks_at_checks.size(), trainings.size());
  for (const AttackSuite& suite : options.attacks_at_checks)
    if (suite.pgd) validate(*suite.pgd, models.spec().classes);
  require(options.resumed.empty() || options.resumed.size() == trainings.size(),
          "resume: {} states for {} members", options.resumed.size(), trainings.size());
  History history(static_cast<std::size_t>(models.members()));
  std::mutex mutex;
  const auto done = [&](int member) {
    if (!options.finished) return;
    const std::lock_guard lock(mutex);
    options.finished(member, history[static_cast<std::size_t>(member)]);
  };
  for_each_wave(
      models, data, trainings,
      [&](Wave& wave, WaveRange range) {
        WaveFit(wave, range, models, data, trainings, options, history, mutex).run(done);
      },
      options.interrupt);
  return history;
}

}  // namespace occam
