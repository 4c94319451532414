// PGD in one launch: a block takes one member's parameters and a slice of rows on the chip and does all
// iterations of all runs there. Device memory is read at the start, and written when a run ends (logits
// before each step, where they are kept, as they come).
//
// The floor: a row and iteration takes one forward pass and one gradient back to the row, 4 · Σ in · out
// operations (50-100-100-2: 61 thousand). 128 lanes of fmaf at 1.98 GHz do 507 GFLOP/s, which is 8.3 million
// row-iterations a second and multiprocessor. The step reads and writes a row some ten times, a sixth of
// what its products read.
//
// Shared memory, in floats: parameters; x, the perturbation, and x + perturbation, which the gradient takes
// the place of; of each layer what its derivative reads, later its gradient, and where batch norm or PReLU
// stand in between also what the next layer reads; dL/dlogits; four numbers of each row. 50-100-100-2 has
// 15.6 thousand parameters, padding included, and 368 floats a row: slices of 64 rows take 153 KiB.

#include "pgd.hpp"

#include "law/activation.hpp"
#include "law/batch_norm.hpp"
#include "perturb.cuh"
#include "resident_product.cuh"

namespace occam::cuda {

// ---- building blocks --------------------------------------------------------------------------------------

// What one block works with.
struct OnChipAttack {
  const PgdPlan& plan;
  float* const base;
  int inputs;
  int samples;  // rows of the slice

  __device__ __forceinline__ float* parameters() const { return base + plan.parameters; }
  __device__ __forceinline__ Panel rows(int offset) const { return {base + offset, padded(inputs)}; }
  __device__ __forceinline__ Panel kept(int l) const {
    return {base + plan.layer[l].kept, plan.layer[l].view.out_stride};
  }
  __device__ __forceinline__ Panel output(int l) const {
    return {base + plan.layer[l].output, plan.layer[l].view.out_stride};
  }
  // What layer l reads. A choice between offsets: between pointers the compiler would forget that they are of
  // shared memory.
  __device__ __forceinline__ Panel input(int l) const {
    return {base + (l == 0 ? plan.moved : plan.layer[l - 1].output), plan.layer[l].view.in_stride};
  }
  // dL/dz of layer l.
  __device__ __forceinline__ Panel delta(int l) const {
    return {base + (l == plan.layers - 1 ? plan.logit_gradient : plan.layer[l].kept),
            plan.layer[l].view.out_stride};
  }
  __device__ __forceinline__ Panel weight(int l) const {
    return {parameters() + plan.layer[l].view.weight, plan.layer[l].view.in_stride};
  }

