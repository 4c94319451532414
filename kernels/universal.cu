// AS-UAP in one launch: a block takes one member's parameters on the chip and does its steps there, one after the other.
// A step takes the batch through the network slice by slice; each warp has some rows of the slice to itself, and the block
// meets where their shares are added, in the order of the batch. Device memory is read where another batch begins.
//
// The floor: a row and step takes one forward pass and one gradient back to the row, as in kernels/pgd.cu; a step of 256
// rows of 50-200-2 is 10.6 MFLOP, 42 thousand cycles of a multiprocessor.
//
// Shared memory, in floats: parameters; the batch's rows, and their labels; of a slice what passes through the network,
// as in kernels/pgd.cu; the perturbation and its gradient. 50-200-2 takes 202 KiB with batches of 256 and slices of 128.

#include "universal.hpp"

#include "network_on_chip.cuh"
#include "perturb.cuh"

namespace occam::cuda {

// ---- building blocks --------------------------------------------------------------------------------------

namespace {
constexpr int kSharesAtOnce = 16;  // rows whose shares are read before the first is added
}  // namespace

// gradient[k] = (begins ? 0 : gradient[k]) + Σ shares[s][k], one thread an input.
__device__ __forceinline__ void add_shares(Panel shares, int rows, int inputs, bool begins, float* gradient) {
  for (int k = thread(); k < inputs; k += kChipThreads) {
    const float* share = shares.data + k;
    float sum = begins ? 0.0f : gradient[k];
    int left = rows;
    OCCAM_NO_UNROLL
    for (; left >= kSharesAtOnce; left -= kSharesAtOnce, share += kSharesAtOnce * shares.stride) {
      float of_row[kSharesAtOnce];
      OCCAM_UNROLL
      for (int s = 0; s < kSharesAtOnce; ++s) of_row[s] = share[s * shares.stride];
      OCCAM_UNROLL
      for (int s = 0; s < kSharesAtOnce; ++s) sum += of_row[s];
    }
    OCCAM_NO_UNROLL
    for (; left > 0; --left, share += shares.stride) sum += *share;
    gradient[k] = sum;
  }
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <int rows>
__global__ void __launch_bounds__(kChipThreads, 1) fused_universal_kernel(FusedUniversalArguments all) {
  constexpr int slice = rows * kChipWarps;
  const UniversalArguments& a = all.attack;
  const UniversalPlan& plan = all.plan;
  const int slot = static_cast<int>(blockIdx.y), stride = padded(a.inputs);
  const std::int64_t last = all.last_step < all.steps[slot] ? all.last_step : all.steps[slot];
  if (all.first_step >= last) return;
  const law::AttackConstants attack = a.attacks[slot];
  const std::int64_t count = a.rows.count(slot), batches = (count + attack.batch - 1) / attack.batch;
  float* const base = &shared<float>();
  const WarpNetwork<rows> network{plan.network, base};
  const Panel x{base + plan.x, stride}, moved = network.moved(), logits = network.logits(),
                                        logit_gradient = network.logit_gradient();
  const Panel shares{base + plan.network.moved, plan.network.moved_stride};  // of the whole slice
  auto* const labels = reinterpret_cast<std::int32_t*>(base + plan.labels);
  float *const universal = base + plan.universal, *const gradient = base + plan.gradient;
  float* const result = a.universal + static_cast<std::int64_t>(slot) * a.inputs;
  for (int k = thread(); k < a.inputs; k += kChipThreads) universal[k] = result[k];
  network.open(all.wave, a.rows.slots.member_of(slot));

  for (std::int64_t step = all.first_step; step < last; ++step) {
    const std::int64_t first = step / attack.iterations % batches * attack.batch;
    const auto in_batch = static_cast<int>(law::rows_of_batch(first, count, attack.batch));
    if (step == all.first_step || step % attack.iterations == 0) {
      const float* const from =
          a.x + (static_cast<std::int64_t>(slot) * a.rows.slots.capacity + first) * stride;
      const int quads = (a.inputs + kQuad - 1) / kQuad;
      for (int i = thread(); i < in_batch * quads; i += kChipThreads) {
        const int at = i / quads * stride + i % quads * kQuad;
        copy_async<16>(x.data + at, from + at);
      }
      copy_async_commit();
      for (int s = thread(); s < in_batch; s += kChipThreads)
        labels[s] = a.rows.labels[slot * a.rows.pitch + first + s];
      copy_async_wait<0>();
      __syncthreads();
    }
    for (int of_slice = 0; of_slice < in_batch; of_slice += slice) {
      // The warp's rows, from `mine` on in the batch.
      const int mine = of_slice + thread() / law::kLanes * rows, left = in_batch - mine;
      const int there = left < 0 ? 0 : left < rows ? left : rows;
      const unsigned positive = __ballot_sync(
          kWarp, lane() < there && law::universal_sign(a.classes, labels[mine + lane() % rows]) > 0.0f);
      // f(s, k, sign, what row s of the warp is shifted to) for each of its inputs.
      const auto each_input = [&](const auto& f) {
        const auto of_rows = [&](auto all_there) {
          for_my_inputs(a.inputs, [&](int k) {
            const float shift = universal[k];
            OCCAM_UNROLL
            for (int s = 0; s < rows; ++s) {
              const float sign = (positive >> s & 1) != 0 ? 1.0f : -1.0f;
              if (all_there || s < there) f(s, k, sign, law::shifted(x.row(mine + s)[k], sign, shift));
            }
          });
        };
        if (left >= rows)
          of_rows(std::true_type{});
        else
          of_rows(std::false_type{});
        __syncwarp();
      };
      if (there > 0) {
        for (int k = a.inputs; k % kQuad != 0; ++k)
          if (lane() < rows) moved.row(lane())[k] = kPadding;
        each_input([&](int s, int k, float, float to) { moved.row(s)[k] = law::inside(attack, to); });
        network.forward();
        for (int s = lane(); s < there; s += law::kLanes) {
          const std::int32_t label = labels[mine + s],
                             target = law::attack_target(attack, a.classes, label, 0, 0, 0, 0);
          law::attack_loss_gradient(attack.loss, logits.row(s), all.outputs, label, target,
                                    1.0f / static_cast<float>(in_batch), logit_gradient.row(s));
        }
        __syncwarp();
        network.backward();
        each_input([&](int s, int k, float sign, float to) {
          float& share = moved.row(s)[k];
          share = law::universal_share(attack, to, sign, share);
        });
      }
      __syncthreads();
      add_shares(shares, in_batch - of_slice < slice ? in_batch - of_slice : slice, a.inputs, of_slice == 0,
                 gradient);
      __syncthreads();
    }
    if (thread() < law::kLanes) universal_step_of(attack, a.inputs, gradient, universal);
    __syncthreads();
  }
  for (int k = thread(); k < a.inputs; k += kChipThreads) result[k] = universal[k];
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

// Calls f with the kernel for the plan's slices.
template <class F>
decltype(auto) with_kernel(const UniversalPlan& plan, const F& f) {
  switch (plan.network.rows) {
    case 2: return f(fused_universal_kernel<2>);
    case 4: return f(fused_universal_kernel<4>);
    case 8: return f(fused_universal_kernel<8>);
    case 16: return f(fused_universal_kernel<16>);
    default: fail(ErrorKind::device, "universal: {} rows a warp; give 2, 4, 8 or 16", plan.network.rows);
  }
}

}  // namespace

void launch_fused_universal(Stream& stream, const FusedUniversalArguments& a) {
  const NvtxRange range{"universal"};
  const Slots& slots = a.attack.rows.slots;
  const NetworkOnChip& network = a.plan.network;
  require(
      slots.count >= 1 && slots.count <= kMaxSlots && network.layers >= 1 && network.layers <= kMaxChipLayers,
      "universal: {} members at once (1 to {}), {} layers (1 to {})", slots.count, kMaxSlots, network.layers,
      kMaxChipLayers);
  with_kernel(a.plan, [&](auto* kernel) {
    launch(stream, "universal", kernel, dim3(1, static_cast<unsigned>(slots.count)), dim3(kChipThreads),
           static_cast<std::size_t>(a.plan.bytes), a);
  });
}

}  // namespace occam::cuda
