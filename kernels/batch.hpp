// The bookkeeping of an update (kernels/batch.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

// What an update trains on. All [slots].
struct BatchArguments {
  WaveView wave;
  int members;
  int capacity;          // the batch size
  std::uint32_t* batch;  // [members][capacity] rows of the training set
  int* rows;             // [members] samples in the batch; 0: frozen
};

// Opens an update: every member's rows, their number and the optimiser's scalars.
void launch_batch(Stream& stream, const BatchArguments& arguments);

struct InputDropoutArguments {
  WaveView wave;
  Slots slots;
  int inputs;
  const std::uint32_t* batch;  // [slots][capacity]; not read where x is given
  const float* x;  // [slots][capacity][padded(inputs)] the batch, may be output itself; null: gathered
  float* output;   // [slots][capacity][padded(inputs)]
};

// Gathers the batch, if need be, and drops inputs of those members that ask for it.
void launch_input_dropout(Stream& stream, const InputDropoutArguments& arguments);

struct GatherArguments {
  WaveView wave;
  Slots slots;
  int inputs;
  const std::uint32_t* batch;  // [slots][capacity]
  float* x;                    // [slots][capacity][padded(inputs)]
  std::int32_t* labels;        // [slots][capacity]
};

// The batch's rows and labels.
void launch_gather(Stream& stream, const GatherArguments& arguments);

// Closes an update.
void launch_advance(Stream& stream, Progress* progress, int members);

}  // namespace occam::cuda
