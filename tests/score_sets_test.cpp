// Claim: score() of several sets of data gives what it gives of each.
#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "occam/metrics.hpp"
#include "occam/slab.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

TEST(ScoreSets, AreTheSetsOneByOne) {
  SlabSpec spec;
  spec.coordinates.resize(4);
  spec.train = 30, spec.test = 50;
  const std::vector<Data> near = slab_data(spec, {1, 2, 3}), far = slab_data(spec, {4, 5, 6});
  spec.test = 51;
  const std::vector<Data> larger = slab_data(spec, {1, 2, 3});
  const MlpEnsemble models({.inputs = 4, .hidden = {5}}, {{1, 1, 1}, {2, 2, 2}, {3, 3, 3}}, {.threads = 2});
  const std::vector<std::vector<Data>> sets = {near, far, near};
  const std::vector<Randomization> as_it_is(1);
  for (const Split split : {Split::train, Split::test}) {
    const auto scores = score(models, sets, Which::last, split);
    ASSERT_EQ(scores.size(), sets.size());
    for (std::size_t s = 0; s < sets.size(); ++s) {
      const auto alone = score(models, sets[s], as_it_is, Which::last, split);
      ASSERT_EQ(scores[s].size(), alone.size());
      for (std::size_t m = 0; m < alone.size(); ++m) {
        EXPECT_EQ(scores[s][m].accuracy, alone[m].front().accuracy);
        EXPECT_EQ(scores[s][m].loss, alone[m].front().loss);
        EXPECT_EQ(scores[s][m].auc, alone[m].front().auc);
      }
    }
  }
  EXPECT_TRUE(score(models, std::vector<std::vector<Data>>{}).empty());
  EXPECT_THROW(score(models, std::vector{near, larger}), Error);
  EXPECT_THROW(score(models, std::vector{near, {near[0], near[1]}}), Error);
  // Labels that the network has no logits for.
  std::vector<Data> many = near;
  many[1] = test::clouds_data({.dim = 4, .classes = 5, .train = 30, .test = 50}, 3);
  EXPECT_THROW(score(models, std::vector{near, many}), Error);
}

}  // namespace
}  // namespace occam::test
