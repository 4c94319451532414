// Where things lie on the chip while a network is attacked there (kernels/pgd.cu, kernels/universal.cu).
#include <algorithm>

#include "cuda/plan.hpp"

namespace occam::cuda {

namespace {

// What a block's shared memory holds besides: take(floats) gives the offset of a piece that begins at a quad.
struct ChipSpace {
  std::int64_t used = 0;  // floats

  int take(std::int64_t floats) {
    const std::int64_t at = used;
    used += (floats + kQuad - 1) / kQuad * kQuad;
    return static_cast<int>(std::min<std::int64_t>(at, INT32_MAX));
  }
  int end() const { return static_cast<int>(std::min<std::int64_t>(used, INT32_MAX)); }
  int bytes() const { return static_cast<int>(std::min<std::int64_t>(used * 4, INT32_MAX)); }
};

// A network and a slice, of so many rows a warp.
NetworkOnChip place_network(const DeviceLayout& layout, const MlpSpec& spec, int rows, ChipSpace& space) {
  NetworkOnChip network{};
  network.rows = rows;
  network.parameters = space.take(layout.stride());
  network.begin_panels = space.end();
  const auto panel = [&](int stride) {
    return space.take(static_cast<std::int64_t>(network.slice()) * stride);
  };
  const LayerView& first = layout.layers().front();
  const bool shares = first.hidden && first.out <= kChipPassUnits && first.in <= kChipPassInputs;
  for (const LayerView& view : layout.layers()) {
    ChipLayer& layer = network.layer[network.layers++];
    layer.view = view;
    layer.stride = shares && view.number == 0 ? std::max(view.in_stride, view.out_stride) : view.out_stride;
    layer.kept = panel(layer.stride);
    layer.output = view.gamma >= 0 || view.slope >= 0 ? panel(layer.stride) : layer.kept;
  }
  network.moved_stride = shares ? network.layer[0].stride : padded(spec.inputs);
  network.moved = shares ? network.layer[0].kept : panel(network.moved_stride);
  network.logit_gradient = panel(padded(spec.outputs()));
  return network;
}

bool may_be_on_chip(const DeviceLayout& layout, const MlpSpec& spec) {
  return spec.hidden.size() + 1 <= kMaxChipLayers && layout.stride() <= INT32_MAX / 16 &&
         std::max(layout.widest(), padded(spec.inputs)) <= INT32_MAX / 4096;
}

}  // namespace

std::optional<PgdPlan> plan_pgd(const MlpSpec& spec, std::size_t shared_limit) {
  const DeviceLayout layout(spec);
  if (!may_be_on_chip(layout, spec)) return std::nullopt;
  for (const int rows : kChipRows) {
    PgdPlan plan{};
    ChipSpace space;
    plan.network = place_network(layout, spec, rows, space);
    for (int* panel : {&plan.x, &plan.perturbation})
      *panel = space.take(static_cast<std::int64_t>(plan.network.slice()) * padded(spec.inputs));
    plan.network.end_panels = space.end();
    for (int* of_row : {&plan.worst_loss, &plan.inverse, &plan.labels})
      *of_row = space.take(plan.network.slice());
    plan.bytes = space.bytes();
    if (static_cast<std::size_t>(plan.bytes) <= shared_limit) return plan;
  }
  return std::nullopt;
}

std::optional<UniversalPlan> plan_universal(const MlpSpec& spec, std::int64_t batch,
                                            std::size_t shared_limit) {
  const DeviceLayout layout(spec);
  if (!may_be_on_chip(layout, spec) || batch > INT32_MAX / 4096) return std::nullopt;
  for (const int rows : kChipRows) {
    UniversalPlan plan{};
    ChipSpace space;
    plan.batch = static_cast<int>(batch);
    plan.network = place_network(layout, spec, rows, space);
    plan.network.end_panels = space.end();
    plan.x = space.take(batch * padded(spec.inputs));
    plan.labels = space.take(batch);
    for (int* of_inputs : {&plan.universal, &plan.gradient}) *of_inputs = space.take(spec.inputs);
    plan.bytes = space.bytes();
    if (static_cast<std::size_t>(plan.bytes) <= shared_limit) return plan;
  }
  return std::nullopt;
}

}  // namespace occam::cuda
