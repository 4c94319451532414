#include <algorithm>
#include <cmath>

#include "occam/experiment.hpp"

namespace occam {
namespace {

constexpr int kPublishedSide = 200;

Mask mask_of(const std::string& name, const ShapeRecipe& recipe) {
  if (name == "star") return star(recipe.height, recipe.width, recipe.style);
  if (name == "crescent") return crescent(recipe.height, recipe.width, recipe.style);
  return read_mask(name, recipe.style);
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
