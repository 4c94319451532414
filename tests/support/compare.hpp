// Comparisons of arrays. They never let a NaN pass unasked, and a failure names the first element that
// differs.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace occam::test {

enum class Nan { rejected, matched };  // matched: a NaN equals a NaN of any payload, and nothing else

// Equal bit patterns: +0 is not −0.
testing::AssertionResult same_bits(std::span<const float> actual, std::span<const float> expected,
                                   Nan nan = Nan::rejected);

// At least `share` of the values are finite, not zero and different from the value before: the comparison had
// something to compare.
testing::AssertionResult varied(std::span<const float> values, double share = 0.5);

// Bound on |actual − expected|: absolute + relative · |expected|.
struct Tolerance {
  double absolute = 0, relative = 0;
};

// Compares and remembers the largest share of the tolerance that was used; the destructor prints it.
class ShareUsed {
 public:
  explicit ShareUsed(std::string what) : what_(std::move(what)) {}
  ShareUsed(const ShareUsed&) = delete;
  ShareUsed& operator=(const ShareUsed&) = delete;
  ~ShareUsed();

  // NaN never is within a tolerance; an infinity only of the same infinity.
  testing::AssertionResult within(std::span<const float> actual, std::span<const double> expected,
                                  Tolerance tolerance);

  double largest() const { return largest_; }

 private:
  std::string what_;
  double largest_ = 0;
};

std::vector<double> as_doubles(std::span<const float> values);

}  // namespace occam::test
