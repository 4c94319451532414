// universal_perturbations, adversarial_training and attack flags from the command line to their files.
#include <algorithm>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "end_to_end/result_files.hpp"
#include "end_to_end/small_run.hpp"
#include "io/npz.hpp"

namespace occam::end_to_end {
namespace {

using ::testing::HasSubstr;

// Notebook 6 on smaller data: perturbations lie on the simple coordinate and the universal ones fool the
// network.
TEST(UniversalPerturbations, LieOnTheSimpleCoordinate) {
  const Folder folder;
  const Words words{"--device",      "cpu",  "--case",  "LMS-5",       "--dim",         "10",
                    "--train",       "5000", "--test",  "1000",        "--check-every", "100",
                    "--max-updates", "600",  "--seeds", "2",           "--keep",        "1",
                    "--threads",     "1",    "--out",   folder / "out"};
  const Ended ended = run("universal_perturbations", words, folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::string path = folder / "out/universal_perturbations";
  const nlohmann::json metrics = result_of(path)["cases"][0]["metrics"];
  for (int seed = 0; seed < 2; ++seed) {
    const auto metric = [&](const char* name) { return metrics[name][seed].get<double>(); };
    EXPECT_GT(metric("standard_accuracy"), 0.99);
    EXPECT_LE(metric("pgd_accuracy"), 0.01);
    EXPECT_LE(metric("svd_uap_accuracy"), 0.1);
    EXPECT_LE(metric("as_uap_accuracy"), 0.1);
    for (const char* share : {"pgd_share", "svd_uap_share", "as_uap_share"})
      EXPECT_GT(metric(share), 0.9) << share;
    EXPECT_GT(metric("data_range"), 2);
    EXPECT_NEAR(metric("pgd_norm") / metric("data_range"), 0.5, 0.05);
  }
  const NpzReader arrays(path + "/arrays.npz");
  EXPECT_EQ(arrays.read("LMS-5/pgd/perturbation").shape, (std::vector<std::int64_t>{1, 1000, 10}));
  EXPECT_EQ(arrays.read("LMS-5/svd_uap/perturbation").shape, (std::vector<std::int64_t>{2, 10}));
  EXPECT_EQ(arrays.read("LMS-5/svd_uap/singular_values").shape, (std::vector<std::int64_t>{2, 10}));
  EXPECT_EQ(arrays.read("LMS-5/as_uap/perturbation").shape, (std::vector<std::int64_t>{2, 10}));

  // The same command with more threads: the same numbers.
  Words more = words;
  more[17] = "3", more.back() = folder / "again";
  ASSERT_EQ(run("universal_perturbations", more, folder).code, 0);
  EXPECT_EQ(result_of(folder / "again/universal_perturbations")["cases"][0]["metrics"], metrics);
}

TEST(AdversarialTraining, RunsAsAskedAndRecordsIt) {
  const Folder folder;
  Ended ended =
      run("adversarial_training",
          {"--device", "cpu", "--data", "advms", "--epochs", "4", "--train", "500", "--widths", "20",
           "--radii", "0.1,0.2", "--adversary-iterations", "3", "--seeds", "1", "--out", folder / "out"},
          folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json cases = result_of(folder / "out/adversarial_training")["cases"];
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0]["config"]["adversary_epsilon"], 0.1);
  EXPECT_EQ(cases[0]["config"]["attack_epsilon"], 0.1);
  EXPECT_EQ(cases[0]["config"]["lr_epochs"], 1000);
  EXPECT_EQ(cases[0]["config"]["max_updates"], 8) << "two batches an epoch";
  EXPECT_EQ(cases[0]["config"]["slabs7"], 10);
  EXPECT_EQ(cases[0]["config"]["simple"].size(), 10u);
  EXPECT_EQ(cases[1]["config"]["adversary_epsilon"], 0.2);
  for (const nlohmann::json& c : cases) {
    EXPECT_TRUE(c["metrics"]["pgd_accuracy"][0].is_number());
    EXPECT_TRUE(c["verdicts"].empty()) << "shortened runs have no verdict";
  }
  ended = run("adversarial_training",
              {"--device", "cpu", "--widths", "9,10", "--radii", "0.25", "--epochs", "1", "--train", "300",
               "--adversary-iterations", "1", "--seeds", "1", "--out", folder / "own"},
              folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json own = result_of(folder / "own/adversarial_training")["cases"];
  ASSERT_EQ(own.size(), 2u);
  EXPECT_EQ(own[1]["name"], "(10,2) epsilon 0.25");
  EXPECT_EQ(own[1]["config"]["hidden"], "10x10");
  EXPECT_EQ(own[1]["config"]["adversary_epsilon"], 0.25);
  EXPECT_EQ(own[1]["config"]["attack_epsilon"], 0.25);
  // What is not given is the paper's.
  const std::string wide =
      run("adversarial_training", {"--full", "--radii", "0.3", "--explain-plan"}, folder).out;
  EXPECT_THAT(wide, AllOf(HasSubstr("(200,2) epsilon 0.3:"), HasSubstr("(1000,2) epsilon 0.3:")));
  // 40 iterations forward and back through 44,400 weights with 256 rows.
  EXPECT_THAT(wide, HasSubstr("of which the adversary's 1819, "));
  const std::string radii =
      run("adversarial_training", {"--full", "--widths", "9", "--explain-plan"}, folder).out;
  for (const char* radius : {"0.05", "0.1", "0.2", "0.25", "0.3"})
    EXPECT_THAT(radii, HasSubstr(fmt::format("(9,2) epsilon {}:", radius)));
  // A printed configuration runs as it is; what it says and a case is called after cannot be told otherwise.
  const std::string printed =
      run("adversarial_training",
          {"--print-config", "--widths", "8", "--radii", "0.1", "--epochs", "2", "--device", "cpu"}, folder)
          .out;
  std::ofstream(folder / "x.toml") << printed;
  EXPECT_EQ(run("adversarial_training", {"--config", folder / "x.toml", "--print-config"}, folder).out,
            printed);
  EXPECT_THAT(
      run("adversarial_training", {"--config", folder / "x.toml", "--epochs", "5", "--print-config"}, folder)
          .out,
      HasSubstr("epochs = 5"));
  for (const Words& words : {Words{"--radii", "0.3"}, {"--widths", "16"}}) {
    Words all{"--config", folder / "x.toml", "--out", folder / "never"};
    all.insert(all.end(), words.begin(), words.end());
    ended = run("adversarial_training", all, folder);
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("contradicts " + words[0]));
  }
  for (const auto& [flag, value] : {std::pair{"--radii", "0.1,0"},
                                    {"--radii", "0.1,,0.2"},
                                    {"--widths", "0"},
                                    {"--adversary-epsilon", "0.7"},
                                    {"--hidden", "8"},
                                    {"--data", "foo"}}) {
    ended = run("adversarial_training", {flag, value, "--device", "cpu", "--out", folder / "never"}, folder);
    EXPECT_EQ(ended.code, 2);
    EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(flag));
  }
}

TEST(AttackFlags, ImpossibleOnesAreOneLine) {
  const Folder folder;
  const auto refused = [&](Words words, const std::string& part) {
    words.insert(words.end(), {"--device", "cpu", "--out", folder / "out"});
    if (words.front() != "--measure") words.insert(words.end(), {"--measure", "pgd,svd-uap,as-uap"});
    const Ended ended = run("train_slab", words, folder);
    EXPECT_EQ(ended.code, 2) << part;
    EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(part));
  };
  refused({"--attack-epsilon", "-0.1"}, "epsilon: -0.1 is negative");
  refused({"--attack-iterations", "0"}, "0");
  refused({"--attack-step", "-1"}, "step: -1");
  refused({"--attack-loss", "unknown"}, "unknown");
  refused({"--attack-loss", "targeted", "--attack-target", "2"}, "target: 2 is no class");
  refused({"--as-epsilon", "-1"}, "epsilon: -1 is negative");
  refused({"--svd-epsilon", "-2"}, "--svd-epsilon: -2");
  refused({"--adversary-epsilon", "-1"}, "--adversary-epsilon: -1");
  refused({"--adversary-epsilon", "0.1", "--input-dropout", "0.2"}, "--input-dropout: 0.2");
  refused({"--lr-epochs", "2", "--lr-factor", "0"}, "factor");
  refused({"--measure", "fgsm"}, "fgsm");
  refused({"--attack-bounds", "1"}, "'1' is neither LOW:HIGH nor units");
  refused({"--attack-bounds", "0:x"}, "'x' is not a finite number");
  refused({"--attack-bounds", "2:1"}, "'2:1' holds no value");
  refused({"--attack-bounds", "0:9"}, "0:9 excludes test rows of data seed 0, which reach from -");
}

