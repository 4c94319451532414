// The engine's attacks (law/attack.hpp): a tile of rows stays in the cache with its perturbations for all
// iterations. Included inside namespace occam::cpu::<instruction set>.

// square[r] = lane sum over the columns of x[r][·]², for kWidth rows. columns: whole vectors; padding is
// zero.
inline void squared_norms(const float* x, std::int64_t stride, std::int64_t columns, float* square) {
  constexpr int kVectors = law::kLanes / kWidth;
  alignas(64) float rows[kWidth * kWidth], lanes[kWidth * kWidth];
  for (int r = 0; r < kWidth; ++r) {
    Vector lane[kVectors];
    for (int v = 0; v < kVectors; ++v) lane[v] = zero();
    const float* row = x + r * stride;
    for (std::int64_t c = 0; c < columns; c += law::kLanes)
      for (int v = 0; v < kVectors && c + v * kWidth < columns; ++v) {
        const Vector value = fetch(row + c + v * kWidth);
        lane[v] = add(lane[v], multiply(value, value));
      }
    // The tree, down to one vector a row.
    for (int half = kVectors / 2; half > 0; half /= 2)
      for (int v = 0; v < half; ++v) lane[v] = add(lane[v], lane[v + half]);
    put(rows + r * kWidth, lane[0]);
  }
  transpose_square(rows, kWidth, lanes, kWidth);
  for (int half = kWidth / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l)
      put(lanes + l * kWidth, add(fetch(lanes + l * kWidth), fetch(lanes + (l + half) * kWidth)));
  put(square, fetch(lanes));
}

class AttackEngine final : public MemberEngine {
 public:
  AttackEngine(const MlpSpec& spec, const ParameterLayout& layout, const Training* training,
               std::uint32_t order_seed, const ImageInput* images)
      : MemberEngine(spec, layout, training, order_seed, images), classes_(spec.classes) {
    if (!attacks_) return;
    if (training) {
      law::AttackConstants a = law::attack_constants(*training->adversary);
      a.seed = order_seed, a.batch = batch_;
      adversary_ = a;
    }
    columns_ = whole_vectors(layer_[0].in), stride_ = layer_[0].in_stride;
    for (int pass = 0; pass < 2; ++pass) {
      x_ = tile_arena_.take(kTile * stride_), perturbation_ = tile_arena_.take(kTile * stride_);
      worst_ = tile_arena_.take(kTile * stride_), moved_ = tile_arena_.take(kTile * stride_);
      worst_logits_ = tile_arena_.take(kTile * layer_[layers_ - 1].out);
      if (pass == 0) tile_arena_.reserve();
    }
  }

  void input_gradient(const float* x, const float* logit_gradient, std::int64_t rows,
                      float* gradient) override {
    const Layer& last = layer_[layers_ - 1];
    for (std::int64_t first = 0; first < rows; first += kTile) {
      const std::int64_t count = rows - first < kTile ? rows - first : kTile;
      input_ = x + first * stride_;
      for (int l = 0; l < layers_; ++l) forward(l, count, Pass::attack);
      for (std::int64_t s = 0; s < count; ++s)
        std::memcpy(last.y + s * last.out_stride, logit_gradient + (first + s) * last.out, floats(last.out));
      backward(count, gradient + first * stride_);
    }
  }

  void perturb(const AttackRows& rows, const law::AttackConstants& attack, float* perturbation, float* logits,
               float* tracked) override {
    const std::int64_t outputs = layer_[layers_ - 1].out;
    for (std::int64_t first = 0; first < rows.count; first += kTile) {
      const std::int64_t count = rows.count - first < kTile ? rows.count - first : kTile;
      take_rows(rows.x + first * stride_, rows.y + first, rows.first + first, count);
      for (std::int64_t s = 0; s < count; ++s)
        inverse_[s] =
            1.0f / static_cast<float>(law::rows_of_batch(rows.first + first + s, rows.all, attack.batch));
      perturb_tile(attack, 0, tracked ? tracked + (rows.first + first) * outputs : nullptr,
                   rows.all * outputs);
      std::memcpy(perturbation + first * stride_, worst_, floats(count * stride_));
      std::memcpy(logits + first * outputs, worst_logits_, floats(count * outputs));
    }
  }

