// Claim: adversarial training and schedules of the learning rate give the scalar twin's bits on every body,
// and attacks do not depend on how rows and members are dealt out.
#include <algorithm>

#include <fmt/format.h>

#include "contract/ensembles.hpp"
#include "support/attack_twin.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

class AdversaryBody : public OnBody {
 protected:
  // Trains in several calls and compares every member's parameters with its twin's.
  static void expect_trained(const Ensemble& e, Wave& wave, std::span<const std::int64_t> calls) {
    std::vector<ScalarTwin> twins;
    for (int m = 0; m < e.members(); ++m) twins.push_back(twin_of(e, m));
    for (const std::int64_t updates : calls) {
      std::vector<std::int64_t> of_member;  // the last member does one less
      for (int m = 0; m < e.members(); ++m) of_member.push_back(m + 1 < e.members() ? updates : updates - 1);
      wave.train(of_member);
      for (int m = 0; m < e.members(); ++m) {
        SCOPED_TRACE(fmt::format("member {} after {} updates", m, updates));
        const auto i = static_cast<std::size_t>(m);
        twins[i].train(materialize(e.data[i], Split::train), of_member[i]);
        ASSERT_TRUE(same_bits(parameters(e, wave, m), twins[i].parameters()));
      }
    }
  }
};
OCCAM_ON_EVERY_BODY(AdversaryBody);

TEST_P(AdversaryBody, TrainingOnMovedBatches) {
  constexpr AttackLoss kLosses[] = {AttackLoss::untargeted, AttackLoss::random_targeted,
                                    AttackLoss::plus_one};
  for (std::uint32_t number = 0; number < (is_slow() ? 15u : 40u); ++number) {
    Ensemble e = drawn_ensemble(1600 + number, {.widest = 33, .largest_batch = 20, .members = 3, .depth = 2});
    SCOPED_TRACE(fmt::format("{}: {}", number, describe(e)));
    for (std::uint32_t m = 0; m < e.trainings.size(); ++m) {
      const std::uint32_t draw = number + 3 * m;
      if (m > 0 && draw % 4 == 0) continue;  // beside members that are attacked
      Pgd attack{.norm = draw % 2 == 0 ? Norm::l2 : Norm::linf, .loss = kLosses[draw % 3], .epsilon = 0.4};
      attack.step = 0.15, attack.iterations = 1 + static_cast<int>(draw % 3), attack.start = 1e-2;
      attack.lower = -2, attack.upper = draw % 5 == 0 ? 0.5 : 2, attack.minimal = draw % 5 == 2;
      attack.restarts = attack.minimal ? 1 : 1 + static_cast<int>(draw % 2);
      if (draw % 7 == 6) attack.epsilon = 0;
      e.trainings[m].adversary = attack;
    }
    const auto backend = make();
    const auto wave = open_loaded(*backend, e);
    ASSERT_NO_FATAL_FAILURE(expect_trained(e, *wave, std::vector<std::int64_t>{1, 3}));
  }
}

TEST_P(AdversaryBody, Schedules) {
  for (const Optimizer& optimizer : kOptimizers) {
    Ensemble e{.spec = {.inputs = 5, .hidden = {6}}};
    Training training;
    training.optimizer = optimizer, training.batch = 8;
    for (std::uint32_t m = 0; m < 3; ++m) {
      training.schedule = {.epochs = m, .factor = 0.3};  // the first never changes
      e.add(slabs(5, 20 + 10 * m, 0, 3, true, m), training, m);
    }
    const auto backend = make();
    const auto wave = open_loaded(*backend, e);
    ASSERT_NO_FATAL_FAILURE(expect_trained(e, *wave, std::vector<std::int64_t>{2, 1, 6, 20}));
  }
}

// Networks around what fits on the chip, with every size of slice and several passes over the columns.
TEST_P(AdversaryBody, WideNetworks) {
  struct Shape {
    int inputs;
    std::vector<int> hidden;
    Activation activation;
    bool batch_norm;
  };
  const Shape shapes[] = {{70, {100}, Activation::relu, false},
                          {130, {150}, Activation::tanh, false},
                          {130, {150, 129}, Activation::relu, false},
                          {9, {230, 20}, Activation::relu, false},  // rows apart from the activations
                          {200, {30}, Activation::leaky_relu, false},
                          {130, {40}, Activation::identity, false},
                          {12, {}, Activation::relu, false},
                          {20, {150, 129}, Activation::prelu, true},
                          {3, {90, 70, 5}, Activation::leaky_relu, true}};
  for (const Shape& shape : shapes) {
    Ensemble e{.spec = {.inputs = shape.inputs,
                        .hidden = shape.hidden,
                        .activation = shape.activation,
                        .batch_norm = shape.batch_norm}};
    SCOPED_TRACE(describe({.spec = e.spec, .trainings = {Training{}}}));
    e.add(slabs(shape.inputs, 8, 0, is_slow() ? 40 : 133, true, 3), Training{}, 4);
    Pgd attack{
        .epsilon = 0.9, .step = 0.3, .iterations = is_slow() ? 1 : 2, .lower = -2, .upper = 2, .batch = 64};
    Pgd minimal = attack;
    minimal.minimal = true, minimal.iterations = 6;
    for (const std::size_t limit : shared_limits(std::size_t{120} << 10)) {
      const auto backend = make(0, limit);
      const auto wave = open_loaded(*backend, e, false);
      for (const Pgd& one : {attack, minimal}) {
        std::vector<Perturbed> out(1);
        wave->perturb(std::vector<int>{0}, Split::test, {&one, 1}, out);
        const Perturbed expected = perturb(twin_of(e, 0), materialize(e.data[0], Split::test), one);
        ASSERT_TRUE(same_bits(out[0].perturbation, expected.perturbation)) << limit;
        ASSERT_TRUE(same_bits(out[0].logits, expected.logits)) << limit;
      }
    }
  }
}

