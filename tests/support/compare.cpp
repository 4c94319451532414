#include "support/compare.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace occam::test {

testing::AssertionResult same_bits(std::span<const float> actual, std::span<const float> expected, Nan nan) {
  if (actual.size() != expected.size())
    return testing::AssertionFailure() << actual.size() << " values, expected " << expected.size();
  std::size_t wrong = 0, first = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const bool either = std::isnan(actual[i]) || std::isnan(expected[i]);
    const bool both = std::isnan(actual[i]) && std::isnan(expected[i]);
    const bool equal =
        either ? both && nan == Nan::matched
               : std::bit_cast<std::uint32_t>(actual[i]) == std::bit_cast<std::uint32_t>(expected[i]);
    if (!equal && wrong++ == 0) first = i;
  }
  if (wrong == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << fmt::format(
             "{} of {} values differ in their bits; the first at [{}]: {:a} ({:.9g}), expected {:a} ({:.9g})",
             wrong, actual.size(), first, actual[first], actual[first], expected[first], expected[first]);
}

testing::AssertionResult varied(std::span<const float> values, double share) {
  std::size_t good = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    good += std::isfinite(values[i]) && values[i] != 0.0f && (i == 0 || values[i] != values[i - 1]);
  if (!values.empty() && static_cast<double>(good) >= share * static_cast<double>(values.size()))
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << fmt::format("only {} of {} values are finite, not zero and new", good,
                                                    values.size());
}

testing::AssertionResult ShareUsed::within(std::span<const float> actual, std::span<const double> expected,
                                           Tolerance tolerance) {
  if (actual.size() != expected.size())
    return testing::AssertionFailure() << actual.size() << " values, expected " << expected.size();
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double value = actual[i], bound = tolerance.absolute + tolerance.relative * std::abs(expected[i]);
    if (value == expected[i]) continue;  // infinities, too
    const double share = std::abs(value - expected[i]) / bound;
    if (!(share <= 1.0) || !std::isfinite(value))
      return testing::AssertionFailure()
             << fmt::format("{} [{}]: {:.9g}, expected {:.17g} within {:.3g}; off by {:.3g}", what_, i, value,
                            expected[i], bound, value - expected[i]);
    largest_ = std::max(largest_, share);
  }
  return testing::AssertionSuccess();
}

ShareUsed::~ShareUsed() { fmt::print("    {}: {:.0f}% of the tolerance used\n", what_, 100 * largest_); }

std::vector<double> as_doubles(std::span<const float> values) { return {values.begin(), values.end()}; }

}  // namespace occam::test
