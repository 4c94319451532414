// suboptimal_generalization and ensembles from the command line to their files, at sizes that take seconds.
#include <cmath>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "end_to_end/program.hpp"
#include "end_to_end/result_files.hpp"
#include "io/npz.hpp"
#include "occam/experiment.hpp"
#include "occam/vote.hpp"

namespace occam::end_to_end {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// ---- suboptimal_generalization ----------------------------------------------------------------------------

// The claim on smaller data: the noisy linear coordinate is learned and costs accuracy, 7-slabs alone are
// learned without loss.
TEST(SuboptimalGeneralization, NoiseInTheSimpleCoordinateCostsAccuracy) {
  const Folder folder;
  const Words words{"--device",      "cpu",         "--dim",         "6",     "--train",    "6000",
                    "--test",        "4000",        "--hidden",      "60x60", "--batch",    "64",
                    "--lr",          "0.1",         "--seeds",       "2",     "--stop",     "loss:0.005",
                    "--check-every", "500",         "--max-updates", "6000",  "--patience", "1",
                    "--out",         folder / "out"};
  const Ended ended = run("suboptimal_generalization", words, folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json cases = result_of(folder / "out/suboptimal_generalization")["cases"];
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0]["name"], "noisy-LMS-7");
  EXPECT_EQ(cases[0]["config"]["evaluate"], "best");
  EXPECT_EQ(cases[0]["config"]["linear_noise"], 0.1);
  EXPECT_EQ(cases[0]["config"]["linear_noise_kind"], "margin");
  EXPECT_EQ(cases[1]["config"]["slabs7"], 6);
  EXPECT_EQ(cases[1]["config"]["linear"], 0);
  for (int seed = 0; seed < 2; ++seed) {
    const auto metric = [&](int c, const char* name) {
      return cases[c]["metrics"][name][seed].get<double>();
    };
    EXPECT_GT(metric(0, "standard_accuracy"), 0.93);
    EXPECT_LT(metric(0, "s_randomized_accuracy"), metric(0, "sc_randomized_accuracy"));
    EXPECT_GT(metric(1, "standard_accuracy"), 0.99);
    // The best model is the evaluated one.
    for (int c : {0, 1}) EXPECT_GE(metric(c, "standard_accuracy"), metric(c, "last_standard_accuracy"));
  }
}

TEST(SuboptimalGeneralization, TableAndGridHaveTheirCases) {
  const Folder folder;
  const Words tiny{"--dim",         "4", "--device", "cpu", "--train", "300",  "--test", "100",
                   "--max-updates", "3", "--seeds",  "1",   "--quiet", "--out"};
  ASSERT_EQ(run("suboptimal_generalization", with(tiny, {folder / "t", "--table", "2"}), folder).code, 0);
  const nlohmann::json table = result_of(folder / "t/suboptimal_generalization")["cases"];
  ASSERT_EQ(table.size(), 6u);
  EXPECT_EQ(table[0]["name"], "(100,1)");
  EXPECT_EQ(table[0]["config"]["hidden"], "100");
  EXPECT_EQ(table[0]["config"]["batch"], 16);
  EXPECT_EQ(table[5]["config"]["lr"], 1.0);
  EXPECT_EQ(table[5]["config"]["momentum"], 0.9);
  EXPECT_EQ(table[4]["config"]["weight_decay"], 5e-4);

  // A line for each case, without training any.
  const Ended grid = run("suboptimal_generalization",
                         {"--grid", "--hidden", "4", "--device", "cpu", "--explain-plan"}, folder);
  ASSERT_EQ(grid.code, 0) << grid.err;
  std::set<std::string> cells;
  std::istringstream lines(grid.out);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("batch=")) cells.insert(line);
  EXPECT_EQ(cells.size(), 180u);
  EXPECT_TRUE(cells.contains("batch=64 lr=0.05 weight-decay=5e-05 momentum=0.95: 50-4-2, batch 64"));

  const Ended both =
      run("suboptimal_generalization", {"--grid", "--table", "2", "--out", folder / "never"}, folder);
  EXPECT_EQ(both.code, 2);
  EXPECT_THAT(both.err, HasSubstr("exclude each other"));

  // A name tells what ran.
  for (const auto& [words, text] :
       {std::pair{Words{"--table", "2", "--hidden", "8"}, "--hidden: 8 contradicts --table"},
        {{"--grid", "--batch", "4"}, "--batch: 4 contradicts --grid"}}) {
    const Ended ended = run("suboptimal_generalization", with(words, {"--out", folder / "never"}), folder);
    EXPECT_EQ(ended.code, 2);
    EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(text));
  }
  const Ended table_of_slabs =
      run("extreme_slab", {"--table", "width", "--hidden", "8", "--out", folder / "never"}, folder);
  EXPECT_EQ(table_of_slabs.code, 2);
  EXPECT_THAT(table_of_slabs.err, HasSubstr("--hidden: 8 contradicts --table"));
}

