// Forward and backward through members' networks in inference mode, for gradients with respect to their rows.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/wave_data.hpp"

namespace occam::cuda {

class InferencePass {
 public:
  explicit InferencePass(WaveData& data) : data_(data) {}

  // Floats that a row takes.
  static std::int64_t floats_per_row(const DeviceLayout& layout);

  // Room for so many rows of all slots together.
  void ensure_rows(std::int64_t rows);

  // Logits [slots][capacity][padded(outputs)] of x [slots][capacity][padded(inputs)]; keeps what backward
  // reads.
  const float* forward(const Slots& slots, const float* x);

  // Where dL/dlogits goes; [slots][capacity][padded(outputs)], padding −0 up to a whole quad.
  float* logit_gradient() { return delta_[0].data(); }

  // gradient [slots][capacity][padded(inputs)] = dL/dx from dL/dlogits, which is lost. May be where x was.
  void backward(const Slots& slots, float* gradient);

 private:
  WaveView wave() const;

  WaveData& data_;
  std::vector<DeviceBuffer<float>> kept_;  // of each hidden layer what the activation's derivative reads
  DeviceBuffer<float> output_[2];          // where the next layer reads something else
  DeviceBuffer<float> logits_;
  DeviceBuffer<float> delta_[2];
};

}  // namespace occam::cuda
