// x ↦ x W by the law: x'_j = sum over k, ascending, in one accumulator from 0, x_k W[k][j] by fmaf. Host
// only.
#pragma once

#include <cstdint>

namespace occam::law {

// Rotates rows in place. x: [rows][dim], rotation: [dim][dim] row-major.
void rotate_rows(float* x, std::int64_t rows, int dim, const float* rotation);

}  // namespace occam::law
