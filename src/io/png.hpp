// Reads .png images through libpng.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace occam {

// The samples as the file has them, with no correction for gamma. Palettes, fewer than 8 bits and transparent
// colours are expanded.
struct PngImage {
  int height = 0, width = 0;
  int channels = 1;                    // 1: grey, 2: grey and opacity, 3: RGB, 4: RGB and opacity
  std::uint16_t full = 255;            // the largest sample: 255 or 65535
  std::vector<std::uint16_t> samples;  // [height][width][channels]
};

// Throws data errors that begin with the path: missing, no PNG, damaged, more than `max_side` pixels a side
// (found before pixels are decoded or memory is taken for them).
PngImage read_png(const std::string& path, int max_side);

}  // namespace occam
