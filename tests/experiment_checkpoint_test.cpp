#include "experiment/checkpoint.hpp"

#include <cmath>
#include <fstream>
#include <limits>

#include <gtest/gtest.h>

#include "occam/error.hpp"
#include "support/folder.hpp"

namespace occam::experiment {
namespace {

class CheckpointFile : public ::testing::Test {
 protected:
  static Records records() {
    MemberRecord record;
    Check check;
    check.updates = 5001;
    check.periodic = true;
    check.train_accuracy = 0.75;
    check.test_loss = std::numeric_limits<double>::quiet_NaN();
    check.randomized = {{0.5, 0.7, {0.25, 0.75}}};
    check.further = {{0.4, 0.8, {0.5}}, {0.3, 0.9, {}}};
    Check attacked = check;
    attacked.pgd = Score{0.2, 1.5, {0.4}};
    record.history = {{check, attacked}, 5001, FitStatus::converged, 1};
    record.metrics = {{"standard_auc", 1.0}, {"s_randomized_auc", std::numeric_limits<double>::quiet_NaN()}};
    const std::vector<float> values{1, 2, 3, 4};
    record.arrays.push_back(member_array<float>("scores/standard", values, {2, 2}, true));
    Records all;
    all[{0, 3}] = record;
    record.history.status = FitStatus::diverged;
    all[{2, 1}] = record;
    return all;
  }

  std::string content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  test::Folder folder_;
  std::filesystem::path path_ = folder_ / "checkpoint";
};

TEST_F(CheckpointFile, ReadsBackAllThatWasWritten) {
  const Records written = records();
  write_checkpoint(path_, 0x123456789ABCDEFu, {0.5, 1.5, 2.5, 4.5}, written);
  const auto read = read_checkpoint(path_);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->key, 0x123456789ABCDEFu);
  EXPECT_EQ(read->seconds.data, 0.5);
  EXPECT_EQ(read->seconds.total, 4.5);
  ASSERT_EQ(read->records.size(), 2u);
  const MemberRecord& record = read->records.at({0, 3});
  ASSERT_EQ(record.history.checks.size(), 2u);
  EXPECT_EQ(record.history.checks[1].updates, 5001);
  EXPECT_TRUE(record.history.checks[1].periodic);
  EXPECT_TRUE(std::isnan(record.history.checks[1].test_loss));
  EXPECT_EQ(record.history.checks[1].randomized.at(0).auc, (std::vector<double>{0.25, 0.75}));
  ASSERT_EQ(record.history.checks[1].further.size(), 2u);
  EXPECT_EQ(record.history.checks[1].further[1].accuracy, 0.3);
  EXPECT_FALSE(record.history.checks[0].pgd);
  ASSERT_TRUE(record.history.checks[1].pgd);
  EXPECT_EQ(record.history.checks[1].pgd->loss, 1.5);
  EXPECT_EQ(record.history.best_check, 1);
  EXPECT_EQ(record.metrics[0], (std::pair<std::string, double>{"standard_auc", 1.0}));
  EXPECT_TRUE(std::isnan(record.metrics[1].second));
  EXPECT_EQ(record.arrays[0].name, "scores/standard");
  EXPECT_EQ(record.arrays[0].shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_TRUE(record.arrays[0].single);
  EXPECT_EQ(record.arrays[0].bytes, written.at({0, 3}).arrays[0].bytes);
  EXPECT_TRUE(read->records.at({2, 1}).diverged());

  // Written again, the bytes are the same: nothing was lost on the way.
  const std::string before = content();
  write_checkpoint(path_, read->key, read->seconds, read->records);
  EXPECT_EQ(content(), before);
}

TEST_F(CheckpointFile, MembersUnderWay) {
  States states;
  states[{0, 7, 0}] = {{1234, {{1, 2, 3}, {4, 5, 6}}}, {7, 8, 9}, {-1, -2, -3}, records().at({0, 3}).history};
  states[{1, 0, 2}] = {{5, {}}, {1.5f}, {}, {}};  // with all that can be empty
  write_checkpoint(path_, 1, {}, records(), states);
  const auto read = read_checkpoint(path_);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->states.size(), 2u);
  EXPECT_EQ(read->members(), 4u);
  const MemberState& state = read->states.at({0, 7, 0});
  EXPECT_EQ(state.training.updates, 1234);
  EXPECT_EQ(state.training.optimizer, (std::vector<std::vector<float>>{{1, 2, 3}, {4, 5, 6}}));
  EXPECT_EQ(state.last, (std::vector<float>{7, 8, 9}));
  EXPECT_EQ(state.best, (std::vector<float>{-1, -2, -3}));
  EXPECT_EQ(state.history.checks.size(), 2u);
  const std::string before = content();
  write_checkpoint(path_, 1, {}, read->records, read->states);
  EXPECT_EQ(content(), before);
}

TEST_F(CheckpointFile, NoFileIsNoCheckpoint) { EXPECT_FALSE(read_checkpoint(path_)); }

TEST_F(CheckpointFile, EveryDamageIsSeen) {
  write_checkpoint(path_, 7, {}, records());
  const std::string whole = content();
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    try {
      read_checkpoint(path_);
      return false;
    } catch (const Error& error) {
      return error.kind() == ErrorKind::data;
    }
  };
  EXPECT_TRUE(refused(""));
  for (std::size_t size = 1; size < whole.size(); size += 17)
    EXPECT_TRUE(refused(whole.substr(0, size))) << size << " bytes";
  for (std::size_t at = 0; at < whole.size(); at += 13) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_TRUE(refused(flipped)) << "byte " << at;
  }
  EXPECT_FALSE(refused(whole));
}

TEST_F(CheckpointFile, CannotBeWrittenIntoNowhere) {
  EXPECT_THROW(write_checkpoint("/nonexistent/folder/checkpoint", 7, {}, records()), Error);
}

TEST_F(CheckpointFile, WhatCannotTakeItsPlaceIsNotLeft) {
  std::filesystem::create_directories(path_ / "in the way");
  EXPECT_THROW(write_checkpoint(path_, 7, {}, records()), Error);
  for (const auto& entry : std::filesystem::directory_iterator(path_.parent_path()))
    EXPECT_EQ(entry.path(), path_);
}

}  // namespace
}  // namespace occam::experiment
