// Masks: the published star and crescent, and what a style does to a mask.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "io/npy_header.hpp"
#include "mask_geometry.hpp"
#include "occam/error.hpp"
#include "occam/shapes.hpp"
#include "occam/statistics.hpp"
#include "support/folder.hpp"
#include "support/mask_tools.hpp"
#include "support/message_of.hpp"

namespace occam {
namespace {

using test::message_of;

// Where its pixels are in the mean: x, y.
std::pair<double, double> centre_of_mass(const Mask& mask) {
  double sum_x = 0, sum_y = 0;
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x) sum_x += x * at(mask, y, x), sum_y += y * at(mask, y, x);
  return {sum_x / area(mask), sum_y / area(mask)};
}

Mask shifted(const Mask& mask, int dy, int dx) {
  return rearranged(mask, [&](int y, int x) { return std::pair(y + dy, x + dx); });
}

// Intersection over union.
double agreement(const Mask& a, const Mask& b) {
  double common = 0, all = 0;
  for (std::size_t i = 0; i < a.coverage.size(); ++i) {
    common += std::min(a.coverage[i], b.coverage[i]);
    all += std::max(a.coverage[i], b.coverage[i]);
  }
  return common / all;
}

// ---- the published shapes --------------------------------------------------------------------------------

struct Published {
  double pixels;
  PixelBox box;
};

void expect_like(const Mask& mask, const Published& published) {
  EXPECT_EQ(mask.height, 200);
  EXPECT_EQ(mask.width, 200);
  EXPECT_NEAR(static_cast<double>(pixels(mask)), published.pixels, .05 * published.pixels);
  EXPECT_DOUBLE_EQ(area(mask), static_cast<double>(pixels(mask)));  // all of a pixel or nothing
  const PixelBox e = box_of(mask), p = published.box;
  const double height = p.bottom - p.top + 1, width = p.right - p.left + 1;
  EXPECT_NEAR(e.bottom - e.top + 1, height, .05 * height);
  EXPECT_NEAR(e.right - e.left + 1, width, .05 * width);
  EXPECT_NEAR(e.top, p.top, 2);
  EXPECT_NEAR(e.bottom, p.bottom, 2);
  EXPECT_NEAR(e.left, p.left, 2);
  EXPECT_NEAR(e.right, p.right, 2);
}

TEST(Masks, StarHasThePublishedSizeAndPlace) { expect_like(star(), {2043, {61, 125, 51, 119}}); }
TEST(Masks, CrescentHasThePublishedSizeAndPlace) { expect_like(crescent(), {1371, {63, 124, 65, 106}}); }

TEST(Masks, StarPointsUpAndIsItsMirrorImage) {
  const Mask mask = star();
  const PixelBox e = box_of(mask);
  int above = 0, below = 0;
  for (int x = 0; x < mask.width; ++x) above += at(mask, e.top, x) != 0, below += at(mask, e.bottom, x) != 0;
  EXPECT_LE(above, 3);
  EXPECT_GE(below, above);
  EXPECT_EQ(at(mask, e.bottom, (e.left + e.right) / 2), 0);  // between the lower points
  // The widest row holds the two points to the sides and lies above the middle.
  int widest = 0, row = -1;
  for (int y = e.top; y <= e.bottom; ++y) {
    int left = mask.width, right = -1;
    for (int x = 0; x < mask.width; ++x)
      if (at(mask, y, x) != 0) left = std::min(left, x), right = x;
    // The tips of a row are equally far from the axis.
    EXPECT_NEAR(left + right, e.left + e.right, 1) << "row " << y;
    if (right - left > widest) widest = right - left, row = y;
  }
  EXPECT_LT(row, (e.top + e.bottom) / 2);
  const Mask mirrored = rearranged(mask, [&](int y, int x) { return std::pair(y, e.left + e.right - x); });
  EXPECT_GT(agreement(mask, mirrored), .97);
}

TEST(Masks, CrescentHasItsHornsToTheRight) {
  const Mask mask = crescent();
  const PixelBox e = box_of(mask);
  const int middle = (e.top + e.bottom) / 2;
  EXPECT_NE(at(mask, middle, e.left), 0);   // its back
  EXPECT_EQ(at(mask, middle, e.right), 0);  // between the horns
  bool upper = false, lower = false;
  for (int y = e.top; y <= e.bottom; ++y) (y < middle ? upper : lower) |= at(mask, y, e.right) != 0;
  EXPECT_TRUE(upper);
  EXPECT_TRUE(lower);
  const Mask mirrored = rearranged(mask, [&](int y, int x) { return std::pair(e.top + e.bottom - y, x); });
  EXPECT_GT(agreement(mask, mirrored), .97);
}

TEST(Masks, AnotherCanvasScalesTheShapeAboutItsMiddle) {
  for (const auto& draw : {star, crescent}) {
    const Mask small = draw(200, 200, {}), large = draw(400, 400, {}), wide = draw(200, 300, {});
    EXPECT_NEAR(area(large), 4 * area(small), .02 * area(large));
    const auto [x, y] = centre_of_mass(small);
    const auto [large_x, large_y] = centre_of_mass(large);
    EXPECT_NEAR(large_x + .5, 2 * (x + .5), .5);
    EXPECT_NEAR(large_y + .5, 2 * (y + .5), .5);
    EXPECT_EQ(wide.width, 300);
    const auto [wide_x, wide_y] = centre_of_mass(wide);
    EXPECT_DOUBLE_EQ(wide_x, x + 50);
    EXPECT_DOUBLE_EQ(wide_y, y);
    EXPECT_EQ(area(wide), area(small));
    EXPECT_GT(pixels(draw(28, 28, {})), 20);
  }
}

// ---- styles ----------------------------------------------------------------------------------------------

// What two circles with centres `apart` have in common.
double lens(double r, double s, double apart) {
  const double a = std::acos((apart * apart + r * r - s * s) / (2 * apart * r));
  const double b = std::acos((apart * apart + s * s - r * r) / (2 * apart * s));
  return r * r * (a - std::sin(2 * a) / 2) + s * s * (b - std::sin(2 * b) / 2);
}

TEST(MaskStyles, AntialiasedAreasAreThoseOfGeometry) {
  const StarGeometry s;
  const double star_area = 5 * s.outer * s.inner * std::sin(std::numbers::pi / 5);  // ten triangles
  const CrescentGeometry c;
  const double moon_area =
      std::numbers::pi * c.radius * c.radius - lens(c.radius, c.bite_radius, c.bite_x - c.x);
  for (const double scale : {1.0, .5, .31}) {
    for (const double rotation : {0.0, 17.0}) {
      const MaskStyle style{.scale = scale, .rotation = rotation, .antialias = true};
      EXPECT_NEAR(area(star(200, 200, style)), scale * scale * star_area, .01 * scale * scale * star_area);
      EXPECT_NEAR(area(crescent(200, 200, style)), scale * scale * moon_area,
                  .01 * scale * scale * moon_area);
    }
  }
  const Mask smooth = star(200, 200, {.antialias = true});
  EXPECT_GT(std::ranges::count_if(smooth.coverage, [](float v) { return v > 0 && v < 1; }), 100);
}

// The star turns about the middle of its box, which lies above its centre: so its centre moves.
TEST(MaskStyles, AFifthOfATurnLeavesTheStar) {
  constexpr int kSide = 1000;  // so that a shift by whole pixels is precise
  const Mask rest = star(kSide, kSide);
  const auto [x, y] = centre_of_mass(rest);
  for (const double rotation : {72.0, -144.0}) {
    const Mask turned = star(kSide, kSide, {.rotation = rotation});
    const auto [to_x, to_y] = centre_of_mass(turned);
    EXPECT_GT(std::hypot(to_x - x, to_y - y), 5);
    const auto dx = static_cast<int>(std::lround(to_x - x)), dy = static_cast<int>(std::lround(to_y - y));
    EXPECT_GT(agreement(turned, shifted(rest, dy, dx)), .97) << rotation;
  }
  const Mask turned = star(kSide, kSide, {.rotation = 36});
  const auto [to_x, to_y] = centre_of_mass(turned);
  const auto dx = static_cast<int>(std::lround(to_x - x)), dy = static_cast<int>(std::lround(to_y - y));
  EXPECT_LT(agreement(turned, shifted(rest, dy, dx)), .8);
}

TEST(MaskStyles, HalfATurnTurnsTheCrescent) {
  const Mask rest = crescent(), turned = crescent(200, 200, {.rotation = 180});
  const PixelBox e = box_of(turned);
  const int middle = (e.top + e.bottom) / 2;
  EXPECT_NE(at(turned, middle, e.right), 0);  // its back
  EXPECT_EQ(at(turned, middle, e.left), 0);   // between the horns
  EXPECT_LT(agreement(rest, turned), .5);
  const PixelBox r = box_of(rest);
  const Mask mirrored =
      rearranged(turned, [&](int y, int x) { return std::pair(r.bottom + e.top - y, r.right + e.left - x); });
  EXPECT_GT(agreement(rest, mirrored), .95);
}

TEST(MaskStyles, RotationIsClockwise) {
  const Mask turned = star(200, 200, {.rotation = 90});  // the point that was up is at the right
  const PixelBox e = box_of(turned);
  int tips = 0, feet = 0;
  for (int y = 0; y < 200; ++y) tips += at(turned, y, e.right) != 0, feet += at(turned, y, e.left) != 0;
  EXPECT_LE(tips, 3);
  EXPECT_EQ(at(turned, (e.top + e.bottom) / 2, e.left), 0);
  EXPECT_NE(at(turned, (e.top + e.bottom) / 2, e.right - 3), 0);
  EXPECT_EQ(star(200, 200, {.rotation = 450}), turned);
  EXPECT_EQ(star(200, 200, {.rotation = -270}), turned);
}

TEST(MaskStyles, ScaleTwoHasFourTimesThePixels) {
  for (const auto& draw : {star, crescent}) {
    const Mask rest = draw(400, 400, {}), doubled = draw(400, 400, {.scale = 2});
    EXPECT_NEAR(area(doubled), 4 * area(rest), .02 * area(doubled));
    const PixelBox a = box_of(rest), b = box_of(doubled);
    EXPECT_NEAR(a.top + a.bottom, b.top + b.bottom, 2);  // about the middle of the box
    EXPECT_NEAR(a.left + a.right, b.left + b.right, 4);  // the horns of the crescent are sharp
  }
}

TEST(MaskStyles, BlurKeepsTheAreaAndEndsAtItsRadius) {
  for (const double sigma : {.3, 1.0, 4.2}) {
    for (const bool antialias : {false, true}) {
      const Mask sharp = star(200, 200, {.antialias = antialias});
      const Mask soft = star(200, 200, {.blur = sigma, .antialias = antialias});
      EXPECT_NEAR(area(soft), area(sharp), 1e-4 * area(sharp));
      EXPECT_NE(soft, sharp);
      const auto radius = static_cast<int>(std::ceil(3 * sigma));
      const PixelBox a = box_of(sharp), b = box_of(soft);
      EXPECT_EQ(b.top, a.top - radius);
      EXPECT_EQ(b.bottom, a.bottom + radius);
      EXPECT_EQ(b.left, a.left - radius);
      EXPECT_EQ(b.right, a.right + radius);
      EXPECT_LE(*std::ranges::max_element(soft.coverage), 1);
      EXPECT_GE(*std::ranges::min_element(soft.coverage), 0);
    }
  }
}

TEST(MaskStyles, ImpossibleStylesAreRefused) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto refusal = [](const MaskStyle& style, int height = 200, int width = 200) {
    return message_of(ErrorKind::usage, [&] { star(height, width, style); });
  };
  for (const double scale : {0.0, -1.0, kNan, kInfinity})
    EXPECT_EQ(refusal({.scale = scale}),
              fmt::format("star: the scale {} is not a finite number above 0", scale));
  for (const double rotation : {kNan, kInfinity})
    EXPECT_EQ(refusal({.rotation = rotation}),
              fmt::format("star: the rotation {} is not a finite number of degrees", rotation));
  for (const double sigma : {-.1, kNan, kInfinity, 200.5})
    EXPECT_EQ(
        refusal({.blur = sigma}),
        fmt::format("star: the blur {} is not between 0 and the 200 pixels of the canvas's smaller side",
                    sigma));
  for (const double scale : {2.5, 100.0, 1e300})  // 2.5: only the left points are outside
    EXPECT_EQ(
        refusal({.scale = scale}),
        fmt::format("star: at scale {} and a rotation of 0 degrees the shape leaves the canvas of 200 x 200; "
                    "scale it down or widen the canvas",
                    scale));
  EXPECT_EQ(refusal({.scale = .001}),
            "star: at scale 0.001 on a canvas of 200 x 200 the shape covers no pixel; scale it up");
  EXPECT_EQ(refusal({}, 0, 5), "star: a canvas of 0 x 5; give 1 to 4096 pixels a side");
  EXPECT_EQ(refusal({}, 5, 4097), "star: a canvas of 5 x 4097; give 1 to 4096 pixels a side");
  EXPECT_EQ(
      message_of(ErrorKind::usage, [&] { crescent(200, 200, {.scale = 3.3}); }),
      "crescent: at scale 3.3 and a rotation of 0 degrees the shape leaves the canvas of 200 x 200; scale it "
      "down or widen the canvas");
  EXPECT_EQ(refusal({.blur = 60}), "no error");  // a blur may leave the canvas
}

// A picture that is lit everywhere, drawn at a quarter of its size.
TEST(Masks, BesideThePictureNothingIsCovered) {
  const test::Folder folder;
  const std::string path = folder / "full.npy";
  std::ofstream(path, std::ios::binary)
      << npy_header(NpyType::uint8, std::vector<std::int64_t>{12, 12}) << std::string(12 * 12, '\1');
  const Mask mask = read_mask(path, {.scale = 0.25});
  for (int y = 0; y < 12; ++y)
    for (int x = 0; x < 12; ++x) EXPECT_EQ(at(mask, y, x), y >= 4 && y < 7 && x >= 4 && x < 7);
}

}  // namespace
}  // namespace occam
