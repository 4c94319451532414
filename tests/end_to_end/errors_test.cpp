// What goes wrong ends in one line and the documented exit code, with nothing lost.
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "end_to_end/result_files.hpp"
#include "end_to_end/small_run.hpp"
#include "experiment/checkpoint.hpp"
#include "experiment/folder.hpp"

namespace occam::end_to_end {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

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

// A variable of the shell that is not set.
TEST(Errors, AnEmptyWordIsNoValue) {
  const Folder folder;
  for (const char* flag : {"--data", "--config", "--threads", "--keep", "--seeds", "--lr", "--groups"})
    expect_error("train_slab", {flag, ""}, 2, std::string(flag) + ": a value is needed", folder);
  expect_error("extreme_slab", {"--case", ""}, 2, "--case: a value is needed", folder);
  expect_error("adversarial_training", {"--epochs", ""}, 2, "--epochs: a value is needed", folder);
  std::ofstream(folder / "empty.toml") << "threads = \"\"\n";
  expect_error("train_slab", {"--config", folder / "empty.toml"}, 2, "--threads: a value is needed", folder);
}

TEST(Errors, LineBreaksAndEscapesStayOutOfMessages) {
  const Folder folder;
  expect_error("train_slab", {"--lr", "a\nb"}, 2, "--lr: 'a?b' is not a finite number", folder);
  expect_error("train_slab", {"--init-seeds", "\x1b[31m"}, 2, "'?[31m'", folder);
  expect_error("train_slab", {"--data", "a\nb"}, 3, "--data: a?b: No such file", folder);
}

TEST(Errors, FilesThatCannotBeLookedAt) {
  const Folder folder;
  const std::string endless = folder / "endless";
  std::filesystem::create_symlink("endless", endless);
  for (const char* name : {"train_slab", "extreme_slab"}) {
    expect_error(name, {"--data", std::string(300, 'a')}, 3, "--data: aaa", folder);
    expect_error(name, {"--data", endless}, 3, "--data: " + endless, folder);
  }
  expect_error("train_slab", {"--config", std::string(folder / ".")}, 2, "--config: ", folder);
}

TEST(Errors, OutputFolderThatCannotBeMade) {
  const Folder folder;
  std::ofstream(folder / "file") << "in the way";
  for (const std::string& out : {folder / "file", folder / "new/" + std::string(300, 'a')}) {
    const Ended ended = run("train_slab", small(out), folder);
    EXPECT_EQ(ended.code, 2);
    EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("--out"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "new"));
}

// What was asked for has not arrived: an empty file would be a configuration, of the defaults.
TEST(Errors, WhatCannotBePrintedIsADataError) {
  const Folder folder;
  for (const char* flag : {"--print-config", "--help", "--version", "--describe-device", "--explain-plan"}) {
    const std::string command = std::string(OCCAM_BUILD_DIR) + "/experiments/train_slab " + flag +
                                " --device cpu > /dev/full 2> " + std::string(folder / "stderr");
    const int status = std::system(command.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 3) << flag;
    EXPECT_THAT(content(folder / "stderr"), HasSubstr("standard output cannot be written")) << flag;
  }
}

// `| head -1`, say.
TEST(Errors, AReaderThatHasGoneCostsNothing) {
  const Folder folder;
  std::string command = std::string(OCCAM_BUILD_DIR) + "/experiments/train_slab";
  for (const std::string& word : small(folder / "out", {"--no-report"})) command += " " + word;
  command = "bash -c 'set -o pipefail; " + command + " 2> " + folder / "stderr" + " | head -1 > /dev/null'";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 0);
  EXPECT_THAT(content(folder / "stderr"), HasSubstr("standard output cannot be written; results are in"));
  EXPECT_EQ(files_in(folder / "out/train_slab"),
            (std::set<std::string>{"arrays.npz", "cases.csv", "result.json", "timing.json"}));
}

TEST(Errors, AFolderThatIsGoneIsMadeAgain) {
  const Folder folder;
  const std::filesystem::path out = std::string(folder / "out");
  experiment::make_folder(out);
  std::filesystem::remove(out);
  const experiment::Staging staging(out);
  EXPECT_TRUE(std::filesystem::is_directory(staging.path()));
  std::ofstream(folder / "file") << "in its place";
  try {
    const experiment::Staging nowhere(std::string(folder / "file"));
    ADD_FAILURE() << "a file is no folder";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
  }
}

// What --config would not read.
TEST(Errors, AConfigurationThatCannotBeReadAgainIsNotPrinted) {
  const Folder folder;
  for (const char* out : {"#x", "two\nlines"}) {
    const Ended ended = run("train_slab", {"--out", out, "--print-config"}, folder);
    EXPECT_EQ(ended.code, 2) << out;
    EXPECT_EQ(ended.out, "") << out;
    EXPECT_THAT(ended.err, HasSubstr("what --print-config would print")) << out;
  }
}

