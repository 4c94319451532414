// SGD, Adam and RMSProp in double precision, as PyTorch documents them: weight decay is added to the
// gradient, no dampening, no Nesterov, no amsgrad, not centred.
#pragma once

#include <cstddef>
#include <vector>

namespace reference {

enum class OptimizerKind { sgd, adam, rmsprop };

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::sgd;
  double learning_rate = 0.1, momentum = 0, weight_decay = 0;
  double beta1 = 0.9, beta2 = 0.999, alpha = 0.99, epsilon = 1e-8;
};

class Optimizer {
 public:
  Optimizer(OptimizerSettings settings, std::size_t parameters)
      : settings_(settings), first_(parameters), second_(parameters) {}

  // One step on all parameters; gradients[i] belongs to parameters[i].
  void step(const std::vector<double*>& parameters, const std::vector<double*>& gradients);

 private:
  OptimizerSettings settings_;
  std::vector<double> first_;   // SGD: velocity. Adam: mean of the gradient. RMSProp: velocity
  std::vector<double> second_;  // Adam, RMSProp: mean of the squared gradient
  int steps_ = 0;
};

}  // namespace reference
