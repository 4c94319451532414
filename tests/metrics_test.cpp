// Claim: accuracy, loss, ROC-AUC and the randomised measures are what occam/metrics.hpp says.
#include "occam/metrics.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "backend.hpp"
#include "law/loss.hpp"
#include "law/sum.hpp"
#include "occam/attack.hpp"
#include "occam/error.hpp"
#include "occam/training.hpp"
#include "occam/vote.hpp"
#include "reference/roc_auc.hpp"
#include "support/compare.hpp"
#include "support/randomized_table.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

// ---- area under the ROC curve ----------------------------------------------------------------------------

void expect_auc(const std::vector<float>& scores, const std::vector<std::int32_t>& positive) {
  const double expected = reference::roc_auc(as_doubles(scores), {positive.begin(), positive.end()});
  const double actual = roc_auc(scores, positive);
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual));
  } else {
    EXPECT_EQ(actual, expected);  // both are one division of exact integers
  }
}

TEST(RocAuc, EqualsTheDefinition) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 400; ++trial) {
    const std::size_t n = 1 + random() % 120;
    const std::uint32_t levels = trial % 4 == 0   ? 3
                                 : trial % 4 == 1 ? 20
                                                  : 1'000'000;  // many ties, some, none
    std::vector<float> scores;
    std::vector<std::int32_t> positive;
    for (std::size_t i = 0; i < n; ++i) {
      scores.push_back((static_cast<float>(random() % levels) - static_cast<float>(levels / 2)) * 0.37f);
      positive.push_back(static_cast<std::int32_t>(random() % 3 == 0) * 5);  // any number but 0 is positive
    }
    expect_auc(scores, positive);
  }
}

TEST(RocAuc, OrdersEveryFloat) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kTiny = std::numeric_limits<float>::denorm_min(), kHuge = std::numeric_limits<float>::max();
  const std::vector<float> scores = {-kInfinity, -kHuge, -1.0f, -kTiny,    -0.0f,    0.0f,
                                     kTiny,      1.0f,   kHuge, kInfinity, kInfinity};
  for (std::uint32_t mask = 0; mask < (1u << scores.size()); mask += 7) {
    std::vector<std::int32_t> positive;
    for (std::size_t i = 0; i < scores.size(); ++i) positive.push_back((mask >> i) & 1u);
    expect_auc(scores, positive);
  }
  EXPECT_EQ(roc_auc(std::vector<float>{-0.0f, 0.0f}, std::vector<std::int32_t>{0, 1}), 0.5);
}

TEST(RocAuc, IsNanWithoutBothClassesOrWithNan) {
  EXPECT_TRUE(std::isnan(roc_auc(std::vector<float>{1, 2}, std::vector<std::int32_t>{1, 1})));
  EXPECT_TRUE(std::isnan(roc_auc(std::vector<float>{1, 2}, std::vector<std::int32_t>{0, 0})));
  EXPECT_TRUE(std::isnan(roc_auc({}, {})));
  EXPECT_TRUE(
      std::isnan(roc_auc(std::vector<float>{1, std::nanf(""), 3}, std::vector<std::int32_t>{0, 1, 1})));
  EXPECT_TRUE(
      std::isnan(roc_auc(std::vector<float>{1, -std::nanf(""), 3}, std::vector<std::int32_t>{0, 1, 1})));
}

