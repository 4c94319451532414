// Plan *resident* on tensor cores: as kernels/resident.cu, with other homes for what is large. An update's
// sums go from registers to gradients, at the end of the batch every parameter steps in fp32 where it lies in
// device memory, and its operand on the chip is rounded from it anew. Operands beyond a matrix are zeros, of
// samples that do not exist too; so a sum there is finite unless the member has diverged already (0 · inf is
// NaN).

#include "resident_tensor.hpp"

#include "one_hidden_tensor.hpp"
#include "resident_tensor_steps.cuh"
#include "whole_batch_tensor.hpp"

namespace occam::cuda {

template <class P>
__global__ void __launch_bounds__(kTensorThreads, 1) resident_tensor_kernel(TensorArguments a) {
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0 || (a.others != TensorBody::slices && takes(a.others, a.wave.members[id])))
    return;
  const TensorPlan& plan = a.plan;
  char* const base = reinterpret_cast<char*>(&shared<float>());
  float* const gradients = plan.gradients < 0 ? a.gradients + id * a.wave.parameter_stride
                                              : reinterpret_cast<float*>(base + plan.gradients);
  const TensorMember t{plan, a.wave.members[id], base, gradients};
  const int last = plan.layers - 1;

  for (int i = tensor_thread(); i < plan.bytes / kChunkBytes; i += kTensorThreads)
    *reinterpret_cast<float4*>(base + i * kChunkBytes) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  __syncthreads();
  Trainee trainee{a.wave, id};
  each_parameter_quad<P>(t, [&](std::int64_t offset, const auto& put) {
    float v[kQuad];
    read_steps(trainee.parameters + offset, v);
    put(v);
  });
  const std::int64_t all_rows = t.member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, plan.batch);
  const auto slice_at = [&](std::int64_t update, const law::BatchPlace& of, int batch, int first, int x) {
    const int left = of.count - first;
    return TensorSlice{update, batch, first, left < plan.slice ? left : plan.slice, x};
  };
  int batch = 0, x = 0;
  t.open(place, batch);
  __syncthreads();
  fetch_rows<P>(t, slice_at(progress.update, place, batch, 0, x));

  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace next = law::following(place, all_rows, plan.batch);
    for (int first = 0; first < place.count; first += plan.slice, x ^= 1) {
      const TensorSlice now = slice_at(update, place, batch, first, x);
      const bool is_last = first + plan.slice >= place.count;
      land_rows<P>(t, now);
      __syncthreads();  // this slice has arrived, and nobody works on the one before any more
      if (first == 0) {
        if (update + 1 < end) t.open(next, batch ^ 1);
        if (t.member.optimizer.kind == OptimizerKind::adam && tensor_thread() == 0) {
          const law::AdamScale scale = law::adam_scale(t.member.optimizer, update);
          t.at<float>(plan.adam)[0] = scale.step, t.at<float>(plan.adam)[1] = scale.root;
        }
        __syncwarp();  // products want all lanes
      }
      for (int l = 0; l <= last; ++l) {
        forward_layer_tensor<P>(t, now, l, l == 0 ? t.x(x) : t.output(plan.layer[l - 1]));
        if (l > 0) continue;
        if (!is_last) {
          fetch_rows<P>(t, slice_at(update, place, batch, first + plan.slice, x ^ 1));
        } else if (update + 1 < end) {
          fetch_rows<P>(t, slice_at(update + 1, next, batch ^ 1, 0, x ^ 1));
        }
      }
      loss_gradient_tensor<P>(t, now, a.loss, place.count);
      for (int l = last; l >= 0; --l) {
        const TensorLayer& layer = plan.layer[l];
        weight_gradient_tensor<P>(layer.weight_gradient, t.output(layer),
                                  l > 0 ? t.output(plan.layer[l - 1]) : t.x(x), gradients + layer.view.weight,
                                  layer.view.in_stride, gradients + layer.view.bias, now.samples,
                                  layer.view.in, layer.view.out, first == 0);
        if (layer.view.slope >= 0 && is_last) slope_gradient_tensor(t, layer, place.count);
        if (l == 0) continue;
        __syncthreads();  // all have read the activations that the gradient now replaces
        input_gradient_layer<P>(t, now, l);
      }
    }
    __syncthreads();  // all gradients are there
    trainee.adam = {t.at<float>(plan.adam)[0], t.at<float>(plan.adam)[1]};
    with_optimizer(trainee.optimizer, [&](auto kind, auto momentum) {
      each_parameter_quad<P>(t, [&](std::int64_t offset, const auto& put) {
        float v[kQuad];
        read_steps(gradients + offset, v);
        trainee.step_quad<decltype(kind)::value, decltype(momentum)::value>(offset, kQuad, v);
        read_steps(trainee.parameters + offset, v);
        put(v);
      });
    });
    place = next;
  }
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <class F>
decltype(auto) with_kernel(const TensorPlan& plan, const F& f) {
  switch (plan.precision) {
    case Precision::tf32: return f(resident_tensor_kernel<Tf32>);
    case Precision::bf16: return f(resident_tensor_kernel<Bf16>);
    default: fail(ErrorKind::device, "resident on tensor cores: fp32 has no operands for them");
  }
}

}  // namespace

void launch_resident_tensor(Stream& stream, const TensorArguments& a) {
  if (a.plan.body == TensorBody::whole_batch) return launch_whole_batch_tensor(stream, a);
  if (a.plan.body == TensorBody::one_hidden) return launch_one_hidden_tensor(stream, a);
  const NvtxRange range{"resident on tensor cores"};
  require(a.members >= 1 && a.plan.layers >= 1 && a.plan.layers <= kMaxTensorLayers,
          "resident on tensor cores: {} members, {} layers (1 to {})", a.members, a.plan.layers,
          kMaxTensorLayers);
  with_kernel(a.plan, [&](auto* kernel) {
    launch(stream, "resident on tensor cores", kernel, dim3(static_cast<unsigned>(a.members)),
           dim3(kTensorThreads), static_cast<std::size_t>(a.plan.bytes), a);
  });
}

KernelResources resident_tensor_resources(const TensorPlan& plan, bool has_state) {
  if (plan.body == TensorBody::whole_batch) return whole_batch_tensor_resources(plan.precision, has_state);
  if (plan.body == TensorBody::one_hidden) return one_hidden_tensor_resources(plan, has_state);
  return with_kernel(plan, [&](auto* kernel) {
    return kernel_resources(reinterpret_cast<const void*>(kernel), "resident on tensor cores", kTensorThreads,
                            static_cast<std::size_t>(plan.bytes));
  });
}

}  // namespace occam::cuda
