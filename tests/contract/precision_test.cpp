// Claim: in tf32 and bf16 an update is the oracle's up to the rounding of the products' operands, exactly fp32's
// where nothing is rounded, and a member's bits depend on neither slices nor company.
#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "contract/precision.hpp"
#include "cuda/plan.hpp"
#include "occam/error.hpp"
#include "support/message_of.hpp"
#include "support/oracle.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

// Half a unit of an operand's last place, relative.
double unit(Precision precision) { return std::ldexp(1.0, precision == Precision::tf32 ? -11 : -8); }

OCCAM_ON_EVERY_DEVICE_BODY(PrecisionTest);  // the CPU trains in fp32 alone

struct Sizes {
  int inputs;
  std::vector<int> hidden;
  int batch;
};

// Small integers go through every product without rounding: identity and ReLU, the hinge's gradient (±1/n, n a
// power of two). Then the sums' order does not matter either, and all precisions have the bits of fp32.
TEST_P(PrecisionTest, ExactWhereNothingRounds) {
  const Sizes shapes[] = {{7, {9}, 16},         {8, {8}, 8},      {17, {15}, 32},       {31, {33}, 64},
                          {16, {7, 9}, 16},     {33, {}, 32},     {50, {100, 96}, 256}, {3, {92, 100}, 256},
                          {70, {65, 130}, 128}, {50, {200}, 256}, {52, {97}, 128},      {3, {109}, 256}};
  for (const Sizes& shape : shapes)
    for (const Activation activation : {Activation::identity, Activation::relu}) {
      Ensemble e{
          .spec = {
              .inputs = shape.inputs, .hidden = shape.hidden, .activation = activation, .loss = Loss::hinge}};
      ArrayData::Table table = clouds({shape.inputs, 2, 2 * shape.batch, 0, 1}, 4);
      std::uint32_t state = 7;
      const auto digit = [&](int most) {
        state = state * 1664525u + 1013904223u;
        return static_cast<float>(static_cast<int>(state >> 16) % (2 * most + 1) - most);
      };
      for (float& value : table.x) value = digit(3);
      Training training;
      training.batch = shape.batch;
      training.optimizer.learning_rate = 0.5;
      e.add(ArrayData{shared(table), 1}, training, 3);
      for (float& value : e.start[0]) value = digit(1);
      const auto expected = trained(e, Precision::fp32, {1});
      ASSERT_FALSE(same_bits(expected[0], e.start[0])) << describe(e);
      for (const Precision precision : kTensorPrecisions) {
        // Behind a second layer integers are beyond its 8 bits.
        if (shape.batch >= 128 && precision == Precision::bf16 && shape.hidden.size() > 1) continue;
        ASSERT_TRUE(same_bits(trained(e, precision, {1})[0], expected[0]))
            << name_of(precision) << ": " << describe(e);
      }
    }
}

// Where a parameter's tensor begins and ends.
std::vector<std::pair<std::size_t, std::size_t>> tensors(const MlpSpec& spec) {
  std::vector<std::pair<std::size_t, std::size_t>> result;
  const auto add = [&](std::int64_t first, std::int64_t count) {
    if (first >= 0)
      result.emplace_back(static_cast<std::size_t>(first), static_cast<std::size_t>(first + count));
  };
  for (const ParameterLayout::Layer& layer : ParameterLayout(spec).layers) {
    add(layer.weight, std::int64_t{layer.fan_in} * layer.fan_out);
    add(layer.bias, layer.fan_out);
    add(layer.slope, 1);
  }
  return result;
}

double norm(const reference::Vector& values, std::size_t first, std::size_t last) {
  double sum = 0;
  for (std::size_t i = first; i < last; ++i) sum += values[i] * values[i];
  return std::sqrt(sum);
}

// Both operands of a product are off by at most `unit` of their size, so a sum is by 2 unit Σ|a||b|; a signal
// passes a net of L layers in 2 L products on its way to a gradient: 4 L units. Norms of tensors stand for the
// sums of magnitudes; a twentieth of the whole norm is granted to a tensor whose own sums cancel.
void expect_near(const MlpSpec& spec, const std::vector<float>& got, const reference::Vector& expected,
                 const std::vector<float>& start, double unit) {
  reference::Vector error, way;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error.push_back(got[i] - expected[i]);
    way.push_back(expected[i] - start[i]);
  }
  const double whole = norm(way, 0, way.size());
  ASSERT_TRUE(whole > 0.0 || spec.loss == Loss::hinge);  // a batch may lie beyond the margin
  for (const auto& [first, last] : tensors(spec))
    ASSERT_LE(norm(error, first, last), 4 * spec.layers() * unit * (norm(way, first, last) + 0.05 * whole))
        << "parameters " << first << " to " << last << " of " << way.size();
}

