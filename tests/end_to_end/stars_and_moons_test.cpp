// stars_and_moons as a user runs it, at reduced size: the claim, what a run leaves behind, and refusals.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "end_to_end/program.hpp"
#include "end_to_end/result_files.hpp"
#include "io/npz.hpp"
#include "occam/shapes.hpp"

namespace occam::end_to_end {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

// 40 x 40 pixels, a small network, few images.
Words small(const Folder& folder, const std::string& out, const Words& more) {
  Words words = {"--device",      "cpu",    "--canvas", "40x40",   "--hidden", "64x64",         "--train",
                 "600",           "--test", "400",      "--batch", "50",       "--max-updates", "80",
                 "--check-every", "40",     "--lr",     "0.001",   "--out",    folder / out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(StarsAndMoons, NetworksLearnThePlace) {
  const Folder folder;
  const Ended ended = run("stars_and_moons", small(folder, "out", {"--seeds", "3", "--keep", "2"}), folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("swapped_accuracy"));
  const nlohmann::json of = result_of(folder / "out/stars_and_moons")["cases"][0];
  for (int seed = 0; seed < 3; ++seed) {
    const auto metric = [&](const char* name) { return of["metrics"][name][seed].get<double>(); };
    EXPECT_GE(metric("iid_accuracy"), 0.99);
    EXPECT_NEAR(metric("uniform_accuracy"), 0.5, 0.15);
    EXPECT_LE(metric("swapped_accuracy"), 0.05);
    EXPECT_LE(metric("conflict_accuracy"), 0.05);
    EXPECT_EQ(metric("updates"), 80);
  }
  EXPECT_EQ(of["config"]["canvas"], "40x40");
  EXPECT_EQ(of["config"]["inputs"], 1600);
  EXPECT_FALSE(of["config"].contains("slabs5"));
  EXPECT_TRUE(of["verdicts"].empty()) << "not the published protocol";

  const NpzReader arrays(folder / "out/stars_and_moons/arrays.npz");
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(arrays.read("FCN/masks").shape, (Shape{2, 40, 40}));
  EXPECT_EQ(arrays.read("FCN/scores/swapped").shape, (Shape{2, 400}));
  EXPECT_EQ(arrays.read("FCN/offsets/uniform").shape, (Shape{2, 400, 2}));
  EXPECT_EQ(arrays.read("FCN/offsets/conflict").shape, (Shape{2, 400, 2}));
  EXPECT_EQ(arrays.read("FCN/images/conflict").shape, (Shape{12, 40, 40}));
  EXPECT_EQ(arrays.read("FCN/images/iid").shape, (Shape{12, 40, 40}));
  EXPECT_EQ(arrays.read("FCN/saliency/iid").shape, (Shape{12, 40, 40}));
  // Scores say what the accuracy says.
  const NpyArray scores = arrays.read("FCN/scores/uniform");
  const std::vector<float> score = scores.to_float();
  const std::vector<std::int64_t> label = arrays.read("FCN/classes/uniform").to_int64();
  int right = 0;
  for (std::size_t i = 0; i < 400; ++i) right += (score[i] > 0) == (label[i] == 1);
  EXPECT_NEAR(right / 400.0, of["metrics"]["uniform_accuracy"][0].get<double>(), 1e-9);
}

TEST(StarsAndMoons, MeasuresTheOtherSetsAlongTraining) {
  const Folder folder;
  const Words more = {"--seeds", "2", "--measure-at-checks"};
  const Ended ended = run("stars_and_moons", small(folder, "out", more), folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json metrics = result_of(folder / "out/stars_and_moons")["cases"][0]["metrics"];
  const NpzReader arrays(folder / "out/stars_and_moons/arrays.npz");
  const std::vector<std::int64_t> updates = arrays.read("FCN/history/updates").to_int64();
  ASSERT_EQ(updates, (std::vector<std::int64_t>{1, 41, 80, 1, 41, 80}));
  for (const std::string set : {"uniform", "swapped", "conflict"}) {
    SCOPED_TRACE(set);
    const std::vector<float> accuracy = arrays.read("FCN/history/" + set + "_accuracy").to_float();
    ASSERT_EQ(accuracy.size(), updates.size());
    for (std::size_t seed = 0; seed < 2; ++seed) {
      EXPECT_FLOAT_EQ(accuracy[3 * seed + 2], metrics[set + "_accuracy"][seed].get<float>());
      if (set == "uniform") {
        EXPECT_NE(accuracy[3 * seed], accuracy[3 * seed + 2]);
      }
    }
  }
  EXPECT_FALSE(arrays.contains("FCN/history/s_randomized_auc"));
}

TEST(StarsAndMoons, TheSameCommandGivesTheSameBytesWhateverTheThreads) {
  const Folder folder;
  for (const char* out : {"a", "b"})
    ASSERT_EQ(
        run("stars_and_moons",
            small(folder, out, {"--seeds", "2", "--threads", std::strcmp(out, "a") == 0 ? "1" : "2"}), folder)
            .code,
        0);
  EXPECT_EQ(content(folder / "a/stars_and_moons/arrays.npz"),
            content(folder / "b/stars_and_moons/arrays.npz"));
  EXPECT_EQ(result_of(folder / "a/stars_and_moons")["cases"],
            result_of(folder / "b/stars_and_moons")["cases"]);
}

TEST(StarsAndMoons, ShapeWinsWherePlacesSayNothing) {
  const Folder folder;
  const Ended ended =
      run("stars_and_moons", small(folder, "out", {"--seeds", "1", "--sweep", "bias", "--quiet"}), folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json cases = result_of(folder / "out/stars_and_moons")["cases"];
  ASSERT_EQ(cases.size(), 8u);
  EXPECT_EQ(cases.front()["config"]["bias"], 1.0);
  EXPECT_EQ(cases.back()["config"]["bias"], 0.0);
  const auto accuracy = [&](const char* set, std::size_t at) {
    return cases[at]["metrics"][std::string(set) + "_accuracy"][0].get<double>();
  };
  EXPECT_LT(accuracy("swapped", 0), 0.05);
  EXPECT_LT(accuracy("conflict", 0), 0.05);
  EXPECT_GT(accuracy("swapped", 7), 0.4);
  // Where places say nothing, none is harder than another; of swapped ones, some were never seen with the shape.
  EXPECT_GT(accuracy("conflict", 7), 0.9);
  EXPECT_GT(accuracy("conflict", 7), accuracy("swapped", 7));
}

TEST(StarsAndMoons, ConflictIsLeftOutWhereNoPlaceConflicts) {
  const Folder folder;
  const Ended ended = run("stars_and_moons",
                          small(folder, "out", {"--seeds", "2", "--uniform1", "0:1:0:1,published"}), folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json cases = result_of(folder / "out/stars_and_moons")["cases"];
  const NpzReader arrays(folder / "out/stars_and_moons/arrays.npz");
  for (const bool conflicts : {false, true}) {
    const nlohmann::json& of = cases[conflicts ? 1 : 0];
    EXPECT_EQ(of["metrics"].contains("conflict_accuracy"), conflicts);
    EXPECT_EQ(of["metrics"]["swapped_accuracy"].size(), 2u);
    const std::string name = of["name"].get<std::string>() + "/";
    for (const char* array : {"scores/conflict", "images/conflict", "saliency/conflict"})
      EXPECT_EQ(arrays.contains(name + array), conflicts) << array;
    EXPECT_TRUE(arrays.contains(name + "saliency/swapped"));
  }
}

TEST(StarsAndMoons, MasksOfTheUsersOwn) {
  const Folder folder;
  const Mask mask = star(40, 40);
  {
    std::vector<std::uint8_t> pixels(mask.coverage.begin(), mask.coverage.end());
    std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 40), }";
    header += std::string(64 - (10 + header.size() + 1) % 64, ' ') + "\n";
    std::ofstream file(folder / "star.npy", std::ios::binary);
    file << "\x93NUMPY" << '\x01' << '\x00' << static_cast<char>(header.size()) << '\x00' << header;
    file.write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
  }
  ASSERT_EQ(
      run("stars_and_moons", small(folder, "own", {"--seeds", "1", "--mask0", folder / "star.npy"}), folder)
          .code,
      0);
  ASSERT_EQ(run("stars_and_moons", small(folder, "built", {"--seeds", "1"}), folder).code, 0);
  const nlohmann::json own = result_of(folder / "own/stars_and_moons"),
                       built = result_of(folder / "built/stars_and_moons");
  EXPECT_EQ(own["cases"][0]["metrics"], built["cases"][0]["metrics"]) << "the same pixels";
  EXPECT_TRUE(own["provenance"]["data_checksums"].contains("star.npy"));
}

TEST(StarsAndMoons, ImpossibleFlagsAreOneLine) {
  const Folder folder;
  const auto refused = [&](const Words& words, int code, const std::string& part) {
    const Ended ended = run("stars_and_moons", small(folder, "out", words), folder);
    EXPECT_EQ(ended.code, code) << part;
    EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(part));
  };
  refused({"--no-crop"}, 2, "off the canvas");
  refused({"--bias", "1.5"}, 2, "bias 1.5");
  refused({"--biased0", "1:2:3"}, 2, "LEFT:RIGHT:TOP:BOTTOM");
  refused({"--uniform1", "90:91:0:1"}, 2, "pushes the whole shape");
  refused({"--scale", "0"}, 2, "scale 0");
  refused({"--contrast", "0"}, 2, "contrast 0");
  refused({"--contrast", "1e39"}, 2, "contrast 1e+39");
  refused({"--contrast", "1e-50"}, 2, "contrast 1e-50");
  refused({"--background", "1e39"}, 2, "background 1e+39");
  refused({"--sweep", "width"}, 2, "(--sweep width, --hidden)");
  refused({"--mask0", folder / "none.png"}, 3, "none.png");
  refused({"--input-dropout", "0.1"}, 2, "input-dropout");
  refused({"--simple", "0"}, 2, "simple");
  refused({"--sweep", "colour"}, 2, "colour");
  refused({"--save", "data"}, 2, "--save data");
  EXPECT_FALSE(std::filesystem::exists(folder / "out/stars_and_moons"));
}

// What a plan says of memory: weights of pixels that no training image lights stay, unless they decay.
TEST(StarsAndMoons, ExplainsItsPlan) {
  const Folder folder;
  const auto explained = [&](const Words& more) {
    Words words = {"--explain-plan"};
    words.insert(words.end(), more.begin(), more.end());
    return run("stars_and_moons", small(folder, "out", words), folder).out;
  };
  const auto number_before = [](const std::string& text, const std::string& mark) {
    const std::size_t end = text.find(mark);
    EXPECT_NE(end, std::string::npos) << mark << " in " << text;
    return std::stod(text.substr(text.find_last_of(" ;\n", end - 1) + 1));
  };
  const std::string some = explained({}), all = explained({"--weight-decay", "0.01"});
  const double lit = number_before(some, "% of them;"), live = number_before(some, "%\n");
  EXPECT_GT(lit, 1);
  EXPECT_GT(live, 3 * lit);
  EXPECT_LT(live, 95);
  EXPECT_EQ(number_before(all, "%\n"), 100);
  // 1600-64-64-2 with Adam: value and two moments, 4 bytes each, read and written.
  const double first = 1600 * 64, rest = 64 + 64 * 64 + 64 + 64 * 2 + 2, mb = 2 * 3 * 4e-6;
  EXPECT_NEAR(number_before(all, " MB of parameters"), (first + rest) * mb, 0.006);
  EXPECT_NEAR(number_before(some, " MB of parameters"), (first * live / 100 + rest) * mb, 0.006);
}

}  // namespace
}  // namespace occam::end_to_end
