// Claim: several updates on the CPU are those of PyTorch (1.13, double precision;
// tests/reference/make_pytorch_vectors.py), for each optimiser, activation, loss, batch norm, dropout
// placement and the order of mini-batches.
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/compare.hpp"
#include "support/oracle.hpp"
#include "support/scalar_twin.hpp"
#include "support/small_data.hpp"
#include "support/vectors.hpp"

namespace occam::test {
namespace {

Data data_of(const PytorchCase& c) { return ArrayData{shared(c.table), 0}; }

TEST(MlpPytorch, EverySettingIsCovered) {
  std::set<int> activations, losses, optimizers;
  bool batch_norm = false, input_dropout = false, hidden_dropout = false, short_batch = false;
  for (const PytorchCase& c : pytorch_cases()) {
    activations.insert(static_cast<int>(c.spec.activation));
    losses.insert(static_cast<int>(c.spec.loss));
    optimizers.insert(static_cast<int>(c.training.optimizer.kind));
    batch_norm |= c.spec.batch_norm;
    input_dropout |= c.training.input_dropout > 0, hidden_dropout |= c.training.hidden_dropout > 0;
    short_batch |= c.table.train % c.training.batch != 0;
  }
  EXPECT_EQ(activations.size(), 5u);
  EXPECT_EQ(losses.size(), 3u);
  EXPECT_EQ(optimizers.size(), 3u);
  EXPECT_TRUE(batch_norm && input_dropout && hidden_dropout && short_batch);
}

TEST(MlpPytorch, TrainsAlike) {
  ShareUsed gradients("gradient of the first update"), ends("parameters after the updates"), logits("logits");
  for (const PytorchCase& c : pytorch_cases()) {
    SCOPED_TRACE(c.name);
    const Data data = data_of(c);
    OneMember body(c.spec, data, {0, 0, c.order_seed}, c.training, c.start);
    ScalarTwin twin(c.spec, c.training, c.order_seed, c.start);
    twin.train(materialize(data, Split::train), 1);
    EXPECT_TRUE(gradients.within(twin.gradient(), c.gradient, {.absolute = 1e-7, .relative = 1e-6}));
    body.train(c.updates);
    EXPECT_TRUE(ends.within(body.parameters(), c.end, {.absolute = 1e-6, .relative = 1e-6}));
    EXPECT_TRUE(logits.within(body.logits(Split::test), c.logits, {.absolute = 2e-6, .relative = 2e-6}));
  }
}

// The judge of the other tests is itself held to PyTorch, at double precision.
TEST(MlpPytorch, TheOracleAgrees) {
  double worst = 0;
  for (const PytorchCase& c : pytorch_cases()) {
    SCOPED_TRACE(c.name);
    const HostTable rows = materialize(data_of(c), Split::train), test = materialize(data_of(c), Split::test);
    OracleMember oracle(c.spec, c.training, c.order_seed, c.start);
    oracle.train(rows, c.updates);
    const reference::Vector end = oracle.parameters(), logits = oracle.infer(test).logits;
    ASSERT_EQ(end.size(), c.end.size());
    ASSERT_EQ(logits.size(), c.logits.size());
    for (std::size_t i = 0; i < end.size(); ++i) {
      ASSERT_NEAR(end[i], c.end[i], 1e-10) << "parameter " << i;
      worst = std::max(worst, std::abs(end[i] - c.end[i]));
    }
    for (std::size_t i = 0; i < logits.size(); ++i)
      ASSERT_NEAR(logits[i], c.logits[i], 1e-9) << "logit " << i;
  }
  printf("    largest difference of a parameter: %.2g\n", worst);
}

}  // namespace
}  // namespace occam::test
