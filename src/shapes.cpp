#include "occam/shapes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "occam/error.hpp"
#include "occam/limits.hpp"
#include "occam/philox.hpp"
#include "shape_set.hpp"

namespace occam {

namespace {

// Rows and columns of a mask that are not all 0.
struct Extent {
  int top = 0, bottom = -1, left = 0, right = -1;  // inclusive
  bool empty() const { return bottom < top; }
};

Extent extent_of(const Mask& mask) {
  Extent e;
  e.left = mask.width;
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x) {
      if (mask.coverage[static_cast<std::size_t>(y) * static_cast<std::size_t>(mask.width) +
                        static_cast<std::size_t>(x)] == 0)
        continue;
      if (e.empty()) e.top = y;
      e.bottom = y;
      e.left = std::min(e.left, x), e.right = std::max(e.right, x);
    }
  return e;
}

// Pixels are floats.
void check_values(const ShapeSpec& spec) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  require(std::abs(spec.background) <= kLargest, "shapes: the background {} is not a number within ±{:.3g}",
          spec.background, kLargest);
  require(std::isfinite(spec.contrast) && spec.contrast != 0,
          "shapes: the contrast {} is not a finite number other than 0", spec.contrast);
  require(std::abs(spec.background + spec.contrast) <= kLargest,
          "shapes: the contrast {} on the background {} makes pixels outside ±{:.3g}", spec.contrast,
          spec.background, kLargest);
}

void check_mask(const ShapeSpec& spec, int k) {
  const Mask& mask = spec.masks[static_cast<std::size_t>(k)];
  require(mask.height >= 1 && mask.height <= kMostSide && mask.width >= 1 && mask.width <= kMostSide,
          "shapes: mask {} has {} x {} pixels; give 1 to {} a side", k, mask.height, mask.width, kMostSide);
  require(mask.height == spec.height() && mask.width == spec.width(),
          "shapes: mask {} has {} x {} pixels, mask 0 {} x {}; all need one canvas", k, mask.height,
          mask.width, spec.height(), spec.width());
  require(
      mask.coverage.size() == static_cast<std::size_t>(mask.height) * static_cast<std::size_t>(mask.width),
      "shapes: mask {} has {} values for {} x {} pixels", k, mask.coverage.size(), mask.height, mask.width);
  for (const float value : mask.coverage)
    require(value >= 0 && value <= 1, "shapes: mask {} has a coverage of {}, outside 0 … 1", k, value);
  require(!extent_of(mask).empty(), "shapes: mask {} covers no pixel", k);
  const auto lit = static_cast<float>(spec.background +
                                      spec.contrast * static_cast<double>(std::ranges::max(mask.coverage)));
  require(
      lit != static_cast<float>(spec.background),
      "shapes: at the contrast {} no pixel of mask {} differs from the background {} in single precision; "
      "give a larger one",
      spec.contrast, k, spec.background);
}

// No offset of a rectangle pushes the shape off the canvas: in part, or with `crop` wholly.
void check_places(const ShapeSpec& spec, int k, const char* kind, const Places& places) {
  require(!places.empty(), "shapes: class {} has no {} place", k, kind);
  const Extent e = extent_of(spec.masks[static_cast<std::size_t>(k)]);
  for (const Rectangle& r : places) {
    const std::string where = fmt::format("shapes: class {}, {} place [{}, {}) x [{}, {})", k, kind, r.left,
                                          r.right, r.top, r.bottom);
    require(r.left < r.right && r.top < r.bottom, "{}: is empty", where);
    require(r.left > -kMostSide && r.right <= kMostSide && r.top > -kMostSide && r.bottom <= kMostSide,
            "{}: offsets go to {} pixels at most", where, kMostSide - 1);
    const bool inside = e.left + r.left >= 0 && e.right + r.right - 1 < spec.width() && e.top + r.top >= 0 &&
                        e.bottom + r.bottom - 1 < spec.height();
    require(spec.crop || inside,
            "{}: pushes a part of the shape (columns {} to {}, rows {} to {}) off the canvas of {} x {}; "
            "move it, "
            "or allow cropping",
            where, e.left, e.right, e.top, e.bottom, spec.width(), spec.height());
    const bool seen = e.right + r.left >= 0 && e.left + r.right - 1 < spec.width() && e.bottom + r.top >= 0 &&
                      e.top + r.bottom - 1 < spec.height();
    require(seen, "{}: pushes the whole shape off the canvas of {} x {}", where, spec.width(), spec.height());
  }
}

}  // namespace

