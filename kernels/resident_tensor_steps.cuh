// The steps of an update of plan *resident* on tensor cores, each by all threads of a member's block.
#pragma once

#include "lanes.cuh"
#include "law/activation.hpp"
#include "law/batch.hpp"
#include "law/loss.hpp"
#include "optimizer.cuh"
#include "resident_tensor_product.cuh"

namespace occam::cuda {

__device__ __forceinline__ int tensor_thread() { return static_cast<int>(threadIdx.x); }

// What one block works with.
struct TensorMember {
  const TensorPlan& plan;
  const Member member;  // a copy: what a store might change would be read anew after each
  char* const base;
  float* const gradients;

  template <class T>
  __device__ __forceinline__ T* at(int offset) const {
    return reinterpret_cast<T*>(base + offset);
  }
  __device__ __forceinline__ std::uint32_t* rows(int which) const {
    return at<std::uint32_t>(plan.rows) + which * plan.batch;
  }
  __device__ __forceinline__ std::int32_t* labels(int which) const {
    return at<std::int32_t>(plan.labels) + which * plan.batch;
  }
  __device__ __forceinline__ OperandPanel x(int which) const { return {base + plan.x[which], plan.x_bytes}; }
  __device__ __forceinline__ OperandPanel kept(const TensorLayer& layer) const {
    return {base + layer.kept, layer.output_bytes};
  }
  __device__ __forceinline__ OperandPanel output(const TensorLayer& layer) const {
    return {base + layer.output, layer.output_bytes};
  }
  __device__ __forceinline__ OperandPanel weight(const TensorLayer& layer) const {
    return {base + layer.weight, layer.weight_bytes};
  }
  __device__ __forceinline__ float* bias(const TensorLayer& layer) const { return at<float>(layer.bias); }
  __device__ __forceinline__ float& slope(const TensorLayer& layer) const {
    return bias(layer)[(layer.view.out + 7) / 8 * 8];
  }

  // Draws the rows of the batch at `place` and fetches their labels.
  __device__ __forceinline__ void open(const law::BatchPlace& place, int which) const {
    const std::int64_t all = member.rows[static_cast<int>(Split::train)];
    const law::EpochOrder order = law::epoch_order(member.order_seed, member.in_order, place.epoch, all);
    for (int sample = tensor_thread(); sample < place.count; sample += kTensorThreads) {
      const std::uint32_t row =
          order(static_cast<std::uint32_t>(place.first) + static_cast<std::uint32_t>(sample));
      rows(which)[sample] = row;
      labels(which)[sample] = member.train_y[row];
    }
  }
};

// A slice of an update.
struct TensorSlice {
  std::int64_t update;
  int batch;           // which of the two batches
  int first, samples;  // of the batch
  int x;               // which of the two slices of rows
};

// v ← v · dropout factor, of the quad of features `quad` of the slice's sample.
__device__ __forceinline__ void drop_quad(const TensorMember& t, law::Dropout dropout, int layer,
                                          const TensorSlice& now, int sample, int quad, float (&v)[kQuad]) {
  const Philox words = law::dropout_draws(
      t.member.order_seed, static_cast<std::uint32_t>(quad), static_cast<std::uint32_t>(now.first + sample),
      static_cast<std::uint32_t>(layer), static_cast<std::uint32_t>(now.update));
  OCCAM_UNROLL
  for (int e = 0; e < kQuad; ++e) v[e] *= law::dropout_factor(dropout, words.word[e]);
}

// A quad of a row as it becomes an operand; features beyond the last stay zeros.
template <class P>
__device__ __forceinline__ void put_row_quad(const TensorMember& t, const TensorSlice& of, int sample,
                                             int quad, float (&v)[kQuad]) {
  if (t.member.input_dropout.threshold > 0) drop_quad(t, t.member.input_dropout, 0, of, sample, quad, v);
  P::put_quad(t.x(of.x).row(sample), kQuad * quad, v);
}

// Starts to fetch a slice's rows; samples beyond the last become zeros. TF32's are copied asynchronously and
// rounded by land_rows; BF16's are rounded on the way.
template <class P>
__device__ __forceinline__ void fetch_rows(const TensorMember& t, const TensorSlice& of) {
  const int quads = (t.plan.inputs + kQuad - 1) / kQuad, stride = padded(t.plan.inputs);
  const std::uint32_t* row = t.rows(of.batch) + of.first;
  const auto source = [&, train_x = t.member.train_x](int sample, int quad) {
    return train_x + static_cast<std::int64_t>(row[sample]) * stride + kQuad * quad;
  };
  if constexpr (P::kCopiesAsync) {
    for (int item = tensor_thread(); item < t.plan.slice * quads; item += kTensorThreads) {
      const int sample = item / quads, quad = item % quads;
      char* to = t.x(of.x).row(sample) + quad * kChunkBytes;
      if (sample < of.samples) {
        copy_async<16>(to, source(sample, quad));
      } else {
        *reinterpret_cast<float4*>(to) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      }
    }
    copy_async_commit();
  } else {
    constexpr int kAtOnce = 4;  // loads on their way
    OCCAM_NO_UNROLL
    for (int first = tensor_thread(); first < t.plan.slice * quads; first += kAtOnce * kTensorThreads) {
      float v[kAtOnce][kQuad] = {};
      OCCAM_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        const int item = first + i * kTensorThreads;
        if (item / quads < of.samples) read_steps(source(item / quads, item % quads), v[i]);
      }
      OCCAM_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        const int item = first + i * kTensorThreads;
        if (item < t.plan.slice * quads) put_row_quad<P>(t, of, item / quads, item % quads, v[i]);
      }
    }
  }
}

