#include "experiment/vote_measure.hpp"

#include <algorithm>
#include <atomic>
#include <optional>

#include "occam/error.hpp"
#include "occam/statistics.hpp"
#include "occam/vote.hpp"

namespace occam::experiment {
namespace {

// What a vote is held on: named test sets, then the training and the validation rows.
struct Polls {
  std::vector<std::string> names;  // of the test sets
  std::vector<Poll> polls;
  std::size_t train = 0, validation = 0;  // places in `polls`
};

Polls polls_of(const PlannedCase& planned) {
  Polls result;
  const auto test = [&](const std::string& name, const std::vector<int>& coordinates) {
    result.names.push_back(name);
    result.polls.push_back({Split::test, {.coordinates = coordinates}});
  };
  test("standard", {});
  test("s_randomized", planned.settings.simple);
  test("sc_randomized", planned.complement);
  for (const auto& [name, coordinates] : planned.settings.measures.groups)
    test(name + "_randomized", coordinates);
  result.train = result.polls.size();
  result.validation = result.train + 1;
  result.polls.push_back({.split = Split::train});
  result.polls.push_back({.split = Split::validation});
  return result;
}

// The vote of one network.
Ballot alone(const Ballot& ballot, int network) {
  Ballot one{1, ballot.outputs, ballot.loss, {}, ballot.labels};
  for (std::size_t at = static_cast<std::size_t>(network); at < ballot.values.size();
       at += static_cast<std::size_t>(ballot.members))
    one.values.push_back(ballot.values[at]);
  return one;
}

class VoteMeasure {
 public:
  VoteMeasure(const MlpEnsemble& networks, const Data& data, const PlannedCase& planned)
      : case_(planned.settings), polls_(polls_of(planned)), seed_(networks.seeds(0).init),
        interrupt_(networks.interrupt()),
        all_(ballots(networks, data, polls_.polls, planned.settings.evaluate)) {}

  // One size and one combiner. kept: with its scores, row by row. Nothing can be learnt from networks that diverged.
  void add(int size, Combiner combiner, bool kept, MemberRecord& record) const {
    std::vector<Ballot> some;
    for (const Ballot& ballot : all_) some.push_back(ballot.first(size));
    std::optional<TrainedCombiner> trained;
    if (is_trained(combiner) && record.diverged()) {
      for (const std::string& set : polls_.names)
        for (const char* what : {"_auc", "_accuracy", "_loss"})
          record.metrics.emplace_back(case_.votes.metric(set + what, size, combiner), kNan);
      for (const char* name : {"train_accuracy", "train_loss", "combiner_updates"})
        record.metrics.emplace_back(case_.votes.metric(name, size, combiner), kNan);
      return;
    }
    if (is_trained(combiner))
      trained = train_combiner(combiner, some[polls_.train], some[polls_.validation], some[0], seed_,
                               combiner_training(case_.training.batch, case_.votes.combiner_optimizer),
                               {.interrupt = interrupt_});
    const auto metric = [&](const std::string& name, double value) {
      record.metrics.emplace_back(case_.votes.metric(name, size, combiner), value);
    };
    const auto logits = [&](const Ballot& ballot) {
      return trained ? combine(*trained, ballot) : combine(combiner, ballot);
    };
    for (std::size_t p = 0; p < polls_.names.size(); ++p) {
      const std::vector<float> of = logits(some[p]);
      const Score result = score(of, some[p]);
      metric(polls_.names[p] + "_auc", result.mean_auc());
      metric(polls_.names[p] + "_accuracy", result.accuracy);
      metric(polls_.names[p] + "_loss", result.loss);
      if (kept && p < 3) add_scores(polls_.names[p], of, some[p], record);
    }
    const Score result = score(logits(some[polls_.train]), some[polls_.train]);
    metric("train_accuracy", result.accuracy);
    metric("train_loss", result.loss);
    if (trained) metric("combiner_updates", static_cast<double>(trained->history.updates));
  }

