// Plan *resident*: one block trains one member from its first to its last update of the call. Parameters and
// gradients stay in shared memory; optimiser state, touched once an update, is left to the L2 cache. The next
// slice of the batch is copied in while this one is worked on, and the rows of the next update are drawn
// during this one. Blocks of members that are done make room for those that wait.

#include "resident.hpp"

#include "lanes.cuh"
#include "law/activation.hpp"
#include "law/batch.hpp"
#include "law/loss.hpp"
#include "one_hidden_chip.hpp"
#include "optimizer.cuh"
#include "resident_product.cuh"
#include "whole_batch.hpp"

namespace occam::cuda {

// ---- building blocks --------------------------------------------------------------------------------------

// What one block works with.
struct OnChipMember {
  const ResidentPlan& plan;
  const Member& member;
  float* const base;

  __device__ __forceinline__ float* parameters() const { return base + plan.parameters; }
  __device__ __forceinline__ float* gradients() const { return base + plan.gradients; }
  __device__ __forceinline__ std::uint32_t* rows(int which) const {
    return reinterpret_cast<std::uint32_t*>(base + plan.rows) + which * plan.batch;
  }
  __device__ __forceinline__ std::int32_t* labels(int which) const {
    return reinterpret_cast<std::int32_t*>(base + plan.labels) + which * plan.batch;
  }
  __device__ __forceinline__ Panel x(int which) const { return {base + plan.x[which], plan.x_stride}; }
  __device__ __forceinline__ Panel kept(const ResidentLayer& layer) const {
    return {base + layer.kept, layer.view.out_stride};
  }
  __device__ __forceinline__ Panel output(const ResidentLayer& layer) const {
    return {base + layer.output, layer.view.out_stride};
  }
  // What layer l reads. A choice between offsets: between pointers the compiler would forget that they are of
  // shared memory.
  __device__ __forceinline__ Panel input(int l, int which) const {
    return {base + (l == 0 ? plan.x[which] : plan.layer[l - 1].output), plan.layer[l].view.in_stride};
  }
  __device__ __forceinline__ Panel weight(const LayerView& layer, float* of) const {
    return {of + layer.weight, layer.in_stride};
  }

  // Draws the rows of the batch at `place` and fetches their labels.
  __device__ __forceinline__ void open(const law::BatchPlace& place, int which) const {
    const std::int64_t all = member.rows[static_cast<int>(Split::train)];
    const law::EpochOrder order = law::epoch_order(member.order_seed, member.in_order, place.epoch, all);
    for (int sample = thread(); sample < place.count; sample += kResidentThreads) {
      const std::uint32_t row =
          order(static_cast<std::uint32_t>(place.first) + static_cast<std::uint32_t>(sample));
      rows(which)[sample] = row;
      labels(which)[sample] = member.train_y[row];
    }
  }

  // Starts to copy `samples` rows, from the batch's sample `first` on.
  __device__ __forceinline__ void copy_slice(int batch, int first, int samples, int to) const {
    const int quads = (plan.inputs + kQuad - 1) / kQuad;
    const std::uint32_t* row = rows(batch) + first;
    const float* const train_x = member.train_x;  // between copies it would be read anew
    for (int item = thread(); item < samples * quads; item += kResidentThreads) {
      const int sample = item / quads, at = item % quads * kQuad;
      copy_async<16>(x(to).row(sample) + at,
                     train_x + static_cast<std::int64_t>(row[sample]) * plan.x_stride + at);
    }
    copy_async_commit();
  }