// Biases that keep z away from the activations' kinks, where a rounded z may fall on the other side; logits stay of size 1.
void keep_from_kinks(Ensemble& e) {
  const ParameterLayout layout(e.spec);
  const ParameterLayout::Layer& last = layout.layers.back();
  if (!e.spec.hidden.empty())
    for (std::int64_t i = 0; i < last.fan_in * last.fan_out; ++i)
      e.start[0][static_cast<std::size_t>(last.weight + i)] *= 0.125f;
  for (std::size_t l = 0; l + 1 < layout.layers.size(); ++l)
    for (std::int64_t j = 0; j < layout.layers[l].fan_out; ++j)
      e.start[0][static_cast<std::size_t>(layout.layers[l].bias + j)] = j % 2 == 0 ? 4.0f : -4.0f;
}

// The gradient of one update of plain SGD, θ = θ − gradient.
TEST_P(PrecisionTest, NearTheOracle) {
  constexpr Activation kActivations[] = {Activation::leaky_relu, Activation::prelu, Activation::tanh,
                                         Activation::identity, Activation::relu};
  const Sizes shapes[] = {
      {1, {1}, 1},          {7, {8}, 15},        {8, {9, 7}, 16},      {15, {16}, 17},
      {16, {17, 31}, 9},    {31, {33}, 33},      {33, {31, 15}, 40},   {9, {}, 31},
      {50, {40}, 65},       {5, {57, 113}, 7},   {66, {129, 70}, 130}, {24, {113}, 31},
      {50, {100, 92}, 201}, {7, {96, 100}, 256}, {52, {92, 100}, 129},                   // whole batches
      {50, {200}, 201},     {7, {99}, 256},      {52, {101}, 129},     {1, {13}, 255}};  // one hidden layer
  std::uint32_t number = 0;
  for (const Sizes& shape : shapes)
    for (const Loss loss : {Loss::cross_entropy, Loss::binary_cross_entropy, Loss::hinge})
      for (const double dropout : {0.0, 0.3}) {
        Ensemble e{.spec = {.inputs = shape.inputs,
                            .hidden = shape.hidden,
                            .activation = kActivations[number++ % 5],
                            .loss = loss}};
        if (shape.batch > 128) e.spec.activation = Activation::relu;
        Training training;
        training.batch = shape.batch;
        training.optimizer.learning_rate = 1.0;
        training.input_dropout = training.hidden_dropout = dropout;
        training.in_order = number % 4 == 0;
        e.add(clouds_data({shape.inputs, 2, 2 * shape.batch + 1, 0, 1}, number), training, number);
        if (e.spec.activation != Activation::tanh && e.spec.activation != Activation::identity)
          keep_from_kinks(e);
        OracleMember oracle(e.spec, training, e.seeds[0].order, e.start[0]);
        oracle.train(materialize(e.data[0], Split::train), 1);
        const reference::Vector expected = oracle.parameters();
        for (const Precision precision : kTensorPrecisions) {
          SCOPED_TRACE(std::string(name_of(precision)) + ": " + describe(e));
          ASSERT_NO_FATAL_FAILURE(
              expect_near(e.spec, trained(e, precision, {1})[0], expected, e.start[0], unit(precision)));
        }
      }
}

// Every optimiser steps as it does on the oracle's gradients, for a few updates: by slices, and in the bodies that draw each
// update's rows ahead, over epochs that end with short batches.
TEST_P(PrecisionTest, EveryOptimizerOverEpochs) {
  struct Case {
    int inputs;
    std::vector<int> hidden;
    int batch, rows;
    Loss loss;
  };
  const Case cases[] = {{9, {17, 12}, 24, 60, Loss::cross_entropy},
                        {51, {92, 100}, 130, 200, Loss::cross_entropy},
                        {40, {96, 92}, 256, 300, Loss::binary_cross_entropy},
                        {52, {101}, 150, 290, Loss::cross_entropy},
                        {9, {37}, 70, 71, Loss::binary_cross_entropy}};
  for (const Case& of : cases)
    for (const Optimizer& optimizer : kOptimizers) {
      const bool small = of.batch < 64;
      Ensemble e{.spec = {.inputs = of.inputs,
                          .hidden = of.hidden,
                          .activation = small ? Activation::tanh : Activation::relu,
                          .loss = of.loss}};
      Training training;
      training.batch = of.batch;
      training.optimizer = optimizer;
      training.optimizer.epsilon =
          small ? 1e-3 : 1e-2;  // else the sign of a gradient near 0 is all that counts
      e.add(clouds_data({of.inputs, 2, of.rows, 0, 1}, 3), training, 5);
      if (!small) keep_from_kinks(e);
      OracleMember oracle(e.spec, training, e.seeds[0].order, e.start[0]);
      oracle.train(materialize(e.data[0], Split::train), 5);
      const reference::Vector expected = oracle.parameters();
      for (const Precision precision : kTensorPrecisions) {
        SCOPED_TRACE(std::string(name_of(precision)) + ": " + describe(e));
        ASSERT_NO_FATAL_FAILURE(
            expect_near(e.spec, trained(e, precision, {1, 4})[0], expected, e.start[0], unit(precision)));
      }
    }
}