  // Means over the networks, each on its own.
  void add_networks(MemberRecord& record) const {
    const auto mean_score = [&](const std::string& name, const Ballot& ballot) {
      double accuracy = 0, auc = 0;
      for (int k = 0; k < ballot.members; ++k) {
        const Ballot one = alone(ballot, k);
        const Score result = score(one.values, one);
        accuracy += result.accuracy, auc += result.mean_auc();
      }
      record.metrics.emplace_back("networks_" + name + "_accuracy", accuracy / ballot.members);
      record.metrics.emplace_back("networks_" + name + "_auc", auc / ballot.members);
    };
    for (std::size_t p = 0; p < polls_.names.size(); ++p) mean_score(polls_.names[p], all_[p]);
    mean_score("train", all_[polls_.train]);
  }

 private:
  static void add_scores(const std::string& name, const std::vector<float>& logits, const Ballot& ballot,
                         MemberRecord& record) {
    const std::int64_t rows = ballot.rows();
    if (ballot.outputs > 2) {
      record.arrays.push_back(member_array<float>("logits/" + name, logits, {rows, ballot.outputs}));
    } else {
      const std::vector<float> scores = scores_of({rows, ballot.outputs, logits, {}});
      record.arrays.push_back(member_array<float>("scores/" + name, scores, {rows}));
    }
    if (name != "standard") return;
    const std::vector<std::uint8_t> labels(ballot.labels.begin(), ballot.labels.end());
    record.arrays.push_back(member_array<std::uint8_t>("scores/labels", labels, {rows}));
  }

  const Case& case_;
  Polls polls_;
  std::uint32_t seed_;
  const std::atomic<bool>* interrupt_;
  std::vector<Ballot> all_;  // of the largest vote
};

MemberHistory history_of(std::span<const MemberHistory> networks) {
  MemberHistory vote = networks.front();
  vote.updates = 0;
  for (const MemberHistory& network : networks) {
    vote.updates += network.updates;
    if (network.status == FitStatus::diverged || vote.status == FitStatus::converged)
      vote.status = network.status;
  }
  return vote;
}

void add_updates(std::span<const MemberHistory> networks, MemberRecord& record) {
  std::int64_t updates = 0, best = 0;
  for (const MemberHistory& network : networks) {
    updates += network.updates;
    best += network.best_check < 0 ? network.updates
                                   : network.checks[static_cast<std::size_t>(network.best_check)].updates;
  }
  const auto count = static_cast<double>(networks.size());
  record.metrics.emplace_back("updates", static_cast<double>(updates) / count);
  record.metrics.emplace_back("best_at_update", static_cast<double>(best) / count);
}

}  // namespace

void measure_vote(const MlpEnsemble& networks, std::span<const MemberHistory> histories, const Data& data,
                  const PlannedCase& planned, bool kept, MemberRecord& record) {
  record.history = history_of(histories);
  const Votes& votes = planned.settings.votes;
  const VoteMeasure measure(networks, data, planned);
  for (const int size : votes.sizes)
    for (const Combiner combiner : votes.combiners) {
      const bool plain = size == votes.sizes.front() && combiner == votes.combiners.front();
      measure.add(size, combiner, kept && plain, record);
    }
  add_updates(histories, record);
  measure.add_networks(record);
}

}  // namespace occam::experiment

namespace occam {

int Votes::networks() const { return sizes.empty() ? 1 : *std::max_element(sizes.begin(), sizes.end()); }

std::string Votes::metric(const std::string& name, int size, Combiner combiner) const {
  if (sizes.empty() || (size == sizes.front() && combiner == combiners.front())) return name;
  std::string result = name;
  if (sizes.size() > 1) result += fmt::format("_{}", size);
  if (combiners.size() > 1) result += fmt::format("_{}", name_of(combiner));
  return result;
}

}  // namespace occam
