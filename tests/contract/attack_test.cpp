// Claim: input gradients, PGD, AS-UAP and scores under a universal perturbation give the scalar twin's bits
// on every body, whatever the network, the members' settings and their company.
#include <algorithm>
#include <atomic>
#include <cmath>

#include <fmt/format.h>

#include "contract/ensembles.hpp"
#include "support/attack_twin.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

class AttackBody : public OnBody {
 protected:
  static std::vector<int> all_members(const Ensemble& e) {
    std::vector<int> members;
    for (int m = e.members() - 1; m >= 0; --m) members.push_back(m);  // any order
    return members;
  }

  static void expect_perturbed(const Ensemble& e, Wave& wave, std::span<const Pgd> attacks) {
    const std::vector<int> members = all_members(e);
    std::vector<Pgd> ordered;
    for (const int m : members) ordered.push_back(attacks[static_cast<std::size_t>(m)]);
    std::vector<Perturbed> out(members.size());
    wave.perturb(members, Split::test, ordered, out);
    for (std::size_t k = 0; k < members.size(); ++k) {
      SCOPED_TRACE(fmt::format("member {}, loss {}, norm {}, minimal {}, {} restarts", members[k],
                               static_cast<int>(ordered[k].loss), static_cast<int>(ordered[k].norm),
                               ordered[k].minimal, ordered[k].restarts));
      const HostTable rows = materialize(e.data[static_cast<std::size_t>(members[k])], Split::test);
      const Perturbed expected = perturb(twin_of(e, members[k]), rows, ordered[k]);
      ASSERT_TRUE(same_bits(out[k].perturbation, expected.perturbation));
      ASSERT_TRUE(same_bits(out[k].logits, expected.logits));
      ASSERT_TRUE(same_bits(out[k].tracked, expected.tracked));
    }
  }

  static void expect_universal(const Ensemble& e, Wave& wave, std::span<const AsUap> attacks) {
    const std::vector<int> members = all_members(e);
    std::vector<AsUap> ordered;
    for (const int m : members) ordered.push_back(attacks[static_cast<std::size_t>(m)]);
    std::vector<std::vector<float>> out(members.size());
    wave.fit_universal(members, Split::test, ordered, out);
    std::vector<Shift> shifts;
    for (std::size_t k = 0; k < members.size(); ++k)
      shifts.push_back({out[k], ordered[k].lower, ordered[k].upper});
    std::vector<WaveScore> scores(members.size());
    wave.score(members, Split::test, shifts, true, scores);
    for (std::size_t k = 0; k < members.size(); ++k) {
      SCOPED_TRACE(members[k]);
      const ScalarTwin twin = twin_of(e, members[k]);
      const HostTable rows = materialize(e.data[static_cast<std::size_t>(members[k])], Split::test);
      const std::vector<float> expected = fit_universal(twin, rows, ordered[k]);
      ASSERT_TRUE(same_bits(out[k], expected));
      const HostTable moved = shifted(rows, e.spec.classes, expected, ordered[k].lower, ordered[k].upper);
      const ScalarTwin::Score score = twin.score(moved);
      EXPECT_EQ(scores[k].correct, score.correct);
      ASSERT_TRUE(same_bits({&scores[k].loss, 1}, {&score.loss, 1}));
      const std::vector<double> auc = roc_aucs(twin.logits(moved.x), e.spec.outputs(), moved.y);
      ASSERT_EQ(scores[k].auc.size(), auc.size());
      for (std::size_t c = 0; c < auc.size(); ++c)
        EXPECT_TRUE(scores[k].auc[c] == auc[c] || (std::isnan(auc[c]) && std::isnan(scores[k].auc[c])));
    }
  }

