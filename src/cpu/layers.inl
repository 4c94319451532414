// What surrounds the products of a layer: activation, dropout, batch norm, the loss at the logits and the
// optimiser. Every loop runs over whole padded rows, whose padding is zero and stays zero, and vectorises.
// Matrices are [rows][stride]. Included inside namespace occam::cpu::<instruction set>.

// ---- dropout ---------------------------------------------------------------------------------------------

// destination = source · factor, redrawn from (order seed, update, layer, sample, feature); may be in place.
inline void apply_dropout(const float* source, float* destination, std::int64_t rows, std::int64_t width,
                          std::int64_t stride, law::Dropout dropout, std::uint32_t order_seed,
                          std::uint32_t layer, std::uint32_t update) {
  for (std::int64_t s = 0; s < rows; ++s)
    for (std::int64_t group = 0; 4 * group < width; ++group) {
      const Philox words = law::dropout_draws(order_seed, static_cast<std::uint32_t>(group),
                                              static_cast<std::uint32_t>(s), layer, update);
      const std::int64_t first = s * stride + 4 * group;
      for (int i = 0; i < 4; ++i)
        destination[first + i] = source[first + i] * law::dropout_factor(dropout, words.word[i]);
    }
}

// ---- batch norm ------------------------------------------------------------------------------------------

// sum[f] = lane sum over the samples of term(s, f); lanes: [32][stride] of scratch.
template <class Term>
inline void lane_sums(std::int64_t rows, std::int64_t columns, std::int64_t stride, float* lanes, float* sum,
                      const Term& term) {
  for (std::int64_t i = 0; i < law::kLanes * stride; ++i) lanes[i] = 0.0f;
  for (std::int64_t s = 0; s < rows; ++s) {
    float* lane = lanes + s % law::kLanes * stride;
    for (std::int64_t f = 0; f < columns; ++f) lane[f] += term(s, f);
  }
  for (std::int64_t half = law::kLanes / 2; half > 0; half /= 2)
    for (std::int64_t l = 0; l < half; ++l)
      for (std::int64_t f = 0; f < columns; ++f) lanes[l * stride + f] += lanes[(l + half) * stride + f];
  for (std::int64_t f = 0; f < columns; ++f) sum[f] = lanes[f];
}

// A hidden layer's batch norm: parameters, running averages, the batch's moments and their scratch. All
// [stride].
struct BatchNorm {
  float *gamma, *beta, *running_mean, *running_variance;
  float *gamma_gradient, *beta_gradient;
  float *mean, *inverse;  // of the last batch
  float *sum, *lanes;     // scratch: [stride], [32][stride]
};

inline void batch_norm_forward(const BatchNorm& n, const float* x, float* y, std::int64_t rows,
                               std::int64_t columns, std::int64_t stride) {
  const float count = static_cast<float>(rows);
  lane_sums(rows, columns, stride, n.lanes, n.sum,
            [=](std::int64_t s, std::int64_t f) { return x[s * stride + f]; });
  for (std::int64_t f = 0; f < columns; ++f) n.mean[f] = n.sum[f] / count;
  lane_sums(rows, columns, stride, n.lanes, n.sum, [=](std::int64_t s, std::int64_t f) {
    return law::squared_deviation(x[s * stride + f], n.mean[f]);
  });
  for (std::int64_t f = 0; f < columns; ++f) {
    n.inverse[f] = law::inverse_deviation(n.sum[f] / count);
    n.running_mean[f] = law::running_average(n.running_mean[f], n.mean[f]);
    n.running_variance[f] = law::running_average(n.running_variance[f], n.sum[f] / (count - 1.0f));
  }
  for (std::int64_t s = 0; s < rows; ++s)
    for (std::int64_t f = 0; f < columns; ++f)
      y[s * stride + f] = law::batch_norm(x[s * stride + f], n.mean[f], n.inverse[f], n.gamma[f], n.beta[f]);
}