// A large radius takes rows to the bounds, whether they are given or the data's range.
TEST(AttackFlags, BoundsByHandReplaceTheRange) {
  const Folder folder;
  const auto reach = [&](const std::string& bounds, const std::string& units) {
    const Ended ended = run("train_slab",
                            {"--device",
                             "cpu",
                             "--dim",
                             "4",
                             "--train",
                             "100",
                             "--test",
                             "50",
                             "--hidden",
                             "5",
                             "--max-updates",
                             "20",
                             "--measure",
                             "pgd,svd-uap,as-uap",
                             "--attack-epsilon",
                             "60",
                             "--attack-step",
                             "20",
                             "--svd-attack-epsilon",
                             "1",
                             "--attack-units",
                             units,
                             "--attack-bounds",
                             bounds,
                             "--save",
                             "data",
                             "--seeds",
                             "1",
                             "--out",
                             folder / "out"},
                            folder);
    EXPECT_EQ(ended.code, 0) << ended.err;
    const std::string path = folder / "out/train_slab";
    const nlohmann::json of_case = result_of(path)["cases"][0];
    EXPECT_EQ(of_case["config"]["attack_bounds"], bounds);
    const NpzReader arrays(path + "/arrays.npz");
    const NpyArray x = arrays.read("default/data/test_x"), moved = arrays.read("default/pgd/perturbation");
    float low = 0, high = 0;
    for (std::size_t i = 0; i < x.values<float>().size(); ++i) {
      low = std::min(low, x.values<float>()[i] + moved.values<float>()[i]);
      high = std::max(high, x.values<float>()[i] + moved.values<float>()[i]);
    }
    return std::pair{low, high};
  };
  for (const std::string units : {"range", "absolute"}) {
    const auto [low, high] = reach("-6.5:7", units);
    EXPECT_NEAR(low, -6.5, 1e-5);
    EXPECT_NEAR(high, 7, 1e-5);
  }
  const auto [low, high] = reach("units", "range");
  EXPECT_GT(low, -3);
  EXPECT_LT(high, 3);
}

