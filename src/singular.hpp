// Singular values and the first right singular vector of a tall matrix, through the eigenvalues of its Gram
// matrix (LAPACK's dsyevd on one thread).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace occam {

struct Singular {
  std::vector<double> values;  // [columns], descending
  std::vector<double> first;   // [columns], length 1; its entry of largest magnitude is positive
};

// x: [rows][columns], columns ≥ 1; rows beyond the last whole one are left out. The Gram matrix is summed in
// double precision, so σ₁ and v₁ carry a relative error of about 2⁻⁵³ σ₁² / (σ₁² − σ₂²), and a small σ an
// absolute one of about 2⁻⁵³ σ₁² / σ: values below 1e-8 σ₁ are noise. Without rows, or with zeros alone, all
// values are 0 and v₁ is any unit vector. Throws a data error where LAPACK finds no eigenvalues (x is not
// finite). Leaves the number of OpenBLAS's threads as it is.
Singular singular(std::span<const float> x, std::int64_t columns);

// Whether there was anything but zeros.
inline bool has_direction(std::span<const double> singular_values) { return singular_values.front() > 0; }

// length · v₁, [columns]; length may be negative.
std::vector<float> along(std::span<const double> first, double length);

}  // namespace occam
