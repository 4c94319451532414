// From the command line to cases and members: flags, configuration files and lists.
#include "experiment/plan.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiment/fields.hpp"
#include "io/npz.hpp"
#include "occam/error.hpp"
#include "support/command_line.hpp"
#include "support/folder.hpp"

namespace occam::experiment {
namespace {

using test::parse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Plan plan(const std::vector<const char*>& words, const std::vector<Case>& own = std::vector<Case>(1)) {
  return make_plan("tool", own, parse(words).options, false, 2);
}

std::vector<std::string> names(const Plan& p) {
  std::vector<std::string> all;
  for (const PlannedCase& c : p.cases) all.push_back(c.settings.name);
  return all;
}

TEST(Flags, EveryFieldIsReadAndRecorded) {
  // One value for each flag that differs from its default, and how the recorded configuration shows it.
  const std::vector<std::pair<std::vector<const char*>, std::pair<const char*, nlohmann::json>>> table = {
      {{"--dim", "20"}, {"dim", 20}},
      {{"--linear", "2"}, {"linear", 2}},
      {{"--slabs3", "3"}, {"slabs3", 3}},
      {{"--slabs5", "9"}, {"slabs5", 9}},
      {{"--slabs7", "4"}, {"slabs7", 4}},
      {{"--margin", "0.15"}, {"margin_7", 0.15}},
      {{"--margin-linear", "0.4"}, {"margin_linear", 0.4}},
      {{"--margin-3", "0.2"}, {"margin_3", 0.2}},
      {{"--margin-5", "0.05"}, {"margin_5", 0.05}},
      {{"--margin-7", "0.15"}, {"margin_7", 0.15}},
      {{"--data-width", "2"}, {"data_width", 2.0}},
      {{"--linear-noise", "0.2"}, {"linear_noise", 0.2}},
      {{"--linear-noise-kind", "margin"}, {"linear_noise_kind", "margin"}},
      {{"--slab5-noise", "0.3"}, {"slab5_noise", 0.3}},
      {{"--slab5-noise-kind", "margin"}, {"slab5_noise_kind", "margin"}},
      {{"--slab7-noise", "0.1", "--slabs7", "1"}, {"slab7_noise", 0.1}},
      {{"--linear-shift", "0.5"}, {"linear_shift", 0.5}},
      {{"--slab3-shift", "-1", "--slabs3", "1"}, {"slab3_shift", -1.0}},
      {{"--slab5-shift", "1"}, {"slab5_shift", 1.0}},
      {{"--slab7-shift", "1", "--slabs7", "1"}, {"slab7_shift", 1.0}},
      {{"--slab5-inner0", "0.5"}, {"slab5_inner0", 0.5}},
      {{"--slab7-inner0", "0.25"}, {"slab7_inner0", 0.25}},
      {{"--slab7-inner1", "1"}, {"slab7_inner1", 1.0}},
      {{"--linear-position", "3", "--no-rotate"}, {"linear_position", 3}},
      {{"--unused-limit", "3"}, {"unused_limit", 3.0}},
      {{"--no-rotate"}, {"rotate", false}},
      {{"--rotate=false"}, {"rotate", false}},
      {{"--train", "4000"}, {"train", 4000}},
      {{"--test", "500"}, {"test", 500}},
      {{"--validation", "600"}, {"validation", 600}},
      {{"--hidden", "30x20x10"}, {"hidden", "30x20x10"}},
      {{"--hidden", "0"}, {"hidden", "linear"}},
      {{"--activation", "prelu"}, {"activation", "prelu"}},
      {{"--loss", "hinge"}, {"loss", "hinge"}},
      {{"--batch-norm"}, {"batch_norm", true}},
      {{"--init", "xavier_normal"}, {"init", "xavier_normal"}},
      {{"--init-scale", "0.5"}, {"init_scale", 0.5}},
      {{"--optimizer", "adam"}, {"optimizer", "adam"}},
      {{"--lr", "0.3"}, {"lr", 0.3}},
      {{"--momentum", "0.9"}, {"momentum", 0.9}},
      {{"--weight-decay", "5e-4"}, {"weight_decay", 5e-4}},
      {{"--beta1", "0.8", "--optimizer", "adam"}, {"beta1", 0.8}},
      {{"--beta2", "0.99", "--optimizer", "adam"}, {"beta2", 0.99}},
      {{"--alpha", "0.9", "--optimizer", "rmsprop"}, {"alpha", 0.9}},
      {{"--optimizer-epsilon", "1e-6", "--optimizer", "adam"}, {"optimizer_epsilon", 1e-6}},
      {{"--batch", "64"}, {"batch", 64}},
      {{"--input-dropout", "0.1"}, {"input_dropout", 0.1}},
      {{"--dropout", "0.5"}, {"dropout", 0.5}},
      {{"--stop", "none"}, {"stop", "none"}},
      {{"--stop", "accuracy:0.995"}, {"stop", "accuracy:0.995"}},
      {{"--stop", "loss:0.01"}, {"stop", "loss:0.01"}},
      {{"--check-every", "100"}, {"check_every", 100}},
      {{"--patience", "7"}, {"patience", 7}},
      {{"--max-updates", "800"}, {"max_updates", 800}},
      {{"--lr-epochs", "3"}, {"lr_epochs", 3}},
      {{"--lr-factor", "0.5", "--lr-epochs", "3"}, {"lr_factor", 0.5}},
      {{"--adversary-epsilon", "0.5"}, {"adversary_epsilon", 0.5}},
      {{"--adversary-norm", "linf"}, {"adversary_norm", "linf"}},
      {{"--adversary-step", "0.1"}, {"adversary_step", 0.1}},
      {{"--adversary-iterations", "7"}, {"adversary_iterations", 7}},
      {{"--attack-units", "absolute"}, {"attack_units", "absolute"}},
      {{"--attack-bounds", "-2.5:3"}, {"attack_bounds", "-2.5:3"}},
      {{"--attack-norm", "linf"}, {"attack_norm", "linf"}},
      {{"--attack-loss", "binary-hybrid"}, {"attack_loss", "binary-hybrid"}},
      {{"--attack-target", "1"}, {"attack_target", 1}},
      {{"--attack-epsilon", "0.25"}, {"attack_epsilon", 0.25}},
      {{"--attack-step", "0.125"}, {"attack_step", 0.125}},
      {{"--attack-iterations", "11"}, {"attack_iterations", 11}},
      {{"--attack-restarts", "3"}, {"attack_restarts", 3}},
      {{"--attack-minimal"}, {"attack_minimal", true}},
      {{"--attack-batch", "64"}, {"attack_batch", 64}},
      {{"--svd-epsilon", "0.25"}, {"svd_epsilon", 0.25}},
      {{"--svd-attack-epsilon", "0.25"}, {"svd_attack_epsilon", 0.25}},
      {{"--svd-attack-step", "0.25"}, {"svd_attack_step", 0.25}},
      {{"--svd-attack-iterations", "9"}, {"svd_attack_iterations", 9}},
      {{"--as-norm", "linf"}, {"as_norm", "linf"}},
      {{"--as-epsilon", "0.25"}, {"as_epsilon", 0.25}},
      {{"--as-step", "0.25"}, {"as_step", 0.25}},
      {{"--as-iterations", "9"}, {"as_iterations", 9}},
      {{"--as-epochs", "9"}, {"as_epochs", 9}},
  };
  // Attacks have settings where they are made.
  Case attacked;
  attacked.attacks.pgd = attacked.attacks.svd_uap = attacked.attacks.as_uap = true;
  Case hardened = attacked;
  hardened.adversary.epsilon = 0.25;
  std::set<std::string> covered;
  Case targeted = attacked;
  targeted.attacks.pgd_settings.loss = AttackLoss::targeted;
  for (const auto& [words, expected] : table) {
    const bool adversary = std::string(words.front()).starts_with("--adversary-");
    const Case& own = adversary                                         ? hardened
                      : words.front() == std::string("--attack-target") ? targeted
                                                                        : attacked;
    const nlohmann::ordered_json plain = plan({}, {own}).cases.front().config;
    const nlohmann::ordered_json config = plan(words, {own}).cases.front().config;
    EXPECT_EQ(nlohmann::json(config[expected.first]), expected.second) << words.front();
    EXPECT_NE(config[expected.first], plain.at(expected.first)) << words.front() << " is the default";
    covered.insert(words.front());
  }
  for (const Field& field : fields())
    EXPECT_TRUE(covered.contains("--" + field.flag) || covered.contains("--no-" + field.flag))
        << field.flag << " has no line here";
}

TEST(Flags, DefaultsAreThoseOfTheCase) {
  Case own;
  own.training.optimizer.momentum = 0.9;
  own.slab.dim = 12;
  const Plan p = plan({"--lr", "0.2"}, {own});
  const Case& c = p.cases.front().settings;
  EXPECT_EQ(c.training.optimizer.momentum, 0.9);
  EXPECT_EQ(c.training.optimizer.learning_rate, 0.2);
  EXPECT_EQ(c.network.inputs, 12);
  EXPECT_EQ(p.cases.front().config["slabs5"], 11);  // the rest
}

TEST(Flags, StopAccuracyIsExact) {
  const StopRule rule = plan({"--stop", "accuracy:0.9999"}).cases.front().settings.training.stop;
  EXPECT_EQ(1.0 - rule.epsilon, 0.9999);
}

TEST(Flags, SpecificMarginsWinOverTheCommonOne) {
  for (const auto& words : {std::vector<const char*>{"--margin", "0.05", "--margin-5", "0.2"},
                            std::vector<const char*>{"--margin-5", "0.2", "--margin", "0.05"}}) {
    const SlabRecipe slab = plan(words).cases.front().settings.slab;
    EXPECT_EQ(slab.linear.margin, 0.05);
    EXPECT_EQ(slab.slab5.margin, 0.2);
  }
}

TEST(Cases, ListsMultiplyAndNameTheCases) {
  const Plan p = plan({"--lr", "0.1,0.3", "--hidden", "100x100,linear", "--batch", "64"});
  EXPECT_THAT(names(p), ElementsAre("hidden=100x100 lr=0.1", "hidden=100x100 lr=0.3", "hidden=linear lr=0.1",
                                    "hidden=linear lr=0.3"));
  EXPECT_EQ(p.cases[2].settings.training.optimizer.learning_rate, 0.1);
  EXPECT_TRUE(p.cases[2].settings.network.hidden.empty());
  EXPECT_THAT(names(plan({})), ElementsAre("default"));
  Case a, b;
  a.name = "A", b.name = "B", b.network.hidden = {7};
  EXPECT_THAT(names(plan({"--rotate=true,false"}, {a, b})),
              ElementsAre("A rotate=true", "A rotate=false", "B rotate=true", "B rotate=false"));
}

TEST(Cases, OnlyUnchangedCasesKeepTheirPublishedValues) {
  Case own;
  own.name = "LMS-5";
  EXPECT_TRUE(plan({}, {own}).cases.front().as_published);
  EXPECT_TRUE(plan({"--seeds", "5", "--measure", "swap"}, {own}).cases.front().as_published);
  EXPECT_TRUE(
      plan({"--slabs5", "49", "--lr", "0.1"}, {own}).cases.front().as_published);  // the same in other words
  EXPECT_FALSE(plan({"--dim", "20"}, {own}).cases.front().as_published);
  EXPECT_FALSE(plan({"--simple", "1"}, {own}).cases.front().as_published);
  const Plan p = plan({"--lr", "0.1,0.2"}, {own});
  EXPECT_TRUE(p.cases[0].as_published);
  EXPECT_FALSE(p.cases[1].as_published);
}

TEST(Cases, SimpleCoordinatesFollowTheLinearOne) {
  const PlannedCase c = plan({"--dim", "5", "--linear-position", "3", "--no-rotate"}).cases.front();
  EXPECT_THAT(c.settings.simple, ElementsAre(3));
  EXPECT_THAT(c.complement, ElementsAre(0, 1, 2, 4));
  const SlabData data = std::get<SlabData>(c.data.front());
  EXPECT_EQ(data.spec->coordinates[3].kind, BlockKind::linear);
  EXPECT_EQ(data.spec->coordinates[0].kind, BlockKind::slab5);
}

TEST(Cases, CoordinatesOfFlagsAreColumnsOfTheData) {
  const auto settings = [](const char* flag, const char* value) {
    return plan({"--dim", "5", "--linear-position", "3", "--no-rotate", flag, value}).cases.front().settings;
  };
  EXPECT_THAT(settings("--simple", "0").simple, ElementsAre(0));
  EXPECT_THAT(settings("--simple", "3").simple, ElementsAre(3));
  const Case c = settings("--groups", "T=0,U=3");
  EXPECT_THAT(c.simple, ElementsAre(3));
  EXPECT_THAT(c.measures.groups.at("T"), ElementsAre(0));
  EXPECT_THAT(c.measures.groups.at("U"), ElementsAre(3));
}

TEST(Cases, GroupsAndMeasures) {
  const Case c =
      plan({"--groups", "S=0-1,T=5,7", "--measure", "per-coordinate,subset:2,subset:1,swap,predictions"})
          .cases.front()
          .settings;
  EXPECT_THAT(c.simple, ElementsAre(0, 1));
  EXPECT_THAT(c.measures.groups.at("T"), ElementsAre(5, 7));
  EXPECT_TRUE(c.measures.per_coordinate && c.measures.swap && c.measures.predictions);
  EXPECT_THAT(c.measures.subset_sizes, ElementsAre(2, 1));
}

TEST(Members, SeedsAreTakenTogetherOrMultiplied) {
  const auto members = [](const std::vector<const char*>& words) {
    return plan_members(parse(words).options, 4);
  };
  const Members together = members({"--seeds", "5-6"});
  ASSERT_EQ(together.size(), 2u);
  EXPECT_EQ(together.seeds[1], (Seeds{6, 6, 6}));
  EXPECT_FALSE(together.product);
  EXPECT_THAT(together.labels, ElementsAre(5, 6));
  EXPECT_EQ(members({}).size(), 4u);

  const Members product = members({"--data-seeds", "7-8", "--init-seeds", "0,3,5"});
  ASSERT_EQ(product.size(), 6u);
  EXPECT_TRUE(product.product);
  EXPECT_EQ(product.seeds[4], (Seeds{8, 3, 0}));
  EXPECT_THAT(product.labels, ElementsAre(0, 1, 2, 3, 4, 5));
  ASSERT_EQ(product.factors.size(), 2u);
  EXPECT_THAT(product.levels[0], ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_THAT(product.levels[1], ElementsAre(0, 1, 2, 0, 1, 2));

  const Members mixed = members({"--data-seeds", "9", "--seeds", "3"});
  ASSERT_EQ(mixed.size(), 3u);
  EXPECT_EQ(mixed.seeds[2], (Seeds{9, 2, 2}));
  ASSERT_EQ(mixed.factors.size(), 1u);
  EXPECT_EQ(mixed.factors[0].name, "init+order");
}

TEST(UserData, TakesTheShapeOfTheFile) {
  const test::Folder folder;
  const std::string file = folder / "own.npz";
  NpzWriter writer(file);
  writer.add("x", std::vector<float>(40 * 3, 0.5f), {40, 3});
  std::vector<std::int64_t> labels(40);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i % 3);
  writer.add("y", labels);
  writer.close();
  const Options options = parse({"--data", file.c_str(), "--test", "10", "--groups", "S=0-1"}, true).options;
  const Plan p = make_plan("tool", std::vector<Case>(1), options, true, 2);
  const PlannedCase& c = p.cases.front();
  EXPECT_EQ(c.settings.network.inputs, 3);
  EXPECT_EQ(c.settings.network.classes, 3);
  EXPECT_EQ(rows(c.data[1], Split::train), 30);
  EXPECT_EQ(c.config["train"], 30);
  EXPECT_FALSE(c.config.contains("margin_5"));
  EXPECT_FALSE(c.as_published);
  EXPECT_EQ(p.data_checksums.size(), 1u);
  // A printed configuration asks for what was asked for, and not for the rows that slabs have.
  const auto printed = [](const Options& of) { return config_text("tool", of, {}, {Case()}, "1", true); };
  EXPECT_THAT(printed(options), HasSubstr("test = 10\n"));
  EXPECT_THAT(printed(parse({"--data", file.c_str()}, true).options), Not(HasSubstr("test =")));
}

TEST(Config, PrintedConfigurationReadsBackTheSame) {
  const test::Folder folder;
  Case a, b;
  a.name = "A", b.name = "B";
  b.slab.test = 50'000;
  const std::vector<Case> own{a, b};
  const std::vector<std::vector<const char*>> commands = {
      {},
      {"--lr", "0.1,0.3", "--margin", "0.05,0.1", "--no-rotate", "--stop", "loss:0.01", "--seeds", "3-9"},
      {"--full", "--seeds", "3-9"},  // a part of a full run
      {"--data-seeds", "0-3", "--init-seeds", "5", "--groups", "S=0,T=4,5", "--measure", "swap,subset:2",
       "--save", "weights,data"},
      {"--rotate=true,false", "--slabs5", "3", "--keep", "9", "--measure-at-checks", "--hidden",
       "100x100,linear", "--out", "some/where"},
  };
  for (const auto& words : commands) {
    const Options first = parse(words).options;
    const std::string text = config_text("tool", first, {}, own, seeds_text(first, 7), false);
    const std::string file = folder / "config.toml";
    std::ofstream(file) << text;
    const Options second = parse({"--config", file.c_str()}).options;
    EXPECT_EQ(config_text("tool", second, {}, own, seeds_text(second, 7), false), text);
    const Plan direct = make_plan("tool", own, first, false, 7),
               again = make_plan("tool", own, second, false, 7);
    EXPECT_EQ(direct.hash, again.hash) << text;
    EXPECT_EQ(names(direct), names(again)) << text;
    EXPECT_EQ(direct.members.size(), again.members.size());
  }
}

// Epochs of the rows and batch that are trained on, not of the experiment's own.
TEST(Plan, EpochsFollowRowsAndBatch) {
  std::vector<Case> own(1);
  own[0].slab.train = 1000, own[0].training.batch = 100;
  own[0].epochs = 6, own[0].check_epochs = 2;
  follow_epochs(own[0]);
  const auto updates = [&](const std::vector<const char*>& words) {
    const StopRule stop =
        make_plan("tool", own, parse(words).options, false, 1).cases[0].settings.training.stop;
    return std::pair{stop.max_updates, stop.check_every};
  };
  using Pair = std::pair<std::int64_t, std::int64_t>;
  EXPECT_EQ(updates({}), Pair(60, 20));
  EXPECT_EQ(updates({"--train", "301"}), Pair(24, 8));
  EXPECT_EQ(updates({"--batch", "50"}), Pair(120, 40));
  EXPECT_EQ(updates({"--max-updates", "7", "--batch", "50"}), Pair(7, 40));
  EXPECT_TRUE(make_plan("tool", own, parse({}).options, false, 1).cases[0].as_published);
  const std::string text = config_text("tool", parse({"--batch", "50"}).options, {}, own, "1", false);
  EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("# max-updates: follows the epochs"),
                                   testing::Not(testing::HasSubstr("\nmax-updates"))));
}

