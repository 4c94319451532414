#include <algorithm>
#include <cmath>

#include "occam/error.hpp"
#include "occam/experiment.hpp"

namespace occam {
namespace {

constexpr int kPublishedSide = 200;

bool is_file(const std::string& name) { return name != "star" && name != "crescent"; }

Mask mask_of(const std::string& name, const ShapeRecipe& recipe) {
  if (is_file(name)) return read_mask(name, recipe.style);
  const int height = recipe.height ? recipe.height : kPublishedSide,
            width = recipe.width ? recipe.width : kPublishedSide;
  return name == "star" ? star(height, width, recipe.style) : crescent(height, width, recipe.style);
}

// Files bring a canvas of their own: that of --canvas, where it is given, and of the other mask.
void check_canvas(const ShapeRecipe& recipe, const std::vector<Mask>& masks) {
  const std::string* const names[] = {&recipe.mask0, &recipe.mask1};
  for (std::size_t k = 0; k < 2; ++k)
    require(!is_file(*names[k]) || !recipe.height ||
                (masks[k].height == recipe.height && masks[k].width == recipe.width),
            "--canvas: {} x {} pixels, but {} has {} x {}; {}give {}x{}", recipe.height, recipe.width,
            *names[k], masks[k].height, masks[k].width,
            is_file(*names[1 - k]) ? "leave the flag out, or " : "", masks[k].height, masks[k].width);
  if (masks[0].height == masks[1].height && masks[0].width == masks[1].width) return;
  const std::size_t file = is_file(recipe.mask0) ? 0 : 1, other = 1 - file;
  const std::string sizes =
      fmt::format("{} has {} x {} pixels, but {} {} x {}", *names[file], masks[file].height,
                  masks[file].width, *names[other], masks[other].height, masks[other].width);
  require(!is_file(*names[other]), "--mask1: {}; both need one size", sizes);
  fail(ErrorKind::usage, "--canvas: {}; give {}x{}", sizes, masks[file].height, masks[file].width);
}

// The given places, or the published ones in proportion to the canvas.
Places places_of(const Places& given, const Places& published, int height, int width) {
  if (!given.empty()) return given;
  Places places;
  const auto scaled = [](int offset, int side) {
    return static_cast<int>(std::lround(static_cast<double>(offset) * side / kPublishedSide));
  };
  for (const Rectangle& r : published) {
    const int left = scaled(r.left, width), top = scaled(r.top, height);
    places.push_back(
        {left, std::max(left + 1, scaled(r.right, width)), top, std::max(top + 1, scaled(r.bottom, height))});
  }
  return places;
}

}  // namespace

ShapeSpec shape_spec(const ShapeRecipe& recipe, Arrangement test) {
  const ShapeSpec published = stars_and_moons();
  ShapeSpec spec;
  spec.masks = {mask_of(recipe.mask0, recipe), mask_of(recipe.mask1, recipe)};
  check_canvas(recipe, spec.masks);
  const int height = spec.height(), width = spec.width();
  spec.biased = {places_of(recipe.biased0, published.biased[0], height, width),
                 places_of(recipe.biased1, published.biased[1], height, width)};
  spec.uniform = {places_of(recipe.uniform0, published.uniform[0], height, width),
                  places_of(recipe.uniform1, published.uniform[1], height, width)};
  spec.bias = recipe.bias, spec.crop = recipe.crop, spec.test = test;
  spec.background = recipe.background, spec.contrast = recipe.contrast;
  spec.train = recipe.train, spec.validation = recipe.validation, spec.test_rows = recipe.test;
  validate(spec);
  return spec;
}

}  // namespace occam
