#include "support/oracle.hpp"

#include <algorithm>

#include "law/batch.hpp"
#include "law/dropout.hpp"

namespace occam::test {

namespace {

// Calls copy(offset in the flat order of ParameterLayout, count, vector of the oracle) for every tensor.
template <class Parameters, class Copy>
void for_each_tensor(const MlpSpec& spec, Parameters& parameters, const Copy& copy) {
  const ParameterLayout layout(spec);
  for (std::size_t l = 0; l < layout.layers.size(); ++l) {
    const ParameterLayout::Layer& at = layout.layers[l];
    const std::int64_t out = at.fan_out;
    auto& p = parameters[l];
    copy(at.weight, out * at.fan_in, p.weight);
    copy(at.bias, out, p.bias);
    if (at.gamma < 0) continue;
    copy(at.gamma, out, p.gamma);
    copy(at.beta, out, p.beta);
    copy(at.running_mean, out, p.mean);
    copy(at.running_variance, out, p.variance);
  }
}

reference::Vector mask(double probability, std::uint32_t order_seed, std::uint32_t layer, std::int64_t update,
                       int rows, int width) {
  reference::Vector result;
  if (probability == 0.0) return result;
  const law::Dropout dropout = law::dropout_constants(probability);
  for (int s = 0; s < rows; ++s)
    for (int f = 0; f < width; ++f) {
      const Philox words =
          law::dropout_draws(order_seed, static_cast<std::uint32_t>(f / 4), static_cast<std::uint32_t>(s),
                             layer, static_cast<std::uint32_t>(update));
      result.push_back(law::dropout_factor(dropout, words.word[f % 4]) == 0.0f ? 0.0
                                                                               : 1.0 / (1.0 - probability));
    }
  return result;
}

}  // namespace

reference::Net oracle_net(const MlpSpec& spec) {
  reference::Net net;
  net.widths.push_back(spec.inputs);
  for (const int width : spec.hidden) net.widths.push_back(width);
  net.widths.push_back(spec.outputs());
  switch (spec.activation) {
    case Activation::relu: net.activation = reference::Activation::relu; break;
    case Activation::leaky_relu: net.activation = reference::Activation::leaky_relu; break;
    case Activation::prelu: net.activation = reference::Activation::prelu; break;
    case Activation::tanh: net.activation = reference::Activation::tanh; break;
    case Activation::identity: net.activation = reference::Activation::identity; break;
  }
  switch (spec.loss) {
    case Loss::cross_entropy: net.loss = reference::Loss::cross_entropy; break;
    case Loss::binary_cross_entropy: net.loss = reference::Loss::binary_cross_entropy; break;
    case Loss::hinge: net.loss = reference::Loss::hinge; break;
  }
  net.batch_norm = spec.batch_norm;
  return net;
}

reference::Parameters oracle_parameters(const MlpSpec& spec, std::span<const float> parameters) {
  reference::Parameters result(static_cast<std::size_t>(spec.layers()));
  for_each_tensor(spec, result, [&](std::int64_t first, std::int64_t count, reference::Vector& vector) {
    vector.assign(parameters.begin() + first, parameters.begin() + first + count);
  });
  const ParameterLayout layout(spec);
  for (std::size_t l = 0; l < result.size(); ++l)
    if (layout.layers[l].slope >= 0)
      result[l].slope = parameters[static_cast<std::size_t>(layout.layers[l].slope)];
  return result;
}

reference::Vector flat(const MlpSpec& spec, const reference::Parameters& parameters) {
  const ParameterLayout layout(spec);
  reference::Vector result(static_cast<std::size_t>(layout.total));
  for_each_tensor(spec, parameters, [&](std::int64_t first, std::int64_t, const reference::Vector& vector) {
    std::copy(vector.begin(), vector.end(), result.begin() + first);
  });
  for (std::size_t l = 0; l < parameters.size(); ++l)
    if (layout.layers[l].slope >= 0)
      result[static_cast<std::size_t>(layout.layers[l].slope)] = parameters[l].slope;
  return result;
}

reference::OptimizerSettings oracle_optimizer(const Optimizer& o) {
  const reference::OptimizerKind kind = o.kind == OptimizerKind::sgd    ? reference::OptimizerKind::sgd
                                        : o.kind == OptimizerKind::adam ? reference::OptimizerKind::adam
                                                                        : reference::OptimizerKind::rmsprop;
  return {kind, o.learning_rate, o.momentum, o.weight_decay, o.beta1, o.beta2, o.alpha, o.epsilon};
}

reference::Batch oracle_batch(const MlpSpec& spec, const Training& training, std::uint32_t order_seed,
                              const HostTable& rows, std::int64_t update) {
  const law::BatchPlace place = law::batch_place(update, rows.rows, training.batch);
  const law::EpochOrder order = law::epoch_order(order_seed, training.in_order, place.epoch, rows.rows);
  reference::Batch batch;
  for (int s = 0; s < place.count; ++s) {
    const auto row = static_cast<std::size_t>(order(static_cast<std::uint32_t>(place.first + s)));
    const auto width = static_cast<std::size_t>(rows.dim);
    batch.x.insert(batch.x.end(), rows.x.begin() + static_cast<std::ptrdiff_t>(row * width),
                   rows.x.begin() + static_cast<std::ptrdiff_t>((row + 1) * width));
    batch.labels.push_back(rows.y[row]);
  }
  batch.input_mask = mask(training.input_dropout, order_seed, 0, update, place.count, spec.inputs);
  for (std::size_t l = 0; l < spec.hidden.size() && training.hidden_dropout > 0; ++l)
    batch.masks.push_back(mask(training.hidden_dropout, order_seed, static_cast<std::uint32_t>(l) + 1, update,
                               place.count, spec.hidden[l]));
  return batch;
}

OracleMember::OracleMember(const MlpSpec& spec, const Training& training, std::uint32_t order_seed,
                           std::span<const float> parameters)
    : spec_(spec), training_(training), order_seed_(order_seed), net_(oracle_net(spec)),
      parameters_(oracle_parameters(spec, parameters)),
      optimizer_(oracle_optimizer(training.optimizer),
                 static_cast<std::size_t>(ParameterLayout(spec).trainable)) {}

void OracleMember::train(const HostTable& rows, std::int64_t updates) {
  for (std::int64_t end = update_ + updates; update_ < end; ++update_) {
    const reference::Batch batch = oracle_batch(spec_, training_, order_seed_, rows, update_);
    const reference::Forward pass = reference::forward(net_, parameters_, batch, reference::Mode::training);
    reference::Gradients gradients = reference::backward(net_, parameters_, batch, pass);
    reference::move_running_averages(net_, pass, parameters_);
    optimizer_.step(reference::trainable(net_, parameters_),
                    reference::trainable(net_, gradients.parameters));
  }
}

reference::Forward OracleMember::infer(const HostTable& rows) const {
  reference::Batch batch;
  batch.x.assign(rows.x.begin(), rows.x.end());
  batch.labels.assign(rows.y.begin(), rows.y.end());
  return reference::forward(net_, parameters_, batch, reference::Mode::inference);
}

}  // namespace occam::test
