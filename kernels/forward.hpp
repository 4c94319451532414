// A layer's forward product and what follows it (kernels/forward.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"
#include "occam/optimizer.hpp"

namespace occam::cuda {

struct ForwardArguments {
  WaveView wave;
  Slots slots;
  LayerView layer;
  const float* input;  // [slots][capacity][in_stride]; null: the members' training rows
  const std::uint32_t*
      batch;  // [slots][capacity] rows of the training set, read when input is null; null: the rows from
  std::int64_t first_row;  // this one on
  float* kept;    // [slots][capacity][out_stride]: what the activation's derivative reads, that is z for
                  // PReLU, else the activation; null: not kept apart
  float* output;  // [slots][capacity][out_stride]
  bool training;  // dropout is drawn and batch norm left to its own kernel; else no dropout, and batch norm
                  // by the running averages
  Precision precision = Precision::fp32;  // of the products of layers of more than a few units
};

// Likewise of a first layer on images of shapes, through their lit pixels alone (kernels/shapes.cu): the
// rows are those of `split`, and `input` is not read.
struct ShapeForwardArguments {
  ForwardArguments forward;
  Split split;
};
void launch_shape_forward(Stream& stream, const ShapeForwardArguments& arguments);

// output = batch norm(dropout(activation(bias + input · weightᵀ))), rows below slots.rows.
void launch_forward(Stream& stream, const ForwardArguments& arguments);

}  // namespace occam::cuda
