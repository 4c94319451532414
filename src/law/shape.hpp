// Where the shape of a row lies and what a pixel of its image is (occam/shapes.hpp), for the host and the
// device alike. An image is never stored: it is a mask's pixels at an offset.
#pragma once

#include <cstdint>

#include "occam/host_device.hpp"

namespace occam::law {

// A row's class and its shape's offset from rest, in pixels.
struct ShapePlace {
  std::int32_t shape;
  std::int16_t dx, dy;
};

// Columns [begin, end) of a row of pixels.
struct ShapeSpan {
  std::int32_t begin, end;
};

// The part of a mask that is not background, at rest. Its row i holds pixels `value` + i · width of
// Shapes::value and differs from the background within Shapes::span[span + i] alone, in columns of the box.
struct ShapeBox {
  std::int32_t top, left, height, width;
  std::int32_t value, span;
};

// The masks of a data set as kernels see them.
struct Shapes {
  std::int32_t height, width;  // of an image
  float background;
  const ShapeBox* box;    // [classes]
  const float* value;     // pixels of all boxes
  const ShapeSpan* span;  // rows of all boxes
};

// The box where a row's place puts it.
OCCAM_HD ShapeBox placed(const Shapes& shapes, const ShapePlace& place) {
  ShapeBox box = shapes.box[place.shape];
  box.top += place.dy, box.left += place.dx;
  return box;
}

// Columns of image row y that differ from the background, with the box at its place; empty where begin >= end.
OCCAM_HD ShapeSpan shape_span(const Shapes& shapes, const ShapeBox& box, int y) {
  const int i = y - box.top;
  if (i < 0 || i >= box.height) return {0, 0};
  const ShapeSpan span = shapes.span[box.span + i];
  const int begin = box.left + span.begin, end = box.left + span.end;
  return {begin > 0 ? begin : 0, end < shapes.width ? end : shapes.width};
}

// Columns of image row y whose pixels are not 0: what a product must go through.
OCCAM_HD ShapeSpan lit_span(const Shapes& shapes, const ShapeBox& box, int y) {
  if (shapes.background != 0.0f) return {0, shapes.width};
  return shape_span(shapes, box, y);
}
OCCAM_HD ShapeSpan lit_span(const Shapes& shapes, const ShapePlace& place, int y) {
  return lit_span(shapes, placed(shapes, place), y);
}

// A row of the image by column: the shape's box covers [begin, end), and the rest is background.
struct ShapeRow {
  const float* value;  // of column `begin`
  int begin, end;
  float background;

  OCCAM_HD float operator[](int x) const { return x >= begin && x < end ? value[x - begin] : background; }
};

OCCAM_HD ShapeRow shape_row(const Shapes& shapes, const ShapeBox& box, int y) {
  const int i = y - box.top;
  const bool inside = i >= 0 && i < box.height;
  return {shapes.value + box.value + (inside ? i * box.width : 0), box.left,
          inside ? box.left + box.width : box.left, shapes.background};
}

// Pixel (y, x) of the image.
OCCAM_HD float shape_pixel(const Shapes& shapes, const ShapePlace& place, int y, int x) {
  return shape_row(shapes, placed(shapes, place), y)[x];
}

}  // namespace occam::law
