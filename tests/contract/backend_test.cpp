// Claim: the backend says how many members fit, refuses what cannot be, and says why.
#include "contract/ensembles.hpp"
#include "occam/error.hpp"
#include "occam/shapes.hpp"
#include "score_beside.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

class BackendBody : public OnBody {};
OCCAM_ON_EVERY_BODY(BackendBody);

Ensemble equal_members(int members) {
  Ensemble e{.spec = {.inputs = 8, .hidden = {16}}};
  Training training;
  training.batch = 32;
  for (int m = 0; m < members; ++m)
    e.add(slabs(8, 1000, 0, 10, true, static_cast<std::uint32_t>(m)), training,
          static_cast<std::uint32_t>(m));
  return e;
}

TEST_P(BackendBody, ConcurrencyIsPositive) { EXPECT_GE(make()->concurrency(), 1); }

TEST_P(BackendBody, WaveMembersFollowTheMemory) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member";
  const Ensemble e = equal_members(20);
  int before = 0;
  for (const std::int64_t limit :
       {std::int64_t{128} << 10, std::int64_t{512} << 10, std::int64_t{64} << 20}) {
    const int count = make(limit)->wave_members(e.request());
    EXPECT_GT(count, before) << limit;
    before = count;
  }
  EXPECT_EQ(before, 20);
  // Nothing to train: no training rows, no activations.
  EXPECT_GT(make(std::int64_t{128} << 10)->wave_members(e.request(false)),
            make(std::int64_t{128} << 10)->wave_members(e.request()));
}

// A rotation of thousands of coordinates takes minutes, and so do the rows of a CPU's wave.
TEST_P(BackendBody, DataInTheMakingHeedARequestToStop) {
  const Ensemble e = equal_members(1);
  std::atomic<bool> stop{false};
  WaveRequest request = e.request();
  request.interrupt = &stop;
  const auto backend = make();
  const auto wave = backend->open(request);
  stop = true;
  EXPECT_THROW(backend->open(request), Interrupted);
  if (GetParam() != Body::cpu) return;
  EXPECT_THROW(wave->train(std::vector<std::int64_t>{1}), Interrupted);
  stop = false;
  EXPECT_NO_THROW(wave->train(std::vector<std::int64_t>{1}));
}

// Masks lie on the device once, however many members share them: as many bytes as a member's weights here.
TEST_P(BackendBody, WaveMembersFollowTheMasks) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member";
  constexpr int kSide = 64, kClasses = 20, kMembers = 8;
  ShapeSpec shapes;
  shapes.masks.assign(kClasses, {kSide, kSide, std::vector<float>(kSide * kSide, 1.0f)});
  shapes.biased = shapes.uniform = std::vector<Places>(kClasses, {{0, 1, 0, 1}});
  shapes.train = shapes.test_rows = kClasses;
  Ensemble shared;
  shared.spec.inputs = kSide * kSide, shared.spec.hidden.clear(), shared.spec.classes = kClasses;
  Ensemble own = shared;
  const std::vector<Data> data = shape_data(shapes, std::vector<std::uint32_t>(kMembers, 1));
  for (std::uint32_t m = 0; m < kMembers; ++m) {
    shared.add(data[m], {.batch = 10}, m);
    own.add(shape_data(shapes, {1}).front(), {.batch = 10}, m);
  }
  const auto backend = make(std::int64_t{4} << 20);
  const int fit = backend->wave_members(shared.request());
  EXPECT_GE(fit, 5);
  EXPECT_LE(backend->wave_members(own.request()), fit / 2 + 1);
}

// A wave of as many members as wave_members says opens within the limit and trains.
TEST_P(BackendBody, TheMembersThatFitDoFit) {
  Ensemble e = equal_members(4);
  constexpr std::int64_t kBytes = std::int64_t{200} << 10;
  const DeviceOfBytes device(GetParam(), kBytes);
  const auto backend = make(GetParam() == Body::cpu ? 0 : kBytes);
  const auto count = static_cast<std::size_t>(backend->wave_members(e.request()));
  ASSERT_GE(count, 1u);
  ASSERT_LT(count, 4u);
  e.data.resize(count), e.seeds.resize(count), e.trainings.resize(count), e.start.resize(count);
  const auto wave = open_loaded(*backend, e);
  wave->train(std::vector<std::int64_t>(count, 2));
  ScalarTwin twin = twin_of(e, 0);
  twin.train(materialize(e.data[0], Split::train), 2);
  ASSERT_TRUE(same_bits(parameters(e, *wave, 0), twin.parameters()));
}

