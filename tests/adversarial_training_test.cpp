// Claim: training on perturbed batches and under a schedule of learning rates gives the scalar twin's bits,
// and the perturbations matter.
#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "occam/training.hpp"
#include "support/compare.hpp"
#include "support/scalar_twin.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

Training adversarial(Norm norm) {
  Training training{.optimizer = {.learning_rate = 0.2, .momentum = 0.5}, .batch = 16};
  training.adversary =
      Pgd{.norm = norm, .epsilon = 0.3, .step = 0.1, .iterations = 3, .lower = -9, .upper = 9};
  return training;
}

std::vector<float> trained(const MlpSpec& spec, const Data& data, const Training& training,
                           std::span<const float> start, std::int64_t updates) {
  OneMember member(spec, data, {.data = 1, .init = 2, .order = 3}, training, start);
  member.train(updates);
  return member.parameters();
}

TEST(AdversarialTraining, GivesTheTwinsBits) {
  for (const Norm norm : {Norm::l2, Norm::linf})
    for (const bool batch_norm : {false, true})
      for (const Activation activation : {Activation::relu, Activation::prelu, Activation::tanh}) {
        MlpSpec spec{.inputs = 6, .hidden = {9, 5}, .activation = activation, .batch_norm = batch_norm};
        const Data data = clouds_data({6, 2, batch_norm ? 48 : 55, 0, 10}, 4);
        Training training = adversarial(norm);
        training.schedule = {.epochs = 2, .factor = 0.1};
        training.hidden_dropout = activation == Activation::tanh ? 0.3 : 0.0;
        const std::vector<float> start = random_parameters(spec, 5);
        ScalarTwin twin(spec, training, 3, start);
        twin.train(materialize(data, Split::train), 11);
        const std::vector<float> made = trained(spec, data, training, start, 11);
        ASSERT_TRUE(same_bits(made, twin.parameters()));
        Training plain = training;
        plain.adversary.reset();
        EXPECT_FALSE(same_bits(made, trained(spec, data, plain, start, 11)));
      }
}

TEST(AdversarialTraining, TheScheduleCountsEpochs) {
  const MlpSpec spec{.inputs = 4, .hidden = {3}};
  const Data data = clouds_data({4, 2, 40, 0, 10}, 4);  // three batches an epoch
  Training scheduled{
      .optimizer = {.learning_rate = 0.4}, .schedule = {.epochs = 2, .factor = 0.25}, .batch = 16};
  Training constant = scheduled;
  constant.schedule = {};
  const std::vector<float> start = random_parameters(spec, 5);
  EXPECT_TRUE(same_bits(trained(spec, data, scheduled, start, 6), trained(spec, data, constant, start, 6)));
  EXPECT_FALSE(same_bits(trained(spec, data, scheduled, start, 7), trained(spec, data, constant, start, 7)));
  // The seventh update is that of a rate of 0.1.
  OneMember member(spec, data, {1, 2, 3}, scheduled, start);
  member.train(6);
  ScalarTwin twin(spec, scheduled, 3, start);
  twin.train(materialize(data, Split::train), 7);
  member.train(1);
  EXPECT_TRUE(same_bits(member.parameters(), twin.parameters()));
}

TEST(AdversarialTraining, RefusesWhatIsImpossible) {
  const auto refused = [](Training training, const std::string& part) {
    try {
      validate(training, 100, MlpSpec{});
      ADD_FAILURE() << "not refused: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  Training training = adversarial(Norm::l2);
  training.adversary->epsilon = -1;
  refused(training, "epsilon: -1 is negative");
  training = adversarial(Norm::l2);
  training.input_dropout = 0.1;
  refused(training, "input dropout");
  training = adversarial(Norm::l2);
  training.adversary->track = true;
  refused(training, "track");
  training = adversarial(Norm::l2);
  training.schedule = {.epochs = 3, .factor = 0};
  refused(training, "lr factor");
  training.schedule = {.epochs = -3, .factor = 0.1};
  refused(training, "lr epochs");
}

}  // namespace
}  // namespace occam::test