// How the chip cuts a member's batch with so much shared memory.
int slice_of(const Ensemble& e, Precision precision, std::size_t shared_limit) {
  cuda::TrainingNeeds needs(e.spec, e.trainings);
  needs.precision = precision;
  const auto answer = cuda::plan_tensor(e.spec, e.trainings[0].batch, needs, shared_limit);
  return answer.plan ? answer.plan->slice : 0;
}

// Slices of any size, company of any kind, calls of any length, in one wave or in several: one sequence of bits.
TEST_P(PrecisionTest, SlicesCompanyAndCalls) {
  for (const Precision precision : kTensorPrecisions)
    for (const Activation activation : {Activation::relu, Activation::tanh, Activation::prelu}) {
      Ensemble e{.spec = {.inputs = 9, .hidden = {18, 5}, .activation = activation}};
      Training training;
      training.batch = 200;
      training.optimizer = kOptimizers[2];
      e.add(slabs(9, 450, 0, 1, true, 1), training, 7);
      const std::vector<float> expected = trained(e, precision, {4})[0];
      ASSERT_TRUE(varied(expected, 0.3));
      std::set<int> slices;
      for (std::size_t kibibytes = 12; kibibytes <= 80; kibibytes += 2) {
        const int slice = slice_of(e, precision, kibibytes << 10);
        if (slice == 0 || !slices.insert(slice).second) continue;
        ASSERT_TRUE(same_bits(trained(e, precision, {4}, kibibytes << 10)[0], expected)) << slice;
      }
      ASSERT_GE(slices.size(), 2u);
      ASSERT_TRUE(same_bits(trained(e, precision, {1, 2, 1})[0], expected));
      ASSERT_TRUE(same_bits(trained(e, precision, {1, 2, 1}, kWholeBlock, true)[0], expected));
      Ensemble company;
      company.spec = e.spec;
      Training other = training;
      other.input_dropout = 0.3, other.hidden_dropout = 0.6, other.optimizer = kOptimizers[4];
      company.add(slabs(9, 75, 0, 1, false, 2), other, 90);
      company.add(e.data[0], training, e.seeds[0].data);
      company.add(slabs(9, 30, 0, 1, true, 3), other, 91);
      ASSERT_TRUE(same_bits(trained(company, precision, {4})[1], expected));
    }
}

// Likewise of the bodies for members without dropout, plain ones and those whose optimiser has state, beside each other and beside
// members that train otherwise; with batches of one half or both, and a batch that is short.
TEST_P(PrecisionTest, SizedBodiesInCompany) {
  using Body = cuda::TensorBody;
  struct Case {
    std::vector<int> hidden;
    int batch;
    Body body;
  };
  const Case cases[] = {
      {{92, 100}, 150, Body::whole_batch}, {{101}, 150, Body::one_hidden}, {{37}, 90, Body::one_hidden}};
  for (const Precision precision : kTensorPrecisions)
    for (const Case& of : cases) {
      Ensemble company;
      company.spec = {.inputs = 20, .hidden = of.hidden};
      const auto add = [&](const Optimizer& optimizer, double dropout) {
        Training training;
        training.batch = of.batch, training.precision = precision;
        training.optimizer = optimizer, training.hidden_dropout = dropout;
        const auto member = static_cast<std::uint32_t>(company.members());
        company.add(slabs(20, of.batch + of.batch * 7 / 8, 0, 1, true, member), training, 10 * member);
      };
      for (const Optimizer& optimizer : kOptimizers) add(optimizer, 0);
      add(kOptimizers[0], 0.6);
      const std::vector<cuda::TensorPlan> plans =
          cuda::plan_tensor(company.spec, company.trainings, std::size_t{227} << 10, false);
      ASSERT_EQ(plans.size(), 2u);
      ASSERT_TRUE(plans[0].body == of.body && plans[1].body == Body::slices);
      const auto together = trained(company, precision, {4});
      for (std::size_t m = 0; m < together.size(); ++m) {
        SCOPED_TRACE(std::string(name_of(precision)) + fmt::format(", member {}: ", m) + describe(company));
        ASSERT_TRUE(varied(together[m], 0.3));
        ASSERT_FALSE(same_bits(together[m], company.start[m]));
        if (m >= std::size(kOptimizers)) continue;  // in slices, as above
        Ensemble alone{.spec = company.spec};
        alone.add(company.data[m], company.trainings[m], company.seeds[m].data);
        ASSERT_TRUE(same_bits(trained(alone, precision, {4})[0], together[m]));
        ASSERT_TRUE(same_bits(trained(alone, precision, {1, 2, 1}, kWholeBlock, true)[0], together[m]));
      }
    }
}