TEST(SuboptimalGeneralization, AConfigurationFileKeepsTheGrid) {
  const Folder folder;
  const Ended printed =
      run("suboptimal_generalization", {"--grid", "--device", "cpu", "--print-config"}, folder);
  ASSERT_EQ(printed.code, 0) << printed.err;
  EXPECT_THAT(printed.out, HasSubstr("grid = true"));
  std::ofstream(folder / "config.toml") << printed.out;
  const Ended again =
      run("suboptimal_generalization", {"--config", folder / "config.toml", "--print-config"}, folder);
  EXPECT_EQ(again.out, printed.out) << again.err;
}

// ---- ensembles --------------------------------------------------------------------------------------------

// A vote of networks that rely on the linear coordinate does so, too.
TEST(Ensembles, AVoteReliesOnTheSimplestCoordinateAsItsNetworksDo) {
  const Folder folder;
  const Words words{"--device",      "cpu",
                    "--case",        "LMS-5",
                    "--dim",         "10",
                    "--train",       "10000",
                    "--test",        "5000",
                    "--batch",       "64",
                    "--check-every", "500",
                    "--patience",    "100",
                    "--max-updates", "3000",
                    "--vote-sizes",  "3,1",
                    "--combiner",    "average,softmax,linear,mlp",
                    "--seeds",       "2",
                    "--keep",        "1",
                    "--out",         folder / "out"};
  const Ended ended = run("ensembles", words, folder, "");
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::string base = folder / "out/ensembles";
  const nlohmann::json result = result_of(base);
  ASSERT_EQ(result["cases"].size(), 1u);
  const nlohmann::json& c = result["cases"][0];
  EXPECT_EQ(c["config"]["vote_sizes"], nlohmann::json({3, 1}));
  EXPECT_EQ(c["config"]["combiners"], nlohmann::json({"average", "softmax", "linear", "mlp"}));
  EXPECT_EQ(c["config"]["evaluate"], "best");
  for (std::size_t seed = 0; seed < 2; ++seed) {
    const auto metric = [&](const std::string& name) { return c["metrics"].at(name)[seed].get<double>(); };
    for (const char* suffix :
         {"", "_1_average", "_3_softmax", "_1_softmax", "_3_linear", "_3_mlp", "_1_mlp"}) {
      EXPECT_GE(metric(std::string("standard_auc") + suffix), 0.999) << suffix;
      EXPECT_GE(metric(std::string("sc_randomized_auc") + suffix), 0.99) << suffix;
      EXPECT_NEAR(metric(std::string("s_randomized_auc") + suffix), 0.5, 0.06) << suffix;
      EXPECT_GE(metric(std::string("train_accuracy") + suffix), 0.99) << suffix;
    }
    EXPECT_GE(metric("networks_standard_auc"), 0.999);
    EXPECT_GE(metric("combiner_updates_3_linear"), 1);
    EXPECT_EQ(metric("standard_auc_1_average"), metric("standard_auc_1_softmax"));  // of one: the same order
  }
  const NpzReader arrays(base + "/arrays.npz");
  for (const char* name : {"scores/standard", "scores/s_randomized", "scores/sc_randomized", "scores/labels"})
    EXPECT_EQ(arrays.read(std::string("LMS-5/") + name).shape, (std::vector<std::int64_t>{1, 5000})) << name;
  EXPECT_GT(content(base + "/report.html").size(), 1000u);
}

