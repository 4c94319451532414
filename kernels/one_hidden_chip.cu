// Plan *resident, one hidden layer*: one block trains one member, in slices of 128 samples. The activations of a slice stay
// where their product left them, in registers, 8 × 13 or 8 × 7 of samples and units a thread; shared memory holds a copy,
// which the logits and the last layer's gradient read, and then dL/dz. Gradients grow in registers from slice to slice, so
// shared memory has room for the rows of the next slice, which arrive meanwhile.

#include "one_hidden_chip.hpp"

#include "chip_last_layer.cuh"
#include "chip_parameters.cuh"
#include "whole_batch_products.cuh"
#include "whole_batch_rows.cuh"

namespace occam::cuda {

// Members whose optimiser has state, or those whose has none.
template <int columns, bool has_state>
__global__ void __launch_bounds__(kResidentThreads, 1) one_hidden_chip_kernel(ResidentArguments a) {
  using S = OneHiddenChip<columns>;
  static_assert(S::kBatch == BatchRows::B::kSamples && S::kInputs == BatchRows::B::kInputs);
  constexpr ChipPlace places[] = {{S::kWeight1, S::kBias1, S::kInputs, true},
                                  {S::kWeight2, S::kBias2, S::kStride, false}};
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0 || has_dropout(a.wave.members[id]) ||
      keeps_state(a.wave.members[id]) != has_state)
    return;
  float* const base = &shared<float>();
  const BatchRows rows{a.wave.members[id], a.wave.members[id].train_x,
                       reinterpret_cast<std::uint32_t*>(base + S::kRowNumbers),
                       reinterpret_cast<std::int32_t*>(base + S::kLabels), a.plan.inputs};
  float *const hidden = base + S::kHidden, *const logits = base + S::kLogits;
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const int units = a.plan.layer[0].view.out, outputs = a.plan.layer[1].view.out;
  law::EpochOrder& order = *reinterpret_cast<law::EpochOrder*>(base + S::kOrder);  // of the rows drawn next
  static_assert(sizeof order <= 4 * S::kOrderFloats);
  const TilePosition<S> at;
  using Gradient = WeightGradient<S, S::kUnits / 100, 1, 1>;
  const typename Gradient::Position own(units);
  static_assert(S::kMostInputs <= Gradient::kCovered);
  const bool has_unit = thread() < units;

  const law::OptimizerConstants optimizer = a.wave.members[id].optimizer;  // a copy, which no store changes
  const auto step = [&](int offset, float gradient) {
    float none = 0.0f;
    law::optimizer_step<OptimizerKind::sgd, false>(optimizer, {}, gradient, base[offset], none, none);
  };

  for (int i = thread(); i < S::kBytes / 4; i += kResidentThreads)
    base[i] = i >= S::kHidden && i < S::kX ? kPadding : 0.0f;
  __syncthreads();
  bring_parameters<S>(a.plan, places, trained, base);

