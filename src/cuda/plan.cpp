#include "cuda/plan.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "law/dropout.hpp"
#include "law/optimizer.hpp"
#include "one_hidden.hpp"
#include "one_hidden_chip.hpp"
#include "one_hidden_tensor.hpp"
#include "sample_pass.hpp"
#include "whole_batch_tensor.hpp"

namespace occam::cuda {

TrainingNeeds::TrainingNeeds(const MlpSpec& spec, std::span<const Training> trainings, bool of_images)
    : prelu(spec.activation == Activation::prelu && !spec.hidden.empty()), batch_norm(spec.batch_norm),
      images(of_images) {
  for (const Training& training : trainings) {
    precision = training.precision;
    const law::Dropout inputs = law::dropout_constants(training.input_dropout),
                       hidden = law::dropout_constants(training.hidden_dropout);
    slots = std::max(slots, law::state_slots(training.optimizer));
    input_dropout |= inputs.threshold > 0;
    hidden_dropout |= hidden.threshold > 0;
    adversary |= training.adversary.has_value();
  }
}

namespace {

ResidentPlan place(const DeviceLayout& layout, const MlpSpec& spec, int batch, bool apart, int slice,
                   bool fetches_ahead) {
  ResidentPlan plan{};
  plan.slice = slice, plan.batch = batch, plan.inputs = spec.inputs, plan.x_stride = padded(spec.inputs);
  std::int64_t used = 0;  // floats; quads stay aligned
  const auto take = [&](std::int64_t floats) {
    const std::int64_t at = used;
    used += (floats + kQuad - 1) / kQuad * kQuad;
    return static_cast<int>(at);
  };
  plan.parameters = take(layout.stride());
  plan.gradients = take(layout.stride());  // a product may read beyond the parameters
  plan.begin_activations = static_cast<int>(used);
  const std::int64_t rows = static_cast<std::int64_t>(slice) * plan.x_stride + kReadBeyond;
  plan.x[0] = take(rows);
  plan.x[1] = fetches_ahead ? take(rows) : plan.x[0];
  for (const LayerView& view : layout.layers()) {
    ResidentLayer& layer = plan.layer[plan.layers++];
    const std::int64_t size = static_cast<std::int64_t>(slice) * view.out_stride;
    layer.view = view;
    layer.kept = take(size);
    layer.output = view.hidden && apart ? take(size) : layer.kept;
  }
  take(kReadBeyond);
  plan.end_activations = static_cast<int>(used);
  for (int l = 0; l < plan.layers; ++l)
    plan.layer[l].slope_gradient = plan.layer[l].view.slope >= 0 ? take(batch) : -1;
  plan.rows = take(2 * static_cast<std::int64_t>(batch));
  plan.labels = take(2 * static_cast<std::int64_t>(batch));
  plan.adam = take(2);
  plan.bytes = static_cast<int>(std::min<std::int64_t>(used * 4, INT32_MAX));
  return plan;
}

// Whether a batch stays on the chip as a whole.
bool takes_whole_batch(const DeviceLayout& layout, const MlpSpec& spec, int batch,
                       const TrainingNeeds& needs) {
  using B = WholeBatch;
  if (needs.input_dropout || needs.hidden_dropout || spec.activation != Activation::relu) return false;
  if (layout.layers().size() != 3 || spec.inputs > B::kInputs || spec.outputs() > B::kOutputs) return false;
  if (batch <= B::kHalf || batch > B::kSamples) return false;
  return std::all_of(spec.hidden.begin(), spec.hidden.end(), [](int units) {
    return units >= B::kLeastUnits && units <= B::kUnits && units % kQuad == 0;
  });
}

ResidentPlan whole_batch_plan(const DeviceLayout& layout, const MlpSpec& spec, int batch) {
  ResidentPlan plan{};
  plan.body = ResidentBody::whole_batch;
  plan.slice = WholeBatch::kSamples, plan.batch = batch, plan.inputs = spec.inputs,
  plan.x_stride = padded(spec.inputs);
  plan.begin_activations = WholeBatch::kHidden, plan.end_activations = WholeBatch::kRowNumbers;
  plan.bytes = WholeBatch::kBytes;
  for (const LayerView& view : layout.layers()) plan.layer[plan.layers++].view = view;
  return plan;
}

// Whether a body for one hidden layer takes the members, whose batch fills more than half of what it has on the chip at a
// time.
template <class Chip>
bool takes_one_hidden_chip(const DeviceLayout& layout, const MlpSpec& spec, int batch, int most_inputs,
                           const TrainingNeeds& needs) {
  return !needs.input_dropout && !needs.hidden_dropout && spec.activation == Activation::relu &&
         layout.layers().size() == 2 && spec.inputs <= most_inputs && spec.outputs() <= Chip::kOutputs &&
         spec.hidden[0] <= Chip::kUnits && batch > Chip::kSlice / 2 && batch <= Chip::kBatch;
}

ResidentPlan one_hidden_chip_plan(const DeviceLayout& layout, const MlpSpec& spec, int batch) {
  return with_one_hidden_chip(spec.hidden[0], [&](auto sizes) {
    using Chip = decltype(sizes);
    ResidentPlan plan{};
    plan.body = ResidentBody::one_hidden;
    plan.slice = Chip::kSlice, plan.batch = batch, plan.inputs = spec.inputs,
    plan.x_stride = padded(spec.inputs);
    plan.begin_activations = Chip::kHidden, plan.end_activations = Chip::kRowNumbers;
    plan.bytes = Chip::kBytes;
    for (const LayerView& view : layout.layers()) plan.layer[plan.layers++].view = view;
    return plan;
  });
}

}  // namespace

// Where a batch would be cut into smaller slices than these, plan tiled is faster (docs/gpu_performance.md).
constexpr int kLeastSlice = 64;

PlanAnswer plan_resident(const MlpSpec& spec, int batch, const TrainingNeeds& needs,
                         std::size_t shared_limit) {
  if (needs.batch_norm) return {{}, "batch norm needs a layer's whole batch at once"};
  if (needs.adversary) return {{}, "an adversary moves the batch before the update"};
  if (needs.images) return {{}, "images of shapes are read off their masks, by kernels of their own"};
  if (spec.hidden.size() + 1 > kMaxResidentLayers)
    return {{}, fmt::format("{} layers, of which it takes {}", spec.hidden.size() + 1, kMaxResidentLayers)};
  const DeviceLayout layout(spec);
  for (const LayerView& view : layout.layers())
    if (view.out > kMaxResidentWidth)
      return {{}, fmt::format("a layer of {} units, of which it takes {}", view.out, kMaxResidentWidth)};
  if (takes_whole_batch(layout, spec, batch, needs) && WholeBatch::kBytes <= shared_limit)
    return {whole_batch_plan(layout, spec, batch), ""};
  using OneHidden = OneHiddenChip<13>;
  if (takes_one_hidden_chip<OneHidden>(layout, spec, batch, OneHidden::kMostInputs, needs)) {
    const ResidentPlan plan = one_hidden_chip_plan(layout, spec, batch);
    if (static_cast<std::size_t>(plan.bytes) <= shared_limit) return {plan, ""};
  }
  constexpr int kSlices[] = {128, 64, 32, 16};
  const auto worked = [&](int slice) { return (batch + slice - 1) / slice * slice; };
  PlanAnswer answer;
  std::size_t least = 0;
  if (layout.stride() > INT32_MAX / 16 || layout.widest() > INT32_MAX / 1024 || batch > INT32_MAX / 64)
    return {{}, "the network or the batch is far larger than shared memory"};
  for (const int slice : kSlices) {
    if (slice < std::min(batch, kLeastSlice)) continue;
    // Large slices are worth waiting for their rows.
    ResidentPlan plan = place(layout, spec, batch, needs.keeps_apart(), slice, true);
    if (slice > kLeastSlice && static_cast<std::size_t>(plan.bytes) > shared_limit)
      plan = place(layout, spec, batch, needs.keeps_apart(), slice, false);
    least = static_cast<std::size_t>(plan.bytes);
    if (least > shared_limit) continue;
    if (!answer.resident || worked(slice) < worked(answer.resident->slice)) answer.resident = plan;
  }
  if (!answer.resident)
    answer.obstacle =
        fmt::format("a block has {:.1f} KiB of shared memory and it needs at least {:.1f} KiB",
                    static_cast<double>(shared_limit) / 1024, static_cast<double>(least) / 1024);
  return answer;
}

static bool has_one_hidden(const DeviceLayout& layout) {
  return layout.layers().size() == 2 && layout.layers()[0].in <= kOneHiddenInputs &&
         layout.layers()[1].out <= kOneHiddenOutputs;
}

Precision tiled_precision(const DeviceLayout& layout, Precision precision) {
  return has_one_hidden(layout) ? Precision::fp32 : precision;
}

bool takes_one_hidden(const DeviceLayout& layout, const TrainingNeeds& needs) {
  return has_one_hidden(layout) && !needs.images && !needs.batch_norm && !needs.keeps_apart();
}

bool takes_sample_pass(const DeviceLayout& layout, const TrainingNeeds& needs, int batch,
                       std::size_t shared_limit) {
  if (needs.precision != Precision::fp32 || needs.images || needs.batch_norm || needs.keeps_apart())
    return false;
  const std::vector<LayerView>& layers = layout.layers();
  if (layers.size() < 2 || layers.size() > kMaxPassLayers || layers.back().out > kPassOutputs) return false;
  int widest = 0, columns = 0;  // of layer by layer, in tiles
  for (const LayerView& layer : layers) {
    widest = std::max(widest, layer.in);
    if (layer.hidden) columns += (layer.out + kLayerTile - 1) / kLayerTile * kLayerTile;
  }
  return widest <= kPassUnits && batch > kPassSamples / 2 && sample_pass_bytes(widest) <= shared_limit &&
         static_cast<int>(layers.size() - 1) * sample_pass_columns(widest) <= columns;
}

namespace {

// The one of kWarpTiles that keeps the tensor cores busy least long: rounds of the block's warps, times what
// a step of the depth costs, a product of two fragments as much as the read of one.
int best_warp_tile(int rows, int columns) {
  const int m_tiles = (rows + 15) / 16, n_tiles = (columns + 7) / 8, warps = kTensorThreads / 32;
  int best = -1, least = 0;
  for (int i = 0; i < kWarpTileCount; ++i) {
    const auto [down, across] = kWarpTiles[i];
    if (down > m_tiles || across > n_tiles) continue;
    const int all = (m_tiles + down - 1) / down * ((n_tiles + across - 1) / across);
    const int cost = (all + warps - 1) / warps * (down * across + down + across);
    if (best < 0 || cost < least) best = i, least = cost;
  }
  return best;
}

TensorPlan place_tensor(const DeviceLayout& layout, const MlpSpec& spec, int batch, Precision precision,
                        bool apart, int slice, bool gradients_on_chip) {
  TensorPlan plan{};
  plan.precision = precision, plan.slice = slice, plan.batch = batch, plan.inputs = spec.inputs;
  const int element = precision == Precision::tf32 ? 4 : 2, step = 2 * kChunkBytes / element;
  const auto row_bytes = [&](int columns) { return operand_row_bytes(columns, element); };
  std::int64_t used = 0;  // bytes
  const auto take = [&](std::int64_t bytes) {
    const std::int64_t at = used;
    used += (bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
    return static_cast<int>(at);
  };
  const auto panel = [&](std::int64_t rows, int bytes) { return take(rows * bytes + kTensorReadBeyond); };
  plan.x_bytes = row_bytes(spec.inputs);
  for (int& x : plan.x) x = panel(slice, plan.x_bytes);
  for (const LayerView& view : layout.layers()) {
    TensorLayer& layer = plan.layer[plan.layers++];
    layer.view = view;
    layer.weight_bytes = row_bytes(view.in), layer.output_bytes = row_bytes(view.out);
    layer.weight = panel((view.out + step - 1) / step * step, layer.weight_bytes);
    layer.bias = take(4 * ((view.out + 7) / 8 * 8 + 1));
    layer.kept = panel(slice, layer.output_bytes);
    layer.output = view.hidden && apart ? panel(slice, layer.output_bytes) : layer.kept;
    layer.slope_gradient = view.slope >= 0 ? take(std::int64_t{4} * batch) : -1;
    layer.forward = best_warp_tile(slice, view.out);
    layer.input_gradient = best_warp_tile(slice, view.in);
    layer.weight_gradient = best_warp_tile(view.out, view.in);
  }
  plan.logits = take(std::int64_t{4} * slice * spec.outputs());
  plan.rows = take(std::int64_t{8} * batch);
  plan.labels = take(std::int64_t{8} * batch);
  plan.adam = take(8);
  plan.gradients = gradients_on_chip ? take(4 * layout.stride()) : -1;
  plan.bytes = static_cast<int>(std::min<std::int64_t>(used, INT32_MAX));
  return plan;
}

}  // namespace

TensorAnswer plan_tensor(const MlpSpec& spec, int batch, const TrainingNeeds& needs,
                         std::size_t shared_limit) {
  const Precision precision = needs.precision;
  if (needs.batch_norm) return {{}, "batch norm needs a layer's whole batch at once"};
  if (needs.adversary) return {{}, "an adversary moves the batch before the update"};
  if (needs.images) return {{}, "images of shapes are read off their masks, by kernels of their own"};
  if (spec.hidden.size() + 1 > kMaxTensorLayers)
    return {{}, fmt::format("{} layers, of which it takes {}", spec.hidden.size() + 1, kMaxTensorLayers)};
  const DeviceLayout layout(spec);
  if (layout.stride() > INT32_MAX / 16 || layout.widest() > INT32_MAX / 1024 || batch > INT32_MAX / 64)
    return {{}, "the network or the batch is far larger than shared memory"};
  const auto with_sizes = [&](TensorBody body, int slice, int bytes) {
    TensorPlan plan{};
    plan.body = body, plan.precision = precision;
    plan.slice = slice, plan.batch = batch, plan.inputs = spec.inputs, plan.bytes = bytes;
    for (const LayerView& view : layout.layers()) plan.layer[plan.layers++].view = view;
    return plan;
  };
  std::optional<TensorPlan> sized;
  using OneHidden = OneHiddenTensor<4, 25>;
  if (takes_whole_batch(layout, spec, batch, needs))
    sized = with_sizes(TensorBody::whole_batch, WholeBatch::kSamples, whole_batch_tensor_bytes(precision));
  if (takes_one_hidden_chip<OneHidden>(layout, spec, batch, OneHidden::kInputs, needs))
    sized = with_sizes(TensorBody::one_hidden, OneHidden::kBatch,
                       one_hidden_tensor_bytes(precision, spec.hidden[0]));
  const auto placed = [&](bool apart, int slices, bool on_chip) {
    const int slice = ((batch + slices - 1) / slices + 15) / 16 * 16;
    return place_tensor(layout, spec, batch, precision, apart, slice, on_chip);
  };
  // What this member needs does not decide, but what any may need.
  const auto least =
      static_cast<std::size_t>(std::max(placed(false, std::max(1, batch / kLeastSlice), false).bytes,
                                        placed(true, (batch + 15) / 16, false).bytes));
  if (least > shared_limit)
    return {{},
            fmt::format("a block has {:.1f} KiB of shared memory and it needs at least {:.1f} KiB",
                        static_cast<double>(shared_limit) / 1024, static_cast<double>(least) / 1024)};
  if (sized && static_cast<std::size_t>(sized->bytes) <= shared_limit) return {sized, ""};
  // As few slices as fit, each as small as their number allows; then gradients on the chip, if they fit too.
  for (int slices = 1;; ++slices)
    for (const bool on_chip : {true, false}) {
      const TensorPlan plan = placed(needs.keeps_apart(), slices, on_chip);
      if (static_cast<std::size_t>(plan.bytes) <= shared_limit) return {plan, ""};
    }
}

namespace {

// One plan for all, or one for the members whose own plan selects members and one for the others; plan_for(trainings) has a
// plan for them, or none.
template <class PlanFor>
auto plans_of(std::span<const Training> trainings, const PlanFor& plan_for) {
  using Plans = std::vector<typename decltype(plan_for(trainings))::value_type>;
  std::vector<Training> selected, others;
  for (const Training& training : trainings) {
    const auto plan = plan_for({&training, 1});
    (plan && plan->selects() ? selected : others).push_back(training);
  }
  if (!selected.empty() && !others.empty())
    if (const auto of_others = plan_for(others)) return Plans{*plan_for(selected), *of_others};
  const auto of_all = plan_for(trainings);
  return of_all ? Plans{*of_all} : Plans{};
}

}  // namespace

std::vector<ResidentPlan> plan_resident(const MlpSpec& spec, std::span<const Training> trainings,
                                        std::size_t shared_limit, bool images) {
  return plans_of(trainings, [&](std::span<const Training> of) {
    return plan_resident(spec, of[0].batch, TrainingNeeds(spec, of, images), shared_limit).resident;
  });
}

std::vector<TensorPlan> plan_tensor(const MlpSpec& spec, std::span<const Training> trainings,
                                    std::size_t shared_limit, bool images) {
  require(!TrainingNeeds(spec, trainings).adversary,
          "precision {}: adversarial training is in fp32 alone (use precision fp32)",
          name_of(trainings[0].precision));
  return plans_of(trainings, [&](std::span<const Training> of) {
    return plan_tensor(spec, of[0].batch, TrainingNeeds(spec, of, images), shared_limit).plan;
  });
}

std::optional<EvaluationPlan> plan_evaluation(const MlpSpec& spec, std::size_t shared_limit) {
  if (spec.hidden.size() + 1 > kMaxEvaluationLayers) return std::nullopt;
  const DeviceLayout layout(spec);
  const auto stride = static_cast<std::int64_t>(padded(spec.inputs));
  for (const int slice : {128, 64, 32, 16}) {
    const std::int64_t panel = slice * stride + kReadBeyond;
    const std::int64_t activations = static_cast<std::int64_t>(slice) * layout.widest() + kReadBeyond;
    const std::int64_t floats =
        layout.stride() + spec.inputs * stride + kReadBeyond + 2 * panel + 2 * activations;
    if (floats * static_cast<std::int64_t>(sizeof(float)) > static_cast<std::int64_t>(shared_limit)) continue;
    EvaluationPlan plan{};
    plan.slice = slice;
    int used = 0;
    const auto take = [&](std::int64_t size) {
      const int at = used;
      used += static_cast<int>(size);
      return at;
    };
    plan.parameters = take(layout.stride());
    plan.begin_panels = used;
    plan.rotation = take(spec.inputs * stride + kReadBeyond);
    plan.plain = take(panel);
    plan.x = take(panel);
    for (int& at : plan.activations) at = take(activations);
    plan.end_panels = used;
    plan.bytes = used * static_cast<int>(sizeof(float));
    for (const LayerView& layer : layout.layers()) plan.layer[plan.layers++] = layer;
    return plan;
  }
  return std::nullopt;
}

}  // namespace occam::cuda
