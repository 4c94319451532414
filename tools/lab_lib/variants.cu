#include "variants.hpp"

#include "variant.cuh"

namespace occam::lab {

namespace {

template <class S>
void launch_variant(cuda::Stream& stream, const ResidentArguments& a) {
  launch(stream, "variant", variant_kernel<S>, dim3(static_cast<unsigned>(a.members)), dim3(S::kThreads),
         static_cast<std::size_t>(a.plan.bytes), a);
}

template <class S>
Variant variant(int number, const char* name) {
  return {number,
          name,
          fmt::format("{}x{}x{}x{}x{}x{}", S::kM, S::kN, S::kSlice, S::kUnroll, S::kBlocks,
                      static_cast<int>(S::kGradients)),
          S::kThreads,
          S::kSlice,
          S::kUnroll,
          S::kBlocks,
          S::kGradients == Gradients::registers,
          launch_variant<S>,
          reinterpret_cast<const void*>(&variant_kernel<S>)};
}

constexpr Gradients kShared = Gradients::shared, kRegisters = Gradients::registers;

}  // namespace

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all{
      variant<Shape<16, 16, 128, 2, 1, kShared>>(1, "16x16, slice 128, unroll 2"),
      variant<Shape<16, 16, 128, 1, 1, kShared>>(2, "16x16, slice 128, unroll 1"),
      variant<Shape<16, 16, 128, 4, 1, kShared>>(3, "16x16, slice 128, unroll 4"),
      variant<Shape<8, 32, 128, 2, 1, kShared>>(4, "8x32, slice 128, unroll 2"),
      variant<Shape<32, 8, 128, 2, 1, kShared>>(5, "32x8, slice 128, unroll 2"),
      variant<Shape<16, 16, 64, 2, 1, kShared>>(6, "16x16, slice 64, unroll 2"),
      variant<Shape<16, 16, 64, 2, 2, kShared>>(7, "16x16, slice 64, unroll 2, 2 blocks"),
      variant<Shape<8, 16, 64, 2, 2, kShared>>(8, "8x16, slice 64, unroll 2, 2 blocks"),
      variant<Shape<16, 16, 128, 2, 1, kRegisters>>(9, "16x16, slice 128, unroll 2, gradients in registers"),
      variant<Shape<16, 16, 64, 2, 1, kRegisters>>(10, "16x16, slice 64, unroll 2, gradients in registers"),
  };
  return all;
}

std::string obstacle(const Variant& of, const ResidentArguments& a) {
  for (int l = 0; l < a.plan.layers; ++l) {
    // A weight gradient deals out quads of units: with more of them than threads, a thread would own none.
    const int units = a.plan.layer[l].view.out;
    if (units > kQuad * of.threads)
      return fmt::format("layer {} has {} units, more than {} for each of {} threads", l, units, kQuad,
                         of.threads);
  }
  if (!of.holds_gradients) return "";
  if (a.plan.layers != kHeldLayers) return fmt::format("it is for {} layers", kHeldLayers);
  for (int l = 0; l < kHeldLayers; ++l) {
    const LayerView& view = a.plan.layer[l].view;
    const int across = of.threads / ((view.out + kQuad - 1) / kQuad);
    if (view.out > of.threads || view.in > 2 * held_pairs(l) * across)
      return fmt::format("a thread holds {} pairs of layer {}, too few", held_pairs(l), l);
  }
  return "";
}

}  // namespace occam::lab