  void universal_shares(const AttackRows& rows, const law::AttackConstants& attack, const float* universal,
                        float* share) override {
    for (std::int64_t first = 0; first < rows.count; first += kTile) {
      const std::int64_t count = rows.count - first < kTile ? rows.count - first : kTile;
      take_rows(rows.x + first * stride_, rows.y + first, rows.first + first, count);
      float* const shifted = perturbation_;
      for (std::int64_t s = 0; s < count; ++s) {
        inverse_[s] = 1.0f / static_cast<float>(law::rows_of_batch(row_ + s, rows.all, attack.batch));
        const float sign = law::universal_sign(classes_, label_of_[s]);
        for (std::int64_t k = 0; k < columns_; ++k) {
          const std::int64_t at = s * stride_ + k;
          shifted[at] = law::shifted(x_[at], sign, universal[k]);
          moved_[at] = k < layer_[0].in ? law::inside(attack, shifted[at]) : 0.0f;
        }
      }
      input_ = moved_;
      for (int l = 0; l < layers_; ++l) forward(l, count, Pass::attack);
      loss_gradients_of(attack, 0, 0, 0);
      backward(count, moved_);
      for (std::int64_t s = 0; s < count; ++s) {
        const float sign = law::universal_sign(classes_, label_of_[s]);
        for (std::int64_t k = 0; k < columns_; ++k) {
          const std::int64_t at = s * stride_ + k;
          share[first * stride_ + at] = law::universal_share(attack, shifted[at], sign, moved_[at]);
        }
      }
    }
  }

 private:
  static constexpr std::int64_t kTile = 64;  // rows attacked at a time

  // Adversarial training: the batch moves before its update.
  void prepare_batch(std::int64_t rows) override {
    if (!adversary_) return;
    const float inverse = 1.0f / static_cast<float>(rows);
    for (std::int64_t first = 0; first < rows; first += kTile) {
      const std::int64_t count = rows - first < kTile ? rows - first : kTile;
      take_rows(batch_x_ + first * stride_, label_ + first, first, count);
      for (std::int64_t s = 0; s < count; ++s) inverse_[s] = inverse;
      perturb_tile(*adversary_, static_cast<std::uint32_t>(update_), nullptr, 0);
      for (std::int64_t i = 0; i < count * stride_; ++i) batch_x_[first * stride_ + i] += worst_[i];
    }
    input_ = batch_x_;
  }

  // Rows beyond `count` up to a whole number of vectors are zero.
  void take_rows(const float* x, const std::int32_t* y, std::int64_t row, std::int64_t count) {
    row_ = row, count_ = count;
    groups_ = (count + kWidth - 1) / kWidth;
    std::memcpy(x_, x, floats(count * stride_));
    std::memset(x_ + count * stride_, 0, floats((groups_ * kWidth - count) * stride_));
    std::memcpy(label_of_, y, static_cast<std::size_t>(count) * sizeof(std::int32_t));
  }

  // Leaves the perturbations that count in worst_ and the logits they lead to in worst_logits_.
  void perturb_tile(const law::AttackConstants& a, std::uint32_t update, float* tracked,
                    std::int64_t track_step) {
    const Layer& last = layer_[layers_ - 1];
    for (std::uint32_t restart = 0; restart < static_cast<std::uint32_t>(a.restarts); ++restart) {
      start(a, restart, update);
      for (std::uint32_t t = 0; t < static_cast<std::uint32_t>(a.iterations); ++t) {
        forward_at_perturbation();
        if (tracked) copy_logits(last, tracked + t * track_step);
        for (std::int64_t s = 0; a.minimal && s < count_; ++s)
          moves_[s] =
              law::predicted_class(last.y + s * last.out_stride, static_cast<int>(last.out)) == label_of_[s];
        loss_gradients_of(a, t, restart, update);
        backward(count_, moved_);
        step(a);
      }
      forward_at_perturbation();
      for (std::int64_t s = 0; s < count_; ++s) {
        const float* logits = last.y + s * last.out_stride;
        const float loss =
            a.restarts > 1 ? law::label_loss(logits, static_cast<int>(last.out), label_of_[s]) : 0.0f;
        if (restart > 0 && !(loss >= worst_loss_[s])) continue;
        worst_loss_[s] = loss;
        std::memcpy(worst_ + s * stride_, perturbation_ + s * stride_, floats(stride_));
        std::memcpy(worst_logits_ + s * last.out, logits, floats(last.out));
      }
    }
  }

