// Every impossible setting is refused at the door, with the field and its value in the message.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/engine.hpp"
#include "occam/error.hpp"
#include "occam/statistics.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

void expect_error(const std::function<void()>& action, const std::vector<std::string>& words,
                  ErrorKind kind = ErrorKind::usage) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown; expected an error with '" << words[0] << "'";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind));
    const std::string message = error.what();
    for (const std::string& word : words)
      EXPECT_NE(message.find(word), std::string::npos) << "'" << word << "' in: " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << "one line: " << message;
  }
}

// ---- architecture ----------------------------------------------------------------------------------------

void expect_spec_error(const std::function<void(MlpSpec&)>& change, const std::vector<std::string>& words) {
  MlpSpec spec;
  EXPECT_NO_THROW(validate(spec));
  change(spec);
  expect_error([&] { validate(spec); }, words);
}

TEST(SpecErrors, Inputs) {
  expect_spec_error([](MlpSpec& s) { s.inputs = 0; }, {"inputs", "0"});
  expect_spec_error([](MlpSpec& s) { s.inputs = -3; }, {"inputs", "-3"});
}
TEST(SpecErrors, Width) {
  expect_spec_error([](MlpSpec& s) { s.hidden = {100, 0}; }, {"width 0", "100x0"});
  expect_spec_error([](MlpSpec& s) { s.hidden = {16385}; }, {"16385"});
}
TEST(SpecErrors, Depth) {
  MlpSpec deepest;
  deepest.hidden.assign(15, 3);  // with the output layer, sixteen linear maps
  EXPECT_NO_THROW(validate(deepest));
  expect_spec_error([](MlpSpec& s) { s.hidden.assign(16, 3); }, {"16 layers"});
}
TEST(SpecErrors, Classes) {
  expect_spec_error([](MlpSpec& s) { s.classes = 1; }, {"classes", "1"});
  expect_spec_error([](MlpSpec& s) { s.classes = 257; }, {"classes", "257"});
}
TEST(SpecErrors, OneLogitWithManyClasses) {
  for (const Loss loss : {Loss::binary_cross_entropy, Loss::hinge})
    expect_spec_error([&](MlpSpec& s) { s.classes = 3, s.loss = loss; }, {"2 classes", "3"});
}
TEST(SpecErrors, AnEnsembleValidatesToo) {
  expect_error([] { MlpEnsemble({.inputs = 0}, {{1, 1, 1}}, cpu()); }, {"inputs"});
}
TEST(SpecErrors, NoMembers) {
  expect_error([] { MlpEnsemble({.inputs = 3}, std::vector<Seeds>{}, cpu()); }, {"no members"});
}
TEST(SpecErrors, InitializationsForOtherMembers) {
  expect_error(
      [] {
        MlpEnsemble({.inputs = 3}, {{1, 1, 1}, {2, 2, 2}}, {Initialization{}}, cpu());
      },
      {"1", "2 members"});
}
TEST(SpecErrors, InitializationScale) {
  for (const double scale : {-1.0, kNan, HUGE_VAL})
    expect_error(
        [&] {
          MlpEnsemble({.inputs = 3}, {{1, 1, 1}}, {Initialization{.scale = scale}}, cpu());
        },
        {"scale"});
}

// ---- training --------------------------------------------------------------------------------------------

void expect_training_error(const std::function<void(Training&)>& change,
                           const std::vector<std::string>& words) {
  Training training;
  EXPECT_NO_THROW(validate(training, 1000, MlpSpec{}));
  change(training);
  expect_error([&] { validate(training, 1000, MlpSpec{}); }, words);
}

