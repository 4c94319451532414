#include "cuda/inference_pass.hpp"

#include "backward.hpp"
#include "forward.hpp"

namespace occam::cuda {

namespace {

// The next layer reads something else than the activation's derivative does.
bool keeps_apart(const LayerView& layer) { return layer.gamma >= 0 || layer.slope >= 0; }

}  // namespace

std::int64_t InferencePass::floats_per_row(const DeviceLayout& layout) {
  std::int64_t floats = 4 * static_cast<std::int64_t>(layout.widest());
  for (const LayerView& layer : layout.layers()) floats += layer.out_stride;
  return floats;
}

void InferencePass::ensure_rows(std::int64_t rows) {
  const DeviceLayout& layout = data_.layout();
  kept_.resize(layout.layers().size() - 1);
  for (const LayerView& layer : layout.layers()) {
    if (!layer.hidden) {
      ensure(logits_, "attack logits", rows * layer.out_stride);
      continue;
    }
    ensure(kept_[static_cast<std::size_t>(layer.number)], "attack activations", rows * layer.out_stride);
    if (keeps_apart(layer)) ensure(output_[layer.number % 2], "attack layer outputs", rows * layout.widest());
  }
  for (DeviceBuffer<float>& delta : delta_) ensure(delta, "attack delta", rows * layout.widest());
}

WaveView InferencePass::wave() const {
  return {data_.device_members(), nullptr, data_.parameters(), nullptr, nullptr, data_.layout().stride()};
}

const float* InferencePass::forward(const Slots& slots, const float* x) {
  const float* input = x;
  for (const LayerView& layer : data_.layout().layers()) {
    float* kept = layer.hidden ? kept_[static_cast<std::size_t>(layer.number)].data() : logits_.data();
    const bool apart = layer.hidden && keeps_apart(layer);
    float* output = apart ? output_[layer.number % 2].data() : kept;
    launch_forward(data_.stream(), {.wave = wave(),
                                    .slots = slots,
                                    .layer = layer,
                                    .input = input,
                                    .batch = nullptr,
                                    .first_row = 0,
                                    .kept = apart ? kept : nullptr,
                                    .output = output,
                                    .training = false});
    input = output;
  }
  return input;
}

void InferencePass::backward(const Slots& slots, float* gradient) {
  const std::vector<LayerView>& layers = data_.layout().layers();
  for (std::size_t l = layers.size(), from = 0; l-- > 0; from ^= 1) {
    LayerView rows{};
    rows.out = layers[l].in, rows.out_stride = layers[l].in_stride;
    launch_input_gradient(data_.stream(), {.wave = wave(),
                                           .slots = slots,
                                           .layer = layers[l],
                                           .below = l > 0 ? layers[l - 1] : rows,
                                           .delta = delta_[from].data(),
                                           .kept = l > 0 ? kept_[l - 1].data() : nullptr,
                                           .gradient = l > 0 ? delta_[from ^ 1].data() : gradient,
                                           .inference = true});
  }
}

}  // namespace occam::cuda
