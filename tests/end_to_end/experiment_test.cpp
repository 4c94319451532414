// The executables from the command line to the files they leave behind, at sizes that take seconds.
#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "end_to_end/result_files.hpp"
#include "end_to_end/small_run.hpp"
#include "io/npz.hpp"

namespace occam::end_to_end {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Sample and boundary would be a megabyte a case.
TEST(TrainSlab, PicturesAreOfTheFirstEightCases) {
  const Folder folder;
  const Ended ended = run("train_slab", {"--device",      "cpu",
                                         "--dim",         "3",
                                         "--train",       "40",
                                         "--test",        "20",
                                         "--hidden",      "4",
                                         "--batch",       "8",
                                         "--max-updates", "2",
                                         "--check-every", "2",
                                         "--stop",        "none",
                                         "--seeds",       "1",
                                         "--lr",          "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
                                         "--no-report",   "--out",
                                         folder / "out"},
                          folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const NpzReader arrays(folder / "out/train_slab/arrays.npz");
  for (const char* name : {"sample/x", "boundary/label"}) {
    EXPECT_TRUE(arrays.contains(std::string("lr=0.8/") + name)) << name;
    EXPECT_FALSE(arrays.contains(std::string("lr=0.9/") + name)) << name;
  }
  EXPECT_TRUE(arrays.contains("lr=0.9/history/updates"));
}

// The claim itself, on smaller data: what is learned is the simplest coordinate and nothing else.
TEST(ExtremeSlab, ReliesOnTheSimplestCoordinateAlone) {
  const Folder folder;
  const Ended ended =
      run("extreme_slab",
          {"--device", "cpu", "--dim",         "10",          "--train",    "20000", "--test",        "10000",
           "--batch",  "64",  "--check-every", "500",         "--patience", "200",   "--max-updates", "6000",
           "--seeds",  "4",   "--out",         folder / "out"},
          folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json result = result_of(folder / "out/extreme_slab");
  ASSERT_EQ(result["cases"].size(), 2u);
  for (const nlohmann::json& c : result["cases"]) {
    for (std::size_t seed = 0; seed < 4; ++seed) {
      const auto metric = [&](const char* name) { return c["metrics"][name][seed].get<double>(); };
      EXPECT_EQ(c["status"][seed], "converged") << c["name"];
      EXPECT_GE(metric("train_accuracy"), 0.9999) << c["name"];
      EXPECT_GE(metric("standard_auc"), 0.999) << c["name"];
      EXPECT_GE(metric("s_randomized_auc"), 0.45) << c["name"];
      EXPECT_LE(metric("s_randomized_auc"), 0.55) << c["name"];
      EXPECT_GE(metric("sc_randomized_auc"), 0.99) << c["name"];
      EXPECT_NEAR(metric("per_coordinate_simple_accuracy"), 0.5, 0.05) << c["name"];
      EXPECT_GE(metric("per_coordinate_other_least_accuracy"), 0.98) << c["name"];
    }
    // Changed settings are not the published ones.
    EXPECT_TRUE(c["published"].empty());
    EXPECT_TRUE(c["verdicts"].empty());
  }
  EXPECT_THAT(ended.out, HasSubstr("settings differ from the published protocol"));
}

TEST(TrainSlab, LeavesEverythingBehind) {
  const Folder folder;
  const Ended ended =
      run("train_slab",
          small(folder / "out",
                {"--lr", "0.05,0.2", "--measure", "per-coordinate,subset:2,swap,predictions",
                 "--measure-at-checks", "--validation", "500", "--save", "weights,data", "--keep", "2"}),
          folder, "");
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("lr=0.05"));
  const std::string base = folder / "out/train_slab";
  EXPECT_EQ(files_in(base),
            (std::set<std::string>{"arrays.npz", "cases.csv", "report.html", "result.json", "timing.json"}));

  const nlohmann::json result = result_of(base);
  EXPECT_EQ(result["schema"], 1);
  EXPECT_EQ(result["experiment"], "train_slab");
  EXPECT_EQ(result["precision"], "fp32");
  EXPECT_EQ(result["device"]["kind"], "cpu");
  EXPECT_FALSE(result["device"]["name"].get<std::string>().empty());
  for (const char* key : {"command", "commit", "dirty", "compiler", "flags", "libraries", "threads", "driver",
                          "data_checksums"})
    EXPECT_TRUE(result["provenance"].contains(key)) << key;
  ASSERT_EQ(result["cases"].size(), 2u);
  const nlohmann::json& first = result["cases"][0];
  EXPECT_EQ(first["name"], "lr=0.05");
  EXPECT_EQ(first["config"]["lr"], 0.05);
  EXPECT_EQ(first["config"]["hidden"], "30x30");
  EXPECT_EQ(first["seeds"], nlohmann::json({0, 1, 2}));
  for (const char* key : {"status", "metrics", "published", "verdicts"})
    EXPECT_TRUE(first.contains(key)) << key;
  for (const char* name : {"standard_auc", "s_randomized_auc", "sc_randomized_auc", "standard_accuracy",
                           "train_accuracy", "train_loss", "validation_accuracy", "updates", "best_at_update",
                           "best_standard_auc", "s_swapped_auc", "sc_swapped_auc", "s_randomized_agreement",
                           "subset2_least_accuracy", "per_coordinate_other_least_accuracy"})
    EXPECT_EQ(first["metrics"].value(name, nlohmann::json::array()).size(), 3u) << name;
  for (const auto& [name, values] : first["metrics"].items()) EXPECT_EQ(values.size(), 3u) << name;

  for (const char* key : {"data", "train", "measure", "total", "updates", "updates_per_second"})
    EXPECT_GT(read_json(base + "/timing.json")[key].get<double>(), 0) << key;

  const std::string csv = content(base + "/cases.csv");
  EXPECT_THAT(csv, StartsWith("case,seed,data_seed,init_seed,order_seed,status,standard_auc"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 2 * 3);

  const NpzReader arrays(base + "/arrays.npz");
  const auto shape = [&](const std::string& name) { return arrays.read("lr=0.2/" + name).shape; };
  using Shape = std::vector<std::int64_t>;
  const Shape checks = shape("history/updates");
  ASSERT_EQ(checks.size(), 2u);
  EXPECT_EQ(checks[0], 3);
  for (const char* name : {"train_accuracy", "train_loss", "test_accuracy", "test_loss",
                           "validation_accuracy", "validation_loss", "s_randomized_auc", "sc_randomized_auc"})
    EXPECT_EQ(shape(std::string("history/") + name), checks) << name;
  for (const char* name : {"standard", "s_randomized", "sc_randomized", "labels"})
    EXPECT_EQ(shape(std::string("scores/") + name), (Shape{2, 2000})) << name;
  EXPECT_EQ(shape("rotation"), (Shape{2, 10, 10}));
  EXPECT_EQ(shape("sample/x"), (Shape{2000, 10}));
  EXPECT_EQ(shape("sample/y"), (Shape{2000}));
  EXPECT_EQ(shape("boundary/a"), (Shape{100'000}));
  EXPECT_EQ(shape("boundary/label"), (Shape{100'000}));
  EXPECT_EQ(shape("per_coordinate_accuracy"), (Shape{3, 10}));
  EXPECT_EQ(shape("subset2/accuracy"), (Shape{3, 45}));
  EXPECT_EQ(shape("alignment/cosine"), (Shape{2, 30}));
  EXPECT_EQ(shape("weights/last/layers.0.weight"), (Shape{3, 30, 10}));
  EXPECT_EQ(shape("weights/best/layers.2.bias"), (Shape{3, 2}));
  EXPECT_EQ(shape("data/train_x"), (Shape{2, 8000, 10}));
  EXPECT_EQ(shape("data/validation_y"), (Shape{2, 500}));
}

TEST(TrainSlab, RecordedNumbersAgreeWithEachOther) {
  const Folder folder;
  ASSERT_EQ(run("train_slab", small(folder / "out", {"--save", "weights,data"}), folder).code, 0);
  const std::string base = folder / "out/train_slab";
  const nlohmann::json metrics = result_of(base)["cases"][0]["metrics"];
  const NpzReader arrays(base + "/arrays.npz");
  const auto table = [&](const std::string& name) { return arrays.read("default/" + name).to_float(); };

  // The saved weights on the saved test rows give the saved scores, in double precision, and these the
  // recorded accuracy.
  const auto x = table("data/test_x"), scores = table("scores/standard");
  const auto labels = arrays.read("default/data/test_y").to_int64();
  const std::size_t rows = 2000, member = 1;
  std::size_t correct = 0;
  double worst = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<double> activation(x.begin() + static_cast<std::ptrdiff_t>((member * rows + row) * 10),
                                   x.begin() + static_cast<std::ptrdiff_t>((member * rows + row + 1) * 10));
    for (int layer = 0; layer < 3; ++layer) {
      const std::string name = "weights/last/layers." + std::to_string(layer);
      static std::map<std::string, std::vector<float>> tensors;
      for (const char* tensor : {".weight", ".bias"})
        if (!tensors.contains(name + tensor)) tensors[name + tensor] = table(name + tensor);
      const auto &weight = tensors[name + ".weight"], &bias = tensors[name + ".bias"];
      const std::size_t in = activation.size(), out = bias.size() / 3;
      std::vector<double> next(out);
      for (std::size_t o = 0; o < out; ++o) {
        next[o] = bias[member * out + o];
        for (std::size_t i = 0; i < in; ++i) next[o] += activation[i] * weight[(member * out + o) * in + i];
        if (layer < 2) next[o] = std::max(0.0, next[o]);
      }
      activation = next;
    }
    const double score = activation[1] - activation[0];
    worst = std::max(worst, std::abs(score - scores[member * rows + row]));
    correct += (score > 0) == (labels[member * rows + row] == 1);
  }
  EXPECT_LT(worst, 1e-3);
  EXPECT_NEAR(static_cast<double>(correct) / rows, metrics["standard_accuracy"][member].get<double>(), 1e-3);
}

TEST(TrainSlab, SameCommandSameBytes) {
  const Folder folder;
  ASSERT_EQ(run("train_slab", small(folder / "a"), folder).code, 0);
  ASSERT_EQ(run("train_slab", small(folder / "b"), folder).code, 0);
  for (const char* name : {"result.json", "arrays.npz", "cases.csv"}) {
    const std::string bytes = content(folder / (std::string("a/train_slab/") + name));
    EXPECT_GT(bytes.size(), 500u) << name;
    EXPECT_TRUE(bytes == content(folder / (std::string("b/train_slab/") + name))) << name;
  }
}

TEST(TrainSlab, ThreadsAndCompanyDoNotChangeAMember) {
  const Folder folder;
  ASSERT_EQ(run("train_slab", small(folder / "two", {"--threads", "2"}), folder).code, 0);
  Words alone = small(folder / "one", {"--threads", "1"});
  *std::find(alone.begin(), alone.end(), "3") = "2-2";  // --seeds
  ASSERT_EQ(run("train_slab", alone, folder).code, 0);
  const nlohmann::json crowd = result_of(folder / "two/train_slab")["cases"][0]["metrics"];
  const nlohmann::json single = result_of(folder / "one/train_slab")["cases"][0]["metrics"];
  for (const auto& [name, values] : single.items()) EXPECT_EQ(values[0], crowd[name][2]) << name;
}

TEST(TrainSlab, ConfigurationFileGivesTheSameResults) {
  const Folder folder;
  const Ended printed = run("train_slab", small(folder / "a", {"--lr", "0.1,0.2", "--print-config"}), folder);
  ASSERT_EQ(printed.code, 0) << printed.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  std::ofstream(folder / "config.toml") << printed.out;
  const Ended again = run("train_slab", {"--config", folder / "config.toml", "--print-config"}, folder);
  EXPECT_EQ(again.out, printed.out);
  ASSERT_EQ(run("train_slab", small(folder / "a", {"--lr", "0.1,0.2"}), folder).code, 0);
  ASSERT_EQ(run("train_slab", {"--config", folder / "config.toml", "--out", folder / "b"}, folder).code, 0);
  EXPECT_EQ(content(folder / "a/train_slab/cases.csv"), content(folder / "b/train_slab/cases.csv"));
}

TEST(TrainSlab, ResumesAfterAnInterruptWithTheSameBytes) {
  const Folder folder;
  Words words = small(folder / "cut", {"--stop", "none", "--lr", "0.1,0.2"});
  *std::find(words.begin(), words.end(), "200") = "200,1500";  // --check-every
  *std::find(words.begin(), words.end(), "1200") = "3000";     // --max-updates
  Words whole = words;
  *std::find(whole.begin(), whole.end(), folder / "cut") = folder / "whole";
  ASSERT_EQ(run("train_slab", whole, folder).code, 0);

  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const Ended cut = interrupt_run(words, folder / "cut", folder, signal);
    ASSERT_EQ(cut.code, 75) << cut.err;
    EXPECT_EQ(cut.error_lines(), 1u) << cut.err;
    EXPECT_THAT(cut.err, HasSubstr("the same command resumes"));
    EXPECT_EQ(files_in(folder / "cut/train_slab"), (std::set<std::string>{"checkpoint"}));
    const Ended resumed = run("train_slab", words, folder);
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_THAT(resumed.err, HasSubstr("resuming"));
    EXPECT_FALSE(std::filesystem::exists(folder / "cut/train_slab/checkpoint"));
    for (const char* name : {"result.json", "arrays.npz", "cases.csv"})
      EXPECT_TRUE(content(folder / (std::string("cut/train_slab/") + name)) ==
                  content(folder / (std::string("whole/train_slab/") + name)))
          << name;
  }
}

// One member alone, broken off between two checks, goes on from there.
TEST(TrainSlab, AMemberUnderWayGoesOnWithTheSameBytes) {
  const Folder folder;
  const auto words = [&](const std::string& out) {
    return small(folder / out, {"--stop", "none", "--momentum", "0.9", "--threads", "1"});
  };
  const auto longer = [](Words all) {
    *std::find(all.begin(), all.end(), "200") = "45000";   // --check-every
    *std::find(all.begin(), all.end(), "1200") = "60000";  // --max-updates
    *std::find(all.begin(), all.end(), "3") = "1";         // --seeds
    return all;
  };
  ASSERT_EQ(run("train_slab", longer(words("whole")), folder).code, 0);
  const Ended cut = interrupt_run(longer(words("cut")), folder / "cut", folder, SIGTERM);
  ASSERT_EQ(cut.code, 75) << cut.err;
  EXPECT_THAT(cut.err, HasSubstr("0 of 1 members done; the same command resumes from"));
  const Ended resumed = run("train_slab", longer(words("cut")), folder);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("resuming: 1 of 1 members are in"));
  EXPECT_THAT(resumed.err, HasSubstr(", 1 of them under way"));
  for (const char* name : {"result.json", "arrays.npz", "cases.csv"})
    EXPECT_TRUE(content(folder / (std::string("cut/train_slab/") + name)) ==
                content(folder / (std::string("whole/train_slab/") + name)))
        << name;
}

TEST(TrainSlab, SeparateSeedsGiveSharesOfTheVariance) {
  const Folder folder;
  Words words = small(folder / "out", {"--data-seeds", "3-4", "--init-seeds", "3,5", "--order-seeds", "7"});
  const auto seeds = std::find(words.begin(), words.end(), "--seeds");
  words.erase(seeds, seeds + 2);
  const Ended ended = run("train_slab", words, folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("shares of the variance"));
  EXPECT_THAT(ended.out, HasSubstr("mean (least to most)"));  // members share seeds
  EXPECT_THAT(ended.out, Not(HasSubstr("±")));
  const nlohmann::json c = result_of(folder / "out/train_slab")["cases"][0];
  EXPECT_EQ(c["member_seeds"]["data"], nlohmann::json({3, 3, 4, 4}));
  EXPECT_EQ(c["member_seeds"]["init"], nlohmann::json({3, 5, 3, 5}));
  EXPECT_EQ(c["member_seeds"]["order"], nlohmann::json({7, 7, 7, 7}));
  const nlohmann::json shares = c["variance_shares"]["s_randomized_auc"];
  const double sum =
      shares["data"].get<double>() + shares["init"].get<double>() + shares["rest"].get<double>();
  EXPECT_NEAR(sum, 1, 1e-9);
  // The randomised AUC is that of one permutation of one test set: its spread is the data's.
  EXPECT_GT(shares["data"].get<double>(), 0.5);
}

TEST(TrainSlab, UserData) {
  const Folder folder;
  // Two groups of coordinates, both predictive; three classes.
  const int rows = 600, dim = 4;
  std::vector<float> x;
  std::vector<std::int64_t> y;
  for (int row = 0; row < rows; ++row) {
    y.push_back(row % 3);
    for (int k = 0; k < dim; ++k)
      x.push_back(static_cast<float>(k < 2 ? y.back() - 1 : 0) +
                  0.001f * static_cast<float>((row * 7 + k) % 50));
  }
  {
    NpzWriter writer(folder / "own.npz");
    writer.add("x", x, {rows, dim});
    writer.add("y", y);
    writer.close();
  }
  const Ended ended = run("train_slab", {"--device",      "cpu", "--data",        folder / "own.npz",
                                         "--test",        "200", "--groups",      "S=0-1,T=2",
                                         "--hidden",      "16",  "--batch",       "32",
                                         "--check-every", "50",  "--max-updates", "400",
                                         "--seeds",       "2",   "--out",         folder / "out"},
                          folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json result = result_of(folder / "out/train_slab");
  EXPECT_THAT(result["provenance"]["data_checksums"]["own.npz"].get<std::string>(), StartsWith("crc32:"));
  const nlohmann::json metrics = result["cases"][0]["metrics"];
  EXPECT_GT(metrics["standard_accuracy"][0].get<double>(), 0.99);
  EXPECT_LT(metrics["s_randomized_accuracy"][0].get<double>(), 0.5);
  EXPECT_GT(metrics["T_randomized_accuracy"][0].get<double>(), 0.99);
  for (const char* auc : {"standard_auc_class0", "standard_auc_class1", "standard_auc_class2"})
    EXPECT_TRUE(metrics.contains(auc)) << auc;
  EXPECT_FALSE(metrics.contains("standard_auc_class3"));
}

}  // namespace
}  // namespace occam::end_to_end
