// A member's network on the chip, and slices of rows that pass through it and back (kernels/network_on_chip.cuh): for
// networks whose parameters fit beside a slice.
#pragma once

#include "members.hpp"

namespace occam::cuda {

inline constexpr int kMaxChipLayers = 8;
inline constexpr int kChipWarps = 8, kChipThreads = 32 * kChipWarps;  // of a block
inline constexpr int kChipRows[] = {16, 8, 4, 2};                     // that a warp may have to itself
// So many units, and inputs, of the first layer are made in one pass of its products (kernels/warp_rows.cuh). Then rows
// and activations need no room of their own.
inline constexpr int kChipPassUnits = 13 * 16, kChipPassInputs = 3 * 64;

// Offsets are in floats from the start of the block's shared memory.
struct ChipLayer {
  LayerView view;
  int stride;  // of both panels
  int kept;    // [slice][stride] what the derivative reads, then dL/dz; of the last layer logits
  int output;  // [slice][stride] what the next layer reads; often `kept` itself
};

struct NetworkOnChip {
  int rows;  // of a warp: one of kChipRows; a slice is the rows of the block's warps
  int layers;
  int parameters;           // [parameter_stride]
  int moved, moved_stride;  // [slice][moved_stride] what the first layer reads, then dL/dx; may be its `kept`
  int logit_gradient;       // [slice][padded(outputs)]
  int begin_panels, end_panels;  // what is −0 at first
  ChipLayer layer[kMaxChipLayers];

  OCCAM_HD int slice() const { return rows * kChipWarps; }
};

}  // namespace occam::cuda
