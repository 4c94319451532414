// Claim: the attacks do what their definitions say: they stay inside the ball and the bounds, and reach the
// optimum where it is known.
#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "law/attack.hpp"
#include "occam/attack.hpp"
#include "occam/error.hpp"
#include "support/attack_twin.hpp"
#include "support/attacked.hpp"
#include "support/compare.hpp"
#include "support/message_of.hpp"

namespace occam::test {
namespace {

double length(std::span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += double{value} * value;
  return std::sqrt(sum);
}

TEST(Attack, NoRadiusNoPerturbation) {
  Attacked model(network(5, {9}), clouds_data({5, 2, 20, 0, 30}, 3));
  for (const Norm norm : {Norm::l2, Norm::linf}) {
    const Perturbed made = model.pgd({.norm = norm, .epsilon = 0, .lower = -9, .upper = 9, .restarts = 2});
    for (const float value : made.perturbation) EXPECT_EQ(std::signbit(value) || value != 0.0f, false);
    const Logits plain = logits(model.models, 0, model.data, {});
    EXPECT_TRUE(same_bits(made.logits, plain.values));
  }
}

// A gradient that vanishes leaves nothing to project, and 0/0 is no number.
TEST(Attack, NoRadiusNoUniversalPerturbation) {
  for (const Norm norm : {Norm::l2, Norm::linf})
    for (const float slope : {0.0f, 2.0f}) {
      const std::vector<float> gradient(5, slope);
      std::vector<float> universal(5, 0.0f);
      law::universal_step(law::attack_constants(AsUap{.norm = norm, .epsilon = 0, .step = 0.1}), 5,
                          gradient.data(), universal.data());
      for (const float value : universal) EXPECT_EQ(value, 0.0f);
    }
}

// What fp32 takes for 0 is 0.
TEST(Attack, ARadiusOfNothingInFp32) {
  Attacked model(network(5, {9}), clouds_data({5, 2, 20, 0, 30}, 3));
  const Pgd none{.epsilon = 0, .lower = -9, .upper = 9, .minimal = true};
  Pgd tiny = none;
  tiny.epsilon = 1e-60;
  EXPECT_TRUE(same_bits(model.pgd(none).perturbation, model.pgd(tiny).perturbation));
}

TEST(Attack, StaysInsideTheBallAndTheBounds) {
  for (const Norm norm : {Norm::l2, Norm::linf}) {
    Attacked model(network(5, {9}, Activation::relu), clouds_data({5, 2, 20, 0, 200}, 3));
    const HostTable rows = model.rows();
    const auto [low, high] = std::ranges::minmax(rows.x);
    const Pgd settings{
        .norm = norm, .epsilon = 0.8, .step = 0.3, .iterations = 12, .lower = low, .upper = high};
    const Perturbed made = model.pgd(settings);
    bool touched = false, full = false;
    for (std::size_t i = 0; i < made.perturbation.size(); ++i) {
      const float moved = rows.x[i] + made.perturbation[i];
      EXPECT_GE(moved, low - std::abs(low) * 1.2e-7f);
      EXPECT_LE(moved, high + std::abs(high) * 1.2e-7f);
      touched |= moved == low || moved == high;
      if (norm == Norm::linf) {
        EXPECT_LE(std::abs(made.perturbation[i]), 0.8f);
      }
    }
    for (std::size_t row = 0; row < 200; ++row) {
      const double norm_of_row = length(std::span(made.perturbation).subspan(row * 5, 5));
      if (norm == Norm::l2) {
        EXPECT_LE(norm_of_row, 0.8 * (1 + 1e-6));
      }
      full |= norm_of_row > 0.79;
    }
    EXPECT_TRUE(touched && full) << "the case must reach its edges";
  }
}

TEST(Attack, RestartsNeverLowerTheLoss) {
  Attacked model(network(5, {9}, Activation::relu), clouds_data({5, 2, 20, 0, 300}, 3));
  const std::vector<std::int32_t> y = labels(model.data, Split::test);
  Pgd settings{.epsilon = 0.6, .step = 0.4, .iterations = 2, .lower = -9, .upper = 9, .start = 0.5};
  std::vector<float> before;
  int raised = 0;
  for (int restarts = 1; restarts <= 4; ++restarts) {
    settings.restarts = restarts;
    const Perturbed made = model.pgd(settings);
    std::vector<float> loss;
    for (std::size_t row = 0; row < y.size(); ++row)
      loss.push_back(law::sample_loss(Loss::cross_entropy, &made.logits[2 * row], 2, y[row]));
    for (std::size_t row = 0; row < before.size(); ++row) {
      EXPECT_GE(loss[row], before[row]);
      raised += loss[row] > before[row];
    }
    before = loss;
  }
  EXPECT_GT(raised, 0);
}

// The random start moves every row, as in the original; from there on a misclassified row is only clamped.
TEST(Attack, MinimalStepsOnlyWhatIsStillRight) {
  for (const Norm norm : {Norm::l2, Norm::linf})
    for (const double start : {Pgd{}.start, 0.0}) {
      Attacked model(network(5, {9}, Activation::relu), clouds_data({5, 2, 20, 0, 300}, 3));
      const HostTable rows = model.rows();
      const auto [low, high] = std::ranges::minmax(rows.x);
      Pgd settings{.norm = norm, .epsilon = 0.01, .step = 0.1, .iterations = 400, .lower = low};
      settings.upper = high, settings.start = start, settings.minimal = true, settings.track = true;
      const Perturbed made = model.pgd(settings);
      int kept = 0, beyond = 0, wrong = 0;
      for (std::size_t row = 0; row < 300; ++row) {
        const bool starts_wrong = law::predicted_class(&made.tracked[2 * row], 2) != rows.y[row];
        const double moved = length(std::span(made.perturbation).subspan(5 * row, 5));
        if (starts_wrong) {
          EXPECT_LE(moved, start * std::sqrt(5.0));
          EXPECT_TRUE(moved > 0 || start == 0);
        } else {
          EXPECT_GT(moved, 0.05);
        }
        kept += starts_wrong, beyond += moved > 0.02;
        wrong += law::predicted_class(&made.logits[2 * row], 2) != rows.y[row];
      }
      for (std::size_t i = 0; i < rows.x.size(); ++i) {
        EXPECT_GE(rows.x[i] + made.perturbation[i], low - 1e-6f);
        EXPECT_LE(rows.x[i] + made.perturbation[i], high + 1e-6f);
      }
      EXPECT_GT(kept, 10);
      EXPECT_GT(beyond, 10) << "minimal does not project";
      EXPECT_GT(wrong, 200);
    }
}

// For f(x) = w·x + b the worst point of a ball is at −(2y − 1) ε w/‖w‖, or sign by sign.
TEST(Attack, LinearModelsAreBeatenInClosedForm) {
  Attacked model(network(7, {}), clouds_data({7, 2, 20, 0, 60}, 3));
  const std::span<const float> p = model.models.last(0);
  std::vector<double> w;
  for (std::size_t k = 0; k < 7; ++k) w.push_back(double{p[7 + k]} - p[k]);
  double norm = 0;
  for (double value : w) norm += value * value;
  norm = std::sqrt(norm);
  const std::vector<std::int32_t> y = labels(model.data, Split::test);
  const Perturbed l2 = model.pgd({.epsilon = 0.5, .step = 0.2, .iterations = 30, .lower = -9, .upper = 9});
  const Perturbed linf =
      model.pgd({.norm = Norm::linf, .epsilon = 0.5, .step = 0.2, .iterations = 30, .lower = -9, .upper = 9});
  for (std::size_t row = 0; row < 60; ++row)
    for (std::size_t k = 0; k < 7; ++k) {
      const double sign = y[row] != 0 ? -1 : 1;
      EXPECT_NEAR(l2.perturbation[7 * row + k], sign * 0.5 * w[k] / norm, 1e-4);
      EXPECT_FLOAT_EQ(linf.perturbation[7 * row + k], static_cast<float>(sign * (w[k] > 0 ? 0.5 : -0.5)));
    }

  AttackSuite suite{.svd_uap = SvdUap{{.epsilon = 0.5, .step = 0.2, .lower = -9, .upper = 9}, 0.7},
                    .as_uap = AsUap{.epsilon = 0.7, .lower = -9, .upper = 9}};
  const AttackResult made = model.run(suite);
  for (const std::optional<Universal>* universal : {&made.svd_uap, &made.as_uap})
    for (std::size_t k = 0; k < 7; ++k) EXPECT_NEAR((*universal)->perturbation[k], -0.7 * w[k] / norm, 2e-4);
  EXPECT_GT(made.svd_uap->singular_values[0], 10 * made.svd_uap->singular_values[1]);
  AttackSuite uniform{.as_uap = AsUap{.norm = Norm::linf, .epsilon = 0.7, .lower = -9, .upper = 9}};
  const AttackResult signs = model.run(uniform);
  for (std::size_t k = 0; k < 7; ++k) EXPECT_FLOAT_EQ(signs.as_uap->perturbation[k], w[k] > 0 ? -0.7f : 0.7f);
}

// Of the two signs the one that leaves the lower accuracy.
TEST(Attack, SingularVectorsTakeTheWorseSign) {
  Attacked model(network(6, {8}, Activation::relu), clouds_data({6, 2, 20, 0, 150}, 8));
  SvdUap settings{{.epsilon = 0.5, .step = 0.2, .lower = -9, .upper = 9}, 0.9};
  const AttackResult made = model.run({.svd_uap = settings});
  const HostTable rows = model.rows();
  double accuracy[2];
  for (int sign = 0; sign < 2; ++sign) {
    std::vector<float> universal = made.svd_uap->perturbation;
    if (sign == 1)
      for (float& value : universal) value = -value;
    const std::vector<float> moved = occam::shifted(rows.x, rows.y, 2, universal, -9, 9);
    const std::vector<float> of = logits(model.models, 0, moved);
    int correct = 0;
    for (std::size_t row = 0; row < rows.y.size(); ++row)
      correct += law::predicted_class(&of[2 * row], 2) == rows.y[row];
    accuracy[sign] = correct / 150.0;
  }
  EXPECT_EQ(made.svd_uap->score.accuracy, accuracy[0]);
  EXPECT_LT(accuracy[0], accuracy[1]);
  EXPECT_NEAR(length(made.svd_uap->perturbation), 0.9, 1e-5);
}

// A classifier of the caller's own, here the twin, meets what an ensemble's member does.
TEST(Attack, SingularVectorsOfAnyClassifier) {
  for (const int classes : {2, 3}) {
    Attacked model(network(6, {8}, Activation::relu, classes), clouds_data({6, classes, 20, 0, 150}, 8));
    const SvdUap settings{{.epsilon = 0.5, .step = 0.2, .lower = -9, .upper = 9}, 0.9};
    const Universal made = *model.run({.svd_uap = settings}).svd_uap;
    const Universal own =
        fit_universal(ScalarTwin(model.spec, {}, 1, model.models.last(0)), model.rows(), settings);
    EXPECT_TRUE(same_bits(own.perturbation, made.perturbation));
    EXPECT_EQ(own.singular_values, made.singular_values);
    EXPECT_EQ(own.score.accuracy, made.score.accuracy);
    EXPECT_EQ(own.score.loss, made.score.loss);
    EXPECT_EQ(own.score.auc, made.score.auc);
  }
}

// Three runs, and batches of 64, 64 and 22 rows.
TEST(Attack, PlainLoopsOfAnyClassifierAreTheEngines) {
  Attacked model(network(6, {8}, Activation::relu), clouds_data({6, 2, 20, 0, 150}, 8));
  const Pgd pgd{.epsilon = 0.5,
                .step = 0.2,
                .iterations = 3,
                .lower = -9,
                .upper = 9,
                .start = 0.5,
                .restarts = 3,
                .batch = 64};
  const AsUap uap{.epsilon = 0.7, .lower = -9, .upper = 9, .batch = 64};
  for (const bool tied : {false, true}) {  // where all runs have one loss, the last one counts
    if (tied) std::ranges::fill(model.models.last(0), 0.0f);
    const ScalarTwin twin(model.spec, {}, 1, model.models.last(0));
    const Perturbed own = perturb(twin, model.rows(), pgd), made = model.pgd(pgd);
    EXPECT_TRUE(same_bits(own.perturbation, made.perturbation)) << tied;
    EXPECT_TRUE(same_bits(own.logits, made.logits)) << tied;
    EXPECT_TRUE(
        same_bits(fit_universal(twin, model.rows(), uap), model.run({.as_uap = uap}).as_uap->perturbation))
        << tied;
  }
}

TEST(Attack, SettingsForAnyClassifierAreChecked) {
  Attacked model(network(6, {8}, Activation::relu, 2), clouds_data({6, 2, 20, 0, 30}, 8));
  const ScalarTwin twin(model.spec, {}, 1, model.models.last(0));
  const auto refused = [&](const auto& attack) {
    EXPECT_EQ(message_of(ErrorKind::usage, [&] { attack(); }), "attack batch: 0 is outside 1 … 1048576");
  };
  const Pgd pgd{.epsilon = 0.5, .step = 0.2, .lower = -9, .upper = 9, .batch = 0};
  refused([&] { perturb(twin, model.rows(), pgd); });
  refused([&] { fit_universal(twin, model.rows(), SvdUap{pgd, 0.9}); });
  refused([&] { fit_universal(twin, model.rows(), AsUap{.lower = -9, .upper = 9, .batch = 0}); });
}

// Squares of longer ones are no fp32 numbers.
TEST(Attack, LengthsInUnitsOfAWideRangeAreRefused) {
  ArrayData::Table table = clouds({4, 2, 8, 0, 8}, 1);
  for (float& value : table.x) value *= 1e20f;
  const MlpEnsemble models(network(4, {5}, Activation::relu), {Seeds{}}, cpu(1));
  const std::vector<Data> data = {ArrayData{shared(table), 1}};
  for (const bool svd : {false, true}) {
    AttackSuite suite{.in_range_units = true};
    if (svd)
      suite.svd_uap = SvdUap{};
    else
      suite.pgd = Pgd{};
    try {
      attack(models, data, {&suite, 1}, [](int, AttackResult&&) {});
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("in units of the range of the data"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Attack, ThreadsAndCompanyChangeNothing) {
  const MlpSpec spec = network(9, {20}, Activation::relu);
  const SlabSpec slab{.coordinates = slab_coordinates({9, 1, 0, 8, 0}), .train = 50, .test = 333};
  const std::vector<Data> data = slab_data(slab, {4, 5, 6});
  const AttackSuite suite{.pgd = Pgd{.epsilon = 0.3, .restarts = 2},
                          .svd_uap = SvdUap{},
                          .as_uap = AsUap{},
                          .in_range_units = true};
  const auto run = [&](std::span<const Data> some, std::uint32_t first, int threads) {
    std::vector<Seeds> seeds;
    for (std::size_t i = 0; i < some.size(); ++i)
      seeds.push_back({0, first + static_cast<std::uint32_t>(i), 0});
    const MlpEnsemble models(spec, seeds, cpu(threads));
    std::vector<AttackResult> results(some.size());
    attack(models, some, std::vector<AttackSuite>(some.size(), suite),
           [&](int m, AttackResult&& made) { results[static_cast<std::size_t>(m)] = std::move(made); });
    return results;
  };
  const std::vector<AttackResult> together = run(data, 10, 2);
  for (std::uint32_t m = 0; m < 3; ++m)
    for (const int threads : {1, 2, 3}) {
      const std::vector<AttackResult> results = run(std::span(data).subspan(m, 1), 10 + m, threads);
      const AttackResult& alone = results[0];
      EXPECT_TRUE(same_bits(alone.pgd->perturbation, together[m].pgd->perturbation));
      EXPECT_TRUE(same_bits(alone.svd_uap->perturbation, together[m].svd_uap->perturbation));
      EXPECT_TRUE(same_bits(alone.as_uap->perturbation, together[m].as_uap->perturbation));
      EXPECT_EQ(alone.as_uap->score.accuracy, together[m].as_uap->score.accuracy);
    }
}

TEST(Attack, TheBestModelIsAttackedWhereItIsWanted) {
  const MlpSpec spec = network(9, {20}, Activation::relu);
  const SlabSpec slab{.coordinates = slab_coordinates({9, 1, 0, 8, 0}), .train = 50, .test = 60};
  const std::vector<Data> data = slab_data(slab, {4, 5, 6, 7, 8});
  MlpEnsemble models(spec, {{0, 1, 0}, {0, 2, 0}, {0, 3, 0}, {0, 4, 0}, {0, 5, 0}}, cpu(2));
  const MlpEnsemble others(spec, {{0, 11, 0}, {0, 12, 0}, {0, 13, 0}, {0, 14, 0}, {0, 15, 0}}, cpu(2));
  for (int m = 0; m < models.members(); ++m) std::ranges::copy(others.last(m), models.best(m).begin());
  const auto run = [&](const MlpEnsemble& of, Which which) {
    std::vector<std::vector<float>> perturbations(5);
    attack(
        of, data, std::vector<AttackSuite>(5, {.pgd = Pgd{.epsilon = 0.3}, .in_range_units = true}),
        [&](int m, AttackResult&& made) {
          perturbations[static_cast<std::size_t>(m)] = std::move(made.pgd->perturbation);
        },
        which);
    return perturbations;
  };
  EXPECT_EQ(run(models, Which::best), run(others, Which::last));
  EXPECT_NE(run(models, Which::best), run(models, Which::last));
}

TEST(Attack, TracksTheLogitsBeforeEachStep) {
  Attacked model(network(5, {9}), clouds_data({5, 2, 20, 0, 70}, 3));
  Pgd settings{.epsilon = 0.3, .iterations = 4, .lower = -9, .upper = 9, .track = true};
  const Perturbed made = model.pgd(settings);
  ASSERT_EQ(made.tracked.size(), std::size_t{4 * 70 * 2});
  for (int iterations = 1; iterations < 4; ++iterations) {
    settings.iterations = iterations, settings.track = false;
    const Perturbed shorter = model.pgd(settings);
    EXPECT_TRUE(same_bits(std::span(made.tracked).subspan(static_cast<std::size_t>(iterations) * 140, 140),
                          shorter.logits));
  }
}

TEST(Attack, ShareOfACoordinate) {
  const std::vector<float> rotation = {0.6f, 0.8f, -0.8f, 0.6f};  // rows: where each coordinate points
  const int zero[] = {0}, both[] = {0, 1};
  EXPECT_NEAR(perturbation_share(std::vector<float>{0.6f, 0.8f, -3.0f, -4.0f, 0, 0}, rotation, 2, zero), 1,
              1e-6);
  EXPECT_NEAR(perturbation_share(std::vector<float>{1, 0, 0, 1}, rotation, 2, zero), 0.7, 1e-6);
  EXPECT_NEAR(perturbation_share(std::vector<float>{1, 0, 5, 1}, rotation, 2, both), 1, 1e-6);
  EXPECT_NEAR(perturbation_share(std::vector<float>{3, 4}, {}, 2, zero), 0.6, 1e-6);
  EXPECT_TRUE(std::isnan(perturbation_share(std::vector<float>{0, 0}, rotation, 2, zero)));
  const int two[] = {2};
  const std::vector<float> three = {1, 2, 3}, pair = {1, 2};
  EXPECT_THROW(perturbation_share(three, rotation, 2, zero), Error);
  EXPECT_THROW(perturbation_share(pair, rotation, 0, zero), Error);
  EXPECT_THROW(perturbation_share(pair, rotation, 2, two), Error);
  EXPECT_THROW(perturbation_share(pair, three, 2, zero), Error);
}

TEST(Attack, RowsAndLabelsMustFit) {
  const std::vector<float> x = {1, 2, 3, 4}, universal = {1, 1};
  const std::vector<std::int32_t> y = {0, 1}, one = {0}, high = {0, 2}, low = {-1, 0};
  EXPECT_EQ(occam::shifted(x, y, 2, universal, -9, 9), (std::vector<float>{0, 1, 4, 5}));
  for (const auto& bad : {one, high, low}) EXPECT_THROW(occam::shifted(x, bad, 2, universal, -9, 9), Error);
  EXPECT_THROW(occam::shifted(x, y, 2, {}, -9, 9), Error);
}

TEST(Attack, RefusesWhatIsImpossible) {
  Attacked model(network(5, {3}, Activation::relu, 3), clouds_data({5, 3, 20, 0, 30}, 3));
  const auto refused = [&](const AttackSuite& suite, const std::string& part) {
    try {
      model.run(suite);
      ADD_FAILURE() << "not refused: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const Pgd good{.lower = -9, .upper = 9};
  const auto pgd = [&](auto change) {
    Pgd bad = good;
    change(bad);
    return AttackSuite{.pgd = bad};
  };
  refused(pgd([](Pgd& a) { a.epsilon = -0.1; }), "epsilon: -0.1 is negative");
  refused(pgd([](Pgd& a) { a.epsilon = std::numeric_limits<double>::quiet_NaN(); }), "epsilon: nan");
  refused(pgd([](Pgd& a) { a.step = 0; }), "step: 0");
  refused(pgd([](Pgd& a) { a.iterations = 0; }), "iterations: 0");
  refused(pgd([](Pgd& a) { a.lower = 2, a.upper = 1; }), "bounds: [2, 1]");
  refused(pgd([](Pgd& a) { a.lower = 0; }), "exclude the data");
  refused(pgd([](Pgd& a) { a.loss = AttackLoss::binary_hybrid; }),
          "binary-hybrid is for two classes, the data have 3");
  refused(pgd([](Pgd& a) { a.loss = AttackLoss::targeted, a.target = 3; }), "target: 3 is no class");
  EXPECT_NO_THROW(validate(Pgd{.loss = AttackLoss::targeted, .target = 0}, 3));
  refused(pgd([](Pgd& a) { a.restarts = 0; }), "restarts: 0");
  refused(pgd([](Pgd& a) { a.restarts = 2, a.track = true; }), "tracked");
  refused(pgd([](Pgd& a) { a.batch = 0; }), "batch: 0");
  refused({.svd_uap = SvdUap{good, -1}}, "SVD-UAP: -1");
  refused({.as_uap = AsUap{.loss = AttackLoss::plus_one, .lower = -9, .upper = 9}}, "plus-one");
  refused({.as_uap = AsUap{.epochs = 0, .lower = -9, .upper = 9}}, "epochs: 0");
}

}  // namespace
}  // namespace occam::test
