// A step of an attack, of one row or several at once: a warp's rows share the trees of their norms and the divisions
// behind them.
#pragma once

#include "perturb.cuh"
#include "warp_rows.cuh"

namespace occam::cuda {

// A step of the perturbations along dL/dx in `moved`, which become x + perturbation, padding included; a row that stays
// (its bit of `moving` is 0) is only clamped: its start may lie beyond the bounds. x: rows as far apart as those of `perturbation`.
template <int rows>
__device__ __forceinline__ void step_rows(const law::AttackConstants& attack, int inputs, unsigned moving,
                                          const float* x, Panel perturbation, Panel moved) {
  const bool l2 = attack.norm == Norm::l2, projects = l2 && !attack.minimal;
  const auto each_row = [](const auto& f) {
    OCCAM_UNROLL
    for (int s = 0; s < rows; ++s) f(s);
  };
  // Every lane's numbers of all rows are read before the first is used.
  const auto read = [&](const float* from, int stride, int k, float(&value)[rows]) {
    each_row([&](int s) { value[s] = from[s * stride + k]; });
  };
  float sum[rows], factor[rows], p[rows], other[rows];
  const auto share = [&](float of_lane) {
    each_row([&](int s) { factor[s] = of_total_row<rows>(of_lane, s); });
  };
  if (l2) {
    each_row([&](int s) { sum[s] = 0.0f; });
    for_my_inputs(inputs, [&](int k) {
      read(moved.data, moved.stride, k, other);
      each_row([&](int s) { sum[s] += other[s] * other[s]; });
    });
    share(law::step_scale(attack, totals<rows>(sum)));
  }
  each_row([&](int s) { sum[s] = 0.0f; });
  const auto advance = [&](const auto& along) {
    for_my_inputs(inputs, [&](int k) {
      read(perturbation.data, perturbation.stride, k, p), read(moved.data, moved.stride, k, other);
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
    read(perturbation.data, perturbation.stride, k, p), read(x, perturbation.stride, k, other);
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
