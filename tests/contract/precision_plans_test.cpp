// Claim: in tf32 and bf16 neither a member's company nor an overflow hides behind the plan that was chosen.
#include <algorithm>
#include <cmath>

#include "contract/precision.hpp"

namespace occam::test {
namespace {

class PrecisionTestOfPlans : public PrecisionTest {};
OCCAM_ON_EVERY_DEVICE_BODY(PrecisionTestOfPlans);

// Plans differ in bits, so what a member's company needs beside it must not decide about its plan, however much shared
// memory there is.
TEST_P(PrecisionTestOfPlans, CompanyDoesNotDecide) {
  for (const Precision precision : kTensorPrecisions) {
    Ensemble e{.spec = {.inputs = 9, .hidden = {40, 40}, .activation = Activation::tanh}};
    Training training;
    training.batch = 16;
    e.add(slabs(9, 64, 0, 1, true, 1), training, 7);
    Ensemble company = e;
    Training other = training;
    other.hidden_dropout = 0.3, other.optimizer = kOptimizers[4];
    company.add(slabs(9, 40, 0, 1, true, 3), other, 91);
    std::vector<std::vector<float>> of_limit;
    for (std::size_t kibibytes = 8; kibibytes <= 40; ++kibibytes) {
      of_limit.push_back(trained(e, precision, {2}, kibibytes << 10)[0]);
      ASSERT_TRUE(same_bits(trained(company, precision, {2}, kibibytes << 10)[0], of_limit.back()))
          << kibibytes;
    }
    ASSERT_TRUE(is_tiled(GetParam()) || !same_bits(of_limit.front(), of_limit.back()))
        << "one plan took them all";
  }
}

// The bodies for members without dropout are of one size, whatever the network's, the slices of their company are not.
TEST_P(PrecisionTestOfPlans, CompanyDoesNotDecideAboutSizedBodies) {
  for (const Precision precision : kTensorPrecisions) {
    Ensemble e{.spec = {.inputs = 50, .hidden = {100}}};
    Training training;
    training.batch = 127;
    e.add(slabs(50, 200, 0, 1, true, 1), training, 7);
    Ensemble company = e;
    training.optimizer = kOptimizers[4], training.hidden_dropout = 0.3;
    company.add(slabs(50, 150, 0, 1, true, 3), training, 91);
    std::vector<std::vector<float>> of_limit;
    for (const std::size_t kibibytes : {60, 72, 74, 100, 128, 130, 132, 140}) {
      of_limit.push_back(trained(e, precision, {2}, kibibytes << 10)[0]);
      ASSERT_TRUE(same_bits(trained(company, precision, {2}, kibibytes << 10)[0], of_limit.back()))
          << name_of(precision) << ", " << kibibytes << " KiB";
    }
    ASSERT_TRUE(is_tiled(GetParam()) || !same_bits(of_limit.front(), of_limit.back()))
        << "one plan took them all";
  }
}

// Logits beyond what a float holds: in fp32 there is no way back from them, so there must be none here.
TEST_P(PrecisionTestOfPlans, AnOverflowStays) {
  for (const std::vector<int>& hidden : {std::vector{37}, {92, 92}, {20, 20, 20}})
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      Ensemble e{.spec = {.inputs = 9, .hidden = hidden}};
      Training training;
      training.batch = 70;
      training.optimizer.learning_rate = 1, training.optimizer.weight_decay = 0.9;  // which shrinks them fast
      e.add(slabs(9, 140, 0, 1, true, 1), training, 7);
      const auto scale = static_cast<float>(std::pow(1e41, 1.0 / e.spec.layers()));
      for (float& value : e.start[0]) value *= scale;
      const ParameterLayout::Layer last = ParameterLayout(e.spec).layers.back();
      for (int output = 0; output < 2; ++output)  // all of a sum have one sign: it is infinite, and not NaN
        for (int unit = 0; unit < last.fan_in; ++unit) {
          float& weight = e.start[0][static_cast<std::size_t>(last.weight + output * last.fan_in + unit)];
          weight = output == 0 ? -std::abs(weight) : std::abs(weight);
        }
      const std::vector<float> found = trained(e, precision, {8})[0];
      EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](float x) { return !std::isfinite(x); }))
          << name_of(precision) << ": " << describe(e);
    }
}

}  // namespace
}  // namespace occam::test
