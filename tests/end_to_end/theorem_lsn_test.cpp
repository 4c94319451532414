// theorem_lsn from the command line to its files: an experiment that computes its members itself.
#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "end_to_end/program.hpp"
#include "end_to_end/result_files.hpp"
#include "io/npz.hpp"

namespace occam::end_to_end {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words small(const std::string& out, const Words& extra = {}) {
  Words words{"--dim",  "8,16", "--neurons", "10", "--samples", "20000",
              "--test", "2000", "--seeds",   "3",  "--out",     out};
  words.insert(words.end(), extra.begin(), extra.end());
  return words;
}

std::string file_of(const Folder& folder, const std::string& out, const char* name) {
  return content(folder / (out + "/theorem_lsn/" + name));
}

TEST(TheoremLsn, IdentitiesHoldInAQuickRun) {
  const Folder folder;
  const Ended ended = run("theorem_lsn", {"--quick", "--dim", "20", "--out", folder / "out"}, folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("auto: this experiment computes on the CPU alone"));
  const nlohmann::json result = result_of(folder / "out/theorem_lsn");
  ASSERT_EQ(result["cases"].size(), 1u);  // one dimension has no scaling
  const nlohmann::json& c = result["cases"][0];
  EXPECT_EQ(c["config"]["samples"], 1'000'000);
  EXPECT_EQ(c["config"]["neurons"], 100);
  EXPECT_EQ(c["config"]["batch_factor"], 1);
  EXPECT_EQ(c["config"]["max_updates"], 1000);
  EXPECT_EQ(c["seeds"], nlohmann::json({0, 1}));
  EXPECT_EQ(c["verdicts"]["least_p"], "reproduced");
  EXPECT_EQ(c["verdicts"]["inactive_hinges"], "reproduced");
  for (std::size_t seed = 0; seed < 2; ++seed) {
    const auto metric = [&](const char* name) { return c["metrics"][name][seed].get<double>(); };
    EXPECT_EQ(c["status"][seed], "converged");
    EXPECT_GT(metric("max_abs_z"), 1);  // the largest of 200
    EXPECT_LT(metric("max_abs_z"), 4.4);
    EXPECT_LT(metric("max_abs_z_moved"), 4.9);
    EXPECT_GT(metric("moved_w1_over_rest"), 1);
    EXPECT_EQ(metric("standard_accuracy"), 1);
    EXPECT_NEAR(metric("s_randomized_accuracy"), 0.5, 0.025);
    EXPECT_EQ(metric("sc_randomized_accuracy"), 1);
    EXPECT_NEAR(metric("w1_sqrt_k"), 2, 0.2);
    EXPECT_LT(metric("w2_over_w1"), 0.05);
    EXPECT_LT(metric("rest_over_w1"), 0.2);
  }
}

TEST(TheoremLsn, TakesItsLargestNumbers) {
  const Folder folder;
  const Ended ended = run("theorem_lsn", {"--lr", "1000000", "--print-config"}, folder);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(run("theorem_lsn", {"--lr", "1000001", "--print-config"}, folder).code, 2);
}

TEST(TheoremLsn, LeavesEverythingBehindAndSummarizesTheCases) {
  const Folder folder;
  ASSERT_EQ(run("theorem_lsn", small(folder / "out"), folder).code, 0);
  const nlohmann::json result = result_of(folder / "out/theorem_lsn");
  ASSERT_EQ(result["cases"].size(), 3u);
  EXPECT_EQ(result["cases"][0]["name"], "LSN dim=8");
  EXPECT_EQ(result["cases"][2]["name"], "scaling over d");
  EXPECT_FALSE(result["cases"][0]["config"].contains("slabs5"));
  // Fewer samples are another protocol.
  for (const nlohmann::json& c : result["cases"]) EXPECT_TRUE(c["verdicts"].empty());
  const auto value = [&](std::size_t c, const char* name, std::size_t seed) {
    return result["cases"][c]["metrics"][name][seed].get<double>();
  };
  for (std::size_t seed = 0; seed < 3; ++seed)  // a line through two points
    EXPECT_NEAR(value(2, "w2_over_w1_slope", seed),
                std::log(value(1, "w2_over_w1", seed) / value(0, "w2_over_w1", seed)) / std::log(2.0), 1e-9);

  const NpzReader arrays(folder / "out/theorem_lsn/arrays.npz");
  using Shape = std::vector<std::int64_t>;
  const NpyArray at_checks = arrays.read("LSN dim=8/history/test_accuracy");  // there is no test set
  EXPECT_THAT(at_checks.values<double>(), ::testing::Each(::testing::IsNan()));
  for (const char* name : {"identities/initial_z1", "identities/initial_z2", "identities/moved_z1",
                           "identities/moved_z2", "neurons/w1", "neurons/w2", "neurons/rest"})
    EXPECT_EQ(arrays.read(std::string("LSN dim=16/") + name).shape, (Shape{3, 10})) << name;
  EXPECT_EQ(arrays.read("LSN dim=8/history/train_loss").shape[0], 3);
  const std::string csv = file_of(folder, "out", "cases.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 3 * 3);
}

TEST(TheoremLsn, ThreadsCompanyAndConfigurationDoNotChangeAMember) {
  const Folder folder;
  ASSERT_EQ(run("theorem_lsn", small(folder / "one", {"--threads", "1"}), folder).code, 0);
  ASSERT_EQ(run("theorem_lsn", small(folder / "three", {"--threads", "3"}), folder).code, 0);
  for (const char* name : {"arrays.npz", "cases.csv"})
    EXPECT_TRUE(file_of(folder, "one", name) == file_of(folder, "three", name)) << name;

  Words alone = small(folder / "alone");
  *std::find(alone.begin(), alone.end(), "8,16") = "16";
  *std::find(alone.begin(), alone.end(), "3") = "2-2";
  ASSERT_EQ(run("theorem_lsn", alone, folder).code, 0);
  const nlohmann::json one = result_of(folder / "one/theorem_lsn"),
                       other = result_of(folder / "alone/theorem_lsn");
  for (const auto& [name, values] : other["cases"][0]["metrics"].items())
    EXPECT_EQ(values[0], one["cases"][1]["metrics"][name][2]) << name;

  const Ended printed = run("theorem_lsn", small(folder / "config", {"--print-config"}), folder);
  ASSERT_EQ(printed.code, 0) << printed.err;
  EXPECT_THAT(printed.out, HasSubstr("dim = [8, 16]"));
  EXPECT_EQ(printed.out.find("slabs5"), std::string::npos);
  EXPECT_EQ(printed.out.find("measure"), std::string::npos);
  std::ofstream(folder / "file.toml") << printed.out;
  const Ended read = run("theorem_lsn", {"--config", folder / "file.toml"}, folder);
  ASSERT_EQ(read.code, 0) << read.err;
  EXPECT_TRUE(file_of(folder, "config", "cases.csv") == file_of(folder, "one", "cases.csv"));
}

TEST(TheoremLsn, ResumesAfterAnInterruptWithTheSameBytes) {
  const Folder folder;
  // Members of about a tenth of a second.
  const auto words = [&](const char* out) {
    return Words{"--dim",   "30,40", "--neurons", "40", "--samples", "300000",
                 "--seeds", "6",     "--threads", "1",  "--out",     folder / out};
  };
  ASSERT_EQ(run("theorem_lsn", words("whole"), folder).code, 0);
  Ended cut;
  for (int attempt = 0, delay = 500; attempt < 12 && cut.code != 75; ++attempt) {
    std::filesystem::remove_all(folder / "cut");
    const Program program("theorem_lsn", words("cut"), folder);
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    program.send(SIGINT);
    cut = program.wait();
    delay = cut.code < 0 ? delay * 2 : delay * 2 / 3;
  }
  ASSERT_EQ(cut.code, 75) << cut.err;
  EXPECT_EQ(cut.error_lines(), 1u) << cut.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "cut/theorem_lsn/checkpoint"));
  const Ended resumed = run("theorem_lsn", words("cut"), folder);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("resuming"));
  for (const char* name : {"result.json", "arrays.npz", "cases.csv"})
    EXPECT_TRUE(file_of(folder, "cut", name) == file_of(folder, "whole", name)) << name;
}

