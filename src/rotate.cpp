#include "law/rotate.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "law/functions.hpp"

namespace occam::law {

// Blocks of rows meet panels of columns, which lie packed: of thousands of coordinates a panel stays in the cache while
// a block passes.
void rotate_rows(float* x, std::int64_t rows, int dim, const float* rotation) {
  constexpr std::size_t kRows = 4, kColumns = 16;  // a tile of accumulators: eight AVX2 registers
  constexpr std::size_t kBlock = 64;               // rows
  const auto width = static_cast<std::size_t>(dim), panels = (width + kColumns - 1) / kColumns;
  std::vector<float> packed(panels * width * kColumns, 0.0f), in(kBlock * width, 0.0f);
  for (std::size_t k = 0; k < width; ++k)
    for (std::size_t j = 0; j < width; ++j)
      packed[(j / kColumns * width + k) * kColumns + j % kColumns] = rotation[k * width + j];
  for (std::int64_t first = 0; first < rows; first += kBlock) {
    const std::size_t count = std::min(kBlock, static_cast<std::size_t>(rows - first));
    float* const block = x + static_cast<std::size_t>(first) * width;
    std::copy_n(block, count * width, in.data());
    for (std::size_t p = 0; p < panels; ++p) {
      const float* const panel = packed.data() + p * width * kColumns;
      const std::size_t column = p * kColumns, columns = std::min(kColumns, width - column);
      for (std::size_t row = 0; row < count; row += kRows) {
        const float* const from = in.data() + row * width;
        float sum[kRows][kColumns] = {};
        for (std::size_t k = 0; k < width; ++k)
          for (std::size_t r = 0; r < kRows; ++r)
            for (std::size_t c = 0; c < kColumns; ++c)
              sum[r][c] = fma(from[r * width + k], panel[k * kColumns + c], sum[r][c]);
        for (std::size_t r = 0; r < kRows && row + r < count; ++r)
          std::copy_n(sum[r], columns, block + (row + r) * width + column);
      }
    }
  }
}

}  // namespace occam::law
