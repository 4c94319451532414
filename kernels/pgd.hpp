// A whole PGD in one launch (kernels/pgd.cu): for networks whose parameters fit on the chip beside a slice of
// rows.
#pragma once

#include "cuda/kernel.hpp"
#include "network_on_chip.hpp"
#include "perturb.hpp"

namespace occam::cuda {

// Offsets are in floats from the start of the block's shared memory.
struct PgdPlan {
  NetworkOnChip network;
  int x, perturbation;              // [slice][padded(inputs)]
  int worst_loss, inverse, labels;  // [slice]; inverse: 1 / rows of the row's batch
  int bytes;                        // all of it
};

// attack: of it the chunk's x and labels are read, and worst, worst_logits and tracked are written; what else
// there is of rows stays on the chip.
struct FusedPgdArguments {
  WaveView wave;
  PgdArguments attack;
  PgdPlan plan;
};

// Every slot's attack on its rows in hand, all iterations of all runs.
void launch_fused_pgd(Stream& stream, const FusedPgdArguments& arguments);

}  // namespace occam::cuda
