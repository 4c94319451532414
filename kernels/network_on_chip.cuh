// Rows pass through a network in inference mode and back to themselves. A warp has some rows of the slice to itself and
// takes them through all layers without meeting another one; the parameters are the block's, and stay as they are.
#pragma once

#include <iterator>

#include "law/activation.hpp"
#include "law/batch_norm.hpp"
#include "network_on_chip.hpp"
#include "warp_rows.cuh"

namespace occam::cuda {

// `rows`: of a warp.
template <int rows>
struct WarpNetwork {
  const NetworkOnChip& plan;
  float* const base;

  __device__ __forceinline__ float* parameters() const { return base + plan.parameters; }
  // The warp's rows of a panel.
  __device__ __forceinline__ Panel panel(int offset, int stride) const {
    return {base + offset + thread() / law::kLanes * rows * stride, stride};
  }
  __device__ __forceinline__ Panel kept(int l) const {
    return panel(plan.layer[l].kept, plan.layer[l].stride);
  }
  __device__ __forceinline__ Panel output(int l) const {
    return panel(plan.layer[l].output, plan.layer[l].stride);
  }
  __device__ __forceinline__ Panel moved() const { return panel(plan.moved, plan.moved_stride); }
  // What layer l reads. A choice between offsets: between pointers the compiler would forget that they are of
  // shared memory.
  __device__ __forceinline__ Panel input(int l) const {
    return panel(l == 0 ? plan.moved : plan.layer[l - 1].output,
                 l == 0 ? plan.moved_stride : plan.layer[l - 1].stride);
  }
  __device__ __forceinline__ Panel logits() const { return kept(plan.layers - 1); }
  __device__ __forceinline__ Panel logit_gradient() const {
    return panel(plan.logit_gradient, padded(plan.layer[plan.layers - 1].view.out));
  }
  // dL/dz of layer l.
  __device__ __forceinline__ Panel delta(int l) const {
    const bool last = l == plan.layers - 1;
    return panel(last ? plan.logit_gradient : plan.layer[l].kept,
                 last ? padded(plan.layer[l].view.out) : plan.layer[l].stride);
  }
  __device__ __forceinline__ Panel weight(int l) const {
    return {parameters() + plan.layer[l].view.weight, plan.layer[l].view.in_stride};
  }

  // Brings the member's parameters; weights of hidden layers as products want them, running variances become inverse
  // deviations. Panels are numbers afterwards, and their padding is −0. By the whole block; ends with a barrier.
  __device__ __forceinline__ void open(const WaveView& wave, int member) const {
    const float* const trained = wave.parameters + member * wave.parameter_stride;
    for (int i = kQuad * thread(); i < static_cast<int>(wave.parameter_stride); i += kQuad * kChipThreads)
      *reinterpret_cast<float4*>(parameters() + i) = *reinterpret_cast<const float4*>(trained + i);
    for (int i = plan.begin_panels + thread(); i < plan.end_panels; i += kChipThreads) base[i] = kPadding;
    __syncthreads();
    for (int l = 0; l < plan.layers; ++l) {
      const LayerView& view = plan.layer[l].view;
      if (!view.hidden) continue;
      const int quads = view.in_stride / kQuad;
      for (int i = thread(); i < view.out * quads; i += kChipThreads) {
        float4& quad = *reinterpret_cast<float4*>(weight(l).data + kQuad * i);
        if (swaps_pairs(i / quads)) quad = make_float4(quad.y, quad.x, quad.w, quad.z);
      }
      if (view.gamma < 0) continue;
      for (int unit = thread(); unit < view.out; unit += kChipThreads) {
        float& variance = parameters()[view.running_variance + unit];
        variance = law::inverse_deviation(variance);
      }
    }
    __syncthreads();
  }

  // Logits of the rows in `moved`.
  __device__ __forceinline__ void forward() const {
    for (int l = 0; l < plan.layers; ++l) {
      const LayerView& view = plan.layer[l].view;
      const Panel to = kept(l);
      const float* const bias = parameters() + view.bias;
      if (!view.hidden) {
        multiply_forward_few<rows>(input(l), weight(l), bias, view.in, view.out,
                                   [&](int s, int unit, float z) { to.row(s)[unit] = z; });
        return;
      }
      const auto store = [&](const auto& sum, int first, const auto& activate) {
        constexpr int last = static_cast<int>(std::extent_v<std::remove_reference_t<decltype(sum[0])>>) - 1;
        const int left = view.out - first - lane_feature();
        const auto put = [&](auto all_but_last) {
          OCCAM_UNROLL
          for (int i = 0; i < rows / kRowGroups; ++i) {
            float* const from = to.row(lane_row() + i * kRowGroups) + first + lane_feature();
            OCCAM_UNROLL
            for (int j = 0; j <= last; ++j)
              if ((all_but_last && j < last) || j * kAcross < left) from[j * kAcross] = activate(sum[i][j]);
          }
        };
        if (first + last * kAcross <= view.out)
          put(std::true_type{});
        else
          put(std::false_type{});
      };
      multiply_forward<rows>(input(l), weight(l), bias, view.in, view.out, [&](const auto& sum, int first) {
        const bool leaky = view.activation == Activation::leaky_relu;
        if (view.activation == Activation::relu)
          store(sum, first, [](float z) { return law::activate<Activation::relu>(z, 0.0f); });
        else
          store(sum, first,
                [&](float z) { return leaky ? law::activate<Activation::leaky_relu>(z, 0.0f) : z; });
      });
      // The first layer's rows may have stood where the activations stand.
      for (int unit = view.out; unit % kQuad != 0; ++unit)
        for (int s = lane(); s < rows; s += law::kLanes) to.row(s)[unit] = kPadding;
      __syncwarp();
      finish_activations(l);
    }
  }