// Little memory: one member and 32 rows at a time.
TEST_P(AdversaryBody, AttacksByChunks) {
  Ensemble e{.spec = {.inputs = 7, .hidden = {9}}};
  Training training;
  training.batch = 16;
  e.add(slabs(7, 40, 0, 70, true, 1), training, 2);
  e.add(slabs(7, 20, 0, 33, true, 3), training, 4);
  e.add(slabs(7, 20, 0, 5, false, 5), training, 6);
  Pgd pgd{.epsilon = 0.7, .step = 0.2, .iterations = 3, .lower = -2, .upper = 2, .restarts = 2, .batch = 24};
  std::vector<Pgd> attacks(3, pgd);
  attacks[1].restarts = 1, attacks[1].track = true, attacks[1].iterations = 2;
  attacks[2].restarts = 1, attacks[2].minimal = true, attacks[2].norm = Norm::linf;
  const AsUap uap{
      .epsilon = 0.6, .step = 0.2, .iterations = 2, .epochs = 2, .lower = -1, .upper = 1, .batch = 9};
  const std::vector<int> members = {2, 0, 1};
  struct Made {
    std::vector<Perturbed> perturbed{3};
    std::vector<std::vector<float>> universal{3};
    std::vector<WaveScore> scores{3};
    std::vector<float> gradient;
  };
  const auto attack = [&](std::int64_t limit, Split split, bool trains) {
    const auto backend = make(limit);
    const auto wave = open_loaded(*backend, e, trains);
    Made made;
    wave->perturb(members, split, attacks, made.perturbed);
    wave->fit_universal(members, split, std::vector<AsUap>(3, uap), made.universal);
    std::vector<Shift> shifts;
    for (const std::vector<float>& vector : made.universal) shifts.push_back({vector, -1, 1});
    wave->score(members, split, shifts, true, made.scores);
    const HostTable rows = materialize(e.data[0], split);
    made.gradient.resize(rows.x.size());
    wave->input_gradient(0, rows.x, std::vector<float>(rows.y.size() * 2, 0.5f), made.gradient);
    std::vector<DataRange> ranges(3);
    wave->ranges(std::vector<int>{0, 1, 2}, split, ranges);
    for (int m = 0; m < 3; ++m) {
      const HostTable all = materialize(e.data[static_cast<std::size_t>(m)], split);
      const DataRange range = ranges[static_cast<std::size_t>(m)];
      EXPECT_EQ(range.low, *std::min_element(all.x.begin(), all.x.end()));
      EXPECT_EQ(range.high, *std::max_element(all.x.begin(), all.x.end()));
    }
    return made;
  };
  for (const Split split : {Split::test, Split::train})
    for (const bool trains : {false, true}) {
      const Made at_once = attack(0, split, trains), by_chunks = attack(1, split, trains);
      ASSERT_TRUE(same_bits(by_chunks.gradient, at_once.gradient));
      for (std::size_t k = 0; k < members.size(); ++k) {
        SCOPED_TRACE(fmt::format("member {}, split {}", members[k], static_cast<int>(split)));
        ASSERT_TRUE(same_bits(by_chunks.perturbed[k].perturbation, at_once.perturbed[k].perturbation));
        ASSERT_TRUE(same_bits(by_chunks.perturbed[k].logits, at_once.perturbed[k].logits));
        ASSERT_TRUE(same_bits(by_chunks.perturbed[k].tracked, at_once.perturbed[k].tracked));
        ASSERT_TRUE(same_bits(by_chunks.universal[k], at_once.universal[k]));
        EXPECT_EQ(by_chunks.scores[k].correct, at_once.scores[k].correct);
        ASSERT_TRUE(same_bits({&by_chunks.scores[k].loss, 1}, {&at_once.scores[k].loss, 1}));
        EXPECT_EQ(by_chunks.scores[k].auc, at_once.scores[k].auc);
      }
    }
}

}  // namespace
}  // namespace occam::test
