// Cases of images of shapes, from flags to a plan: what is recorded of canvas and places, and which canvases and
// masks do not go together.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiment/plan.hpp"
#include "io/npy_header.hpp"
#include "occam/error.hpp"
#include "support/folder.hpp"
#include "support/message_of.hpp"

namespace occam::experiment {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Case> own_cases() {
  return {{.name = "FCN", .shapes = ShapeRecipe{.train = 40, .test = 40}, .network = {.hidden = {4}}}};
}

CommandLine parse(std::vector<std::string> words, const std::vector<OwnOption>& own = {}) {
  words.insert(words.begin(), "tool");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  return read_command_line("tool", "A claim.", own, false, static_cast<int>(argv.size()), argv.data(),
                           nullptr, DataKind::shapes);
}

PlannedCase planned(const std::vector<std::string>& words) {
  return make_plan("tool", own_cases(), parse(words).options, false, 1).cases.front();
}

std::string refusal(const std::vector<std::string>& words) {
  return test::message_of(ErrorKind::usage, [&] { planned(words); });
}

// Masks of the user's own, in a folder of the test's own.
class ShapeCases : public testing::Test {
 protected:
  std::string mask(const std::string& name, int height, int width) const {
    const std::string path = folder_ / name;
    std::vector<std::uint8_t> values(static_cast<std::size_t>(height * width), 0);
    values[static_cast<std::size_t>(height / 2 * width + width / 2)] = 1;
    std::ofstream file(path, std::ios::binary);
    file << npy_header(NpyType::uint8, std::vector<std::int64_t>{height, width});
    file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size()));
    return path;
  }

  test::Folder folder_;
};

TEST_F(ShapeCases, TheCanvasAndThePlacesThatAreUsedAreRecorded) {
  const auto config = planned({}).config;
  EXPECT_EQ(config["canvas"], "200x200");
  EXPECT_EQ(config["biased0"], "-46:-22:44:64+55:78:-56:-33");
  EXPECT_EQ(config["uniform1"], "-53:60:-65:70");
  EXPECT_TRUE(planned({}).as_published);

  const auto small = planned({"--canvas", "40x40", "--biased1", "1:2:3:4"}).config;
  EXPECT_EQ(small["canvas"], "40x40");
  EXPECT_EQ(small["biased0"], "-9:-4:9:13+11:16:-11:-7");
  EXPECT_EQ(small["biased1"], "1:2:3:4");
  const auto file = planned({"--mask0", mask("a.npy", 40, 20), "--mask1", mask("b.npy", 40, 20)}).config;
  EXPECT_EQ(file["canvas"], "40x20");
  EXPECT_EQ(file["biased0"], "-5:-2:9:13+6:8:-11:-7");
}

// Flags take what is recorded, and make the same case of it.
TEST_F(ShapeCases, WhatIsRecordedIsReadBack) {
  const auto again = [](const nlohmann::ordered_json& config) {
    std::vector<std::string> words;
    for (const char* flag : {"canvas", "biased0", "biased1", "uniform0", "uniform1"})
      words.push_back(fmt::format("--{}={}", flag, config[flag].get<std::string>()));
    return planned(words);
  };
  const PlannedCase usual = planned({}), small = planned({"--canvas", "40x60"});
  EXPECT_EQ(again(usual.config).config, usual.config);
  EXPECT_TRUE(again(usual.config).as_published);
  EXPECT_EQ(again(small.config).config, small.config);
  EXPECT_FALSE(small.as_published);
  EXPECT_EQ(planned({"--canvas", "auto", "--biased0", "published"}).config, usual.config);
}

// So a configuration with masks of another size than the usual canvas can be read back.
TEST_F(ShapeCases, APrintedConfigurationLeavesTheCanvasToTheMasks) {
  const CommandLine line = parse({"--mask0", mask("a.npy", 40, 20), "--mask1", mask("b.npy", 40, 20)});
  const std::string text =
      config_text("tool", line.options, {}, own_cases(), "1", false, fields(DataKind::shapes));
  EXPECT_THAT(text, HasSubstr("canvas = \"auto\"\n"));
  EXPECT_THAT(text, HasSubstr("biased0 = \"published\"\n"));
  const std::string path = folder_ / "c.toml";
  std::ofstream(path) << text;
  EXPECT_EQ(planned({"--config", path}).config["canvas"], "40x20");
}

TEST_F(ShapeCases, CanvasesThatMasksDoNotFit) {
  const std::string a = mask("a.npy", 30, 20), b = mask("b.npy", 30, 20), c = mask("c.npy", 20, 30);
  EXPECT_EQ(refusal({"--canvas", "30x20", "--mask0", a, "--mask1", b}), "no error");
  EXPECT_EQ(
      refusal({"--canvas", "40x40", "--mask0", a, "--mask1", b}),
      fmt::format("--canvas: 40 x 40 pixels, but {} has 30 x 20; leave the flag out, or give 30x20", a));
  EXPECT_EQ(
      refusal({"--canvas", "30x20", "--mask0", a, "--mask1", c}),
      fmt::format("--canvas: 30 x 20 pixels, but {} has 20 x 30; leave the flag out, or give 20x30", c));
  EXPECT_EQ(refusal({"--mask0", a, "--mask1", c}),
            fmt::format("--mask1: {} has 30 x 20 pixels, but {} 20 x 30; both need one size", a, c));
  EXPECT_EQ(refusal({"--mask0", a}),
            fmt::format("--canvas: {} has 30 x 20 pixels, but crescent 200 x 200; give 30x20", a));
  EXPECT_EQ(refusal({"--mask1", c}),
            fmt::format("--canvas: {} has 20 x 30 pixels, but star 200 x 200; give 20x30", c));
  EXPECT_EQ(refusal({"--mask0", a, "--canvas", "30x20"}), "no error");
  EXPECT_EQ(refusal({"--mask0", a, "--canvas", "40x40"}),
            fmt::format("--canvas: 40 x 40 pixels, but {} has 30 x 20; give 30x20", a));
  EXPECT_THAT(refusal({"--canvas", "257x256"}), HasSubstr("257 x 256 pixels"));
  EXPECT_THAT(refusal({"--canvas", "257x256"}), HasSubstr("--canvas"));
}

TEST_F(ShapeCases, AFlagThatUndoesASweepIsNamedWithIt) {
  std::vector<Case> own = own_cases();
  own.push_back(own.front());
  own[0].name = "width=16", own[0].network.hidden = {16, 16};
  own[1].name = "width=64", own[1].network.hidden = {64, 64};
  std::string swept = "width", untouched;
  const std::vector<OwnOption> options = {{"sweep", &swept, "help", {"width"}},
                                          {"other", &untouched, "help", {}}};
  const CommandLine line =
      parse({"--sweep", "width", "--test", "30", "--hidden", "64x64", "--lr", "0.1"}, options);
  const std::string message =
      test::message_of(ErrorKind::usage, [&] { make_plan("tool", own, line.options, false, 1); });
  EXPECT_THAT(message, HasSubstr("cases 'width=16' and 'width=64' are the same run"));
  EXPECT_THAT(message, HasSubstr("(--sweep width, --hidden)"));
}

}  // namespace
}  // namespace occam::experiment
