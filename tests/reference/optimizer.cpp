#include "reference/optimizer.hpp"

#include <cmath>

namespace reference {

void Optimizer::step(const std::vector<double*>& parameters, const std::vector<double*>& gradients) {
  const OptimizerSettings& o = settings_;
  ++steps_;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    double& w = *parameters[i];
    double& m = first_[i];
    double& v = second_[i];
    const double g = *gradients[i] + o.weight_decay * w;
    switch (o.kind) {
      case OptimizerKind::sgd:
        m = o.momentum * m + g;
        w -= o.learning_rate * m;
        break;
      case OptimizerKind::adam: {
        m = o.beta1 * m + (1 - o.beta1) * g;
        v = o.beta2 * v + (1 - o.beta2) * g * g;
        const double unbiased_m = m / (1 - std::pow(o.beta1, steps_)),
                     unbiased_v = v / (1 - std::pow(o.beta2, steps_));
        w -= o.learning_rate * unbiased_m / (std::sqrt(unbiased_v) + o.epsilon);
        break;
      }
      case OptimizerKind::rmsprop:
        v = o.alpha * v + (1 - o.alpha) * g * g;
        m = o.momentum * m + g / (std::sqrt(v) + o.epsilon);
        w -= o.learning_rate * m;
        break;
    }
  }
}

}  // namespace reference