  // Settings that differ from member to member, each of them reached for some number.
  static Pgd drawn_pgd(std::uint32_t number, const MlpSpec& spec) {
    constexpr AttackLoss kLosses[] = {AttackLoss::untargeted,      AttackLoss::targeted,
                                      AttackLoss::random_targeted, AttackLoss::plus_one,
                                      AttackLoss::binary_targeted, AttackLoss::binary_hybrid};
    Pgd attack;
    attack.norm = number % 2 == 0 ? Norm::l2 : Norm::linf;
    attack.loss = kLosses[number / 2 % (spec.classes == 2 ? 6 : 4)];
    // The least of them is 0 in fp32.
    attack.epsilon = number % 7 == 3 ? 0.0 : number % 13 == 8 ? 1e-60 : 0.1 + 0.2 * (number % 5);
    attack.step = 0.05 + 0.03 * (number % 3);
    attack.iterations = 1 + static_cast<int>(number % 4);
    attack.lower = -2.5, attack.upper = number % 3 == 0 ? 0.5 : 2.5;
    attack.start = number % 5 == 4 ? 0.0 : 1e-2;
    attack.minimal = number % 4 == 1;
    attack.track = number % 6 == 2;
    attack.restarts = attack.track || attack.minimal ? 1 : 1 + static_cast<int>(number % 3);
    attack.target = static_cast<int>(number) % spec.classes;
    attack.batch = number % 2 == 0 ? 16 : 7;
    attack.seed = number;
    return attack;
  }
  static AsUap drawn_uap(std::uint32_t number, const MlpSpec& spec) {
    constexpr AttackLoss kLosses[] = {AttackLoss::untargeted, AttackLoss::targeted,
                                      AttackLoss::binary_targeted, AttackLoss::binary_hybrid};
    AsUap attack;
    attack.norm = number % 2 == 0 ? Norm::l2 : Norm::linf;
    attack.loss = kLosses[number / 2 % (spec.classes == 2 ? 4 : 2)];
    attack.epsilon = number % 7 == 3 ? 0.0 : 0.2 + 0.1 * (number % 5), attack.step = 0.07;
    attack.iterations = 1 + static_cast<int>(number % 3), attack.epochs = 1 + static_cast<int>(number % 2);
    attack.lower = -1.5, attack.upper = 1.0;
    attack.target = static_cast<int>(number) % spec.classes;
    attack.batch = number % 3 == 0 ? 32 : 9;
    return attack;
  }
};
OCCAM_ON_EVERY_BODY(AttackBody);

TEST_P(AttackBody, InputGradients) {
  for (std::uint32_t number = 0; number < (is_slow() ? 10u : 30u); ++number) {
    const Ensemble e =
        drawn_ensemble(1300 + number, {.widest = is_slow() ? 33 : 150, .largest_batch = 16, .members = 2});
    SCOPED_TRACE(describe(e));
    const auto backend = make();
    const auto wave = open_loaded(*backend, e, false);
    for (int m = 0; m < e.members(); ++m) {
      const HostTable rows = materialize(e.data[static_cast<std::size_t>(m)], Split::test);
      const ScalarTwin twin = twin_of(e, m);
      std::vector<float> logit_gradient = twin.logits(rows.x);  // any numbers
      for (float& value : logit_gradient) value = 0.3f - value;
      std::vector<float> gradient(rows.x.size());
      wave->input_gradient(m, rows.x, logit_gradient, gradient);
      ASSERT_TRUE(same_bits(gradient, twin.input_gradient(rows.x, logit_gradient)));
    }
  }
}

TEST_P(AttackBody, DrawnNetworksAndSettings) {
  for (std::uint32_t number = 0; number < (is_slow() ? 24u : 60u); ++number) {
    const Ensemble e =
        drawn_ensemble(1400 + number, {.widest = is_slow() ? 33 : 70, .largest_batch = 16, .members = 3});
    SCOPED_TRACE(fmt::format("{}: {}", number, describe(e)));
    std::vector<Pgd> attacks;
    std::vector<AsUap> universals;
    for (int m = 0; m < e.members(); ++m) {
      attacks.push_back(drawn_pgd(number + 5 * static_cast<std::uint32_t>(m), e.spec));
      universals.push_back(drawn_uap(number + 3 * static_cast<std::uint32_t>(m), e.spec));
    }
    const auto backend = make();
    const auto wave = open_loaded(*backend, e, false);
    ASSERT_NO_FATAL_FAILURE(expect_perturbed(e, *wave, attacks));
    ASSERT_NO_FATAL_FAILURE(expect_universal(e, *wave, universals));
  }
}

