// The backward products of layers (kernels/input_gradient.cu, kernels/weight_gradient.cu). For one layer the
// input gradient is launched first: it reads the weights that the weight gradient then steps.
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"
#include "occam/optimizer.hpp"

namespace occam::cuda {

struct InputGradientArguments {
  WaveView wave;
  Slots slots;
  LayerView layer, below;  // `below` feeds `layer`; it is hidden, or in inference the rows themselves
  const float* delta;      // [slots][capacity][layer.out_stride] dL/dz of `layer`
  const float* kept;       // [slots][capacity][below.out_stride] as forward kept it; not read for PReLU
  float* gradient;         // [slots][capacity][below.out_stride]
  bool inference = false;
  Precision precision = Precision::fp32;  // of the product of more than a few units; in inference fp32
};

// gradient = dL/dz of `below`. In training it stops before where a kernel of its own comes next: with batch
// norm at dL/doutput, with PReLU after dropout. In inference batch norm goes by the running averages, nothing
// is dropped, PReLU reads `kept`, and of rows the gradient is dL/dx.
void launch_input_gradient(Stream& stream, const InputGradientArguments& arguments);

// Of one layer.
struct WeightGradient {
  LayerView layer;
  const float* delta;  // [slots][capacity][out_stride] dL/dz
  const float* input;  // [slots][capacity][in_stride]; null: the members' training rows
};

inline constexpr int kMaxGradients = 8;  // of a launch

struct WeightGradientArguments {
  WaveView wave;
  Slots slots;
  const std::uint32_t* batch;  // [slots][capacity] rows of the training set; read where an input is null
  int count;
  WeightGradient gradient[kMaxGradients];
  int end[kMaxGradients];  // blocks of a member up to and with this gradient; the launcher's

  // Of the products of layers of more than a few units.
  Precision precision = Precision::fp32;
};

// Step weights and biases of all layers by their optimiser. The gradients are never stored. Blocks start in the order of
// the layers.
void launch_weight_gradients(Stream& stream, const WeightGradientArguments& arguments);

struct ShapeWeightGradientArguments {
  WaveView wave;
  Slots slots;
  LayerView layer;
  const float* delta;          // [slots][capacity][out_stride] dL/dz
  const std::uint32_t* batch;  // [slots][capacity] rows of the training set
};

// The same of a first layer on images of shapes (kernels/shapes.cu); weights that training never changes are passed by.
void launch_shape_weight_gradient(Stream& stream, const ShapeWeightGradientArguments& arguments);

}  // namespace occam::cuda
