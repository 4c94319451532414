// Projected gradient descent in double precision, one row at a time, written from the definition (Madry et
// al. 2018; the study's notebook 6). The start is given.
#pragma once

#include <functional>

#include "reference/mlp.hpp"

namespace reference {

struct AttackSettings {
  bool l2 = true;
  double epsilon = 1, step = 0.1, lower = 0, upper = 1;
  int iterations = 1;
  int batch_rows = 1;  // the gradient is that of the mean over so many rows
  bool minimal = false;
  // The sum over the classes c of weight(iteration)[c] · ℓ(c) is descended: −1 at the label alone is the
  // untargeted loss.
  std::function<Vector(int iteration)> weight;
};

// x, start: one row [inputs]. Returns the perturbation [inputs].
Vector pgd(const Net& net, const Parameters& parameters, const Vector& x, int label, const Vector& start,
           const AttackSettings& settings);

}  // namespace reference