  // value ← value · dropout factor, `columns` features of samples first … first + samples − 1 of the batch.
  __device__ __forceinline__ void drop(law::Dropout dropout, std::uint32_t layer, std::int64_t update,
                                       Panel value, int columns, int first, int samples) const {
    const int quads = (columns + kQuad - 1) / kQuad;
    for (int item = thread(); item < samples * quads; item += kResidentThreads) {
      const int sample = item / quads, quad = item % quads;
      const Philox words = law::dropout_draws(member.order_seed, static_cast<std::uint32_t>(quad),
                                              static_cast<std::uint32_t>(first + sample), layer,
                                              static_cast<std::uint32_t>(update));
      for (int e = 0; e < kQuad && kQuad * quad + e < columns; ++e)
        value.row(sample)[kQuad * quad + e] *= law::dropout_factor(dropout, words.word[e]);
    }
  }
};

// A slice of an update.
struct Slice {
  std::int64_t update;
  int batch;           // which of the two batches
  int first, samples;  // of the batch
  int x;               // which of the two slices of rows
};

// Activations of layer l from `input`; logits if it is the last one. Ends with a barrier.
template <int slice>
__device__ __forceinline__ void forward_layer(const OnChipMember& t, const Slice& now, int l, Panel input) {
  const ResidentLayer& layer = t.plan.layer[l];
  const LayerView& view = layer.view;
  const Panel weight = t.weight(view, t.parameters()), kept = t.kept(layer), output = t.output(layer);
  const float* bias = t.parameters() + view.bias;
  const bool relu = view.hidden && view.activation == Activation::relu;
  const bool leaky = view.hidden && view.activation == Activation::leaky_relu;
  forward_layer_product<slice>(input, weight, bias, now.samples, view.in, view.out,
                               [&](int sample, int unit, float z) {
                                 if (relu) z = law::activate<Activation::relu>(z, 0.0f);
                                 if (leaky) z = law::activate<Activation::leaky_relu>(z, 0.0f);
                                 kept.row(sample)[unit] = z;
                               });
  __syncthreads();
  if (!view.hidden) return;

  // What is too long to stand in the product's epilogue.
  const bool prelu = view.activation == Activation::prelu, tanh = view.activation == Activation::tanh,
             apart = layer.output != layer.kept;
  if (prelu || tanh || apart) {
    const float slope = prelu ? t.parameters()[view.slope] : 0.0f;
    for (int item = thread(); item < now.samples * view.out; item += kResidentThreads) {
      const int sample = item / view.out, unit = item % view.out;
      const float z = kept.row(sample)[unit];
      float h = z;
      if (prelu) h = law::activate<Activation::prelu>(z, slope);
      if (tanh) kept.row(sample)[unit] = h = law::activate<Activation::tanh>(z, 0.0f);
      if (apart) output.row(sample)[unit] = h;
    }
    __syncthreads();
  }
  if (t.member.hidden_dropout.threshold > 0) {
    t.drop(t.member.hidden_dropout, static_cast<std::uint32_t>(l) + 1, now.update, output, view.out,
           now.first, now.samples);
    __syncthreads();
  }
}

// output ← dL/dlogits of the mean loss over `count` samples. Ends with a barrier.
__device__ __forceinline__ void loss_gradient(const OnChipMember& t, const Slice& now, Loss loss,
                                              Panel logits, int outputs, int count) {
  const float inverse = 1.0f / static_cast<float>(count);
  for (int sample = thread(); sample < now.samples; sample += kResidentThreads)
    law::sample_loss_gradient(loss, logits.row(sample), outputs, t.labels(now.batch)[now.first + sample],
                              inverse, logits.row(sample));
  __syncthreads();
}

// PReLU: output ← dL/dz, and each sample's share of the slope's gradient. One warp owns a sample.
__device__ __forceinline__ void prelu_gradient(const OnChipMember& t, const Slice& now,
                                               const ResidentLayer& layer) {
  const int lane = thread() % law::kLanes;
  const float slope = t.parameters()[layer.view.slope];
  for (int sample = thread() / law::kLanes; sample < now.samples; sample += kResidentThreads / law::kLanes) {
    float* gradient = t.output(layer).row(sample);
    const float* z = t.kept(layer).row(sample);
    float sum = 0.0f;
    for (int f = lane; f < layer.view.out; f += law::kLanes) {
      sum += law::prelu_slope_term(gradient[f], z[f]);
      gradient[f] = law::activation_gradient<Activation::prelu>(gradient[f], z[f], 0.0f, slope);
    }
    sum = warp_total(sum);
    if (lane == 0) t.base[layer.slope_gradient + now.first + sample] = sum;
  }
}

// The slope's gradient over the whole batch.
__device__ __forceinline__ void slope_gradient(const OnChipMember& t, const ResidentLayer& layer, int count) {
  if (thread() >= law::kLanes) return;
  float sum = 0.0f;
  for (int s = thread(); s < count; s += law::kLanes) sum += t.base[layer.slope_gradient + s];
  sum = warp_total(sum);
  if (thread() == 0) t.gradients()[layer.view.slope] = sum;
}

// Below layer l: its output ← dL/dz. Ends with a barrier.
template <int slice>
__device__ __forceinline__ void input_gradient(const OnChipMember& t, const Slice& now, int l, Panel delta) {
  const LayerView& view = t.plan.layer[l].view;
  const ResidentLayer& below = t.plan.layer[l - 1];
  const Panel kept = t.kept(below), output = t.output(below);
  const Activation activation = below.view.activation;
  const bool relu = activation == Activation::relu, leaky = activation == Activation::leaky_relu,
             tanh = activation == Activation::tanh;
  const auto through_activation = [&](float h, float gradient) {
    // Selected among values, because a branch for each element costs more than all of them.
    float through = gradient;
    through = relu ? law::activation_gradient<Activation::relu>(gradient, 0.0f, h, 0.0f) : through;
    through = leaky ? law::activation_gradient<Activation::leaky_relu>(gradient, 0.0f, h, 0.0f) : through;
    through = tanh ? law::activation_gradient<Activation::tanh>(gradient, 0.0f, h, 0.0f) : through;
    return through;
  };
  const bool drops = t.member.hidden_dropout.threshold > 0, prelu = activation == Activation::prelu;
  const bool at_once = !drops && !prelu;
  const auto activated = [&](int sample, int unit, float gradient) {
    return through_activation(kept.row(sample)[unit], gradient);
  };
  const Panel weight = t.weight(view, t.parameters());
  if (at_once && view.out <= 2) {
    const auto run = [&](const auto& through) {
      input_gradient_of_few(delta, weight, kept, output, now.samples, view.in, view.out, through);
    };
    if (relu)
      run([](float h, float gradient) {
        return law::activation_gradient<Activation::relu>(gradient, 0.0f, h, 0.0f);
      });
    else
      run(through_activation);
    return __syncthreads();
  }
  input_gradient_product<slice>(delta, weight, view.in, view.out, [&](int sample, int unit, float gradient) {
    if (at_once) gradient = activated(sample, unit, gradient);
    output.row(sample)[unit] = gradient;
  });
  __syncthreads();
  if (at_once) return;
  if (drops) {
    t.drop(t.member.hidden_dropout, static_cast<std::uint32_t>(l), now.update, output, view.in, now.first,
           now.samples);
    __syncthreads();
  }
  if (prelu) {
    prelu_gradient(t, now, below);
  } else {
    for (int item = thread(); item < now.samples * view.in; item += kResidentThreads) {
      float& gradient = output.row(item / view.in)[item % view.in];
      gradient = activated(item / view.in, item % view.in, gradient);
    }
  }
  __syncthreads();
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <int slice>
__global__ void __launch_bounds__(kResidentThreads, 1) resident_kernel(ResidentArguments a) {
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0) return;
  if (a.others != ResidentBody::slices && takes(a.others, a.wave.members[id])) return;
  const ResidentPlan& plan = a.plan;
  const OnChipMember t{plan, a.wave.members[id], &shared<float>()};
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const int parameter_count = static_cast<int>(a.wave.parameter_stride);
  const int last = plan.layers - 1;

  for (int i = kQuad * thread(); i < parameter_count; i += kQuad * kResidentThreads)
    *reinterpret_cast<float4*>(t.parameters() + i) = *reinterpret_cast<const float4*>(trained + i);
  for (int i = kQuad * thread(); i < parameter_count; i += kQuad * kResidentThreads)
    *reinterpret_cast<float4*>(t.gradients() + i) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (thread() < 2) t.base[plan.adam + thread()] = 0.0f;  // read, and not used, for other optimisers
  // Padding stays −0; rows that no slice has reached yet are numbers.
  for (int i = plan.begin_activations + thread(); i < plan.end_activations; i += kResidentThreads)
    t.base[i] = kPadding;

  const std::int64_t all_rows = t.member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, plan.batch);
  int batch = 0, x = 0;
  t.open(place, batch);
  __syncthreads();
  t.copy_slice(batch, 0, place.count < slice ? place.count : slice, x);

  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace next = law::following(place, all_rows, plan.batch);
    for (int first = 0; first < place.count; first += slice, x ^= 1) {
      const int left = place.count - first;
      const Slice now{update, batch, first, left < slice ? left : slice, x};
      copy_async_wait<0>();
      __syncthreads();  // this slice has arrived, and nobody works on the one before any more
      if (first == 0) {
        if (update + 1 < end) t.open(next, batch ^ 1);
        if (t.member.optimizer.kind == OptimizerKind::adam && thread() == 0) {
          const law::AdamScale scale = law::adam_scale(t.member.optimizer, update);
          t.base[plan.adam] = scale.step, t.base[plan.adam + 1] = scale.root;
        }
      }
      if (t.member.input_dropout.threshold > 0) {
        t.drop(t.member.input_dropout, 0, update, t.x(x), plan.inputs, first, now.samples);
        __syncthreads();
      }
      const auto fetch_next = [&] {
        if (left > slice) {
          t.copy_slice(batch, first + slice, left - slice < slice ? left - slice : slice, x ^ 1);
        } else if (update + 1 < end) {
          t.copy_slice(batch ^ 1, 0, next.count < slice ? next.count : slice, x ^ 1);
        }
      };
      for (int l = 0; l <= last; ++l) {
        forward_layer<slice>(t, now, l, t.input(l, x));
        if (l == 0 && plan.fetches_ahead()) fetch_next();
      }
      loss_gradient(t, now, a.loss, t.output(plan.layer[last]), plan.layer[last].view.out, place.count);
      for (int l = last; l >= 0; --l) {
        const ResidentLayer& layer = plan.layer[l];
        const Panel input = t.input(l, x), delta = t.output(layer);
        weight_gradient_product(delta, input, t.weight(layer.view, t.gradients()),
                                t.gradients() + layer.view.bias, now.samples, layer.view.in, layer.view.out,
                                first == 0);
        if (layer.view.slope >= 0 && left <= slice) slope_gradient(t, layer, place.count);
        if (l == 0) break;
        __syncthreads();  // all have read the activations that the gradient now replaces
        input_gradient<slice>(t, now, l, delta);
      }
      if (!plan.fetches_ahead()) {
        __syncthreads();  // nobody reads these rows any more
        fetch_next();
      }
    }
    __syncthreads();  // all gradients are there
    const Trainee trainee{a.wave, id, t.parameters(), {t.base[plan.adam], t.base[plan.adam + 1]}};
    with_optimizer(trainee.optimizer, [&](auto kind, auto momentum) {
      for (int i = kQuad * thread(); i < parameter_count; i += kQuad * kResidentThreads) {
        float gradient[kQuad];
        read_steps(t.gradients() + i, gradient);
        trainee.step_quad<decltype(kind)::value, decltype(momentum)::value>(i, kQuad, gradient);
      }
    });
    place = next;
  }
  // Each thread stepped the parameters that it stores.
  for (int i = kQuad * thread(); i < parameter_count; i += kQuad * kResidentThreads)
    *reinterpret_cast<float4*>(trained + i) = *reinterpret_cast<const float4*>(t.parameters() + i);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