// y may be x.
inline void batch_norm_inference(const BatchNorm& n, const float* x, float* y, std::int64_t rows,
                                 std::int64_t columns, std::int64_t stride) {
  for (std::int64_t s = 0; s < rows; ++s)
    for (std::int64_t f = 0; f < columns; ++f)
      y[s * stride + f] =
          law::batch_norm(x[s * stride + f], n.running_mean[f], law::inverse_deviation(n.running_variance[f]),
                          n.gamma[f], n.beta[f]);
}

inline void batch_norm_inference_backward(const BatchNorm& n, float* gradient, std::int64_t rows,
                                          std::int64_t columns, std::int64_t stride) {
  for (std::int64_t s = 0; s < rows; ++s)
    for (std::int64_t f = 0; f < columns; ++f)
      gradient[s * stride + f] = law::batch_norm_inference_gradient(
          gradient[s * stride + f], n.gamma[f], law::inverse_deviation(n.running_variance[f]));
}

// gradient: dL/dy on entry, dL/dx on return. x: what the layer normalised.
inline void batch_norm_backward(const BatchNorm& n, const float* x, float* gradient, std::int64_t rows,
                                std::int64_t columns, std::int64_t stride) {
  lane_sums(rows, columns, stride, n.lanes, n.beta_gradient,
            [=](std::int64_t s, std::int64_t f) { return gradient[s * stride + f]; });
  lane_sums(rows, columns, stride, n.lanes, n.gamma_gradient, [=](std::int64_t s, std::int64_t f) {
    return gradient[s * stride + f] * law::normalized(x[s * stride + f], n.mean[f], n.inverse[f]);
  });
  const float inverse_count = 1.0f / static_cast<float>(rows);
  for (std::int64_t s = 0; s < rows; ++s)
    for (std::int64_t f = 0; f < columns; ++f)
      gradient[s * stride + f] = law::batch_norm_gradient(
          gradient[s * stride + f], law::normalized(x[s * stride + f], n.mean[f], n.inverse[f]),
          n.beta_gradient[f], n.gamma_gradient[f], inverse_count, n.gamma[f] * n.inverse[f]);
}

// ---- PReLU -----------------------------------------------------------------------------------------------

// dL/dslope: a lane sum over the samples of the lane sums over the features.
inline float prelu_slope_gradient(const float* gradient, const float* z, std::int64_t rows,
                                  std::int64_t width, std::int64_t stride) {
  return law::lane_sum_of(rows, [=](std::int64_t s) {
    return law::lane_sum_of(width, [=](std::int64_t f) {
      return law::prelu_slope_term(gradient[s * stride + f], z[s * stride + f]);
    });
  });
}

// ---- loss ------------------------------------------------------------------------------------------------

// Replaces the logits by dL/dlogits of the mean loss. block: scratch for [outputs][kBlock]. Classes are
// walked in the order of law/loss.hpp, kBlock samples side by side.
inline constexpr std::int64_t kBlock = 64;

// finish(p, class, sample) makes the gradient of a logit from its class's probability.
template <class Finish>
inline void softmax_gradients(float* logits, std::int64_t stride, std::int64_t rows, std::int64_t outputs,
                              float* block, const Finish& finish) {
  for (std::int64_t first = 0; first < rows; first += kBlock) {
    const std::int64_t count = rows - first < kBlock ? rows - first : kBlock;
    float* logit = logits + first * stride;
    alignas(64) float top[kBlock] = {}, sum[kBlock] = {};
    for (std::int64_t c = 0; c < outputs; ++c)
      for (std::int64_t s = 0; s < count; ++s) block[c * kBlock + s] = logit[s * stride + c];
    for (std::int64_t s = 0; s < kBlock; ++s) top[s] = block[s];
    for (std::int64_t c = 1; c < outputs; ++c)
      for (std::int64_t s = 0; s < kBlock; ++s)
        top[s] = block[c * kBlock + s] > top[s] ? block[c * kBlock + s] : top[s];
    for (std::int64_t c = 0; c < outputs; ++c)
      for (std::int64_t s = 0; s < kBlock; ++s) {
        block[c * kBlock + s] = law::exp(block[c * kBlock + s] - top[s]);
        sum[s] += block[c * kBlock + s];
      }
    for (std::int64_t c = 0; c < outputs; ++c)
      for (std::int64_t s = 0; s < count; ++s)
        logit[s * stride + c] = finish(block[c * kBlock + s] / sum[s], c, first + s);
  }
}

