// Claim: singular values and the first singular vector through the Gram matrix are those of a full
// decomposition.
#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "law/functions.hpp"
#include "occam/philox.hpp"
#include "singular.hpp"

extern "C" void dgesdd_(const char* job, const int* m, const int* n, double* a, const int* lda, double* s,
                        double* u, const int* ldu, double* vt, const int* ldvt, double* work,
                        const int* lwork, int* iwork, int* info);

namespace occam::test {
namespace {

// A full SVD of the matrix itself, without its Gram matrix.
TEST(Singular, IsThatOfAFullDecomposition) {
  for (const auto& [rows, columns] : {std::pair{40, 6}, {300, 50}, {5, 9}}) {
    std::vector<float> x;
    for (int i = 0; i < rows * columns; ++i)
      x.push_back(law::standard_normal(draw(3, Stream::boundary, static_cast<std::uint32_t>(i)).word[0]) +
                  (i % columns == 2 ? 1.5f : 0.0f));
    const Singular made = singular(x, columns);
    const int m = columns, n = rows, least = std::min(rows, columns);  // column-major: the transpose
    std::vector<double> a(x.begin(), x.end()), s(static_cast<std::size_t>(least)),
        u(static_cast<std::size_t>(m * m)), vt(static_cast<std::size_t>(n * n)), work(200'000);
    std::vector<int> integers(static_cast<std::size_t>(8 * least));
    const int size = static_cast<int>(work.size());
    int info = -1;
    dgesdd_("A", &m, &n, a.data(), &m, s.data(), u.data(), &m, vt.data(), &n, work.data(), &size,
            integers.data(), &info);
    ASSERT_EQ(info, 0);
    for (int i = 0; i < least; ++i)
      EXPECT_NEAR(made.values[static_cast<std::size_t>(i)], s[static_cast<std::size_t>(i)], 1e-10 * s[0]);
    double along = 0, norm = 0;
    for (int k = 0; k < m; ++k) {
      along += u[static_cast<std::size_t>(k)] * made.first[static_cast<std::size_t>(k)];
      norm += made.first[static_cast<std::size_t>(k)] * made.first[static_cast<std::size_t>(k)];
    }
    EXPECT_NEAR(std::abs(along), 1, 1e-10);
    EXPECT_NEAR(norm, 1, 1e-12);
    EXPECT_GT(*std::ranges::max_element(made.first, {}, [](double v) { return std::abs(v); }), 0);
  }
}

}  // namespace
}  // namespace occam::test
