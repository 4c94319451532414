// Claim: a vote is what occam/vote.hpp says: its ballots hold the members' own logits, its combiners are the
// plain sums of the definition, and its bits depend on its own members alone.
#include "occam/vote.hpp"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "reference/roc_auc.hpp"
#include "support/small_data.hpp"

namespace occam {
namespace {

using ::testing::ElementsAre;

const MlpSpec kSpec{.inputs = 5, .hidden = {8}};

MlpEnsemble networks(int members, const MlpSpec& spec = kSpec) {
  std::vector<Seeds> seeds;
  for (int k = 0; k < members; ++k) seeds.push_back(voter_seeds({7, 3, 4}, k));
  MlpEnsemble models(spec, seeds, test::cpu(2));
  for (int k = 0; k < members; ++k)  // last and best differ
    std::ranges::copy(test::random_parameters(spec, static_cast<std::uint32_t>(100 + k)),
                      models.best(k).begin());
  return models;
}

// Two members, two outputs, three rows: [row][output][member].
Ballot small_ballot() {
  return {2, 2, Loss::cross_entropy, {1, 5, 2, 1, 0, 0, 0, 0, -1, 200, 3, -200}, {1, 0, 1}};
}

// ---- ballots ----------------------------------------------------------------------------------------------

TEST(Ballots, AreTheMembersOwnLogits) {
  const MlpEnsemble models = networks(3);
  const Data data = test::clouds_data({.dim = 5, .train = 300, .validation = 30, .test = 120}, 5);
  const std::vector<Poll> polls{
      {Split::test, {}}, {Split::test, {.coordinates = {0, 2}}}, {Split::train, {}}, {Split::validation, {}}};
  for (const Which which : {Which::last, Which::best}) {
    const std::vector<Ballot> all = ballots(models, data, polls, which);
    ASSERT_EQ(all.size(), polls.size());
    for (std::size_t p = 0; p < polls.size(); ++p)
      for (int k = 0; k < 3; ++k) {
        const Logits own = logits(models, k, data, polls[p].variant, which, polls[p].split);
        ASSERT_EQ(all[p].rows(), own.rows);
        EXPECT_EQ(all[p].labels, own.labels);
        for (std::int64_t row = 0; row < own.rows; ++row)
          for (int o = 0; o < 2; ++o)
            ASSERT_EQ(all[p].values[static_cast<std::size_t>((row * 2 + o) * 3 + k)],
                      own.values[static_cast<std::size_t>(row * 2 + o)]);
      }
  }
}

TEST(Ballots, ASplitWithoutRowsIsEmpty) {
  const Data data = test::clouds_data({.dim = 5, .train = 30, .validation = 0, .test = 20}, 5);
  const std::vector<Poll> polls{{Split::validation, {}}};
  EXPECT_EQ(ballots(networks(2), data, polls)[0].rows(), 0);
}

TEST(Ballots, MembersMustAgreeOnTheRows) {
  const Data data = test::clouds_data({}, 5);
  const std::vector<Poll> polls{
      {Split::test, {.coordinates = {0}, .against = Randomization::Against::predictions}}};
  EXPECT_THROW(ballots(networks(2), data, polls), Error);
}

// The first members of a large vote are a small one, bit for bit.
TEST(Ballots, SmallerVotesAreNested) {
  const Data data = test::clouds_data({.dim = 5, .train = 30, .validation = 0, .test = 50}, 5);
  const std::vector<Poll> polls{{Split::test, {}}};
  const Ballot three = ballots(networks(5), data, polls)[0].first(3);
  const Ballot alone = ballots(networks(3), data, polls)[0];
  EXPECT_EQ(three.members, 3);
  EXPECT_EQ(three.values, alone.values);
  EXPECT_EQ(three.labels, alone.labels);
  EXPECT_THROW(alone.first(4), Error);
  EXPECT_THROW(alone.first(0), Error);
}

TEST(Voters, ShareDataAndNothingElse) {
  EXPECT_EQ(voter_seeds({7, 3, 4}, 0), (Seeds{7, 3 * 1024, 4 * 1024}));
  EXPECT_EQ(voter_seeds({7, 3, 4}, 9), (Seeds{7, 3 * 1024 + 9, 4 * 1024 + 9}));
  EXPECT_EQ(voter_seeds({7, 1u << 22, 4}, 2).init, 2u);  // modulo 2^32
  EXPECT_THROW(voter_seeds({}, kMostVoters), Error);
}

// ---- combiners --------------------------------------------------------------------------------------------

TEST(Combine, AverageOfLogits) {
  EXPECT_THAT(combine(Combiner::average, small_ballot()), ElementsAre(3, 1.5f, 0, 0, 99.5f, -98.5f));
}

TEST(Combine, SoftmaxIsTheLogarithmOfTheMeanProbability) {
  const Ballot ballot = small_ballot();
  const std::vector<float> of = combine(Combiner::softmax, ballot);
  for (int row = 0; row < 3; ++row)
    for (int o = 0; o < 2; ++o) {
      long double p = 0;
      for (int k = 0; k < 2; ++k) {
        const auto at = [&](int output) {
          return static_cast<long double>(
              ballot.values[static_cast<std::size_t>((row * 2 + output) * 2 + k)]);
        };
        p += std::exp(at(o)) / (std::exp(at(0)) + std::exp(at(1))) / 2;
      }
      const auto expected = static_cast<double>(std::log(p));
      EXPECT_NEAR(of[static_cast<std::size_t>(row * 2 + o)], expected, 1e-6 * std::abs(expected) + 1e-7);
    }
  // Far apart, where a probability in single precision would be 0.
  const Ballot sure{2, 2, Loss::cross_entropy, {0, 0, 5000, 4000}, {1}};
  EXPECT_THAT(combine(Combiner::softmax, sure),
              ElementsAre(::testing::FloatNear(-4000.6931f, 1e-3f), ::testing::FloatNear(0, 1e-7f)));
}

TEST(Combine, UsageErrors) {
  const Ballot one{2, 1, Loss::hinge, {1, 2}, {1}};
  EXPECT_THAT(combine(Combiner::average, one), ElementsAre(1.5f));
  EXPECT_THROW(combine(Combiner::softmax, one), Error);
  EXPECT_THROW(combine(Combiner::linear, one), Error);
  EXPECT_THROW(train_combiner(Combiner::average, one, {}, one, 0, combiner_training(1)), Error);
  // As many logits a row, but of other networks.
  const Ballot two{2, 2, Loss::cross_entropy, {1, 5, 2, 1, 0, 0, 0, 0}, {1, 0}},
      four{4, 1, Loss::cross_entropy, {1, 5, 2, 1, 0, 0, 0, 0}, {1, 0}};
  EXPECT_THROW(train_combiner(Combiner::linear, two, {}, four, 0, combiner_training(1)), Error);
  EXPECT_THROW(score(std::vector<float>(3), two), Error);
}

TEST(VoteScore, AgreesWithNaiveSums) {
  const Data data = test::clouds_data({.dim = 5, .train = 30, .validation = 0, .test = 200}, 5);
  const std::vector<Poll> polls{{Split::test, {}}};
  const Ballot ballot = ballots(networks(3), data, polls)[0];
  const std::vector<float> logits = combine(Combiner::average, ballot);
  int correct = 0;
  double loss = 0;
  std::vector<double> score_of_row;
  std::vector<int> positive;
  for (std::size_t row = 0; row < 200; ++row) {
    const double a = logits[2 * row], b = logits[2 * row + 1];
    const int label = ballot.labels[row];
    correct += (b > a ? 1 : 0) == label;
    loss -= std::log(std::exp(label ? b : a) / (std::exp(a) + std::exp(b)));
    score_of_row.push_back(double{logits[2 * row + 1] - logits[2 * row]});
    positive.push_back(label);
  }
  const Score result = score(logits, ballot);
  EXPECT_DOUBLE_EQ(result.accuracy, correct / 200.0);
  EXPECT_NEAR(result.loss, loss / 200, 1e-6);
  ASSERT_EQ(result.auc.size(), 1u);
  EXPECT_NEAR(result.auc[0], reference::roc_auc(score_of_row, positive), 1e-12);
}

// ---- trained combiners ------------------------------------------------------------------------------------

// Softmax regression by SGD on batches in order, from equal weights, in double precision.
struct NaiveLinear {
  std::size_t inputs;
  std::vector<double> weight, bias;
  explicit NaiveLinear(std::size_t n)
      : inputs(n), weight(2 * n, 1.0 / static_cast<double>(n)), bias(2, 0.0) {}

