// Where and how large the star and the crescent of occam/shapes.hpp are.
#pragma once

namespace occam {

// Lengths are pixels of a canvas of 200 x 200; positions are from its middle, x to the right and y down. The
// numbers were fitted to the published masks (2,043 and 1,371 pixels): their intersection over union with the
// masks drawn from them is .996 and .992.
inline constexpr double kReferenceSide = 200;

// A star with five points, one of them straight up.
struct StarGeometry {
  double x = -14.1, y = -2.7;  // its centre
  double outer = 37.3;         // from the centre to a point
  double inner = 18.65;        // from the centre to a notch between two points
};

// A disc without the part that a second disc covers.
struct CrescentGeometry {
  double x = -3.7, y = -5.9;  // the disc's centre; both discs have one y
  double radius = 31.4;
  double bite_x = 17.7;  // the second disc's centre
  double bite_radius = 30.5;
};

}  // namespace occam
