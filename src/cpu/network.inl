// A member's network: its parameters, optimiser state and activations, and the passes through it. Included
// inside namespace occam::cpu::<instruction set>, so that nothing compiled for one instruction set is ever
// linked into another.

// What a forward pass is for, and so what it keeps: nothing; what a derivative reads; or that, with dropout,
// batch norm by the batch's moments and the next batch brought into the cache.
enum class Pass { score, attack, train };

class Network : public Engine {
 public:
  Network(const MlpSpec& spec, const ParameterLayout& layout, const Training* training,
          std::uint32_t order_seed, const ImageInput* images)
      : spec_(&spec), layout_(&layout), loss_(spec.loss), activation_(spec.activation),
        batch_norm_(spec.batch_norm), layers_(spec.layers()), order_seed_(order_seed),
        batches_(order_seed, training ? training->batch : 0, training && training->in_order) {
    if (training) {
      trains_ = true;
      batch_ = training->batch;
      optimizer_ = law::optimizer_constants(training->optimizer);
      state_slots_ = law::state_slots(training->optimizer);
      input_dropout_ = law::dropout_constants(training->input_dropout);
      hidden_dropout_ = law::dropout_constants(training->hidden_dropout);
      start_optimizer_ = training->optimizer, schedule_ = training->schedule;
    }
    attacks_ = !images && (!training || training->adversary);
    capacity_ = batch_ > kChunk ? batch_ : kChunk;
    if (images)
      image_weights_.reset(
          new ImageWeights(*images->shapes, images->live, padded(spec.fan_out(0)), capacity_));
    layer_.reset(new Layer[static_cast<std::size_t>(layers_)]);
    lay_out();
    arena_.reserve();
    lay_out();
  }

  void load(const float* parameters) override {
    for (int l = 0; l < layers_; ++l) {
      const ParameterLayout::Layer& at = layout_->layers[static_cast<std::size_t>(l)];
      Layer& layer = layer_[l];
      for_each_weight(layer, [&](std::int64_t j, std::int64_t k) {
        *master_weight(layer, j, k) = parameters[at.weight + j * layer.in + k];
      });
      copy_weights(layer);
      std::memcpy(layer.bias.value, parameters + at.bias, floats(layer.out));
      if (at.slope >= 0) layer.slope.value[0] = parameters[at.slope];
      if (at.gamma >= 0) {
        std::memcpy(layer.norm.gamma, parameters + at.gamma, floats(layer.out));
        std::memcpy(layer.norm.beta, parameters + at.beta, floats(layer.out));
        std::memcpy(layer.norm.running_mean, parameters + at.running_mean, floats(layer.out));
        std::memcpy(layer.norm.running_variance, parameters + at.running_variance, floats(layer.out));
      }
    }
  }

  void store(float* parameters) const override {
    for (int l = 0; l < layers_; ++l) {
      const ParameterLayout::Layer& at = layout_->layers[static_cast<std::size_t>(l)];
      const Layer& layer = layer_[l];
      for_each_weight(layer, [&](std::int64_t j, std::int64_t k) {
        parameters[at.weight + j * layer.in + k] = *master_weight(layer, j, k);
      });
      std::memcpy(parameters + at.bias, layer.bias.value, floats(layer.out));
      if (at.slope >= 0) parameters[at.slope] = layer.slope.value[0];
      if (at.gamma >= 0) {
        std::memcpy(parameters + at.gamma, layer.norm.gamma, floats(layer.out));
        std::memcpy(parameters + at.beta, layer.norm.beta, floats(layer.out));
        std::memcpy(parameters + at.running_mean, layer.norm.running_mean, floats(layer.out));
        std::memcpy(parameters + at.running_variance, layer.norm.running_variance, floats(layer.out));
      }
    }
  }

