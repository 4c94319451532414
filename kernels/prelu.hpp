// PReLU's slope (kernels/prelu.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

struct PreluArguments {
  WaveView wave;
  Slots slots;
  LayerView layer;       // has a slope
  const float* z;        // [slots][capacity][out_stride]
  float* gradient;       // [slots][capacity][out_stride] dL/d activation on entry, dL/dz on return
  float* row_gradients;  // [slots][capacity] scratch
};

// gradient ← gradient through PReLU; steps the slope by its optimiser.
void launch_prelu_backward(Stream& stream, const PreluArguments& arguments);

}  // namespace occam::cuda
