// Universal perturbations of many members in one launch (kernels/universal.cu): for networks whose parameters fit on
// the chip beside a batch and a slice of it that passes through them.
#pragma once

#include "cuda/kernel.hpp"
#include "network_on_chip.hpp"
#include "perturb.hpp"

namespace occam::cuda {

// Offsets are in floats from the start of the block's shared memory.
struct UniversalPlan {
  NetworkOnChip network;
  int batch;                // rows, of which the network takes a slice at a time
  int x, labels;            // [batch][padded(inputs)], [batch]
  int universal, gradient;  // [inputs]
  int bytes;                // all of it
};

// rows: all of the split, from the first on; `firsts` is not read. steps: [slots] of the whole attack.
struct FusedUniversalArguments {
  WaveView wave;
  UniversalArguments attack;  // of it x is read, and universal read and written
  int outputs;
  const std::int64_t* steps;
  std::int64_t first_step, last_step;
  UniversalPlan plan;
};

// Steps first_step … last_step − 1 of every slot that has so many.
void launch_fused_universal(Stream& stream, const FusedUniversalArguments& arguments);

}  // namespace occam::cuda
