// The backward products of a layer (kernels/input_gradient.cu, kernels/weight_gradient.cu). For one layer the
// input gradient is launched first: it reads the weights that the weight gradient then steps.
#pragma once

#include "cuda/runtime.hpp"
#include "members.hpp"

namespace occam::cuda {

struct InputGradientArguments {
  WaveView wave;
  Slots slots;
  LayerView layer, below;  // `below` feeds `layer`; it is hidden, or in inference the rows themselves
  const float* delta;      // [slots][capacity][layer.out_stride] dL/dz of `layer`
  const float* kept;       // [slots][capacity][below.out_stride] as forward kept it; not read for PReLU
  float* gradient;         // [slots][capacity][below.out_stride]
  bool inference = false;
};

// gradient = dL/dz of `below`. In training it stops before where a kernel of its own comes next: with batch
// norm at dL/doutput, with PReLU after dropout. In inference batch norm goes by the running averages, nothing
// is dropped, PReLU reads `kept`, and of rows the gradient is dL/dx.
void launch_input_gradient(Stream& stream, const InputGradientArguments& arguments);

struct WeightGradientArguments {
  WaveView wave;
  Slots slots;
  LayerView layer;
  const float* delta;          // [slots][capacity][out_stride] dL/dz
  const float* input;          // [slots][capacity][in_stride]; null: the members' training rows
  const std::uint32_t* batch;  // [slots][capacity] rows of the training set; read when input is null
};

// Steps weight and bias by their optimiser. The gradients are never stored.
void launch_weight_gradient(Stream& stream, const WeightGradientArguments& arguments);

// The same of a first layer on images of shapes (kernels/shapes.cu): `input` is not read, and weights that
// training never changes are passed by.
void launch_shape_weight_gradient(Stream& stream, const WeightGradientArguments& arguments);

}  // namespace occam::cuda