  int state_slots() const override { return state_slots_; }
  void load_state(int slot, const float* values) override {
    for_each_state(slot, [=](std::int64_t at, float& value) { value = values[at]; });
  }
  void store_state(int slot, float* values) const override {
    for_each_state(slot, [=](std::int64_t at, const float& value) { values[at] = value; });
  }
  std::int64_t updates() const override { return update_; }
  void set_updates(std::int64_t updates) override { update_ = updates; }

 protected:
  static constexpr std::int64_t kChunk = 256;  // rows scored at a time

  static std::size_t floats(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); }

  // body(place among the parameters, value) for all values of one of the optimiser's arrays.
  template <class Body>
  void for_each_state(int slot, const Body& body) const {
    const auto of = [=](const Parameter& p) { return slot == 0 ? p.state0 : p.state1; };
    const auto vector = [&](std::int64_t at, const Parameter& p, std::int64_t count) {
      for (std::int64_t i = 0; at >= 0 && i < count; ++i) body(at + i, of(p)[i]);
    };
    for (int l = 0; l < layers_; ++l) {
      const ParameterLayout::Layer& at = layout_->layers[static_cast<std::size_t>(l)];
      const Layer& layer = layer_[l];
      if (l == 0 && image_weights_)
        image_weights_->for_each_live([&](std::int64_t pixel, std::int64_t number) {
          for (std::int64_t j = 0; j < layer.out; ++j)
            body(at.weight + j * layer.in + pixel, image_state_[slot][number * layer.out_stride + j]);
        });
      else
        for_each_weight(layer, [&](std::int64_t j, std::int64_t k) {
          body(at.weight + j * layer.in + k, of(layer.master)[master_place(layer, j, k)]);
        });
      vector(at.bias, layer.bias, layer.out);
      vector(at.slope, layer.slope, 1);
      vector(at.gamma, layer.gamma, layer.out);
      vector(at.beta, layer.beta, layer.out);
    }
  }

  Parameter parameter(std::int64_t count) {
    Parameter p{arena_.take(count), nullptr, nullptr, nullptr, count};
    if (trains_) p.gradient = arena_.take(count);
    if (state_slots_ > 0) p.state0 = arena_.take(count);
    if (state_slots_ > 1) p.state1 = arena_.take(count);
    return p;
  }

  void lay_out() {
    const auto round16 = [](std::int64_t n) { return (n + 15) / 16 * 16; };
    std::int64_t widest = 16;
    for (int l = 0; l < layers_; ++l) {
      Layer& layer = layer_[l];
      layer = Layer{};
      layer.in = spec_->fan_in(l), layer.out = spec_->fan_out(l);
      layer.in_stride = padded(layer.in), layer.out_stride = padded(layer.out);
      layer.output = l + 1 == layers_;
      if (layer.out_stride > widest) widest = layer.out_stride;
      const bool images = l == 0 && image_weights_;
      layer.master_is_transposed =
          images || layer.in * whole_vectors(layer.out) <= layer.out * whole_vectors(layer.in);
      const std::int64_t weight_floats = round16(layer.out) * layer.in_stride;
      const std::int64_t transposed_floats = round16(layer.in) * layer.out_stride;
      if (images)
        lay_out_images(layer, transposed_floats);
      else
        layer.master = parameter(layer.master_is_transposed ? transposed_floats : weight_floats);
      if (layer.master_is_transposed) {
        layer.transposed = layer.master.value;
        if (attacks_ || (l > 0 && trains_)) layer.weight = arena_.take(weight_floats);
      } else {
        layer.weight = layer.master.value;
        layer.transposed = arena_.take(transposed_floats);
      }
      layer.bias = parameter(layer.out_stride);
      const std::int64_t activations = capacity_ * layer.out_stride;
      layer.y = arena_.take(activations);
      if (layer.output) continue;
      layer.z = layer.h = layer.dropped = layer.y;
      if (batch_norm_) {
        layer.z = layer.h = layer.dropped = arena_.take(activations);
        layer.gamma = parameter(layer.out_stride), layer.beta = parameter(layer.out_stride);
        BatchNorm& n = layer.norm;
        n.gamma = layer.gamma.value, n.gamma_gradient = layer.gamma.gradient;
        n.beta = layer.beta.value, n.beta_gradient = layer.beta.gradient;
        for (float** vector : {&n.running_mean, &n.running_variance, &n.mean, &n.inverse, &n.sum})
          *vector = arena_.take(layer.out_stride);
        n.lanes = arena_.take(law::kLanes * layer.out_stride);
      }
      if (hidden_dropout_.threshold > 0) layer.z = layer.h = arena_.take(activations);
      if (activation_ == Activation::prelu) {
        layer.z = arena_.take(activations);
        layer.slope = parameter(16);
        layer.slope.count = 1;
      }
    }
    if (!image_weights_) batch_x_ = arena_.take(capacity_ * layer_[0].in_stride);
    loss_block_ = arena_.take(kBlock * widest);
    label_ = reinterpret_cast<std::int32_t*>(arena_.take(capacity_));
    batches_.lay_out(arena_, capacity_);
  }

  // The optimiser passes such a master by: image_weights_ steps it, and keeps state for the live pixels
  // alone.
  void lay_out_images(Layer& layer, std::int64_t floats) {
    layer.master = {arena_.take(floats), nullptr, nullptr, nullptr, 0};
    for (int i = 0; trains_ && i < state_slots_; ++i)
      image_state_[i] = arena_.take(image_weights_->state_floats());
    for (law::ShapePlace*& place : image_place_)
      place = reinterpret_cast<law::ShapePlace*>(
          arena_.take(capacity_ * static_cast<std::int64_t>(sizeof(law::ShapePlace) / sizeof(float))));
    image_ahead_ = arena_.take(capacity_ * layer.out_stride);
  }

  // Activations whose derivative an attack will take: batch norm must not write over them.
  float* kept_for_attack(const Layer& layer) const { return batch_norm_ ? layer.h : layer.y; }

  const float* input_of(int l) const { return l == 0 ? input_ : layer_[l - 1].y; }

  // The first layer's product on images, and its activation.
  void forward_images(Layer& layer, std::int64_t rows, float* z, float* h) {
    const std::int64_t stride = layer.out_stride, columns = whole_vectors(layer.out);
    if (has_ahead_) {
      std::memcpy(h, image_ahead_, floats(rows * stride));
    } else {
      start_image_product(images_, layer.bias.value, stride, h);
      for (int y = 0; y < images_.shapes->height; ++y)
        image_row_product(images_, y, layer.transposed, stride, columns, h);
    }
    has_ahead_ = false;
    if (layer.output) return;
    if (z) std::memcpy(z, h, floats(rows * stride));
    const float slope = layer.slope.count ? layer.slope.value[0] : 0.0f;
    law::with_activation(activation_, [&](auto kind) {
      for (std::int64_t i = 0; i < rows * stride; ++i)
        h[i] = law::activate<decltype(kind)::value>(h[i], slope);
    });
  }

  // The step of the first layer's weights. They and their state come from memory and go back there once an
  // update: where another update follows in this call, its product is made as they pass.
  void update_images(law::AdamScale adam) {
    const Layer& layer = layer_[0];
    const std::int64_t stride = layer.out_stride, columns = whole_vectors(layer.out);
    has_ahead_ = coming_images_.count > 0;
    if (has_ahead_) start_image_product(coming_images_, layer.bias.value, stride, image_ahead_);
    image_weights_->update(images_, layer.y, columns, optimizer_, adam, layer.transposed, image_state_[0],
                           image_state_[1], [&](int y) {
                             if (has_ahead_)
                               image_row_product(coming_images_, y, layer.transposed, stride, columns,
                                                 image_ahead_);
                           });
  }

  void forward(int l, std::int64_t rows, Pass pass) {
    Layer& layer = layer_[l];
    const bool images = l == 0 && images_.shapes;
    Product product{rows,
                    layer.out,
                    layer.in,
                    {input_of(l), layer.in_stride, 1},
                    layer.transposed,
                    layer.out_stride,
                    layer.bias.value};
    if (layer.output) {
      if (images) return forward_images(layer, rows, nullptr, layer.y);
      const std::int64_t done =
          multiply_few(input_of(l), layer.in_stride, rows, layer.out, layer.in, layer.transposed,
                       layer.out_stride, layer.bias.value, layer.y, layer.out_stride);
      product.rows -= done;
      product.a.data += done * layer.in_stride;
      multiply(product, [&, done](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                                  std::int64_t columns, const float* tile) {
        copy_tile(tile, layer.y, layer.out_stride, done + row, tile_rows, column, columns);
      });
      return;
    }
    const bool prefetches = pass == Pass::train && l == 0;
    const std::int64_t columns_of_all = whole_vectors(layer.out);
    // Scoring needs neither z nor the dropped copy: everything happens in y.
    float* const z = pass != Pass::score && activation_ == Activation::prelu ? layer.z : nullptr;
    float* const h = pass == Pass::train ? layer.h : pass == Pass::attack ? kept_for_attack(layer) : layer.y;
    if (images) forward_images(layer, rows, z, h);
    law::with_activation(activation_, [&](auto kind) {
      if (images) return;
      const float slope = layer.slope.count ? layer.slope.value[0] : 0.0f;
      const std::int64_t stride = layer.out_stride;
      multiply(product, [=, this](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                                  std::int64_t columns, const float* tile) {
        for (std::int64_t r = 0; r < tile_rows; ++r) {
          const float* from = tile + r * columns;
          float* to = h + (row + r) * stride + column;
          for (std::int64_t c = 0; c < columns; ++c)
            to[c] = law::activate<decltype(kind)::value>(from[c], slope);
        }
        if (z) copy_tile(tile, z, stride, row, tile_rows, column, columns);
        if (prefetches)
          batches_.prefetch(rows_->x, layer_[0].in_stride, rows_->y, tile_rows * columns,
                            rows * columns_of_all);
      });
    });
    if (pass != Pass::train) {
      if (batch_norm_) batch_norm_inference(layer.norm, h, layer.y, rows, columns_of_all, layer.out_stride);
      return;
    }
    if (hidden_dropout_.threshold > 0)
      apply_dropout(layer.h, layer.dropped, rows, layer.out, layer.out_stride, hidden_dropout_, order_seed_,
                    static_cast<std::uint32_t>(l) + 1, static_cast<std::uint32_t>(update_));
    if (batch_norm_)
      batch_norm_forward(layer.norm, layer.dropped, layer.y, rows, columns_of_all, layer.out_stride);
  }

  // dL/dweight and dL/dbias of layer l from dL/dz in its y.
  void parameter_gradients(int l, std::int64_t rows) {
    const Layer& layer = layer_[l];
    const float* x = input_of(l);
    const Operand delta{layer.y, 1, layer.out_stride}, input{x, 1, layer.in_stride};
    const Product product =
        layer.master_is_transposed
            ? Product{layer.in, layer.out, rows, input, layer.y, layer.out_stride, nullptr}
            : Product{layer.out, layer.in, rows, delta, x, layer.in_stride, nullptr};
    const std::int64_t stride = layer.master_is_transposed ? layer.out_stride : layer.in_stride;
    float* gradient = layer.master.gradient;
    if (gradient)
      multiply(product, [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                            std::int64_t columns, const float* tile) {
        copy_tile(tile, gradient, stride, row, tile_rows, column, columns);
      });
    if (layer.output)  // that of the others is summed where dL/dz is made
      bias_gradient(layer.y, layer.out_stride, rows, whole_vectors(layer.out), layer.bias.gradient);
  }

  // dL/dz of layer l − 1, in its y, and dL/dbias from dL/dz of layer l and the weights before their step.
  void input_gradient(int l, std::int64_t rows) {
    const Layer& layer = layer_[l];
    Layer& below = layer_[l - 1];
    const std::int64_t stride = layer.in_stride, columns_of_all = whole_vectors(layer.in);
    const Product product{rows,         layer.in, layer.out, {layer.y, layer.out_stride, 1},
                          layer.weight, stride,   nullptr};
    const bool dropout = hidden_dropout_.threshold > 0, prelu = activation_ == Activation::prelu;
    float* const gradient = below.y;
    if (dropout || batch_norm_ || prelu) {
      multiply(product, [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                            std::int64_t columns, const float* tile) {
        copy_tile(tile, gradient, stride, row, tile_rows, column, columns);
      });
      if (batch_norm_) batch_norm_backward(below.norm, below.dropped, gradient, rows, columns_of_all, stride);
      if (dropout)
        apply_dropout(gradient, gradient, rows, layer.in, stride, hidden_dropout_, order_seed_,
                      static_cast<std::uint32_t>(l), static_cast<std::uint32_t>(update_));
      if (prelu) below.slope.gradient[0] = prelu_slope_gradient(gradient, below.z, rows, layer.in, stride);
      const float slope = prelu ? below.slope.value[0] : 0.0f;
      law::with_activation(activation_, [&](auto kind) {
        for (std::int64_t i = 0; i < rows * stride; ++i)
          gradient[i] =
              law::activation_gradient<decltype(kind)::value>(gradient[i], below.z[i], below.h[i], slope);
      });
      return bias_gradient(gradient, stride, rows, columns_of_all, below.bias.gradient);
    }
    float* const bias = below.bias.gradient;
    std::memset(bias, 0, floats(columns_of_all));
    law::with_activation(activation_, [&](auto kind) {
      multiply(product, [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                            std::int64_t columns, const float* tile) {
        for (std::int64_t r = 0; r < tile_rows; ++r) {
          const float* from = tile + r * columns;
          float* to = gradient + (row + r) * stride + column;
          float* const sum = bias + column;
#pragma GCC ivdep
          for (std::int64_t c = 0; c < columns; ++c) {
            to[c] = law::activation_gradient<decltype(kind)::value>(from[c], to[c], to[c], 0.0f);
            sum[c] += to[c];
          }
        }
      });
    });
  }

  void optimize(Layer& layer, law::AdamScale adam) {
    for (const Parameter* p : {&layer.master, &layer.bias, &layer.slope, &layer.gamma, &layer.beta})
      if (p->count > 0) step(optimizer_, adam, *p);
    copy_weights(layer);
  }

  const MlpSpec* spec_;
  const ParameterLayout* layout_;
  Loss loss_;
  Activation activation_;
  bool batch_norm_;
  int layers_;
  std::uint32_t order_seed_;
  bool trains_ = false, attacks_ = false;
  Optimizer start_optimizer_;  // whose learning rate the schedule changes
  Schedule schedule_;
  int batch_ = 0;
  law::OptimizerConstants optimizer_{};
  int state_slots_ = 0;
  law::Dropout input_dropout_{}, hidden_dropout_{};
  std::int64_t capacity_ = 0;  // rows of the activation buffers
  std::int64_t update_ = 0;    // updates done
  Arena arena_;
  std::unique_ptr<Layer[]> layer_;
  float* batch_x_ = nullptr;       // [capacity][padded(inputs)]
  std::int32_t* label_ = nullptr;  // [capacity]
  float* loss_block_ = nullptr;
  Batches batches_;
  const TrainingRows* rows_ = nullptr;  // of the training under way
  const float* input_ = nullptr;  // [rows][padded(inputs)] of the pass under way, unless it is of images
  std::unique_ptr<ImageWeights> image_weights_;  // of an engine for images
  float* image_state_[2] = {};                   // [live pixels][out_stride]
  law::ShapePlace* image_place_[2] = {};         // [capacity] of the batch under way, and of the one after it
  ImageBatch images_, coming_images_;  // the input of the pass under way, where it is images; the next one
  float* image_ahead_ = nullptr;       // [capacity][out_stride]: products of the coming batch,
  bool has_ahead_ = false;             // where they are made
};
