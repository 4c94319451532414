#include "cuda/tiled_trainer.hpp"

#include <algorithm>

#include "backward.hpp"
#include "batch_norm.hpp"
#include "forward.hpp"
#include "loss.hpp"
#include "one_hidden.hpp"
#include "prelu.hpp"
#include "sample_pass.hpp"

namespace occam::cuda {

namespace {

constexpr std::int64_t kGraphPasses = 64;  // through the network, in a graph of many updates

}  // namespace

TiledTrainer::TiledTrainer(WaveData& data, std::span<const Training> trainings, std::size_t shared_limit)
    : Trainer(data, trainings) {
  const int batch = trainings[0].batch;
  const DeviceLayout& layout = data.layout();
  require(!data.images() || !(needs_.input_dropout || needs_.adversary),
          "images of shapes: neither input dropout nor adversarial training goes with them");
  const std::size_t members = trainings.size(), samples = members * static_cast<std::size_t>(batch);
  batch_ = DeviceBuffer<std::uint32_t>("batch rows", samples);
  rows_ = DeviceBuffer<int>("batch sizes", members);
  if (needs_.adversary) adversary_.emplace(data, trainings, plan_pgd(data.spec(), shared_limit));
  graph_updates_ = std::max<std::int64_t>(kGraphPasses / (1 + (adversary_ ? adversary_->launches() : 0)), 1);
  if (needs_.input_dropout || needs_.adversary)
    inputs_ = DeviceBuffer<float>("dropped inputs",
                                  samples * static_cast<std::size_t>(layout.layers()[0].in_stride));
  if (needs_.prelu) row_gradients_ = DeviceBuffer<float>("slope gradients", samples);
  precision_ = tiled_precision(layout, needs_.precision);
  one_hidden_ = takes_one_hidden(layout, needs_);
  sample_pass_ = takes_sample_pass(layout, needs_, batch, shared_limit);

  for (const LayerView& view : layout.layers()) {
    Layer layer;
    layer.view = view;
    const std::size_t size = samples * static_cast<std::size_t>(view.out_stride);
    layer.dropped = DeviceBuffer<float>(view.hidden ? "activations" : "logits", size);
    layer.output = layer.dropped.data();
    layer.derivative = layer.output;
    if (view.hidden && !one_hidden_) layer.gradient = DeviceBuffer<float>("delta", size);
    layer.delta = view.hidden ? layer.gradient.data() : layer.output;
    if (view.hidden && needs_.keeps_apart()) {
      layer.kept = DeviceBuffer<float>("kept activations", size);
      layer.derivative = layer.kept.data();
    }
    if (view.gamma >= 0) {
      layer.normalized = DeviceBuffer<float>("normalised activations", size);
      layer.output = layer.normalized.data();
      layer.moments =
          DeviceBuffer<float>("batch moments", 2 * members * static_cast<std::size_t>(view.out_stride));
    }
    layers_.push_back(std::move(layer));
  }
  slots_ = {static_cast<int>(members), batch, nullptr, rows_.data()};
}

std::int64_t TiledTrainer::member_bytes(const MlpSpec& spec, std::span<const Training> trainings,
                                        bool images) {
  const TrainingNeeds needs(spec, trainings, images);
  const DeviceLayout layout(spec);
  const std::int64_t batch = trainings[0].batch;
  const bool one_hidden = takes_one_hidden(layout, needs);
  std::int64_t row = 3, fixed = 0;  // floats
  if (needs.input_dropout || needs.adversary) row += layout.layers()[0].in_stride;
  if (needs.adversary) row += Adversary::floats_per_row(layout, spec);
  for (const LayerView& layer : layout.layers()) {
    row += layer.hidden && !one_hidden ? 2 * layer.out_stride : layer.out_stride;
    if (layer.hidden && needs.keeps_apart()) row += layer.out_stride;
    if (layer.gamma >= 0) row += layer.out_stride, fixed += 2 * layer.out_stride;
  }
  return static_cast<std::int64_t>(sizeof(float)) * (batch * row + fixed);
}

void TiledTrainer::forward(std::size_t l) {
  Layer& layer = layers_[l];
  const ForwardArguments arguments{
      .wave = wave_,
      .slots = slots_,
      .layer = layer.view,
      .input = l > 0 ? layers_[l - 1].output : inputs_.data(),  // null: gathered through the batch
      .batch = batch_.data(),
      .first_row = 0,
      .kept = layer.kept.data(),
      .output = layer.dropped.data(),
      .training = true,
      .precision = precision_};
  if (l == 0 && data_.images())
    launch_shape_forward(data_.stream(), {arguments, Split::train});
  else
    launch_forward(data_.stream(), arguments);
  if (layer.view.gamma >= 0)
    launch_batch_norm_forward(data_.stream(), {.wave = wave_,
                                               .slots = slots_,
                                               .layer = layer.view,
                                               .x = layer.dropped.data(),
                                               .kept = nullptr,
                                               .y = layer.normalized.data(),
                                               .moments = layer.moments.data()});
}

// dL/dz of the layer below layer l.
void TiledTrainer::backward(std::size_t l) {
  Stream& stream = data_.stream();
  Layer &layer = layers_[l], &below = layers_[l - 1];
  launch_input_gradient(stream, {.wave = wave_,
                                 .slots = slots_,
                                 .layer = layer.view,
                                 .below = below.view,
                                 .delta = layer.delta,
                                 .kept = below.derivative,
                                 .gradient = below.delta,
                                 .precision = precision_});
  if (below.view.gamma >= 0)
    launch_batch_norm_backward(stream, {.wave = wave_,
                                        .slots = slots_,
                                        .layer = below.view,
                                        .x = below.dropped.data(),
                                        .kept = below.derivative,
                                        .y = below.delta,
                                        .moments = below.moments.data()});
  if (below.view.slope >= 0)
    launch_prelu_backward(stream,
                          {wave_, slots_, below.view, below.derivative, below.delta, row_gradients_.data()});
}

// The last layer has few weights, whose blocks come last.
void TiledTrainer::step_weights() {
  WeightGradientArguments arguments{.wave = wave_,
                                    .slots = slots_,
                                    .batch = batch_.data(),
                                    .count = 0,
                                    .gradient = {},
                                    .end = {},
                                    .precision = precision_};
  const auto launch_some = [&] {
    if (arguments.count > 0) launch_weight_gradients(data_.stream(), arguments);
    arguments.count = 0;
  };
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    if (l == 0 && data_.images()) {
      launch_shape_weight_gradient(data_.stream(),
                                   {wave_, slots_, layers_[0].view, layers_[0].delta, batch_.data()});
      continue;
    }
    arguments.gradient[arguments.count++] = {layers_[l].view, layers_[l].delta,
                                             l > 0 ? layers_[l - 1].output : inputs_.data()};
    if (arguments.count == kMaxGradients) launch_some();
  }
  launch_some();
}

