// Plan *resident, whole batch*: one block trains one member, and all 256 samples of a batch stay on the chip, for
// which only one hidden layer has room in shared memory. The other one stays in registers, where its product left
// it: a thread owns 8 × 13 of samples and units there. Halves of it pass through the room of the batch's rows when
// others need to read it, and what the half's gradient is multiplied with is done then: the second layer's weight
// gradient grows in registers, and the first layer's gradient takes the place of its activations. The rows are fetched
// once more, from the L2 cache, for the last product.
//
// Against slices of the batch this is fewer loads for each multiply-add, because tiles are larger, half the meetings
// of the block, and no gradient that waits for the next slice.

#include "whole_batch.hpp"

#include "chip_last_layer.cuh"
#include "chip_parameters.cuh"
#include "whole_batch_products.cuh"
#include "whole_batch_rows.cuh"

namespace occam::cuda {

// ---- kernel -----------------------------------------------------------------------------------------------

// Members whose optimiser has state, or those whose has none.
template <bool has_state>
__global__ void __launch_bounds__(kResidentThreads, 1) whole_batch_kernel(ResidentArguments a) {
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0 || has_dropout(a.wave.members[id]) ||
      keeps_state(a.wave.members[id]) != has_state)
    return;
  float* const base = &shared<float>();
  const BatchRows rows{a.wave.members[id], a.wave.members[id].train_x,
                       reinterpret_cast<std::uint32_t*>(base + B::kRowNumbers),
                       reinterpret_cast<std::int32_t*>(base + B::kLabels), a.plan.inputs};
  float *const hidden = base + B::kHidden, *const spare = base + B::kSpare;
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const int units1 = a.plan.layer[0].view.out, units2 = a.plan.layer[1].view.out,
            outputs = a.plan.layer[2].view.out;
  law::EpochOrder& order = *reinterpret_cast<law::EpochOrder*>(base + B::kOrder);  // of the rows drawn next
  static_assert(sizeof order <= 4 * B::kOrderFloats);
  constexpr ChipPlace places[] = {{B::kWeight1, B::kBias1, B::kInputs, true},
                                  {B::kWeight2, B::kBias2, B::kUnits, true},
                                  {B::kWeight3, B::kBias3, B::kUnits, false}};
  const TilePosition<B> at;
  const PartPosition<1> own1(units1), own2(units2);
  const bool owns_beyond =
      a.plan.inputs > WeightGradient<B, 1, 1, 1>::kCovered && own1.exists() && own1.place == 0;

  const law::OptimizerConstants optimizer = a.wave.members[id].optimizer;  // a copy, which no store changes
  const auto step = [&](int offset, float gradient) {
    float none = 0.0f;
    law::optimizer_step<OptimizerKind::sgd, false>(optimizer, {}, gradient, base[offset], none, none);
  };

  for (int i = thread(); i < B::kBytes / 4; i += kResidentThreads) base[i] = 0.0f;
  __syncthreads();
  bring_parameters<B>(a.plan, places, trained, base);

