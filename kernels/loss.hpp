// Losses, their gradients and what is counted over the rows of a split (kernels/loss.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

struct LossGradientArguments {
  WaveView wave;
  Slots slots;
  Loss loss;
  int outputs;
  const std::uint32_t* batch;  // [slots][capacity] rows of the training set
  float* logits;               // [slots][capacity][padded(outputs)]; becomes dL/dlogits of the mean loss
};

void launch_loss_gradient(Stream& stream, const LossGradientArguments& arguments);

// What is known of the rows seen so far.
struct Tally {
  float lane[32];  // the lane sum of the losses (law/sum.hpp)
  float loss;      // their mean, once finished
  unsigned long long correct;
};

struct RowLossArguments {
  Slots slots;
  Loss loss;
  int outputs;
  const float* logits;         // [slots][capacity][padded(outputs)]
  const std::int32_t* labels;  // [slots][label_stride], from the first row in hand
  std::int64_t label_stride;
  float* losses;            // [slots][capacity] scratch
  std::int32_t* predicted;  // [slots][capacity]
  Tally* tally;             // [slots]
};

// Loss and predicted class of the rows in hand; adds them to the tallies. Chunks come in ascending order and
// all but the last are whole multiples of 32 rows.
void launch_row_loss(Stream& stream, const RowLossArguments& arguments);

// The second half alone, of losses and predictions that are there; logits are not read.
void launch_tally(Stream& stream, const RowLossArguments& arguments);

// Mean of a tally over all rows: rows[slots].
void launch_finish_tally(Stream& stream, Tally* tally, const std::int64_t* rows, int slots);

// Writes the predicted classes of the rows in hand over the labels: labels[slots][label_stride].
void launch_predict(Stream& stream, const Slots& slots, int outputs, const float* logits,
                    std::int32_t* labels, std::int64_t label_stride);

}  // namespace occam::cuda
