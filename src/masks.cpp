#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numbers>
#include <span>
#include <utility>

#include "io/npy_header.hpp"
#include "io/npz.hpp"
#include "io/png.hpp"
#include "mask_geometry.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"
#include "occam/shapes.hpp"

namespace occam {

namespace {

constexpr int kPoints = 8;  // antialias: kPoints x kPoints a pixel

// Positions are in pixels from the canvas's upper left corner: the middle of pixel [0][0] is (.5, .5).
struct Point {
  double x = 0, y = 0;
};

struct Box {
  double left = 0, right = 0, top = 0, bottom = 0;
  Point middle() const { return {(left + right) / 2, (top + bottom) / 2}; }
  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

// ---- shapes at rest: box() and coverage(point), 0 … 1 ----------------------------------------------------

class Star {
 public:
  Star(Point middle, double unit) {
    const StarGeometry g;
    for (std::size_t i = 0; i < corners_.size(); ++i) {
      const double radius = unit * (i % 2 == 0 ? g.outer : g.inner);
      const double angle = static_cast<double>(i) * std::numbers::pi / 5;  // clockwise from straight up
      corners_[i] = {middle.x + unit * g.x + radius * std::sin(angle),
                     middle.y + unit * g.y - radius * std::cos(angle)};
    }
  }

  Box box() const { return {corners_[8].x, corners_[2].x, corners_[0].y, corners_[4].y}; }

  // Inside: a ray to the right crosses the outline an odd number of times.
  double coverage(Point p) const {
    bool inside = false;
    Point from = corners_.back();
    for (const Point to : corners_) {
      if ((from.y > p.y) != (to.y > p.y) && p.x < from.x + (to.x - from.x) * (p.y - from.y) / (to.y - from.y))
        inside = !inside;
      from = to;
    }
    return inside ? 1 : 0;
  }

 private:
  std::array<Point, 10> corners_;  // points and notches by turns, from the upper point clockwise
};

class Crescent {
 public:
  Crescent(Point middle, double unit)
      : centre_{middle.x + unit * geometry_.x, middle.y + unit * geometry_.y},
        bite_{middle.x + unit * geometry_.bite_x, centre_.y}, radius_(unit * geometry_.radius),
        bite_radius_(unit * geometry_.bite_radius) {}

  // To the right it ends where the two circles meet.
  Box box() const {
    const double apart = bite_.x - centre_.x;
    const double horns =
        centre_.x + (apart * apart + radius_ * radius_ - bite_radius_ * bite_radius_) / (2 * apart);
    return {centre_.x - radius_, horns, centre_.y - radius_, centre_.y + radius_};
  }

  double coverage(Point p) const {
    return within(p, centre_, radius_) && !within(p, bite_, bite_radius_) ? 1 : 0;
  }

 private:
  static bool within(Point p, Point centre, double radius) {
    const double x = p.x - centre.x, y = p.y - centre.y;
    return x * x + y * y <= radius * radius;
  }

  CrescentGeometry geometry_;
  Point centre_, bite_;
  double radius_, bite_radius_;
};

// A mask from a file: every point of a pixel has its coverage.
class Picture {
 public:
  explicit Picture(const Mask& mask) : mask_(mask) {
    int top = mask.height, bottom = 0, left = mask.width, right = 0;
    for (int y = 0; y < mask.height; ++y)
      for (int x = 0; x < mask.width; ++x)
        if (at(y, x) != 0) {
          top = std::min(top, y), bottom = y + 1;
          left = std::min(left, x), right = std::max(right, x + 1);
        }
    box_ = {static_cast<double>(left), static_cast<double>(right), static_cast<double>(top),
            static_cast<double>(bottom)};
  }

  Box box() const { return box_; }
  double coverage(Point p) const {
    const bool inside = p.x >= 0 && p.x < mask_.width && p.y >= 0 && p.y < mask_.height;
    return inside ? at(static_cast<int>(p.y), static_cast<int>(p.x)) : 0;
  }

