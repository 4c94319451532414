// One row of an attack: what plan tiled's kernels (kernels/perturb.cu) and the one on the chip
// (kernels/pgd.cu) share. A warp owns a row and its perturbation. Norms are the law's lane sums over its
// inputs; a lane reads and writes the same inputs in every pass, so nothing in between waits. Pointers are of
// global or of shared memory.
#pragma once

#include "lanes.cuh"
#include "law/attack.hpp"
#include "perturb.hpp"
#include "product.cuh"

namespace occam::cuda {

template <class F>
__device__ __forceinline__ void for_my_inputs(int n, const F& f) {
  for (int k = lane(); k < n; k += law::kLanes) f(k);
}

// Lane sum of x[k]² for all lanes of the warp.
__device__ __forceinline__ float squared_norm(int n, const float* x) {
  float sum = 0.0f;
  for_my_inputs(n, [&](int k) { sum += x[k] * x[k]; });
  return __shfl_sync(kWarp, warp_total(sum), 0);
}

// What keys the draws of a row.
struct AttackDraw {
  std::uint32_t row, iteration, restart, update;
};

// perturbation = where a run starts; moved = x + perturbation. Both with their padding.
__device__ __forceinline__ void start_row(const law::AttackConstants& attack, int inputs,
                                          const AttackDraw& draw, const float* x, float* perturbation,
                                          float* moved) {
  const bool still = attack.epsilon == 0.0f;
  for (int k = kQuad * lane(); k < inputs; k += kQuad * law::kLanes) {
    law::StartQuad quad{};
    if (!still)
      quad =
          law::start_quad(attack, draw.row, static_cast<std::uint32_t>(k / kQuad), draw.restart, draw.update);
    store_quad(perturbation, k, inputs,
               make_float4(quad.value[0], quad.value[1], quad.value[2], quad.value[3]));
  }
  __syncwarp();
  const float scale =
      !still && attack.norm == Norm::l2 ? law::start_scale(attack, squared_norm(inputs, perturbation)) : 1.0f;
  for_my_inputs(inputs, [&](int k) {
    const float start = perturbation[k] * scale;
    perturbation[k] = start;
    moved[k] = x[k] + start;
  });
  if (lane() == 0)
    for (int k = inputs; k % kQuad != 0; ++k) moved[k] = kPadding;
}

// One step of a universal perturbation along its gradient, both [inputs], by a warp.
__device__ __forceinline__ void universal_step_of(const law::AttackConstants& attack, int inputs,
                                                  const float* gradient, float* universal) {
  if (attack.norm == Norm::linf) {
    for_my_inputs(inputs, [&](int k) {
      universal[k] = law::clip(attack, law::linf_step(attack, universal[k], gradient[k]));
    });
    return;
  }
  const float scale = law::step_scale(attack, squared_norm(inputs, gradient));
  for_my_inputs(inputs, [&](int k) { universal[k] = law::l2_step(universal[k], gradient[k], scale); });
  const float projection = law::projection_scale(attack, squared_norm(inputs, universal));
  for_my_inputs(inputs, [&](int k) { universal[k] *= projection; });
}

// 1 over the rows of the batch that row `at` in hand belongs to.
__device__ __forceinline__ float inverse_count(const PgdArguments& a, const law::AttackConstants& attack,
                                               int slot, int at) {
  return 1.0f /
         static_cast<float>(law::rows_of_batch(a.rows.row(slot, at), a.rows.count(slot), attack.batch));
}

// dL/dlogits of row `at` in hand by one thread; puts the logits on the track. gradient: with its padding.
__device__ __forceinline__ void loss_gradient_row(const PgdArguments& a, const law::AttackConstants& attack,
                                                  int slot, int at, const AttackDraw& draw,
                                                  std::int32_t label, float inverse, const float* logits,
                                                  float* gradient) {
  const std::int32_t target =
      law::attack_target(attack, a.classes, label, draw.row, draw.iteration, draw.restart, draw.update);
  law::attack_loss_gradient(attack.loss, logits, a.outputs, label, target, inverse, gradient);
  for (int c = a.outputs; c % kQuad != 0; ++c) gradient[c] = kPadding;
  const auto iteration = static_cast<int>(draw.iteration);
  if (!a.tracked || iteration >= a.tracked_iterations) return;
  const std::int64_t place =
      (static_cast<std::int64_t>(slot) * a.tracked_iterations + iteration) * a.rows.slots.capacity + at;
  for (int c = 0; c < a.outputs; ++c) a.tracked[place * a.outputs + c] = logits[c];
}

// Keeps perturbation and logits of row `at` in hand if this run's count. worst_loss: this row's.
__device__ __forceinline__ void select_row(const PgdArguments& a, const law::AttackConstants& attack,
                                           int slot, int at, int restart, std::int32_t label,
                                           const float* logits, const float* perturbation,
                                           float* worst_loss) {
  float loss = 0.0f;
  if (attack.restarts > 1) {
    loss = law::label_loss(logits, a.outputs, label);
    const bool counts = restart == 0 || loss >= *worst_loss;
    __syncwarp();
    if (!counts) return;
  }
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.rows.slots.capacity + at;
  if (lane() == 0) *worst_loss = loss;
  for_my_inputs(a.inputs, [&](int k) { a.worst[place * a.inputs + k] = perturbation[k]; });
  for_my_inputs(a.outputs, [&](int c) { a.worst_logits[place * a.outputs + c] = logits[c]; });
}

}  // namespace occam::cuda