// Calls f with the kernel for the plan's slices.
template <class F>
decltype(auto) with_kernel(const ResidentPlan& plan, const F& f) {
  switch (plan.slice) {
    case 16: return f(resident_kernel<16>);
    case 32: return f(resident_kernel<32>);
    case 64: return f(resident_kernel<64>);
    case 128: return f(resident_kernel<128>);
    default: fail(ErrorKind::device, "resident: slices of {} samples; give 16, 32, 64 or 128", plan.slice);
  }
}

}  // namespace

void launch_resident(Stream& stream, const ResidentArguments& a) {
  if (a.plan.body == ResidentBody::whole_batch) return launch_whole_batch(stream, a);
  if (a.plan.body == ResidentBody::one_hidden) return launch_one_hidden_chip(stream, a);
  const NvtxRange range{"resident"};
  require(a.members >= 1 && a.plan.layers >= 1 && a.plan.layers <= kMaxResidentLayers,
          "resident: {} members, {} layers (1 to {})", a.members, a.plan.layers, kMaxResidentLayers);
  with_kernel(a.plan, [&](auto* kernel) {
    launch(stream, "resident", kernel, dim3(static_cast<unsigned>(a.members)), dim3(kResidentThreads),
           static_cast<std::size_t>(a.plan.bytes), a);
  });
}

KernelResources resident_resources(const ResidentPlan& plan, bool has_state) {
  if (plan.body == ResidentBody::whole_batch) return whole_batch_resources(has_state);
  if (plan.body == ResidentBody::one_hidden) return one_hidden_chip_resources(plan, has_state);
  return with_kernel(plan, [&](auto* kernel) {
    return kernel_resources(reinterpret_cast<const void*>(kernel), "resident", kResidentThreads,
                            static_cast<std::size_t>(plan.bytes));
  });
}

}  // namespace occam::cuda