TEST(RocAuc, CountsHundredsOfThousandsExactly) {
  std::vector<float> scores;
  std::vector<std::int32_t> positive;
  for (int i = 0; i < 400'000; ++i)
    scores.push_back(static_cast<float>(i % 200'000)), positive.push_back(i >= 200'000);
  EXPECT_EQ(roc_auc(scores, positive), 0.5);  // 2 · 200,000² needs more than 32 bits
  for (int i = 0; i < 200'000; ++i) scores[static_cast<std::size_t>(i)] = -1.0f;
  EXPECT_EQ(roc_auc(scores, positive), 1.0);
}

TEST(RocAuc, MeanOverTheClasses) {
  EXPECT_EQ((Score{0, 0, {0.25, 0.75}}).mean_auc(), 0.5);
  EXPECT_TRUE(std::isnan(Score{}.mean_auc()));
}

TEST(RocAuc, RejectsUnequalLengths) {
  EXPECT_THROW(roc_auc(std::vector<float>{1, 2}, std::vector<std::int32_t>{1}), Error);
}

TEST(RocAuc, OneVersusRestByMargin) {
  const std::vector<float> logits = {3, 1, 0, 0, 2, 1, 1, 1, 4, 2, 0, 1, 0, 5, 0, 1, 0, 2};  // [6][3]
  const std::vector<std::int32_t> labels = {0, 1, 2, 0, 1, 2};
  const std::vector<double> aucs = roc_aucs(logits, 3, labels);
  ASSERT_EQ(aucs.size(), 3u);
  for (std::size_t c = 0; c < 3; ++c) {
    std::vector<double> margin;
    std::vector<int> positive;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      double other = -HUGE_VAL;
      for (std::size_t k = 0; k < 3; ++k) other = k == c ? other : std::max<double>(other, logits[3 * i + k]);
      margin.push_back(logits[3 * i + c] - other), positive.push_back(labels[i] == static_cast<int>(c));
    }
    EXPECT_EQ(aucs[c], reference::roc_auc(margin, positive));
  }
  const std::vector<double> absent = roc_aucs(logits, 3, std::vector<std::int32_t>{0, 1, 1, 0, 1, 0});
  EXPECT_FALSE(std::isnan(absent[0]));
  EXPECT_TRUE(std::isnan(absent[2]));
}

// ---- measures of hand-made models ------------------------------------------------------------------------

// Slab data whose first coordinate is linear: its sign is the label.
Data slab(bool rotate, std::int64_t test = 4000) {
  SlabSpec spec = lms(5, 7);
  spec.rotate = rotate, spec.train = 300, spec.validation = 200, spec.test = test;
  return slab_data(spec, {17})[0];
}

// A linear model whose logits are ∓ coordinate `coordinate` before the rotation.
MlpEnsemble reader(const Data& data, int coordinate) {
  const int width = dim(data);
  MlpEnsemble models({.inputs = width, .hidden = {}, .classes = 2}, {{seed(data), 1, 1}}, cpu());
  const std::vector<float> matrix = rotation(data);
  for (int k = 0; k < width; ++k) {
    const float along = matrix.empty() ? (k == coordinate ? 1.0f : 0.0f)
                                       : matrix[static_cast<std::size_t>(coordinate * width + k)];
    models.last(0)[static_cast<std::size_t>(k)] = -along;
    models.last(0)[static_cast<std::size_t>(width + k)] = along;
  }
  models.last(0)[static_cast<std::size_t>(2 * width)] =
      models.last(0)[static_cast<std::size_t>(2 * width + 1)] = 0.0f;
  std::ranges::copy(models.last(0), models.best(0).begin());
  return models;
}

Score score_of(const MlpEnsemble& models, const Data& data, const Randomization& variant,
               Which which = Which::last, Split split = Split::test) {
  return score(models, {&data, 1}, {&variant, 1}, which, split)[0][0];
}

const std::vector<int> kOthers = {1, 2, 3, 4, 5, 6};
const std::vector<int> kAll = {0, 1, 2, 3, 4, 5, 6};
constexpr double kAucDeviation = 0.0091;  // 1/√(3 · 4000)

TEST(Randomized, AModelThatReadsOneCoordinate) {
  for (const bool rotate : {false, true}) {
    SCOPED_TRACE(rotate);
    const Data data = slab(rotate);
    const MlpEnsemble models = reader(data, 0);
    const Score standard = score_of(models, data, {});
    EXPECT_EQ(standard.accuracy, 1.0);
    EXPECT_EQ(standard.auc, std::vector<double>{1.0});
    const Score without = score_of(models, data, {.coordinates = {0}});
    EXPECT_NEAR(without.accuracy, 0.5, 4 / (2 * std::sqrt(4000.0)));
    EXPECT_NEAR(without.auc[0], 0.5, 4 * kAucDeviation);
    const Score complement = score_of(models, data, {.coordinates = kOthers});
    EXPECT_EQ(complement.accuracy, 1.0);
    EXPECT_EQ(complement.auc, standard.auc);
    if (!rotate) {  // with the rotation, the other coordinates' rounding errors are left
      EXPECT_EQ(complement.loss, standard.loss);
      EXPECT_TRUE(same_bits(logits(models, 0, data, {.coordinates = kOthers}).values,
                            logits(models, 0, data, {}).values));
    }
    for (const int coordinate : kOthers)
      EXPECT_EQ(score_of(models, data, {.coordinates = {coordinate}}).accuracy, 1.0);
    for (const int coordinate : kOthers) {
      const Score subset = score_of(models, data, {.coordinates = {0, coordinate}});
      EXPECT_NEAR(subset.auc[0], 0.5, 4 * kAucDeviation);
    }
    const Score swapped = score_of(models, data, {.coordinates = {0}, .kind = Randomization::Kind::swap});
    EXPECT_EQ(swapped.accuracy, 0.0);
    EXPECT_EQ(swapped.auc, std::vector<double>{0.0});
    EXPECT_EQ(score_of(models, data, {.coordinates = kOthers, .kind = Randomization::Kind::swap}).accuracy,
              1.0);
  }
}

TEST(Randomized, NoCoordinateIsTheSetAsItIs) {
  const Data data = slab(true);
  const MlpEnsemble models = reader(data, 2);
  const HostTable test = materialize(data, Split::test);
  const Logits plain = logits(models, 0, data, {});
  EXPECT_EQ(plain.rows, 4000);
  EXPECT_EQ(plain.outputs, 2);
  EXPECT_EQ(plain.labels, test.y);
  EXPECT_TRUE(same_bits(plain.values, logits(models, 0, test.x)));
  EXPECT_TRUE(same_bits(plain.values, logits(models, 0, data, {.kind = Randomization::Kind::swap}).values));
  EXPECT_EQ(score_of(models, data, {}).loss,
            score_of(models, data, {.kind = Randomization::Kind::swap}).loss);
}

// All coordinates jointly: whole rows move, so the logits are the same numbers in another order.
TEST(Randomized, AllCoordinatesMoveWholeRows) {
  for (const bool rotate : {false, true}) {
    const Data data = slab(rotate);
    const MlpEnsemble models = reader(data, 0);
    std::vector<float> standard = logits(models, 0, data, {}).values;
    std::vector<float> moved = logits(models, 0, data, {.coordinates = kAll}).values;
    EXPECT_FALSE(same_bits(moved, standard));
    std::ranges::sort(standard), std::ranges::sort(moved);
    EXPECT_TRUE(same_bits(moved, standard));
    EXPECT_NEAR(score_of(models, data, {.coordinates = kAll}).auc[0], 0.5, 4 * kAucDeviation);
    EXPECT_EQ(score_of(models, data, {.coordinates = kAll, .kind = Randomization::Kind::swap}).accuracy, 0.0);
  }
}

TEST(Randomized, DonorsArePermutedOrOfAnotherClass) {
  std::mt19937 random(3);
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 501; ++i) labels.push_back(static_cast<std::int32_t>(random() % 3));
  const std::vector<std::uint32_t> permuted = donors({.coordinates = {1}}, 5, labels);
  EXPECT_EQ(std::set<std::uint32_t>(permuted.begin(), permuted.end()).size(), labels.size());
  const std::vector<std::uint32_t> swapped =
      donors({.coordinates = {1}, .kind = Randomization::Kind::swap}, 5, labels);
  for (std::size_t i = 0; i < labels.size(); ++i) ASSERT_NE(labels[swapped[i]], labels[i]);
  const std::size_t distinct = std::set<std::uint32_t>(swapped.begin(), swapped.end()).size();
  EXPECT_LT(distinct, labels.size());      // with replacement
  EXPECT_GT(distinct, labels.size() / 2);  // but all over the set
  EXPECT_NE(donors({.coordinates = {2}}, 5, labels), permuted);
  EXPECT_NE(donors({.coordinates = {1}}, 6, labels), permuted);
  EXPECT_EQ(donors({.coordinates = {1}}, 5, labels), permuted);
}

// Salts key the permutations: they are part of the results. FNV-1a of kind and coordinates, four bytes each, little
// end first, worked out elsewhere.
TEST(Randomized, SaltsNeverChange) {
  EXPECT_EQ(salt({}), 1268118805u);
  EXPECT_EQ(salt({.coordinates = {0}}), 2615243109u);
  EXPECT_EQ(salt({.coordinates = {0, 300}, .kind = Randomization::Kind::swap}), 2479850547u);
}

TEST(Randomized, AgainstTheModelsOwnPredictions) {
  const Data data = slab(true);
  const MlpEnsemble models = reader(data, 3);  // a 5-slab read by its sign: about half are right
  Randomization variant{.coordinates = {}, .against = Randomization::Against::predictions};
  EXPECT_LT(score_of(models, data, {}).accuracy, 0.9);
  EXPECT_EQ(score_of(models, data, variant).accuracy, 1.0);
  variant.coordinates = {0, 1};
  EXPECT_EQ(score_of(models, data, variant).accuracy, 1.0);
  variant.coordinates = {3};
  EXPECT_NEAR(score_of(models, data, variant).accuracy, 0.5, 4 / (2 * std::sqrt(4000.0)));
}

TEST(Randomized, SwapNeedsTwoClasses) {
  ArrayData::Table table = clouds({.dim = 3, .classes = 2, .train = 5, .validation = 0, .test = 4}, 1);
  std::ranges::fill(table.y, 1);
  const Data data = ArrayData{shared(table), 0};
  const MlpEnsemble models({.inputs = 3, .hidden = {}, .classes = 2}, {{0, 0, 0}}, cpu());
  EXPECT_THROW(score_of(models, data, {.coordinates = {0}, .kind = Randomization::Kind::swap}), Error);
}

TEST(Score, IsTheMeanOverTheLogits) {
  for (const Loss loss : {Loss::cross_entropy, Loss::binary_cross_entropy, Loss::hinge}) {
    const Data data = clouds_data({.dim = 5, .classes = 2, .train = 30, .validation = 40, .test = 700}, 4);
    const MlpEnsemble models({.inputs = 5, .hidden = {8}, .classes = 2, .loss = loss}, {{4, 5, 6}}, cpu());
    for (const Split split : {Split::train, Split::validation, Split::test}) {
      const Logits of = logits(models, 0, data, {}, Which::last, split);
      ASSERT_EQ(of.rows, rows(data, split));
      law::LaneSum sum;
      std::int64_t correct = 0;
      for (std::int64_t row = 0; row < of.rows; ++row) {
        const float* logit = &of.values[static_cast<std::size_t>(row * of.outputs)];
        const std::int32_t label = of.labels[static_cast<std::size_t>(row)];
        sum.add(row, law::sample_loss(loss, logit, of.outputs, label));
        correct += law::predicted_class(logit, of.outputs) == label;
      }
      const Score score = score_of(models, data, {}, Which::last, split);
      EXPECT_EQ(score.loss, static_cast<double>(sum.total() / static_cast<float>(of.rows)));
      EXPECT_EQ(score.accuracy, static_cast<double>(correct) / static_cast<double>(of.rows));
      EXPECT_EQ(score.auc, std::vector<double>{roc_auc(scores_of(of), of.labels)});
    }
  }
}

TEST(Score, OfTheLastOrTheBestModel) {
  const Data data = slab(true);
  MlpEnsemble models = reader(data, 0);
  for (float& weight : models.best(0)) weight = -weight;
  EXPECT_EQ(score_of(models, data, {}, Which::last).accuracy, 1.0);
  EXPECT_EQ(score_of(models, data, {}, Which::best).accuracy, 0.0);
  const std::vector<float> last = logits(models, 0, data, {}, Which::last).values;
  const std::vector<float> best = logits(models, 0, data, {}, Which::best).values;
  for (std::size_t i = 0; i < last.size(); ++i) ASSERT_EQ(best[i], -last[i]);
}

// ---- pictures and first layers ---------------------------------------------------------------------------

TEST(DecisionBoundary, CoversTheRangeAndAsksTheModel) {
  for (const bool rotate : {false, true}) {
    const Data data = slab(rotate);
    const Boundary boundary = decision_boundary(reader(data, 0), 0, data, 0, 1, 5000);
    ASSERT_EQ(boundary.a.size(), 5000u);
    ASSERT_EQ(boundary.b.size(), 5000u);
    ASSERT_EQ(boundary.label.size(), 5000u);
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < 5000; ++i)
      wrong += boundary.label[i] != (boundary.a[i] > 0) && std::abs(boundary.a[i]) > 1e-5f;
    EXPECT_EQ(wrong, 0);
    EXPECT_NEAR(*std::ranges::min_element(boundary.a), -1, 0.01);
    EXPECT_NEAR(*std::ranges::max_element(boundary.b), 1, 0.01);
    EXPECT_NEAR(std::accumulate(boundary.a.begin(), boundary.a.end(), 0.0) / 5000, 0,
                5 * 0.5774 / std::sqrt(5000.0));
    EXPECT_GE(*std::ranges::min_element(boundary.b), -1);
    EXPECT_LE(*std::ranges::max_element(boundary.b), 1);
  }
}

