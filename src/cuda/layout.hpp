// Where a member's parameters lie on the device: the tensors of ParameterLayout in its order, every row of
// weights and every vector padded to whole quads, so that rows start 16-byte aligned.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "members.hpp"
#include "occam/mlp.hpp"

namespace occam::cuda {

class DeviceLayout {
 public:
  explicit DeviceLayout(const MlpSpec& spec);

  const std::vector<LayerView>& layers() const { return layers_; }
  std::int64_t stride() const { return stride_; }  // floats of a member, a multiple of 4
  int widest() const { return widest_; }           // padded width of the widest layer, logits included
  std::int64_t total() const { return host_.total; }

  // Calls f(host offset, device offset, rows, columns, row stride on the device) for each tensor; rows are
  // one after the other on the host.
  template <class F>
  void for_each_tensor(const F& f) const {
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const ParameterLayout::Layer& from = host_.layers[l];
      const LayerView& to = layers_[l];
      f(from.weight, to.weight, to.out, to.in, to.in_stride);
      const auto vector = [&](std::int64_t host, std::int64_t device, int count) {
        if (host >= 0) f(host, device, 1, count, count);
      };
      vector(from.bias, to.bias, to.out);
      vector(from.slope, to.slope, 1);
      vector(from.gamma, to.gamma, to.out);
      vector(from.beta, to.beta, to.out);
      vector(from.running_mean, to.running_mean, to.out);
      vector(from.running_variance, to.running_variance, to.out);
    }
  }

  // Between a member's host parameters [ParameterLayout::total] and its image on the device [stride()],
  // padding +0.
  std::vector<float> to_device(std::span<const float> parameters) const;
  void to_host(std::span<const float> image, std::span<float> parameters) const;

 private:
  ParameterLayout host_;
  std::vector<LayerView> layers_;
  std::int64_t stride_ = 0;
  int widest_ = 0;
};

}  // namespace occam::cuda
