// Which GPUs a list of architectures serves, by the rules of compatibility in the CUDA documentation.
#include "cuda/architectures.hpp"

#include <gtest/gtest.h>

namespace occam::cuda {
namespace {

TEST(Architectures, MachineCodeServesLaterOnesOfItsMajorNumber) {
  EXPECT_TRUE(has_code_for("80-real", 8, 0));
  EXPECT_TRUE(has_code_for("80-real", 8, 9));
  EXPECT_FALSE(has_code_for("86-real", 8, 0));
  EXPECT_FALSE(has_code_for("80-real", 9, 0));
  EXPECT_TRUE(has_code_for("120-real", 12, 0));
  EXPECT_FALSE(has_code_for("120-real", 10, 0));
}

TEST(Architectures, PtxServesAllLaterOnes) {
  EXPECT_TRUE(has_code_for("80-virtual", 9, 0));
  EXPECT_TRUE(has_code_for("90", 12, 0));
  EXPECT_TRUE(has_code_for("86-virtual", 8, 9));
  EXPECT_FALSE(has_code_for("90-virtual", 8, 9));
}

TEST(Architectures, FeaturesOfOneCapabilityOrFamily) {
  EXPECT_TRUE(has_code_for("90a-real", 9, 0));
  EXPECT_FALSE(has_code_for("90a", 10, 0));
  EXPECT_FALSE(has_code_for("120a-real", 12, 1));
  EXPECT_TRUE(has_code_for("100f", 10, 3));
  EXPECT_FALSE(has_code_for("100f", 12, 0));
}

TEST(Architectures, AnyOfAListServes) {
  const char* usual = "80-real;90-real;90-virtual";
  for (const auto& [major, minor] : {std::pair{8, 6}, {9, 0}, {10, 0}, {12, 0}})
    EXPECT_TRUE(has_code_for(usual, major, minor)) << major;
  EXPECT_FALSE(has_code_for("80-real;90a-real", 12, 0));
  EXPECT_FALSE(has_code_for("90a-real;100a-real", 8, 0));
}

TEST(Architectures, NamesWithoutANumberServeAll) {
  for (const char* names : {"", "native", "all-major"}) EXPECT_TRUE(has_code_for(names, 8, 0)) << names;
}

}  // namespace
}  // namespace occam::cuda
