// Goodness of fit for tests with fixed seeds: the statistics are numbers that do not change from run to run,
// and a limit of five standard deviations leaves honest code alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace occam::test {

inline constexpr double kLimit = 5.0;

// Chi-square of counts against expectations, as a standard normal deviate (Wilson and Hilferty 1931). Only
// large values speak against the fit; very small ones speak of counts that are too even.
inline double chi_square_deviate(std::span<const std::int64_t> counts, std::span<const double> expected) {
  double statistic = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double difference = static_cast<double>(counts[i]) - expected[i];
    statistic += difference * difference / expected[i];
  }
  const double freedom = static_cast<double>(counts.size()) - 1;
  return (std::cbrt(statistic / freedom) - (1 - 2 / (9 * freedom))) / std::sqrt(2 / (9 * freedom));
}

inline double chi_square_deviate(std::span<const std::int64_t> counts) {
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  const std::vector<double> expected(counts.size(),
                                     static_cast<double>(total) / static_cast<double>(counts.size()));
  return chi_square_deviate(counts, expected);
}

// (count − n p) / sd of a binomial.
inline double binomial_deviate(std::int64_t count, std::int64_t n, double p) {
  const double trials = static_cast<double>(n);
  return (static_cast<double>(count) - trials * p) / std::sqrt(trials * p * (1 - p));
}

// Kolmogorov and Smirnov's sqrt(n) sup |F_n − F|: above 2.3 with probability 5e-5 when the sample is F's.
inline constexpr double kKolmogorovLimit = 2.3;
template <class Distribution>
double kolmogorov(std::vector<double> sample, const Distribution& distribution) {
  std::sort(sample.begin(), sample.end());
  const double n = static_cast<double>(sample.size());
  double largest = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const double f = distribution(sample[i]);
    largest = std::max({largest, static_cast<double>(i + 1) / n - f, f - static_cast<double>(i) / n});
  }
  return std::sqrt(n) * largest;
}

inline double kolmogorov_uniform(std::vector<double> sample, double low, double high) {
  return kolmogorov(std::move(sample),
                    [=](double v) { return std::clamp((v - low) / (high - low), 0.0, 1.0); });
}

}  // namespace occam::test