TEST(TrainingErrors, LearningRate) {
  for (const double bad : {-0.1, kNan, HUGE_VAL})
    expect_training_error([&](Training& t) { t.optimizer.learning_rate = bad; }, {"lr"});
}
TEST(TrainingErrors, Momentum) {
  expect_training_error([](Training& t) { t.optimizer.momentum = 1.0; }, {"momentum", "1"});
  expect_training_error([](Training& t) { t.optimizer.momentum = -0.5; }, {"momentum", "-0.5"});
  expect_training_error([](Training& t) { t.optimizer.momentum = kNan; }, {"momentum"});
}
TEST(TrainingErrors, WeightDecay) {
  for (const double bad : {-1e-5, kNan, HUGE_VAL})
    expect_training_error([&](Training& t) { t.optimizer.weight_decay = bad; }, {"weight decay"});
}
TEST(TrainingErrors, Betas) {
  expect_training_error([](Training& t) { t.optimizer.beta1 = 1.0; }, {"beta1"});
  expect_training_error([](Training& t) { t.optimizer.beta2 = -0.1; }, {"beta2", "-0.1"});
  Training none;
  none.optimizer.kind = OptimizerKind::adam, none.optimizer.beta1 = none.optimizer.beta2 = 0;
  EXPECT_NO_THROW(validate(none, 1000, MlpSpec{}));
}
TEST(TrainingErrors, Alpha) {
  expect_training_error([](Training& t) { t.optimizer.alpha = 1.5; }, {"alpha", "1.5"});
}
TEST(TrainingErrors, OptimizerEpsilon) {
  for (const double bad : {0.0, -1e-8, kNan, 1e-46})  // the last is 0 in fp32
    expect_training_error([&](Training& t) { t.optimizer.epsilon = bad; }, {"epsilon"});
}
TEST(TrainingErrors, CheckEvery) {
  expect_training_error([](Training& t) { t.stop.check_every = 0; }, {"check every", "0"});
  expect_training_error([](Training& t) { t.stop.check_every = std::numeric_limits<std::int64_t>::max(); },
                        {"check every"});
}
TEST(TrainingErrors, Patience) {
  expect_training_error([](Training& t) { t.stop.patience = 0; }, {"patience", "0"});
  expect_training_error([](Training& t) { t.stop.patience = std::numeric_limits<std::int64_t>::max(); },
                        {"patience"});
}
TEST(TrainingErrors, MaxUpdates) {
  expect_training_error([](Training& t) { t.stop.max_updates = 0; }, {"max updates", "0"});
  expect_training_error([](Training& t) { t.stop.max_updates = 5'000'000'000; },
                        {"max updates", "5000000000"});
}
TEST(TrainingErrors, StopEpsilon) {
  expect_training_error([](Training& t) { t.stop.epsilon = 1.5; }, {"stop accuracy", "1.5"});
  expect_training_error([](Training& t) { t.stop.epsilon = kNan; }, {"stop accuracy"});
  expect_training_error([](Training& t) { t.stop.criterion = StopCriterion::loss, t.stop.epsilon = 0; },
                        {"stop loss", "0"});
}
TEST(TrainingErrors, Dropout) {
  expect_training_error([](Training& t) { t.input_dropout = 1.0; }, {"input dropout", "1"});
  expect_training_error([](Training& t) { t.hidden_dropout = -0.1; }, {"hidden dropout", "-0.1"});
  expect_training_error([](Training& t) { t.hidden_dropout = kNan; }, {"hidden dropout"});
}
TEST(TrainingErrors, Batch) {
  expect_training_error([](Training& t) { t.batch = 0; }, {"batch", "0"});
  expect_training_error([](Training& t) { t.batch = (1 << 20) + 1; }, {"batch", "1048577"});
}
TEST(TrainingErrors, NoTrainingRows) {
  expect_error([] { validate(Training{}, 0, MlpSpec{}); }, {"no training rows"});
}
TEST(TrainingErrors, BatchNormOfOneSample) {
  const auto with = [](std::int64_t rows, int batch) {
    validate(Training{.batch = batch}, rows, {.batch_norm = true});
  };
  EXPECT_NO_THROW(with(64, 32));
  EXPECT_NO_THROW(with(66, 32));
  EXPECT_NO_THROW(with(5, 32));
  expect_error([&] { with(65, 32); }, {"batch norm", "65", "32"});
  expect_error([&] { with(64, 1); }, {"batch norm"});
  expect_error([&] { with(1, 32); }, {"batch norm"});
}

// ---- fit and measures ------------------------------------------------------------------------------------

Data data_of(int dim, int classes = 2) {
  return clouds_data({.dim = dim, .classes = classes, .train = 20, .validation = 0, .test = 10}, 1);
}

class FitErrors : public testing::Test {
 protected:
  void expect(const std::vector<Data>& data, const std::vector<Training>& trainings,
              const std::vector<std::string>& words) {
    expect_error([&] { fit(models_, data, trainings); }, words);
  }
  MlpEnsemble models_{{.inputs = 5, .hidden = {4}, .classes = 2}, {{1, 1, 1}, {2, 2, 2}}, cpu()};
  const Training training_{.stop = {.max_updates = 3}, .batch = 8};
};

TEST_F(FitErrors, TrainingsForOtherMembers) {
  expect({data_of(5), data_of(5)}, {training_}, {"1 trainings", "2 members"});
}
TEST_F(FitErrors, DataForOtherMembers) {
  expect({data_of(5)}, {training_, training_}, {"1 data", "2 members"});
}
TEST_F(FitErrors, DataOfAnotherDimension) {
  expect({data_of(5), data_of(6)}, {training_, training_}, {"dimension 6", "5 inputs"});
}
TEST_F(FitErrors, DataOfMoreClasses) {
  expect({data_of(5), data_of(5, 3)}, {training_, training_}, {"3 classes", "2"});
}
TEST_F(FitErrors, BatchesOfTwoSizes) {
  Training other = training_;
  other.batch = 9;
  expect({data_of(5), data_of(5)}, {training_, other}, {"batch sizes 8 and 9"});
}
TEST_F(FitErrors, AMemberWithABadSetting) {
  Training other = training_;
  other.optimizer.momentum = 2;
  expect({data_of(5), data_of(5)}, {training_, other}, {"momentum", "2"});
}
TEST_F(FitErrors, ACoordinateThatIsNotThere) {
  const std::vector<Data> data = {data_of(5), data_of(5)};
  const std::vector<Training> trainings = {training_, training_};
  for (const int coordinate : {-1, 5})
    expect_error([&] { fit(models_, data, trainings, {.at_checks = {{.coordinates = {coordinate}}}}); },
                 {"coordinate " + std::to_string(coordinate)});
}

class MeasureErrors : public testing::Test {
 protected:
  const MlpEnsemble models_{{.inputs = 5, .hidden = {4}, .classes = 2}, {{1, 1, 1}}, cpu()};
  const Data data_ = data_of(5), wide_ = data_of(6);
};

TEST_F(MeasureErrors, ScoreOnAnEmptySplit) {
  const Randomization variant;
  expect_error(
      [&] {
        score(models_, {&data_, 1}, {&variant, 1}, Which::last, Split::validation);
      },
      {"no", "rows"});
}
TEST_F(MeasureErrors, ScoreOnOtherData) {
  const Randomization variant;
  expect_error([&] { score(models_, {&wide_, 1}, {&variant, 1}); }, {"dimension 6"});
}
TEST_F(MeasureErrors, LogitsOfNoMember) {
  expect_error([&] { logits(models_, 1, data_, {}); }, {"member 1"});
}
TEST_F(MeasureErrors, LogitsOnOtherData) {
  expect_error([&] { logits(models_, 0, wide_, {}); }, {"dimension 6"});
}
TEST_F(MeasureErrors, LogitsOfHalfARow) {
  expect_error([&] { logits(models_, 0, std::vector<float>(7)); }, {"7 values", "5"});
}
TEST_F(MeasureErrors, ScoresOfManyClasses) {
  expect_error(
      [] {
        scores_of({.rows = 1, .outputs = 3, .values = {1, 2, 3}, .labels = {0}});
      },
      {"3 logits"});
}
TEST_F(MeasureErrors, BoundaryCoordinates) {
  expect_error([&] { decision_boundary(models_, 0, data_, 0, 5); }, {"5"});
  expect_error([&] { decision_boundary(models_, 0, data_, 2, 2); }, {"2"});
  expect_error([&] { decision_boundary(models_, 0, wide_, 0, 1); }, {"dimension 6"});
  expect_error([&] { decision_boundary(models_, 0, data_, 0, 1, 0); }, {"0 points"});
}
TEST_F(MeasureErrors, AlignmentOfWhatIsNotThere) {
  expect_error([&] { first_layer_alignment(models_, 0, data_, 5); }, {"coordinate 5"});
  expect_error([&] { first_layer_alignment(models_, 3, data_, 0); }, {"member 3"});
  expect_error([&] { first_layer_alignment(models_, 0, wide_, 0); }, {"dimension 6"});
}

TEST_F(MeasureErrors, MembersThatAreNotThere) {
  for (const int member : {-1, 1, 77}) {
    const std::string name = "member " + std::to_string(member);
    expect_error([&] { (void)models_.subset({&member, 1}); }, {name});
    expect_error([&] { (void)models_.last(member); }, {name});
    expect_error([&] { (void)models_.best(member); }, {name});
    expect_error([&] { (void)models_.is_drawn(member); }, {name});
  }
}

TEST(EnsembleErrors, ADeviceWithoutThreads) {
  expect_error(
      [] {
        MlpEnsemble({.inputs = 5, .hidden = {4}}, {{1, 1, 1}}, Device{.threads = 0});
      },
      {"0 host threads"});
}

TEST(CpuErrors, UnknownInstructionSet) {
  const Environment environment("OCCAM_CPU_ISA", "sse9");
  expect_error([] { occam::cpu::instruction_set(); }, {"OCCAM_CPU_ISA", "sse9", "avx2"});
}

TEST(CpuErrors, EmptyInstructionSetMeansTheWidest) {
  const Environment environment("OCCAM_CPU_ISA", "");
  EXPECT_STREQ(occam::cpu::instruction_set(), __builtin_cpu_supports("avx512bw") ? "avx512" : "avx2");
}

}  // namespace
}  // namespace occam::test
