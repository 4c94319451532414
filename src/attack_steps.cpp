// PGD and universal perturbations on any classifier (occam/attack.hpp): the plain loops that every fused body equals.
#include <algorithm>

#include "backend.hpp"
#include "law/attack.hpp"
#include "occam/attack.hpp"
#include "occam/error.hpp"
#include "singular.hpp"

namespace occam {

namespace {

float squared_norm(std::span<const float> x) {
  return law::lane_sum_of(static_cast<std::int64_t>(x.size()), [x](std::int64_t k) {
    const float value = x[static_cast<std::size_t>(k)];
    return value * value;
  });
}

// Rows of one width.
template <class T>
std::span<T> row_of(std::span<T> rows, std::size_t row, std::size_t width) {
  return rows.subspan(row * width, width);
}

// Where a gradient is taken, for the draws of random targets.
struct Moment {
  std::uint32_t iteration = 0, restart = 0, update = 0;
};

// dL/dx at x of the attack's loss, averaged over batches of the attack's size.
std::vector<float> gradient_at(Classifier& model, std::span<const float> x, std::span<const float> logits,
                               std::span<const std::int32_t> y, const law::AttackConstants& a, Moment at) {
  const auto outputs = static_cast<std::size_t>(model.outputs());
  std::vector<float> at_logits(logits.size()), gradient(x.size());
  for (std::size_t row = 0; row < y.size(); ++row) {
    const std::int32_t target = law::attack_target(
        a, model.classes(), y[row], static_cast<std::uint32_t>(row), at.iteration, at.restart, at.update);
    const float count = static_cast<float>(
        law::rows_of_batch(static_cast<std::int64_t>(row), static_cast<std::int64_t>(y.size()), a.batch));
    law::attack_loss_gradient(a.loss, row_of(logits, row, outputs).data(), model.outputs(), y[row], target,
                              1.0f / count, row_of(std::span(at_logits), row, outputs).data());
  }
  model.input_gradient(x, at_logits, gradient);
  return gradient;
}

void start(const law::AttackConstants& a, std::size_t inputs, std::uint32_t restart, std::uint32_t update,
           std::span<float> perturbation) {
  for (std::size_t row = 0; row < perturbation.size() / inputs; ++row) {
    const std::span<float> p = row_of(perturbation, row, inputs);
    for (std::size_t k = 0; k < inputs; ++k)
      p[k] = law::start_quad(a, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(k / 4), restart,
                             update)
                 .value[k % 4];
    if (a.norm == Norm::linf) continue;
    const float scale = law::start_scale(a, squared_norm(p));
    for (float& value : p) value *= scale;
  }
}

// A row that stays is clamped all the same: its start may lie beyond the bounds.
void step(const law::AttackConstants& a, bool stays, std::span<const float> x,
          std::span<const float> gradient, std::span<float> p) {
  const bool l2 = a.norm == Norm::l2;
  if (!stays) {
    const float scale = l2 ? law::step_scale(a, squared_norm(gradient)) : 0.0f;
    for (std::size_t k = 0; k < p.size(); ++k)
      p[k] = l2 ? law::l2_step(p[k], gradient[k], scale) : law::linf_step(a, p[k], gradient[k]);
  }
  if (!a.minimal) {
    const float projection = l2 ? law::projection_scale(a, squared_norm(p)) : 1.0f;
    for (float& value : p) value = l2 ? value * projection : law::clip(a, value);
  }
  for (std::size_t k = 0; k < p.size(); ++k) p[k] = law::clamp(a, p[k], x[k]);
}

void require_rows(int classes, std::size_t inputs, std::span<const float> x,
                  std::span<const std::int32_t> y) {
  require(x.size() == y.size() * inputs, "attack: {} values and {} labels of rows of {}", x.size(), y.size(),
          inputs);
  for (const std::int32_t label : y)
    require(label >= 0 && label < classes, "attack: label {} of {} classes", label, classes);
}

}  // namespace

Perturbed perturb(Classifier& model, std::span<const float> x, std::span<const std::int32_t> y,
                  const Pgd& attack, std::uint32_t update) {
  validate(attack, model.classes());
  const law::AttackConstants a = law::attack_constants(attack);
  const auto inputs = static_cast<std::size_t>(model.inputs()),
             outputs = static_cast<std::size_t>(model.outputs());
  require_rows(model.classes(), inputs, x, y);
  std::vector<float> perturbation(x.size()), moved(x.size()), logits(y.size() * outputs),
      worst_loss(y.size());
  const auto see = [&] {
    for (std::size_t i = 0; i < x.size(); ++i) moved[i] = x[i] + perturbation[i];
    model.logits(moved, logits);
  };
  Perturbed result;
  const bool still = a.epsilon == 0.0f;
  for (std::uint32_t restart = 0; restart < static_cast<std::uint32_t>(a.restarts); ++restart) {
    if (!still) start(a, inputs, restart, update, perturbation);
    for (std::uint32_t t = 0; t < static_cast<std::uint32_t>(a.iterations); ++t) {
      see();
      if (attack.track) result.tracked.insert(result.tracked.end(), logits.begin(), logits.end());
      const std::vector<float> gradient = gradient_at(model, moved, logits, y, a, {t, restart, update});
      for (std::size_t row = 0; row < y.size(); ++row) {
        const float* of_row = logits.data() + row * outputs;
        const bool stays = a.minimal && law::predicted_class(of_row, model.outputs()) != y[row];
        step(a, stays, row_of(x, row, inputs), row_of(std::span<const float>(gradient), row, inputs),
             row_of(std::span(perturbation), row, inputs));
      }
    }
    see();
    if (restart == 0) result.perturbation = perturbation, result.logits = logits;
    for (std::size_t row = 0; row < y.size(); ++row) {
      const float loss = law::label_loss(logits.data() + row * outputs, model.outputs(), y[row]);
      if (restart > 0 && !(loss >= worst_loss[row])) continue;
      worst_loss[row] = loss;
      std::ranges::copy(row_of(std::span(perturbation), row, inputs),
                        result.perturbation.data() + row * inputs);
      std::ranges::copy(row_of(std::span(logits), row, outputs), result.logits.data() + row * outputs);
    }
  }
  return result;
}

std::vector<float> shifted(std::span<const float> x, std::span<const std::int32_t> y, int classes,
                           std::span<const float> universal, double lower, double upper) {
  law::AttackConstants bounds{};
  bounds.lower = static_cast<float>(lower), bounds.upper = static_cast<float>(upper);
  const std::size_t inputs = universal.size();
  require_rows(classes, inputs, x, y);
  std::vector<float> result(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    result[i] = law::inside(
        bounds, law::shifted(x[i], law::universal_sign(classes, y[i / inputs]), universal[i % inputs]));
  return result;
}

std::vector<float> fit_universal(Classifier& model, std::span<const float> x, std::span<const std::int32_t> y,
                                 const AsUap& attack) {
  validate(attack, model.classes());
  const law::AttackConstants a = law::attack_constants(attack);
  const auto inputs = static_cast<std::size_t>(model.inputs());
  require_rows(model.classes(), inputs, x, y);
  std::vector<float> universal(inputs, 0.0f);
  for (int epoch = 0; epoch < attack.epochs; ++epoch)
    for (std::size_t first = 0; first < y.size(); first += static_cast<std::size_t>(a.batch)) {
      const std::size_t count = std::min(static_cast<std::size_t>(a.batch), y.size() - first);
      const auto rows = x.subspan(first * inputs, count * inputs);
      const auto labels = y.subspan(first, count);
      std::vector<float> logits(count * static_cast<std::size_t>(model.outputs()));
      for (int t = 0; t < a.iterations; ++t) {
        const std::vector<float> moved =
            shifted(rows, labels, model.classes(), universal, attack.lower, attack.upper);
        model.logits(moved, logits);
        const std::vector<float> gradient = gradient_at(model, moved, logits, labels, a, {});
        std::vector<float> sum(inputs, 0.0f);
        for (std::size_t i = 0; i < gradient.size(); ++i) {
          const float sign = law::universal_sign(model.classes(), labels[i / inputs]);
          sum[i % inputs] +=
              law::universal_share(a, law::shifted(rows[i], sign, universal[i % inputs]), sign, gradient[i]);
        }
        law::universal_step(a, model.inputs(), sum.data(), universal.data());
      }
    }
  return universal;
}

Universal fit_universal(Classifier& model, std::span<const float> x, std::span<const std::int32_t> y,
                        const SvdUap& attack) {
  validate(attack, model.classes());
  const Singular decomposed = singular(perturb(model, x, y, attack.attack).perturbation, model.inputs());
  const double epsilon = has_direction(decomposed.values) ? attack.epsilon : 0.0;
  const auto of_length = [&](double length) {
    Universal made{along(decomposed.first, length), decomposed.values, {}};
    const std::vector<float> moved =
        shifted(x, y, model.classes(), made.perturbation, attack.attack.lower, attack.attack.upper);
    std::vector<float> logits(y.size() * static_cast<std::size_t>(model.outputs()));
    model.logits(moved, logits);
    made.score = score_of(model.loss(), model.outputs(), logits, y);
    return made;
  };
  Universal plus = of_length(epsilon), minus = of_length(-epsilon);
  return plus.score.accuracy < minus.score.accuracy ? plus : minus;
}

}  // namespace occam
