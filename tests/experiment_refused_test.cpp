// Impossible settings, one by one: each must end in one line that names the offender, before anything is
// trained.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiment/plan.hpp"
#include "io/npz.hpp"
#include "occam/error.hpp"
#include "support/command_line.hpp"
#include "support/folder.hpp"

namespace occam::experiment {
namespace {

using test::parse;
using ::testing::HasSubstr;

// The whole way from flags to a plan must end in one line of the given kind that contains the text.
void expect_refused(const std::vector<const char*>& words, const std::string& text,
                    ErrorKind kind = ErrorKind::usage, bool user_data = false) {
  std::string line = "tool";
  for (const char* word : words) line += std::string(" ") + word;
  try {
    const CommandLine parsed = parse(words, user_data);
    make_plan("tool", std::vector<Case>(1), parsed.options, user_data && !parsed.options.data.empty(), 2);
    ADD_FAILURE() << line << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << line << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr(text)) << line;
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << line;
  }
}

TEST(Refused, Flags) {
  expect_refused({"--sedes", "3"}, "--sedes");
  expect_refused({"stray"}, "stray");
  expect_refused({"--lr"}, "--lr");
  expect_refused({"--threads", "many"}, "threads");
  expect_refused({"--threads", "-1"}, "-1");
  expect_refused({"--keep", "0"}, "--keep: 0");
  expect_refused({"--out", ""}, "--out");
  expect_refused({"--out", "--quiet"}, "--out: a value is needed, and --quiet is a flag");
  expect_refused({"--lr", "0.1", "--out", "--seeds=3"}, "--out: a value is needed, and --seeds=3 is a flag");
  expect_refused({"--quick", "--full"}, "--full");
  expect_refused({"--precision", "fp8"}, "fp8");
  expect_refused({"--precision", "tf32,bf16"}, "tf32,bf16");
  expect_refused({"--save", "everything"}, "everything");
  expect_refused({"--config", "/nonexistent.toml"}, "/nonexistent.toml");
  std::string own;
  EXPECT_THROW(parse({"--pick", "c"}, false, {{"pick", &own, "help", {"a", "b"}}}), Error);
  EXPECT_NO_THROW(parse({"--pick", "b"}, false, {{"pick", &own, "help", {"a", "b"}}}));
}

// A second one would add to the first.
TEST(Refused, RepeatedFlags) {
  expect_refused({"--seeds", "2", "--seeds", "5"}, "--seeds is given twice");
  expect_refused({"--lr", "0.1", "--lr=0.2"}, "--lr is given twice");
  expect_refused({"--rotate", "--no-rotate"}, "--rotate is given twice");
}

// What a table or a sweep varies may not be taken away, nor a list vary what has no effect.
TEST(Refused, TheSameRunTwice) {
  expect_refused(
      {"--lr", "0.1", "--attack-epsilon", "0.1,0.2"},
      "cases 'attack-epsilon=0.1' and 'attack-epsilon=0.2' are the same run: what they differ in is taken "
      "away, or means nothing here (--attack-epsilon)");
  std::vector<Case> own(2);
  own[0].name = "narrow", own[0].network.hidden = {16};
  own[1].name = "wide", own[1].network.hidden = {64};
  EXPECT_NO_THROW(make_plan("tool", own, parse({"--lr", "0.2"}).options, false, 2));
  try {
    make_plan("tool", own, parse({"--hidden", "4"}).options, false, 2);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("cases 'narrow' and 'wide' are the same run"));
    EXPECT_THAT(error.what(), HasSubstr("(--hidden)"));
  }
}