void TiledTrainer::pass_one_hidden() {
  const OneHiddenArguments arguments{
      wave_,          slots_,        layers_[0].view,           layers_[1].view,          data_.spec().loss,
      inputs_.data(), batch_.data(), layers_[0].dropped.data(), layers_[1].dropped.data()};
  launch_one_hidden_forward(data_.stream(), arguments);
  launch_one_hidden_backward(data_.stream(), arguments);
}

void TiledTrainer::pass_samples() {
  SamplePassArguments arguments{.wave = wave_,
                                .slots = slots_,
                                .loss = data_.spec().loss,
                                .layers = static_cast<int>(layers_.size()),
                                .layer = {},
                                .input = inputs_.data(),
                                .batch = batch_.data(),
                                .output = {},
                                .delta = {}};
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    arguments.layer[l] = layers_[l].view;
    arguments.output[l] = layers_[l].output, arguments.delta[l] = layers_[l].delta;
  }
  launch_sample_pass(data_.stream(), arguments);
  step_weights();
}

void TiledTrainer::pass_layers() {
  for (std::size_t l = 0; l < layers_.size(); ++l) forward(l);
  float* logits = layers_.back().dropped.data();
  launch_loss_gradient(data_.stream(),
                       {wave_, slots_, data_.spec().loss, data_.spec().outputs(), batch_.data(), logits});
  for (std::size_t l = layers_.size(); l-- > 1;) backward(l);
  step_weights();
}

void TiledTrainer::update() {
  Stream& stream = data_.stream();
  launch_batch(stream, {wave_, slots_.count, slots_.capacity, batch_.data(), rows_.data()});
  if (adversary_) adversary_->gather_moved(wave_, slots_, batch_.data(), inputs_.data());
  if (needs_.input_dropout)
    launch_input_dropout(stream, {wave_, slots_, data_.spec().inputs, batch_.data(),
                                  adversary_ ? inputs_.data() : nullptr, inputs_.data()});
  one_hidden_ ? pass_one_hidden() : sample_pass_ ? pass_samples() : pass_layers();
  launch_advance(stream, wave_.progress, slots_.count);
}

void TiledTrainer::launch_updates(std::int64_t most) {
  Stream& stream = data_.stream();
  const auto record = [this](std::int64_t count) {
    return [this, count] {
      for (std::int64_t i = 0; i < count; ++i) update();
    };
  };
  if (most >= graph_updates_ && !many_) many_ = capture(stream, record(graph_updates_));
  if (most % graph_updates_ != 0 && !one_) one_ = capture(stream, record(1));
  for (std::int64_t done = 0; done < most / graph_updates_; ++done) many_.launch(stream);
  for (std::int64_t done = 0; done < most % graph_updates_; ++done) one_.launch(stream);
}

}  // namespace occam::cuda
