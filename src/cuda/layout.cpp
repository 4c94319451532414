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
  for_each_row([this](std::int64_t host, std::int64_t device, int) { as_on_host_ &= host == device; });
}

template <class Copy>
void DeviceLayout::for_each_row(const Copy& copy) const {
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const ParameterLayout::Layer& from = host_.layers[l];
    const LayerView& to = layers_[l];
    for (std::int64_t j = 0; j < to.out; ++j)
      copy(from.weight + j * to.in, to.weight + j * to.in_stride, to.in);
    copy(from.bias, to.bias, to.out);
    if (to.slope >= 0) copy(from.slope, to.slope, 1);
    if (to.gamma < 0) continue;
    copy(from.gamma, to.gamma, to.out);
    copy(from.beta, to.beta, to.out);
    copy(from.running_mean, to.running_mean, to.out);
    copy(from.running_variance, to.running_variance, to.out);
  }
}

std::vector<float> DeviceLayout::to_device(std::span<const float> parameters) const {
  std::vector<float> image(static_cast<std::size_t>(stride_), 0.0f);
  for_each_row([&](std::int64_t host, std::int64_t device, int count) {
    std::copy_n(parameters.data() + host, count, image.data() + device);
  });
  return image;
}

void DeviceLayout::to_host(std::span<const float> image, std::span<float> parameters) const {
  for_each_row([&](std::int64_t host, std::int64_t device, int count) {
    std::copy_n(image.data() + device, count, parameters.data() + host);
  });
}

}  // namespace occam::cuda