// The loss falls as in fp32.
TEST_P(PrecisionTest, LearnsLikeFp32) {
  struct Case {
    std::vector<int> hidden;
    int batch, rows;
  };
  for (const Case& of : {Case{{24, 16}, 32, 128}, Case{{40}, 70, 210}}) {
    Ensemble e{.spec = {.inputs = 10, .hidden = of.hidden}};
    Training training;
    training.batch = of.batch;
    training.optimizer.learning_rate = 0.1;
    e.add(slabs(10, of.rows, 0, 1, true, 4), training, 11);
    const HostTable rows = materialize(e.data[0], Split::train);
    const auto loss_after = [&](const std::vector<float>& values) {
      const reference::Net net = oracle_net(e.spec);
      OracleMember member(e.spec, training, 0, values);
      const reference::Forward pass = member.infer(rows);
      double sum = 0;
      for (std::size_t r = 0; r < rows.y.size(); ++r)
        sum += reference::loss_of(net, &pass.logits[2 * r], rows.y[r]);
      return sum / static_cast<double>(rows.y.size());
    };
    const double start = loss_after(e.start[0]), fp32 = loss_after(trained(e, Precision::fp32, {120})[0]);
    ASSERT_LT(fp32, 0.7 * start);
    for (const Precision precision : kTensorPrecisions) {
      const double loss = loss_after(trained(e, precision, {120})[0]);
      ASSERT_NEAR(loss, fp32, 0.1 * (start - fp32)) << name_of(precision);
    }
  }
}

// Batch norm has kernels of its own between products on tensor cores.
TEST_P(PrecisionTest, BatchNorm) {
  for (const Activation activation : {Activation::tanh, Activation::identity}) {
    Ensemble e{.spec = {.inputs = 12, .hidden = {33, 20}, .activation = activation, .batch_norm = true}};
    Training training;
    training.batch = 70;
    training.optimizer.learning_rate = 1.0;
    e.add(slabs(12, 160, 0, 1, true, 3), training, 5);
    OracleMember oracle(e.spec, training, e.seeds[0].order, e.start[0]);
    oracle.train(materialize(e.data[0], Split::train), 1);
    for (const Precision precision : kTensorPrecisions) {
      SCOPED_TRACE(std::string(name_of(precision)) + ": " + describe(e));
      ASSERT_NO_FATAL_FAILURE(expect_near(e.spec, trained(e, precision, {1})[0], oracle.parameters(),
                                          e.start[0], unit(precision)));
    }
  }
}

TEST_P(PrecisionTest, AnAdversaryIsRefused) {
  for (const Precision precision : kTensorPrecisions) {
    Ensemble e{.spec = {.inputs = 5, .hidden = {6}}};
    Training training;
    training.batch = 8;
    training.adversary.emplace();
    e.add(slabs(5, 16, 0, 1, true, 1), training, 1);
    EXPECT_EQ(message_of(ErrorKind::usage, [&] { trained(e, precision, {1}); }),
              std::string("precision ") + name_of(precision) +
                  ": adversarial training is in fp32 alone (use precision fp32)");
  }
}

TEST(PrecisionOnTheCpu, Refused) {
  Ensemble e{.spec = {.inputs = 5, .hidden = {6}}};
  Training training;
  training.precision = Precision::tf32;
  e.add(slabs(5, 16, 0, 1, true, 1), training, 1);
  const auto backend = make_backend(Body::cpu);
  EXPECT_THROW(backend->open(e.request()), Error);
}

}  // namespace
}  // namespace occam::test
