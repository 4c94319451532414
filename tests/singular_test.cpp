// Claim: singular values and the first singular vector through the Gram matrix are those of a full
// decomposition.
#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "law/functions.hpp"
#include "occam/attack.hpp"
#include "occam/philox.hpp"
#include "singular.hpp"
#include "support/small_data.hpp"

extern "C" void dgesdd_(const char* job, const int* m, const int* n, double* a, const int* lda, double* s,
                        double* u, const int* ldu, double* vt, const int* ldvt, double* work,
                        const int* lwork, int* iwork, int* info);
extern "C" int openblas_get_num_threads();
extern "C" void openblas_set_num_threads(int threads);

namespace occam::test {
namespace {

// A full SVD of the matrix itself, without its Gram matrix.
struct Full {
  std::vector<double> values, first;  // descending; the first right singular vector, of either sign
};
Full full_svd(std::span<const float> x, int columns) {
  const int m = columns, n = static_cast<int>(x.size()) / columns, least = std::min(m, n);
  std::vector<double> a(x.begin(), x.end()),  // column-major: the transpose
      s(static_cast<std::size_t>(least)), u(static_cast<std::size_t>(m * least)),
      vt(static_cast<std::size_t>(least * n)), work(500'000);
  std::vector<int> integers(static_cast<std::size_t>(8 * least));
  const int size = static_cast<int>(work.size());
  int info = -1;
  dgesdd_("S", &m, &n, a.data(), &m, s.data(), u.data(), &m, vt.data(), &least, work.data(), &size,
          integers.data(), &info);
  EXPECT_EQ(info, 0);
  u.resize(static_cast<std::size_t>(m));
  return {s, u};
}

// Largest difference of two unit vectors up to their sign.
double apart(std::span<const double> a, std::span<const double> b) {
  double along = 0, most = 0;
  for (std::size_t k = 0; k < a.size(); ++k) along += a[k] * b[k];
  for (std::size_t k = 0; k < a.size(); ++k)
    most = std::max(most, std::abs(a[k] - (along < 0 ? -b[k] : b[k])));
  return most;
}

TEST(Singular, IsThatOfAFullDecomposition) {
  for (const auto& [rows, columns] : {std::pair{40, 6}, {300, 50}, {5, 9}}) {
    std::vector<float> x;
    for (int i = 0; i < rows * columns; ++i)
      x.push_back(law::standard_normal(draw(3, Stream::boundary, static_cast<std::uint32_t>(i)).word[0]) +
                  (i % columns == 2 ? 1.5f : 0.0f));
    const Singular made = singular(x, columns);
    const Full full = full_svd(x, columns);
    ASSERT_EQ(made.values.size(), static_cast<std::size_t>(columns));
    for (std::size_t i = 0; i < full.values.size(); ++i)
      EXPECT_NEAR(made.values[i], full.values[i], 1e-10 * full.values[0]);
    EXPECT_LT(apart(made.first, full.first), 1e-10);
    double norm = 0;
    for (const double value : made.first) norm += value * value;
    EXPECT_NEAR(norm, 1, 1e-12);
    EXPECT_GT(*std::ranges::max_element(made.first, {}, [](double v) { return std::abs(v); }), 0);
  }
}

// PGD's perturbations of a trained network, as SVD-UAP decomposes them: nearly of rank 1, so the small singular
// values are those that the Gram matrix knows least. The accuracy is what attack.hpp promises.
TEST(Singular, IsThatOfAFullDecompositionOnRealPerturbations) {
  const SlabSpec slab{.coordinates = slab_coordinates({30, 1, 0, 29, 0}), .train = 4000, .test = 2000};
  const std::vector<Data> data = slab_data(slab, {7});
  MlpEnsemble models({.inputs = 30, .hidden = {100}}, {{7, 7, 7}}, cpu());
  Training training;
  training.stop.max_updates = 800;
  fit(models, data, {&training, 1});
  const Pgd pgd{.epsilon = 0.5, .step = 0.05, .iterations = 30};
  const AttackSuite suite{.pgd = pgd, .svd_uap = SvdUap{pgd, 0.75}, .in_range_units = true};
  int calls = 0;
  attack(models, data, {&suite, 1}, [&](int, AttackResult&& made) {
    ++calls;
    const Full full = full_svd(made.pgd->perturbation, 30);
    const double largest = full.values[0], bits = 0x1p-53;
    EXPECT_GT(largest, 10 * full.values[1]) << "the case must be nearly of rank 1";
    const std::vector<double>& values = made.svd_uap->singular_values;
    for (std::size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(values[i], full.values[i], 20 * bits * largest * largest / full.values[i]) << i;
    const Singular again = singular(made.pgd->perturbation, 30);
    EXPECT_EQ(again.values, values);
    EXPECT_LT(apart(again.first, full.first), 1e-14);
    std::vector<double> applied;
    for (const float value : made.svd_uap->perturbation) applied.push_back(value / 0.75);
    EXPECT_LT(apart(applied, full.first), 0x1p-24);
  });
  EXPECT_EQ(calls, 1);
}

TEST(Singular, LeavesTheNumberOfThreadsAsItIs) {
  const int before = openblas_get_num_threads();
  openblas_set_num_threads(2);
  const int two = openblas_get_num_threads();
  singular(std::vector<float>{1, 2, 3, 4}, 2);
  EXPECT_EQ(openblas_get_num_threads(), two);
  openblas_set_num_threads(before);
}

}  // namespace
}  // namespace occam::test