// Every thread finishes the rows that it fetched. A barrier must follow.
template <class P>
__device__ __forceinline__ void land_rows(const TensorMember& t, const TensorSlice& now) {
  if constexpr (!P::kCopiesAsync) return;
  copy_async_wait<0>();
  const int quads = (t.plan.inputs + kQuad - 1) / kQuad;
  for (int item = tensor_thread(); item < now.samples * quads; item += kTensorThreads) {
    const int sample = item / quads, quad = item % quads;
    float v[kQuad];
    read_steps(reinterpret_cast<const float*>(t.x(now.x).row(sample)) + kQuad * quad, v);
    put_row_quad<P>(t, now, sample, quad, v);
  }
}

// A pair of features of a panel's row; the second may be beyond the last and is a zero then.
template <class P>
__device__ __forceinline__ void put_features(OperandPanel panel, int sample, int unit, int units, bool exists,
                                             float first, float second) {
  P::put_pair(panel.row(sample), unit, exists ? first : 0.0f, exists && unit + 1 < units ? second : 0.0f);
}

__device__ __forceinline__ float activated(Activation activation, float z, float slope) {
  return law::with_activation(activation,
                              [&](auto kind) { return law::activate<decltype(kind)::value>(z, slope); });
}

// The factors of a pair of features.
__device__ __forceinline__ float2 dropout_pair(const TensorMember& t, int layer, const TensorSlice& now,
                                               int sample, int unit) {
  float v[kQuad] = {1.0f, 1.0f, 1.0f, 1.0f};
  drop_quad(t, t.member.hidden_dropout, layer, now, sample, unit / kQuad, v);
  return unit % kQuad == 0 ? make_float2(v[0], v[1]) : make_float2(v[2], v[3]);
}