// Flags that would change nothing, and those that a case's name contradicts.
TEST(Refused, FlagsThatMeanNothing) {
  const std::pair<std::vector<const char*>, const char*> idle[] = {
      {{"--attack-epsilon", "0.3"}, "--attack-epsilon: 0.3 means nothing without --measure pgd"},
      {{"--attack-epsilon", "0.3", "--measure", "as-uap"}, "--attack-epsilon: 0.3 means nothing without"},
      {{"--attack-epsilon", "0.3,0.4", "--measure", "as-uap"}, "are the same run"},
      {{"--svd-epsilon", "0.3", "--measure", "pgd"},
       "--svd-epsilon: 0.3 means nothing without --measure svd-uap"},
      {{"--as-norm", "linf", "--measure", "pgd"}, "--as-norm: linf means nothing without --measure as-uap"},
      {{"--attack-units", "absolute"},
       "--attack-units: absolute means nothing without --measure pgd, svd-uap or"},
      {{"--adversary-step", "0.1"}, "--adversary-step: 0.1 means nothing without --adversary-epsilon"},
      {{"--attack-target", "1", "--measure", "pgd"}, "--attack-target: 1 means nothing without"},
      {{"--momentum", "0,0.9", "--optimizer", "adam"},
       "--momentum: 0.9 means nothing without --optimizer sgd or"},
      {{"--beta1", "0.5"}, "--beta1: 0.5 means nothing without --optimizer adam"},
      {{"--alpha", "0.5", "--optimizer", "adam"}, "--alpha: 0.5 means nothing without --optimizer rmsprop"},
      {{"--lr-factor", "0.5"}, "--lr-factor: 0.5 means nothing without --lr-epochs"},
      {{"--hidden", "linear", "--activation", "tanh"},
       "--activation: tanh means nothing without hidden layers"}};
  for (const auto& [words, text] : idle) expect_refused(words, text);
  for (const std::vector<const char*>& words : std::vector<std::vector<const char*>>{
           {"--attack-epsilon", "0.5"},  // as it is, as a printed configuration has it
           {"--attack-target", "1", "--attack-loss", "targeted", "--measure", "pgd"},
           {"--attack-epsilon", "0.3", "--measure", "pgd"},
           {"--adversary-step", "0.1", "--adversary-epsilon", "0,0.1"}})
    EXPECT_NO_THROW(make_plan("tool", std::vector<Case>(1), parse(words).options, false, 2)) << words[0];
}

TEST(Refused, WhatAFlagOfTheExperimentSays) {
  std::vector<Case> own(1);
  own[0].name = "(8,2)", own[0].network.hidden = {8, 8}, own[0].settled = {{"hidden", "widths"}};
  EXPECT_NO_THROW(make_plan("tool", own, parse({"--hidden", "8x8"}).options, false, 2));
  for (const char* hidden : {"9", "8x8,9x9"}) try {
      make_plan("tool", own, parse({"--hidden", hidden}).options, false, 2);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("contradicts --widths, by which case '(8,2)' has 8x8"));
    }
}

TEST(Refused, LengthsThatOverflow) {
  for (const char* flag :
       {"--attack-epsilon", "--attack-step", "--svd-epsilon", "--svd-attack-epsilon", "--svd-attack-step",
        "--as-epsilon", "--as-step", "--adversary-epsilon", "--adversary-step"})
    for (const char* length : {"1e300", "1e39", "1.1e15"})
      expect_refused({flag, length, "--measure", "pgd,svd-uap,as-uap"},
                     std::string(flag) + ": " + length + " is more than 1e+15");
  expect_refused({"--attack-bounds=-1e31:1e31", "--measure", "pgd"},
                 "--attack-bounds: '-1e31:1e31' reaches beyond");
  expect_refused({"--attack-step", "1e-60", "--measure", "pgd"},
                 "--attack-step: 1e-60 is not positive in fp32");
  expect_refused({"--svd-attack-epsilon", "0", "--measure", "svd-uap"},
                 "--svd-attack-epsilon: 0 leaves SVD-UAP no");
  expect_refused({"--attack-minimal", "--attack-restarts", "2", "--measure", "pgd"},
                 "--attack-restarts: of 2 minimal runs");
}