TEST(TheoremLsn, ErrorsAreOneLineWithTheRightExitCode) {
  const Folder folder;
  const struct {
    Words words;
    int code;
    const char* said;
  } cases[] = {
      {{"--device", "cuda"}, 4, "computes on the CPU alone"},
      {{"--device", "cuda:1"}, 4, "computes on the CPU alone"},
      {{"--device", "tpu"}, 2, "--device: 'tpu'"},
      {{"--dim", "2"}, 2, "--dim"},
      {{"--neurons", "5"}, 2, "not an even number"},
      {{"--lr", "fast"}, 2, "--lr"},
      {{"--lr", "-1"}, 2, "--lr"},
      {{"--dim", "8,8"}, 2, "--dim: 8 is given twice"},
      {{"--dim", "8,08"}, 2, "--dim: 8 and 08 are one value"},
      {{"--lr", "0.1,.1"}, 2, "--lr: 0.1 and .1 are one value"},
      {{"--hidden", "100"}, 2, "--hidden"},
      {{"--measure", "swap"}, 2, "--measure"},
      {{"--precision", "bf16"}, 2, "--precision"},
      {{"--data-seeds", "1", "--init-seeds", "5", "--seeds", "4"}, 2, "--seeds"},
  };
  for (const auto& [words, code, said] : cases) {
    Words all = words;
    all.insert(all.end(), {"--out", folder / "out"});
    const Ended ended = run("theorem_lsn", all, folder);
    EXPECT_EQ(ended.code, code) << words[0] << ' ' << words[1] << ": " << ended.err;
    EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(said));
    EXPECT_FALSE(std::filesystem::exists(folder / "out/theorem_lsn/result.json"));
  }
}

}  // namespace
}  // namespace occam::end_to_end
