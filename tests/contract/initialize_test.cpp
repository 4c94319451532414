// Claim: parameters drawn by a body are those that initialize() gives, whatever stood there before.
#include "contract/ensembles.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

class InitializeBody : public OnBody {};
OCCAM_ON_EVERY_BODY(InitializeBody);

std::vector<float> drawn_on_the_host(const MlpSpec& spec, const Initialization& init, std::uint32_t seed) {
  const ParameterLayout layout(spec);
  std::vector<float> values(static_cast<std::size_t>(layout.total));
  initialize(spec, layout, init, seed, values);
  return values;
}

TEST_P(InitializeBody, GivesTheHostsBits) {
  const std::pair<int, std::vector<int>> shapes[] = {
      {1, {}}, {1, {1}}, {3, {5}}, {4, {300}}, {7, {17, 9}}, {64, {33, 64}}, {50, {100, 3, 66}}};
  for (const auto& [inputs, hidden] : shapes)
    for (const bool all_there_is : {false, true})
      for (int kind = 0; kind < 5; ++kind) {
        Ensemble e{.spec = {.inputs = inputs, .hidden = hidden}};
        if (all_there_is) e.spec.activation = Activation::prelu, e.spec.batch_norm = true;
        Training training;
        training.batch = 5;
        e.add(slabs(inputs, 10, 0, 1, true, 1), training, 7);
        const Initialization init{static_cast<InitializationKind>(kind), 1.5};
        const std::uint32_t seed = 90 + static_cast<std::uint32_t>(kind);
        const std::vector<float> expected = drawn_on_the_host(e.spec, init, seed);
        const auto backend = make();
        const auto wave = open_loaded(*backend, e);
        ASSERT_FALSE(same_bits(parameters(e, *wave, 0), expected));
        wave->initialize(0, init, seed);
        ASSERT_TRUE(same_bits(parameters(e, *wave, 0), expected)) << describe(e) << ", kind " << kind;
        e.start[0] = expected;  // it trains on as if that had been loaded
        const auto loaded = open_loaded(*backend, e);
        for (Wave* one : {wave.get(), loaded.get()}) one->train(std::vector<std::int64_t>{2});
        ASSERT_TRUE(same_bits(parameters(e, *wave, 0), parameters(e, *loaded, 0))) << describe(e);
      }
}

TEST_P(InitializeBody, LeavesOtherMembersAlone) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member";
  Ensemble e{.spec = {.inputs = 9, .hidden = {6}}};
  for (const std::uint32_t seed : {1u, 2u, 3u})
    e.add(slabs(9, 10, 0, 1, true, seed), {.batch = 5}, 10 * seed);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e);
  wave->initialize(1, {}, 5);
  ASSERT_TRUE(same_bits(parameters(e, *wave, 0), e.start[0]));
  ASSERT_TRUE(same_bits(parameters(e, *wave, 1), drawn_on_the_host(e.spec, {}, 5)));
  ASSERT_TRUE(same_bits(parameters(e, *wave, 2), e.start[2]));
}

}  // namespace
}  // namespace occam::test
