// How an update moves parameters: the optimiser, its schedule, and in what the products behind it are computed.
#pragma once

#include <cstdint>

namespace occam {

enum class OptimizerKind : std::int32_t { sgd = 0, adam = 1, rmsprop = 2 };

// As torch.optim defines them (SGD without dampening and Nesterov; weight decay is the L2 form, on all
// parameters).
struct Optimizer {
  OptimizerKind kind = OptimizerKind::sgd;
  double learning_rate = 0.1;
  double momentum = 0.0;  // SGD and RMSProp
  double weight_decay = 0.0;
  double beta1 = 0.9, beta2 = 0.999;  // Adam
  double alpha = 0.99;                // RMSProp's smoothing
  double epsilon = 1e-8;              // Adam and RMSProp
  bool operator==(const Optimizer&) const = default;
};

// After every `epochs` epochs the learning rate is multiplied by `factor` (PyTorch's StepLR); 0 epochs: never.
struct Schedule {
  std::int64_t epochs = 0;
  double factor = 0.1;
  bool operator==(const Schedule&) const = default;
};

// In what the products of training are computed; everything else, parameters and their steps too, is fp32.
// tf32 and bf16 round the operands of products, for the tensor cores of a CUDA device. Scores are fp32
// always.
enum class Precision : std::int32_t { fp32 = 0, tf32 = 1, bf16 = 2 };

const char* name_of(Precision precision);

}  // namespace occam