  // f(row) for each row, by a warp of its own.
  template <class F>
  __device__ __forceinline__ void for_my_rows(const F& f) const {
    for (int s = thread() / law::kLanes; s < samples; s += kResidentThreads / law::kLanes) f(s);
  }
  // f(row, unit) for each of `columns` units of each row, by a thread.
  template <class F>
  __device__ __forceinline__ void for_my_units(int columns, const F& f) const {
    for (int item = thread(); item < samples * columns; item += kResidentThreads)
      f(item / columns, item % columns);
  }
};

// Whether any of so many rows moves; every warp asks for itself.
__device__ __forceinline__ bool any_moves(const std::int32_t* moves, int samples) {
  bool mine = false;
  for_my_inputs(samples, [&](int s) { mine |= moves[s] != 0; });
  return __any_sync(kWarp, mine) != 0;
}

// Logits of x + perturbation. Ends with a barrier.
template <int slice>
__device__ __forceinline__ void forward(const OnChipAttack& t) {
  for (int l = 0; l < t.plan.layers; ++l) {
    const LayerView& view = t.plan.layer[l].view;
    const Panel kept = t.kept(l), output = t.output(l);
    const float* parameters = t.parameters();
    const bool relu = view.hidden && view.activation == Activation::relu;
    const bool leaky = view.hidden && view.activation == Activation::leaky_relu;
    forward_layer_product<slice>(t.input(l), t.weight(l), parameters + view.bias, t.samples, view.in,
                                 view.out, [&](int s, int unit, float z) {
                                   if (relu) z = law::activate<Activation::relu>(z, 0.0f);
                                   if (leaky) z = law::activate<Activation::leaky_relu>(z, 0.0f);
                                   kept.row(s)[unit] = z;
                                 });
    __syncthreads();
    const bool prelu = view.activation == Activation::prelu, tanh = view.activation == Activation::tanh;
    if (!view.hidden || (!prelu && !tanh && view.gamma < 0)) continue;
    // What is too long to stand in the product's epilogue.
    const float slope = prelu ? parameters[view.slope] : 0.0f;
    t.for_my_units(view.out, [&](int s, int unit) {
      float h = kept.row(s)[unit];
      if (tanh) kept.row(s)[unit] = h = law::activate<Activation::tanh>(h, 0.0f);
      if (prelu) h = law::activate<Activation::prelu>(h, slope);
      if (view.gamma >= 0)  // of the running variance the inverse deviation is left
        h = law::batch_norm(h, parameters[view.running_mean + unit], parameters[view.running_variance + unit],
                            parameters[view.gamma + unit], parameters[view.beta + unit]);
      if (prelu || view.gamma >= 0) output.row(s)[unit] = h;
    });
    __syncthreads();
  }
}

// dL/dx into `moved`, from dL/dlogits. Ends with a barrier.
template <int slice>
__device__ __forceinline__ void backward(const OnChipAttack& t) {
  for (int l = t.plan.layers - 1; l > 0; --l) {
    const LayerView &view = t.plan.layer[l].view, &below = t.plan.layer[l - 1].view;
    const Panel kept = t.kept(l - 1), output = t.output(l - 1);
    const float* parameters = t.parameters();
    const Activation activation = below.activation;
    const bool prelu = activation == Activation::prelu, at_once = !prelu && below.gamma < 0;
    const float slope = prelu ? parameters[below.slope] : 0.0f;
    const auto through = [&](float gradient, float h) {
      if (activation == Activation::relu)
        return law::activation_gradient<Activation::relu>(gradient, 0.0f, h, 0.0f);
      if (activation == Activation::leaky_relu)
        return law::activation_gradient<Activation::leaky_relu>(gradient, 0.0f, h, 0.0f);
      if (activation == Activation::tanh)
        return law::activation_gradient<Activation::tanh>(gradient, 0.0f, h, 0.0f);
      return gradient;
    };
    input_gradient_product<slice>(t.delta(l), t.weight(l), view.in, view.out,
                                  [&](int s, int unit, float gradient) {
                                    if (at_once) gradient = through(gradient, kept.row(s)[unit]);
                                    output.row(s)[unit] = gradient;
                                  });
    __syncthreads();
    if (at_once) continue;
    t.for_my_units(view.in, [&](int s, int unit) {
      float gradient = output.row(s)[unit], &z = kept.row(s)[unit];
      if (below.gamma >= 0)
        gradient = law::batch_norm_inference_gradient(gradient, parameters[below.gamma + unit],
                                                      parameters[below.running_variance + unit]);
      z = prelu ? law::activation_gradient<Activation::prelu>(gradient, z, 0.0f, slope)
                : through(gradient, z);
    });
    __syncthreads();
  }
  const LayerView& first = t.plan.layer[0].view;
  const Panel moved = t.rows(t.plan.moved);
  input_gradient_product<slice>(t.delta(0), t.weight(0), first.in, first.out,
                                [&](int s, int k, float gradient) { moved.row(s)[k] = gradient; });
  __syncthreads();
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <int slice>
__global__ void __launch_bounds__(kResidentThreads, 1) fused_pgd_kernel(FusedPgdArguments all) {
  const PgdArguments& a = all.attack;
  const PgdPlan& plan = all.plan;
  const int slot = static_cast<int>(blockIdx.y), id = a.rows.slots.member_of(slot);
  const int first = static_cast<int>(blockIdx.x) * slice, left = a.rows.slots.rows[slot] - first;
  if (left <= 0) return;
  const law::AttackConstants attack = a.attacks[slot];
  const OnChipAttack t{plan, &shared<float>(), a.inputs, left < slice ? left : slice};

  const float* const trained = all.wave.parameters + id * all.wave.parameter_stride;
  for (int i = kQuad * thread(); i < static_cast<int>(all.wave.parameter_stride);
       i += kQuad * kResidentThreads)
    *reinterpret_cast<float4*>(t.parameters() + i) = *reinterpret_cast<const float4*>(trained + i);
  // Padding stays −0; rows that do not exist are numbers.
  for (int i = plan.begin_panels + thread(); i < plan.end_panels; i += kResidentThreads) t.base[i] = kPadding;
  __syncthreads();
  for (int l = 0; l < plan.layers; ++l) {
    const LayerView& view = plan.layer[l].view;
    if (view.gamma < 0) continue;
    for (int unit = thread(); unit < view.out; unit += kResidentThreads) {
      float& variance = t.parameters()[view.running_variance + unit];
      variance = law::inverse_deviation(variance);
    }
  }
  const Panel x = t.rows(plan.x), perturbation = t.rows(plan.perturbation), moved = t.rows(plan.moved);
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.rows.slots.capacity + first;
  std::int32_t* const labels = reinterpret_cast<std::int32_t*>(t.base + plan.labels);
  std::int32_t* const moves = reinterpret_cast<std::int32_t*>(t.base + plan.moves);
  float* const inverse = t.base + plan.inverse;
  for (int s = thread(); s < t.samples; s += kResidentThreads) {
    labels[s] = a.rows.label(slot, first + s);
    inverse[s] = inverse_count(a, attack, slot, first + s);
  }
  t.for_my_rows([&](int s) {
    for_my_inputs(a.inputs, [&](int k) { x.row(s)[k] = a.x[(place + s) * padded(a.inputs) + k]; });
  });

  const Panel logits = t.kept(plan.layers - 1), logit_gradient = t.delta(plan.layers - 1);
  const auto update = a.progress ? static_cast<std::uint32_t>(a.progress[slot].update) : 0u;
  const auto draw = [&](int s, int iteration, int restart) {
    return AttackDraw{static_cast<std::uint32_t>(a.rows.row(slot, first + s)),
                      static_cast<std::uint32_t>(iteration), static_cast<std::uint32_t>(restart), update};
  };
  for (int restart = 0; restart < attack.restarts; ++restart) {
    t.for_my_rows([&](int s) {
      start_row(attack, a.inputs, draw(s, 0, restart), x.row(s), perturbation.row(s), moved.row(s));
    });
    __syncthreads();
    for (int iteration = 0; iteration < attack.iterations; ++iteration) {
      forward<slice>(t);
      for (int s = thread(); s < t.samples; s += kResidentThreads) {
        loss_gradient_row(a, attack, slot, first + s, draw(s, iteration, restart), labels[s], inverse[s],
                          logits.row(s), logit_gradient.row(s));
        moves[s] = !attack.minimal || law::predicted_class(logits.row(s), a.outputs) == labels[s];
      }
      __syncthreads();
      // Where no row moves none ever will, once the starts are clamped.
      if (attack.minimal && iteration > 0 && !a.tracked && !any_moves(moves, t.samples)) break;
      backward<slice>(t);
      t.for_my_rows([&](int s) {
        step_row(attack, a.inputs, moves[s] == 0, x.row(s), perturbation.row(s), moved.row(s));
      });
      __syncthreads();
    }
    forward<slice>(t);
    t.for_my_rows([&](int s) {
      select_row(a, attack, slot, first + s, restart, labels[s], logits.row(s), perturbation.row(s),
                 t.base + plan.worst_loss + s);
      __syncwarp();  // the next run starts with other lanes
    });
  }
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

// Calls f with the kernel for the plan's slices.
template <class F>
decltype(auto) with_kernel(const PgdPlan& plan, const F& f) {
  switch (plan.slice) {
    case 16: return f(fused_pgd_kernel<16>);
    case 32: return f(fused_pgd_kernel<32>);
    case 64: return f(fused_pgd_kernel<64>);
    case 128: return f(fused_pgd_kernel<128>);
    default: fail(ErrorKind::device, "pgd: slices of {} rows; give 16, 32, 64 or 128", plan.slice);
  }
}

}  // namespace

void launch_fused_pgd(Stream& stream, const FusedPgdArguments& a) {
  const NvtxRange range{"pgd"};
  const Slots& slots = a.attack.rows.slots;
  require(
      slots.count >= 1 && slots.count <= kMaxSlots && a.plan.layers >= 1 && a.plan.layers <= kMaxPgdLayers,
      "pgd: {} members at once (1 to {}), {} layers (1 to {})", slots.count, kMaxSlots, a.plan.layers,
      kMaxPgdLayers);
  with_kernel(a.plan, [&](auto* kernel) {
    launch(
        stream, "pgd", kernel,
        dim3(static_cast<unsigned>(tiles(slots.capacity, a.plan.slice)), static_cast<unsigned>(slots.count)),
        dim3(kResidentThreads), static_cast<std::size_t>(a.plan.bytes), a);
  });
}

KernelResources fused_pgd_resources(const PgdPlan& plan) {
  return with_kernel(plan, [&](auto* kernel) {
    return kernel_resources(reinterpret_cast<const void*>(kernel), "pgd", kResidentThreads,
                            static_cast<std::size_t>(plan.bytes));
  });
}

}  // namespace occam::cuda