  void copy_logits(const Layer& last, float* to) const {
    for (std::int64_t s = 0; s < count_; ++s)
      std::memcpy(to + s * last.out, last.y + s * last.out_stride, floats(last.out));
  }

  void start(const law::AttackConstants& a, std::uint32_t restart, std::uint32_t update) {
    std::memset(perturbation_, 0, floats(groups_ * kWidth * stride_));
    if (a.epsilon == 0.0f) return;
    const std::int64_t in = layer_[0].in;
    for (std::int64_t s = 0; s < count_; ++s)
      for (std::int64_t quad = 0; 4 * quad < in; ++quad) {
        const law::StartQuad of = law::start_quad(a, static_cast<std::uint32_t>(row_ + s),
                                                  static_cast<std::uint32_t>(quad), restart, update);
        for (std::int64_t i = 0; i < 4 && 4 * quad + i < in; ++i)
          perturbation_[s * stride_ + 4 * quad + i] = of.value[i];
      }
    if (a.norm == Norm::linf) return;
    norms(perturbation_);
    for (std::int64_t s = 0; s < count_; ++s) {
      const float scale = law::start_scale(a, square_[s]);
      for (std::int64_t k = 0; k < columns_; ++k) perturbation_[s * stride_ + k] *= scale;
    }
  }

  void norms(const float* x) {
    for (std::int64_t group = 0; group < groups_; ++group)
      squared_norms(x + group * kWidth * stride_, stride_, columns_, square_ + group * kWidth);
  }

  void forward_at_perturbation() {
    for (std::int64_t s = 0; s < count_; ++s)
      for (std::int64_t k = 0; k < columns_; ++k)
        moved_[s * stride_ + k] = x_[s * stride_ + k] + perturbation_[s * stride_ + k];
    input_ = moved_;
    for (int l = 0; l < layers_; ++l) forward(l, count_, Pass::attack);
  }

  // The last layer's y: from logits to dL/dlogits of the attack's loss.
  void loss_gradients_of(const law::AttackConstants& a, std::uint32_t iteration, std::uint32_t restart,
                         std::uint32_t update) {
    const Layer& last = layer_[layers_ - 1];
    for (std::int64_t s = 0; s < count_; ++s)
      target_[s] = law::attack_target(a, classes_, label_of_[s], static_cast<std::uint32_t>(row_ + s),
                                      iteration, restart, update);
    const AttackLoss kind = a.loss;
    if (last.out > 1) {
      const std::int32_t *target = target_, *label = label_of_;
      const float* inverse = inverse_;
      return softmax_gradients(last.y, last.out_stride, count_, last.out, loss_block_,
                               [=](float p, std::int64_t c, std::int64_t s) {
                                 const float at_target = (p - (c == target[s] ? 1.0f : 0.0f)) * inverse[s];
                                 const float at_other = (p - (c == 1 - label[s] ? 1.0f : 0.0f)) * inverse[s];
                                 return law::attack_gradient(kind, at_target, at_other);
                               });
    }
    for (std::int64_t s = 0; s < count_; ++s) {
      float gradient[1];
      law::attack_loss_gradient(kind, last.y + s * last.out_stride, 1, label_of_[s], target_[s], inverse_[s],
                                gradient);
      last.y[s * last.out_stride] = gradient[0];
    }
  }

  // From dL/dlogits in the last layer's y to dL/dx; gradient: [rows][stride_].
  void backward(std::int64_t rows, float* gradient) {
    for (int l = layers_ - 1; l > 0; --l) hidden_gradient(l, rows);
    const Layer& first = layer_[0];
    const std::int64_t stride = stride_;
    const Product product{rows,         first.in, first.out, {first.y, first.out_stride, 1},
                          first.weight, stride,   nullptr};
    multiply(product,
             [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column, std::int64_t columns,
                 const float* tile) { copy_tile(tile, gradient, stride, row, tile_rows, column, columns); });
  }

