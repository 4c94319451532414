// Plan *resident, one hidden layer* on tensor cores, in TF32 and BF16, of up to 200 units (kernels/one_hidden_tensor.cu).
#pragma once

#include "resident_tensor.hpp"

namespace occam::cuda {

// Sizes for `tiles` tiles of eight units; what is smaller is padded. Operands are of `element` bytes. Offsets in bytes from the
// start of the block's shared memory; rows of weights are in the order of Operand::weight_row, whole groups of eight.
template <int element, int tiles>
struct OneHiddenTensor {
  static constexpr int kElement = element;
  // Samples: most, and of which dL/dz is on the chip at a time.
  static constexpr int kBatch = 256, kSlice = kBatch / 2;
  static constexpr int kInputs = 52, kUnits = tiles == 13 ? 100 : 200, kOutputs = kTensorOutputs;  // most
  static constexpr int kTiles = tiles, kWide = 8 * kTiles, kWarps = kTensorThreads / 32;
  static_assert(kUnits <= kWide);

  static constexpr int kXBytes = operand_row_bytes(kInputs, element),  // of a row
      kUnitBytes = operand_row_bytes(kUnits, element);

  static constexpr int kWeight1 = 0, kBias1 = kWeight1 + kWide * kXBytes;  // biases are floats
  static constexpr int kPlaces = last_layer_places(kWide);                 // of the last layer, floats
  static constexpr int kWeight2 = kBias1 + 4 * kWide, kMaster2 = kWeight2 + 4 * kPlaces;
  static constexpr int kDelta = kMaster2 + 4 * kOutputs * kPlaces;             // [kSlice][kUnitBytes]
  static constexpr int kX = kDelta + kSlice * kUnitBytes + kTensorReadBeyond;  // [kBatch][kXBytes]
  static constexpr int kPartial = kX + kBatch * kXBytes + kTensorReadBeyond;   // [kWarps] floats
  static constexpr int kRowNumbers = kPartial + 4 * kWarps,
                       kLabels = kRowNumbers + 8 * kBatch;               // [2][kBatch] each
  static constexpr int kOrder = kLabels + 8 * kBatch, kOrderBytes = 48;  // a law::EpochOrder
  static constexpr int kAdam = kOrder + kOrderBytes;                     // an AdamScale
  static constexpr int kBytes = kAdam + 16;
  static_assert(kBytes <= 227 * 1024);
  // Of a multiprocessor, where two members fit: each takes longer, both together less than one after the other.
  static constexpr int kBlocks = element == 2 && tiles == 13 ? 2 : 1;
  static_assert(kBlocks * (kBytes + 1024) <= 228 * 1024);
};

// Calls f with the sizes for so many units at this precision, tf32 or bf16.
template <class F>
constexpr decltype(auto) with_one_hidden_tensor(Precision precision, int units, const F& f) {
  const bool small = units <= OneHiddenTensor<4, 13>::kUnits;
  if (precision == Precision::tf32) return small ? f(OneHiddenTensor<4, 13>{}) : f(OneHiddenTensor<4, 25>{});
  return small ? f(OneHiddenTensor<2, 13>{}) : f(OneHiddenTensor<2, 25>{});
}

// Bytes of shared memory for so many units at this precision.
constexpr int one_hidden_tensor_bytes(Precision precision, int units) {
  return with_one_hidden_tensor(precision, units, [](auto sizes) { return decltype(sizes)::kBytes; });
}

// As launch_whole_batch_tensor.
void launch_one_hidden_tensor(Stream& stream, const TensorArguments& arguments);

// has_state: of the kernel for members whose optimiser has state.
KernelResources one_hidden_tensor_resources(const TensorPlan& plan, bool has_state);

}  // namespace occam::cuda
