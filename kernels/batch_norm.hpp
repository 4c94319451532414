// Batch norm in training (kernels/batch_norm.cu); in inference the forward product does it.
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

struct BatchNormArguments {
  WaveView wave;
  Slots slots;
  LayerView layer;    // has batch norm
  const float* x;     // [slots][capacity][out_stride] what is normalised
  const float* kept;  // [slots][capacity][out_stride] as forward kept it; backward only, not read for PReLU
  float* y;  // [slots][capacity][out_stride] forward: the output; backward: dL/doutput on entry, dL/dz (with
             // PReLU: dL/d activation) on return
  float*
      moments;  // [slots][2][out_stride] mean and 1 / deviation of the batch: forward writes, backward reads
};

// y = batch norm(x) by the batch's moments; moves the running averages.
void launch_batch_norm_forward(Stream& stream, const BatchNormArguments& arguments);

// y ← gradient through batch norm, dropout and activation; steps gamma and beta by their optimiser.
void launch_batch_norm_backward(Stream& stream, const BatchNormArguments& arguments);

}  // namespace occam::cuda
