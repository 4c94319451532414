// Statistics of a handful of seeds: intervals, equivalence tests and shares of variance. Small, exact, in
// double precision.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace occam {

// What is not known: the mean of no value, what was not measured of a member.
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Interval {
  double low = 0, high = 0;
  bool contains(double x) const { return low <= x && x <= high; }
};

// ---- distributions ----------------------------------------------------------------------------------------
// Regularised incomplete beta function I_x(a, b), a, b > 0, x in [0, 1]; about 14 digits, 11 where a + b is
// 10^4. Continued fraction
// of Abramowitz and Stegun 26.5.8.
double incomplete_beta(double a, double b, double x);
// The x with I_x(a, b) = p, p in [0, 1].
double beta_quantile(double p, double a, double b);
double t_cdf(double t, double degrees_of_freedom);
// p in (0, 1).
double t_quantile(double p, double degrees_of_freedom);

// ---- samples ----------------------------------------------------------------------------------------------
// Mean and median of no value, or with a NaN among them, are NaN.
double mean(std::span<const double> values);
// Unbiased (n − 1); NaN for fewer than two values.
double standard_deviation(std::span<const double> values);
double median(std::span<const double> values);
// x̄ ± t_{n−1} s / sqrt(n); NaN limits for fewer than two values.
Interval t_interval(std::span<const double> values, double confidence = 0.95);
// Clopper and Pearson's interval for the probability behind `successes` of `trials` >= 1.
Interval clopper_pearson(std::int64_t successes, std::int64_t trials, double confidence = 0.95);

// Where one further value would lie: x̄ ± t_{n−1} · max(s, least_deviation) · sqrt(1 + 1/n). NaN for fewer
// than two values.
Interval prediction_interval(std::span<const double> values, double least_deviation = 0,
                             double confidence = 0.95);

// ---- tests ------------------------------------------------------------------------------------------------
// Two one-sided t-tests that the mean differs from `center` by less than `margin` (Schuirmann 1987). p is the
// larger of the two; p < 0.05 exactly when the 90% t-interval lies inside the margin. NaN for fewer than two
// values.
struct Equivalence {
  double p = 1;
  Interval interval;  // of confidence 90%
};
Equivalence equivalence(std::span<const double> values, double center, double margin);

// Holm's step-down method (1979): rejected[i] says whether hypothesis i is rejected with family-wise error
// `alpha`. A NaN is never rejected but counts.
std::vector<bool> holm(std::span<const double> p, double alpha = 0.05);

// Welch's two-sample t-test, two-sided. NaN when either sample has fewer than two values.
double welch_test(std::span<const double> a, std::span<const double> b);

// ---- variance ---------------------------------------------------------------------------------------------
// Main-effects analysis of variance of a balanced design (a product of levels). levels[f][i] is the level of factor f
// that value i has. Share of factor f: Σ_level n_level (mean_level − mean)² / Σ_i (x_i − mean)²; what is left over
// (interactions, and noise) comes last. The shares are η² (eta squared): of n values that are noise alone a factor of
// L levels has (L − 1) / (n − 1) on average. Empty when nothing varies, or when a value is NaN: without it the factors
// are not orthogonal, and their shares may be more than everything. A usage error for levels of another number than
// values.
std::vector<double> variance_shares(std::span<const double> values, std::span<const std::vector<int>> levels);

}  // namespace occam
