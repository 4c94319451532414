// Plan *resident, one hidden layer*: plan resident for ReLU networks with one hidden layer of up to 200 units, with sizes at
// compile time and gradients in registers (kernels/one_hidden_chip.cu).
#pragma once

#include "resident.hpp"

namespace occam::cuda {

// What is smaller is padded. `columns`: units of a product that a thread owns.
template <int columns>
struct OneHiddenChip {
  static constexpr int kSlice = 128, kBatch = 256;      // samples: on the chip at a time, and most
  static constexpr int kInputs = 52, kMostInputs = 50;  // of a row on the chip, and of the network
  static constexpr int kUnits = columns > 7 ? 200 : 100, kOutputs = 2;  // most
  static constexpr int kRows = 16, kColumns = 16;                       // threads over samples and units
  static constexpr int kPerM = kSlice / kRows, kPerN = columns;
  static constexpr int kStride = kUnits / 4 % 2 == 1 ? kUnits : kUnits + 4;  // an odd number of quads
  static_assert(kUnits <= kColumns * kPerN);

  // Offsets in floats from the start of the block's shared memory. Weights lie row after row.
  static constexpr int kWeight1 = 0, kBias1 = kWeight1 + kColumns * kPerN * kInputs;
  static constexpr int kWeight2 = kBias1 + kColumns * kPerN, kBias2 = kWeight2 + kOutputs * kStride;
  static constexpr int kHidden = kBias2 + 4;  // [kSlice][kStride]
  static_assert(kUnits * (kInputs + 1 + kOutputs) + 4 <= kSlice * kStride, "gradients pass through it");
  // [2][kSlice][kInputs]: one is used while the other is filled.
  static constexpr int kX = kHidden + kSlice * kStride;
  static constexpr int kLogits = kX + 2 * kSlice * kInputs;  // [kSlice][kOutputs]
  static constexpr int kRowNumbers = kLogits + kSlice * kOutputs,
                       kLabels = kRowNumbers + 2 * kBatch;                // [2][kBatch]
  static constexpr int kOrder = kLabels + 2 * kBatch, kOrderFloats = 12;  // a law::EpochOrder
  static constexpr int kAdam = kOrder + kOrderFloats;                     // an AdamScale
  static constexpr int kBytes = 4 * (kAdam + 4);
};

// Calls f with the sizes for so many units.
template <class F>
decltype(auto) with_one_hidden_chip(int units, const F& f) {
  if (units <= OneHiddenChip<7>::kUnits) return f(OneHiddenChip<7>{});
  return f(OneHiddenChip<13>{});
}

// Every member without dropout does its progress.remaining updates, others are passed by. Progress itself stays as it is.
void launch_one_hidden_chip(Stream& stream, const ResidentArguments& arguments);

// has_state: of the kernel for members whose optimiser has state.
KernelResources one_hidden_chip_resources(const ResidentPlan& plan, bool has_state);

}  // namespace occam::cuda