  double logit(const Ballot& ballot, std::size_t row, std::size_t o) const {
    double sum = bias[o];
    for (std::size_t i = 0; i < inputs; ++i) sum += weight[o * inputs + i] * ballot.values[row * inputs + i];
    return sum;
  }
  void update(const Ballot& ballot, std::size_t first, std::size_t count, double rate, double decay) {
    std::vector<double> weight_gradient(2 * inputs, 0.0), bias_gradient(2, 0.0);
    for (std::size_t row = first; row < first + count; ++row) {
      const double a = logit(ballot, row, 0), b = logit(ballot, row, 1), p1 = 1 / (1 + std::exp(a - b));
      const double error1 = (p1 - ballot.labels[row]) / static_cast<double>(count);
      for (std::size_t o = 0; o < 2; ++o) {
        const double error = o == 1 ? error1 : -error1;
        bias_gradient[o] += error;
        for (std::size_t i = 0; i < inputs; ++i)
          weight_gradient[o * inputs + i] += error * ballot.values[row * inputs + i];
      }
    }
    for (std::size_t k = 0; k < weight.size(); ++k)
      weight[k] -= rate * (weight_gradient[k] + decay * weight[k]);
    for (std::size_t o = 0; o < 2; ++o) bias[o] -= rate * (bias_gradient[o] + decay * bias[o]);
  }
};

TEST(TrainedCombiner, LinearIsPlainSgdOnBatchesInOrder) {
  const Data data = test::clouds_data({.dim = 5, .train = 90, .validation = 0, .test = 60}, 5);
  const std::vector<Poll> polls{{Split::train, {}}, {Split::test, {}}};
  const std::vector<Ballot> all = ballots(networks(3), data, polls, Which::best);
  Training training = combiner_training(32);
  EXPECT_EQ(training.optimizer.learning_rate, 0.05);
  EXPECT_EQ(training.optimizer.weight_decay, 5e-5);
  EXPECT_EQ(training.stop.criterion, StopCriterion::loss);
  EXPECT_EQ(training.stop.epsilon, 0.01);
  EXPECT_EQ(training.stop.check_every, 1000);
  training.stop.max_updates = 50;  // epochs of 32, 32 and 26 rows
  const TrainedCombiner trained = train_combiner(Combiner::linear, all[0], {}, all[1], 9, training);
  EXPECT_EQ(trained.history.updates, 50);
  NaiveLinear naive(6);
  for (std::size_t update = 0; update < 50; ++update) {
    const std::size_t first = update % 3 * 32;
    naive.update(all[0], first, std::min<std::size_t>(32, 90 - first), 0.05, 5e-5);
  }
  const std::vector<float> of = combine(trained, all[1]);
  double largest = 0;
  for (std::size_t row = 0; row < 60; ++row)
    for (std::size_t o = 0; o < 2; ++o) {
      EXPECT_NEAR(of[2 * row + o], naive.logit(all[1], row, o), 1e-4);
      largest = std::max(largest, std::abs(naive.logit(all[1], row, o)));
    }
  EXPECT_GT(largest, 0.1);
}

TEST(TrainedCombiner, LinearStartsFromEqualWeights) {
  const Ballot ballot = small_ballot();
  Training training = combiner_training(2);
  training.optimizer.learning_rate = 0;
  training.stop.max_updates = 1;
  const TrainedCombiner trained = train_combiner(Combiner::linear, ballot, {}, ballot, 9, training);
  EXPECT_THAT(combine(trained, ballot), ElementsAre(2.25f, 2.25f, 0, 0, 0.5f, 0.5f));
}

// One output is already right, the other says nothing; an average would be wrong where they differ.
TEST(TrainedCombiner, LearnsWhomToTrust) {
  Ballot ballot{2, 2, Loss::cross_entropy, {}, {}};
  for (int row = 0; row < 400; ++row) {
    const int label = row * 7 % 3 == 0;
    const float right = label ? 1.0f : -1.0f, loud = row % 2 ? 3.0f : -3.0f;
    for (const float value : {-right, -loud, right, loud}) ballot.values.push_back(value);
    ballot.labels.push_back(label);
  }
  EXPECT_LT(score(combine(Combiner::average, ballot), ballot).accuracy, 0.7);
  for (const Combiner combiner : {Combiner::linear, Combiner::mlp})
    for (const OptimizerKind optimizer : {OptimizerKind::sgd, OptimizerKind::adam}) {
      Training training = combiner_training(64, optimizer);
      training.stop.max_updates = 10'000;
      const TrainedCombiner trained = train_combiner(combiner, ballot, {}, ballot, 9, training);
      EXPECT_EQ(score(combine(trained, ballot), ballot).accuracy, 1.0) << name_of(combiner);
      if (combiner == Combiner::mlp) {
        EXPECT_THAT(trained.network.spec().hidden, ElementsAre(4));
      }
    }
}

TEST(Combine, BallotsMustBeWhole) {
  const std::vector<float> logits(6);
  EXPECT_NO_THROW(combine(Combiner::average, small_ballot()));
  EXPECT_NO_THROW(score(logits, small_ballot()));
  Ballot few = small_ballot(), nobody = small_ballot(), label = small_ballot();
  few.values.pop_back();
  nobody.members = 0, nobody.values.clear();
  label.labels[1] = 2;
  for (const Ballot& bad : {few, nobody, label}) {
    EXPECT_THROW(combine(Combiner::average, bad), Error);
    EXPECT_THROW(train_combiner(Combiner::linear, small_ballot(), {}, bad, 0, combiner_training(2)), Error);
  }
  EXPECT_THROW(score(logits, label), Error);
}

TEST(TrainedCombiner, BallotsMustFit) {
  const Ballot ballot = small_ballot(), other = small_ballot().first(1);
  EXPECT_THROW(train_combiner(Combiner::linear, ballot, {}, other, 0, combiner_training(2)), Error);
  EXPECT_THROW(train_combiner(Combiner::linear, ballot, other, ballot, 0, combiner_training(2)), Error);
  const TrainedCombiner trained = train_combiner(Combiner::linear, ballot, {}, ballot, 0, [] {
    Training training = combiner_training(2);
    training.stop.max_updates = 1;
    return training;
  }());
  EXPECT_THROW(combine(trained, other), Error);

  // As many values of a row, but of three members with two outputs, where two had three.
  const Ballot wide{2, 3, Loss::cross_entropy, {1, 5, 2, 1, 0, 0, 0, 0, -1, 2, 3, -2}, {1, 2}};
  Ballot turned = wide;
  turned.members = 3, turned.outputs = 2, turned.labels = {1, 0};
  Training once = combiner_training(2);
  once.stop.max_updates = 1;
  const TrainedCombiner of_wide = train_combiner(Combiner::linear, wide, {}, wide, 0, once);
  EXPECT_NO_THROW(combine(of_wide, wide));
  EXPECT_THROW(combine(of_wide, turned), Error);
}

}  // namespace
}  // namespace occam
