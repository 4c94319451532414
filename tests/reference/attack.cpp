#include "reference/attack.hpp"

#include <algorithm>
#include <cmath>

namespace reference {

namespace {

double length(const Vector& x) {
  double sum = 0;
  for (double value : x) sum += value * value;
  return std::sqrt(sum);
}

Batch one_row(const Vector& x, int label) {
  Batch batch;
  batch.x = x;
  batch.labels = {label};
  return batch;
}

// Central differences of Σ_c weight[c] · ℓ(c): inference mode has no backward pass here, and needs none.
Vector gradient(const Net& net, const Parameters& parameters, const Vector& x, const Vector& weight) {
  constexpr double kStep = 1e-6;
  const auto objective = [&](const Vector& at) {
    const Vector logits = forward(net, parameters, one_row(at, 0), Mode::inference).logits;
    double sum = 0;
    for (std::size_t c = 0; c < weight.size(); ++c)
      if (weight[c] != 0) sum += weight[c] * loss_of(net, logits.data(), static_cast<int>(c));
    return sum;
  };
  Vector result(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) {
    Vector above = x, below = x;
    above[k] += kStep, below[k] -= kStep;
    result[k] = (objective(above) - objective(below)) / (2 * kStep);
  }
  return result;
}

}  // namespace

Vector pgd(const Net& net, const Parameters& parameters, const Vector& x, int label, const Vector& start,
           const AttackSettings& settings) {
  Vector delta = start;
  for (int t = 0; t < settings.iterations; ++t) {
    Vector moved = x;
    for (std::size_t k = 0; k < x.size(); ++k) moved[k] += delta[k];
    const Forward pass = forward(net, parameters, one_row(moved, label), Mode::inference);
    const bool stays = settings.minimal && predicted_class(net, pass.logits.data()) != label;
    Vector g(x.size(), 0.0);  // a row that stays is clamped all the same
    if (!stays) g = gradient(net, parameters, moved, settings.weight(t));
    for (double& value : g) value /= settings.batch_rows;
    const double norm = length(g);
    for (std::size_t k = 0; k < x.size(); ++k) {
      const double sign = g[k] > 0 ? 1 : g[k] < 0 ? -1 : 0;
      delta[k] -= settings.step * (settings.l2 ? g[k] / (norm + 1e-10) : sign);
    }
    const double reached = length(delta);
    for (std::size_t k = 0; k < x.size(); ++k) {
      if (!settings.minimal)
        delta[k] = settings.l2 ? delta[k] * settings.epsilon / std::max(reached, settings.epsilon)
                               : std::clamp(delta[k], -settings.epsilon, settings.epsilon);
      delta[k] = std::max(settings.lower - x[k], std::min(settings.upper - x[k], delta[k]));
    }
  }
  return delta;
}

}  // namespace reference