TEST(Refused, OneValueTwice) {
  expect_refused({"--lr", "0.1,0.2,.10"}, "--lr: 0.1 and .10 are one value");
  expect_refused({"--hidden", "9x9,5,9x9"}, "--hidden: 9x9 is given twice");
  expect_refused({"--hidden", "0,linear"}, "--hidden: 0 and linear are one value");
}

// Arrays have the case's name before theirs, and archives are unpacked into folders.
TEST(Refused, CaseNamesThatLeadOutOfAFolder) {
  std::vector<Case> own(1);
  own[0].name = "mask0=../m/a.npy";
  EXPECT_NO_THROW(make_plan("tool", own, parse({}).options, false, 2));
  own[0].name = "mask0=m/../a.npy";
  EXPECT_THROW(make_plan("tool", own, parse({}).options, false, 2), Error);
}

TEST(Refused, WhatIsNotUtf8) {
  expect_refused({"--config", "c\xff.toml"}, "is not UTF-8");
  expect_refused({"--groups", "\xe4=1"}, "is not UTF-8");
  EXPECT_NO_THROW(parse({"--out", "\xff"}));  // not recorded
}

// Before anything is trained.
TEST(Refused, SwapsOfOneClass) {
  expect_refused({"--measure", "swap", "--test", "1"}, "--measure swap: with data seed 0 all 1 test rows",
                 ErrorKind::data);
  EXPECT_NO_THROW(make_plan("tool", std::vector<Case>(1), parse({"--measure", "swap"}).options, false, 2));
}

TEST(Refused, NamesTheFlag) {
  expect_refused({"--lr", "-1"}, "--lr: -1");
  expect_refused({"--batch", "1000000000"}, "--batch: '1000000000'");
  expect_refused({"--input-dropout", "1"}, "--input-dropout: 1");
  for (const char* flag :
       {"--attack-epsilon", "--attack-step", "--svd-epsilon", "--svd-attack-epsilon", "--svd-attack-step",
        "--as-epsilon", "--as-step", "--adversary-epsilon", "--adversary-step"})
    expect_refused({flag, "-1"}, std::string(flag) + ": -1 is negative");  // whether it is measured or not
  expect_refused({"--attack-epsilon", "-1", "--measure", "pgd"}, "--attack-epsilon: -1");
  expect_refused({"--svd-attack-epsilon", "-1", "--measure", "svd-uap"}, "--svd-attack-epsilon: -1");
  expect_refused({"--svd-epsilon", "-1", "--measure", "svd-uap"}, "--svd-epsilon: -1");
  expect_refused({"--as-epsilon", "-1", "--measure", "as-uap"}, "--as-epsilon: -1");
  expect_refused({"--dropout", "1"}, "--dropout: 1");
  expect_refused({"--lr-epochs", "3", "--lr-factor", "0"}, "--lr-factor: 0");
  expect_refused({"--groups", "best_s=0"}, "--groups: 'best_s'");
  expect_refused({"--groups", "s=0"}, "--groups: 's'");
}

// A rotation of its own gives every member a range of its own.
TEST(Refused, BoundsThatExcludeTheRowsOfSomeMember) {
  const auto range = [](std::uint32_t data_seed) {
    const HostTable rows = materialize(slab_data(lms(5), {data_seed}).front(), Split::test);
    return std::ranges::minmax(rows.x);
  };
  std::vector<float> lows, highs;
  for (std::uint32_t s = 0; s < 5; ++s) {
    const auto [low, high] = range(s);
    lows.push_back(low), highs.push_back(high);
  }
  const auto bounds = [](double low, double high) { return fmt::format("--attack-bounds={}:{}", low, high); };
  const auto [lowest, highest] = std::pair{*std::ranges::min_element(lows), *std::ranges::max_element(highs)};
  ASSERT_TRUE(lows[0] > lowest || highs[0] < highest) << "seed 0 has the widest range";
  const std::string first = bounds(lows[0], highs[0]), all = bounds(lowest, highest);
  std::size_t wider = 0;
  while (lows[wider] >= lows[0] && highs[wider] <= highs[0]) ++wider;
  for (const char* threads : {"1", "2", "3", "8"}) {
    expect_refused({"--measure", "pgd", "--seeds", "5", "--threads", threads, first.c_str()},
                   fmt::format(" excludes test rows of data seed {}, which reach from {} to {}", wider,
                               lows[wider], highs[wider]));
    const CommandLine parsed = parse({"--measure", "pgd", "--seeds", "5", "--threads", threads, all.c_str()});
    EXPECT_NO_THROW(make_plan("tool", std::vector<Case>(1), parsed.options, false, 2));
  }
}

