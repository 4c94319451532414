// A split, or a randomised variant of it, scored in one launch (kernels/evaluate.cu): for networks whose
// parameters fit on the chip beside a slice of rows.
#pragma once

#include "auc.hpp"
#include "cuda/kernel.hpp"
#include "members.hpp"
#include "split_rows.hpp"

namespace occam::cuda {

inline constexpr int kMaxEvaluationLayers = 8;

// Offsets are in floats from the start of the block's shared memory.
struct EvaluationPlan {
  int slice;  // rows at a time: 16, 32, 64 or 128
  int layers;
  int parameters, rotation;  // [parameter_stride], [inputs][x_stride]
  int plain, x;              // [slice][x_stride] before and after the rotation
  int activations[2];        // [slice][widest]
  int begin_panels, end_panels;
  int bytes;  // all of it
  LayerView layer[kMaxEvaluationLayers];
};

struct EvaluationArguments {
  WaveView wave;
  SplitRows rows;  // its slots.rows count whole splits; `plain` and `x` are not used
  EvaluationPlan plan;
  Loss loss;
  int rows_of_block;            // a multiple of the slice
  const std::int32_t* targets;  // [slots][pitch] what losses and keys are taken against
  float* losses;                // [slots][pitch]; null: not wanted
  std::int32_t* predicted;      // [slots][pitch]
  std::uint64_t* keys;          // [slots][lists][pitch] as launch_score_keys gives them; null: not wanted
  int lists;
  RankSum* sums;  // [slots][lists]; `nan` is set
};

// Loss and predicted class of every row, and the keys of its scores.
void launch_evaluation(Stream& stream, const EvaluationArguments& arguments);

}  // namespace occam::cuda