// Rows around the tiles' and the batch's sizes.
TEST_P(AttackBody, RowsAroundTheTiles) {
  for (const std::int64_t rows : {1, 15, 16, 17, 63, 64, 65, 130}) {
    if (is_slow() && rows > 65) continue;
    SCOPED_TRACE(rows);
    Ensemble e{.spec = {.inputs = 6, .hidden = {33}}};
    Training training;
    training.batch = 16;
    e.add(slabs(6, 20, 0, rows, true, 7), training, 8);
    e.add(slabs(6, 20, 0, 17, true, 9), training, 10);
    const Pgd attack{.epsilon = 0.7, .step = 0.2, .iterations = 2, .lower = -2, .upper = 2, .batch = 64};
    const AsUap universal{
        .epsilon = 0.7, .step = 0.2, .iterations = 2, .epochs = 1, .lower = -2, .upper = 2, .batch = 64};
    for (const std::size_t limit : shared_limits(std::size_t{12} << 10)) {
      const auto backend = make(0, limit);
      const auto wave = open_loaded(*backend, e, false);
      ASSERT_NO_FATAL_FAILURE(expect_perturbed(e, *wave, std::vector<Pgd>(2, attack)));
      ASSERT_NO_FATAL_FAILURE(expect_universal(e, *wave, std::vector<AsUap>(2, universal)));
    }
  }
}

// Logits of −0, to which a product of anything with the padding of weights, +0, would add +0: what stands behind the last
// feature of a row is −0 before every product.
TEST_P(AttackBody, PaddingIsNoFeature) {
  constexpr int kUnits = 9, kPositive = 7;  // the units from here on have an activation of 1
  for (const int inputs : {6, 12}) {
    SCOPED_TRACE(inputs);
    Ensemble e{.spec = {.inputs = inputs, .hidden = {kUnits}}};
    ArrayData::Table table = clouds({inputs, 2, 8, 0, 5}, 7);
    for (std::size_t i = 0; i < table.x.size(); ++i)
      table.x[i] = static_cast<int>(i) % inputs < kUnits ? 0.0f : 1.0f;
    std::ranges::fill(table.y, 1);  // where logits are equal class 0 is predicted, so no row moves
    e.add(ArrayData{shared(table), 1}, Training{}, 8);
    const ParameterLayout layout(e.spec);
    std::vector<float>& p = e.start[0] = std::vector<float>(static_cast<std::size_t>(layout.total), -0.0f);
    const auto first = static_cast<std::size_t>(layout.layers[0].weight),
               last = static_cast<std::size_t>(layout.layers[1].weight);
    for (std::size_t unit = 0; unit < kUnits; ++unit) {
      for (std::size_t k = 0; k < static_cast<std::size_t>(std::min(inputs, kUnits)); ++k)
        p[first + unit * static_cast<std::size_t>(inputs) + k] = -1.0f;
      if (unit >= kPositive) p[static_cast<std::size_t>(layout.layers[0].bias) + unit] = 1.0f;
      if (unit < kPositive) p[last + unit] = p[last + kUnits + unit] = 1.0f;
    }
    Pgd attack{.epsilon = 0.5, .iterations = 3, .lower = -2, .upper = 2};
    attack.minimal = true, attack.start = 0;
    const auto backend = make();
    const auto wave = open_loaded(*backend, e, false);
    std::vector<Perturbed> out(1);
    wave->perturb(std::vector<int>{0}, Split::test, {&attack, 1}, out);
    EXPECT_TRUE(std::ranges::all_of(out[0].logits, [](float z) { return z == 0 && std::signbit(z); }));
    ASSERT_NO_FATAL_FAILURE(expect_perturbed(e, *wave, {&attack, 1}));
  }
}

