// Variants of the resident kernel, for SGD, ReLU and no dropout: the same update under the law with another
// grid of threads, slice, unrolling, number of blocks on a multiprocessor, or place of the gradients. None of
// it may change a bit; the lab compares every variant with kernels/resident.cu.
#pragma once

#include "law/activation.hpp"
#include "law/batch.hpp"
#include "law/loss.hpp"
#include "variant_product.cuh"

namespace occam::lab {

// ---- kernels ----------------------------------------------------------------------------------------------

// What one block works with; the plan's offsets are those of kernels/resident.hpp.
template <class S>
struct Chip {
  const ResidentPlan& plan;
  const Member& member;
  float* const base;

  __device__ __forceinline__ std::uint32_t* rows(int which) const {
    return reinterpret_cast<std::uint32_t*>(base + plan.rows) + which * plan.batch;
  }
  __device__ __forceinline__ std::int32_t* labels(int which) const {
    return reinterpret_cast<std::int32_t*>(base + plan.labels) + which * plan.batch;
  }
  __device__ __forceinline__ Panel x(int which) const { return {base + plan.x[which], plan.x_stride}; }
  __device__ __forceinline__ Panel output(int l) const {
    return {base + plan.layer[l].output, plan.layer[l].view.out_stride};
  }
  __device__ __forceinline__ Panel weight(const LayerView& view) const {
    return {base + plan.parameters + view.weight, view.in_stride};
  }

  __device__ __forceinline__ void open(const law::BatchPlace& place, int which) const {
    const KeyedPermutation order =
        law::epoch_permutation(member.order_seed, place.epoch, member.rows[static_cast<int>(Split::train)]);
    for (int sample = thread(); sample < place.count; sample += S::kThreads) {
      const std::uint32_t row =
          order(static_cast<std::uint32_t>(place.first) + static_cast<std::uint32_t>(sample));
      rows(which)[sample] = row;
      labels(which)[sample] = member.train_y[row];
    }
  }

  __device__ __forceinline__ void copy_slice(int batch, int first, int samples, int to) const {
    const int quads = (plan.inputs + kQuad - 1) / kQuad;
    for (int item = thread(); item < samples * quads; item += S::kThreads) {
      const int sample = item / quads, at = item % quads * kQuad;
      copy_async<16>(
          x(to).row(sample) + at,
          member.train_x + static_cast<std::int64_t>(rows(batch)[first + sample]) * plan.x_stride + at);
    }
    copy_async_commit();
  }

  __device__ __forceinline__ void forward(int l, Panel input, int samples) const {
    const LayerView& view = plan.layer[l].view;
    const Panel to = output(l);
    forward_variant<S>(input, weight(view), base + plan.parameters + view.bias, samples, view.in, view.out,
                       [&](int sample, int unit, float z) {
                         to.row(sample)[unit] = view.hidden ? law::activate<Activation::relu>(z, 0.0f) : z;
                       });
    __syncthreads();
  }

  __device__ __forceinline__ void input_gradient(int l) const {
    const LayerView& view = plan.layer[l].view;
    const Panel delta = output(l), below = output(l - 1);
    over_columns<S>(view.in, [&](auto columns, int first) {
      input_gradient_columns<S, columns>(
          delta, weight(view), view.in, view.out, first, [&](int sample, int feature, float gradient) {
            float& h = below.row(sample)[feature];
            h = law::activation_gradient<Activation::relu>(gradient, 0.0f, h, 0.0f);
          });
    });
    __syncthreads();
  }
};

template <class S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) variant_kernel(ResidentArguments a) {
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0) return;
  const ResidentPlan& plan = a.plan;
  const Chip<S> t{plan, a.wave.members[id], &shared<float>()};
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  float* const parameters = t.base + plan.parameters;
  const int parameter_count = static_cast<int>(a.wave.parameter_stride), last = plan.layers - 1;
  constexpr bool held = S::kGradients == Gradients::registers;
  Accumulated<S> accumulated{held ? nullptr : t.base + plan.gradients};

  for (int i = thread(); i < parameter_count; i += S::kThreads) {
    parameters[i] = trained[i];
    if constexpr (!held) accumulated.gradients[i] = 0.0f;
  }
  for (int i = plan.begin_activations + thread(); i < plan.end_activations; i += S::kThreads)
    t.base[i] = kPadding;

  const std::int64_t all_rows = t.member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, plan.batch);
  int batch = 0, x = 0;
  const auto of_slice = [](int left) { return left < S::kSlice ? left : S::kSlice; };
  t.open(place, batch);
  __syncthreads();
  t.copy_slice(batch, 0, of_slice(place.count), x);

  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace next = law::following(place, all_rows, plan.batch);
    for (int first = 0; first < place.count; first += S::kSlice, x ^= 1) {
      const int left = place.count - first, samples = of_slice(left);
      copy_async_wait<0>();
      __syncthreads();
      if (first == 0 && update + 1 < end) t.open(next, batch ^ 1);
      t.forward(0, t.x(x), samples);
      if (left > S::kSlice) {
        t.copy_slice(batch, first + S::kSlice, of_slice(left - S::kSlice), x ^ 1);
      } else if (update + 1 < end) {
        t.copy_slice(batch ^ 1, 0, of_slice(next.count), x ^ 1);
      }
      for (int l = 1; l <= last; ++l) t.forward(l, t.output(l - 1), samples);

      const float inverse = 1.0f / static_cast<float>(place.count);
      const Panel logits = t.output(last);
      for (int sample = thread(); sample < samples; sample += S::kThreads)
        law::sample_loss_gradient(a.loss, logits.row(sample), plan.layer[last].view.out,
                                  t.labels(batch)[first + sample], inverse, logits.row(sample));
      __syncthreads();

      const auto backward = [&](auto number, int l) {
        const Panel input = l > 0 ? t.output(l - 1) : t.x(x);
        accumulated.template add<number>(plan.layer[l].view, t.output(l), input, samples, first == 0);
        if (l == 0) return;
        __syncthreads();
        t.input_gradient(l);
      };
      if constexpr (held) {
        backward(std::integral_constant<int, 2>{}, 2);
        backward(std::integral_constant<int, 1>{}, 1);
        backward(std::integral_constant<int, 0>{}, 0);
      } else {
        for (int l = last; l >= 0; --l) backward(std::integral_constant<int, 0>{}, l);
      }
    }
    __syncthreads();
    accumulated.step(Trainee{a.wave, id, parameters, {}}, plan, parameter_count);
    place = next;
  }
  __syncthreads();
  for (int i = thread(); i < parameter_count; i += S::kThreads) trained[i] = parameters[i];
}

}  // namespace occam::lab
