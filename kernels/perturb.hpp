// Attacks step by step (kernels/perturb.cu): what stands between the products of PGD and AS-UAP, which are
// those of forward.hpp and backward.hpp in inference mode. The arithmetic is law/attack.hpp's.
#pragma once

#include "cuda/kernel.hpp"
#include "law/attack.hpp"
#include "members.hpp"

namespace occam::cuda {

// How far an attack is. All slots count alike; one whose attack asks for less has no rows from then on.
struct AttackTurn {
  int restart, iteration;
};

// The rows an attack works on: of each slot those from its first one on, numbered within the split.
struct AttackRows {
  Slots slots;
  std::int64_t first;          // of every slot
  const std::int64_t* firsts;  // [slots] or of each; null: `first`
  const std::int64_t* all;     // [slots] rows of the split; null: those in hand
  const std::int32_t* labels;  // [slots][pitch] from the split's first row on
  std::int64_t pitch;

  OCCAM_HD std::int64_t row(int slot, int at) const { return (firsts ? firsts[slot] : first) + at; }
  OCCAM_HD std::int32_t label(int slot, int at) const { return labels[slot * pitch + row(slot, at)]; }
  OCCAM_HD std::int64_t count(int slot) const { return all ? all[slot] : slots.rows[slot]; }
};

struct PgdArguments {
  AttackRows rows;
  const law::AttackConstants* attacks;  // [slots]
  const AttackTurn* turns;              // [slots]
  const Progress* progress;             // [slots] of a training under way; null: none is
  int classes, inputs, outputs;
  const float* x;       // [slots][capacity][padded(inputs)]
  float* perturbation;  // [slots][capacity][padded(inputs)]
  float* moved;  // [slots][capacity][padded(inputs)] x + perturbation; dL/dx when a step is to be taken
  const float* logits;    // [slots][capacity][padded(outputs)]
  float* logit_gradient;  // [slots][capacity][padded(outputs)]
  float* worst;           // [slots][capacity][inputs] of the runs so far the one that counts
  float* worst_logits;    // [slots][capacity][outputs]
  float* worst_loss;      // [slots][capacity]
  float* tracked;  // [slots][tracked_iterations][capacity][outputs] logits before each step; null: not kept
  int tracked_iterations;
};

// What a turn opens.
enum class Turn : std::int32_t {
  run,   // iteration −1 of run `restart`
  step,  // the next iteration
  end,   // what follows the last one
};

// Sets the turns and rows_now[slots], the rows in hand of those slots whose attack takes part in it.
void launch_attack_turn(Stream& stream, Turn turn, int restart, const law::AttackConstants* attacks,
                        int slots, const int* rows_in_hand, AttackTurn* turns, int* rows_now);

// perturbation = where a run starts, all zero for epsilon 0; moved.
void launch_pgd_start(Stream& stream, const PgdArguments& arguments);

// logit_gradient from logits, which are also put on the track.
void launch_pgd_loss_gradient(Stream& stream, const PgdArguments& arguments);

// One step of the perturbation along dL/dx in `moved`, which becomes x + perturbation again.
void launch_pgd_step(Stream& stream, const PgdArguments& arguments);

// The end of a run: keeps its perturbation and logits where it counts.
void launch_pgd_select(Stream& stream, const PgdArguments& arguments);

// x ← x + worst in all rows of `rows` whose attack has runs at all. x: [slots][capacity][padded(inputs)]
void launch_pgd_apply(Stream& stream, const PgdArguments& arguments, float* x);

struct UniversalArguments {
  AttackRows rows;
  const law::AttackConstants* attacks;  // [slots]
  int classes, inputs;
  const float* x;    // [slots][capacity][padded(inputs)]
  float* moved;      // [slots][capacity][padded(inputs)] the shifted rows; may be x itself. Then dL/dmoved
  float* universal;  // [slots][inputs]
  float* gradient;   // [slots][inputs]
};

// Sets what step number `step` (0, 1, …) of each slot works on: its batch's first row and rows; none after
// steps[slot] steps. fresh: the rows of those slots whose batch is another than at the step before, else 0.
void launch_universal_turn(Stream& stream, std::int64_t step, const law::AttackConstants* attacks,
                           const std::int64_t* all_rows, const std::int64_t* steps, int slots,
                           std::int64_t* firsts, int* rows, int* fresh);

// moved = inside(shifted(x)).
void launch_universal_shift(Stream& stream, const UniversalArguments& arguments);

// gradient = Σ rows' shares of dL/duniversal; then the step.
void launch_universal_step(Stream& stream, const UniversalArguments& arguments);

}  // namespace occam::cuda
