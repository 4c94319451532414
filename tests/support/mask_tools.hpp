// Looking at masks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "occam/shapes.hpp"

namespace occam {

// 0 off the canvas.
inline float at(const Mask& mask, int y, int x) {
  if (y < 0 || y >= mask.height || x < 0 || x >= mask.width) return 0;
  return mask.coverage[static_cast<std::size_t>(y * mask.width + x)];
}

inline double area(const Mask& mask) {
  return std::accumulate(mask.coverage.begin(), mask.coverage.end(), 0.0);
}

inline std::int64_t pixels(const Mask& mask) {
  return std::ranges::count_if(mask.coverage, [](float c) { return c != 0; });
}

// Rows and columns that are not all 0.
struct PixelBox {
  int top = 1 << 20, bottom = -1, left = 1 << 20, right = -1;  // inclusive
};

inline PixelBox box_of(const Mask& mask) {
  PixelBox e;
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x)
      if (at(mask, y, x) != 0) {
        e.top = std::min(e.top, y), e.bottom = std::max(e.bottom, y);
        e.left = std::min(e.left, x), e.right = std::max(e.right, x);
      }
  return e;
}

// The mask with what was at [y][x] at where(y, x), both given as {y, x}.
template <class Where>
Mask rearranged(const Mask& mask, const Where& where) {
  Mask result{mask.height, mask.width, std::vector<float>(mask.coverage.size(), 0)};
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x) {
      const auto [to_y, to_x] = where(y, x);
      if (to_y >= 0 && to_y < mask.height && to_x >= 0 && to_x < mask.width)
        result.coverage[static_cast<std::size_t>(to_y * mask.width + to_x)] = at(mask, y, x);
    }
  return result;
}

}  // namespace occam
