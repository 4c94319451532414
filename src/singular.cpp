#include "singular.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include <cblas.h>

#include "occam/error.hpp"

extern "C" void dsyevd_(const char* job, const char* triangle, const int* n, double* a, const int* stride,
                        double* values, double* work, const int* work_size, int* integers,
                        const int* integers_size, int* info);

namespace occam {

namespace {

// One thread for OpenBLAS as long as any of these lives: who calls is one of many threads, and how work is
// split is one thing less that the bits depend on (on OpenBLAS's version and its kernels for this processor
// they do: docs/arithmetic.md). The number belongs to the whole process, so the last puts back what the first
// found.
class OneThread {
 public:
  OneThread() {
    const std::lock_guard lock(mutex_);
    if (users_++ > 0) return;
    before_ = openblas_get_num_threads();
    openblas_set_num_threads(1);
  }
  ~OneThread() {
    const std::lock_guard lock(mutex_);
    if (--users_ == 0) openblas_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  static inline std::mutex mutex_;
  static inline int users_ = 0, before_ = 1;
};

}  // namespace

Singular singular(std::span<const float> x, std::int64_t columns) {
  const int n = static_cast<int>(columns);
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / columns;
  const OneThread one_thread;
  std::vector<double> gram(static_cast<std::size_t>(columns * columns), 0.0);
  constexpr std::int64_t kRows = 1024;  // widened at a time
  std::vector<double> wide(static_cast<std::size_t>(std::min(kRows, rows) * columns));
  for (std::int64_t first = 0; first < rows; first += kRows) {
    const std::int64_t count = std::min(kRows, rows - first);
    std::copy_n(x.begin() + first * columns, count * columns, wide.begin());
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, n, static_cast<int>(count), 1.0, wide.data(), n, 1.0,
                gram.data(), n);
  }

  Singular result;
  result.values.resize(static_cast<std::size_t>(columns));
  double size = 0;
  int integers_size = 0, info = 0;
  const int ask = -1;
  // Row-major upper is column-major lower.
  dsyevd_("V", "L", &n, gram.data(), &n, result.values.data(), &size, &ask, &integers_size, &ask, &info);
  std::vector<double> work(static_cast<std::size_t>(size));
  std::vector<int> integers(static_cast<std::size_t>(integers_size));
  const int work_size = static_cast<int>(work.size());
  dsyevd_("V", "L", &n, gram.data(), &n, result.values.data(), work.data(), &work_size, integers.data(),
          &integers_size, &info);
  if (info != 0)
    fail(ErrorKind::data,
         "singular values: the eigenvalues of the {} x {} Gram matrix were not found (dsyevd: {}); are "
         "the perturbations finite?",
         n, n, info);
  std::reverse(result.values.begin(), result.values.end());
  for (double& value : result.values) value = std::sqrt(std::max(0.0, value));
  result.first.assign(gram.end() - n, gram.end());  // the last eigenvector, of the largest eigenvalue
  const double largest = *std::max_element(result.first.begin(), result.first.end(),
                                           [](double a, double b) { return std::abs(a) < std::abs(b); });
  for (double& value : result.first) value = largest < 0 ? -value : value;
  return result;
}

std::vector<float> along(std::span<const double> first, double length) {
  std::vector<float> result;
  for (const double u : first) result.push_back(static_cast<float>(length * u));
  return result;
}

}  // namespace occam
