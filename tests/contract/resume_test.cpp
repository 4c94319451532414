// Claim: a training that is broken off goes on from its state, to the bit as if it had never stopped: in another wave, by
// another plan, on another body.
#include <gtest/gtest.h>

#include "contract/trains.hpp"
#include "occam/error.hpp"

namespace occam::test {
namespace {

class Resume : public Train {
 protected:
  // `first` updates, the state, and `second` more elsewhere.
  void expect_no_seam(const Ensemble& e, std::int64_t first, std::int64_t second) {
    SCOPED_TRACE(describe(e));
    const auto members = static_cast<std::size_t>(e.members());
    const auto backend = make();
    const auto wave = open_loaded(*backend, e);
    wave->train(std::vector<std::int64_t>(members, first));
    std::vector<std::vector<float>> between, expected;
    std::vector<TrainingState> states;
    for (int m = 0; m < e.members(); ++m) {
      between.push_back(parameters(e, *wave, m));
      states.push_back(wave->training_state(m));
      ASSERT_EQ(states.back().updates, first);
      ScalarTwin twin = twin_of(e, m);
      twin.train(materialize(e.data[static_cast<std::size_t>(m)], Split::train), first + second);
      expected.emplace_back(twin.parameters().begin(), twin.parameters().end());
    }
    const auto go_on = [&](Wave& other, int m, std::size_t member) {
      other.load(m, between[member]);
      other.resume(m, states[member]);
    };
    for (const std::size_t limit : shared_limits(std::size_t{40} << 10)) {
      SCOPED_TRACE(limit);
      const auto other = make(0, limit);
      const auto rest = other->open(e.request());
      for (int m = 0; m < e.members(); ++m) go_on(*rest, m, static_cast<std::size_t>(m));
      rest->train(std::vector<std::int64_t>(members, second));
      for (int m = 0; m < e.members(); ++m)
        ASSERT_TRUE(same_bits(parameters(e, *rest, m), expected[static_cast<std::size_t>(m)])) << m;
    }
    // On the CPU, each by itself.
    for (std::size_t m = 0; m < members; ++m) {
      Ensemble alone{.spec = e.spec};
      alone.add(e.data[m], e.trainings[m], e.seeds[m].data);
      alone.seeds[0] = e.seeds[m];
      const auto rest = occam::backend({.kind = DeviceKind::cpu, .threads = 1}).open(alone.request());
      go_on(*rest, 0, m);
      rest->train(std::vector<std::int64_t>{second});
      ASSERT_TRUE(same_bits(parameters(alone, *rest, 0), expected[m])) << m;
    }
  }

  int members() const { return GetParam() == Body::cpu ? 1 : 3; }
};
OCCAM_ON_EVERY_BODY(Resume);

TEST_P(Resume, DrawnNetworksAndSettings) {
  for (std::uint32_t number = 0; number < (is_slow() ? 12u : 30u); ++number) {
    const Ensemble e = drawn_ensemble(
        2100 + number, {.widest = is_slow() ? 33 : 70, .largest_batch = 16, .members = members()});
    ASSERT_NO_FATAL_FAILURE(expect_no_seam(e, 3, 4)) << "draw " << number;
  }
}

// Each optimiser with all it keeps, and a rate that has changed before the seam.
TEST_P(Resume, OptimizersAndSchedules) {
  for (const Optimizer& optimizer : kOptimizers) {
    Ensemble e{.spec = {.inputs = 5, .hidden = {9, 6}, .activation = Activation::prelu, .batch_norm = true}};
    Training training;
    training.batch = 8;
    training.optimizer = optimizer;
    training.schedule = {.epochs = 1, .factor = 0.5};
    for (std::uint32_t m = 0; m < static_cast<std::uint32_t>(members()); ++m) {
      e.add(slabs(5, 20, 0, 1, true, m), training, m);
      training.optimizer.kind = OptimizerKind::adam;  // the others of the wave keep more, or less
    }
    ASSERT_NO_FATAL_FAILURE(expect_no_seam(e, 7, 5));
  }
}

TEST_P(Resume, RefusesTheStateOfAnother) {
  Ensemble e{.spec = {.inputs = 3, .hidden = {4}}};
  Training training;
  training.batch = 4;
  training.optimizer = kOptimizers[1];
  e.add(slabs(3, 12, 0, 1, true, 1), training, 1);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e);
  TrainingState state = wave->training_state(0);
  ASSERT_EQ(state.optimizer.size(), 1u);
  state.optimizer[0].pop_back();
  EXPECT_THROW(wave->resume(0, state), Error);
  state.optimizer.clear();
  EXPECT_THROW(wave->resume(0, state), Error);
}

}  // namespace
}  // namespace occam::test
