// The arithmetic of attacks (occam/perturbation.hpp), written once for every body. Norms are the square root
// of a lane sum (law/sum.hpp) of squares over the inputs in ascending order; all else is per element.
#pragma once

#include <cstdint>

#include "law/functions.hpp"
#include "law/loss.hpp"
#include "law/sum.hpp"
#include "occam/perturbation.hpp"
#include "occam/philox.hpp"

namespace occam::law {

inline constexpr float kNormGuard = 1e-10f;  // keeps a vanished gradient from dividing by zero

// An attack's constants, rounded once from double.
struct AttackConstants {
  Norm norm;
  AttackLoss loss;
  float epsilon, step, lower, upper, start;
  std::int32_t iterations, restarts, batch, target;
  std::uint32_t seed;
  bool minimal;
};

inline AttackConstants rounded(const Pgd& a) {
  return {a.norm,
          a.loss,
          static_cast<float>(a.epsilon),
          static_cast<float>(a.step),
          static_cast<float>(a.lower),
          static_cast<float>(a.upper),
          static_cast<float>(a.start),
          a.iterations,
          a.restarts,
          a.batch,
          a.target,
          a.seed,
          a.minimal};
}

// Without room to move there is one run of no iterations.
inline AttackConstants attack_constants(const Pgd& a) {
  AttackConstants constants = rounded(a);
  if (constants.epsilon == 0.0f) constants.iterations = 0, constants.restarts = 1;
  return constants;
}

inline AttackConstants attack_constants(const AsUap& a) {
  Pgd same{.norm = a.norm, .loss = a.loss, .epsilon = a.epsilon, .step = a.step, .iterations = a.iterations};
  same.lower = a.lower, same.upper = a.upper, same.target = a.target, same.batch = a.batch;
  return rounded(same);
}

// Rows of the batch that row `row` of `rows` belongs to.
OCCAM_HD std::int64_t rows_of_batch(std::int64_t row, std::int64_t rows, std::int32_t batch) {
  const std::int64_t first = row / batch * batch, left = rows - first;
  return left < batch ? left : batch;
}

// ---- start ------------------------------------------------------------------------------------------------

// Four inputs' draws, uniform on ±start, before ℓ2's scaling. `update`: of a training under way, else 0.
struct StartQuad {
  float value[4];
};
OCCAM_HD StartQuad start_quad(const AttackConstants& a, std::uint32_t row, std::uint32_t quad,
                              std::uint32_t restart, std::uint32_t update) {
  const Philox words = draw(a.seed, Stream::attack_start, row, quad, restart, update);
  StartQuad result;
  for (int i = 0; i < 4; ++i) result.value[i] = a.start * fma(2.0f, uniform01(words.word[i]), -1.0f);
  return result;
}

// What an ℓ2 start of this squared norm is multiplied by.
OCCAM_HD float start_scale(const AttackConstants& a, float squared_norm) {
  return a.start / (square_root(squared_norm) + kNormGuard);
}

// ---- loss -------------------------------------------------------------------------------------------------

// ℓ(label) of an attack: the cross-entropy, of one logit the binary one, whatever the network was trained
// with. The hinge would be flat beyond its margin, where a trained network's rows are.
OCCAM_HD float label_loss(const float* logit, int outputs, std::int32_t label) {
  return outputs > 1 ? cross_entropy(logit, outputs, label) : binary_cross_entropy(logit[0], label);
}

// The class an attack aims at; the label for losses that aim at none.
OCCAM_HD std::int32_t attack_target(const AttackConstants& a, int classes, std::int32_t label,
                                    std::uint32_t row, std::uint32_t iteration, std::uint32_t restart,
                                    std::uint32_t update) {
  switch (a.loss) {
    case AttackLoss::targeted: return a.target;
    case AttackLoss::random_targeted:
      return static_cast<std::int32_t>(
          uniform_below(draw(a.seed, Stream::attack_target, row, iteration, restart, update).word[0],
                        static_cast<std::uint32_t>(classes)));
    case AttackLoss::plus_one: return label + 1 < classes ? label + 1 : 0;
    case AttackLoss::binary_targeted: return 1 - label;
    default: return label;
  }
}

// One element of dL/dlogits of the attack's loss from those of ℓ: `at_target` of ℓ(target),
// where target is attack_target(), and `at_other` of ℓ(1 − label), read by binary_hybrid alone.
OCCAM_HD float attack_gradient(AttackLoss loss, float at_target, float at_other) {
  if (loss == AttackLoss::untargeted) return -at_target;
  if (loss == AttackLoss::binary_hybrid) return at_other - at_target;
  return at_target;
}

// dℓ/dlogits of one row, [outputs]. Of one logit it is −sigmoid(−x) for class 1 and sigmoid(x) for class 0:
// sigmoid(x) − 1, as training has it, is 0 in fp32 from x = 17 on, where there is nothing left to follow.
OCCAM_HD void label_loss_gradient(const float* logit, int outputs, std::int32_t label, float inverse_count,
                                  float* gradient) {
  if (outputs > 1) return cross_entropy_gradient(logit, outputs, label, inverse_count, gradient);
  gradient[0] = (label != 0 ? -sigmoid(-logit[0]) : sigmoid(logit[0])) * inverse_count;
}

// dL/dlogits of one row, [outputs]; `gradient` is not `logit`.
OCCAM_HD void attack_loss_gradient(AttackLoss attack, const float* logit, int outputs, std::int32_t label,
                                   std::int32_t target, float inverse_count, float* gradient) {
  label_loss_gradient(logit, outputs, target, inverse_count, gradient);
  float other[2] = {0.0f, 0.0f};
  if (attack == AttackLoss::binary_hybrid)
    label_loss_gradient(logit, outputs, 1 - label, inverse_count, other);
  for (int c = 0; c < outputs; ++c)
    gradient[c] = attack_gradient(attack, gradient[c], attack == AttackLoss::binary_hybrid ? other[c] : 0.0f);
}

// ---- step -------------------------------------------------------------------------------------------------

// ℓ2: the step's length over the gradient's.
OCCAM_HD float step_scale(const AttackConstants& a, float squared_norm) {
  return a.step / (square_root(squared_norm) + kNormGuard);
}
OCCAM_HD float l2_step(float perturbation, float gradient, float scale) {
  return fma(-scale, gradient, perturbation);
}
// ℓ2: what a perturbation of this squared norm is multiplied by; 1 inside the ball.
OCCAM_HD float projection_scale(const AttackConstants& a, float squared_norm) {
  if (a.epsilon == 0.0f) return 0.0f;
  return a.epsilon / larger(a.epsilon, square_root(squared_norm));
}

// ℓ∞, without the projection.
OCCAM_HD float linf_step(const AttackConstants& a, float perturbation, float gradient) {
  const float sign = gradient > 0.0f ? 1.0f : gradient < 0.0f ? -1.0f : 0.0f;
  return fma(-a.step, sign, perturbation);
}
OCCAM_HD float clip(const AttackConstants& a, float perturbation) {
  return larger(-a.epsilon, smaller(a.epsilon, perturbation));
}

// Keeps x + perturbation inside the bounds.
OCCAM_HD float clamp(const AttackConstants& a, float perturbation, float x) {
  return larger(a.lower - x, smaller(a.upper - x, perturbation));
}

// ---- universal perturbations ------------------------------------------------------------------------------

OCCAM_HD float universal_sign(int classes, std::int32_t label) {
  return classes > 2 || label != 0 ? 1.0f : -1.0f;
}

OCCAM_HD float shifted(float x, float sign, float universal) { return fma(sign, universal, x); }
OCCAM_HD float inside(const AttackConstants& a, float x) { return larger(a.lower, smaller(a.upper, x)); }

// A row's share of dL/duniversal: the clamp passes the gradient where it changes nothing. Shares of a batch
// are added in the order of its rows, from +0.
OCCAM_HD float universal_share(const AttackConstants& a, float shifted_x, float sign, float gradient) {
  return shifted_x >= a.lower && shifted_x <= a.upper ? sign * gradient : 0.0f;
}

// One step of a universal perturbation along dL/duniversal; both [inputs].
OCCAM_HD void universal_step(const AttackConstants& a, std::int64_t inputs, const float* gradient,
                             float* universal) {
  const auto squared = [inputs](const float* x) {
    return lane_sum_of(inputs, [x](std::int64_t k) { return x[k] * x[k]; });
  };
  const bool l2 = a.norm == Norm::l2;
  const float scale = l2 ? step_scale(a, squared(gradient)) : 0.0f;
  for (std::int64_t k = 0; k < inputs; ++k)
    universal[k] =
        l2 ? l2_step(universal[k], gradient[k], scale) : clip(a, linf_step(a, universal[k], gradient[k]));
  if (!l2) return;
  const float projection = projection_scale(a, squared(universal));
  for (std::int64_t k = 0; k < inputs; ++k) universal[k] *= projection;
}

}  // namespace occam::law
