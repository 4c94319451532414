// Singular values and the first right singular vector of a tall matrix, through the eigenvalues of its Gram
// matrix (LAPACK's dsyevd, single-threaded).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace occam {

// x: [rows][columns]. The Gram matrix is summed in double precision, so σ₁ and v₁ carry a relative error of
// about 2⁻⁵³ σ₁² / (σ₁² − σ₂²), and a small σ an absolute one of about 2⁻⁵³ σ₁² / σ: values below 1e-8 σ₁
// are noise.
struct Singular {
  std::vector<double> values;  // [columns], descending
  std::vector<double> first;   // [columns], length 1; its entry of largest magnitude is positive
};
Singular singular(std::span<const float> x, std::int64_t columns);

}  // namespace occam