TEST(Refused, WhatHasAPlaceOfItsOwn) {
  std::vector<Case> own(1);
  own[0].training.adversary = Pgd{};
  EXPECT_THROW(make_plan("tool", own, parse({}).options, false, 2), Error);
  own[0].training.adversary.reset();
  own[0].training.precision = Precision::tf32;
  EXPECT_THROW(make_plan("tool", own, parse({}).options, false, 2), Error);
}

TEST(Refused, VotesOfOneOutputBySoftmax) {
  std::vector<Case> own(1);
  own[0].network.loss = Loss::binary_cross_entropy;
  own[0].votes.sizes = {3}, own[0].votes.combiners = {Combiner::average};
  EXPECT_NO_THROW(make_plan("tool", own, parse({}).options, false, 2));
  own[0].votes.combiners.push_back(Combiner::softmax);
  EXPECT_THROW(make_plan("tool", own, parse({}).options, false, 2), Error);
  own[0].network.loss = Loss::hinge;
  try {
    make_plan("tool", own, parse({}).options, false, 2);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--loss hinge has one"));
  }
}

TEST(Accepted, GroupsWhoseNamesEndInS) {
  EXPECT_NO_THROW(make_plan("tool", std::vector<Case>(1),
                            parse({"--groups", "TS=0", "--simple", "1"}).options, false, 2));
}

TEST(Accepted, CommandsAreRecordedAsAShellTakesThem) {
  EXPECT_EQ(parse({"--groups", "S=0,T=1", "--stop", "MS-(5,7)'s"}).command,
            "tool --groups S=0,T=1 --stop 'MS-(5,7)'\\''s'");
}

TEST(Refused, ConfigurationFiles) {
  const test::Folder folder;
  const std::string path = folder / "config.toml";
  const auto refused = [&](const std::string& text, const std::string& part) {
    std::ofstream(path) << text;
    expect_refused({"--config", path.c_str()}, part);
  };
  refused("bogus = 1\n", "no flag is called 'bogus'");
  refused("lr = [0.1,\n", "a list is not closed");
  refused("lr = 0.1  # [\nlr = 0.2\n", "lr is given twice");
  refused("rotate = true\nno-rotate = true\n", "rotate is given twice");
  refused("lr\n", "'lr' is not flag = value");
  refused("[training]\nlr = 0.1\n", "'[training]' is not flag = value");
  refused("print-config = true\n", "print-config cannot stand in a file");
  refused("out = \"run#1\"\n", "a # within quotes is not read");
  refused("out = 'run#1'\n", "a # within quotes is not read");
  refused("lr = [\n 0.1,\n 0.2]\n", "a list's first value stands on the line of its [");
  refused("lr = [0.1,\n# larger\n 0.2]\n", "a comment within a list is not read");
  std::ofstream(path)
      << "# [\n\nlr = [0.1,\n 0.2]\nrotate = \"true,false\"\nsave = \"weights\"\nout = \"a[\" # b\n";
  EXPECT_EQ(parse({"--config", path.c_str()}).options.out, "a[");
  std::ofstream(path) << "out = 'it[s'\n";
  EXPECT_EQ(parse({"--config", path.c_str()}).options.out, "it[s");
}

