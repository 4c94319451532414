// The law of arithmetic in plain loops: one member, one sample, one feature at a time, in the order that
// docs/arithmetic.md writes down. Every body of the contract (src/backend.hpp) must give these bits. The
// per-element functions are those of src/law, which all bodies share; the loops are the twin's own. Slow on
// purpose: read it, or compare with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "occam/data.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"

namespace occam::test {

class ScalarTwin {
 public:
  // parameters: [layout.total]. Optimiser state starts at zero and updates count from 0.
  ScalarTwin(const MlpSpec& spec, const Training& training, std::uint32_t order_seed,
             std::span<const float> parameters);

  // `updates` further updates on batches of `rows`, the member's training rows as the model sees them.
  void train(const HostTable& rows, std::int64_t updates);

  // Inference mode. x: [rows][inputs] → [rows][outputs].
  std::vector<float> logits(std::span<const float> x) const;

  // dL/dx from dL/dlogits [rows][outputs], inference mode. x: [rows][inputs].
  std::vector<float> input_gradient(std::span<const float> x, std::span<const float> logit_gradient) const;

  struct Score {
    std::int64_t correct = 0;
    float loss = 0;  // mean over the rows
  };
  Score score(const HostTable& rows) const;

  const MlpSpec& spec() const { return spec_; }
  std::span<const float> parameters() const { return parameters_; }  // [layout.total]
  std::span<const float> gradient() const { return gradient_; }      // [layout.trainable], of the last update

 private:
  // [rows][columns], row-major
  struct Matrix {
    std::int64_t rows = 0, columns = 0;
    std::vector<float> values;
    Matrix() = default;
    Matrix(std::int64_t r, std::int64_t c) : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
    float& operator()(std::int64_t r, std::int64_t c) {
      return values[static_cast<std::size_t>(r * columns + c)];
    }
    float operator()(std::int64_t r, std::int64_t c) const {
      return values[static_cast<std::size_t>(r * columns + c)];
    }
  };
  // What a layer leaves behind for the backward pass. A hidden layer: z → activation → h → dropout → dropped
  // → batch norm → y. The output layer: z is y, the logits.
  struct Trace {
    Matrix x, z, h, dropped, y;
    std::vector<float> mean, inverse;  // batch norm's, of this batch
  };

  float parameter(std::int64_t offset) const { return parameters_[static_cast<std::size_t>(offset)]; }
  const ParameterLayout::Layer& at(int layer) const {
    return layout_.layers[static_cast<std::size_t>(layer)];
  }
  bool is_hidden(int layer) const { return layer + 1 < spec_.layers(); }
  float slope(int layer) const { return at(layer).slope < 0 ? 0.0f : parameter(at(layer).slope); }

  void one_update(const HostTable& rows);
  void move_batch(Matrix& x, const std::vector<std::int32_t>& labels) const;  // adversarial training
  Matrix linear(int layer, const Matrix& x) const;
  Matrix activated(int layer, const Matrix& z) const;
  void normalize(int layer, Trace& trace);  // training mode; moves the running averages
  Matrix normalized_with_running_averages(int layer, const Matrix& x) const;
  void apply_dropout(Matrix& x, std::uint32_t dropout_layer, double probability) const;
  Matrix loss_gradient(const Matrix& logits, std::span<const std::int32_t> labels) const;
  void normalize_gradient(int layer, const Trace& trace, Matrix& gradient);
  void activation_gradient(int layer, const Trace& trace, Matrix& gradient);
  void parameter_gradients(int layer, const Matrix& x, const Matrix& delta);
  Matrix input_gradient(int layer, const Matrix& delta) const;
  void optimizer_step();

  MlpSpec spec_;
  Training training_;
  ParameterLayout layout_;
  std::uint32_t order_seed_;
  std::uint32_t epoch_ = 0;                        // of the update under way
  std::int64_t update_ = 0;                        // updates done
  std::vector<float> parameters_;                  // [layout.total]
  std::vector<float> gradient_, state0_, state1_;  // [layout.trainable]
};

}  // namespace occam::test
