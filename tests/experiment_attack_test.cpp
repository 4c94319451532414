// Claim: what a record says of attacks: how large PGD's perturbations are, and nothing where nothing was found.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "experiment/train.hpp"
#include "occam/device.hpp"

namespace occam::experiment {
namespace {

Case attacked() {
  Case c;
  c.name = "A";
  c.slab.dim = 5, c.slab.train = 600, c.slab.test = 200;
  c.network.hidden = {8};
  c.training.batch = 32;
  c.training.stop = {.criterion = StopCriterion::none, .check_every = 200, .max_updates = 600};
  c.attacks.units = AttackUnits::absolute;
  return c;
}

MemberRecord record_of(const Case& c) {
  Options options;
  options.seeds = "1", options.keep = 1;
  Seconds seconds;
  Records records;
  EXPECT_TRUE(
      train(make_plan("tool", {c}, options, false, 1), options, {.threads = 1}, {}, records, seconds));
  return records.at({0, 0});
}

TEST(AttackRecord, TheSizeOfPerturbations) {
  Case c = attacked();
  c.attacks.pgd = true;
  for (const Norm norm : {Norm::l2, Norm::linf}) {
    c.attacks.pgd_settings = {.norm = norm, .epsilon = 0.3, .step = 0.1, .iterations = 20};
    const MemberRecord record = record_of(c);
    EXPECT_NEAR(metric(record, "pgd_norm"), 0.3, 1e-4);
  }
}

TEST(AttackRecord, MinimalAttacksGoAsFarAsTheyMust) {
  Case c = attacked();
  c.attacks.pgd = true;
  c.attacks.pgd_settings = {.epsilon = 0.01, .step = 0.02, .iterations = 200, .minimal = true};
  const MemberRecord record = record_of(c);
  EXPECT_LT(metric(record, "pgd_accuracy"), 0.1);
  EXPECT_GT(metric(record, "pgd_norm"), 0.02);
}

// Of a radius that is fp32's least number nothing is left in 50 coordinates.
TEST(AttackRecord, NoSingularVectorOfZeros) {
  Case c = attacked();
  c.attacks.svd_uap = true;
  c.slab.dim = 50;
  c.attacks.svd_settings.attack.epsilon = 1.5e-45;
  const MemberRecord record = record_of(c);
  for (const std::string name : {"svd_uap_accuracy", "svd_uap_share"}) {
    EXPECT_TRUE(std::isnan(metric(record, name)));
    EXPECT_TRUE(std::ranges::any_of(record.metrics, [&](const auto& one) { return one.first == name; }));
  }
}

}  // namespace
}  // namespace occam::experiment
