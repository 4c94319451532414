#include "occam/vote.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "backend.hpp"
#include "law/loss.hpp"
#include "occam/error.hpp"
#include "waves.hpp"

namespace occam {
namespace {

// ln of the mean over the members of the probability of each class. values: [outputs][members]
void log_mean_probabilities(const Ballot& ballot, const float* values, float* out) {
  const int members = ballot.members, outputs = ballot.outputs;
  std::vector<double> log_sum(static_cast<std::size_t>(members));  // ln of the sum of a member's exponentials
  for (int m = 0; m < members; ++m) {
    double top = values[m], sum = 0;
    for (int o = 1; o < outputs; ++o) top = std::max<double>(top, values[o * members + m]);
    for (int o = 0; o < outputs; ++o) sum += std::exp(values[o * members + m] - top);
    log_sum[static_cast<std::size_t>(m)] = top + std::log(sum);
  }
  std::vector<double> log_p(static_cast<std::size_t>(members));
  for (int o = 0; o < outputs; ++o) {
    for (int m = 0; m < members; ++m)
      log_p[static_cast<std::size_t>(m)] = values[o * members + m] - log_sum[static_cast<std::size_t>(m)];
    const double top = *std::max_element(log_p.begin(), log_p.end());
    double sum = 0;
    for (const double one : log_p) sum += std::exp(one - top);
    out[o] = static_cast<float>(top + std::log(sum / members));
  }
}

MlpSpec combiner_spec(Combiner combiner, const Ballot& ballot) {
  return {.inputs = ballot.inputs(),
          .hidden = combiner == Combiner::mlp ? std::vector<int>{ballot.inputs()} : std::vector<int>{},
          .classes = std::max(2, ballot.outputs),
          .loss = ballot.loss};
}

void require_labels(const Ballot& ballot) {
  for (const std::int32_t label : ballot.labels)
    require(label >= 0 && label < std::max(2, ballot.outputs), "vote: label {} of {} outputs", label,
            ballot.outputs);
}

void require_whole(const Ballot& ballot) {
  require(ballot.members >= 1 && ballot.outputs >= 1 &&
              ballot.values.size() == ballot.labels.size() * static_cast<std::size_t>(ballot.inputs()),
          "vote: {} values and {} labels in a ballot of {} members with {} outputs", ballot.values.size(),
          ballot.labels.size(), ballot.members, ballot.outputs);
  require_labels(ballot);
}

void require_alike(const Ballot& train, const Ballot& other, const char* name) {
  require(other.members == train.members && other.outputs == train.outputs,
          "vote: the {} ballot has {} outputs of {} members, the training ballot {} of {}", name,
          other.outputs, other.members, train.outputs, train.members);
}

// The ballots as a data set: test, validation and training rows, in this order.
ArrayData combiner_data(const Ballot& train, const Ballot& validation, const Ballot& test) {
  ArrayData::Table table;
  table.dim = train.inputs();
  table.classes = std::max(2, train.outputs);
  table.train = train.rows(), table.validation = validation.rows(), table.test = test.rows();
  for (const Ballot* part : {&test, &validation, &train}) {
    table.x.insert(table.x.end(), part->values.begin(), part->values.end());
    table.y.insert(table.y.end(), part->labels.begin(), part->labels.end());
  }
  return std::get<ArrayData>(array_data(std::move(table), {0}).front());
}

}  // namespace

const char* name_of(Combiner combiner) {
  switch (combiner) {
    case Combiner::average: return "average";
    case Combiner::softmax: return "softmax";
    case Combiner::linear: return "linear";
    default: return "mlp";
  }
}

bool is_trained(Combiner combiner) { return combiner == Combiner::linear || combiner == Combiner::mlp; }

Ballot Ballot::first(int count) const {
  require(count >= 1 && count <= members, "vote: {} of {} members", count, members);
  Ballot some{count, outputs, loss, {}, labels};
  some.values.reserve(labels.size() * static_cast<std::size_t>(some.inputs()));
  for (std::size_t at = 0; at < values.size(); at += static_cast<std::size_t>(members))
    some.values.insert(some.values.end(), values.begin() + static_cast<std::ptrdiff_t>(at),
                       values.begin() + static_cast<std::ptrdiff_t>(at) + count);
  return some;
}

std::vector<Ballot> ballots(const MlpEnsemble& models, const Data& data, std::span<const Poll> polls,
                            Which which) {
  const int members = models.members(), outputs = models.spec().outputs();
  std::vector<Ballot> result;
  for (const Poll& poll : polls) {
    require(poll.variant.against == Randomization::Against::labels,
            "vote: members do not agree on rows that are randomised against their own predictions");
    Ballot& ballot = result.emplace_back(Ballot{members, outputs, models.spec().loss, {}, {}});
    const bool known = result.size() > 1 && polls[result.size() - 2].split == poll.split;
    ballot.labels = known ? result[result.size() - 2].labels : occam::labels(data, poll.split);
    ballot.values.resize(ballot.labels.size() * static_cast<std::size_t>(members * outputs));
  }
  const std::vector<Data> shared(static_cast<std::size_t>(members), data);
  for_each_wave(models, shared, {}, [&](Wave& wave, WaveRange range) {
    for (int m = 0; m < range.count; ++m)
      wave.load(m, which == Which::last ? models.last(range.first + m) : models.best(range.first + m));
    std::vector<float> logits;
    for (std::size_t p = 0; p < polls.size(); ++p) {
      Ballot& ballot = result[p];
      logits.resize(ballot.labels.size() * static_cast<std::size_t>(outputs));
      if (logits.empty()) continue;
      heed(models.interrupt());
      for (int m = 0; m < range.count; ++m) {
        wave.logits(m, polls[p].split, polls[p].variant, logits);
        float* to = ballot.values.data() + range.first + m;
        for (const float logit : logits) *to = logit, to += members;
      }
    }
  });
  return result;
}

std::vector<float> combine(Combiner combiner, const Ballot& ballot) {
  require(!is_trained(combiner), "vote: the {} combiner must be trained", name_of(combiner));
  require(combiner != Combiner::softmax || ballot.outputs >= 2, "vote: softmax needs two outputs, not one");
  require_whole(ballot);
  const auto width = static_cast<std::size_t>(ballot.outputs),
             members = static_cast<std::size_t>(ballot.members);
  std::vector<float> logits(ballot.labels.size() * width);
  for (std::size_t row = 0; row < ballot.labels.size(); ++row) {
    const float* values = ballot.values.data() + row * width * members;
    float* out = logits.data() + row * width;
    if (combiner == Combiner::softmax) {
      log_mean_probabilities(ballot, values, out);
      continue;
    }
    for (std::size_t o = 0; o < width; ++o) {
      double sum = 0;
      for (std::size_t m = 0; m < members; ++m) sum += values[o * members + m];
      out[o] = static_cast<float>(sum / ballot.members);
    }
  }
  return logits;
}

Training combiner_training(int batch, OptimizerKind optimizer) {
  Training training{.stop = {.criterion = StopCriterion::loss, .epsilon = 0.01, .check_every = 1000},
                    .batch = batch,
                    .in_order = true};
  if (optimizer == OptimizerKind::sgd)
    training.optimizer = {.kind = optimizer, .learning_rate = 0.05, .weight_decay = 5e-5};
  else
    training.optimizer = {.kind = optimizer, .learning_rate = 0.001};
  return training;
}

TrainedCombiner train_combiner(Combiner combiner, const Ballot& train, const Ballot& validation,
                               const Ballot& test, std::uint32_t seed, const Training& training,
                               const FitOptions& options) {
  require(is_trained(combiner), "vote: the {} combiner needs no training", name_of(combiner));
  for (const Ballot* ballot : {&train, &validation, &test})
    if (ballot->rows() > 0) require_whole(*ballot);
  if (validation.rows() > 0) require_alike(train, validation, "validation");
  require_alike(train, test, "test");
  MlpEnsemble network(combiner_spec(combiner, train), {{.data = seed, .init = seed, .order = seed}},
                      select_device("cpu", 1));
  if (combiner == Combiner::linear) {
    const ParameterLayout::Layer& layer = network.layout().layers.front();
    const auto bias = static_cast<std::ptrdiff_t>(layer.bias);
    for (const std::span<float> parameters : {network.last(0), network.best(0)}) {
      std::fill(parameters.begin(), parameters.begin() + bias, 1.0f / static_cast<float>(train.inputs()));
      std::fill(parameters.begin() + bias, parameters.end(), 0.0f);
    }
  }
  const Data data = combiner_data(train, validation, test);
  History history = fit(network, {&data, 1}, {&training, 1}, options);
  return {std::move(network), std::move(history.front())};
}

std::vector<float> combine(const TrainedCombiner& combiner, const Ballot& ballot) {
  require_whole(ballot);
  const MlpSpec& spec = combiner.network.spec();
  require(ballot.inputs() == spec.inputs && std::max(2, ballot.outputs) == spec.classes,
          "vote: {} outputs of {} classes, the combiner takes {} of {}", ballot.inputs(),
          std::max(2, ballot.outputs), spec.inputs, spec.classes);
  return logits(combiner.network, 0, ballot.values, Which::best);
}

Score score(std::span<const float> logits, const Ballot& ballot) {
  const int outputs = ballot.outputs;
  require(ballot.rows() > 0, "vote: no rows to score");
  require(logits.size() == ballot.labels.size() * static_cast<std::size_t>(outputs),
          "vote: {} logits for {} rows of {} outputs", logits.size(), ballot.rows(), outputs);
  require_labels(ballot);
  std::int64_t correct = 0;
  double loss = 0;
  for (std::size_t row = 0; row < ballot.labels.size(); ++row) {
    const float* of_row = logits.data() + row * static_cast<std::size_t>(outputs);
    correct += law::predicted_class(of_row, outputs) == ballot.labels[row];
    loss += double{law::sample_loss(ballot.loss, of_row, outputs, ballot.labels[row])};
  }
  const auto count = static_cast<double>(ballot.rows());
  return {static_cast<double>(correct) / count, loss / count, roc_aucs(logits, outputs, ballot.labels)};
}

Seeds voter_seeds(const Seeds& vote, int member) {
  require(member >= 0 && member < kMostVoters, "vote: member {} is outside 0 … {}", member, kMostVoters - 1);
  const auto own = [member](std::uint32_t seed) { return 1024u * seed + static_cast<std::uint32_t>(member); };
  return {vote.data, own(vote.init), own(vote.order)};
}

}  // namespace occam