TEST(Errors, EveryMemberDiverged) {
  const Folder folder;
  std::filesystem::create_directories(folder / "out/train_slab");
  experiment::write_checkpoint(folder / "out/train_slab/checkpoint", 7, {}, {});  // of nobody
  const Ended ended = run("train_slab", small(folder / "out", {"--lr", "1000000"}), folder);
  EXPECT_EQ(ended.code, 5);
  EXPECT_THAT(ended.err, HasSubstr("diverged for every member"));
  const nlohmann::json c = result_of(folder / "out/train_slab")["cases"][0];
  EXPECT_FALSE(
      std::filesystem::exists(folder / "out/train_slab/checkpoint"));  // would refuse the next command
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

// What fails behind the training does not cost the training.
TEST(Errors, ResultsThatCannotBeWrittenLeaveACheckpoint) {
  const Folder folder;
  const std::string in_the_way = folder / "out/train_slab/result.json";
  std::filesystem::create_directories(in_the_way + "/x");
  const Ended ended = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(ended.code, 3) << ended.err;
  EXPECT_EQ(ended.error_lines(), 2u) << ended.err;  // and that there is no report
  EXPECT_THAT(ended.err, AllOf(HasSubstr("result.json: cannot be replaced"),
                               HasSubstr("3 of 3 members done; the same command resumes from")));
  EXPECT_EQ(files_in(folder / "out/train_slab"), (std::set<std::string>{"checkpoint", "result.json"}));

  std::filesystem::remove_all(in_the_way);
  const Ended resumed = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("resuming: 3 of 3 members"));
  ASSERT_EQ(run("train_slab", small(folder / "whole"), folder).code, 0);
  for (const char* name : {"result.json", "arrays.npz"})
    EXPECT_TRUE(content(folder / (std::string("out/train_slab/") + name)) ==
                content(folder / (std::string("whole/train_slab/") + name)))
        << name;
}

TEST(Errors, OneRunAtATimeWritesIntoAFolder) {
  const Folder folder;
  std::filesystem::create_directories(folder / "out/train_slab/.partial-1");  // of a run that was killed
  std::optional<experiment::FolderLock> lock(folder / "out/train_slab");
  const Ended second = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(second.code, 2);
  EXPECT_EQ(second.error_lines(), 1u) << second.err;
  EXPECT_THAT(second.err, HasSubstr("another run is writing into"));
  EXPECT_TRUE(std::filesystem::exists(folder / "out/train_slab/.partial-1")) << "it may be the other's";
  lock.reset();
  EXPECT_EQ(run("train_slab", small(folder / "out"), folder).code, 0);
  EXPECT_EQ(files_in(folder / "out/train_slab"),
            (std::set<std::string>{"arrays.npz", "cases.csv", "result.json", "timing.json"}));
}

TEST(Errors, NoReportIsNoWarning) {
  const Folder folder;
  std::filesystem::create_directories(folder / "out/train_slab");
  std::ofstream(folder / "out/train_slab/report.html") << "of an earlier run";
  const Ended ended = run("train_slab", small(folder / "out", {"--no-report"}), folder);
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.err, "");
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train_slab/report.html"));
  const auto command = result_of(folder / "out/train_slab")["provenance"]["command"];
  EXPECT_THAT(command.get<std::string>(), Not(HasSubstr("report")));
}

TEST(Errors, DamagedCheckpointIsRefused) {
  const Folder folder;
  std::filesystem::create_directories(folder / "out/train_slab");
  std::ofstream(folder / "out/train_slab/checkpoint") << "OCCAMCKPnothing that makes sense";
  const Ended ended = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, HasSubstr("checkpoint"));
  std::filesystem::create_directories(folder / "other/train_slab/checkpoint");
  const Ended other = run("train_slab", small(folder / "other"), folder);
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("is a folder, where the checkpoint belongs"));
}

// It may hold hours of training, and would be replaced.
TEST(Errors, ACheckpointThatCannotBeReadIsKept) {
  const Folder folder;
  std::filesystem::create_directories(folder / "out/train_slab");
  std::filesystem::create_symlink("checkpoint", folder / "out/train_slab/checkpoint");
  const Ended ended = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(ended.code, 3);
  EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("checkpoint cannot be read"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "out/train_slab/checkpoint"));
}

// Nobody's hours of training make way for another run.
TEST(Errors, AnotherCommandsCheckpointIsKept) {
  const Folder folder;
  const std::string path = folder / "out/train_slab/checkpoint";
  std::filesystem::create_directories(folder / "out/train_slab");
  experiment::Records records;
  records[{0, 0}], records[{0, 1}];
  experiment::write_checkpoint(path, 7, {}, records);
  const std::string before = content(path);
  const Ended ended = run("train_slab", small(folder / "out"), folder);
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("2 members that another command or build trained"));
  EXPECT_EQ(content(path), before);
  EXPECT_EQ(files_in(folder / "out/train_slab"), (std::set<std::string>{"checkpoint"}));

  experiment::write_checkpoint(path, 7, {}, {});  // of nobody
  EXPECT_EQ(run("train_slab", small(folder / "out"), folder).code, 0);
}

