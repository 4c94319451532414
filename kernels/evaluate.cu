// Scoring in one launch: a block takes one member's parameters and rotation on the chip, then slice by slice
// makes the rows (or reads those that training left), carries them through the network and writes what is
// counted of each: loss, predicted class, score keys. No row and no activation reaches device memory.

#include "evaluate.hpp"

#include "law/activation.hpp"
#include "law/batch_norm.hpp"
#include "law/loss.hpp"
#include "law/slab.hpp"
#include "resident_product.cuh"
#include "score_key.cuh"

namespace occam::cuda {

// ---- building blocks --------------------------------------------------------------------------------------

// Rows first … first + samples − 1 of the split, before the rotation. A warp writes a row's coordinates; a
// thread keeps its coordinate's constants.
__device__ __forceinline__ void make_rows(const EvaluationArguments& a, const Member& member, int slot,
                                          std::int64_t first, int samples, Panel to) {
  constexpr int kWarpSize = 32;
  const SplitRows& rows = a.rows;
  const int split = static_cast<int>(rows.split), stride = padded(rows.inputs);
  const std::int64_t place = slot * rows.pitch;
  for (int c = thread() % kWarpSize; c < rows.inputs; c += kWarpSize) {
    const bool from_donor = rows.donors && rows.randomized[c] != 0;
    for (int s = thread() / kWarpSize; s < samples; s += kResidentThreads / kWarpSize) {
      const std::int64_t source = from_donor ? rows.donors[place + first + s] : first + s;
      const std::int64_t among_all = member.first[split] + source;
      to.row(s)[c] = member.columns
                         ? law::slab_value(member.columns[c], static_cast<std::uint32_t>(c), member.data_seed,
                                           static_cast<std::uint32_t>(among_all), rows.labels[place + source])
                         : member.table_x[among_all * stride + c];
    }
  }
}

// What follows a hidden layer's product.
__device__ __forceinline__ void finish_layer(const LayerView& view, const float* parameters, int samples,
                                             Panel h) {
  const float slope = view.activation == Activation::prelu ? parameters[view.slope] : 0.0f;
  for (int item = thread(); item < samples * view.out; item += kResidentThreads) {
    const int unit = item % view.out;
    float& value = h.row(item / view.out)[unit];
    float result = value;
    if (view.activation == Activation::tanh) result = law::activate<Activation::tanh>(result, 0.0f);
    if (view.activation == Activation::prelu) result = law::activate<Activation::prelu>(result, slope);
    if (view.gamma >= 0)
      result = law::batch_norm(result, parameters[view.running_mean + unit],
                               law::inverse_deviation(parameters[view.running_variance + unit]),
                               parameters[view.gamma + unit], parameters[view.beta + unit]);
    value = result;
  }
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <int slice>
__global__ void __launch_bounds__(kResidentThreads, 1) evaluate_kernel(EvaluationArguments a) {
  const int slot = static_cast<int>(blockIdx.y), id = a.rows.slots.member_of(slot);
  const Member& member = a.wave.members[id];
  const EvaluationPlan& plan = a.plan;
  const int split = static_cast<int>(a.rows.split), inputs = a.rows.inputs, stride = padded(inputs);
  const std::int64_t rows = member.rows[split];
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * a.rows_of_block;
  if (begin >= rows) return;
  const std::int64_t end = begin + a.rows_of_block < rows ? begin + a.rows_of_block : rows;

  float* const base = &shared<float>();
  float* const parameters = base + plan.parameters;
  const float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  for (int i = thread(); i < static_cast<int>(a.wave.parameter_stride); i += kResidentThreads)
    parameters[i] = trained[i];
  // Padding stays −0; rows that no slice has reached yet are numbers.
  for (int i = plan.begin_panels + thread(); i < plan.end_panels; i += kResidentThreads) base[i] = kPadding;
  __syncthreads();
  if (member.rotation)
    for (int item = thread(); item < inputs * inputs; item += kResidentThreads)
      base[plan.rotation + item / inputs * stride + item % inputs] =
          member.rotation[item / inputs * stride + item % inputs];

  const bool trained_rows = a.rows.split == Split::train && !a.rows.donors && member.train_x;
  const bool rotates = member.rotation && !trained_rows;
  const Panel x{base + plan.x, stride}, made{base + (rotates ? plan.plain : plan.x), stride};
  for (std::int64_t first = begin; first < end; first += slice) {
    const int samples = first + slice < end ? slice : static_cast<int>(end - first);
    if (trained_rows) {
      const float* const from = member.train_x + first * stride;
      const int quads = inputs / kQuad, behind = inputs % kQuad;
      for (int item = thread(); item < samples * quads; item += kResidentThreads) {
        const int at = item / quads * stride + item % quads * kQuad;
        copy_async<16>(x.data + at, from + at);
      }
      for (int item = thread(); item < samples * behind; item += kResidentThreads) {
        const int at = item / behind * stride + quads * kQuad + item % behind;
        copy_async<4>(x.data + at, from + at);
      }
      copy_async_commit();
      copy_async_wait<0>();
    } else {
      make_rows(a, member, slot, first, samples, made);
    }
    __syncthreads();
    if (rotates) {  // x[s][j] = Σ_k plain[s][k] · rotation[k][j]
      input_gradient_product<slice>(made, Panel{base + plan.rotation, stride}, inputs, inputs,
                                    [&](int s, int j, float value) { x.row(s)[j] = value; });
      __syncthreads();
    }
    for (int l = 0; l < plan.layers; ++l) {
      const LayerView& view = plan.layer[l];
      const Panel input{base + (l == 0 ? plan.x : plan.activations[(l - 1) % 2]), view.in_stride};
      const Panel output{base + plan.activations[l % 2], view.out_stride};
      const bool relu = view.hidden && view.activation == Activation::relu;
      const bool leaky = view.hidden && view.activation == Activation::leaky_relu;
      // Panels change their stride from layer to layer, so the padding of the last quad moves.
      for (int s = thread(); s < samples; s += kResidentThreads)
        for (int unit = view.out; unit % kQuad != 0; ++unit) output.row(s)[unit] = kPadding;
      forward_layer_product<slice>(input, Panel{parameters + view.weight, view.in_stride},
                                   parameters + view.bias, samples, view.in, view.out,
                                   [&](int s, int unit, float z) {
                                     if (relu) z = law::activate<Activation::relu>(z, 0.0f);
                                     if (leaky) z = law::activate<Activation::leaky_relu>(z, 0.0f);
                                     output.row(s)[unit] = z;
                                   });
      __syncthreads();
      const bool unfinished =
          view.activation == Activation::tanh || view.activation == Activation::prelu || view.gamma >= 0;
      if (view.hidden && unfinished) {
        finish_layer(view, parameters, samples, output);
        __syncthreads();
      }
    }
    const LayerView& last = plan.layer[plan.layers - 1];
    const Panel scored{base + plan.activations[(plan.layers - 1) % 2], last.out_stride};
    const int outputs = last.out;
    for (int s = thread(); s < samples; s += kResidentThreads) {
      const std::int64_t at = slot * a.rows.pitch + first + s;
      const float* logits = scored.row(s);
      a.predicted[at] = law::predicted_class(logits, outputs);
      if (!a.losses) continue;
      a.losses[at] = law::sample_loss(a.loss, logits, outputs, a.targets[at]);
      if (a.keys)
        write_keys(logits, outputs, a.lists, a.targets[at],
                   a.keys + static_cast<std::int64_t>(slot) * a.lists * a.rows.pitch + first + s,
                   a.rows.pitch, a.sums + slot * a.lists);
    }
  }
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <int slice>
void launch_slices(Stream& stream, const EvaluationArguments& a) {
  require(a.rows_of_block >= slice && a.rows_of_block % slice == 0,
          "evaluation: {} rows a block, in slices of {}", a.rows_of_block, slice);
  const dim3 grid(static_cast<unsigned>((a.rows.pitch + a.rows_of_block - 1) / a.rows_of_block),
                  static_cast<unsigned>(a.rows.slots.count));
  launch(stream, "evaluate", evaluate_kernel<slice>, grid, dim3(kResidentThreads),
         static_cast<std::size_t>(a.plan.bytes), a);
}

}  // namespace

void launch_evaluation(Stream& stream, const EvaluationArguments& a) {
  const NvtxRange range{"evaluation"};
  require(
      a.plan.layers >= 1 && a.plan.layers <= kMaxEvaluationLayers && a.predicted && (!a.losses || a.targets),
      "evaluation: {} layers (1 to {}), or no place for the results", a.plan.layers, kMaxEvaluationLayers);
  switch (a.plan.slice) {
    case 16: return launch_slices<16>(stream, a);
    case 32: return launch_slices<32>(stream, a);
    case 64: return launch_slices<64>(stream, a);
    case 128: return launch_slices<128>(stream, a);
    default: fail(ErrorKind::device, "evaluation: slices of {} rows; give 16, 32, 64 or 128", a.plan.slice);
  }
}

}  // namespace occam::cuda