  const std::int64_t all_rows = rows.member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, a.plan.batch);
  int batch = 0, x = 0;
  // Starts to copy the rows of a slice to the half of their room that is not `x`.
  const auto fetch = [&](int of, int first, int count) {
    const int end = count - first < S::kSlice ? count : first + S::kSlice;
    rows.copy_rows(base + S::kX + ((x ^ 1) * S::kSlice - first) * S::kInputs, of, first, end);
  };
  rows.open(place, batch);
  if (thread() == 0) order = rows.order(place);
  __syncthreads();
  fetch(batch, 0, place.count);

  BatchTile<S> tile;
  const auto put = [&] {
    OCCAM_UNROLL
    for (int j = 0; j < S::kPerN; ++j) {
      const int unit = at.n + j * S::kColumns;
      if (unit >= units) continue;  // there the padding stays
      OCCAM_UNROLL
      for (int i = 0; i < S::kPerM; ++i) hidden[(at.m + i * S::kRows) * S::kStride + unit] = tile[i][j];
    }
  };

  // By way of the room of the activations.
  const auto step_all = [&](const Gradient& gradient, float bias1, const LastGradient<S>& last) {
    const LayerView &first = a.plan.layer[0].view, &second = a.plan.layer[1].view;
    const law::AdamScale adam{base[S::kAdam], base[S::kAdam + 1]};
    step_with_state<S>(a, id, adam, places, base, hidden, [&](float* to) {
      if (has_unit) to[first.bias + thread()] = bias1;
      last.each(
          units, outputs,
          [&](int c, int unit, float sum) { to[second.weight + c * second.in_stride + unit] = sum; },
          [&](int c, float sum) { to[second.bias + c] = sum; });
      if (own.exists())
        gradient.each(a.plan.inputs, own.place, [&](int e, int k, float sum) {
          if (own.unit + e < units) to[first.weight + (own.unit + e) * first.in_stride + k] = sum;
        });
    });
    if (units % kQuad == 0) return;
    __syncthreads();  // nobody reads gradients any more, which took the place of the padding, too
    for (int s = thread(); s < S::kSlice; s += kResidentThreads)
      for (int unit = units; unit % kQuad != 0; ++unit) hidden[s * S::kStride + unit] = kPadding;
  };

  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace next = law::following(place, all_rows, a.plan.batch);
    const bool goes_on = update + 1 < end;
    const float inverse = 1.0f / static_cast<float>(place.count);
    Gradient gradient{};
    LastGradient<S> last;
    float bias1 = 0.0f;
    OCCAM_NO_UNROLL
    for (int first = 0; first < place.count; first += S::kSlice) {
      const int left = place.count - first, samples = left < S::kSlice ? left : S::kSlice;
      x ^= 1;
      const float* const input = base + S::kX + x * S::kSlice * S::kInputs;
      copy_async_wait<0>();
      __syncthreads();  // the rows have arrived, and all are done with the slice before, or did their step
      if (first == 0 && next.epoch != place.epoch && thread() == 0) order = rows.order(next);
      if (first == 0 && optimizer.kind == OptimizerKind::adam && thread() == 0) {
        const law::AdamScale scale = law::adam_scale(optimizer, update);
        base[S::kAdam] = scale.step, base[S::kAdam + 1] = scale.root;
      }

      multiply_forward<S, S::kInputs>(input + at.m * S::kInputs, base + S::kWeight1 + at.n * S::kInputs,
                                      base + S::kBias1 + at.n, (a.plan.inputs + kQuad - 1) / kQuad, tile);
      OCCAM_UNROLL
      for (int i = 0; i < S::kPerM; ++i) {
        OCCAM_UNROLL
        for (int j = 0; j < S::kPerN; ++j) tile[i][j] = law::activate<Activation::relu>(tile[i][j], 0.0f);
      }
      put();
      __syncthreads();
      if (first == 0 && goes_on) rows.open(order, next, batch ^ 1);
      loss_gradient_of_rows<S>(a.loss, hidden, base + S::kWeight2, base + S::kBias2, units, outputs,
                               rows.labels(batch) + first, samples, inverse, logits);
      if (left > S::kSlice)
        fetch(batch, first + S::kSlice, place.count);
      else if (goes_on)
        fetch(batch ^ 1, 0, next.count);

      last.add(hidden, logits, units, outputs, samples);
      // dL/dz in place of the activations.
      float of[S::kPerM][S::kOutputs];
      OCCAM_UNROLL
      for (int i = 0; i < S::kPerM; ++i) {
        const float2 both = *reinterpret_cast<const float2*>(logits + (at.m + i * S::kRows) * S::kOutputs);
        of[i][0] = both.x, of[i][1] = both.y;
      }
      OCCAM_UNROLL
      for (int j = 0; j < S::kPerN; ++j) {
        const float* const weight = base + S::kWeight2 + at.n + j * S::kColumns;
        OCCAM_UNROLL
        for (int i = 0; i < S::kPerM; ++i) {
          float sum = law::fma(of[i][0], weight[0], 0.0f);
          if (outputs > 1) sum = law::fma(of[i][1], weight[S::kStride], sum);
          float& h = tile[i][j];
          h = law::activation_gradient<Activation::relu>(sum, 0.0f, h, 0.0f);
        }
      }
      __syncthreads();  // all have read the activations
      put();
      __syncthreads();
      if (has_unit) bias1 = add_bias_gradient<S>(hidden + thread(), samples, bias1);
      if (own.exists()) gradient.add(hidden + own.unit, input, S::kInputs, samples, own.place);
    }

    place = next;
    if (has_state) {
      step_all(gradient, bias1, last);
      continue;
    }
    if (has_unit) step(S::kBias1 + thread(), bias1);
    last.each(
        units, outputs, [&](int c, int unit, float sum) { step(S::kWeight2 + c * S::kStride + unit, sum); },
        [&](int c, float sum) { step(S::kBias2 + c, sum); });
    if (own.exists())
      gradient.step(optimizer, base + S::kWeight1 + own.unit * S::kInputs, S::kInputs, a.plan.inputs,
                    own.place, swapped<S>(own.unit));
  }
  __syncthreads();
  return_parameters<S>(a.plan, places, base, trained);
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_one_hidden_chip(Stream& stream, const ResidentArguments& a) {
  const NvtxRange range{"one hidden layer on the chip"};
  require(a.members >= 1, "one hidden layer on the chip: {} members", a.members);
  with_one_hidden_chip(a.plan.layer[0].view.out, [&](auto sizes) {
    using S = decltype(sizes);
    const auto run = [&](auto* kernel) {
      launch(stream, "one hidden layer on the chip", kernel, dim3(static_cast<unsigned>(a.members)),
             dim3(kResidentThreads), S::kBytes, a);
    };
    run(one_hidden_chip_kernel<S::kPerN, false>);
    if (a.wave.state0) run(one_hidden_chip_kernel<S::kPerN, true>);
  });
}

KernelResources one_hidden_chip_resources(const ResidentPlan& plan, bool has_state) {
  return with_one_hidden_chip(plan.layer[0].view.out, [&](auto sizes) {
    using S = decltype(sizes);
    auto* const kernel =
        has_state ? one_hidden_chip_kernel<S::kPerN, true> : one_hidden_chip_kernel<S::kPerN, false>;
    return kernel_resources(reinterpret_cast<const void*>(kernel), "one hidden layer on the chip",
                            kResidentThreads, S::kBytes);
  });
}

}  // namespace occam::cuda