TEST(Config, FileIsReadAndTheCommandLineWins) {
  const test::Folder folder;
  const std::string file = folder / "config.toml";
  std::ofstream(file)
      << "# a comment\nlr = [0.01, 0.1]\nhidden = \"7x7\"\nrotate = false\nseeds = 3\nquiet = true\n";
  const Options options = parse({"--config", file.c_str(), "--hidden", "5"}).options;
  EXPECT_THAT(options.fields.at("lr"), ElementsAre("0.01", "0.1"));
  EXPECT_THAT(options.fields.at("hidden"), ElementsAre("5"));
  EXPECT_THAT(options.fields.at("rotate"), ElementsAre("false"));
  EXPECT_EQ(options.seeds, "3");
  EXPECT_TRUE(options.quiet);
  std::ofstream(file) << "learning_speed = 3\n";
  EXPECT_THROW(parse({"--config", file.c_str()}), Error);
  std::ofstream(file) << "lr = \"fast\"\n";
  EXPECT_THROW(make_plan("tool", std::vector<Case>(1), parse({"--config", file.c_str()}).options, false, 2),
               Error);
}

TEST(Command, IsRecordedWithoutWhereItWrites) {
  EXPECT_EQ(parse({"--out", "here", "--seeds", "3", "--quiet"}).command, "tool --seeds 3");
  EXPECT_EQ(parse({"--out=there", "--seeds", "3"}).command, "tool --seeds 3");
}

TEST(Plan, HashChangesWithWhatDecidesTheResults) {
  const std::uint64_t plain = plan({}).hash;
  EXPECT_EQ(plan({"--out", "elsewhere", "--threads", "1", "--quiet"}).hash, plain);
  for (const auto& words : {std::vector<const char*>{"--lr", "0.2"},
                            {"--seeds", "3"},
                            {"--keep", "2"},
                            {"--save", "weights"},
                            {"--measure", "swap"},
                            {"--measure-at-checks"},
                            {"--boundary-symmetric"},
                            {"--simple", "1"}})
    EXPECT_NE(plan(words).hash, plain) << words.front();
}

}  // namespace
}  // namespace occam::experiment
