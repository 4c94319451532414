#include "cuda/layout.hpp"

#include <algorithm>

namespace occam::cuda {

DeviceLayout::DeviceLayout(const MlpSpec& spec) : host_(spec) {
  const auto take = [this](std::int64_t floats) {
    const std::int64_t at = stride_;
    stride_ += (floats + kQuad - 1) / kQuad * kQuad;
    return at;
  };
  for (std::size_t l = 0; l < host_.layers.size(); ++l) {
    const ParameterLayout::Layer& of = host_.layers[l];
    LayerView layer{};
    layer.in = of.fan_in, layer.out = of.fan_out;
    layer.in_stride = padded(of.fan_in), layer.out_stride = padded(of.fan_out);
    layer.number = static_cast<int>(l);
    layer.hidden = l + 1 < host_.layers.size();
    layer.activation = spec.activation;
    layer.weight = take(static_cast<std::int64_t>(layer.out) * layer.in_stride);
    layer.bias = take(layer.out);
    layer.slope = of.slope < 0 ? -1 : take(1);
    layer.gamma = of.gamma < 0 ? -1 : take(layer.out);
    layer.beta = of.beta < 0 ? -1 : take(layer.out);
    layers_.push_back(layer);
    widest_ = std::max(widest_, layer.out_stride);
  }
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    layers_[l].running_mean = host_.layers[l].running_mean < 0 ? -1 : take(layers_[l].out);
    layers_[l].running_variance = host_.layers[l].running_variance < 0 ? -1 : take(layers_[l].out);
  }
}

std::vector<float> DeviceLayout::to_device(std::span<const float> parameters) const {
  std::vector<float> image(static_cast<std::size_t>(stride_), 0.0f);
  for_each_tensor([&](std::int64_t host, std::int64_t device, int rows, int columns, int stride) {
    for (std::int64_t r = 0; r < rows; ++r)
      std::copy_n(parameters.data() + host + r * columns, columns, image.data() + device + r * stride);
  });
  return image;
}

void DeviceLayout::to_host(std::span<const float> image, std::span<float> parameters) const {
  for_each_tensor([&](std::int64_t host, std::int64_t device, int rows, int columns, int stride) {
    for (std::int64_t r = 0; r < rows; ++r)
      std::copy_n(image.data() + device + r * stride, columns, parameters.data() + host + r * columns);
  });
}

}  // namespace occam::cuda