TEST(Refused, Seeds) {
  expect_refused({"--seeds", "0"}, "--seeds");
  expect_refused({"--seeds", "-1"}, "-1");
  expect_refused({"--seeds", "5-2"}, "5-2");
  expect_refused({"--seeds", "1,1"}, "twice");
  expect_refused({"--data-seeds", "x"}, "--data-seeds");
  expect_refused({"--order-seeds", "4294967296"}, "4294967296");
  expect_refused({"--data-seeds", "1", "--init-seeds", "1", "--order-seeds", "1", "--seeds", "2"}, "--seeds");
}

TEST(Refused, Data) {
  expect_refused({"--dim", "0"}, "--dim: '0'");
  expect_refused({"--dim", "3.5"}, "3.5");
  expect_refused({"--dim", "3", "--linear", "4"}, "3 dimensions");
  expect_refused({"--slabs7", "rest"}, "rest");
  expect_refused({"--slabs3", "-1"}, "-1");
  expect_refused({"--margin-linear", "1"}, "1");
  expect_refused({"--margin-5", "0.25"}, "0.25");
  expect_refused({"--margin-7", "0.2", "--slabs7", "1"}, "0.2");
  expect_refused({"--margin-3", "0.5", "--slabs3", "1"}, "0.5");
  expect_refused({"--margin", "-0.1"}, "-0.1");
  expect_refused({"--margin-3", "7"}, "7");  // though there is no 3-slab
  expect_refused({"--margin", "nan"}, "nan");
  expect_refused({"--data-width", "0"}, "0");
  expect_refused({"--data-width", "-2"}, "-2");
  expect_refused({"--linear-noise", "1.5"}, "1.5");
  expect_refused({"--slab5-noise", "-0.5"}, "-0.5");
  expect_refused({"--linear-noise", "0.1", "--linear", "0"}, "--linear-noise");
  expect_refused({"--slab7-noise", "0.1"}, "--slab7-noise");
  expect_refused({"--slab7-noise", "1.1", "--slabs7", "1"}, "1.1");
  expect_refused({"--linear-noise-kind", "label"}, "label");
  expect_refused({"--slab5-noise-kind", "flip"}, "flip");
  expect_refused({"--slab3-shift", "1"}, "--slab3-shift");
  expect_refused({"--linear-shift", "inf"}, "inf");
  expect_refused({"--slab5-inner0", "1.01"}, "1.01");
  expect_refused({"--slab7-inner1", "-0.2"}, "-0.2");
  expect_refused({"--linear-position", "60", "--no-rotate"}, "60");
  expect_refused({"--linear-position", "3"}, "--no-rotate");
  expect_refused({"--linear-position", "3", "--no-rotate", "--linear", "0"}, "no linear coordinate");
  expect_refused({"--unused-limit", "-1"}, "-1");
  expect_refused({"--rotate=perhaps"}, "perhaps");
  expect_refused({"--train", "0"}, "--train");
  expect_refused({"--test", "0"}, "--test");
  expect_refused({"--validation", "-1"}, "--validation");
  expect_refused({"--train", "2147483647"}, "rows");
  expect_refused({"--simple", "50"}, "50");
  expect_refused({"--simple", "0-49"}, "S^c");
  expect_refused({"--simple", "a"}, "--simple");
  expect_refused({"--groups", "T=77"}, "77");
  expect_refused({"--groups", "S=0", "--simple", "0"}, "--simple");
  expect_refused({"--groups", "standard=1"}, "standard");
  expect_refused({"--measure", "subset:51"}, "subset:51");
  expect_refused({"--measure", "subset:10"}, "subsets");
  expect_refused({"--measure", "subset:0"}, "--measure");
  expect_refused({"--measure", "everything"}, "everything");
  expect_refused({"--data", "/nonexistent"}, "/nonexistent", ErrorKind::data);
}