// The validation rows choose each network's model and the combiner's: here are the library's own steps, bit for bit.
TEST(Ensembles, ValidationRowsChooseTheModelsThatVote) {
  const Folder folder;
  const Words words{"--device",      "cpu",
                    "--case",        "noisy-LMS-7",
                    "--dim",         "4",
                    "--train",       "200",
                    "--validation",  "50",
                    "--test",        "80",
                    "--hidden",      "6",
                    "--batch",       "32",
                    "--stop",        "none",
                    "--check-every", "30",
                    "--max-updates", "150",
                    "--vote-sizes",  "3",
                    "--combiner",    "linear,average",
                    "--seeds",       "1",
                    "--out",         folder / "out"};
  const Ended ended = run("ensembles", words, folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json metrics = result_of(folder / "out/ensembles")["cases"][0]["metrics"];

  const SlabRecipe recipe{.dim = 4,
                          .linear = {.count = 1, .noise = 0.5, .noise_kind = NoiseKind::margin},
                          .slab5 = {.count = 0},
                          .slab7 = {.count = kRest},
                          .train = 200,
                          .validation = 50,
                          .test = 80};
  const std::vector<Data> data(3, slab_data(slab_spec(recipe), {0}).front());
  const std::vector<Training> trainings(
      3, {.optimizer = {.learning_rate = 0.1, .weight_decay = 5e-4},
          .stop = {.criterion = StopCriterion::none, .check_every = 30, .max_updates = 150},
          .batch = 32});
  MlpEnsemble networks({.inputs = 4, .hidden = {6}},
                       {voter_seeds({0, 0, 0}, 0), voter_seeds({0, 0, 0}, 1), voter_seeds({0, 0, 0}, 2)},
                       select_device("cpu", 1));
  fit(networks, data, trainings);
  const std::vector<Poll> polls{{Split::train, {}}, {Split::validation, {}}, {Split::test, {}}};
  const auto losses = [&](Which which, bool validated) {
    const std::vector<Ballot> of = ballots(networks, data[0], polls, which);
    const TrainedCombiner linear = train_combiner(Combiner::linear, of[0], validated ? of[1] : Ballot{},
                                                  of[2], 0, combiner_training(32));
    return std::vector<double>{score(combine(linear, of[2]), of[2]).loss,
                               score(combine(Combiner::average, of[2]), of[2]).loss};
  };
  const std::vector<double> found{metrics["standard_loss"][0], metrics["standard_loss_average"][0]};
  EXPECT_EQ(found, losses(Which::best, true));
  // Otherwise another combiner is chosen, or others vote.
  EXPECT_NE(found[0], losses(Which::best, false)[0]);
  EXPECT_NE(found[1], losses(Which::last, true)[1]);
}

TEST(Ensembles, TinyRunsOfEveryCaseAndSameBytes) {
  const Folder folder;
  const auto words = [&](const std::string& out, const std::string& threads) {
    return Words{"--device", "cpu",     "--train", "400",       "--test", "200",   "--max-updates",
                 "20",       "--seeds", "2",       "--threads", threads,  "--out", folder / out};
  };
  const Ended ended = run("ensembles", words("a", "2"), folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  ASSERT_EQ(run("ensembles", words("b", "1"), folder).code, 0);
  EXPECT_EQ(content(folder / "a/ensembles/cases.csv"), content(folder / "b/ensembles/cases.csv"));
  const nlohmann::json cases = result_of(folder / "a/ensembles")["cases"];
  ASSERT_EQ(cases.size(), 4u);
  EXPECT_EQ(cases[0]["config"]["vote_sizes"], nlohmann::json({3, 1, 5, 10}));
  EXPECT_EQ(cases[1]["name"], "MS-5");
  EXPECT_EQ(cases[1]["config"]["slabs5"], 50);
  EXPECT_EQ(cases[2]["config"]["slabs5"], 50);
  EXPECT_EQ(cases[2]["config"]["hidden"], "10x10");
  EXPECT_EQ(cases[2]["verdicts"], cases[1]["verdicts"]);
  EXPECT_EQ(cases[3]["config"]["linear_noise"], 0.5);
  for (const char* name :
       {"standard_accuracy", "standard_accuracy_1", "standard_accuracy_5", "standard_accuracy_10"})
    EXPECT_TRUE(cases[0]["metrics"].contains(name)) << name;
  EXPECT_THAT(ended.out, HasSubstr("settings differ from the published protocol"));
}

// Where another size comes first, the notebook's vote of three is not compared with what was published.
TEST(Ensembles, OtherSizesHaveNoPublishedValues) {
  const Folder folder;
  const Words words{"--device", "cpu",     "--case", "LMS-5", "--vote-sizes",
                    "1,3",      "--seeds", "1",      "--out", folder / "out"};
  const Ended ended = run("ensembles", words, folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json c = result_of(folder / "out/ensembles")["cases"][0];
  EXPECT_EQ(c["verdicts"]["s_randomized_auc_3"], "insufficient");
  EXPECT_EQ(c["verdict_details"]["s_randomized_auc_3"], "1 of 20 seeds");
}

TEST(Ensembles, FlagsThatMakeNoSense) {
  const Folder folder;
  const auto error = [&](const Words& words) {
    const Ended ended = run("ensembles", with(words, {"--out", folder / "never"}), folder);
    EXPECT_EQ(ended.code, 2);
    EXPECT_EQ(ended.error_lines(), 1u) << ended.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "never"));
    return ended.err;
  };
  EXPECT_THAT(error({"--vote-sizes", "3,x"}),
              HasSubstr("--vote-sizes: 'x' is not a whole number from 1 to 1024"));
  EXPECT_THAT(error({"--vote-sizes", "0"}), HasSubstr("--vote-sizes: '0'"));
  EXPECT_THAT(error({"--vote-sizes", "3,3"}), HasSubstr("twice"));
  EXPECT_THAT(error({"--combiner", "median"}), HasSubstr("'median' is not one of"));
  EXPECT_THAT(error({"--combiner-optimizer", "adam"}), HasSubstr("without --combiner linear or mlp"));
  EXPECT_THAT(error({"--case", "MS-5 (10,2)", "--hidden", "20"}),
              HasSubstr("--hidden: 20 contradicts --case"));
  EXPECT_THAT(error({"--case", "LMS-9"}), HasSubstr("LMS-9"));
  EXPECT_THAT(error({"--measure", "swap"}), HasSubstr("--measure"));
  EXPECT_THAT(error({"--save", "weights"}), HasSubstr("--save"));
}

}  // namespace
}  // namespace occam::end_to_end
