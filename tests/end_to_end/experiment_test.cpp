// The executables from the command line to the files they leave behind, at sizes that take seconds.
#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "end_to_end/program.hpp"
#include "io/npz.hpp"

namespace occam::end_to_end {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

// A run that learns, in about a second; `extra` comes last.
Words small(const std::string& out, const Words& extra = {}) {
  Words words{"--device", "cpu",   "--dim",   "10", "--train",       "8000", "--test",        "2000",
              "--hidden", "30x30", "--batch", "64", "--check-every", "200",  "--max-updates", "1200",
              "--seeds",  "3",     "--out",   out};
  words.insert(words.end(), extra.begin(), extra.end());
  return words;
}

nlohmann::json read_json(const std::string& path) { return nlohmann::json::parse(content(path)); }

std::set<std::string> files_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
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
  const nlohmann::json result = read_json(folder / "out/extreme_slab/result.json");
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

  const nlohmann::json result = read_json(base + "/result.json");
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
  const nlohmann::json metrics = read_json(base + "/result.json")["cases"][0]["metrics"];
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
  const nlohmann::json crowd = read_json(folder / "two/train_slab/result.json")["cases"][0]["metrics"];
  const nlohmann::json single = read_json(folder / "one/train_slab/result.json")["cases"][0]["metrics"];
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

// Starts the command and interrupts it after some milliseconds; the delay adapts until the signal meets the
// training.
Ended interrupt_run(const Words& words, const std::string& results, const Folder& folder, int signal) {
  Ended ended;
  int delay = 400;
  for (int attempt = 0; attempt < 12; ++attempt) {
    std::filesystem::remove_all(results);
    const Program program("train_slab", words, folder);
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    program.send(signal);
    ended = program.wait();
    if (ended.code == 75) return ended;
    delay = ended.code < 0 ? delay * 2 : delay * 2 / 3;  // before the handler was there, or after the end
  }
  return ended;
}

TEST(TrainSlab, ResumesAfterAnInterruptWithTheSameBytes) {
  const Folder folder;
  Words words = small(folder / "cut", {"--stop", "none", "--lr", "0.1,0.2", "--check-every", "1500"});
  *std::find(words.begin(), words.end(), "1200") = "3000";  // --max-updates
  Words whole = words;
  *std::find(whole.begin(), whole.end(), folder / "cut") = folder / "whole";
  ASSERT_EQ(run("train_slab", whole, folder).code, 0);

  for (int signal : {SIGINT, SIGTERM}) {
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

TEST(TrainSlab, SeparateSeedsGiveSharesOfTheVariance) {
  const Folder folder;
  Words words = small(folder / "out", {"--data-seeds", "3-4", "--init-seeds", "3,5", "--order-seeds", "7"});
  const auto seeds = std::find(words.begin(), words.end(), "--seeds");
  words.erase(seeds, seeds + 2);
  const Ended ended = run("train_slab", words, folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("shares of the variance"));
  const nlohmann::json c = read_json(folder / "out/train_slab/result.json")["cases"][0];
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
  const nlohmann::json result = read_json(folder / "out/train_slab/result.json");
  EXPECT_THAT(result["provenance"]["data_checksums"]["own.npz"].get<std::string>(), StartsWith("crc32:"));
  const nlohmann::json metrics = result["cases"][0]["metrics"];
  EXPECT_GT(metrics["standard_accuracy"][0].get<double>(), 0.99);
  EXPECT_LT(metrics["s_randomized_accuracy"][0].get<double>(), 0.5);
  EXPECT_GT(metrics["T_randomized_accuracy"][0].get<double>(), 0.99);
  EXPECT_TRUE(metrics.contains("standard_auc_class2"));
}

// ---- what goes wrong --------------------------------------------------------------------------------------

void expect_error(const std::string& name, const Words& words, int code, const std::string& text,
                  const Folder& folder) {
  Words all = words;
  all.insert(all.end(), {"--out", folder / "never"});
  const Ended ended = run(name, all, folder);
  EXPECT_EQ(ended.code, code) << words.front() << ": " << ended.err;
  EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
  EXPECT_THAT(ended.err, StartsWith(name + ": "));
  EXPECT_THAT(ended.err, HasSubstr(text));
  EXPECT_FALSE(std::filesystem::exists(folder / "never")) << words.front() << " left something behind";
}

TEST(Errors, OneLineAndTheRightExitCode) {
  const Folder folder;
  for (const char* name : {"extreme_slab", "train_slab"}) {
    expect_error(name, {"--lr", "fast"}, 2, "fast", folder);
    expect_error(name, {"--nonsense"}, 2, "--nonsense", folder);
    expect_error(name, {"--device", "cpu", "--precision", "tf32"}, 2, "the CPU trains in fp32 alone", folder);
    expect_error(name, {"--device", "tpu"}, 2, "tpu", folder);
    expect_error(name, {"--device", "cuda:x"}, 2, "cuda:x", folder);
    expect_error(name, {"--device", "cuda:77"}, 4, "cuda", folder);
    expect_error(name, {"--config", "/nonexistent"}, 2, "/nonexistent", folder);
    expect_error(name, {"--data", "/nonexistent"}, 3, "/nonexistent", folder);
    expect_error(name, {"--seeds", "0"}, 2, "--seeds", folder);
  }
  expect_error("extreme_slab", {"--case", "LMS-9"}, 2, "LMS-9", folder);
  expect_error("extreme_slab", {"--table", "gru"}, 2, "gru", folder);
  std::ofstream(folder / "broken.npz") << "this is no archive";
  expect_error("train_slab", {"--data", folder / "broken.npz"}, 3, "broken.npz", folder);
}

TEST(Errors, OutputFolderThatCannotBeMade) {
  const Folder folder;
  std::ofstream(folder / "file") << "in the way";
  const Ended ended = run("train_slab", small(folder / "file"), folder);
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("--out"));
}

TEST(Errors, EveryMemberDiverged) {
  const Folder folder;
  const Ended ended = run("train_slab", small(folder / "out", {"--lr", "1000000"}), folder);
  EXPECT_EQ(ended.code, 5);
  EXPECT_THAT(ended.err, HasSubstr("diverged for every member"));
  const nlohmann::json c = read_json(folder / "out/train_slab/result.json")["cases"][0];
  EXPECT_EQ(c["status"], nlohmann::json({"diverged", "diverged", "diverged"}));
  EXPECT_EQ(c["metrics"]["standard_auc"], nlohmann::json({nullptr, nullptr, nullptr}));
}

TEST(Errors, DivergedMembersAreLeftOut) {
  const Folder folder;
  const Ended ended = run("train_slab", small(folder / "out", {"--lr", "0.1,1000000"}), folder);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("3 diverged and left out"));
}

TEST(Errors, MissingPythonCostsTheReportOnly) {
  const Folder folder;
  const Ended ended = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("no report.html"));
  EXPECT_EQ(files_in(folder / "out/train_slab"),
            (std::set<std::string>{"arrays.npz", "cases.csv", "result.json", "timing.json"}));
}