  const std::int64_t all_rows = rows.member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, a.plan.batch);
  int batch = 0;
  rows.open(place, batch);
  if (thread() == 0) order = rows.order(place);
  __syncthreads();
  rows.copy_rows(spare, batch, 0, place.count);

  BatchTile<B> tile;
  const auto put = [&](float* panel, auto begin,
                       auto end) {  // samples from 32 · begin on; panel begins with them
    OCCAM_UNROLL
    for (int j = 0; j < B::kPerN; ++j) {
      const int unit = at.n + j * B::kColumns;
      if (unit >= B::kUnits) continue;
      OCCAM_UNROLL
      for (int i = begin; i < end; ++i)
        panel[(at.m + (i - begin) * B::kRows) * B::kUnits + unit] = tile[i][j];
    }
  };
  constexpr std::integral_constant<int, 0> kFirst;
  constexpr std::integral_constant<int, B::kPerM / 2> kMiddle;
  constexpr std::integral_constant<int, B::kPerM> kEnd;

  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace next = law::following(place, all_rows, a.plan.batch);
    const bool goes_on = update + 1 < end;
    const float inverse = 1.0f / static_cast<float>(place.count);
    copy_async_wait<0>();
    __syncthreads();  // the rows have arrived, and all have done their step
    if (next.epoch != place.epoch && thread() == 0) order = rows.order(next);
    if (optimizer.kind == OptimizerKind::adam && thread() == 0) {
      const law::AdamScale scale = law::adam_scale(optimizer, update);
      base[B::kAdam] = scale.step, base[B::kAdam + 1] = scale.root;
    }

    multiply_forward<B, B::kInputs>(spare + at.m * B::kInputs, base + B::kWeight1 + at.n * B::kInputs,
                                    base + B::kBias1 + at.n, (a.plan.inputs + kQuad - 1) / kQuad, tile);
    OCCAM_UNROLL
    for (int i = 0; i < B::kPerM; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < B::kPerN; ++j) tile[i][j] = law::activate<Activation::relu>(tile[i][j], 0.0f);
    }
    put(hidden, kFirst, kEnd);
    __syncthreads();
    multiply_forward<B, B::kUnits>(hidden + at.m * B::kUnits, base + B::kWeight2 + at.n * B::kUnits,
                                   base + B::kBias2 + at.n, units1 / kQuad, tile);
    OCCAM_UNROLL
    for (int i = 0; i < B::kPerM; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < B::kPerN; ++j) tile[i][j] = law::activate<Activation::relu>(tile[i][j], 0.0f);
    }

    WeightGradient<B, 1, 2, 2> second{};
    LastGradient<B> last;
    float bias2 = 0.0f;
    // The tile's samples of one half, h of the second layer, become dL/dz; gradients of the layers above the first.
    // when_read() comes when all have read them and the room of the rows is free.
    const auto half = [&](auto begin, auto end_of_half, const auto& when_read) {
      const int first = begin * B::kRows, left = place.count - first,
                samples = left < B::kHalf ? left : B::kHalf;
      put(spare, begin, end_of_half);
      __syncthreads();
      float* const logits = base + B::kLogits;
      loss_gradient_of_rows<B>(a.loss, spare, base + B::kWeight3, base + B::kBias3, units2, outputs,
                               rows.labels(batch) + first, samples, inverse, logits);
      last.add(spare, logits, units2, outputs, samples);
      float gradient[B::kPerM / 2][B::kPerN] = {};
      OCCAM_NO_UNROLL
      for (int c = 0; c < outputs; ++c) {
        OCCAM_UNROLL
        for (int j = 0; j < B::kPerN; ++j) {
          const float weight = base[B::kWeight3 + c * B::kUnits + at.n + j * B::kColumns];
          OCCAM_UNROLL
          for (int i = 0; i < B::kPerM / 2; ++i)
            gradient[i][j] =
                law::fma(logits[(at.m + i * B::kRows) * B::kOutputs + c], weight, gradient[i][j]);
        }
      }
      OCCAM_UNROLL
      for (int i = 0; i < B::kPerM / 2; ++i) {
        OCCAM_UNROLL
        for (int j = 0; j < B::kPerN; ++j) {
          float& h = tile[begin + i][j];
          h = law::activation_gradient<Activation::relu>(gradient[i][j], 0.0f, h, 0.0f);
        }
      }
      __syncthreads();
      put(spare, begin, end_of_half);
      __syncthreads();
      const Panel delta{spare, B::kUnits}, input{hidden + first * B::kUnits, B::kUnits};
      InputGradient below;
      below.multiply(spare + at.m * B::kUnits, base + B::kWeight2, at.n, units2);
      if (thread() < units2) bias2 = add_bias_gradient<B>(spare + thread(), samples, bias2);
      if (own2.exists()) second.add(delta.data + own2.unit, input.data, B::kUnits, samples, own2.place);
      __syncthreads();  // all have read the half's activations of the first layer, and its delta
      when_read();
      below.replace(input.row(at.m), at.n);
    };
    half(kFirst, kMiddle, [] {});
    half(kMiddle, kEnd, [&] { rows.copy_rows(spare, batch, 0, place.count); });

    if (thread() < units2 && !has_state) step(B::kBias2 + thread(), bias2);
    if (own2.exists() && !has_state)
      second.step(optimizer, base + B::kWeight2 + own2.unit * B::kUnits, B::kUnits, units1, own2.place,
                  swapped<B>(own2.unit));
    if (!has_state)
      last.each(
          units2, outputs, [&](int c, int unit, float sum) { step(B::kWeight3 + c * B::kUnits + unit, sum); },
          [&](int c, float sum) { step(B::kBias3 + c, sum); });

    // Rows of the next update take the place of those that everybody is done with.
    WeightGradient<B, 1, 1, 1> first_layer{};
    GradientPart<1> beyond{};  // of the features that it does not cover
    float bias1 = 0.0f;
    const auto add_first = [&](int first, int samples) {
      const Panel delta{hidden + first * B::kUnits, B::kUnits}, input{spare + first * B::kInputs, B::kInputs};
      if (own1.exists()) first_layer.add(delta.data + own1.unit, input.data, B::kInputs, samples, own1.place);
      if (owns_beyond) beyond.add(delta, input, samples, own1.unit / kQuad, first_layer.kCovered);
    };
    copy_async_wait<0>();
    __syncthreads();  // the rows have arrived, and the gradients stand
    if (goes_on) rows.open(order, next, batch ^ 1);
    if (thread() < units1)
      bias1 = add_bias_gradient<B>(hidden + thread(), rows.in_first_half(place.count), bias1);
    add_first(0, rows.in_first_half(place.count));
    __syncthreads();  // all have read the first half's rows
    if (goes_on) rows.copy_rows(spare, batch ^ 1, 0, rows.in_first_half(next.count));
    if (thread() < units1)
      bias1 = add_bias_gradient<B>(hidden + B::kHalf * B::kUnits + thread(), place.count - B::kHalf, bias1);
    add_first(B::kHalf, place.count - B::kHalf);
    __syncthreads();
    if (goes_on) rows.copy_rows(spare, batch ^ 1, B::kHalf, next.count);
    place = next;
    if (has_state) {
      const LayerView* const layer[] = {&a.plan.layer[0].view, &a.plan.layer[1].view, &a.plan.layer[2].view};
      const law::AdamScale adam{base[B::kAdam], base[B::kAdam + 1]};
      step_with_state<B>(a, id, adam, places, base, hidden, [&](float* to) {
        const auto put_weights = [&](const LayerView& of, int first_unit, const auto& sums, int part) {
          sums.each(of.in, part, [&](int e, int k, float sum) {
            to[of.weight + (first_unit + e) * of.in_stride + k] = sum;
          });
        };
        if (thread() < units1) to[layer[0]->bias + thread()] = bias1;
        if (thread() < units2) to[layer[1]->bias + thread()] = bias2;
        last.each(
            units2, outputs,
            [&](int c, int unit, float sum) { to[layer[2]->weight + c * layer[2]->in_stride + unit] = sum; },
            [&](int c, float sum) { to[layer[2]->bias + c] = sum; });
        if (own1.exists()) put_weights(*layer[0], own1.unit, first_layer, own1.place);
        if (own2.exists()) put_weights(*layer[1], own2.unit, second, own2.place);
        if (owns_beyond)
          beyond.each(a.plan.inputs, units1, own1.unit / kQuad, first_layer.kCovered,
                      [&](int unit, int k, float sum) {
                        to[layer[0]->weight + unit * layer[0]->in_stride + k] = sum;
                      });
      });
      continue;
    }
    if (thread() < units1) step(B::kBias1 + thread(), bias1);
    if (own1.exists())
      first_layer.step(optimizer, base + B::kWeight1 + own1.unit * B::kInputs, B::kInputs, a.plan.inputs,
                       own1.place, swapped<B>(own1.unit));
    if (owns_beyond)
      beyond.each(a.plan.inputs, units1, own1.unit / kQuad, first_layer.kCovered,
                  [&](int unit, int k, float gradient) {
                    step(B::kWeight1 + unit * B::kInputs + (swapped<B>(unit) ? k ^ 1 : k), gradient);
                  });
  }
  __syncthreads();
  return_parameters<B>(a.plan, places, base, trained);
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_whole_batch(Stream& stream, const ResidentArguments& a) {
  const NvtxRange range{"whole batch"};
  require(a.members >= 1, "whole batch: {} members", a.members);
  const auto run = [&](auto* kernel) {
    launch(stream, "whole batch", kernel, dim3(static_cast<unsigned>(a.members)), dim3(kResidentThreads),
           B::kBytes, a);
  };
  run(whole_batch_kernel<false>);
  if (a.wave.state0) run(whole_batch_kernel<true>);
}

KernelResources whole_batch_resources(bool has_state) {
  auto* const kernel = has_state ? whole_batch_kernel<true> : whole_batch_kernel<false>;
  return kernel_resources(reinterpret_cast<const void*>(kernel), "whole batch", kResidentThreads, B::kBytes);
}

}  // namespace occam::cuda