// Activations of layer l from `input`; logits if it is the last one. Ends with a barrier.
template <class P>
__device__ __forceinline__ void forward_layer_tensor(const TensorMember& t, const TensorSlice& now, int l,
                                                     OperandPanel input) {
  const TensorLayer& layer = t.plan.layer[l];
  const LayerView& view = layer.view;
  const OperandPanel kept = t.kept(layer), output = t.output(layer);
  const bool apart = layer.output != layer.kept, drops = t.member.hidden_dropout.threshold > 0;
  const bool relu = view.activation == Activation::relu, leaky = view.activation == Activation::leaky_relu;
  const bool is_long = drops || view.activation == Activation::prelu || view.activation == Activation::tanh;
  const auto brief = [&](int sample, int unit, float a, float b) {
    if (unit >= view.out) return;
    if (relu) a = law::activate<Activation::relu>(a, 0.0f), b = law::activate<Activation::relu>(b, 0.0f);
    if (leaky)
      a = law::activate<Activation::leaky_relu>(a, 0.0f), b = law::activate<Activation::leaky_relu>(b, 0.0f);
    put_features<P>(kept, sample, unit, view.out, sample < now.samples, a, b);
    if (apart) put_features<P>(output, sample, unit, view.out, sample < now.samples, a, b);
  };
  const auto whole = [&](int sample, int unit, float a, float b) {
    if (unit >= view.out) return;
    const bool exists = sample < now.samples, prelu = view.activation == Activation::prelu;
    const float slope = prelu ? t.slope(layer) : 0.0f;
    const float h = activated(view.activation, a, slope), g = activated(view.activation, b, slope);
    put_features<P>(kept, sample, unit, view.out, exists, prelu ? a : h, prelu ? b : g);
    if (!apart) return;
    float2 factor = make_float2(1.0f, 1.0f);
    if (drops) factor = dropout_pair(t, l + 1, now, sample, unit);
    put_features<P>(output, sample, unit, view.out, exists, h * factor.x, g * factor.y);
  };
  const auto logits = [&](int sample, int unit, float a, float b) {
    float* at = t.at<float>(t.plan.logits) + sample * view.out;
    if (unit < view.out) at[unit] = a;
    if (unit + 1 < view.out) at[unit + 1] = b;
  };
  forward_tensor<P>(layer.forward, input, t.weight(layer), t.bias(layer), t.plan.slice, view.in, view.out,
                    [&](const auto& sums) {
                      if (!view.hidden) return sums.each_pair(logits);
                      if (is_long) return sums.each_pair_looped(whole);
                      sums.each_pair(brief);
                    });
  __syncthreads();
}

// The last layer's output ← dL/dlogits of the mean loss over `count` samples. Ends with a barrier.
template <class P>
__device__ __forceinline__ void loss_gradient_tensor(const TensorMember& t, const TensorSlice& now, Loss loss,
                                                     int count) {
  const TensorLayer& layer = t.plan.layer[t.plan.layers - 1];
  const int outputs = layer.view.out;
  const float inverse = 1.0f / static_cast<float>(count);
  for (int sample = tensor_thread(); sample < t.plan.slice; sample += kTensorThreads) {
    float* logits = t.at<float>(t.plan.logits) + sample * outputs;
    const bool exists = sample < now.samples;
    if (exists)
      law::sample_loss_gradient(loss, logits, outputs, t.labels(now.batch)[now.first + sample], inverse,
                                logits);
    for (int c = 0; c < outputs; ++c) P::put(t.output(layer).row(sample), c, exists ? logits[c] : 0.0f);
  }
  __syncthreads();
}

// PReLU: output ← dL/dz, and each sample's share of the slope's gradient. One warp owns a sample.
template <class P>
__device__ __forceinline__ void prelu_gradient_tensor(const TensorMember& t, const TensorSlice& now,
                                                      const TensorLayer& layer) {
  const float slope = t.slope(layer);
  for (int sample = tensor_thread() / 32; sample < now.samples; sample += kWarps) {
    char* output = t.output(layer).row(sample);
    const char* kept = t.kept(layer).row(sample);
    float sum = 0.0f;
    for (int f = lane(); f < layer.view.out; f += 32) {
      const float gradient = P::get(output, f), z = P::get(kept, f);
      sum += law::prelu_slope_term(gradient, z);
      P::put(output, f, law::activation_gradient<Activation::prelu>(gradient, z, 0.0f, slope));
    }
    sum = warp_total(sum);
    if (lane() == 0) t.at<float>(layer.slope_gradient)[now.first + sample] = sum;
  }
}

