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

  // Whether every tensor lies on the device where it lies on the host: nothing but the end is padded.
  bool as_on_host() const { return as_on_host_; }

  // Between a member's host parameters [ParameterLayout::total] and its image on the device [stride()],
  // padding +0.
  std::vector<float> to_device(std::span<const float> parameters) const;
  void to_host(std::span<const float> image, std::span<float> parameters) const;

 private:
  template <class Copy>
  void for_each_row(const Copy& copy) const;  // copy(offset on the host, offset on the device, floats)

  ParameterLayout host_;
  std::vector<LayerView> layers_;
  std::int64_t stride_ = 0;
  int widest_ = 0;
  bool as_on_host_ = true;
};

}  // namespace occam::cuda