inline void loss_gradients(Loss loss, float* logits, std::int64_t stride, const std::int32_t* label,
                           std::int64_t rows, std::int64_t outputs, float* block) {
  const float inverse_count = 1.0f / static_cast<float>(rows);
  if (loss == Loss::cross_entropy)
    return softmax_gradients(logits, stride, rows, outputs, block,
                             [=](float p, std::int64_t c, std::int64_t s) {
                               return (p - (c == label[s] ? 1.0f : 0.0f)) * inverse_count;
                             });
  for (std::int64_t s = 0; s < rows; ++s)
    logits[s * stride] =
        loss == Loss::hinge ? law::hinge_gradient(logits[s * stride], label[s], inverse_count)
                            : law::binary_cross_entropy_gradient(logits[s * stride], label[s], inverse_count);
}

// ---- gradients and steps ---------------------------------------------------------------------------------

// sum[f] = delta[0][f] + delta[1][f] + … from +0, in the order of the samples. 16 columns at a time stay in
// registers.
inline void bias_gradient(const float* delta, std::int64_t stride, std::int64_t rows, std::int64_t columns,
                          float* sum) {
  constexpr std::int64_t kColumns = 4 * kWidth;
  for (std::int64_t first = 0; first < columns; first += kColumns) {
    const std::int64_t count = columns - first < kColumns ? columns - first : kColumns;
    alignas(64) float running[kColumns] = {};
    if (count == kColumns) {
      for (std::int64_t s = 0; s < rows; ++s)
        for (std::int64_t f = 0; f < kColumns; ++f) running[f] += delta[s * stride + first + f];
    } else {
      for (std::int64_t s = 0; s < rows; ++s)
        for (std::int64_t f = 0; f < count; ++f) running[f] += delta[s * stride + first + f];
    }
    for (std::int64_t f = 0; f < count; ++f) sum[first + f] = running[f];
  }
}

struct Parameter {
  float *value, *gradient, *state0, *state1;  // [count]; the states may be null where the optimiser has none
  std::int64_t count;
};

inline void step(const law::OptimizerConstants& o, law::AdamScale adam, const Parameter& p) {
  float* __restrict__ value = p.value;
  const float* __restrict__ gradient = p.gradient;
  float* __restrict__ state0 = p.state0;
  float* __restrict__ state1 = p.state1;
  const bool momentum = o.momentum != 0.0f;
  if (o.kind == OptimizerKind::sgd && !momentum) {
    for (std::int64_t i = 0; i < p.count; ++i) {
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::sgd, false>(o, adam, gradient[i], value[i], none, none);
    }
  } else if (o.kind == OptimizerKind::sgd) {
    for (std::int64_t i = 0; i < p.count; ++i) {
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::sgd, true>(o, adam, gradient[i], value[i], state0[i], none);
    }
  } else if (o.kind == OptimizerKind::adam) {
    for (std::int64_t i = 0; i < p.count; ++i)
      law::optimizer_step<OptimizerKind::adam, false>(o, adam, gradient[i], value[i], state0[i], state1[i]);
  } else if (!momentum) {
    for (std::int64_t i = 0; i < p.count; ++i) {
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::rmsprop, false>(o, adam, gradient[i], value[i], state0[i], none);
    }
  } else {
    for (std::int64_t i = 0; i < p.count; ++i)
      law::optimizer_step<OptimizerKind::rmsprop, true>(o, adam, gradient[i], value[i], state0[i], state1[i]);
  }
}
