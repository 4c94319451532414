// The body of Engine (cpu/engine.hpp). Included inside namespace occam::cpu::<instruction set>, so that
// nothing compiled for one instruction set is ever linked into another.

// A linear map and what follows it. The optimiser works on the orientation of the weights that wastes fewer
// lanes ("master"); the other orientation is a copy, made after each step where a product needs it.
struct Layer {
  std::int64_t in, out, in_stride, out_stride;
  bool output;  // the last layer: nothing follows it
  bool master_is_transposed;
  // [out][in_stride]: B of the input gradient; null for a first layer with transposed master.
  float* weight = nullptr;
  float* transposed;             // [in][out_stride]: B of the forward product
  Parameter master, bias;        // master: [out][in_stride] or [in][out_stride]; bias: [out_stride]
  Parameter slope, gamma, beta;  // count 0: none
  BatchNorm norm;
  float *z, *h, *dropped,
      *y;  // [capacity][out_stride]: before and after activation, after dropout, output of the layer.
           // They alias where a step is absent. In the backward pass y becomes dL/dz.
};

// What a forward pass is for, and so what it keeps: nothing; what a derivative reads; or that, with dropout,
// batch norm by the batch's moments and the next batch brought into the cache.
enum class Pass { score, attack, train };

class MemberEngine : public Engine {
 public:
  MemberEngine(const MlpSpec& spec, const ParameterLayout& layout, const Training* training,
               std::uint32_t order_seed)
      : spec_(&spec), layout_(&layout), loss_(spec.loss), activation_(spec.activation),
        batch_norm_(spec.batch_norm), layers_(spec.layers()), order_seed_(order_seed) {
    if (training) {
      trains_ = true;
      batch_ = training->batch;
      in_order_ = training->in_order;
      optimizer_ = law::optimizer_constants(training->optimizer);
      state_slots_ = law::state_slots(training->optimizer);
      input_dropout_ = law::dropout_constants(training->input_dropout);
      hidden_dropout_ = law::dropout_constants(training->hidden_dropout);
      start_optimizer_ = training->optimizer, schedule_ = training->schedule;
    }
    attacks_ = !training || training->adversary;
    capacity_ = batch_ > kChunk ? batch_ : kChunk;
    layer_.reset(new Layer[static_cast<std::size_t>(layers_)]);
    lay_out();
    arena_.reserve();
    lay_out();
  }

