#include "reference/mlp.hpp"

#include <algorithm>
#include <cmath>

namespace reference {

namespace {

std::size_t index(int row, int columns, int column) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column);
}

std::size_t size(int rows, int columns) { return index(rows, columns, 0); }

double activate(const Net& net, double z, double slope) {
  switch (net.activation) {
    case Activation::relu: return std::max(0.0, z);
    case Activation::leaky_relu: return z > 0 ? z : net.leaky_slope * z;
    case Activation::prelu: return z > 0 ? z : slope * z;
    case Activation::tanh: return std::tanh(z);
    case Activation::identity: return z;
  }
  return NAN;
}

double derivative(const Net& net, double z, double slope) {
  switch (net.activation) {
    case Activation::relu: return z > 0 ? 1 : 0;
    case Activation::leaky_relu: return z > 0 ? 1 : net.leaky_slope;
    case Activation::prelu: return z > 0 ? 1 : slope;
    case Activation::tanh: return 1 / (std::cosh(z) * std::cosh(z));
    case Activation::identity: return 1;
  }
  return NAN;
}

// log Σ exp, by moving the largest out.
double log_sum_exp(const double* logit, int n) {
  const double top = *std::max_element(logit, logit + n);
  double sum = 0;
  for (int c = 0; c < n; ++c) sum += std::exp(logit[c] - top);
  return top + std::log(sum);
}

// d(loss of one row)/d(logit c)
double loss_derivative(const Net& net, const double* logit, int label, int c) {
  const double sign = label == 1 ? 1.0 : -1.0;
  switch (net.loss) {
    case Loss::cross_entropy:
      return std::exp(logit[c] - log_sum_exp(logit, net.outputs())) - (c == label ? 1 : 0);
    case Loss::binary_cross_entropy: return -sign / (1 + std::exp(sign * logit[0]));
    case Loss::hinge: return sign * logit[0] < 1 ? -sign : 0;
  }
  return NAN;
}

void normalize(const Net& net, const Layer& p, Mode mode, int rows, int width, Trace& t) {
  t.mean = p.mean, t.variance = p.variance;
  for (int f = 0; f < width && mode == Mode::training; ++f) {
    double sum = 0, squares = 0;
    for (int s = 0; s < rows; ++s) sum += t.dropped[index(s, width, f)];
    for (int s = 0; s < rows; ++s) squares += std::pow(t.dropped[index(s, width, f)] - sum / rows, 2);
    t.mean[static_cast<std::size_t>(f)] = sum / rows;
    t.variance[static_cast<std::size_t>(f)] = squares / rows;
  }
  for (int s = 0; s < rows; ++s)
    for (int f = 0; f < width; ++f) {
      const auto i = static_cast<std::size_t>(f);
      t.y[index(s, width, f)] =
          p.gamma[i] * (t.dropped[index(s, width, f)] - t.mean[i]) / std::sqrt(t.variance[i] + net.epsilon) +
          p.beta[i];
    }
}

// d L/d y → d L/d dropped, by the chain rule through mean and variance written out (no closed form).
void normalize_backward(const Net& net, const Layer& p, const Trace& t, int rows, int width, Layer& gradient,
                        Vector& g) {
  for (int f = 0; f < width; ++f) {
    const auto i = static_cast<std::size_t>(f);
    const double deviation = std::sqrt(t.variance[i] + net.epsilon);
    double to_variance = 0, to_mean = 0;
    for (int s = 0; s < rows; ++s) {
      const double centred = t.dropped[index(s, width, f)] - t.mean[i], dy = g[index(s, width, f)];
      gradient.beta[i] += dy;
      gradient.gamma[i] += dy * centred / deviation;
      to_variance += dy * p.gamma[i] * centred * -0.5 * std::pow(deviation, -3);
      to_mean += -dy * p.gamma[i] / deviation;  // the variance's own derivative in the mean is zero
    }
    for (int s = 0; s < rows; ++s) {
      const double centred = t.dropped[index(s, width, f)] - t.mean[i];
      double& value = g[index(s, width, f)];
      value = value * p.gamma[i] / deviation + to_variance * 2 * centred / rows + to_mean / rows;
    }
  }
}

}  // namespace

double loss_of(const Net& net, const double* logit, int label) {
  const double sign = label == 1 ? 1.0 : -1.0;
  switch (net.loss) {
    case Loss::cross_entropy: return log_sum_exp(logit, net.outputs()) - logit[label];
    case Loss::binary_cross_entropy: {
      const double pair[2] = {0, -sign * logit[0]};  // log(1 + exp(−s x))
      return log_sum_exp(pair, 2);
    }
    case Loss::hinge: return std::max(0.0, 1 - sign * logit[0]);
  }
  return NAN;
}

int predicted_class(const Net& net, const double* logit) {
  if (net.outputs() == 1) return logit[0] > 0 ? 1 : 0;
  return static_cast<int>(std::max_element(logit, logit + net.outputs()) - logit);
}

