// Plan *resident, whole batch*: plan resident for networks with two hidden layers of about 100 units, whose batch
// stays on the chip as a whole (kernels/whole_batch.cu).
#pragma once

#include "resident.hpp"

namespace occam::cuda {

// Sizes at compile time; what is smaller is padded to them.
struct WholeBatch {
  static constexpr int kSamples = 256, kHalf = kSamples / 2;
  static constexpr int kInputs = 52, kUnits = 100, kLeastUnits = 92,
                       kOutputs = 2;              // most; of units also least
  static constexpr int kRows = 32, kColumns = 8;  // threads over samples and features
  static constexpr int kPerM = kSamples / kRows, kPerN = (kUnits + kColumns - 1) / kColumns;
  static constexpr int kStride = kUnits;  // floats from one sample's units to the next one's

  // Offsets in floats from the start of the block's shared memory. Weights lie row after row, each as wide as the
  // matrix that it is multiplied with; a product reads up to three rows too many, into what follows.
  static constexpr int kWeight1 = 0, kBias1 = kWeight1 + kUnits * kInputs;
  static constexpr int kWeight2 = kBias1 + kColumns * kPerN, kBias2 = kWeight2 + kUnits * kUnits;
  static constexpr int kWeight3 = kBias2 + kColumns * kPerN, kBias3 = kWeight3 + kOutputs * kUnits;
  static constexpr int kHidden = kBias3 + 4;                        // [kSamples][kUnits]
  static constexpr int kSpare = kHidden + kSamples * kUnits;        // [kSamples][kInputs] or [kHalf][kUnits]
  static constexpr int kLogits = kSpare + kSamples * kInputs + 12;  // [kHalf][kOutputs]
  static constexpr int kRowNumbers = kLogits + kHalf * kOutputs,
                       kLabels = kRowNumbers + 2 * kSamples;                // [2][kSamples]
  static constexpr int kOrder = kLabels + 2 * kSamples, kOrderFloats = 12;  // a law::EpochOrder
  static constexpr int kAdam = kOrder + kOrderFloats;                       // an AdamScale
  static constexpr int kBytes = 4 * (kAdam + 4);
};
static_assert(WholeBatch::kHalf * WholeBatch::kUnits <= WholeBatch::kSamples * WholeBatch::kInputs);
static_assert(WholeBatch::kHidden <= WholeBatch::kSamples * WholeBatch::kUnits, "gradients pass through it");

// Of ReLU networks; every member without dropout does its progress.remaining updates, others are passed by. Progress itself
// stays as it is.
void launch_whole_batch(Stream& stream, const ResidentArguments& arguments);

// has_state: of the kernel for members whose optimiser has state.
KernelResources whole_batch_resources(bool has_state);

}  // namespace occam::cuda
