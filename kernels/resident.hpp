// Plan *resident*: one thread block owns one member and does all its updates in one launch, with parameters,
// gradients and a slice of the batch's activations in shared memory (kernels/resident.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

inline constexpr int kMaxResidentLayers = 8;

// Offsets are in floats from the start of the block's shared memory; −1: absent.
struct ResidentLayer {
  LayerView view;
  int kept;    // [slice][out_stride] what the activation's derivative reads: h, or z of PReLU
  int output;  // [slice][out_stride] what the next layer reads, then its gradient; often `kept` itself
  int slope_gradient;  // [batch] a sample's share of the gradient of PReLU's slope
};

// Floats that a product may read beyond a panel's last row, into numbers that nobody writes meanwhile.
inline constexpr int kReadBeyond = 12;

// Which kernel trains.
enum class ResidentBody {
  slices,       // resident.cu
  whole_batch,  // whole_batch.cu, with the layout of whole_batch.hpp; members without dropout
  one_hidden,   // one_hidden_chip.cu, with the layout of one_hidden_chip.hpp; members without dropout
};

OCCAM_HD bool takes(ResidentBody body, const Member& member) {
  return body == ResidentBody::slices || !has_dropout(member);
}

// A batch is worked through in slices of so many samples, because not all its activations fit on the chip.
// Weight gradients are sums over the samples in ascending order; they continue from slice to slice.
struct ResidentPlan {
  ResidentBody body;
  int slice;  // samples: 16, 32, 64 or 128; of whole batches 256
  int batch, inputs;
  int x_stride;
  int layers;
  int parameters, gradients;  // [parameter_stride] each
  // [slice][x_stride], then kReadBeyond: one is used while the other is filled, unless both are one.
  int x[2];
  int rows, labels;  // [2][batch]: of this update and the next one
  int adam;          // [2] AdamScale
  int begin_activations, end_activations;
  int bytes;  // all of it
  ResidentLayer layer[kMaxResidentLayers];

  OCCAM_HD bool fetches_ahead() const { return x[0] != x[1]; }
  bool selects() const { return body != ResidentBody::slices; }  // takes some members, passes others by
};

struct ResidentArguments {
  WaveView wave;
  int members;
  Loss loss;
  ResidentBody others;  // trains the members that it takes in a launch of its own; slices: there is none
  ResidentPlan plan;
};

// Every member that the plan's body takes, and `others` does not, does its progress.remaining updates. Progress itself stays
// as it is.
void launch_resident(Stream& stream, const ResidentArguments& arguments);

// What the plan's kernel takes of the present device; has_state: for members whose optimiser has state.
KernelResources resident_resources(const ResidentPlan& plan, bool has_state);

// Threads of a block.
inline constexpr int kResidentThreads = 256;
inline constexpr int kMaxResidentWidth = 4 * kResidentThreads;  // a weight gradient gives a thread four units

}  // namespace occam::cuda