ShapeSpec stars_and_moons(const MaskStyle& style) {
  ShapeSpec spec;
  spec.masks = {star(200, 200, style), crescent(200, 200, style)};
  spec.biased = {{{-46, -22, 44, 64}, {55, 78, -56, -33}}, {{46, 60, 39, 70}, {-53, -39, -65, -34}}};
  spec.uniform = {{{-46, 78, -56, 64}}, {{-53, 60, -65, 70}}};
  spec.crop = true;
  return spec;
}

Places conflict_places(const ShapeSpec& spec, int k) {
  require(k >= 0 && k < spec.classes() && spec.biased.size() == spec.uniform.size(), "shapes: class {} of {}",
          k, spec.classes());
  const auto own = static_cast<std::size_t>(k), next = (own + 1) % spec.biased.size();
  Places places;
  for (const Rectangle& b : spec.biased[next])
    for (const Rectangle& u : spec.uniform[own]) {
      const Rectangle both{std::max(b.left, u.left), std::min(b.right, u.right), std::max(b.top, u.top),
                           std::min(b.bottom, u.bottom)};
      if (both.left < both.right && both.top < both.bottom) places.push_back(both);
    }
  return places;
}

void validate(const ShapeSpec& spec) {
  require(spec.classes() >= 2 && spec.classes() <= 256,
          "shapes: {} masks; give one to each of 2 to 256 classes", spec.classes());
  const auto classes = static_cast<std::size_t>(spec.classes());
  require(spec.biased.size() == classes && spec.uniform.size() == classes,
          "shapes: biased places of {} classes and uniform ones of {} for {} masks", spec.biased.size(),
          spec.uniform.size(), classes);
  check_values(spec);
  for (int k = 0; k < spec.classes(); ++k) check_mask(spec, k);
  require(
      spec.height() * spec.width() <= kMostInputs,
      "shapes: an image has {} x {} pixels; {} are the most, make the canvas (--canvas) or the masks smaller",
      spec.height(), spec.width(), kMostInputs);
  for (int k = 0; k < spec.classes(); ++k) {
    check_places(spec, k, "biased", spec.biased[static_cast<std::size_t>(k)]);
    check_places(spec, k, "uniform", spec.uniform[static_cast<std::size_t>(k)]);
    if (spec.test == Arrangement::swapped)
      check_places(spec, k, "swapped", spec.biased[(static_cast<std::size_t>(k) + 1) % classes]);
    if (spec.test == Arrangement::conflict) check_places(spec, k, "conflict", conflict_places(spec, k));
  }
  require(spec.bias >= 0 && spec.bias <= 1, "shapes: the bias {} is outside [0, 1]", spec.bias);
  require(spec.train >= 0 && spec.validation >= 0 && spec.test_rows >= 0,
          "shapes: {} train, {} validation and {} test rows; none may be negative", spec.train,
          spec.validation, spec.test_rows);
  require(spec.rows() >= 1 && spec.rows() <= kMostRows, "shapes: {} rows; give 1 to {}", spec.rows(),
          kMostRows);
}

// ---- what kernels read ------------------------------------------------------------------------------------

ShapeSet::ShapeSet(const ShapeSpec& spec) : spec_(spec) {
  validate(spec_);
  for (int k = 0; k < spec_.classes(); ++k) conflict_.push_back(conflict_places(spec_, k));
  const auto width = static_cast<std::size_t>(spec_.width());
  for (const Mask& mask : spec_.masks) {
    const Extent e = extent_of(mask);
    const law::ShapeBox box{e.top,
                            e.left,
                            e.bottom - e.top + 1,
                            e.right - e.left + 1,
                            static_cast<std::int32_t>(values_.size()),
                            static_cast<std::int32_t>(spans_.size())};
    boxes_.push_back(box);
    for (int y = e.top; y <= e.bottom; ++y) {
      law::ShapeSpan span{box.width, 0};
      for (int j = 0; j < box.width; ++j) {
        const float coverage =
            mask.coverage[static_cast<std::size_t>(y) * width + static_cast<std::size_t>(e.left + j)];
        values_.push_back(
            static_cast<float>(spec_.background + spec_.contrast * static_cast<double>(coverage)));
        if (coverage == 0) continue;
        span.begin = std::min(span.begin, j), span.end = j + 1;
      }
      spans_.push_back(span.end == 0 ? law::ShapeSpan{0, 0} : span);
    }
  }
  view_ = {spec_.height(), spec_.width(),  static_cast<float>(spec_.background),
           boxes_.data(),  values_.data(), spans_.data()};
}

