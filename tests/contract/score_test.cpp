// Claim: `score` and `logits` give the bits of plain loops over the same rows on every body: splits,
// randomised variants, AUC, rows of the caller's own.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "contract/ensembles.hpp"
#include "law/loss.hpp"
#include "law/sum.hpp"
#include "support/randomized_table.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

using Kind = Randomization::Kind;
using Against = Randomization::Against;

class ScoreBody : public OnBody {
 protected:
  // The members' logits and scores on one variant of a split, against the twin on rows made by plain loops.
  void expect_scores(const Ensemble& e, Wave& wave, Split split, const Randomization& variant) {
    SCOPED_TRACE(fmt::format("{}, split {}, {} coordinates, kind {}, against {}", describe(e),
                             static_cast<int>(split), variant.coordinates.size(),
                             static_cast<int>(variant.kind), static_cast<int>(variant.against)));
    std::vector<int> members(static_cast<std::size_t>(e.members()));
    std::iota(members.rbegin(), members.rend(), 0);  // any order
    std::vector<WaveScore> scores(members.size());
    wave.score(members, split, variant, true, scores);
    for (std::size_t k = 0; k < members.size(); ++k) {
      SCOPED_TRACE(members[k]);
      const auto m = static_cast<std::size_t>(members[k]);
      const int outputs = e.spec.outputs();
      const HostTable table = randomized_table(e.data[m], split, variant);
      const ScalarTwin twin = twin_of(e, members[k]);
      const std::vector<float> expected = twin.logits(table.x);
      std::vector<float> logits(expected.size());
      wave.logits(members[k], split, variant, logits);
      ASSERT_TRUE(same_bits(logits, expected));
      if (table.rows > 3) {
        ASSERT_TRUE(varied(logits, 0.3));
      }

      std::vector<std::int32_t> labels = table.y;
      if (variant.against == Against::predictions) {
        const std::vector<float> as_it_is = twin.logits(materialize(e.data[m], split).x);
        for (std::int64_t row = 0; row < table.rows; ++row)
          labels[static_cast<std::size_t>(row)] =
              law::predicted_class(&as_it_is[static_cast<std::size_t>(row * outputs)], outputs);
      }
      std::int64_t correct = 0;
      law::LaneSum sum;
      for (std::int64_t row = 0; row < table.rows; ++row) {
        const float* logit = &expected[static_cast<std::size_t>(row * outputs)];
        const std::int32_t label = labels[static_cast<std::size_t>(row)];
        correct += law::predicted_class(logit, outputs) == label;
        sum.add(row, law::sample_loss(e.spec.loss, logit, outputs, label));
      }
      const float loss = sum.total() / static_cast<float>(table.rows);
      EXPECT_EQ(scores[k].correct, correct);
      ASSERT_TRUE(same_bits({&scores[k].loss, 1}, {&loss, 1}));
      expect_same_aucs(scores[k].auc, roc_aucs(expected, outputs, labels));
    }
  }

  static void expect_same_aucs(const std::vector<double>& actual, const std::vector<double>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t c = 0; c < actual.size(); ++c) {
      if (std::isnan(expected[c])) {
        EXPECT_TRUE(std::isnan(actual[c])) << "list " << c;
      } else {
        EXPECT_EQ(actual[c], expected[c]) << "list " << c;
      }
    }
  }
};
OCCAM_ON_EVERY_BODY(ScoreBody);

TEST_P(ScoreBody, EverySplitAndVariant) {
  Ensemble e{.spec = {.inputs = 9, .hidden = {17, 6}}};
  Training training;
  training.batch = 16;
  e.add(slabs(9, 70, 33, 45, true, 1), training, 10);
  e.add(slabs(9, 31, 32, 64, false, 2), training, 20);
  e.add(clouds_data({9, 2, 40, 12, 100}, 3), training, 30);
  const auto check = [&](std::size_t limit, bool trains) {
    const auto backend = make(0, limit);
    const auto wave = open_loaded(*backend, e, trains);
    for (const Split split : {Split::train, Split::validation, Split::test})
      for (const Against against : {Against::labels, Against::predictions})
        for (const Kind kind : {Kind::permute, Kind::swap})
          for (const std::vector<int>& coordinates : std::vector<std::vector<int>>{{}, {0}, {8, 2, 3}})
            ASSERT_NO_FATAL_FAILURE(expect_scores(e, *wave, split, {coordinates, kind, against}));
  };
  for (const std::size_t limit : shared_limits(std::size_t{12} << 10))
    for (const bool trains : {true, false}) ASSERT_NO_FATAL_FAILURE(check(limit, trains));
}

// Batch norm at inference where a thread owns its share of the largest tile, and another tile follows.
TEST_P(ScoreBody, BatchNormOverWholeTiles) {
  Ensemble e{.spec = {.inputs = 3, .hidden = {66}, .batch_norm = true}};
  Training training;
  training.batch = 32;
  e.add(slabs(3, 64, 0, 130, true, 4), training, 6);
  for (const std::size_t limit : shared_limits(std::size_t{12} << 10)) {
    const auto backend = make(0, limit);
    const auto wave = open_loaded(*backend, e, false);
    ASSERT_NO_FATAL_FAILURE(expect_scores(e, *wave, Split::test, {}));
  }
}