  // dL/dx into `moved`, from dL/dlogits.
  __device__ __forceinline__ void backward() const {
    for (int l = plan.layers - 1; l >= 0; --l) {
      const bool apart = l > 0 && has_apart(plan.layer[l - 1].view);
      gradient_product(l, l > 0 && !apart ? plan.layer[l - 1].view.activation : Activation::identity);
      if (apart) finish_gradients(l - 1);
    }
  }

 private:
  // Whether the next layer reads something else than the activation's derivative does.
  static __device__ __forceinline__ bool has_apart(const LayerView& view) {
    return view.gamma >= 0 || view.activation == Activation::prelu;
  }
  static __device__ __forceinline__ float through(Activation activation, float gradient, float h) {
    if (activation == Activation::relu)
      return law::activation_gradient<Activation::relu>(gradient, 0.0f, h, 0.0f);
    if (activation == Activation::leaky_relu)
      return law::activation_gradient<Activation::leaky_relu>(gradient, 0.0f, h, 0.0f);
    if (activation == Activation::tanh)
      return law::activation_gradient<Activation::tanh>(gradient, 0.0f, h, 0.0f);
    return gradient;
  }

  // f(row, unit) for each of `units` units of each of the warp's rows.
  template <class F>
  static __device__ __forceinline__ void for_units(int units, const F& f) {
    for (int s = 0; s < rows; ++s)
      for (int unit = lane(); unit < units; unit += law::kLanes) f(s, unit);
    __syncwarp();
  }

  // What is too long to stand behind the product.
  __device__ __forceinline__ void finish_activations(int l) const {
    const LayerView& view = plan.layer[l].view;
    const bool prelu = view.activation == Activation::prelu, tanh = view.activation == Activation::tanh;
    if (!tanh && !has_apart(view)) return;
    const Panel z = kept(l), next = output(l);
    const float* const p = parameters();
    const float slope = prelu ? p[view.slope] : 0.0f;
    for_units(view.out, [&](int s, int unit) {
      float h = z.row(s)[unit];
      if (tanh) z.row(s)[unit] = h = law::activate<Activation::tanh>(h, 0.0f);
      if (prelu) h = law::activate<Activation::prelu>(h, slope);
      if (view.gamma >= 0)  // of the running variance the inverse deviation is left
        h = law::batch_norm(h, p[view.running_mean + unit], p[view.running_variance + unit],
                            p[view.gamma + unit], p[view.beta + unit]);
      if (has_apart(view)) next.row(s)[unit] = h;
    });
  }

  // dL/dz of layer l in `kept` from the gradient of what the next layer reads, in `output`.
  __device__ __forceinline__ void finish_gradients(int l) const {
    const LayerView& view = plan.layer[l].view;
    const Panel kept_rows = kept(l), of = output(l);
    const float* const p = parameters();
    const bool prelu = view.activation == Activation::prelu;
    const float slope = prelu ? p[view.slope] : 0.0f;
    for_units(view.out, [&](int s, int unit) {
      float gradient = of.row(s)[unit], &z = kept_rows.row(s)[unit];
      if (view.gamma >= 0)
        gradient = law::batch_norm_inference_gradient(gradient, p[view.gamma + unit],
                                                      p[view.running_variance + unit]);
      z = prelu ? law::activation_gradient<Activation::prelu>(gradient, z, 0.0f, slope)
                : through(view.activation, gradient, z);
    });
  }

  // The gradients of what layer l reads: they take the place of `moved`, or of the activations below, through which they
  // go back; or that of what stands apart from these, as they are.
  __device__ __forceinline__ void gradient_product(int l, Activation back) const {
    const LayerView& view = plan.layer[l].view;
    const Panel to = input(l);
    const auto put = [&](int s, int k, float a, float b, float c, float d, const auto& replace) {
      float4& place = *reinterpret_cast<float4*>(to.row(s) + k);
      const float4 h = place;
      place = make_float4(replace(a, h.x), replace(b, h.y), replace(c, h.z), replace(d, h.w));
    };
    const auto any = [&](float gradient, float h) { return through(back, gradient, h); };
    const auto relu = [](float gradient, float h) {
      return law::activation_gradient<Activation::relu>(gradient, 0.0f, h, 0.0f);
    };
    if (!view.hidden) {
      multiply_backward_few<rows>(delta(l), weight(l), view.in, view.out, [&](int s, int k, const auto& sum) {
        const auto put_all = [&](const auto& replace) {
          OCCAM_UNROLL
          for (int i = 0; i < static_cast<int>(std::size(sum)); ++i)
            put(s + i, k, sum[i][0], sum[i][1], sum[i][2], sum[i][3], replace);
        };
        if (back == Activation::relu)
          put_all(relu);
        else
          put_all(any);
      });
      return;
    }
    multiply_backward<rows>(delta(l), weight(l), view.in, view.out, [&](const auto& sum, int first) {
      const auto put_all = [&](const auto& replace) {
        OCCAM_UNROLL
        for (int q = 0; q < static_cast<int>(std::size(sum[0])); q += kQuad) {
          const int k = first + kQuad * lane_feature() + q * kAcross;
          if (k >= view.in) continue;
          OCCAM_UNROLL
          for (int i = 0; i < rows / kRowGroups; ++i)
            put(lane_row() + i * kRowGroups, k, sum[i][q], sum[i][q + 1], sum[i][q + 2], sum[i][q + 3],
                replace);
        }
      };
      if (back == Activation::relu)
        put_all(relu);
      else
        put_all(any);
    });
  }
};

}  // namespace occam::cuda