// Rows of a split take the classes in turn, and a class's rows its places in turn; only the offset within a
// place is drawn. So the numbers of rows by class and by place are exact, and batches, which are keyed
// permutations, see the rows in random order all the same.
law::ShapePlace ShapeSet::place(std::uint32_t data_seed, Split split, std::int64_t row) const {
  const std::int64_t rows = split == Split::train        ? spec_.train
                            : split == Split::validation ? spec_.validation
                                                         : spec_.test_rows;
  const std::int64_t before = split == Split::train        ? spec_.test_rows + spec_.validation
                              : split == Split::validation ? spec_.test_rows
                                                           : 0;
  const std::int64_t classes = spec_.classes(), shape = row % classes, number = row / classes;
  const std::int64_t of_class = (rows - shape + classes - 1) / classes;
  const Arrangement arrangement = split == Split::test ? spec_.test : Arrangement::iid;
  const auto k = static_cast<std::size_t>(shape);

  const Places* places = &spec_.uniform[k];
  std::int64_t turn = number;
  if (arrangement == Arrangement::swapped) {
    places = &spec_.biased[static_cast<std::size_t>((shape + 1) % classes)];
  } else if (arrangement == Arrangement::conflict) {
    places = &conflict_[k];
  } else if (arrangement == Arrangement::iid) {
    const auto biased = static_cast<std::int64_t>(std::nearbyint(spec_.bias * static_cast<double>(of_class)));
    const std::int64_t up_to_here = number * biased / of_class;
    if ((number + 1) * biased / of_class > up_to_here) {
      places = &spec_.biased[k];
      turn = up_to_here;
    } else {
      turn = number - up_to_here;
    }
  }
  const Rectangle& r = (*places)[static_cast<std::size_t>(turn) % places->size()];
  const Philox words = draw(data_seed, Stream::shape_place, static_cast<std::uint32_t>(before + row),
                            static_cast<std::uint32_t>(arrangement));
  const auto below = [](std::uint32_t word, int n) {
    return static_cast<int>(uniform_below(word, static_cast<std::uint32_t>(n)));
  };
  return {static_cast<std::int32_t>(shape),
          static_cast<std::int16_t>(r.left + below(words.word[0], r.right - r.left)),
          static_cast<std::int16_t>(r.top + below(words.word[1], r.bottom - r.top))};
}

std::vector<law::ShapePlace> shape_places(const ShapeData& data, Split split) {
  std::vector<law::ShapePlace> places(static_cast<std::size_t>(rows(data, split)));
  for (std::size_t row = 0; row < places.size(); ++row)
    places[row] = data.set->place(data.seed, split, static_cast<std::int64_t>(row));
  return places;
}

std::vector<std::uint8_t> lit_pixels(const law::Shapes& shapes, const std::vector<law::ShapePlace>& places) {
  const auto width = static_cast<std::size_t>(shapes.width);
  std::vector<std::uint8_t> lit(static_cast<std::size_t>(shapes.height) * width, 0);
  // Rows at one offset light the same pixels.
  std::vector<law::ShapePlace> distinct = places;
  const auto key = [](const law::ShapePlace& p) { return std::tuple(p.shape, p.dx, p.dy); };
  std::ranges::sort(distinct, {}, key);
  distinct.erase(std::unique(distinct.begin(), distinct.end(),
                             [&](const auto& a, const auto& b) { return key(a) == key(b); }),
                 distinct.end());
  for (const law::ShapePlace& place : distinct) {
    const law::ShapeBox box = law::placed(shapes, place);
    for (int y = 0; y < shapes.height; ++y) {
      const law::ShapeSpan span = law::lit_span(shapes, box, y);
      const law::ShapeRow row = law::shape_row(shapes, box, y);
      std::uint8_t* const of_row = lit.data() + static_cast<std::size_t>(y) * width;
      for (int x = span.begin; x < span.end; ++x) of_row[x] |= static_cast<std::uint8_t>(row[x] != 0);
    }
  }
  return lit;
}

std::optional<PixelShares> pixel_shares(const Data& data, const Training& training) {
  const auto* shapes = std::get_if<ShapeData>(&data);
  if (!shapes) return std::nullopt;
  const law::Shapes& view = shapes->set->view();
  const std::vector<law::ShapePlace> places = shape_places(*shapes, Split::train);
  double lit = 0;
  for (const law::ShapePlace& place : places)
    for (int y = 0; y < view.height; ++y) {
      const law::ShapeSpan span = law::lit_span(view, place, y);
      lit += std::max(0, span.end - span.begin);
    }
  const std::vector<std::uint8_t> live = lit_pixels(view, places);
  const double pixels = dim(data);
  return PixelShares{
      places.empty() ? 0.0 : lit / static_cast<double>(places.size()) / pixels,
      training.optimizer.weight_decay != 0 ? 1.0 : static_cast<double>(std::ranges::count(live, 1)) / pixels};
}

}  // namespace occam
