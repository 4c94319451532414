// The settings of attacks and what they make. occam/attack.hpp runs them; training on perturbed rows
// (occam/training.hpp) takes them too.
#pragma once

#include <cstdint>
#include <vector>

namespace occam {

enum class Norm : std::int32_t { l2 = 0, linf = 1 };

// The loss that an attack descends. ℓ(c) is the cross-entropy of class c, for networks of one logit the binary
// cross-entropy, whatever they were trained with: the hinge is flat where a row is right by more than its
// margin.
enum class AttackLoss : std::int32_t {
  untargeted = 0,       // −ℓ(y)
  targeted = 1,         // ℓ(target)
  random_targeted = 2,  // ℓ(class drawn anew for each row and iteration; it may be y)
  plus_one = 3,         // ℓ(y + 1 mod classes)
  binary_targeted = 4,  // ℓ(1 − y), two classes
  binary_hybrid = 5,    // ℓ(1 − y) − ℓ(y), two classes
};

// Projected gradient descent. Each of `iterations` steps takes the gradient g at x + δ of the loss, averaged
// over the batch the row belongs to (rows [b · batch, (b + 1) · batch) of the split, in order); then
//   ℓ2:  δ −= step · g / (‖g‖ + 1e-10), δ ·= epsilon / max(‖δ‖, epsilon)
//   ℓ∞:  δ −= step · sign(g), clipped to ±epsilon
// and δ is clamped so that x + δ stays inside [lower, upper]. δ starts uniform on ±start, scaled to length
// `start` for ℓ2, neither projected nor clamped. epsilon = 0 gives δ = 0.
struct Pgd {
  Norm norm = Norm::l2;
  AttackLoss loss = AttackLoss::untargeted;
  double epsilon = 1.0, step = 0.05;
  int iterations = 20;
  double lower = 0, upper = 1;  // bounds of x + δ
  double start = 1e-3;
  // Of several runs the one with the largest ℓ(y) at its end counts, row by row, ties to the later. A minimal
  // attack, whose aim is another, has one.
  int restarts = 1;
  // How far is the nearest mistake? A step moves only rows that are not misclassified at x + δ, and is not
  // projected. As in the original, δ starts and is clamped as without it: a row misclassified at its start
  // keeps that start, and with start = 0 does not move at all. (The original's ℓ∞ attack has no such mode: it
  // moves and projects every row.)
  bool minimal = false;
  int target = 0;  // of AttackLoss::targeted
  int batch = 256;
  bool track = false;  // keep the logits before every step (one run: restarts = 1; none when epsilon is 0)
  std::uint32_t seed = 0;  // of the start and of random targets
  bool operator==(const Pgd&) const = default;
};

// Universal perturbation by descent: δ = 0; for each epoch and each batch of rows in order, `iterations`
// steps of normalised gradient descent (as Pgd's, on one vector) on the batch's mean loss at clamp(x + (2y −
// 1) δ), the gradient taken through the clamp, then projected to length epsilon (ℓ2) or clipped (ℓ∞). For
// more than two classes the factor 2y − 1 is 1. random_targeted and plus_one are no universal aims and are
// refused.
struct AsUap {
  Norm norm = Norm::l2;
  AttackLoss loss = AttackLoss::untargeted;
  double epsilon = 1.0, step = 0.05;
  int iterations = 30, epochs = 2;
  double lower = 0, upper = 1;
  int target = 0;
  int batch = 256;
  bool operator==(const AsUap&) const = default;
};

// Smallest and largest value of rows as the model sees them.
struct DataRange {
  float low = 0, high = 0;
  float width() const { return high - low; }
};

// Rows of one member after PGD.
struct Perturbed {
  std::vector<float> perturbation;  // [rows][inputs]
  std::vector<float> logits;        // [rows][outputs] at x + perturbation
  std::vector<float> tracked;       // [iterations][rows][outputs]; empty unless asked for
};

}  // namespace occam