 private:
  float at(int y, int x) const {
    return mask_.coverage[static_cast<std::size_t>(y) * static_cast<std::size_t>(mask_.width) +
                          static_cast<std::size_t>(x)];
  }

  const Mask& mask_;
  Box box_;
};

// ---- drawing ---------------------------------------------------------------------------------------------

// From a canvas back to the shape at rest: the inverse of `scale` and of a clockwise rotation about the middle of its
// box. A quarter turn takes pixels to pixels: where they would come to lie across borders, the middle moves by half a
// pixel towards that of the canvas.
class Motion {
 public:
  Motion(const Box& box, Point canvas_middle, const MaskStyle& style)
      : pivot_(box.middle()), middle_(pivot_), scale_(style.scale) {
    const double degrees = std::remainder(style.rotation, 360), angle = degrees * std::numbers::pi / 180;
    cosine_ = std::cos(angle), sine_ = std::sin(angle);
    if (std::fmod(degrees, 90) != 0) return;
    cosine_ = std::round(cosine_), sine_ = std::round(sine_);
    if (sine_ == 0 || std::fmod(box.width() + box.height(), 2) != 1) return;
    middle_.x += middle_.x < canvas_middle.x ? .5 : -.5;
    middle_.y += middle_.y < canvas_middle.y ? .5 : -.5;
  }

  Point at_rest(Point p) const {
    const double x = (p.x - middle_.x) / scale_, y = (p.y - middle_.y) / scale_;
    return {pivot_.x + (cosine_ * x + sine_ * y), pivot_.y + (cosine_ * y - sine_ * x)};
  }

  // The box around all that the shape may cover.
  Box moved(const Box& box) const {
    const double c = std::abs(cosine_), s = std::abs(sine_);
    const double x = scale_ * (c * box.width() + s * box.height()) / 2;
    const double y = scale_ * (s * box.width() + c * box.height()) / 2;
    return {middle_.x - x, middle_.x + x, middle_.y - y, middle_.y + y};
  }

