// A step of several rows of an attack at once: a warp's rows share the trees of their norms and the divisions behind
// them. The bits are those of step_row (kernels/perturb.cuh).
#pragma once

#include "perturb.cuh"
#include "warp_rows.cuh"

namespace occam::cuda {

// A step of the perturbations along dL/dx in `moved`, which become x + perturbation, padding included; a row that stays
// (moves[s] is 0) is only clamped: its start may lie beyond the bounds.
template <int rows>
__device__ __forceinline__ void step_rows(const law::AttackConstants& attack, int inputs,
                                          const std::int32_t* moves, Panel x, Panel perturbation,
                                          Panel moved) {
  const bool l2 = attack.norm == Norm::l2, projects = l2 && !attack.minimal;
  const unsigned moving = __ballot_sync(kWarp, lane() < rows && moves[lane() % rows] != 0);
  const auto each_row = [](const auto& f) {
    OCCAM_UNROLL
    for (int s = 0; s < rows; ++s) f(s);
  };
  // Every lane's numbers of all rows are read before the first is used.
  const auto read = [&](Panel from, int k, float(&value)[rows]) {
    each_row([&](int s) { value[s] = from.row(s)[k]; });
  };
  float sum[rows], factor[rows], p[rows], other[rows];
  const auto share = [&](float of_lane) {
    each_row([&](int s) { factor[s] = of_total_row<rows>(of_lane, s); });
  };
  if (l2) {
    each_row([&](int s) { sum[s] = 0.0f; });
    for_my_inputs(inputs, [&](int k) {
      read(moved, k, other);
      each_row([&](int s) { sum[s] += other[s] * other[s]; });
    });
    share(law::step_scale(attack, totals<rows>(sum)));
  }
  each_row([&](int s) { sum[s] = 0.0f; });
  const auto advance = [&](const auto& along) {
    for_my_inputs(inputs, [&](int k) {
      read(perturbation, k, p), read(moved, k, other);
      each_row([&](int s) {
        const float stepped = along(p[s], other[s], factor[s]);
        if ((moving >> s & 1) != 0) p[s] = stepped;
        sum[s] += p[s] * p[s];
        perturbation.row(s)[k] = p[s];
      });
    });
  };
  if (l2)
    advance([](float from, float gradient, float scale) { return law::l2_step(from, gradient, scale); });
  else if (attack.minimal)
    advance([&](float from, float gradient, float) { return law::linf_step(attack, from, gradient); });
  else
    advance([&](float from, float gradient, float) {
      return law::clip(attack, law::linf_step(attack, from, gradient));
    });
  if (projects) share(law::projection_scale(attack, totals<rows>(sum)));
  for_my_inputs(inputs, [&](int k) {
    read(perturbation, k, p), read(x, k, other);
    each_row([&](int s) {
      const float stepped = projects && (moving >> s & 1) != 0 ? p[s] * factor[s] : p[s];
      perturbation.row(s)[k] = p[s] = law::clamp(attack, stepped, other[s]);
      moved.row(s)[k] = other[s] + p[s];
    });
  });
  for (int k = inputs; k % kQuad != 0; ++k)
    if (lane() < rows) moved.row(lane())[k] = kPadding;
  __syncwarp();
}

}  // namespace occam::cuda