// As many members as it takes to do their steps on the chip, where launches do those of few; batches of several slices
// and the rest of one, more steps than a launch does.
TEST_P(AttackBody, UniversalOfManyMembers) {
  const bool on_gpu = GetParam() == Body::cuda || GetParam() == Body::cuda_tiled;
  const std::uint32_t members =
      on_gpu ? 34 : 3;  // times 4 is more than the multiprocessors, an H200's or the executor's
  struct Case {
    MlpSpec spec;
    std::int64_t rows;
    int batch, iterations;
    bool all_members;
  };
  const Case cases[] = {
      {{.inputs = 6, .hidden = {9}}, 300, 256, 2, false},
      {{.inputs = 50, .hidden = {20, 17}, .activation = Activation::tanh}, 150, 140, 2, false},
      {{.inputs = 5, .hidden = {7}, .classes = 3, .activation = Activation::prelu, .batch_norm = true},
       40,
       9,
       3,
       true},
      {{.inputs = 3, .hidden = {6}}, 18, 2, 57, true}};  // 513 steps, one more than a launch does
  for (const Case& one : cases) {
    Ensemble e{.spec = one.spec};
    SCOPED_TRACE(describe({.spec = e.spec, .trainings = {Training{}}}));
    for (std::uint32_t m = 0; m < members; ++m) {
      const std::int64_t rows = one.all_members || m < 2 ? one.rows : 3;
      e.add(one.spec.classes == 2 ? Data{slabs(one.spec.inputs, 8, 0, rows, true, m)}
                                  : clouds_data({one.spec.inputs, 3, 8, 0, rows}, m),
            Training{}, m);
    }
    std::vector<AsUap> attacks;
    for (std::uint32_t m = 0; m < members; ++m) {
      AsUap attack = drawn_uap(m, e.spec);
      attack.batch = one.batch, attack.iterations = one.iterations;
      attacks.push_back(attack);
    }
    for (const std::size_t limit : shared_limits(std::size_t{28} << 10)) {
      const auto backend = make(0, limit);
      const auto wave = open_loaded(*backend, e, false);
      ASSERT_NO_FATAL_FAILURE(expect_universal(e, *wave, attacks));
    }
  }
}

// Where no row of a slice takes a step, starts are clamped all the same.
TEST_P(AttackBody, MinimalWhereEveryRowIsMisclassified) {
  Ensemble e{.spec = {.inputs = 6, .hidden = {9}}};
  ArrayData::Table table = clouds({6, 2, 20, 0, 70}, 7);
  for (float& value : table.x) value = std::clamp(value, -0.5f, 0.5f);
  e.add(ArrayData{shared(table), 1}, Training{}, 8);
  const std::vector<float> logits = twin_of(e, 0).logits(materialize(e.data[0], Split::test).x);
  for (std::size_t row = 0; row < 70; ++row) table.y[row] = logits[2 * row] < logits[2 * row + 1] ? 0 : 1;
  e.data[0] = ArrayData{shared(table), 1};
  const auto backend = make();
  const auto wave = open_loaded(*backend, e, false);
  for (const Norm norm : {Norm::l2, Norm::linf}) {
    Pgd attack{.norm = norm, .iterations = 3, .lower = -0.5, .upper = 0.5};
    attack.minimal = true;
    ASSERT_NO_FATAL_FAILURE(expect_perturbed(e, *wave, {&attack, 1}));
    const HostTable rows = materialize(e.data[0], Split::test);
    const Perturbed made = perturb(twin_of(e, 0), rows, attack);
    EXPECT_LE(std::ranges::max(made.perturbation, {}, [](float p) { return std::abs(p); }), 1e-3f);
    EXPECT_GT(std::ranges::count(made.perturbation, 0.0f), 20) << "some rows start beyond the bounds";
  }
}

