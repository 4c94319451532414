// Plan *resident, whole batch* on tensor cores, in TF32 and BF16 (kernels/whole_batch_tensor.cu).
#pragma once

#include "resident_tensor.hpp"
#include "whole_batch.hpp"

namespace occam::cuda {

// Sizes and networks are those of WholeBatch, of operands of so many bytes. Offsets in bytes from the start of the
// block's shared memory; rows of weights are in the order of Operand::weight_row, whole groups of eight.
template <int element>
struct WholeBatchTensor {
  static constexpr int kSamples = WholeBatch::kSamples, kHalf = WholeBatch::kHalf;
  static constexpr int kInputs = WholeBatch::kInputs, kUnits = WholeBatch::kUnits,
                       kOutputs = WholeBatch::kOutputs;
  static constexpr int kTiles = (kUnits + 7) / 8;  // of eight columns
  static constexpr int kWide = 8 * kTiles, kWarps = kTensorThreads / 32;
  // In BF16 there is room for two batches of rows, and for the fp32 weights.
  static constexpr bool kSpacious = element == 2;

  static constexpr int kXBytes = operand_row_bytes(kInputs, element),  // of a row
      kUnitBytes = operand_row_bytes(kUnits, element);

  static constexpr int kWeight1 = 0, kBias1 = kWeight1 + kWide * kXBytes;  // biases are floats
  static constexpr int kWeight2 = kBias1 + 4 * kWide,
                       kBias2 = kWeight2 + kWide * kUnitBytes + kTensorReadBeyond;
  static constexpr int kPlaces = last_layer_places(kWide);  // of the last layer, floats
  static constexpr int kWeight3 = kBias2 + 4 * kWide, kMaster3 = kWeight3 + 4 * kPlaces;
  static constexpr int kHidden = kMaster3 + 4 * kOutputs * kPlaces;               // [kSamples][kUnitBytes]
  static constexpr int kX = kHidden + kSamples * kUnitBytes + kTensorReadBeyond;  // [kSamples][kXBytes]
  static constexpr int kOtherX = kX + kSamples * kXBytes + kTensorReadBeyond;     // BF16: the same
  static constexpr int kEndOfX = kSpacious ? kOtherX + kSamples * kXBytes + kTensorReadBeyond : kOtherX;
  // Which units of the second layer samples activate [4][active_row(kSamples)] words, and dL/dlogit [kSamples] floats.
  static constexpr int kActive = kEndOfX, kDelta = kActive + 16 * active_row(kSamples);
  static constexpr int kPartial = kDelta + 4 * kSamples;  // [2][kPlaces] floats, of the last layer's gradient
  static constexpr int kPartialBias = kPartial + 8 * kPlaces;  // [kWarps] floats
  static constexpr int kRowNumbers = kPartialBias + 4 * kWarps, kLabels = kRowNumbers + 8 * kSamples;
  // fp32 weights where there is room: [kUnits][kInputs] floats, then [kUnits][kUnits].
  static constexpr int kMaster1 = kLabels + 8 * kSamples;
  static constexpr int kMaster2 = kMaster1 + (kSpacious ? 4 * kUnits * kInputs : 0);
  static constexpr int kAdam = kMaster2 + (kSpacious ? 4 * kUnits * kUnits : 0);  // an AdamScale
  static constexpr int kBytes = kAdam + 16;
};
static_assert(WholeBatchTensor<4>::kBytes <= 227 * 1024 && WholeBatchTensor<2>::kBytes <= 227 * 1024);

// Bytes of shared memory for this precision, tf32 or bf16.
constexpr int whole_batch_tensor_bytes(Precision precision) {
  return precision == Precision::tf32 ? WholeBatchTensor<4>::kBytes : WholeBatchTensor<2>::kBytes;
}

// As launch_whole_batch, at the plan's precision.
void launch_whole_batch_tensor(Stream& stream, const TensorArguments& arguments);

// has_state: of the kernel for members whose optimiser has state.
KernelResources whole_batch_tensor_resources(Precision precision, bool has_state);

}  // namespace occam::cuda
