#include "support/scalar_twin.hpp"

#include "law/activation.hpp"
#include "law/batch.hpp"
#include "law/batch_norm.hpp"
#include "law/dropout.hpp"
#include "law/loss.hpp"
#include "law/optimizer.hpp"
#include "law/sum.hpp"
#include "support/attack_twin.hpp"

namespace occam::test {

ScalarTwin::ScalarTwin(const MlpSpec& spec, const Training& training, std::uint32_t order_seed,
                       std::span<const float> parameters)
    : spec_(spec), training_(training), layout_(spec), order_seed_(order_seed),
      parameters_(parameters.begin(), parameters.end()),
      gradient_(static_cast<std::size_t>(layout_.trainable)), state0_(gradient_), state1_(gradient_) {}

void ScalarTwin::train(const HostTable& rows, std::int64_t updates) {
  for (std::int64_t i = 0; i < updates; ++i) one_update(rows);
}

void ScalarTwin::one_update(const HostTable& rows) {
  // The batch: consecutive places of the epoch's permutation.
  const law::BatchPlace place = law::batch_place(update_, rows.rows, training_.batch);
  epoch_ = place.epoch;
  const law::EpochOrder order = law::epoch_order(order_seed_, training_.in_order, place.epoch, rows.rows);
  Matrix x(place.count, spec_.inputs);
  std::vector<std::int32_t> labels;
  for (int s = 0; s < place.count; ++s) {
    const std::int64_t row = order(static_cast<std::uint32_t>(place.first + s));
    for (int k = 0; k < spec_.inputs; ++k) x(s, k) = rows.x[static_cast<std::size_t>(row * spec_.inputs + k)];
    labels.push_back(rows.y[static_cast<std::size_t>(row)]);
  }

  if (training_.adversary) move_batch(x, labels);

  // Forward. Dropout layer 0 is the input, l + 1 hidden layer l.
  apply_dropout(x, 0, training_.input_dropout);
  std::vector<Trace> traces;
  for (int l = 0; l < spec_.layers(); ++l) {
    Trace trace;
    trace.x = l == 0 ? x : traces.back().y;
    trace.z = trace.y = linear(l, trace.x);
    if (is_hidden(l)) {
      trace.h = trace.dropped = activated(l, trace.z);
      apply_dropout(trace.dropped, static_cast<std::uint32_t>(l) + 1, training_.hidden_dropout);
      trace.y = trace.dropped;
      if (spec_.batch_norm) normalize(l, trace);
    }
    traces.push_back(trace);
  }

  // Backward. delta is dL/dz of layer l.
  Matrix delta = loss_gradient(traces.back().y, labels);
  for (int l = spec_.layers() - 1; l >= 0; --l) {
    parameter_gradients(l, traces[static_cast<std::size_t>(l)].x, delta);
    if (l == 0) break;
    const Trace& below = traces[static_cast<std::size_t>(l) - 1];
    delta = input_gradient(l, delta);
    if (spec_.batch_norm) normalize_gradient(l - 1, below, delta);
    apply_dropout(delta, static_cast<std::uint32_t>(l), training_.hidden_dropout);
    activation_gradient(l - 1, below, delta);
  }
  optimizer_step();
  ++update_;
}

// z_j = b_j + Σ_k x_k W[j][k], one accumulator, ascending k.
ScalarTwin::Matrix ScalarTwin::linear(int layer, const Matrix& x) const {
  const ParameterLayout::Layer& p = at(layer);
  Matrix z(x.rows, p.fan_out);
  for (std::int64_t s = 0; s < x.rows; ++s)
    for (int j = 0; j < p.fan_out; ++j) {
      float sum = parameter(p.bias + j);
      for (int k = 0; k < p.fan_in; ++k) sum = law::fma(x(s, k), parameter(p.weight + j * p.fan_in + k), sum);
      z(s, j) = sum;
    }
  return z;
}

ScalarTwin::Matrix ScalarTwin::activated(int layer, const Matrix& z) const {
  Matrix h = z;
  law::with_activation(spec_.activation, [&](auto kind) {
    for (float& value : h.values) value = law::activate<decltype(kind)::value>(value, slope(layer));
  });
  return h;
}

// Four features share one draw.
void ScalarTwin::apply_dropout(Matrix& x, std::uint32_t dropout_layer, double probability) const {
  if (probability == 0.0) return;
  const law::Dropout dropout = law::dropout_constants(probability);
  for (std::int64_t s = 0; s < x.rows; ++s)
    for (std::int64_t f = 0; f < x.columns; ++f) {
      const Philox words =
          law::dropout_draws(order_seed_, static_cast<std::uint32_t>(f / 4), static_cast<std::uint32_t>(s),
                             dropout_layer, static_cast<std::uint32_t>(update_));
      x(s, f) = x(s, f) * law::dropout_factor(dropout, words.word[f % 4]);
    }
}

void ScalarTwin::normalize(int layer, Trace& trace) {
  const ParameterLayout::Layer& p = at(layer);
  const Matrix& x = trace.dropped;
  const float count = static_cast<float>(x.rows);
  for (int f = 0; f < p.fan_out; ++f) {
    law::LaneSum sum, square_sum;
    for (std::int64_t s = 0; s < x.rows; ++s) sum.add(s, x(s, f));
    const float mean = sum.total() / count;
    for (std::int64_t s = 0; s < x.rows; ++s) square_sum.add(s, law::squared_deviation(x(s, f), mean));
    const float squares = square_sum.total();
    const float inverse = law::inverse_deviation(squares / count);
    for (std::int64_t s = 0; s < x.rows; ++s)
      trace.y(s, f) = law::batch_norm(x(s, f), mean, inverse, parameter(p.gamma + f), parameter(p.beta + f));
    float& running_mean = parameters_[static_cast<std::size_t>(p.running_mean + f)];
    float& running_variance = parameters_[static_cast<std::size_t>(p.running_variance + f)];
    running_mean = law::running_average(running_mean, mean);
    running_variance = law::running_average(running_variance, squares / (count - 1.0f));
    trace.mean.push_back(mean);
    trace.inverse.push_back(inverse);
  }
}

ScalarTwin::Matrix ScalarTwin::normalized_with_running_averages(int layer, const Matrix& x) const {
  const ParameterLayout::Layer& p = at(layer);
  Matrix y = x;
  for (std::int64_t s = 0; s < x.rows; ++s)
    for (int f = 0; f < p.fan_out; ++f)
      y(s, f) = law::batch_norm(x(s, f), parameter(p.running_mean + f),
                                law::inverse_deviation(parameter(p.running_variance + f)),
                                parameter(p.gamma + f), parameter(p.beta + f));
  return y;
}

// dL/dlogits of the mean loss.
ScalarTwin::Matrix ScalarTwin::loss_gradient(const Matrix& logits,
                                             std::span<const std::int32_t> labels) const {
  Matrix delta = logits;
  const float inverse_count = 1.0f / static_cast<float>(logits.rows);
  for (std::int64_t s = 0; s < logits.rows; ++s)
    law::sample_loss_gradient(spec_.loss, &logits.values[static_cast<std::size_t>(s * logits.columns)],
                              static_cast<int>(logits.columns), labels[static_cast<std::size_t>(s)],
                              inverse_count, &delta(s, 0));
  return delta;
}

// gradient: dL/dy on entry, dL/d(what was normalised) on return.
void ScalarTwin::normalize_gradient(int layer, const Trace& trace, Matrix& gradient) {
  const ParameterLayout::Layer& p = at(layer);
  const float inverse_count = 1.0f / static_cast<float>(gradient.rows);
  for (int f = 0; f < p.fan_out; ++f) {
    const float mean = trace.mean[static_cast<std::size_t>(f)],
                inverse = trace.inverse[static_cast<std::size_t>(f)];
    law::LaneSum beta_sum, gamma_sum;
    for (std::int64_t s = 0; s < gradient.rows; ++s) {
      beta_sum.add(s, gradient(s, f));
      gamma_sum.add(s, gradient(s, f) * law::normalized(trace.dropped(s, f), mean, inverse));
    }
    const float beta_gradient = beta_sum.total(), gamma_gradient = gamma_sum.total();
    for (std::int64_t s = 0; s < gradient.rows; ++s)
      gradient(s, f) = law::batch_norm_gradient(
          gradient(s, f), law::normalized(trace.dropped(s, f), mean, inverse), beta_gradient, gamma_gradient,
          inverse_count, parameter(p.gamma + f) * inverse);
    gradient_[static_cast<std::size_t>(p.beta + f)] = beta_gradient;
    gradient_[static_cast<std::size_t>(p.gamma + f)] = gamma_gradient;
  }
}

// gradient: dL/dh on entry, dL/dz on return. The slope's gradient is a lane sum over the samples of lane sums
// over features.
void ScalarTwin::activation_gradient(int layer, const Trace& trace, Matrix& gradient) {
  const ParameterLayout::Layer& p = at(layer);
  if (p.slope >= 0) {
    law::LaneSum over_samples;
    for (std::int64_t s = 0; s < gradient.rows; ++s) {
      law::LaneSum over_features;
      for (int f = 0; f < p.fan_out; ++f)
        over_features.add(f, law::prelu_slope_term(gradient(s, f), trace.z(s, f)));
      over_samples.add(s, over_features.total());
    }
    gradient_[static_cast<std::size_t>(p.slope)] = over_samples.total();
  }
  law::with_activation(spec_.activation, [&](auto kind) {
    for (std::int64_t s = 0; s < gradient.rows; ++s)
      for (int f = 0; f < p.fan_out; ++f)
        gradient(s, f) = law::activation_gradient<decltype(kind)::value>(gradient(s, f), trace.z(s, f),
                                                                         trace.h(s, f), slope(layer));
  });
}

// Over the samples in batch order: the bias by plain additions from +0, the weights by one fmaf chain from 0.
void ScalarTwin::parameter_gradients(int layer, const Matrix& x, const Matrix& delta) {
  const ParameterLayout::Layer& p = at(layer);
  for (int j = 0; j < p.fan_out; ++j) {
    float bias_sum = 0.0f;
    for (std::int64_t s = 0; s < delta.rows; ++s) bias_sum += delta(s, j);
    gradient_[static_cast<std::size_t>(p.bias + j)] = bias_sum;
    for (int k = 0; k < p.fan_in; ++k) {
      float sum = 0.0f;
      for (std::int64_t s = 0; s < delta.rows; ++s) sum = law::fma(delta(s, j), x(s, k), sum);
      gradient_[static_cast<std::size_t>(p.weight + j * p.fan_in + k)] = sum;
    }
  }
}

// dL/dx_k = Σ_j delta_j W[j][k], ascending j from 0, with the weights from before the update.
ScalarTwin::Matrix ScalarTwin::input_gradient(int layer, const Matrix& delta) const {
  const ParameterLayout::Layer& p = at(layer);
  Matrix gradient(delta.rows, p.fan_in);
  for (std::int64_t s = 0; s < delta.rows; ++s)
    for (int k = 0; k < p.fan_in; ++k) {
      float sum = 0.0f;
      for (int j = 0; j < p.fan_out; ++j)
        sum = law::fma(delta(s, j), parameter(p.weight + j * p.fan_in + k), sum);
      gradient(s, k) = sum;
    }
  return gradient;
}

void ScalarTwin::optimizer_step() {
  Optimizer optimizer = training_.optimizer;
  optimizer.learning_rate = law::learning_rate(optimizer, training_.schedule, epoch_);
  const law::OptimizerConstants constants = law::optimizer_constants(optimizer);
  const law::AdamScale adam = law::adam_scale(constants, update_);
  const bool momentum = training_.optimizer.momentum != 0.0;
  for (std::size_t i = 0; i < gradient_.size(); ++i) {
    const auto step = [&]<OptimizerKind kind, bool has_momentum>() {
      law::optimizer_step<kind, has_momentum>(constants, adam, gradient_[i], parameters_[i], state0_[i],
                                              state1_[i]);
    };
    switch (training_.optimizer.kind) {
      case OptimizerKind::sgd:
        momentum ? step.operator()<OptimizerKind::sgd, true>() : step.operator()<OptimizerKind::sgd, false>();
        break;
      case OptimizerKind::adam: step.operator()<OptimizerKind::adam, false>(); break;
      case OptimizerKind::rmsprop:
        momentum ? step.operator()<OptimizerKind::rmsprop, true>()
                 : step.operator()<OptimizerKind::rmsprop, false>();
        break;
    }
  }
}

std::vector<float> ScalarTwin::logits(std::span<const float> x) const {
  Matrix y(static_cast<std::int64_t>(x.size()) / spec_.inputs, spec_.inputs);
  y.values.assign(x.begin(), x.end());
  for (int l = 0; l < spec_.layers(); ++l) {
    y = linear(l, y);
    if (is_hidden(l)) {
      y = activated(l, y);
      if (spec_.batch_norm) y = normalized_with_running_averages(l, y);
    }
  }
  return y.values;
}

std::vector<float> ScalarTwin::input_gradient(std::span<const float> x,
                                              std::span<const float> logit_gradient) const {
  Matrix y(static_cast<std::int64_t>(x.size()) / spec_.inputs, spec_.inputs);
  y.values.assign(x.begin(), x.end());
  std::vector<Matrix> before, after;  // of each hidden layer's activation
  for (int l = 0; is_hidden(l); ++l) {
    before.push_back(linear(l, y));
    y = activated(l, before.back());
    after.push_back(y);
    if (spec_.batch_norm) y = normalized_with_running_averages(l, y);
  }
  Matrix delta(y.rows, spec_.outputs());
  delta.values.assign(logit_gradient.begin(), logit_gradient.end());
  for (int l = spec_.layers() - 1; l >= 0; --l) {
    delta = input_gradient(l, delta);
    if (l == 0) break;
    const ParameterLayout::Layer& p = at(l - 1);
    for (std::int64_t s = 0; s < delta.rows; ++s)
      for (int f = 0; f < p.fan_out; ++f) {
        float& g = delta(s, f);
        if (spec_.batch_norm)
          g = law::batch_norm_inference_gradient(g, parameter(p.gamma + f),
                                                 law::inverse_deviation(parameter(p.running_variance + f)));
        const auto hidden = static_cast<std::size_t>(l - 1);
        law::with_activation(spec_.activation, [&](auto kind) {
          g = law::activation_gradient<decltype(kind)::value>(g, before[hidden](s, f), after[hidden](s, f),
                                                              slope(l - 1));
        });
      }
  }
  return delta.values;
}

void ScalarTwin::move_batch(Matrix& x, const std::vector<std::int32_t>& labels) const {
  HostTable batch{x.rows, spec_.inputs, x.values, labels};
  Pgd attack = *training_.adversary;
  attack.seed = order_seed_, attack.batch = static_cast<int>(x.rows);
  const Perturbed moved = perturb(*this, batch, attack, static_cast<std::uint32_t>(update_));
  for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] += moved.perturbation[i];
}

ScalarTwin::Score ScalarTwin::score(const HostTable& rows) const {
  const std::vector<float> all = logits(rows.x);
  const int outputs = spec_.outputs();
  Score score;
  law::LaneSum sum;
  for (std::int64_t s = 0; s < rows.rows; ++s) {
    const float* logit = &all[static_cast<std::size_t>(s * outputs)];
    const std::int32_t label = rows.y[static_cast<std::size_t>(s)];
    if (law::predicted_class(logit, outputs) == label) ++score.correct;
    sum.add(s, law::sample_loss(spec_.loss, logit, outputs, label));
  }
  score.loss = sum.total() / static_cast<float>(rows.rows);
  return score;
}

}  // namespace occam::test