// Of an attack that takes long a launch has few rows.
TEST_P(AttackBody, MoreIterationsThanALaunchTakes) {
  if (GetParam() != Body::simt_plain && GetParam() != Body::simt_checked && GetParam() != Body::cuda)
    GTEST_SKIP() << "launches do one iteration each";
  Ensemble e{.spec = {.inputs = 5, .hidden = {}}};  // every row is misclassified in the end
  e.add(slabs(5, 20, 0, 700, false, 3), Training{}, 4);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e, false);
  const int member[] = {0};
  std::vector<Perturbed> few(1), many(1);
  Pgd attack{.norm = Norm::l2, .step = 0.5, .iterations = 100, .lower = -1e3, .upper = 1e3};
  attack.minimal = true;
  wave->perturb(member, Split::test, {&attack, 1}, few);
  const HostTable rows = materialize(e.data[0], Split::test);
  ASSERT_EQ(score_of(e.spec.loss, e.spec.outputs(), few[0].logits, rows.y).accuracy, 0);
  attack.iterations = 1'000'000;
  wave->perturb(member, Split::test, {&attack, 1}, many);
  EXPECT_TRUE(same_bits(few[0].perturbation, many[0].perturbation));
  EXPECT_TRUE(same_bits(few[0].logits, many[0].logits));
}

// A request to stop is heeded inside an attack, not behind it.
TEST_P(AttackBody, StopsWhereItIsAskedTo) {
  Ensemble e{.spec = {.inputs = 5, .hidden = {9}}};
  e.add(slabs(5, 20, 0, 130, true, 3), Training{}, 4);
  const auto backend = make();
  std::atomic<bool> stop{false};
  WaveRequest request = e.request(false);
  request.threads = 2, request.interrupt = &stop;
  const auto wave = backend->open(request);
  wave->load(0, e.start[0]);
  const int member[] = {0};
  const Pgd pgd{.iterations = 2, .lower = -2, .upper = 2};
  const AsUap uap{.iterations = 2, .epochs = 1, .lower = -2, .upper = 2};
  std::vector<Perturbed> perturbed(1);
  std::vector<std::vector<float>> universal(1);
  wave->perturb(member, Split::test, {&pgd, 1}, perturbed);
  wave->fit_universal(member, Split::test, {&uap, 1}, universal);
  stop = true;
  EXPECT_THROW(wave->perturb(member, Split::test, {&pgd, 1}, perturbed), Interrupted);
  EXPECT_THROW(wave->fit_universal(member, Split::test, {&uap, 1}, universal), Interrupted);
  stop = false;
  ASSERT_NO_FATAL_FAILURE(expect_perturbed(e, *wave, {&pgd, 1}));
  ASSERT_NO_FATAL_FAILURE(expect_universal(e, *wave, {&uap, 1}));
}

// A member's perturbation does not depend on who is attacked with it.
TEST_P(AttackBody, MembersAlone) {
  Ensemble e{.spec = {.inputs = 5, .hidden = {9}}};
  Training training;
  training.batch = 16;
  for (std::uint32_t m = 0; m < 3; ++m) e.add(slabs(5, 20, 0, 30 + 5 * m, true, m), training, m);
  const std::vector<Pgd> attacks = {drawn_pgd(0, e.spec), drawn_pgd(6, e.spec), drawn_pgd(1, e.spec)};
  const auto backend = make();
  const auto wave = open_loaded(*backend, e, false);
  std::vector<Perturbed> together(3), alone(1);
  wave->perturb(std::vector<int>{0, 1, 2}, Split::test, attacks, together);
  for (int m = 0; m < 3; ++m) {
    wave->perturb(std::vector<int>{m}, Split::test, {&attacks[static_cast<std::size_t>(m)], 1}, alone);
    EXPECT_TRUE(same_bits(alone[0].perturbation, together[static_cast<std::size_t>(m)].perturbation));
    EXPECT_TRUE(varied(alone[0].perturbation, 0.3));
  }
}

}  // namespace
}  // namespace occam::test
