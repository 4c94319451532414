// The body of Engine (cpu/engine.hpp): updates and scores. Included inside namespace
// occam::cpu::<instruction set>.

class MemberEngine : public Network {
 public:
  using Network::Network;

  void train(const TrainingRows& rows, std::int64_t updates) override {
    rows_ = &rows;
    for (std::int64_t end = update_ + updates; update_ < end; ++update_) {
      const std::int64_t count = gather(rows, update_ + 1 < end);
      set_learning_rate(rows.rows);
      prepare_batch(count);
      if (input_dropout_.threshold > 0 && !image_weights_)
        apply_dropout(batch_x_, batch_x_, count, layer_[0].in, layer_[0].in_stride, input_dropout_,
                      order_seed_, 0, static_cast<std::uint32_t>(update_));
      for (int l = 0; l < layers_; ++l) forward(l, count, Pass::train);
      loss_gradients(loss_, layer_[layers_ - 1].y, layer_[layers_ - 1].out_stride, label_, count,
                     layer_[layers_ - 1].out, loss_block_);
      const law::AdamScale adam =
          optimizer_.kind == OptimizerKind::adam ? law::adam_scale(optimizer_, update_) : law::AdamScale{};
      for (int l = layers_ - 1; l >= 0; --l) {
        parameter_gradients(l, count);
        if (l > 0) input_gradient(l, count);
        optimize(layer_[l], adam);
      }
      if (image_weights_) update_images(adam);
    }
  }

  void logits(const float* x, std::int64_t rows, float* out) override {
    score(rows, out, [&](std::int64_t first, std::int64_t) {
      images_ = {};
      input_ = x + first * layer_[0].in_stride;
    });
  }

  void logits(const ImageRows& images, std::int64_t rows, float* out) override {
    score(rows, out, [&](std::int64_t first, std::int64_t count) {
      images_ = {images.shapes, images.place + first, count};
    });
  }

  void rotate(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t width,
              const float* matrix, float* out) override {
    const std::int64_t stride = padded(width);
    const Product product{rows, width, width, {x, x_stride, 1}, matrix, stride, nullptr};
    multiply(product,
             [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column, std::int64_t columns,
                 const float* tile) { copy_tile(tile, out, stride, row, tile_rows, column, columns); });
  }

 protected:
  // take(first, count) makes these rows the input.
  template <class Take>
  void score(std::int64_t rows, float* out, const Take& take) {
    const Layer& last = layer_[layers_ - 1];
    for (std::int64_t first = 0; first < rows; first += kChunk) {
      const std::int64_t count = rows - first < kChunk ? rows - first : kChunk;
      take(first, count);
      for (int l = 0; l < layers_; ++l) forward(l, count, Pass::score);
      for (std::int64_t s = 0; s < count; ++s)
        for (std::int64_t c = 0; c < last.out; ++c)
          out[(first + s) * last.out + c] = last.y[s * last.out_stride + c];
    }
  }

  // What happens to a gathered batch before its update.
  virtual void prepare_batch(std::int64_t) {}

  void set_learning_rate(std::int64_t rows) {
    if (schedule_.epochs == 0) return;
    Optimizer now = start_optimizer_;
    now.learning_rate =
        law::learning_rate(start_optimizer_, schedule_, law::batch_place(update_, rows, batch_).epoch);
    optimizer_ = law::optimizer_constants(now);
  }

  // Assembles the update's batch and, where another follows in this call, has its row numbers ready for
  // prefetching.
  std::int64_t gather(const TrainingRows& rows, bool another) {
    const std::int64_t stride = layer_[0].in_stride, count = batches_.draw(update_, rows.rows, another);
    const std::uint32_t* row = batches_.current();
    for (std::int64_t s = 0; s < count; ++s) label_[s] = rows.y[row[s]];
    if (image_weights_) {
      for (std::int64_t s = 0; s < count; ++s) image_place_[0][s] = rows.images.place[row[s]];
      images_ = {rows.images.shapes, image_place_[0], count};
      for (std::int64_t s = 0; s < batches_.coming_count(); ++s)
        image_place_[1][s] = rows.images.place[batches_.coming()[s]];
      coming_images_ = {rows.images.shapes, image_place_[1], batches_.coming_count()};
      return count;
    }
    for (std::int64_t s = 0; s < count; ++s)
      for (std::int64_t f = 0; f < stride; f += kWidth)
        put(batch_x_ + s * stride + f, fetch(rows.x + row[s] * stride + f));
    input_ = batch_x_;
    return count;
  }
};