TEST(DecisionBoundary, FillsTheOtherCoordinatesFromZeroOrSymmetrically) {
  const Data data = slab(true);
  const MlpEnsemble models = reader(data, 4);
  const auto share_of_ones = [&](bool symmetric) {
    const Boundary boundary = decision_boundary(models, 0, data, 0, 1, 2000, 1.0, symmetric);
    return static_cast<double>(std::ranges::count(boundary.label, 1)) / 2000;
  };
  EXPECT_GT(share_of_ones(false), 0.999);
  EXPECT_NEAR(share_of_ones(true), 0.5, 4 / (2 * std::sqrt(2000.0)));
}

TEST(Alignment, CosineNormAndCorrelationByHand) {
  for (const bool rotate : {false, true}) {
    const Data data = slab(rotate);
    MlpEnsemble models({.inputs = 7, .hidden = {3}, .classes = 2}, {{17, 1, 1}}, cpu());
    const std::vector<float> matrix = rotation(data);
    const auto direction = [&](int coordinate, int k) {
      return matrix.empty() ? (k == coordinate ? 1.0f : 0.0f)
                            : matrix[static_cast<std::size_t>(7 * coordinate + k)];
    };
    const ParameterLayout::Layer &first = models.layout().layers[0], &second = models.layout().layers[1];
    for (int k = 0; k < 7; ++k) {
      models.last(0)[static_cast<std::size_t>(first.weight + k)] = -2 * direction(1, k);
      models.last(0)[static_cast<std::size_t>(first.weight + 7 + k)] =
          3 * direction(1, k) + 4 * direction(5, k);
      models.last(0)[static_cast<std::size_t>(first.weight + 14 + k)] = 0;
    }
    const float output[6] = {-5, 3, 0, 1, 1, 1};  // proportional to the cosines; constant
    std::ranges::copy(output, models.last(0).begin() + second.weight);
    const Alignment alignment = first_layer_alignment(models, 0, data, 1);
    const double cosine[3] = {-1, 0.6, 0}, norm[3] = {2, 5, 0};
    ASSERT_EQ(alignment.cosine.size(), 3u);
    for (std::size_t unit = 0; unit < 3; ++unit) {
      EXPECT_NEAR(alignment.cosine[unit], cosine[unit], 1e-6);
      EXPECT_NEAR(alignment.norm[unit], norm[unit], 1e-5);
    }
    ASSERT_EQ(alignment.output_correlation.size(), 2u);
    EXPECT_NEAR(alignment.output_correlation[0], 1.0, 1e-6);
    EXPECT_TRUE(std::isnan(alignment.output_correlation[1]));
  }
  const Data data = slab(false);
  const MlpEnsemble deep({.inputs = 7, .hidden = {3, 3}, .classes = 2}, {{17, 1, 1}}, cpu());
  EXPECT_TRUE(first_layer_alignment(deep, 0, data, 0).output_correlation.empty());
}

