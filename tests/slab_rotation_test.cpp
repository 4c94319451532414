// The rotation of slab data: orthogonal, Haar-distributed, and applied by the law.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "interrupt.hpp"
#include "occam/data.hpp"
#include "occam/slab.hpp"
#include "support/compare.hpp"
#include "support/goodness_of_fit.hpp"
#include "support/slab_rows.hpp"

namespace occam {
namespace {

using namespace test;

SlabSpec rotated(int dim) {
  SlabSpec spec = lms(5, dim);
  spec.train = 300, spec.test = 100;
  return spec;
}

// Largest |W Wᵀ − I|.
double distance_from_orthogonal(const std::vector<float>& w, std::size_t dim) {
  double largest = 0;
  for (std::size_t a = 0; a < dim; ++a)
    for (std::size_t b = 0; b < dim; ++b) {
      double sum = a == b ? -1 : 0;
      for (std::size_t k = 0; k < dim; ++k) sum += static_cast<double>(w[a * dim + k]) * w[b * dim + k];
      largest = std::max(largest, std::abs(sum));
    }
  return largest;
}

double determinant(std::vector<double> m, std::size_t n) {
  double result = 1;
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c; r < n; ++r)
      if (std::abs(m[r * n + c]) > std::abs(m[pivot * n + c])) pivot = r;
    if (pivot != c) {
      for (std::size_t k = 0; k < n; ++k) std::swap(m[c * n + k], m[pivot * n + k]);
      result = -result;
    }
    result *= m[c * n + c];
    for (std::size_t r = c + 1; r < n; ++r)
      for (std::size_t k = n; k-- > c;) m[r * n + k] -= m[r * n + c] / m[c * n + c] * m[c * n + k];
  }
  return result;
}

TEST(SlabRotation, IsOrthogonalToFp32) {
  for (const int dim : {1, 2, 3, 20, 50, 250})
    EXPECT_LT(distance_from_orthogonal(slab_rotation(rotated(dim), 3), static_cast<std::size_t>(dim)), 2e-7)
        << dim;
}

TEST(SlabRotation, HasBothDeterminantsEquallyOften) {
  for (const int dim : {1, 2, 7}) {
    std::int64_t positive = 0;
    for (std::uint32_t seed = 0; seed < 1000; ++seed) {
      const std::vector<float> w = slab_rotation(rotated(dim), seed);
      const double d = determinant({w.begin(), w.end()}, static_cast<std::size_t>(dim));
      ASSERT_NEAR(std::abs(d), 1, 1e-5);
      positive += d > 0;
    }
    EXPECT_LT(std::abs(test::binomial_deviate(positive, 1000, 0.5)), kLimit) << dim;
  }
}

// In three dimensions every entry of a Haar matrix is uniform on [−1, 1] (Archimedes).
TEST(SlabRotation, EntriesAreUniformInThreeDimensions) {
  std::array<std::vector<double>, 9> entry;
  std::vector<double> trace;
  double squared_trace = 0;
  for (std::uint32_t seed = 0; seed < 4000; ++seed) {
    const std::vector<float> w = slab_rotation(rotated(3), seed);
    for (std::size_t i = 0; i < 9; ++i) entry[i].push_back(w[i]);
    const double t = static_cast<double>(w[0]) + w[4] + w[8];
    squared_trace += t * t;
  }
  for (const auto& sample : entry) EXPECT_LT(test::kolmogorov_uniform(sample, -1, 1), kKolmogorovLimit);
  EXPECT_NEAR(squared_trace / 4000, 1, 0.15);  // E trace² = 1; without the signs of R's diagonal it is not
}

// The square of an entry is Beta(1/2, (d − 1)/2); at d = 50 its law is close to N(0, 1/d)'s.
TEST(SlabRotation, EntriesAreNearlyNormalInFiftyDimensions) {
  std::vector<double> first, last;
  double fourths = 0;
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    const std::vector<float> w = slab_rotation(rotated(50), seed);
    first.push_back(w.front() * std::sqrt(50.0));
    last.push_back(w.back() * std::sqrt(50.0));
    for (const float v : {w.front(), w.back()}) fourths += std::pow(v, 4.0);
  }
  const auto normal = [](double z) { return 0.5 * std::erfc(-z * M_SQRT1_2); };
  EXPECT_LT(test::kolmogorov(first, normal), kKolmogorovLimit);
  EXPECT_LT(test::kolmogorov(last, normal), kKolmogorovLimit);
  EXPECT_NEAR(fourths / 4000 * 50 * 52, 3, 0.6);  // E w⁴ = 3 / (d (d + 2))
}

TEST(SlabRotation, IsTheIdentityWithoutRotation) {
  SlabSpec spec = rotated(3);
  spec.rotate = false;
  EXPECT_EQ(slab_rotation(spec, 1), (std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
  EXPECT_TRUE(rotation(slab_data(spec, {1})[0]).empty());
}

TEST(SlabRotation, MaterializeFollowsTheLaw) {
  for (const int dim : {1, 5, 16, 17, 50}) {
    SlabSpec spec = rotated(dim);
    spec.train = 23, spec.test = 6;
    const Rows rows = generate_all(spec, 4);
    const Data data = slab_data(spec, {4})[0];
    const std::vector<float> w = rotation(data);
    const auto d = static_cast<std::size_t>(dim);
    const HostTable table = materialize(data, Split::train);
    ASSERT_EQ(table.rows, 23);
    ASSERT_EQ(table.dim, dim);
    std::vector<float> expected;
    for (std::size_t r = 6; r < 29; ++r)
      for (std::size_t j = 0; j < d; ++j) {
        float sum = 0;
        for (std::size_t k = 0; k < d; ++k) sum = std::fma(rows.x[r * d + k], w[k * d + j], sum);
        expected.push_back(sum);
      }
    EXPECT_TRUE(test::same_bits(table.x, expected)) << dim;
    EXPECT_TRUE(std::equal(table.y.begin(), table.y.end(), rows.y.begin() + 6));
  }
}

// Long before it is made.
TEST(SlabRotation, StopsWhenAsked) {
  std::atomic<bool> stop{false};
  std::jthread asks([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop = true;
  });
  EXPECT_THROW(slab_rotation(rotated(3000), 1, &stop), Interrupted);
  EXPECT_EQ(slab_rotation(rotated(5), 1, nullptr), slab_rotation(rotated(5), 1));
}

}  // namespace
}  // namespace occam
