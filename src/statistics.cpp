#include "occam/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "occam/error.hpp"

namespace occam {
namespace {

// Lentz's evaluation of the continued fraction; converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300;
  const auto guarded = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1, d = 1 / guarded(1 - (a + b) * x / (a + 1)), value = d;
  for (int m = 1; m < 10'000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guarded(1 + even * d);
    c = guarded(1 + even / c);
    value *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guarded(1 + odd * d);
    c = guarded(1 + odd / c);
    value *= d * c;
    if (std::abs(d * c - 1) < 1e-16) break;
  }
  return value;
}

}  // namespace

double incomplete_beta(double a, double b, double x) {
  if (!(a > 0) || !(b > 0) || std::isnan(x)) return kNan;
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  const double front = std::exp(log_front);
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double beta_quantile(double p, double a, double b) {
  if (!(p >= 0 && p <= 1)) return kNan;
  if (p == 0) return 0;
  if (p == 1) return 1;
  double low = 0, high = 1;
  // Halves until neighbouring doubles meet; towards 0 the exponent is halved first.
  for (int i = 0; i < 2000; ++i) {
    const double middle = low > 0 && high / low > 4 ? std::sqrt(low * high) : low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    (incomplete_beta(a, b, middle) < p ? low : high) = middle;
  }
  return high;
}

double t_cdf(double t, double degrees_of_freedom) {
  if (std::isnan(t)) return kNan;
  const double squared = t * t;
  if (std::isinf(squared)) return t > 0 ? 1 : 0;
  const double tail =
      0.5 * incomplete_beta(degrees_of_freedom / 2, 0.5, degrees_of_freedom / (degrees_of_freedom + squared));
  return t > 0 ? 1 - tail : tail;
}

double t_quantile(double p, double degrees_of_freedom) {
  if (!(p > 0 && p < 1)) return kNan;
  if (p == 0.5) return 0;
  const double x = beta_quantile(2 * std::min(p, 1 - p), degrees_of_freedom / 2, 0.5);
  const double t = std::sqrt(degrees_of_freedom * (1 - x) / x);
  return p > 0.5 ? t : -t;
}

double mean(std::span<const double> values) {
  if (values.empty()) return kNan;
  const double first = values.front();  // shifted: equal values give exactly that value
  double sum = 0;
  for (double v : values) sum += v - first;
  return first + sum / static_cast<double>(values.size());
}

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return kNan;
  const double center = mean(values);
  double sum = 0;
  for (double v : values) sum += (v - center) * (v - center);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double median(std::span<const double> values) {
  if (values.empty() || std::ranges::any_of(values, [](double v) { return std::isnan(v); })) return kNan;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

Interval t_interval(std::span<const double> values, double confidence) {
  if (values.size() < 2) return {kNan, kNan};
  const double n = static_cast<double>(values.size());
  const double half = t_quantile(0.5 + confidence / 2, n - 1) * standard_deviation(values) / std::sqrt(n);
  return {mean(values) - half, mean(values) + half};
}

Interval clopper_pearson(std::int64_t successes, std::int64_t trials, double confidence) {
  require(trials >= 1 && successes >= 0 && successes <= trials,
          "Clopper-Pearson interval: {} successes of {} trials", successes, trials);
  const double tail = (1 - confidence) / 2, k = static_cast<double>(successes),
               n = static_cast<double>(trials);
  return {successes == 0 ? 0.0 : beta_quantile(tail, k, n - k + 1),
          successes == trials ? 1.0 : beta_quantile(1 - tail, k + 1, n - k)};
}

Interval prediction_interval(std::span<const double> values, double least_deviation, double confidence) {
  if (values.size() < 2) return {kNan, kNan};
  const double n = static_cast<double>(values.size());
  const double deviation = std::max(standard_deviation(values), least_deviation);
  const double half = t_quantile(0.5 + confidence / 2, n - 1) * deviation * std::sqrt(1 + 1 / n);
  return {mean(values) - half, mean(values) + half};
}

Equivalence equivalence(std::span<const double> values, double center, double margin) {
  if (values.size() < 2) return {kNan, {kNan, kNan}};
  const double n = static_cast<double>(values.size()), difference = mean(values) - center;
  const double error = standard_deviation(values) / std::sqrt(n);
  Equivalence result{1, t_interval(values, 0.90)};
  if (error == 0) {
    result.p = std::abs(difference) < margin ? 0 : 1;
  } else {
    const double above = t_cdf(-(difference + margin) / error, n - 1);  // against mean <= center − margin
    const double below = t_cdf((difference - margin) / error, n - 1);   // against mean >= center + margin
    result.p = std::max(above, below);
  }
  return result;
}

std::vector<bool> holm(std::span<const double> p, double alpha) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto key = [&](std::size_t i) { return std::isnan(p[i]) ? 2.0 : p[i]; };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  std::vector<bool> rejected(p.size(), false);
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    if (!(key(order[rank]) < alpha / static_cast<double>(p.size() - rank))) break;
    rejected[order[rank]] = true;
  }
  return rejected;
}

double welch_test(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2 || b.size() < 2) return kNan;
  const auto error2 = [](std::span<const double> v) {
    return standard_deviation(v) * standard_deviation(v) / static_cast<double>(v.size());
  };
  const double ea = error2(a), eb = error2(b), difference = mean(a) - mean(b);
  if (ea + eb == 0) return difference == 0 ? 1 : 0;
  const double freedom =
      (ea + eb) * (ea + eb) /
      (ea * ea / static_cast<double>(a.size() - 1) + eb * eb / static_cast<double>(b.size() - 1));
  return 2 * t_cdf(-std::abs(difference) / std::sqrt(ea + eb), freedom);
}

std::vector<double> variance_shares(std::span<const double> values,
                                    std::span<const std::vector<int>> levels) {
  for (const std::vector<int>& level : levels)
    require(level.size() == values.size(), "variance shares: {} levels of {} values", level.size(),
            values.size());
  if (values.empty()) return {};
  const double center = mean(values);
  double total = 0;
  for (double v : values) total += (v - center) * (v - center);
  if (!(total > 0)) return {};  // NaN, too
  std::vector<double> shares;
  double explained = 0;
  for (const std::vector<int>& level : levels) {
    std::map<int, std::vector<double>> groups;
    for (std::size_t i = 0; i < values.size(); ++i) groups[level[i]].push_back(values[i]);
    double between = 0;
    for (const auto& [name, group] : groups) {
      const double shift = mean(group) - center;
      between += static_cast<double>(group.size()) * shift * shift;
    }
    shares.push_back(between / total);
    explained += shares.back();
  }
  shares.push_back(std::max(0.0, 1 - explained));  // rounding can explain a hair more than everything
  return shares;
}

}  // namespace occam
