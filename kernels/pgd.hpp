// A whole PGD in one launch (kernels/pgd.cu): for networks whose parameters fit on the chip beside a slice of
// rows.
#pragma once

#include <span>

#include "cuda/runtime.hpp"
#include "members.hpp"
#include "perturb.hpp"

namespace occam::cuda {

inline constexpr int kMaxPgdLayers = 8;

// Offsets are in floats from the start of the block's shared memory.
struct PgdLayer {
  LayerView view;
  int kept;    // [slice][out_stride] what the derivative reads, then dL/dz; of the last layer logits
  int output;  // [slice][out_stride] what the next layer reads; often `kept` itself
};

struct PgdPlan {
  int slice;  // rows of a block: 16, 32, 64 or 128
  int layers;
  int parameters;                          // [parameter_stride]
  int x, perturbation, moved;              // [slice][padded(inputs)]
  int logit_gradient;                      // [slice][padded(outputs)]
  int worst_loss, inverse, labels, moves;  // [slice]; inverse: 1 / rows of the row's batch
  int begin_panels, end_panels;
  int bytes;  // all of it
  PgdLayer layer[kMaxPgdLayers];
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

// What the plan's kernel takes of the present device.
KernelResources fused_pgd_resources(const PgdPlan& plan);

}  // namespace occam::cuda