TEST(Errors, DamagedCheckpointIsRefused) {
  const Folder folder;
  std::filesystem::create_directories(folder / "out/train_slab");
  std::ofstream(folder / "out/train_slab/checkpoint") << "OCCAMCKPnothing that makes sense";
  const Ended ended = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, HasSubstr("checkpoint"));
}

TEST(Errors, HelpVersionAndDevice) {
  const Folder folder;
  for (const char* name : {"extreme_slab", "train_slab"}) {
    EXPECT_THAT(run(name, {"--help"}, folder).out, HasSubstr("--weight-decay"));
    EXPECT_THAT(run(name, {"--version"}, folder).out, StartsWith(name));
    EXPECT_THAT(run(name, {"--describe-device", "--device", "cpu"}, folder).out, StartsWith("device cpu"));
    const std::string plan =
        run(name, {"--explain-plan", "--device", "cpu", "--hidden", "100x100,300x300"}, folder).out;
    EXPECT_THAT(plan,
                HasSubstr("plan resident: a block of 256 threads owns a member; its whole batch an update"));
    EXPECT_THAT(plan, HasSubstr("plan tiled: one launch an operation"));
    EXPECT_THAT(plan, HasSubstr("20.79 MFLOP"));
    // 20.79 MFLOP at 256 a cycle and 1.98 GHz; 106,202 parameters of (300,2), read and written, at 4.8 TB/s.
    EXPECT_THAT(plan, HasSubstr("floor 41.01 us an update on one multiprocessor, 0.311 us on all: 3218"));
    EXPECT_THAT(plan, HasSubstr("0.85 MB of parameters and state through memory, 0.177 us: 433"));
    EXPECT_THAT(plan, HasSubstr("1 block a multiprocessor by shared memory, if a thread takes at most 255 "));
    EXPECT_THAT(
        run(name, {"--explain-plan", "--device", "cpu", "--hidden", "100x100", "--momentum", "0.9"}, folder)
            .out,
        HasSubstr("4 slices of 64 samples an update"));
    EXPECT_THAT(run(name, {"--explain-plan", "--device", "cpu", "--hidden", "2000"}, folder).out,
                HasSubstr("plan tiled: two launches an update of both layers"));
    EXPECT_THAT(run(name, {"--explain-plan", "--device", "cpu", "--hidden", "8"}, folder).out,
                HasSubstr("3 blocks a multiprocessor by shared memory, if a thread takes at most 80 "));
    for (const char* precision : {"tf32", "bf16"}) {
      const std::string tensor =
          run(name, {"--explain-plan", "--device", "cpu", "--precision", precision}, folder).out;
      EXPECT_THAT(tensor, HasSubstr("cpu: trains in fp32 alone"));
      EXPECT_THAT(tensor, HasSubstr(fmt::format("plan resident on tensor cores, {}: a block", precision)));
    }
  }
}

}  // namespace
}  // namespace occam::end_to_end
