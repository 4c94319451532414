// What an attack needs to know of one trained model, whatever it is made of. Gradients and logits are those
// of inference mode.
#pragma once

#include <span>

#include "occam/mlp.hpp"

namespace occam {

class Classifier {
 public:
  virtual ~Classifier() = default;

  virtual int inputs() const = 0;   // floats of a row
  virtual int outputs() const = 0;  // logits of a row
  virtual int classes() const = 0;
  virtual Loss loss() const = 0;

  // x: [rows][inputs]; logits: [rows][outputs].
  virtual void logits(std::span<const float> x, std::span<float> logits) = 0;

  // dL/dx from dL/dlogits at x. x, gradient: [rows][inputs]; logit_gradient: [rows][outputs].
  virtual void input_gradient(std::span<const float> x, std::span<const float> logit_gradient,
                              std::span<float> gradient) = 0;
};

}  // namespace occam