// After training, in inference mode: dropout is off, batch norm uses the running averages.
TEST_P(ScoreBody, DrawnNetworks) {
  for (std::uint32_t number = 0; number < (is_slow() ? 20u : 60u); ++number) {
    const Ensemble e =
        drawn_ensemble(number + 500, is_slow() ? Limits{.widest = 33, .largest_batch = 33} : Limits{});
    const auto backend = make(0, number % 4 < 2 ? kWholeBlock : std::size_t{24} << 10);
    const auto wave = open_loaded(*backend, e);
    const Randomization variant{{static_cast<int>(number) % e.spec.inputs}, Kind::permute, Against::labels};
    ASSERT_NO_FATAL_FAILURE(
        expect_scores(e, *wave, Split::test, number % 2 == 0 ? Randomization{} : variant));
    ASSERT_NO_FATAL_FAILURE(expect_scores(e, *wave, Split::train, {}));
  }
}

// Scores of some members only, between updates.
TEST_P(ScoreBody, SomeMembersWhileTraining) {
  Ensemble e{.spec = {.inputs = 6, .hidden = {11}, .activation = Activation::prelu, .batch_norm = true}};
  Training training;
  training.batch = 10;
  training.hidden_dropout = 0.2;
  for (std::uint32_t m = 0; m < 4; ++m) e.add(slabs(6, 30, 0, 33, true, m), training, m);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e);
  std::vector<ScalarTwin> twins;
  for (int m = 0; m < 4; ++m) twins.push_back(twin_of(e, m));
  for (int round = 0; round < 3; ++round) {
    wave->train(std::vector<std::int64_t>{1, 2, 0, 3});
    for (int m = 0; m < 4; ++m)
      twins[static_cast<std::size_t>(m)].train(
          materialize(e.data[static_cast<std::size_t>(m)], Split::train),
          std::vector<std::int64_t>{1, 2, 0, 3}[static_cast<std::size_t>(m)]);
    const std::vector<int> members = {3, 1};
    std::vector<WaveScore> scores(2);
    wave->score(members, Split::test, Randomization{}, false, scores);
    for (std::size_t k = 0; k < 2; ++k) {
      const auto m = static_cast<std::size_t>(members[k]);
      const ScalarTwin::Score expected = twins[m].score(materialize(e.data[m], Split::test));
      EXPECT_EQ(scores[k].correct, expected.correct);
      ASSERT_TRUE(same_bits({&scores[k].loss, 1}, {&expected.loss, 1}));
      EXPECT_TRUE(scores[k].auc.empty());
    }
  }
}

// Ties (a constant network), one class alone, and more classes than two.
TEST_P(ScoreBody, AucOfTiesAndClasses) {
  Training training;
  training.batch = 4;
  for (const int classes : {2, 3, 6}) {
    Ensemble e{.spec = {.inputs = 4, .hidden = {}, .classes = classes}};
    const ArrayData::Table table = clouds({4, classes, 20, 0, 300}, 5);
    ArrayData::Table coarse = table, lonely = table;
    for (float& value : coarse.x) value = value < 0 ? -1.0f : 1.0f;  // few different scores
    std::fill(lonely.y.begin(), lonely.y.end(), 0);
    e.add(ArrayData{shared(table), 1}, training, 1);
    e.add(ArrayData{shared(coarse), 2}, training, 2);
    e.add(ArrayData{shared(lonely), 3}, training, 3);
    const auto backend = make(0, classes == 3 ? kWholeBlock : std::size_t{8} << 10);
    const auto wave = open_loaded(*backend, e);
    ASSERT_NO_FATAL_FAILURE(expect_scores(e, *wave, Split::test, {}));

    // All logits equal: every AUC is 1/2 where both classes are present.
    const std::vector<float> zero(e.start[0].size(), 0.0f);
    for (int m = 0; m < 3; ++m) wave->load(m, zero);
    const std::vector<int> members = {0, 1, 2};
    std::vector<WaveScore> scores(3);
    wave->score(members, Split::test, Randomization{}, true, scores);
    for (const double auc : scores[0].auc) EXPECT_EQ(auc, 0.5);
    EXPECT_TRUE(std::isnan(scores[2].auc[0]));

    // A score that is NaN has no AUC.
    const std::vector<float> nothing(e.start[0].size(), std::numeric_limits<float>::quiet_NaN());
    wave->load(0, nothing);
    wave->score(members, Split::test, Randomization{}, true, scores);
    EXPECT_TRUE(std::isnan(scores[0].auc[0]));
    EXPECT_TRUE(std::isnan(scores[0].loss));
  }
}

