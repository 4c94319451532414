// Images of one shape each, somewhere on a plain canvas: the stars and moons of Geirhos et al. 2020
// ("Shortcut Learning in Deep Neural Networks", figure 2 and its script). While training, where a shape is
// tells its class as well as what it is; the test sets tell the two apart. A ShapeData (occam/data.hpp) is a
// recipe: a row is its class and an offset, and pixels are read off the class's mask, on the host and on the
// device alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace occam {

// A shape at rest on its canvas: how much of each pixel it covers.
struct Mask {
  int height = 0, width = 0;    // pixels
  std::vector<float> coverage;  // [height][width], 0 … 1
  bool operator==(const Mask&) const = default;
};

// How a mask is drawn. Scale and rotation are about the middle of the shape's box.
struct MaskStyle {
  double scale = 1;        // > 0; 1: the published size
  double rotation = 0;     // degrees, clockwise
  double blur = 0;         // standard deviation of a Gaussian, pixels
  bool antialias = false;  // coverage by 8 x 8 points a pixel; else by its middle
  bool operator==(const MaskStyle&) const = default;
};

// A filled five-pointed star, point up, and a crescent with its horns to the right, close to the published ones
// on a canvas of 200 x 200: 2,048 and 1,376 pixels for 2,043 and 1,371, in the published boxes but for a row
// below and a column to the right of the star (masks from files can be the very ones). On another canvas, size
// and place are scaled about the middle by its smaller side. Throw usage errors for impossible styles and for a
// shape that covers no pixel or leaves the canvas (its blur may).
Mask star(int height = 200, int width = 200, const MaskStyle& style = {});
Mask crescent(int height = 200, int width = 200, const MaskStyle& style = {});

// A mask of the user's own: a .png (grey or colour, 8 or 16 bits; a pixel's luminance, times its opacity
// where it has one, is its coverage) or a .npy of shape [height, width] (bool; uint8 of which 255 is full
// unless the largest is 1; float32 or float64 within 0 … 1). Throws data errors that name the file: missing,
// broken, no image, more than 4096 pixels a side, values outside 0 … 1, nothing covered; usage errors for
// another kind of file and as star() does.
Mask read_mask(const std::string& path, const MaskStyle& style = {});

// Offsets of a shape from its rest, in pixels, x to the right and y down:
// left <= dx < right, top <= dy < bottom.
struct Rectangle {
  int left = 0, right = 0, top = 0, bottom = 0;
  bool operator==(const Rectangle&) const = default;
};
using Places = std::vector<Rectangle>;  // a union whose parts are used equally often

// What the test rows are.
enum class Arrangement : std::int32_t {
  iid = 0,       // as the training rows
  uniform = 1,   // every shape in its `uniform` places
  swapped = 2,   // every shape in the biased places of the next class
  conflict = 3,  // every shape in its conflict_places()
};

struct ShapeSpec {
  std::vector<Mask> masks;              // one a class, of one canvas
  std::vector<Places> biased, uniform;  // [class]
  double bias = 1;  // share of the training rows of each class in `biased`; the others in `uniform`
  Arrangement test = Arrangement::iid;
  bool crop = false;                    // an offset may push a part of the shape off the canvas
  double background = 0, contrast = 1;  // pixel = background + contrast · coverage
  std::int64_t train = 4000, validation = 0, test_rows = 4000;  // of all classes, in equal parts

  int height() const { return masks.empty() ? 0 : masks.front().height; }
  int width() const { return masks.empty() ? 0 : masks.front().width; }
  int classes() const { return static_cast<int>(masks.size()); }
  std::int64_t rows() const { return train + validation + test_rows; }
};

// Where training could have shown class k's shape, but the place speaks for the next class: its biased places, as far
// as they lie in class k's uniform ones. Empty where none does.
Places conflict_places(const ShapeSpec& spec, int k);

// The published experiment: stars are class 0, moons class 1.
ShapeSpec stars_and_moons(const MaskStyle& style = {});

// Throws a usage error that names the offending value: fewer than two masks, masks of different canvases or
// without a pixel, more than 65536 pixels, no place, an empty rectangle, an offset that pushes a shape off the canvas
// (in part without `crop`, wholly with it), a bias outside [0, 1], pixels that are not finite or do not differ from
// the background in single precision, no rows or more than 2^31 − 1.
void validate(const ShapeSpec& spec);

}  // namespace occam
