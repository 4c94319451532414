// All layers of an update but the steps of their weights, in one launch (kernels/sample_pass.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

inline constexpr int kMaxPassLayers = 5, kPassUnits = 300, kPassOutputs = 2;  // at most; inputs as units
inline constexpr int kPassSamples = 128;                                      // of a block

struct SamplePassArguments {
  WaveView wave;
  Slots slots;
  Loss loss;
  int layers;  // 2 or more
  LayerView layer[kMaxPassLayers];
  const float* input;          // [slots][capacity][layer[0].in_stride]; null: the members' training rows
  const std::uint32_t* batch;  // [slots][capacity] rows of the training set
  // [slots][capacity][layer[l].out_stride]: what hidden layer l hands on, and dL/dz of layer l, of the last one dL/dlogits
  float* output[kMaxPassLayers];
  float* delta[kMaxPassLayers];
};

// Of layers of at most so many inputs and units: the columns that are multiplied, existing or not, and a block's shared
// memory in bytes (kernels/sample_pass.cu asserts both).
inline constexpr int kNarrowPassUnits = 204;
inline constexpr int kLayerTile = 64;  // columns come in such tiles where layers are launched one by one
constexpr int sample_pass_columns(int widest) { return widest <= kNarrowPassUnits ? 208 : 304; }
constexpr std::size_t sample_pass_bytes(int widest) { return widest <= kNarrowPassUnits ? 147680 : 213728; }

// Activations, and gradients of the mean loss before all activations.
void launch_sample_pass(Stream& stream, const SamplePassArguments& arguments);

}  // namespace occam::cuda
