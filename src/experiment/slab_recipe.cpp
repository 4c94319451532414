#include <array>
#include <utility>

#include "occam/error.hpp"
#include "occam/experiment.hpp"

namespace occam {
namespace {

struct Kind {
  BlockKind kind;
  const char* name;
  SlabBlock block;
};

void check_counts(const SlabRecipe& recipe, const std::array<Kind, 4>& kinds, int& rest) {
  int used = 0, open = 0;
  for (const Kind& k : kinds) {
    open += k.block.count == kRest;
    if (k.block.count != kRest) used += k.block.count;
  }
  // A block that is not there has no slabs that a margin could squeeze out, but its margin is still a share.
  for (const Kind& k : kinds)
    require(k.block.margin >= 0 && k.block.margin < 1, "margin of {} blocks: {} is outside [0, 1)", k.name,
            k.block.margin);
  require(open <= 1, "{} kinds of block take the rest of the {} coordinates, only one can", open, recipe.dim);
  require(used <= recipe.dim, "{} linear, 3-, 5- and 7-slab coordinates do not fit in {} dimensions (--dim)",
          used, recipe.dim);
  rest = recipe.dim - used;
}

}  // namespace

SlabSpec slab_spec(const SlabRecipe& recipe) {
  const std::array<Kind, 4> kinds{{{BlockKind::linear, "linear", recipe.linear},
                                   {BlockKind::slab3, "slab3", recipe.slab3},
                                   {BlockKind::slab5, "slab5", recipe.slab5},
                                   {BlockKind::slab7, "slab7", recipe.slab7}}};
  int rest = 0;
  check_counts(recipe, kinds, rest);
  SlabSpec spec{.width = recipe.width,
                .unused_limit = recipe.unused_limit,
                .rotate = recipe.rotate,
                .train = recipe.train,
                .validation = recipe.validation,
                .test = recipe.test};
  int linear = 0;
  for (const Kind& k : kinds) {
    const int count = k.block.count == kRest ? rest : k.block.count;
    if (k.kind == BlockKind::linear) linear = count;
    require(k.block.noise == 0 || count > 0,
            "--{}-noise: {} asks for noise, but the data have no such coordinate", k.name, k.block.noise);
    require(k.block.shift == 0 || count > 0,
            "--{}-shift: {} asks for a shift, but the data have no such coordinate", k.name, k.block.shift);
    const SlabCoordinate coordinate{.kind = k.kind,
                                    .margin = k.block.margin,
                                    .noise = k.block.noise,
                                    .noise_kind = k.block.noise_kind,
                                    .shift = k.block.shift,
                                    .inner_probability0 = k.block.inner_probability0,
                                    .inner_probability1 = k.block.inner_probability1};
    spec.coordinates.insert(spec.coordinates.end(), static_cast<std::size_t>(count), coordinate);
  }
  spec.coordinates.resize(static_cast<std::size_t>(recipe.dim), {.kind = BlockKind::unused});
  if (const int p = recipe.linear_position; p != 0) {
    require(linear > 0, "--linear-position: {} given, but the data have no linear coordinate", p);
    require(p >= 0 && p < recipe.dim, "--linear-position: {} is outside the {} dimensions", p, recipe.dim);
    require(!recipe.rotate, "--linear-position: {} means nothing in rotated data (add --no-rotate)", p);
    std::swap(spec.coordinates[0], spec.coordinates[static_cast<std::size_t>(p)]);
  }
  validate(spec);
  return spec;
}

}  // namespace occam