Forward forward(const Net& net, const Parameters& parameters, const Batch& batch, Mode mode) {
  Forward pass;
  const int rows = batch.rows();
  Vector x = batch.x;
  if (mode == Mode::training && !batch.input_mask.empty())
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= batch.input_mask[i];
  for (int l = 0; l < net.layers(); ++l) {
    const Layer& p = parameters[static_cast<std::size_t>(l)];
    const int fan_in = net.widths[static_cast<std::size_t>(l)],
              fan_out = net.widths[static_cast<std::size_t>(l) + 1];
    Trace t;
    t.x = x;
    t.z.assign(size(rows, fan_out), 0);
    for (int s = 0; s < rows; ++s)
      for (int j = 0; j < fan_out; ++j) {
        double sum = p.bias[static_cast<std::size_t>(j)];
        for (int k = 0; k < fan_in; ++k) sum += p.weight[index(j, fan_in, k)] * x[index(s, fan_in, k)];
        t.z[index(s, fan_out, j)] = sum;
      }
    t.h = t.dropped = t.y = t.z;
    if (l + 1 < net.layers()) {
      for (double& value : t.h) value = activate(net, value, p.slope);
      t.dropped = t.h;
      if (mode == Mode::training && !batch.masks.empty())
        for (std::size_t i = 0; i < t.h.size(); ++i)
          t.dropped[i] *= batch.masks[static_cast<std::size_t>(l)][i];
      t.y = t.dropped;
      if (net.batch_norm) normalize(net, p, mode, rows, fan_out, t);
    }
    x = t.y;
    pass.traces.push_back(std::move(t));
  }
  pass.logits = x;
  for (int s = 0; s < rows; ++s)
    pass.loss +=
        loss_of(net, &pass.logits[index(s, net.outputs(), 0)], batch.labels[static_cast<std::size_t>(s)]) /
        rows;
  return pass;
}

Gradients backward(const Net& net, const Parameters& parameters, const Batch& batch, const Forward& pass) {
  const int rows = batch.rows();
  Gradients result;
  result.parameters.resize(parameters.size());
  Vector delta(size(rows, net.outputs()));  // dL/dz of layer l
  for (int s = 0; s < rows; ++s)
    for (int c = 0; c < net.outputs(); ++c)
      delta[index(s, net.outputs(), c)] = loss_derivative(net, &pass.logits[index(s, net.outputs(), 0)],
                                                          batch.labels[static_cast<std::size_t>(s)], c) /
                                          rows;
  for (int l = net.layers() - 1; l >= 0; --l) {
    const auto at = static_cast<std::size_t>(l);
    const Layer& p = parameters[at];
    const Trace& t = pass.traces[at];
    Layer& g = result.parameters[at];
    const int fan_in = net.widths[at], fan_out = net.widths[at + 1];
    if (l + 1 < net.layers()) {  // delta is dL/dy here
      g.gamma.assign(p.gamma.size(), 0), g.beta.assign(p.beta.size(), 0);
      if (net.batch_norm) normalize_backward(net, p, t, rows, fan_out, g, delta);
      for (std::size_t i = 0; i < delta.size(); ++i) {
        if (!batch.masks.empty()) delta[i] *= batch.masks[at][i];
        if (net.activation == Activation::prelu && t.z[i] <= 0) g.slope += delta[i] * t.z[i];
        delta[i] *= derivative(net, t.z[i], p.slope);
      }
    }
    g.weight.assign(p.weight.size(), 0), g.bias.assign(p.bias.size(), 0);
    Vector below(size(rows, fan_in));
    for (int s = 0; s < rows; ++s)
      for (int j = 0; j < fan_out; ++j) {
        const double d = delta[index(s, fan_out, j)];
        g.bias[static_cast<std::size_t>(j)] += d;
        for (int k = 0; k < fan_in; ++k) {
          g.weight[index(j, fan_in, k)] += d * t.x[index(s, fan_in, k)];
          below[index(s, fan_in, k)] += d * p.weight[index(j, fan_in, k)];
        }
      }
    delta = std::move(below);
  }
  if (!batch.input_mask.empty())
    for (std::size_t i = 0; i < delta.size(); ++i) delta[i] *= batch.input_mask[i];
  result.x = std::move(delta);
  return result;
}

void move_running_averages(const Net& net, const Forward& pass, Parameters& parameters) {
  for (int l = 0; l + 1 < net.layers() && net.batch_norm; ++l) {
    const Trace& t = pass.traces[static_cast<std::size_t>(l)];
    Layer& p = parameters[static_cast<std::size_t>(l)];
    const double rows = static_cast<double>(t.y.size() / t.mean.size());
    for (std::size_t f = 0; f < p.mean.size(); ++f) {
      p.mean[f] = (1 - net.momentum) * p.mean[f] + net.momentum * t.mean[f];
      p.variance[f] = (1 - net.momentum) * p.variance[f] + net.momentum * t.variance[f] * rows / (rows - 1);
    }
  }
}

std::vector<double*> trainable(const Net& net, Parameters& parameters) {
  std::vector<double*> all;
  for (int l = 0; l < net.layers(); ++l) {
    Layer& p = parameters[static_cast<std::size_t>(l)];
    for (Vector* vector : {&p.weight, &p.bias})
      for (double& value : *vector) all.push_back(&value);
    if (l + 1 == net.layers()) continue;
    if (net.activation == Activation::prelu) all.push_back(&p.slope);
    for (Vector* vector : {&p.gamma, &p.beta})
      for (double& value : *vector) all.push_back(&value);
  }
  return all;
}

}  // namespace reference
