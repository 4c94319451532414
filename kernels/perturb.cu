// Attacks step by step, between the products of plan tiled: where runs start, dL/dlogits, steps, and which
// run counts; shifts, gradients and steps of universal perturbations.

#include "perturb.hpp"

#include "perturb_rows.cuh"

namespace occam::cuda {

namespace {
constexpr int kThreads = 128, kRowsOfBlock = kThreads / law::kLanes;
constexpr int kSharesAtOnce = 8;  // rows whose loads are under way before the first is added
}  // namespace

// ---- building blocks --------------------------------------------------------------------------------------

// A warp's row.
struct WarpRow {
  int slot, at;        // in hand
  std::int64_t place;  // among the slots' rows

  __device__ __forceinline__ explicit WarpRow(const Slots& slots)
      : slot(static_cast<int>(blockIdx.y)),
        at(static_cast<int>(blockIdx.x) * kRowsOfBlock + static_cast<int>(threadIdx.x) / law::kLanes),
        place(static_cast<std::int64_t>(slot) * slots.capacity + at) {}
};

__device__ __forceinline__ AttackDraw draw_of(const PgdArguments& a, int slot, int at) {
  const AttackTurn turn = a.turns ? a.turns[slot] : AttackTurn{};
  return {static_cast<std::uint32_t>(a.rows.row(slot, at)), static_cast<std::uint32_t>(turn.iteration),
          static_cast<std::uint32_t>(turn.restart),
          a.progress ? static_cast<std::uint32_t>(a.progress[slot].update) : 0u};
}

// ---- kernels of PGD ---------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads)
    attack_turn_kernel(Turn turn, int restart, const law::AttackConstants* attacks, int slots,
                       const int* rows_in_hand, AttackTurn* turns, int* rows_now) {
  const int slot = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (slot >= slots) return;
  AttackTurn now = turns[slot];
  if (turn == Turn::run) now = {restart, -1};
  if (turn == Turn::step) ++now.iteration;
  turns[slot] = now;
  const bool runs = now.restart < attacks[slot].restarts,
             steps = turn != Turn::step || now.iteration < attacks[slot].iterations;
  rows_now[slot] = runs && steps ? rows_in_hand[slot] : 0;
}

__global__ void __launch_bounds__(kThreads) pgd_start_kernel(PgdArguments a) {
  const WarpRow row(a.rows.slots);
  if (row.at >= a.rows.slots.rows[row.slot]) return;
  const std::int64_t begin = row.place * padded(a.inputs);
  start_row(a.attacks[row.slot], a.inputs, draw_of(a, row.slot, row.at), a.x + begin, a.perturbation + begin,
            a.moved + begin);
}

// One thread a row.
__global__ void __launch_bounds__(kThreads) pgd_loss_gradient_kernel(PgdArguments a) {
  const int slot = static_cast<int>(blockIdx.y);
  const int at = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (at >= a.rows.slots.rows[slot]) return;
  const std::int64_t begin =
      (static_cast<std::int64_t>(slot) * a.rows.slots.capacity + at) * padded(a.outputs);
  const law::AttackConstants attack = a.attacks[slot];
  loss_gradient_row(a, attack, slot, at, draw_of(a, slot, at), a.rows.label(slot, at),
                    inverse_count(a, attack, slot, at), a.logits + begin, a.logit_gradient + begin);
}

__global__ void __launch_bounds__(kThreads) pgd_step_kernel(PgdArguments a) {
  const WarpRow row(a.rows.slots);
  if (row.at >= a.rows.slots.rows[row.slot]) return;
  const law::AttackConstants attack = a.attacks[row.slot];
  const bool stays = attack.minimal && law::predicted_class(a.logits + row.place * padded(a.outputs),
                                                            a.outputs) != a.rows.label(row.slot, row.at);
  const int stride = padded(a.inputs);
  const std::int64_t begin = row.place * stride;
  step_rows<1>(attack, a.inputs, stays ? 0u : 1u, a.x + begin, {a.perturbation + begin, stride},
               {a.moved + begin, stride});
}

__global__ void __launch_bounds__(kThreads) pgd_select_kernel(PgdArguments a) {
  const WarpRow row(a.rows.slots);
  if (row.at >= a.rows.slots.rows[row.slot]) return;
  select_row(a, a.attacks[row.slot], row.slot, row.at, a.turns[row.slot].restart,
             a.rows.label(row.slot, row.at), a.logits + row.place * padded(a.outputs),
             a.perturbation + row.place * padded(a.inputs), a.worst_loss + row.place);
}

__global__ void __launch_bounds__(kThreads) pgd_apply_kernel(PgdArguments a, float* x) {
  const WarpRow row(a.rows.slots);
  if (row.at >= a.rows.slots.rows[row.slot] || a.attacks[row.slot].restarts == 0) return;
  for_my_inputs(a.inputs,
                [&](int k) { x[row.place * padded(a.inputs) + k] += a.worst[row.place * a.inputs + k]; });
}

// ---- kernels of universal perturbations -------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads)
    universal_turn_kernel(std::int64_t step, const law::AttackConstants* attacks,
                          const std::int64_t* all_rows, const std::int64_t* steps, int slots,
                          std::int64_t* firsts, int* rows, int* fresh) {
  const int slot = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (slot >= slots) return;
  const law::AttackConstants attack = attacks[slot];
  const std::int64_t all = all_rows[slot], batches = (all + attack.batch - 1) / attack.batch;
  const bool works = step < steps[slot];
  const std::int64_t first = works ? step / attack.iterations % batches * attack.batch : 0;
  firsts[slot] = first;
  rows[slot] = works ? static_cast<int>(law::rows_of_batch(first, all, attack.batch)) : 0;
  fresh[slot] = step % attack.iterations == 0 ? rows[slot] : 0;
}

__global__ void __launch_bounds__(kThreads) universal_shift_kernel(UniversalArguments a) {
  const WarpRow row(a.rows.slots);
  if (row.at >= a.rows.slots.rows[row.slot]) return;
  const law::AttackConstants attack = a.attacks[row.slot];
  const std::int64_t begin = row.place * padded(a.inputs);
  const float* universal = a.universal + static_cast<std::int64_t>(row.slot) * a.inputs;
  const float sign = law::universal_sign(a.classes, a.rows.label(row.slot, row.at));
  for_my_inputs(a.inputs, [&](int k) {
    a.moved[begin + k] = law::inside(attack, law::shifted(a.x[begin + k], sign, universal[k]));
  });
  if (lane() == 0)
    for (int k = a.inputs; k % kQuad != 0; ++k) a.moved[begin + k] = kPadding;
}

// One thread an input: the rows' shares in their order.
__global__ void __launch_bounds__(kThreads) universal_gradient_kernel(UniversalArguments a) {
  const int slot = static_cast<int>(blockIdx.y);
  const int k = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int rows = a.rows.slots.rows[slot], stride = padded(a.inputs);
  if (k >= a.inputs || rows == 0) return;
  const law::AttackConstants attack = a.attacks[slot];
  const std::int64_t begin = static_cast<std::int64_t>(slot) * a.rows.slots.capacity * stride + k;
  const float universal = a.universal[static_cast<std::int64_t>(slot) * a.inputs + k];
  const auto share = [&](int row) {
    const std::int64_t at = begin + static_cast<std::int64_t>(row) * stride;
    const float sign = law::universal_sign(a.classes, a.rows.label(slot, row));
    return law::universal_share(attack, law::shifted(a.x[at], sign, universal), sign, a.moved[at]);
  };
  float sum = 0.0f;
  int row = 0;
  for (; row + kSharesAtOnce <= rows; row += kSharesAtOnce) {
    float shares[kSharesAtOnce];
    OCCAM_UNROLL
    for (int i = 0; i < kSharesAtOnce; ++i) shares[i] = share(row + i);
    OCCAM_UNROLL
    for (int i = 0; i < kSharesAtOnce; ++i) sum += shares[i];
  }
  for (; row < rows; ++row) sum += share(row);
  a.gradient[static_cast<std::int64_t>(slot) * a.inputs + k] = sum;
}

// One warp a slot.
__global__ void __launch_bounds__(kThreads) universal_step_kernel(UniversalArguments a) {
  const int slot = static_cast<int>(blockIdx.x) * kRowsOfBlock + static_cast<int>(threadIdx.x) / law::kLanes;
  if (slot >= a.rows.slots.count || a.rows.slots.rows[slot] == 0) return;
  const std::int64_t begin = static_cast<std::int64_t>(slot) * a.inputs;
  universal_step_of(a.attacks[slot], a.inputs, a.gradient + begin, a.universal + begin);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

dim3 grid_of_slots(int slots, int per_block) {
  require(slots >= 1 && slots <= kMaxSlots, "attack: {} members at once; give 1 to {}", slots, kMaxSlots);
  return dim3(static_cast<unsigned>(tiles(slots, per_block)));
}

// `per_block` rows or inputs of each slot a block.
dim3 grid_of(const Slots& slots, int size, int per_block) {
  grid_of_slots(slots.count, per_block);
  return dim3(static_cast<unsigned>(tiles(size, per_block)), static_cast<unsigned>(slots.count));
}

}  // namespace

void launch_attack_turn(Stream& stream, Turn turn, int restart, const law::AttackConstants* attacks,
                        int slots, const int* rows_in_hand, AttackTurn* turns, int* rows_now) {
  const NvtxRange range{"attack turn"};
  launch(stream, "attack_turn", attack_turn_kernel, grid_of_slots(slots, kThreads), dim3(kThreads), 0, turn,
         restart, attacks, slots, rows_in_hand, turns, rows_now);
}

void launch_pgd_start(Stream& stream, const PgdArguments& a) {
  const NvtxRange range{"pgd start"};
  launch(stream, "pgd_start", pgd_start_kernel, grid_of(a.rows.slots, a.rows.slots.capacity, kRowsOfBlock),
         dim3(kThreads), 0, a);
}

void launch_pgd_loss_gradient(Stream& stream, const PgdArguments& a) {
  const NvtxRange range{"pgd loss gradient"};
  require(a.logits != a.logit_gradient, "pgd: logits and their gradient are one");
  launch(stream, "pgd_loss_gradient", pgd_loss_gradient_kernel,
         grid_of(a.rows.slots, a.rows.slots.capacity, kThreads), dim3(kThreads), 0, a);
}

void launch_pgd_step(Stream& stream, const PgdArguments& a) {
  const NvtxRange range{"pgd step"};
  launch(stream, "pgd_step", pgd_step_kernel, grid_of(a.rows.slots, a.rows.slots.capacity, kRowsOfBlock),
         dim3(kThreads), 0, a);
}

void launch_pgd_select(Stream& stream, const PgdArguments& a) {
  const NvtxRange range{"pgd select"};
  launch(stream, "pgd_select", pgd_select_kernel, grid_of(a.rows.slots, a.rows.slots.capacity, kRowsOfBlock),
         dim3(kThreads), 0, a);
}

void launch_pgd_apply(Stream& stream, const PgdArguments& a, float* x) {
  const NvtxRange range{"pgd apply"};
  launch(stream, "pgd_apply", pgd_apply_kernel, grid_of(a.rows.slots, a.rows.slots.capacity, kRowsOfBlock),
         dim3(kThreads), 0, a, x);
}

void launch_universal_turn(Stream& stream, std::int64_t step, const law::AttackConstants* attacks,
                           const std::int64_t* all_rows, const std::int64_t* steps, int slots,
                           std::int64_t* firsts, int* rows, int* fresh) {
  const NvtxRange range{"universal turn"};
  launch(stream, "universal_turn", universal_turn_kernel, grid_of_slots(slots, kThreads), dim3(kThreads), 0,
         step, attacks, all_rows, steps, slots, firsts, rows, fresh);
}

void launch_universal_shift(Stream& stream, const UniversalArguments& a) {
  const NvtxRange range{"universal shift"};
  launch(stream, "universal_shift", universal_shift_kernel,
         grid_of(a.rows.slots, a.rows.slots.capacity, kRowsOfBlock), dim3(kThreads), 0, a);
}

void launch_universal_step(Stream& stream, const UniversalArguments& a) {
  const NvtxRange range{"universal step"};
  launch(stream, "universal_gradient", universal_gradient_kernel, grid_of(a.rows.slots, a.inputs, kThreads),
         dim3(kThreads), 0, a);
  launch(stream, "universal_step", universal_step_kernel, grid_of_slots(a.rows.slots.count, kRowsOfBlock),
         dim3(kThreads), 0, a);
}

}  // namespace occam::cuda