 private:
  Point pivot_, middle_;  // at rest, on the canvas
  double scale_, cosine_ = 1, sine_ = 0;
};

// A pixel's coverage: that of its middle, or the mean of kPoints x kPoints points.
template <class Shape>
double pixel(const Shape& shape, const Motion& motion, int y, int x, bool antialias) {
  const int points = antialias ? kPoints : 1;
  double sum = 0;
  for (int j = 0; j < points; ++j)
    for (int i = 0; i < points; ++i)
      sum += shape.coverage(motion.at_rest({x + (i + .5) / points, y + (j + .5) / points}));
  return sum / (points * points);
}

// values[height][width] blurred by a Gaussian that is cut off three standard deviations from its middle, then of
// sum 1. What passes the border is lost; what lies farther from all that was covered stays exactly 0.
void blur(std::vector<double>& values, int height, int width, double sigma) {
  const int radius = static_cast<int>(std::ceil(3 * sigma));
  std::vector<double> kernel(static_cast<std::size_t>(2 * radius + 1));
  double total = 0;
  for (int k = -radius; k <= radius; ++k)
    total += kernel[static_cast<std::size_t>(k + radius)] = std::exp(-.5 * (k / sigma) * (k / sigma));
  for (double& weight : kernel) weight /= total;

  // Along rows, or along columns: `lines` lines of `length` values that lie `step` apart.
  const auto spread = [&](int lines, int line_step, int length, int step) {
    std::vector<double> line(static_cast<std::size_t>(length));
    for (int l = 0; l < lines; ++l) {
      const auto value = [&, start = static_cast<std::size_t>(l) *
                                     static_cast<std::size_t>(line_step)](int at) -> double& {
        return values[start + static_cast<std::size_t>(at) * static_cast<std::size_t>(step)];
      };
      std::fill(line.begin(), line.end(), 0);
      for (int at = 0; at < length; ++at) {
        const double v = value(at);
        if (v == 0) continue;
        for (int to = std::max(0, at - radius); to <= std::min(length - 1, at + radius); ++to)
          line[static_cast<std::size_t>(to)] += v * kernel[static_cast<std::size_t>(to - at + radius)];
      }
      for (int at = 0; at < length; ++at) value(at) = line[static_cast<std::size_t>(at)];
    }
  };
  spread(height, width, width, 1);
  spread(width, 1, height, width);
}

// A shape at rest, drawn on a canvas in a style. `what` begins the error messages.
template <class Shape>
Mask draw(int height, int width, const Shape& shape, const MaskStyle& style, const std::string& what) {
  require(style.scale > 0 && std::isfinite(style.scale), "{}: the scale {} is not a finite number above 0",
          what, style.scale);
  require(std::isfinite(style.rotation), "{}: the rotation {} is not a finite number of degrees", what,
          style.rotation);
  require(style.blur >= 0 && style.blur <= std::min(height, width),
          "{}: the blur {} is not between 0 and the {} pixels of the canvas's smaller side", what, style.blur,
          std::min(height, width));
  const auto require_inside = [&](bool inside) {
    require(inside,
            "{}: at scale {} and a rotation of {} degrees the shape leaves the canvas of {} x {}; scale it "
            "down or widen the canvas",
            what, style.scale, style.rotation, height, width);
  };

  const Box box = shape.box();
  // Nothing wider than the canvas's diagonal fits, however it is turned; this also bounds the loops below.
  require_inside(style.scale * std::max(box.width(), box.height()) <= std::hypot(height + 1, width + 1));
  const Motion motion(box, {width / 2., height / 2.}, style);
  const Box window = motion.moved(box);
  std::vector<double> coverage(static_cast<std::size_t>(height) * static_cast<std::size_t>(width), 0);
  bool empty = true;
  for (int y = static_cast<int>(std::floor(window.top)); y < std::ceil(window.bottom); ++y)
    for (int x = static_cast<int>(std::floor(window.left)); x < std::ceil(window.right); ++x) {
      const double covered = pixel(shape, motion, y, x, style.antialias);
      if (covered == 0) continue;
      require_inside(y >= 0 && y < height && x >= 0 && x < width);
      coverage[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] =
          covered;
      empty = false;
    }
  require(!empty, "{}: at scale {} on a canvas of {} x {} the shape covers no pixel; scale it up", what,
          style.scale, height, width);
  if (style.blur > 0) blur(coverage, height, width, style.blur);
  return {height, width, {coverage.begin(), coverage.end()}};
}

template <class Shape>
Mask draw_at_rest(int height, int width, const MaskStyle& style, const std::string& what) {
  require(height >= 1 && height <= kMostSide && width >= 1 && width <= kMostSide,
          "{}: a canvas of {} x {}; give 1 to {} pixels a side", what, height, width, kMostSide);
  const Shape shape({width / 2., height / 2.}, std::min(height, width) / kReferenceSide);
  return draw(height, width, shape, style, what);
}

// ---- files -----------------------------------------------------------------------------------------------

Mask png_mask(const std::string& path) {
  const PngImage image = read_png(path, kMostSide);
  Mask mask{image.height, image.width, {}};
  const auto channels = static_cast<std::size_t>(image.channels);
  const double full = image.full;
  mask.coverage.reserve(image.samples.size() / channels);
  for (std::size_t i = 0; i < image.samples.size(); i += channels) {
    const std::uint16_t* p = &image.samples[i];
    // Luminance by the weights of ITU-R BT.709.
    const double grey = channels < 3 ? p[0] : .2126 * p[0] + .7152 * p[1] + .0722 * p[2];
    const double opacity = channels % 2 == 0 ? p[channels - 1] / full : 1;
    mask.coverage.push_back(static_cast<float>(grey / full * opacity));
  }
  return mask;
}

// The header is checked before the data is read, and no more than it announces (and one byte) is read.
NpyArray read_npy_image(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail(ErrorKind::data, "{}: cannot be opened: {}", path, std::strerror(errno));
  std::vector<std::byte> content;
  const auto read_up_to = [&](std::size_t size) {
    const std::size_t old = content.size();
    content.resize(std::max(old, size));
    stream.read(reinterpret_cast<char*>(content.data() + old),
                static_cast<std::streamsize>(content.size() - old));
    if (stream.bad()) fail(ErrorKind::data, "{}: cannot be read: {}", path, std::strerror(errno));
    content.resize(old + static_cast<std::size_t>(stream.gcount()));
  };
  read_up_to(std::size_t{1} << 17);  // the longest header of version 1 is half as long
  constexpr NpyType types[] = {NpyType::boolean, NpyType::uint8, NpyType::float32, NpyType::float64};
  const NpyHeader header = parse_npy_header(content, path, types);
  if (header.shape.size() != 2)
    fail(ErrorKind::data, "{}: the array has shape {}; a mask needs [height, width]", path,
         shape_text(header.shape));
  if (header.shape[0] > kMostSide || header.shape[1] > kMostSide)
    fail(ErrorKind::data, "{}: has {} x {} pixels; at most {} a side are read, make the mask smaller", path,
         header.shape[0], header.shape[1], kMostSide);
  read_up_to(header.size + header.elements * size_of(header.type) + 1);
  return parse_npy(content, path);
}

// How wide the range of a .npy's values is: coverage = value / full.
double full_value(const NpyArray& array) {
  if (array.type != NpyType::uint8) return 1;
  const auto bytes = array.values<std::uint8_t>();
  return std::ranges::any_of(bytes, [](std::uint8_t b) { return b > 1; }) ? 255 : 1;
}

Mask npy_mask(const std::string& path) {
  const NpyArray array = read_npy_image(path);
  Mask mask{static_cast<int>(array.shape[0]), static_cast<int>(array.shape[1]), {}};
  const double full = full_value(array);
  const auto take = [&](auto values) {
    mask.coverage.reserve(values.size());
    for (const double value : values) {
      if (!(value >= 0 && value <= full))
        fail(ErrorKind::data, "{}: the value {} at [{}, {}] is outside 0 … 1; scale the mask to that range",
             path, value, mask.coverage.size() / static_cast<std::size_t>(mask.width),
             mask.coverage.size() % static_cast<std::size_t>(mask.width));
      mask.coverage.push_back(static_cast<float>(value / full));
    }
  };
  if (array.type == NpyType::float64)
    take(array.values<double>());
  else if (array.type == NpyType::float32)
    take(array.values<float>());
  else  // uint8, or a bool's bytes
    take(std::span(reinterpret_cast<const std::uint8_t*>(array.bytes.data()), array.bytes.size()));
  return mask;
}

}  // namespace

Mask star(int height, int width, const MaskStyle& style) {
  return draw_at_rest<Star>(height, width, style, "star");
}

Mask crescent(int height, int width, const MaskStyle& style) {
  return draw_at_rest<Crescent>(height, width, style, "crescent");
}

Mask read_mask(const std::string& path, const MaskStyle& style) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  require(extension == ".png" || extension == ".npy",
          "{}: a mask is star, crescent, or a .png or an .npy file", path);
  const Mask mask = extension == ".png" ? png_mask(path) : npy_mask(path);
  if (std::ranges::all_of(mask.coverage, [](float c) { return c == 0; }))
    fail(ErrorKind::data,
         "{}: covers nothing: no pixel of its {} x {} is above 0; draw the shape bright on black", path,
         mask.height, mask.width);
  return draw(mask.height, mask.width, Picture(mask), style, path);
}

}  // namespace occam
