#include <algorithm>
#include <chrono>
#include <cmath>

#include "interrupt.hpp"
#include "occam/attack.hpp"
#include "occam/limits.hpp"
#include "occam/training.hpp"
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
  require(finite(o.epsilon) && o.epsilon > 0, "optimizer epsilon: {} is not a finite number > 0", o.epsilon);
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

// Trains the members of one wave to their stops.
class WaveFit {
 public:
  WaveFit(Wave& wave, WaveRange range, MlpEnsemble& models, std::span<const Data> data,
          std::span<const Training> trainings, const FitOptions& options)
      : wave_(wave), range_(range), models_(models), data_(data), options_(options) {
    for (int m = 0; m < range.count; ++m) {
      wave.load(m, models.last(range.first + m));
      stops_.emplace_back(trainings[static_cast<std::size_t>(range.first + m)].stop);
    }
  }

  // done(member of the ensemble) is called when a member has stopped.
  template <class Done>
  void run(History& history, const Done& done) {
    for (std::vector<int> active = unfinished(); !active.empty(); active = unfinished()) {
      advance_to_checks(active);
      check(active, history);
      for (const int m : active)
        if (stop(m).finished()) finish(m, history, done);
    }
  }

 private:
  static constexpr double kPieceSeconds = 0.5;  // between looks at the interrupt flag
  static constexpr std::int64_t kFirstPiece = 16, kLargestPiece = 1 << 14;

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
    using Clock = std::chrono::steady_clock;
    std::vector<std::int64_t> left(static_cast<std::size_t>(range_.count), 0), piece(left);
    for (const int m : active) left[static_cast<std::size_t>(m)] = stop(m).until_check();
    for (std::int64_t done = 1; done > 0;) {
      heed(options_.interrupt);
      done = 0;
      for (std::size_t m = 0; m < left.size(); ++m) {
        piece[m] = std::min(left[m], piece_);
        left[m] -= piece[m];
        done += piece[m];
      }
      if (done == 0) break;
      const Clock::time_point start = Clock::now();
      wave_.train(piece);
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count(),
                   pace = std::clamp(kPieceSeconds / seconds, 0.25, 4.0);
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

  void check(const std::vector<int>& active, History& history) {
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
      const std::vector<WaveScore> of = scores(tested, Split::test, variant, true);
      for (std::size_t k = 0; k < tested.size(); ++k)
        checks[static_cast<std::size_t>(tested[k])].randomized.push_back(
            {static_cast<double>(of[k].correct) / static_cast<double>(rows(data_of(tested[k]), Split::test)),
             static_cast<double>(of[k].loss), of[k].auc});
    }
    for (const int m : active) record(m, checks[static_cast<std::size_t>(m)], history);
  }

  void record(int m, Check& c, History& history) {
    // NaN is the larger: a comparison would drop it.
    const double other =
        std::isnan(c.validation_loss) ? c.validation_loss : std::max(c.validation_loss, c.test_loss);
    const double worst =
        std::isnan(c.test_loss) || std::isnan(other) ? std::nan("") : std::max(other, c.train_loss);
    const StopState::Outcome outcome = stop(m).check(c.train_accuracy, c.train_loss, worst);
    c.updates = stop(m).updates();
    c.periodic = outcome.periodic;
    c.final = outcome.final;
    MemberHistory& of = history[static_cast<std::size_t>(range_.first + m)];
    of.checks.push_back(c);
    const auto accuracy = [](const Check& at) {
      return at.validation_accuracy >= 0 ? at.validation_accuracy : at.test_accuracy;
    };
    const bool candidate = c.periodic && c.updates > 1 && stop(m).status() != FitStatus::diverged;
    if (candidate &&
        (of.best_check < 0 || accuracy(c) >= accuracy(of.checks[static_cast<std::size_t>(of.best_check)]))) {
      of.best_check = static_cast<int>(of.checks.size()) - 1;
      wave_.store(m, models_.best(range_.first + m));
    }
  }

  template <class Done>
  void finish(int m, History& history, const Done& done) {
    const int member = range_.first + m;
    MemberHistory& of = history[static_cast<std::size_t>(member)];
    of.updates = stop(m).updates();
    of.status = stop(m).status();
    wave_.store(m, models_.last(member));
    if (of.best_check < 0) models_.best_is_last(member);
    done(member);
  }

  Wave& wave_;
  WaveRange range_;
  MlpEnsemble& models_;
  std::span<const Data> data_;
  const FitOptions& options_;
  std::vector<StopState> stops_;
  std::int64_t piece_ = kFirstPiece;
};

}  // namespace

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
        WaveFit(wave, range, models, data, trainings, options).run(history, done);
      },
      options.interrupt);
  return history;
}

}  // namespace occam
