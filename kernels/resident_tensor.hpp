// Plan *resident* on tensor cores: one thread block owns one member and does all its updates in one launch.
// Operands of the products (weights, rows, activations, their gradients) stand in shared memory, rounded once
// when they are stored: to TF32, or to BF16 in pairs. Sums are fp32. The fp32 parameters that the optimiser
// steps, its state and, where they do not fit on the chip, the gradients are left to the L2 cache
// (kernels/resident_tensor.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"
#include "occam/optimizer.hpp"

namespace occam::cuda {

inline constexpr int kMaxTensorLayers = 8;
inline constexpr int kTensorThreads = 256;

// What a warp computes at a time: `down` × 16 rows by `across` × 8 columns. A product takes the best of these
// for its shape; the bits do not depend on it.
struct WarpTile {
  int down, across;
};
inline constexpr WarpTile kWarpTiles[] = {{2, 7}, {1, 7}, {2, 4}, {1, 2}, {1, 1}};
inline constexpr int kWarpTileCount = 5;

// Rows of a matrix in shared memory are whole chunks of 16 bytes, an odd number of them, so that chunks of eight
// rows touch all 32 banks once. A product may read so many bytes beyond a matrix; what it makes of them is not
// kept.
inline constexpr int kChunkBytes = 16;
inline constexpr int kTensorReadBeyond = 64;

// Of bodies with sizes at compile time: units of the last layer, at most, and floats of one of them behind so many units: its
// weights, then its bias.
inline constexpr int kTensorOutputs = 2;
constexpr int last_layer_places(int units) { return units + 4; }
// Words from a row of samples' bits (tensor_active.cuh) to the next one, which is eight banks further.
constexpr int active_row(int samples) { return samples + 8; }

// Which kernel trains.
enum class TensorBody {
  slices,       // resident_tensor.cu
  whole_batch,  // whole_batch_tensor.cu, with the layout of whole_batch_tensor.hpp; members without dropout
  one_hidden,   // one_hidden_tensor.cu, with the layout of one_hidden_tensor.hpp; members without dropout
};

OCCAM_HD bool takes(TensorBody body, const Member& member) {
  return body == TensorBody::slices || !has_dropout(member);
}

// Bytes of a row of so many operands of `element` bytes each.
constexpr int operand_row_bytes(int columns, int element) {
  return ((columns * element + kChunkBytes - 1) / kChunkBytes | 1) * kChunkBytes;
}

// Offsets are in bytes from the start of the block's shared memory.
struct TensorLayer {
  LayerView view;
  int weight;          // [out rounded up to 16][row_bytes], in the order of Operand::weight_row
  int weight_bytes;    // of a row
  int bias;            // [out rounded up to 8] floats, then PReLU's slope
  int kept;            // [slice][output_bytes] what the activation's derivative reads: h, or z of PReLU
  int output;          // [slice][output_bytes] what the next layer reads, then its gradient; often `kept`
  int output_bytes;    // of a row
  int slope_gradient;  // [batch] floats: a sample's share of the gradient of PReLU's slope; −1: none
  int forward, input_gradient, weight_gradient;  // which of kWarpTiles
};

struct TensorPlan {
  TensorBody body;
  Precision precision;
  int slice;  // samples worked on at a time, a multiple of 16
  int batch, inputs;
  int layers;
  int x[2];          // [slice][x_bytes]; one is used while the other is filled
  int x_bytes;       // of a row
  int logits;        // [slice][outputs] floats, then their gradient
  int gradients;     // [parameter_stride] floats; −1: in device memory
  int rows, labels;  // [2][batch]: of this update and the next one
  int adam;          // [2] AdamScale
  int bytes;         // all of it
  TensorLayer layer[kMaxTensorLayers];

  bool selects() const { return body != TensorBody::slices; }  // takes some members, passes others by
};

struct TensorArguments {
  WaveView wave;
  int members;
  Loss loss;
  float* gradients;   // [members][parameter_stride] zeros; null where the plan keeps them on the chip
  TensorBody others;  // trains the members that it takes in a launch of its own; slices: there is none
  TensorPlan plan;
};

// Every member that the plan's body takes, and `others` does not, does its progress.remaining updates. Progress itself stays
// as it is.
void launch_resident_tensor(Stream& stream, const TensorArguments& arguments);

// What the plan's kernel takes of the present device; has_state: for members whose optimiser has state.
KernelResources resident_tensor_resources(const TensorPlan& plan, bool has_state);

}  // namespace occam::cuda
