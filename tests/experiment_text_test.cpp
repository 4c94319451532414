#include "experiment/text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "occam/error.hpp"

namespace occam::experiment {
namespace {

using ::testing::HasSubstr;

// Usage errors carry the flag and the offending value, in one line.
template <class Function>
void expect_refused(const Function& function, const std::string& offender) {
  try {
    function();
    ADD_FAILURE() << "'" << offender << "' was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("--flag"));
    EXPECT_THAT(error.what(), HasSubstr(offender));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

TEST(Text, Lists) {
  EXPECT_EQ(split_list("flag", "a, b ,c"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(split_list("flag", "1"), (std::vector<std::string>{"1"}));
  for (const char* bad : {"", ",", "a,", ",a", "a,,b"}) expect_refused([&] { split_list("flag", bad); }, bad);
}

TEST(Text, Numbers) {
  EXPECT_EQ(parse_integer("flag", "-5", -9, 9), -5);
  EXPECT_EQ(parse_real("flag", "5e-5"), 5e-5);
  EXPECT_EQ(parse_real("flag", "-0.25"), -0.25);
  for (const char* bad : {"10", "-10", "1.5", "1e1", "x", "", "7 ", "0x3", "99999999999999999999"})
    expect_refused([&] { parse_integer("flag", bad, -9, 9); }, bad);
  for (const char* bad : {"nan", "inf", "-inf", "1e999", "0.1x", "", "one"})
    expect_refused([&] { parse_real("flag", bad); }, bad);
}

TEST(Text, Booleans) {
  for (const char* word : {"true", "on", "yes", "1"}) EXPECT_TRUE(parse_boolean("flag", word));
  for (const char* word : {"false", "off", "no", "0"}) EXPECT_FALSE(parse_boolean("flag", word));
  expect_refused([] { parse_boolean("flag", "maybe"); }, "maybe");
}

TEST(Text, Architectures) {
  EXPECT_EQ(parse_architecture("flag", "100x100"), (std::vector<int>{100, 100}));
  EXPECT_EQ(parse_architecture("flag", "7"), (std::vector<int>{7}));
  EXPECT_TRUE(parse_architecture("flag", "linear").empty());
  EXPECT_TRUE(parse_architecture("flag", "0").empty());
  for (const char* bad : {"", "x", "100x", "x100", "100xx3", "0x100", "-5", "16385", "100,100x", "deep"})
    expect_refused([&] { parse_architecture("flag", bad); }, bad);
}

TEST(Text, Words) {
  EXPECT_EQ(parse_word("flag", "b", {"a", "b"}), 1);
  expect_refused([] { parse_word("flag", "c", {"a", "b"}); }, "'c' is not one of a, b");
}

TEST(Text, Ranges) {
  EXPECT_EQ(parse_ranges("flag", "7", 10), (std::vector<std::uint32_t>{7}));
  EXPECT_EQ(parse_ranges("flag", "2-4,0,9", 10), (std::vector<std::uint32_t>{2, 3, 4, 0, 9}));
  EXPECT_EQ(parse_ranges("flag", "4294967295", 0xFFFFFFFFu).front(), 0xFFFFFFFFu);
  for (const char* bad : {"", "11", "3-2", "1-", "-1", "1-2-3", "a", "1,1", "0-3,2", "4294967296"})
    expect_refused([&] { parse_ranges("flag", bad, 10); },
                   bad[0] == '1' && bad[1] == ',' ? "given twice" : "");
  expect_refused([] { parse_ranges("flag", "0-4294967295", 0xFFFFFFFFu); }, "0-4294967295");
}

TEST(Text, SeedCounts) {
  EXPECT_EQ(parse_seed_count("flag", "3"), (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(parse_seed_count("flag", "5-7"), (std::vector<std::uint32_t>{5, 6, 7}));
  EXPECT_EQ(parse_seed_count("flag", "9,4"), (std::vector<std::uint32_t>{9, 4}));
  for (const char* bad : {"0", "-3", "3.5", "many", ""})
    expect_refused([&] { parse_seed_count("flag", bad); }, bad);
}

TEST(Text, Groups) {
  const auto groups = parse_groups("flag", "S=0-2,T=5,7,side_2=9");
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups.at("S"), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(groups.at("T"), (std::vector<int>{5, 7}));
  EXPECT_EQ(groups.at("side_2"), (std::vector<int>{9}));
  for (const char* bad : {"", "0-3", "S=", "=3", "S=1,S=2", "S=x", "S!=2", "S=1,1"})
    EXPECT_THROW(parse_groups("flag", bad), Error) << bad;
}

TEST(Text, RealsReadBack) {
  for (double value : {0.1, 5e-5, 1.0 / 3.0, 1e300, -7.25, 0.0})
    EXPECT_EQ(parse_real("flag", format_real(value)), value);
}

}  // namespace
}  // namespace occam::experiment