TEST(Refused, Network) {
  expect_refused({"--hidden", "100x0"}, "100x0");
  expect_refused({"--hidden", "1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1"}, "layers");
  expect_refused({"--activation", "gelu"}, "gelu");
  expect_refused({"--loss", "mse"}, "mse");
  expect_refused({"--init", "zeros"}, "zeros");
  expect_refused({"--init-scale", "0"}, "--init-scale");
  expect_refused({"--init-scale", "-1"}, "-1");
  expect_refused({"--batch-norm=maybe"}, "maybe");
}

TEST(Refused, Training) {
  expect_refused({"--optimizer", "lion"}, "lion");
  expect_refused({"--lr", "-0.1"}, "-0.1");
  expect_refused({"--lr", "fast"}, "fast");
  expect_refused({"--lr", "0.1,,0.2"}, "empty entry");
  expect_refused({"--momentum", "1"}, "1");
  expect_refused({"--weight-decay", "-1"}, "-1");
  expect_refused({"--beta1", "1"}, "beta1");
  expect_refused({"--beta2", "2"}, "beta2");
  expect_refused({"--alpha", "-1"}, "alpha");
  expect_refused({"--optimizer-epsilon", "0"}, "epsilon");
  expect_refused({"--batch", "0"}, "--batch");
  expect_refused({"--batch", "1", "--batch-norm"}, "--batch-norm: ");
  expect_refused({"--input-dropout", "1"}, "dropout");
  expect_refused({"--dropout", "-0.1"}, "dropout");
  for (const char* stop : {"accuracy", "accuracy:", "accuracy:2", "accuracy:0", "loss:0", "loss:-1", "loss:x",
                           "none:1", "soon", "accuracy:nan"})
    expect_refused({"--stop", stop}, "--stop");
  expect_refused({"--check-every", "0"}, "--check-every");
  expect_refused({"--patience", "0"}, "--patience");
  expect_refused({"--max-updates", "0"}, "--max-updates");
  // What fit takes at most is what a flag takes.
  expect_refused({"--batch", "1048577"}, "--batch: '1048577' is not a whole number from 1 to 1048576");
  for (const char* flag : {"--check-every", "--patience", "--max-updates"})
    expect_refused({flag, "4000000001"},
                   fmt::format("{}: '4000000001' is not a whole number from 1 to 4000000000", flag));
  const CommandLine most = parse({"--batch", "1048576", "--max-updates", "4000000000"});
  EXPECT_NO_THROW(make_plan("tool", std::vector<Case>(1), most.options, false, 2));
}

TEST(Refused, UserData) {
  const test::Folder folder;
  const std::string file = folder / "data.npz";
  NpzWriter writer(file);
  writer.add("x", std::vector<float>(40 * 3, 0.5f), {40, 3});
  std::vector<std::int64_t> labels(40);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i % 3);
  writer.add("y", labels);
  writer.close();
  expect_refused({"--data", file.c_str()}, "test", ErrorKind::usage, true);
  expect_refused({"--data", file.c_str(), "--test", "10", "--dim", "3"}, "--dim", ErrorKind::usage, true);
  expect_refused({"--data", file.c_str(), "--test", "10", "--simple", "3"}, "3", ErrorKind::usage, true);
  expect_refused({"--data", file.c_str(), "--test", "10", "--loss", "hinge"}, "hinge", ErrorKind::usage,
                 true);
  expect_refused({"--data", "/nonexistent.npz"}, "/nonexistent.npz", ErrorKind::data, true);

  // Classes without rows would have outputs, and no AUC.
  for (std::int64_t& label : labels) label = 1 + label % 2;
  {
    NpzWriter from_one(file);
    from_one.add("x", std::vector<float>(40 * 3, 0.5f), {40, 3});
    from_one.add("y", labels);
    from_one.close();
  }
  expect_refused({"--data", file.c_str(), "--test", "10"},
                 "no row has label 0, the largest is 2; number the classes", ErrorKind::data, true);
}

}  // namespace
}  // namespace occam::experiment