// Radii, as cases of one run, train once; each is what it is in a run of its own.
// Each case by its own attack, which the last check has in common with what is measured at the end.
TEST(AttackFlags, NetworksAreAttackedAlongTraining) {
  const Folder folder;
  const Ended ended = run("train_slab",
                          small(folder / "out", {"--measure", "pgd", "--attack-iterations", "3",
                                                 "--attack-epsilon", "0.02,0.2", "--measure-at-checks"}),
                          folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::string path = folder / "out/train_slab";
  const NpzReader arrays(path + "/arrays.npz");
  std::vector<std::vector<float>> found;
  const nlohmann::json result = result_of(path);
  for (const nlohmann::json& of : result["cases"]) {
    const std::string name = of["name"].get<std::string>();
    const NpyArray accuracy = arrays.read(name + "/history/pgd_accuracy");
    const auto seeds = static_cast<std::size_t>(accuracy.shape[0]),
               checks = static_cast<std::size_t>(accuracy.shape[1]);
    ASSERT_GE(checks, 2u);
    found.push_back(accuracy.to_float());
    for (std::size_t seed = 0; seed < seeds; ++seed)
      EXPECT_FLOAT_EQ(found.back()[checks * seed + checks - 1],
                      of["metrics"]["pgd_accuracy"][seed].get<float>());
  }
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE(found[0], found[1]);
}

TEST(AttackFlags, ListsShareTheirTrainings) {
  const Folder folder;
  const auto words = [&](const std::string& out, const std::string& radii, const std::string& rates) {
    return small(folder / out, {"--measure", "pgd,svd-uap", "--attack-iterations", "3", "--lr", rates,
                                "--attack-epsilon", radii, "--keep", "2", "--save", "weights"});
  };
  const Ended together = run("train_slab", words("together", "0.1,0.2", "0.1,0.3"), folder);
  ASSERT_EQ(together.code, 0) << together.err;
  EXPECT_THAT(
      together.out,
      HasSubstr("4 cases x 3 seeds\n6 trainings: cases that differ in their attacks alone share theirs"));
  const std::string path = folder / "together/train_slab";
  const nlohmann::json cases = result_of(path)["cases"];
  const NpzReader arrays(path + "/arrays.npz");
  ASSERT_EQ(cases.size(), 4u);
  std::int64_t updates = 0;
  for (const nlohmann::json& both : cases) {
    const std::string radius = both["config"]["attack_epsilon"].dump(), rate = both["config"]["lr"].dump();
    const Ended alone = run("train_slab", words("alone", radius, rate), folder);
    ASSERT_EQ(alone.code, 0) << alone.err;
    EXPECT_THAT(alone.out, Not(HasSubstr("share theirs")));
    const nlohmann::json own = result_of(folder / "alone/train_slab")["cases"][0];
    for (const char* key : {"config", "seeds", "status", "metrics", "shown"})
      EXPECT_EQ(both[key], own[key]) << both["name"] << ' ' << key;
    const NpzReader own_arrays(folder / "alone/train_slab/arrays.npz");
    for (const std::string& name : own_arrays.names()) {
      const std::string same = both["name"].get<std::string>() + name.substr(name.find('/'));
      EXPECT_EQ(arrays.read(same).bytes, own_arrays.read(name).bytes) << same;
    }
    if (radius == "0.1")
      updates += read_json(folder / "alone/train_slab/timing.json")["updates"].get<std::int64_t>();
  }
  EXPECT_EQ(read_json(path + "/timing.json")["updates"], updates) << "of one radius: they are done once";
}

TEST(AttackFlags, SharedTrainingsResumeWithTheSameBytes) {
  const Folder folder;
  const auto words = [&](const std::string& out) {
    return small(folder / out, {"--measure", "pgd", "--attack-iterations", "100", "--attack-epsilon",
                                "0.1,0.2,0.3", "--stop", "none"});
  };
  ASSERT_EQ(run("train_slab", words("whole"), folder).code, 0);
  const Ended cut = interrupt_run(words("cut"), folder / "cut", folder, SIGTERM);
  ASSERT_EQ(cut.code, 75) << cut.err;
  EXPECT_THAT(cut.err, HasSubstr(" of 9 members done"));
  const Ended resumed = run("train_slab", words("cut"), folder);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr(" of 9 members are in"));
  for (const std::string name : {"result.json", "arrays.npz", "cases.csv"})
    EXPECT_TRUE(content(folder / "cut/train_slab/" + name) == content(folder / "whole/train_slab/" + name))
        << name;
}

}  // namespace
}  // namespace occam::end_to_end