// What takes long can be asked to stop, and a subset of the members heeds the same request.
TEST(Measures, HeedARequestToStop) {
  const SlabSpec spec = [] {
    SlabSpec slab;
    slab.coordinates.resize(4);
    slab.train = slab.test = 50;
    return slab;
  }();
  const std::vector<Data> data = slab_data(spec, {1, 2});
  MlpEnsemble models({.inputs = 4, .hidden = {5}}, {{1, 1, 1}, {2, 2, 2}}, {.threads = 2});
  const std::vector<Randomization> as_it_is(1);
  std::atomic<bool> stop{false};
  models.heed(&stop);
  EXPECT_EQ(score(models, data, as_it_is).size(), 2u);
  stop = true;
  EXPECT_THROW(score(models, data, as_it_is), Interrupted);
  const MlpEnsemble second = models.subset(std::vector<int>{1});
  EXPECT_THROW(score(second, std::span(data).subspan(1), as_it_is), Interrupted);
  EXPECT_THROW(ballots(second, data[1], std::vector<Poll>(1)), Interrupted);
  const std::vector<AttackSuite> suites(2, {.pgd = Pgd{.epsilon = 0.1, .lower = -9, .upper = 9}});
  EXPECT_THROW(attack(models, data, suites, [](int, AttackResult&&) {}), Interrupted);
}

}  // namespace
}  // namespace occam::test