  void load(const float* parameters) override {
    for (int l = 0; l < layers_; ++l) {
      const ParameterLayout::Layer& at = layout_->layers[static_cast<std::size_t>(l)];
      Layer& layer = layer_[l];
      for (std::int64_t j = 0; j < layer.out; ++j)
        for (std::int64_t k = 0; k < layer.in; ++k)
          *master_weight(layer, j, k) = parameters[at.weight + j * layer.in + k];
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
      for (std::int64_t j = 0; j < layer.out; ++j)
        for (std::int64_t k = 0; k < layer.in; ++k)
          parameters[at.weight + j * layer.in + k] = *master_weight(layer, j, k);
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

  void train(const TrainingRows& rows, std::int64_t updates) override {
    for (std::int64_t end = update_ + updates; update_ < end; ++update_) {
      const std::int64_t count = gather(rows, update_ + 1 < end);
      set_learning_rate(rows.rows);
      prepare_batch(count);
      if (input_dropout_.threshold > 0)
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
    }
  }

  void logits(const float* x, std::int64_t rows, float* out) override {
    const Layer& last = layer_[layers_ - 1];
    for (std::int64_t first = 0; first < rows; first += kChunk) {
      const std::int64_t count = rows - first < kChunk ? rows - first : kChunk;
      input_ = x + first * layer_[0].in_stride;
      for (int l = 0; l < layers_; ++l) forward(l, count, Pass::score);
      for (std::int64_t s = 0; s < count; ++s)
        for (std::int64_t c = 0; c < last.out; ++c)
          out[(first + s) * last.out + c] = last.y[s * last.out_stride + c];
    }
  }

  void rotate(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t width,
              const float* matrix, float* out) override {
    const std::int64_t stride = padded(width);
    const Product product{rows, whole_vectors(width), width, {x, x_stride, 1}, matrix, stride, nullptr};
    multiply(product,
             [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column, std::int64_t columns,
                 const float* tile) { copy_tile(tile, out, stride, row, tile_rows, column, columns); });
  }

 protected:
  static constexpr std::int64_t kChunk = 256;  // rows scored at a time

  // What happens to a gathered batch before its update.
  virtual void prepare_batch(std::int64_t) {}

  void set_learning_rate(std::int64_t rows) {
    if (schedule_.epochs == 0) return;
    Optimizer now = start_optimizer_;
    now.learning_rate =
        law::learning_rate(start_optimizer_, schedule_, law::batch_place(update_, rows, batch_).epoch);
    optimizer_ = law::optimizer_constants(now);
  }

  static std::size_t floats(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); }

  static float* master_weight(const Layer& layer, std::int64_t j, std::int64_t k) {
    return layer.master.value +
           (layer.master_is_transposed ? k * layer.out_stride + j : j * layer.in_stride + k);
  }

  static void copy_tile(const float* tile, float* out, std::int64_t stride, std::int64_t row,
                        std::int64_t rows, std::int64_t column, std::int64_t columns) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; c += kWidth)
        put(out + (row + r) * stride + column + c, fetch(tile + r * columns + c));
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
      layer.master_is_transposed = layer.in * whole_vectors(layer.out) <= layer.out * whole_vectors(layer.in);
      const std::int64_t weight_floats = round16(layer.out) * layer.in_stride;
      const std::int64_t transposed_floats = round16(layer.in) * layer.out_stride;
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
    batch_x_ = arena_.take(capacity_ * layer_[0].in_stride);
    loss_block_ = arena_.take(kBlock * widest);
    label_ = reinterpret_cast<std::int32_t*>(arena_.take(capacity_));
    place_[0] = reinterpret_cast<std::uint32_t*>(arena_.take(capacity_ + 16));
    place_[1] = reinterpret_cast<std::uint32_t*>(arena_.take(capacity_ + 16));
  }

  // Row numbers of an update's batch, into `place`; how many.
  std::int64_t batch_rows(std::int64_t update, std::int64_t rows, std::uint32_t* place) const {
    const law::BatchPlace at = law::batch_place(update, rows, batch_);
    if (in_order_) {
      for (int i = 0; i < at.count; ++i) place[i] = static_cast<std::uint32_t>(at.first + i);
      return at.count;
    }
    const KeyedPermutation order = law::epoch_permutation(order_seed_, at.epoch, rows);
    const std::uint32_t first = static_cast<std::uint32_t>(at.first), size = order.size();
    const std::int64_t whole = (at.count + 15) / 16 * 16;  // past the end: walked along, never used
    for (std::int64_t i = 0; i < whole; ++i) {
      const std::uint32_t start = first + static_cast<std::uint32_t>(i);
      place[i] = order.once(start < size ? start : 0u);
    }
    for (bool outside = true; outside;) {
      std::uint32_t largest = 0;
      for (std::int64_t i = 0; i < whole; ++i) {
        const std::uint32_t next = order.once(place[i]);
        place[i] = place[i] >= size ? next : place[i];
        largest = place[i] > largest ? place[i] : largest;
      }
      outside = largest >= size;
    }
    return at.count;
  }

  // Assembles the update's batch and, where another follows in this call, has its row numbers ready for
  // prefetching.
  std::int64_t gather(const TrainingRows& rows, bool another) {
    const std::int64_t stride = layer_[0].in_stride;
    if (!ready_) next_count_ = batch_rows(update_, rows.rows, place_[0]);
    std::uint32_t* place = place_[0];
    const std::int64_t count = next_count_;
    for (std::int64_t s = 0; s < count; ++s) {
      const float* row = rows.x + place[s] * stride;
      for (std::int64_t f = 0; f < stride; f += kWidth) put(batch_x_ + s * stride + f, fetch(row + f));
      label_[s] = rows.y[place[s]];
    }
    input_ = batch_x_;
    ready_ = another;
    prefetch_ = nullptr;
    if (another) {
      std::swap(place_[0], place_[1]);
      next_count_ = batch_rows(update_ + 1, rows.rows, place_[0]);
      prefetch_ = rows.x;
    }
    return count;
  }

  // While one batch's first products run, the rows of the next come into the cache.
  void prefetch_rows(std::int64_t first, std::int64_t count) const {
    const std::int64_t stride = layer_[0].in_stride;
    for (std::int64_t s = first; s < first + count && s < next_count_; ++s)
      for (std::int64_t f = 0; f < stride; f += 16)
        __builtin_prefetch(prefetch_ + place_[0][s] * stride + f, 0, 2);
  }

  // Activations whose derivative an attack will take: batch norm must not write over them.
  float* kept_for_attack(const Layer& layer) const { return batch_norm_ ? layer.h : layer.y; }

  const float* input_of(int l) const { return l == 0 ? input_ : layer_[l - 1].y; }

  void forward(int l, std::int64_t rows, Pass pass) {
    Layer& layer = layer_[l];
    Product product{rows,
                    whole_vectors(layer.out),
                    layer.in,
                    {input_of(l), layer.in_stride, 1},
                    layer.transposed,
                    layer.out_stride,
                    layer.bias.value};
    if (layer.output) {
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
    const bool prefetches = pass == Pass::train && l == 0 && prefetch_;
    // Scoring needs neither z nor the dropped copy: everything happens in y.
    float* const z = pass != Pass::score && activation_ == Activation::prelu ? layer.z : nullptr;
    float* const h = pass == Pass::train ? layer.h : pass == Pass::attack ? kept_for_attack(layer) : layer.y;
    law::with_activation(activation_, [&](auto kind) {
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
        if (prefetches && column == 0) prefetch_rows(row, tile_rows);
      });
    });
    const std::int64_t columns = whole_vectors(layer.out);
    if (pass != Pass::train) {
      if (batch_norm_) batch_norm_inference(layer.norm, h, layer.y, rows, columns, layer.out_stride);
      return;
    }
    if (hidden_dropout_.threshold > 0)
      apply_dropout(layer.h, layer.dropped, rows, layer.out, layer.out_stride, hidden_dropout_, order_seed_,
                    static_cast<std::uint32_t>(l) + 1, static_cast<std::uint32_t>(update_));
    if (batch_norm_) batch_norm_forward(layer.norm, layer.dropped, layer.y, rows, columns, layer.out_stride);
  }

  // dL/dweight and dL/dbias of layer l from dL/dz in its y.
  void parameter_gradients(int l, std::int64_t rows) {
    const Layer& layer = layer_[l];
    const float* x = input_of(l);
    const Operand delta{layer.y, 1, layer.out_stride}, input{x, 1, layer.in_stride};
    const Product product =
        layer.master_is_transposed
            ? Product{layer.in, whole_vectors(layer.out), rows, input, layer.y, layer.out_stride, nullptr}
            : Product{layer.out, whole_vectors(layer.in), rows, delta, x, layer.in_stride, nullptr};
    const std::int64_t stride = layer.master_is_transposed ? layer.out_stride : layer.in_stride;
    float* gradient = layer.master.gradient;
    multiply(product,
             [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column, std::int64_t columns,
                 const float* tile) { copy_tile(tile, gradient, stride, row, tile_rows, column, columns); });
    bias_gradient(layer.y, layer.out_stride, rows, whole_vectors(layer.out), layer.bias.gradient);
  }

  // dL/dz of layer l − 1, in its y, from dL/dz of layer l and the weights before their step.
  void input_gradient(int l, std::int64_t rows) {
    const Layer& layer = layer_[l];
    Layer& below = layer_[l - 1];
    const std::int64_t stride = layer.in_stride, columns_of_all = whole_vectors(layer.in);
    const Product product{rows,         columns_of_all, layer.out, {layer.y, layer.out_stride, 1},
                          layer.weight, stride,         nullptr};
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
      return;
    }
    law::with_activation(activation_, [&](auto kind) {
      multiply(product, [=](std::int64_t row, std::int64_t tile_rows, std::int64_t column,
                            std::int64_t columns, const float* tile) {
        for (std::int64_t r = 0; r < tile_rows; ++r) {
          const float* from = tile + r * columns;
          float* to = gradient + (row + r) * stride + column;
          for (std::int64_t c = 0; c < columns; ++c)
            to[c] = law::activation_gradient<decltype(kind)::value>(from[c], to[c], to[c], 0.0f);
        }
      });
    });
  }

  static void copy_weights(Layer& layer) {
    if (layer.master_is_transposed) {
      if (layer.weight)
        transpose(layer.transposed, layer.out_stride, layer.in, layer.out, layer.weight, layer.in_stride);
    } else {
      transpose(layer.weight, layer.in_stride, layer.out, layer.in, layer.transposed, layer.out_stride);
    }
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
  bool in_order_ = false;
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
  std::uint32_t* place_[2] = {};  // [capacity + 16] row numbers of the coming batch, and of the one before
  std::int64_t next_count_ = 0;
  bool ready_ = false;               // place_[0] holds the coming batch's rows
  const float* prefetch_ = nullptr;  // the training rows, while a next batch is known
  const float* input_ = nullptr;     // [rows][padded(inputs)] of the pass under way
};