// Gradients of all members' plan lie on the chip, which takes dropout into account; those of the first ones' do not.
TEST_P(BackendBody, TheFirstMembersMayTakeMoreThanAll) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member, and no tensor cores";
  Ensemble e{.spec = {.inputs = 100, .hidden = {96}}};
  const auto table = shared(clouds({100, 2, 20, 0, 6}, 3));
  for (std::uint32_t m = 0; m < 60; ++m) {
    Training training;
    training.batch = 256, training.precision = Precision::bf16;
    if (m >= 40) training.hidden_dropout = 0.5;
    e.add(ArrayData{table, m}, training, m);
  }
  constexpr std::int64_t kBytes = std::int64_t{1} << 20;
  const DeviceOfBytes device(GetParam(), kBytes);
  const auto backend = make(kBytes);
  WaveRequest request = e.request();
  const auto count = static_cast<std::size_t>(backend->wave_members(request));
  ASSERT_GE(count, 2u);
  ASSERT_LT(count, 40u);
  request.data = request.data.first(count), request.seeds = request.seeds.first(count);
  request.trainings = request.trainings.first(count);
  EXPECT_NO_THROW(backend->open(request));
}

// A wave that fills the device has room for the scores of each member, however many rows it has.
TEST_P(BackendBody, ManyRowsOfOneMemberAreScored) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member";
  for (const int classes : {2, 10}) {
    Ensemble e{.spec = {.inputs = 8, .hidden = {16}, .classes = classes}};
    const auto table = shared(clouds({8, classes, 20, 0, 3000}, 3));
    for (std::uint32_t m = 0; m < 3000; ++m) e.add(ArrayData{table, m}, {.batch = 8}, m);
    constexpr std::int64_t kBytes = std::int64_t{2} << 20;
    const DeviceOfBytes device(GetParam(), kBytes);
    const auto backend = make(kBytes);
    WaveRequest request = e.request(false);
    const auto count = static_cast<std::size_t>(backend->wave_members(request));
    ASSERT_LT(count, 3000u);
    request.data = request.data.first(count), request.seeds = request.seeds.first(count);
    const auto wave = backend->open(request);
    wave->load(1, e.start[1]);
    const int member[] = {1};
    std::vector<WaveScore> scores(1);
    wave->score(member, Split::test, Randomization{}, true, scores);
    const ScalarTwin twin = twin_of(e, 1);
    const HostTable rows = materialize(e.data[1], Split::test);
    EXPECT_EQ(scores[0].loss, twin.score(rows).loss);
    EXPECT_EQ(scores[0].auc, roc_aucs(twin.logits(rows.x), e.spec.outputs(), rows.y));
  }
}

