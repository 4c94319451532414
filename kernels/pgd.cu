// PGD in one launch: a block takes one member's parameters and a slice of rows on the chip, and does all
// iterations of all runs there. Each of its warps has some of the rows to itself, from their start to what counts, and
// meets no other. Device memory is read at the start, and written when a run ends (logits before each step, where they
// are kept, as they come).
//
// The floor: a row and iteration takes one forward pass and one gradient back to the row, 4 · Σ in · out
// operations (50-100-100-2: 61 thousand). 128 lanes of fmaf at 1.98 GHz do 507 GFLOP/s, which is 8.3 million
// row-iterations a second and multiprocessor.
//
// Shared memory, in floats: parameters; of each row x and the perturbation; x + perturbation, which the gradient takes
// the place of, in the room of the first layer's activations where a pass of its product makes all of them; of each
// layer what its derivative reads, later its gradient, and where batch norm or PReLU stand in between also what the
// next layer reads; dL/dlogits; three numbers of each row. 50-100-100-2 has 15.6 thousand parameters, padding included,
// and 315 floats a row: slices of 128 rows take 218 KiB.

#include "pgd.hpp"

#include "network_on_chip.cuh"
#include "perturb_rows.cuh"

namespace occam::cuda {

// ---- kernels ----------------------------------------------------------------------------------------------

template <int rows>
__global__ void __launch_bounds__(kChipThreads, 1) fused_pgd_kernel(FusedPgdArguments all) {
  constexpr int slice = rows * kChipWarps;
  const PgdArguments& a = all.attack;
  const PgdPlan& plan = all.plan;
  const int slot = static_cast<int>(blockIdx.y);
  const int first = static_cast<int>(blockIdx.x) * slice, left = a.rows.slots.rows[slot] - first;
  if (left <= 0) return;
  float* const base = &shared<float>();
  const WarpNetwork<rows> network{plan.network, base};
  network.open(all.wave, a.rows.slots.member_of(slot));

  // The warp's rows, from `mine` on in hand.
  const int mine = first + thread() / law::kLanes * rows, in_hand = a.rows.slots.rows[slot] - mine;
  if (in_hand <= 0) return;
  const int count = in_hand < rows ? in_hand : rows;
  const law::AttackConstants attack = a.attacks[slot];
  const Panel x = network.panel(plan.x, padded(a.inputs)), moved = network.moved(),
              perturbation = network.panel(plan.perturbation, padded(a.inputs));
  float *const inverse = network.panel(plan.inverse, 1).data, *const worst_loss =
                                                                  network.panel(plan.worst_loss, 1).data;
  auto* const labels = reinterpret_cast<std::int32_t*>(network.panel(plan.labels, 1).data);
  for (int s = lane(); s < rows; s += law::kLanes) {
    labels[s] = s < count ? a.rows.label(slot, mine + s) : 0;
    inverse[s] = s < count ? inverse_count(a, attack, slot, mine + s) : 0.0f;
  }
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.rows.slots.capacity + mine;
  for (int s = 0; s < count; ++s)
    for_my_inputs(a.inputs, [&](int k) { x.row(s)[k] = a.x[(place + s) * padded(a.inputs) + k]; });

  const Panel logits = network.logits(), logit_gradient = network.logit_gradient();
  const auto update = a.progress ? static_cast<std::uint32_t>(a.progress[slot].update) : 0u;
  const auto draw = [&](int s, int iteration, int restart) {
    return AttackDraw{static_cast<std::uint32_t>(a.rows.row(slot, mine + s)),
                      static_cast<std::uint32_t>(iteration), static_cast<std::uint32_t>(restart), update};
  };
  for (int restart = 0; restart < attack.restarts; ++restart) {
    for (int s = 0; s < count; ++s)
      start_row(attack, a.inputs, draw(s, 0, restart), x.row(s), perturbation.row(s), moved.row(s));
    __syncwarp();
    for (int iteration = 0;; ++iteration) {
      network.forward();
      if (iteration == attack.iterations) break;
      bool moves = false;  // the lane's row
      if (const int s = lane(); s < count) {
        loss_gradient_row(a, attack, slot, mine + s, draw(s, iteration, restart), labels[s], inverse[s],
                          logits.row(s), logit_gradient.row(s));
        moves = !attack.minimal || law::predicted_class(logits.row(s), a.outputs) == labels[s];
      }
      const unsigned moving = __ballot_sync(kWarp, moves);
      __syncwarp();
      // Where no row moves none ever will, once the starts are clamped.
      if (attack.minimal && iteration > 0 && !a.tracked && moving == 0) break;
      network.backward();
      step_rows<rows>(attack, a.inputs, moving, x.data, perturbation, moved);
    }
    for (int s = 0; s < count; ++s)
      select_row(a, attack, slot, mine + s, restart, labels[s], logits.row(s), perturbation.row(s),
                 worst_loss + s);
    __syncwarp();  // the next run starts with other lanes
  }
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

// Calls f with the kernel for the plan's slices.
template <class F>
decltype(auto) with_kernel(const PgdPlan& plan, const F& f) {
  switch (plan.network.rows) {
    case 2: return f(fused_pgd_kernel<2>);
    case 4: return f(fused_pgd_kernel<4>);
    case 8: return f(fused_pgd_kernel<8>);
    case 16: return f(fused_pgd_kernel<16>);
    default: fail(ErrorKind::device, "pgd: {} rows a warp; give 2, 4, 8 or 16", plan.network.rows);
  }
}

}  // namespace

void launch_fused_pgd(Stream& stream, const FusedPgdArguments& a) {
  const NvtxRange range{"pgd"};
  const Slots& slots = a.attack.rows.slots;
  require(slots.count >= 1 && slots.count <= kMaxSlots && a.plan.network.layers >= 1 &&
              a.plan.network.layers <= kMaxChipLayers,
          "pgd: {} members at once (1 to {}), {} layers (1 to {})", slots.count, kMaxSlots,
          a.plan.network.layers, kMaxChipLayers);
  with_kernel(a.plan, [&](auto* kernel) {
    launch(stream, "pgd", kernel,
           dim3(static_cast<unsigned>(tiles(slots.capacity, a.plan.network.slice())),
                static_cast<unsigned>(slots.count)),
           dim3(kChipThreads), static_cast<std::size_t>(a.plan.bytes), a);
  });
}

}  // namespace occam::cuda
