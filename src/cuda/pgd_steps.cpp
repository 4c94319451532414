#include "cuda/pgd_steps.hpp"

namespace occam::cuda {

namespace {

void open_turn(Stream& stream, Turn turn, int restart, const PgdCounters& counters, const PgdArguments& a) {
  launch_attack_turn(stream, turn, restart, a.attacks, a.rows.slots.count, counters.rows_in_hand,
                     counters.turns, counters.rows_now);
}

}  // namespace

void iterate_pgd(WaveData& data, InferencePass& pass, const PgdCounters& counters,
                 const PgdArguments& arguments) {
  Stream& stream = data.stream();
  PgdArguments step = arguments;
  open_turn(stream, Turn::step, 0, counters, arguments);
  step.logits = pass.forward(step.rows.slots, step.moved);
  launch_pgd_loss_gradient(stream, step);
  pass.backward(step.rows.slots, step.moved);
  launch_pgd_step(stream, step);
}

void run_pgd(WaveData& data, InferencePass& pass, const PgdCounters& counters, const PgdArguments& arguments,
             int iterations, int restarts, const Graph& recorded, Interrupt interrupt) {
  Stream& stream = data.stream();
  PgdArguments at_end = arguments;
  for (int restart = 0; restart < restarts; ++restart) {
    open_turn(stream, Turn::run, restart, counters, arguments);
    launch_pgd_start(stream, arguments);
    for (int t = 0; t < iterations; ++t) {
      heed_before(std::int64_t{restart} * iterations + t, interrupt, stream);
      if (recorded) {
        recorded.launch(stream);
      } else {
        iterate_pgd(data, pass, counters, arguments);
      }
    }
    open_turn(stream, Turn::end, restart, counters, arguments);
    at_end.logits = pass.forward(arguments.rows.slots, arguments.moved);
    launch_pgd_select(stream, at_end);
  }
}

}  // namespace occam::cuda
