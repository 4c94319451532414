// PGD of all slots together, one launch an operation; for attacks and for training on what they make.
#pragma once

#include "cuda/inference_pass.hpp"
#include "cuda/runtime.hpp"
#include "perturb.hpp"

namespace occam::cuda {

// Where an attack counts, [slots] each.
struct PgdCounters {
  const int* rows_in_hand;
  AttackTurn* turns;  // numbers, any
  int* rows_now;      // those of `rows.slots` of the arguments
};

// Heeds `interrupt` before the i-th of many enqueued steps; every 64 it waits for those before, so that whoever asks to
// stop does not wait for thousands.
inline void heed_before(std::int64_t i, Interrupt interrupt, const Stream& stream) {
  if (interrupt != nullptr && i % 64 == 63) stream.synchronize();
  heed(interrupt);
}

// One iteration on arguments.rows; arguments.turns are the counters'. Its launches can be captured.
void iterate_pgd(WaveData& data, InferencePass& pass, const PgdCounters& counters,
                 const PgdArguments& arguments);

// All runs on the rows in hand. iterations, restarts: the most of any slot. recorded: iterate_pgd(…), or
// empty. Heeds `interrupt` before each iteration; without one its launches can be captured.
void run_pgd(WaveData& data, InferencePass& pass, const PgdCounters& counters, const PgdArguments& arguments,
             int iterations, int restarts, const Graph& recorded, Interrupt interrupt = nullptr);

}  // namespace occam::cuda