// The slope's gradient over the whole batch.
__device__ __forceinline__ void slope_gradient_tensor(const TensorMember& t, const TensorLayer& layer,
                                                      int count) {
  if (tensor_thread() >= 32) return;
  float sum = 0.0f;
  for (int s = lane(); s < count; s += 32) sum += t.at<float>(layer.slope_gradient)[s];
  sum = warp_total(sum);
  if (lane() == 0) t.gradients[layer.view.slope] = sum;
}

// Below layer l: its output ← dL/dz. Ends with a barrier.
template <class P>
__device__ __forceinline__ void input_gradient_layer(const TensorMember& t, const TensorSlice& now, int l) {
  const TensorLayer &layer = t.plan.layer[l], &below = t.plan.layer[l - 1];
  const int units = below.view.out;
  const OperandPanel kept = t.kept(below), output = t.output(below);
  const Activation activation = below.view.activation;
  const bool drops = t.member.hidden_dropout.threshold > 0, prelu = activation == Activation::prelu;
  const auto through = [&](float gradient, float h) {
    if (activation == Activation::relu)
      return law::activation_gradient<Activation::relu>(gradient, 0.0f, h, 0.0f);
    if (activation == Activation::leaky_relu)
      return law::activation_gradient<Activation::leaky_relu>(gradient, 0.0f, h, 0.0f);
    if (activation == Activation::tanh)
      return law::activation_gradient<Activation::tanh>(gradient, 0.0f, h, 0.0f);
    return gradient;
  };
  const auto brief = [&](int sample, int unit, float a, float b) {
    if (unit >= units) return;
    const float2 h = P::get_pair(kept.row(sample), unit);
    put_features<P>(output, sample, unit, units, sample < now.samples, through(a, h.x), through(b, h.y));
  };
  const auto dropped = [&](int sample, int unit, float a, float b) {
    if (unit >= units) return;
    const float2 factor = dropout_pair(t, l, now, sample, unit);
    a *= factor.x, b *= factor.y;
    const float2 h = P::get_pair(kept.row(sample), unit);
    if (!prelu) a = through(a, h.x), b = through(b, h.y);
    put_features<P>(output, sample, unit, units, sample < now.samples, a, b);
  };
  input_gradient_tensor<P>(layer.input_gradient, t.output(layer), t.weight(layer), t.plan.slice, units,
                           layer.view.out, [&](const auto& sums) {
                             if (drops) return sums.each_pair_looped(dropped);
                             sums.each_pair(brief);
                           });
  __syncthreads();
  if (!prelu) return;
  prelu_gradient_tensor<P>(t, now, below);
  __syncthreads();
}

// Calls each(quad of the member's parameters, put) for every quad that exists; put(values) rounds it into the
// operand that it is, or copies a bias or slope.
template <class P, class Each>
__device__ __forceinline__ void each_parameter_quad(const TensorMember& t, const Each& each) {
  for (int l = 0; l < t.plan.layers; ++l) {
    const TensorLayer& layer = t.plan.layer[l];
    const LayerView& view = layer.view;
    const int quads = (view.in + kQuad - 1) / kQuad, of_bias = (view.out + kQuad - 1) / kQuad;
    for (int item = tensor_thread(); item < view.out * quads; item += kTensorThreads) {
      const int unit = item / quads, quad = item % quads;
      each(view.weight + unit * view.in_stride + kQuad * quad, [&](const float(&v)[kQuad]) {
        P::put_quad(t.weight(layer).row(P::weight_row(unit)), kQuad * quad, v);
      });
    }
    // From the last thread down: the weights' remainder goes to the first ones.
    const int item = kTensorThreads - 1 - tensor_thread();
    for (int quad = item; quad < of_bias; quad += kTensorThreads)
      each(view.bias + kQuad * quad, [&](const float(&v)[kQuad]) {
        for (int e = 0; e < kQuad; ++e) t.bias(layer)[kQuad * quad + e] = v[e];
      });
    if (view.slope >= 0 && tensor_thread() == 0)
      each(view.slope, [&](const float(&v)[kQuad]) { t.slope(layer) = v[0]; });
  }
}

}  // namespace occam::cuda
