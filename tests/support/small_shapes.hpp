// Small images of shapes, and the networks that tests train on them.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "occam/data.hpp"
#include "occam/mlp.hpp"
#include "occam/shapes.hpp"
#include "occam/training.hpp"

namespace occam::test {

inline constexpr int kImageHeight = 12, kImageWidth = 17;

// Two shapes on a canvas of 12 x 17, one of them with soft edges, and places on either side.
ShapeSpec small_shapes();

// The same rows as floats.
Data as_array(const Data& data);

// What may matter to a first layer on images: one case of a test.
struct ImageVariant {
  std::string name;
  MlpSpec network;
  Training training;
  void (*change)(ShapeSpec&) = [](ShapeSpec&) {};

  ShapeSpec shapes() const;
};
std::vector<ImageVariant> image_variants();
inline void PrintTo(const ImageVariant& variant, std::ostream* out) { *out << variant.name; }

}  // namespace occam::test