// −0 and +0 are one score: with weight and bias −0 a positive row scores −0 and a negative one +0.
TEST_P(ScoreBody, AucTakesBothZerosForOne) {
  Ensemble e{.spec = {.inputs = 1, .hidden = {}, .loss = Loss::hinge}};
  const ArrayData::Table table = clouds({1, 2, 4, 0, 40}, 3);
  Training training;
  training.batch = 4;
  e.add(ArrayData{shared(table), 1}, training, 1);
  std::fill(e.start[0].begin(), e.start[0].end(), -0.0f);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e);
  std::vector<float> logits(40);
  wave->logits(0, Split::test, {}, logits);
  for (const bool negative : {false, true})
    ASSERT_TRUE(
        std::ranges::any_of(logits, [=](float v) { return v == 0.0f && std::signbit(v) == negative; }));
  const std::vector<int> members = {0};
  std::vector<WaveScore> scores(1);
  wave->score(members, Split::test, Randomization{}, true, scores);
  EXPECT_EQ(scores[0].auc, std::vector<double>{0.5});
}

TEST_P(ScoreBody, RowsOfTheCallersOwn) {
  for (const int count : {0, 1, 3, 31, 32, 33, 130}) {
    Ensemble e = drawn_ensemble(41, {.widest = 33, .largest_batch = 17, .members = 2});
    const auto backend = make();
    const auto wave = open_loaded(*backend, e, false);
    const ArrayData::Table table = clouds({e.spec.inputs, 2, 0, 0, count}, 6);
    const std::vector<float> expected = twin_of(e, e.members() - 1).logits(table.x);
    std::vector<float> out(expected.size());
    wave->logits(e.members() - 1, table.x, out);
    ASSERT_TRUE(same_bits(out, expected));
  }
}

// Chunks, and groups of members, that a small device forces: the same bits as with room for all.
TEST_P(ScoreBody, LittleMemory) {
  Ensemble e{.spec = {.inputs = 5, .hidden = {8}}};
  Training training;
  training.batch = 8;
  for (std::uint32_t m = 0; m < 3; ++m) e.add(slabs(5, 200 + 50 * m, 0, 150, true, m), training, m);
  constexpr std::int64_t kBytes = std::int64_t{96} << 10;
  const DeviceOfBytes device(GetParam(), kBytes);
  const auto backend = make(kBytes);
  const auto wave = open_loaded(*backend, e);
  for (const Split split : {Split::train, Split::test}) {
    ASSERT_NO_FATAL_FAILURE(expect_scores(e, *wave, split, {}));
    ASSERT_NO_FATAL_FAILURE(expect_scores(e, *wave, split, {{1, 4}, Kind::swap, Against::predictions}));
  }
}

// Few rows of many members, each so wide that 32 of one member fill the scratch.
TEST_P(ScoreBody, LittleMemoryForWideRows) {
  const auto table = shared(clouds({512, 2, 4, 0, 6}, 3));
  Ensemble e{.spec = {.inputs = 512, .hidden = {}}};
  Training training;
  training.batch = 4;
  for (std::uint32_t m = 0; m < 40; ++m) e.add(ArrayData{table, m}, training, m);
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member";
  constexpr std::int64_t kBytes = std::int64_t{2} << 20;
  const DeviceOfBytes device(GetParam(), kBytes);
  const auto backend = make(kBytes);
  ASSERT_EQ(backend->wave_members(e.request(false)), 40);
  const auto wave = open_loaded(*backend, e, false);
  ASSERT_NO_FATAL_FAILURE(expect_scores(e, *wave, Split::test, {}));
  const ArrayData::Table more = clouds({512, 2, 0, 0, 1500}, 4);  // larger than the device
  const std::vector<float> expected = twin_of(e, 7).logits(more.x);
  std::vector<float> logits(expected.size());
  wave->logits(7, more.x, logits);
  ASSERT_TRUE(same_bits(logits, expected));
}

// Slab data are generated where they are used. A linear network whose weights are the identity shows them:
// its logits are the rows as the model sees them.
TEST_P(ScoreBody, DataThroughAnIdentity) {
  for (const bool rotate : {false, true})
    for (const int dim : {2, 7, 64, 65}) {
      Ensemble e{.spec = {.inputs = dim, .hidden = {}, .classes = dim}};
      Training training;
      training.batch = 4;
      e.add(slabs(dim, 40, 5, 71, rotate, 77), training, 1);
      std::fill(e.start[0].begin(), e.start[0].end(), 0.0f);
      for (int i = 0; i < dim; ++i) e.start[0][static_cast<std::size_t>(i * dim + i)] = 1.0f;
      std::fill(e.start[0].begin() + dim * dim, e.start[0].end(), -0.0f);  // biases
      const auto backend = make();
      const auto wave = open_loaded(*backend, e);
      for (const Split split : {Split::train, Split::validation, Split::test}) {
        const HostTable table = materialize(e.data[0], split);
        std::vector<float> out(table.x.size());
        wave->logits(0, split, {}, out);
        for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], table.x[i]) << i;
        ASSERT_TRUE(varied(out));
      }
    }
}

}  // namespace
}  // namespace occam::test
