// Claim: attacks descend the cross-entropy of the label whatever a network was trained with, and find a way down
// where a hinge is flat and where fp32 takes the sigmoid for 1.
#include <algorithm>

#include <gtest/gtest.h>

#include "occam/attack.hpp"
#include "support/attacked.hpp"

namespace occam::test {
namespace {

// A linear model of one logit that is right about every row by a factor's margin.
Attacked confident(Loss loss, float factor) {
  ArrayData::Table table = clouds({7, 2, 20, 0, 60}, 3);
  for (std::size_t row = 0; row < table.y.size(); ++row) {
    float* const x = &table.x[7 * row];
    x[0] = table.y[row] != 0 ? 1.0f : -1.0f;
    std::fill_n(x + 1, 6, 0.0f);
  }
  Attacked model(network(7, {}, Activation::relu, 2, loss), ArrayData{shared(table), 0});
  const std::span<float> p = model.models.last(0);
  for (std::size_t k = 0; k < 8; ++k) p[k] = k < 7 ? factor : 0.0f;
  return model;
}

// Beyond a hinge's margin, and where sigmoid(x) - 1 is 0 in fp32, there is a way down all the same.
TEST(Attack, FollowsTheLogisticLossWhateverOneLogitWasTrainedWith) {
  for (const Loss loss : {Loss::hinge, Loss::binary_cross_entropy})
    for (const float factor : {8.0f, 40.0f}) {
      if (loss == Loss::hinge && factor > 8) continue;
      SCOPED_TRACE(factor);
      Attacked model = confident(loss, factor);
      const std::vector<std::int32_t> y = labels(model.data, Split::test);
      for (const AttackLoss aim :
           {AttackLoss::untargeted, AttackLoss::binary_targeted, AttackLoss::binary_hybrid}) {
        Pgd pgd{.norm = Norm::linf, .loss = aim, .epsilon = 0.5, .step = 0.1, .lower = -9, .upper = 9};
        pgd.start = 0;
        for (const int restarts : {1, 2}) {
          pgd.restarts = restarts;
          const Perturbed made = model.pgd(pgd);
          for (std::size_t i = 0; i < made.perturbation.size(); ++i)
            EXPECT_FLOAT_EQ(made.perturbation[i], y[i / 7] != 0 ? -0.5f : 0.5f);
        }
      }
      const Pgd behind{.norm = Norm::linf, .epsilon = 0.5, .step = 0.1, .lower = -9, .upper = 9};
      const AttackResult made = model.run(
          {.svd_uap = SvdUap{behind, 3.0},
           .as_uap = AsUap{.norm = Norm::linf, .epsilon = 1.2, .step = 0.1, .lower = -9, .upper = 9}});
      EXPECT_EQ(made.svd_uap->score.accuracy, 0);
      EXPECT_EQ(made.as_uap->score.accuracy, 0);
    }
}

// Of the runs of a hinge network the one that leaves the least right, although all are beyond the margin.
TEST(Attack, RestartsOfAHingeNetworkCompareTheLogisticLoss) {
  Attacked model = confident(Loss::hinge, 8);
  const std::vector<std::int32_t> y = labels(model.data, Split::test);
  Pgd pgd{.epsilon = 0.01, .step = 1e-6, .iterations = 1, .lower = -9, .upper = 9, .start = 0.01};
  std::vector<float> before;
  for (pgd.restarts = 1; pgd.restarts <= 4; ++pgd.restarts) {
    const Perturbed made = model.pgd(pgd);
    for (std::size_t row = 0; row < y.size(); ++row) {
      const float margin = y[row] != 0 ? made.logits[row] : -made.logits[row];
      EXPECT_GT(margin, 1);
      if (pgd.restarts > 1) {
        EXPECT_LE(margin, before[row]);
        before[row] = margin;
      } else {
        before.push_back(margin);
      }
    }
  }
}

}  // namespace
}  // namespace occam::test
