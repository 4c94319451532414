// One parameter's step under SGD, Adam and RMSProp as torch.optim defines them (no dampening, no Nesterov, no
// amsgrad; weight decay is added to the gradient). Optimiser state is at most two floats a parameter, zero
// before the first update.
#pragma once

#include <cstdint>

#include "law/functions.hpp"
#include "occam/optimizer.hpp"

namespace occam::law {

// A member's constants, rounded once from double.
struct OptimizerConstants {
  OptimizerKind kind;
  float learning_rate, momentum, weight_decay;
  float beta1_complement, beta2, beta2_complement;
  float alpha, alpha_complement, epsilon;
  double beta1_exact, beta2_exact,
      learning_rate_exact;  // for the bias corrections, which PyTorch takes in double
};

inline OptimizerConstants optimizer_constants(const Optimizer& o) {
  return {o.kind,
          static_cast<float>(o.learning_rate),
          static_cast<float>(o.momentum),
          static_cast<float>(o.weight_decay),
          static_cast<float>(1.0 - o.beta1),
          static_cast<float>(o.beta2),
          static_cast<float>(1.0 - o.beta2),
          static_cast<float>(o.alpha),
          static_cast<float>(1.0 - o.alpha),
          static_cast<float>(o.epsilon),
          o.beta1,
          o.beta2,
          o.learning_rate};
}

// Floats of state a parameter needs.
inline int state_slots(const Optimizer& o) {
  switch (o.kind) {
    case OptimizerKind::sgd: return o.momentum != 0.0 ? 1 : 0;
    case OptimizerKind::adam: return 2;
    default: return o.momentum != 0.0 ? 2 : 1;
  }
}

// base^exponent by squaring: the same double on every machine.
OCCAM_HD double power(double base, std::int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}

// The learning rate of an epoch (0, 1, …).
inline double learning_rate(const Optimizer& o, const Schedule& schedule, std::int64_t epoch) {
  return schedule.epochs == 0 ? o.learning_rate
                              : o.learning_rate * power(schedule.factor, epoch / schedule.epochs);
}

// Adam's two scalars of update number `update` (0, 1, …); other optimisers do not read them.
struct AdamScale {
  float step;  // learning rate / (1 − beta1^t)
  float root;  // sqrt(1 − beta2^t)
};
OCCAM_HD AdamScale adam_scale(const OptimizerConstants& o, std::int64_t update) {
  const double correction1 = 1.0 - power(o.beta1_exact, update + 1);
  const double correction2 = 1.0 - power(o.beta2_exact, update + 1);
  return {static_cast<float>(o.learning_rate_exact / correction1),
          static_cast<float>(square_root(correction2))};
}

// SGD's state0 is the momentum buffer (read only if momentum != 0). Adam: state0, state1 are the first and
// second moments. RMSProp: state0 is the mean square, state1 the momentum buffer (read only if momentum !=
// 0).
template <OptimizerKind kind, bool has_momentum>
OCCAM_HD void optimizer_step(const OptimizerConstants& o, AdamScale adam, float gradient, float& parameter,
                             float& state0, float& state1) {
  gradient = fma(o.weight_decay, parameter, gradient);
  if constexpr (kind == OptimizerKind::sgd) {
    if constexpr (has_momentum) gradient = state0 = fma(o.momentum, state0, gradient);
    parameter = fma(-o.learning_rate, gradient, parameter);
  } else if constexpr (kind == OptimizerKind::adam) {
    state0 = fma(o.beta1_complement, gradient - state0, state0);
    state1 = fma(o.beta2_complement * gradient, gradient, o.beta2 * state1);
    parameter = fma(-adam.step, state0 / (square_root(state1) / adam.root + o.epsilon), parameter);
  } else {
    state0 = fma(o.alpha_complement * gradient, gradient, o.alpha * state0);
    float direction = gradient / (square_root(state0) + o.epsilon);
    if constexpr (has_momentum) direction = state1 = fma(o.momentum, state1, direction);
    parameter = fma(-o.learning_rate, direction, parameter);
  }
}

}  // namespace occam::law
