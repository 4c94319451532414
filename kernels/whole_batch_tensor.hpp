// Plan *resident, whole batch* on tensor cores in TF32 (kernels/whole_batch_tensor.cu).
#pragma once

#include "resident_tensor.hpp"
#include "whole_batch.hpp"

namespace occam::cuda {

// Sizes and networks are those of WholeBatch. Offsets in floats from the start of the block's shared memory; rows
// of weights are in the order of Operand::weight_row, whole groups of eight.
struct WholeBatchTensor {
  static constexpr int kSamples = WholeBatch::kSamples, kHalf = WholeBatch::kHalf;
  static constexpr int kInputs = WholeBatch::kInputs, kUnits = WholeBatch::kUnits,
                       kOutputs = WholeBatch::kOutputs;
  static constexpr int kTiles = (kUnits + 7) / 8;  // of eight columns
  static constexpr int kWide = 8 * kTiles, kPad = 16;

  static constexpr int kWeight1 = 0, kBias1 = kWeight1 + kWide * kInputs;
  static constexpr int kWeight2 = kBias1 + kWide, kBias2 = kWeight2 + kWide * kUnits;
  static constexpr int kWeight3 = kBias2 + kWide, kBias3 = kWeight3 + kOutputs * kWide;
  static constexpr int kHidden = kBias3 + 4;                         // [kSamples][kUnits]
  static constexpr int kSpare = kHidden + kSamples * kUnits + kPad;  // [kSamples][kInputs] or [kHalf][kUnits]
  static constexpr int kLogits = kSpare + kHalf * kUnits;  // [kSamples][kOutputs], beside half a layer
  static constexpr int kPartial = kSpare + kSamples * kInputs + kPad;  // [8 warps][kPartials]
  static constexpr int kPartials = kOutputs * (kWide + 2);  // of the last layer's weights, then biases
  static constexpr int kRowNumbers = kPartial + 8 * kPartials, kLabels = kRowNumbers + 2 * kSamples;
  static constexpr int kBytes = 4 * (kLabels + 2 * kSamples);
};
static_assert(WholeBatchTensor::kLogits + WholeBatchTensor::kSamples * WholeBatchTensor::kOutputs <=
              WholeBatchTensor::kPartial);
static_assert(WholeBatchTensor::kBytes <= 227 * 1024);

// As launch_whole_batch, in TF32; members that are not plain are passed by.
void launch_whole_batch_tensor(Stream& stream, const TensorArguments& arguments);

KernelResources whole_batch_tensor_resources();

}  // namespace occam::cuda