  // dL/dz of layer l − 1, in its y, from dL/dz of layer l.
  void hidden_gradient(int l, std::int64_t rows) {
    const Layer& layer = layer_[l];
    const Layer& below = layer_[l - 1];
    const std::int64_t stride = layer.in_stride, columns_of_all = whole_vectors(layer.in);
    const Product product{rows,         layer.in, layer.out, {layer.y, layer.out_stride, 1},
                          layer.weight, stride,   nullptr};
    float* const gradient = below.y;
    const float* const h = kept_for_attack(below);
    const float* const z = activation_ == Activation::prelu ? below.z : h;
    const float slope = below.slope.count ? below.slope.value[0] : 0.0f;
    if (batch_norm_) {
      multiply(product, [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                            std::int64_t columns, const float* tile) {
        copy_tile(tile, gradient, stride, row, tile_rows, column, columns);
      });
      batch_norm_inference_backward(below.norm, gradient, rows, columns_of_all, stride);
      law::with_activation(activation_, [&](auto kind) {
        for (std::int64_t i = 0; i < rows * stride; ++i)
          gradient[i] = law::activation_gradient<decltype(kind)::value>(gradient[i], z[i], h[i], slope);
      });
      return;
    }
    law::with_activation(activation_, [&](auto kind) {
      multiply(product, [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                            std::int64_t columns, const float* tile) {
        for (std::int64_t r = 0; r < tile_rows; ++r) {
          const std::int64_t at = (row + r) * stride + column;
          for (std::int64_t c = 0; c < columns; ++c)
            gradient[at + c] = law::activation_gradient<decltype(kind)::value>(tile[r * columns + c],
                                                                               z[at + c], h[at + c], slope);
        }
      });
    });
  }

  // One step of the tile's perturbations along the gradients in moved_.
  void step(const law::AttackConstants& a) {
    const bool l2 = a.norm == Norm::l2;
    if (l2) {
      std::memset(moved_ + count_ * stride_, 0, floats((groups_ * kWidth - count_) * stride_));
      norms(moved_);
    }
    for (std::int64_t s = 0; s < count_; ++s) {
      if (a.minimal && !moves_[s]) continue;
      float* __restrict__ row = perturbation_ + s * stride_;
      const float* __restrict__ gradient = moved_ + s * stride_;
      const float scale = l2 ? law::step_scale(a, square_[s]) : 0.0f;
      if (l2) {
        for (std::int64_t k = 0; k < columns_; ++k) row[k] = law::l2_step(row[k], gradient[k], scale);
      } else if (a.minimal) {
        for (std::int64_t k = 0; k < columns_; ++k) row[k] = law::linf_step(a, row[k], gradient[k]);
      } else {
        for (std::int64_t k = 0; k < columns_; ++k)
          row[k] = law::clip(a, law::linf_step(a, row[k], gradient[k]));
      }
    }
    const bool projects = l2 && !a.minimal;
    if (projects) norms(perturbation_);
    for (std::int64_t s = 0; s < count_; ++s) {  // rows that stay too: their start may lie beyond the bounds
      float* __restrict__ row = perturbation_ + s * stride_;
      const float* __restrict__ x = x_ + s * stride_;
      const float scale = projects ? law::projection_scale(a, square_[s]) : 1.0f;
      for (std::int64_t k = 0; k < columns_; ++k) row[k] = law::clamp(a, row[k] * scale, x[k]);
      for (std::int64_t k = layer_[0].in; k < columns_; ++k) row[k] = 0.0f;
    }
  }

  const int classes_;
  std::optional<law::AttackConstants> adversary_;
  Arena tile_arena_;
  std::int64_t columns_ = 0, stride_ = 0;  // of the inputs: whole vectors, and from row to row
  // The tile: rows as they are, perturbations under way, those that count, and x + δ, which becomes dL/dx.
  float *x_ = nullptr, *perturbation_ = nullptr, *worst_ = nullptr, *moved_ = nullptr;  // [kTile][stride_]
  float* worst_logits_ = nullptr;                                                       // [kTile][outputs]
  alignas(64) float square_[kTile] = {}, inverse_[kTile] = {}, worst_loss_[kTile] = {};
  std::int32_t label_of_[kTile] = {}, target_[kTile] = {};
  bool moves_[kTile] = {};
  std::int64_t row_ = 0, count_ = 0, groups_ = 0;  // number of the first row, rows, vectors of rows
};

std::unique_ptr<Engine> make_engine(const MlpSpec& spec, const ParameterLayout& layout,
                                    const Training* training, std::uint32_t order_seed,
                                    const ImageInput* images) {
  return std::make_unique<AttackEngine>(spec, layout, training, order_seed, images);
}
