// Claim: a member's bits do not depend on who trains beside it, in which order, on how many threads, with
// which instruction set, or in how many pieces; and the same fit gives the same bits again.
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/compare.hpp"
#include "support/small_data.hpp"

namespace occam::test {
namespace {

constexpr int kMembers = 6;

const MlpSpec kNormalized{
    .inputs = 9, .hidden = {17, 12}, .classes = 2, .activation = Activation::prelu, .batch_norm = true};

struct Member {
  Seeds seeds;
  Initialization init;
  Data data;
  Training training;
};

// Members that differ in everything a member may differ in.
std::vector<Member> crowd() {
  const Optimizer optimizers[] = {
      {.kind = OptimizerKind::sgd, .learning_rate = 0.1},
      {.kind = OptimizerKind::sgd, .learning_rate = 0.05, .momentum = 0.9, .weight_decay = 1e-3},
      {.kind = OptimizerKind::adam, .learning_rate = 0.01},
      {.kind = OptimizerKind::rmsprop, .learning_rate = 0.003},
      {.kind = OptimizerKind::rmsprop, .learning_rate = 0.003, .momentum = 0.5},
      {.kind = OptimizerKind::adam, .learning_rate = 0.003, .weight_decay = 1e-2}};
  std::vector<Member> members;
  for (std::uint32_t m = 0; m < kMembers; ++m) {
    Member member;
    member.seeds = {.data = m / 2, .init = 10 + m, .order = 20 + m};
    member.init = {.kind = static_cast<InitializationKind>(m % 5), .scale = 1.0 + 0.1 * m};
    if (m % 3 == 2) {
      SlabSpec slab = lms(5, 9);
      slab.train = 90, slab.validation = 12, slab.test = 40;
      member.data = slab_data(slab, {m})[0];
    } else {
      member.data = clouds_data(
          {.dim = 9, .classes = 2, .train = 60 + 6 * m, .validation = m % 2 ? 11 : 0, .test = 30}, m);
    }
    member.training.optimizer = optimizers[m];
    member.training.stop = {
        .epsilon = 0.02 * m, .check_every = 7 + m, .patience = 1 + 3 * m, .max_updates = 40 + 5 * m};
    member.training.hidden_dropout = m % 2 ? 0.2 : 0.0;
    member.training.input_dropout = m == 4 ? 0.1 : 0.0;
    member.training.batch = 16;
    members.push_back(member);
  }
  return members;
}

struct Fitted {
  std::vector<std::vector<float>> last, best;
  History history;
};

Fitted fit_members(const std::vector<Member>& members, int threads) {
  std::vector<Seeds> seeds;
  std::vector<Initialization> inits;
  std::vector<Data> data;
  std::vector<Training> trainings;
  for (const Member& m : members)
    seeds.push_back(m.seeds), inits.push_back(m.init), data.push_back(m.data),
        trainings.push_back(m.training);
  MlpEnsemble models(kNormalized, seeds, inits, cpu(threads));
  Fitted fitted;
  fitted.history = fit(models, data, trainings, {.at_checks = {{.coordinates = {0}}}});
  for (int m = 0; m < models.members(); ++m) {
    fitted.last.emplace_back(models.last(m).begin(), models.last(m).end());
    fitted.best.emplace_back(models.best(m).begin(), models.best(m).end());
  }
  return fitted;
}

void expect_same_history(const MemberHistory& a, const MemberHistory& b) {
  EXPECT_EQ(a.updates, b.updates);
  EXPECT_EQ(a.status, b.status);
  EXPECT_EQ(a.best_check, b.best_check);
  ASSERT_EQ(a.checks.size(), b.checks.size());
  for (std::size_t i = 0; i < a.checks.size(); ++i) {
    const Check &c = a.checks[i], &d = b.checks[i];
    EXPECT_EQ(c.updates, d.updates);
    EXPECT_EQ(c.train_accuracy, d.train_accuracy);
    EXPECT_EQ(c.train_loss, d.train_loss);
    EXPECT_EQ(c.validation_loss, d.validation_loss);
    EXPECT_EQ(c.test_loss, d.test_loss);
    ASSERT_EQ(c.randomized.size(), d.randomized.size());
    EXPECT_EQ(c.randomized[0].loss, d.randomized[0].loss);
    EXPECT_EQ(c.randomized[0].auc, d.randomized[0].auc);
  }
}

void expect_same_member(const Fitted& a, std::size_t i, const Fitted& b, std::size_t j) {
  SCOPED_TRACE(fmt::format("member {} against member {}", i, j));
  EXPECT_TRUE(same_bits(a.last[i], b.last[j]));
  EXPECT_TRUE(same_bits(a.best[i], b.best[j]));
  expect_same_history(a.history[i], b.history[j]);
}

TEST(Membership, AloneOrInACrowd) {
  const std::vector<Member> members = crowd();
  const Fitted together = fit_members(members, 1);
  for (std::size_t m = 0; m < members.size(); ++m) {
    EXPECT_TRUE(varied(together.last[m]));
    EXPECT_GT(together.history[m].updates, 0);
    expect_same_member(together, m, fit_members({members[m]}, 1), 0);
  }
}

TEST(Membership, InAnotherOrder) {
  const std::vector<Member> members = crowd();
  const Fitted forwards = fit_members(members, 1);
  const Fitted backwards = fit_members({members.rbegin(), members.rend()}, 1);
  for (std::size_t m = 0; m < kMembers; ++m) expect_same_member(forwards, m, backwards, kMembers - 1 - m);
}

TEST(Membership, OnAnyNumberOfThreads) {
  const std::vector<Member> members = crowd();
  const Fitted one = fit_members(members, 1);
  for (const int threads : {2, 3, 16}) {
    const Fitted many = fit_members(members, threads);
    for (std::size_t m = 0; m < kMembers; ++m) expect_same_member(one, m, many, m);
  }
}

TEST(Membership, WithEitherInstructionSet) {
  if (!__builtin_cpu_supports("avx512bw")) GTEST_SKIP() << "no AVX-512 here";
  const std::vector<Member> members = crowd();
  const auto with = [&](const char* set) {
    const Environment environment("OCCAM_CPU_ISA", set);
    return fit_members(members, 1);
  };
  const Fitted narrow = with("avx2"), wide = with("avx512");
  for (std::size_t m = 0; m < kMembers; ++m) expect_same_member(narrow, m, wide, m);
}

TEST(Membership, RunAgain) {
  const std::vector<Member> members = crowd();
  const Fitted first = fit_members(members, 2), second = fit_members(members, 2);
  for (std::size_t m = 0; m < kMembers; ++m) expect_same_member(first, m, second, m);
}

// Differences of a member make a difference: the comparisons above do not compare a constant.
TEST(Membership, MembersDiffer) {
  const Fitted together = fit_members(crowd(), 1);
  for (std::size_t m = 1; m < kMembers; ++m) EXPECT_FALSE(same_bits(together.last[m], together.last[m - 1]));
  std::vector<Member> members = crowd();
  for (Member& m : members) m.seeds.order += 1;
  const Fitted reordered = fit_members(members, 1);
  for (std::size_t m = 0; m < kMembers; ++m) EXPECT_FALSE(same_bits(together.last[m], reordered.last[m]));
}

// One wave of several members: each does its own number of updates; with none it keeps its bits.
TEST(Membership, AFrozenMemberKeepsItsBits) {
  const std::vector<Member> members = crowd();
  std::vector<Seeds> seeds;
  std::vector<Data> data;
  std::vector<Training> trainings;
  for (const Member& m : members)
    seeds.push_back(m.seeds), data.push_back(m.data), trainings.push_back(m.training);
  const std::unique_ptr<Wave> wave = backend(cpu()).open({&kNormalized, data, seeds, trainings});
  std::vector<std::vector<float>> start;
  for (std::uint32_t m = 0; m < kMembers; ++m) {
    start.push_back(random_parameters(kNormalized, m));
    wave->load(static_cast<int>(m), start[m]);
  }
  const std::vector<std::int64_t> steps[] = {{3, 0, 5, 1, 0, 2}, {0, 0, 4, 6, 1, 0}, {2, 0, 0, 0, 7, 9}};
  for (const auto& step : steps) wave->train(step);
  for (std::size_t m = 0; m < kMembers; ++m) {
    SCOPED_TRACE(m);
    std::vector<float> together(start[m].size());
    wave->store(static_cast<int>(m), together);
    OneMember alone(kNormalized, data[m], seeds[m], trainings[m], start[m]);
    alone.train(steps[0][m] + steps[1][m] + steps[2][m]);
    EXPECT_TRUE(same_bits(together, alone.parameters()));
    if (m == 1) {
      EXPECT_TRUE(same_bits(together, start[m]));
    }
  }
}

// Pieces of training of any length; and what is loaded replaces parameters, nothing else.
TEST(Membership, InAnyPieces) {
  const Member member = crowd()[1];
  const std::vector<float> start = random_parameters(kNormalized, 3),
                           other = random_parameters(kNormalized, 4);
  OneMember whole(kNormalized, member.data, member.seeds, member.training, start);
  OneMember pieces(kNormalized, member.data, member.seeds, member.training, start);
  whole.train(23);
  for (const int piece : {1, 1, 2, 0, 9, 3, 7}) {
    pieces.train(piece);
    const std::vector<float> kept = pieces.parameters();
    pieces.score(Split::test);
    pieces.wave().load(0, other);
    pieces.wave().load(0, kept);
  }
  EXPECT_TRUE(same_bits(whole.parameters(), pieces.parameters()));
}

}  // namespace
}  // namespace occam::test