TEST(Errors, HelpVersionAndDevice) {
  const Folder folder;
  // All settings are all cases, which seeds alone do not bring back.
  const std::string full = run("adversarial_training", {"--full", "--print-config"}, folder).out;
  EXPECT_THAT(full, AllOf(HasSubstr("full = true\n"), Not(HasSubstr("\nseeds = "))));
  for (const char* name : {"extreme_slab", "train_slab"}) {
    EXPECT_THAT(run(name, {"--help"}, folder).out,
                AllOf(HasSubstr("--weight-decay"), HasSubstr("Exit codes: 0 done")));
    EXPECT_THAT(run(name, {"--version"}, folder).out, StartsWith(name));
    EXPECT_THAT(run(name, {"--describe-device", "--device", "cpu"}, folder).out, StartsWith("device cpu"));
    const std::string plan =
        run(name, {"--explain-plan", "--device", "cpu", "--hidden", "100x100,300x300"}, folder).out;
    EXPECT_THAT(plan,
                HasSubstr("plan resident: a block of 256 threads owns a member; its whole batch an update"));
    EXPECT_THAT(plan,
                HasSubstr("plan tiled: two launches an update, samples through all layers and the weights"));
    EXPECT_THAT(plan, HasSubstr("20.79 MFLOP"));
    // 20.79 MFLOP at 256 a cycle and 1.98 GHz; 106,202 parameters of (300,2), read and written, at 4.8 TB/s.
    EXPECT_THAT(plan, HasSubstr("floor 41.01 us an update on one multiprocessor, 0.311 us on all: 3218"));
    EXPECT_THAT(plan, HasSubstr("0.85 MB of parameters and state through memory, 0.177 us: 433"));
    EXPECT_THAT(plan, HasSubstr("1 block a multiprocessor by shared memory, if a thread takes at most 255 "));
    const auto explained = [&](const std::vector<std::string>& flags) {
      std::vector<std::string> all = {"--explain-plan", "--device", "cpu"};
      all.insert(all.end(), flags.begin(), flags.end());
      return run(name, all, folder).out;
    };
    EXPECT_THAT(explained({"--hidden", "100x100", "--momentum", "0.9"}),
                HasSubstr("its whole batch an update"));
    EXPECT_THAT(explained({"--hidden", "100x100", "--activation", "tanh"}),
                HasSubstr("4 slices of 64 samples an update\n    shared memory 203.1 KiB: parameters 61.0, "
                          "gradients 61.0"));
    EXPECT_THAT(explained({"--hidden", "200"}),
                HasSubstr("2 slices of 128 samples an update\n    shared memory 203.7 KiB: parameters 43.0, "
                          "gradients in registers"));
    EXPECT_THAT(run(name, {"--explain-plan", "--device", "cpu", "--hidden", "2000"}, folder).out,
                HasSubstr("plan tiled: two launches an update of both layers"));
    for (const char* by_layers : {"400x400", "250x250", "128x128", "300x300x300x300x300"})
      EXPECT_THAT(run(name, {"--explain-plan", "--device", "cpu", "--hidden", by_layers}, folder).out,
                  HasSubstr("plan tiled: one launch an operation"));
    EXPECT_THAT(explained({"--hidden", "8", "--activation", "tanh"}),
                HasSubstr("3 blocks a multiprocessor by shared memory, if a thread takes at most 80 "));
    for (const char* precision : {"tf32", "bf16"}) {
      const std::string tensor =
          run(name, {"--explain-plan", "--device", "cpu", "--precision", precision}, folder).out;
      EXPECT_THAT(tensor, HasSubstr("cpu: trains in fp32 alone"));
      EXPECT_THAT(tensor, HasSubstr(fmt::format("plan resident on tensor cores, {}: a block", precision)));
      const auto of = [&](const char* hidden) {
        return run(name, {"--explain-plan", "--device", "cpu", "--precision", precision, "--hidden", hidden},
                   folder)
            .out;
      };
      EXPECT_THAT(of("300x300"), HasSubstr(fmt::format(
                                     "plan tiled on tensor cores, {}: one launch an operation", precision)));
      EXPECT_THAT(of("200"),
                  HasSubstr(fmt::format("shared memory {} KiB; gradients in registers",
                                        precision == std::string_view("tf32") ? "202.0" : "107.3")));
      EXPECT_THAT(of("2000"), HasSubstr("plan tiled in fp32, which is faster here: two launches"));
    }
  }
}

}  // namespace
}  // namespace occam::end_to_end