// Of as many at a time as fit, and what trains meanwhile does not notice.
TEST_P(BackendBody, ScoresBesideATraining) {
  const auto shown = [](std::int64_t test, std::uint32_t seed) {
    Ensemble of = equal_members(5);
    for (std::uint32_t m = 0; m < 5; ++m) of.data[m] = slabs(8, 1, 0, test + m, seed % 2 == 0, seed + m);
    return of;
  };
  const Ensemble e = equal_members(5), others = shown(30, 50), third = shown(70, 61);
  const std::vector<std::int64_t> some = {3, 0, 3, 1, 2}, more = {2, 4, 0, 1, 1};
  const auto backend = make(), small = make(GetParam() == Body::cpu ? 0 : std::int64_t{26} << 10);
  const int at_once = small->wave_members(others.request(false));
  ASSERT_GE(at_once, 1);
  ASSERT_LE(at_once, 4);
  const auto alone = open_loaded(*backend, e), wave = open_loaded(*backend, e);
  for (Wave* one : {alone.get(), wave.get()}) one->train(some);
  std::vector<std::vector<float>> of_members;
  for (int m = 0; m < 5; ++m) of_members.push_back(parameters(e, *wave, m));
  const std::vector<std::span<const float>> spans(of_members.begin(), of_members.end());
  for (Backend* device : {backend.get(), small.get()}) {
    const std::vector<std::vector<Data>> sets = {others.data, third.data};
    const auto scores = score_beside(*device, e.spec, spans, sets, others.seeds);
    ASSERT_EQ(scores.size(), 2u);
    for (std::size_t s = 0; s < 2; ++s) {
      ASSERT_EQ(scores[s].size(), 5u);
      for (std::size_t m = 0; m < 5; ++m) {
        SCOPED_TRACE(std::to_string(s) + ", member " + std::to_string(m));
        Ensemble as_trained = others;
        as_trained.start[m] = of_members[m];
        const HostTable table = materialize(sets[s][m], Split::test);
        const ScalarTwin twin = twin_of(as_trained, static_cast<int>(m));
        const ScalarTwin::Score expected = twin.score(table);
        EXPECT_EQ(scores[s][m].accuracy,
                  static_cast<double>(expected.correct) / static_cast<double>(rows(sets[s][m], Split::test)));
        EXPECT_EQ(scores[s][m].loss, static_cast<double>(expected.loss));
        EXPECT_EQ(scores[s][m].auc, roc_aucs(twin.logits(table.x), e.spec.outputs(), table.y));
      }
    }
  }
  for (Wave* one : {alone.get(), wave.get()}) one->train(more);
  for (int m = 0; m < 5; ++m) EXPECT_TRUE(same_bits(parameters(e, *wave, m), parameters(e, *alone, m)));
}

// A later set takes more memory than the first one: as many at a time as have room for either.
TEST_P(BackendBody, ScoresOfALaterSetThatIsLarger) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member";
  constexpr std::int64_t kBytes = std::int64_t{1} << 20;
  const auto of_own = [](int test) {
    Ensemble e{.spec = {.inputs = 128, .hidden = {16}}};
    for (std::uint32_t m = 0; m < 4; ++m)
      e.add(ArrayData{shared(clouds({128, 2, 4, 0, test}, m)), m}, {.batch = 4}, m);
    return e;
  };
  const Ensemble few = of_own(10), many = of_own(500);
  const std::vector<std::vector<Data>> sets = {few.data, many.data};
  const DeviceOfBytes device(GetParam(), kBytes);
  const auto backend = make(kBytes);
  ASSERT_EQ(backend->wave_members(few.request(false)), 4);
  ASSERT_LT(backend->wave_members(many.request(false)), 4);
  const std::vector<std::span<const float>> start(few.start.begin(), few.start.end());
  const auto scores = score_beside(*backend, few.spec, start, sets, few.seeds);
  for (std::size_t s = 0; s < 2; ++s)
    for (std::size_t m = 0; m < 4; ++m) {
      const ScalarTwin twin = twin_of(few, static_cast<int>(m));
      EXPECT_EQ(scores[s][m].loss,
                static_cast<double>(twin.score(materialize(sets[s][m], Split::test)).loss));
    }
}

TEST_P(BackendBody, OneMemberThatDoesNotFitIsADeviceErrorWithSizes) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "the CPU body asks the operating system";
  const Ensemble e = equal_members(1);
  try {
    make(4096)->wave_members(e.request());
    FAIL() << "4 kB were enough";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    for (const char* word : {"MiB", "data", "parameters", "training"})
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST_P(BackendBody, ACoordinateThatDoesNotExistIsRefused) {
  const Ensemble e = equal_members(1);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e);
  std::vector<float> out(10 * 2);
  EXPECT_THROW(wave->logits(0, Split::test, {{8}, {}, {}}, out), Error);
  EXPECT_THROW(wave->logits(0, Split::test, {{-1}, {}, {}}, out), Error);
}

TEST_P(BackendBody, SwappingWithinOneClassIsRefused) {
  Ensemble e{.spec = {.inputs = 3, .hidden = {}}};
  ArrayData::Table table = clouds({3, 2, 10, 0, 10}, 1);
  std::fill(table.y.begin(), table.y.end(), 1);
  e.add(ArrayData{shared(table), 1}, Training{}, 1);
  const auto backend = make();
  const auto wave = open_loaded(*backend, e, false);
  std::vector<float> out(10 * 2);
  EXPECT_THROW(wave->logits(0, Split::test, {{0}, Randomization::Kind::swap, {}}, out), Error);
}

}  // namespace
}  // namespace occam::test
