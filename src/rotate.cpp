#include "law/rotate.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "law/functions.hpp"

namespace occam::law {

void rotate_rows(float* x, std::int64_t rows, int dim, const float* rotation) {
  constexpr int kRows = 4, kColumns = 16;  // a tile of accumulators: eight AVX2 registers
  const auto width = static_cast<std::size_t>(dim);
  const std::size_t padded = (width + kColumns - 1) / kColumns * kColumns;
  std::vector<float> weights(width * padded, 0.0f), in(kRows * width, 0.0f), out(kRows * padded);
  for (std::size_t k = 0; k < width; ++k)
    std::copy_n(rotation + k * width, width, weights.data() + k * padded);
  for (std::int64_t row = 0; row < rows; row += kRows) {
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(kRows, rows - row));
    float* rows_here = x + static_cast<std::size_t>(row) * width;
    std::copy_n(rows_here, count * width, in.data());
    for (std::size_t j = 0; j < padded; j += kColumns) {
      float sum[kRows][kColumns] = {};
      for (std::size_t k = 0; k < width; ++k)
        for (std::size_t r = 0; r < kRows; ++r)
          for (std::size_t c = 0; c < kColumns; ++c)
            sum[r][c] = fma(in[r * width + k], weights[k * padded + j + c], sum[r][c]);
      for (std::size_t r = 0; r < kRows; ++r) std::copy_n(sum[r], kColumns, out.data() + r * padded + j);
    }
    for (std::size_t r = 0; r < count; ++r)
      std::copy_n(out.data() + r * padded, width, rows_here + r * width);
  }
}

}  // namespace occam::law
