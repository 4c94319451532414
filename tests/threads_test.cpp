// Claim: work that is dealt out to threads is done once, and an exception ends it.
#include <array>
#include <atomic>
#include <cstddef>
#include <stdexcept>

#include <gtest/gtest.h>

#include "threads.hpp"

namespace occam::test {
namespace {

TEST(SideBySide, DoesEachOnce) {
  for (const int threads : {1, 2, 5}) {
    std::array<std::atomic<int>, 40> done{};
    side_by_side(threads, done.size(), [&](std::size_t i) { ++done[i]; });
    for (const std::atomic<int>& one : done) EXPECT_EQ(one, 1) << threads << " threads";
  }
  side_by_side(2, 0, [](std::size_t) { ADD_FAILURE() << "there is nothing to do"; });
}

TEST(SideBySide, BeginsNoneAfterAnException) {
  std::atomic<std::size_t> begun{0};
  const auto body = [&](std::size_t i) {
    ++begun;
    if (i == 3) throw std::runtime_error("the fourth");
  };
  EXPECT_THROW(side_by_side(1, 1000, body), std::runtime_error);
  EXPECT_EQ(begun, 4u);
  begun = 0;
  constexpr std::size_t kMany = 100'000'000;  // more than the other thread begins before this one has thrown
  EXPECT_THROW(side_by_side(2, kMany, body), std::runtime_error);
  EXPECT_LT(begun, kMany);
}

}  // namespace
}  // namespace occam::test
