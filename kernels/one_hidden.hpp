// An update of a network with one hidden layer of any width (kernels/one_hidden_forward.cu, kernels/one_hidden_backward.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

inline constexpr int kOneHiddenInputs = 51, kOneHiddenOutputs = 2;  // at most

struct OneHiddenArguments {
  WaveView wave;
  Slots slots;
  LayerView hidden, last;
  Loss loss;
  const float* input;          // [slots][capacity][hidden.in_stride]; null: the members' training rows
  const std::uint32_t* batch;  // [slots][capacity] rows of the training set
  float* activations;          // [slots][capacity][hidden.out_stride]
  float* logits;               // [slots][capacity][padded(outputs)]; becomes dL/dlogits of the mean loss
};

// Activations, logits and the loss's gradient.
void launch_one_hidden_forward(Stream& stream, const OneHiddenArguments& arguments);

// Steps all weights and biases by their optimiser. Neither the gradients nor that of the hidden layer are stored.
void launch_one_hidden_backward(Stream& stream, const OneHiddenArguments& arguments);

}  // namespace occam::cuda
