// The rows of a split, or of a randomised variant of it, as a model sees them (kernels/split_rows.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

// A chunk of a split's rows: every slot's rows [first, first + capacity) that exist. Rows are numbered within
// the split.
struct SplitRows {
  const Member* members;
  Slots slots;
  Split split;
  std::int64_t first;
  int inputs;
  std::int32_t* labels;  // [slots][pitch] of all rows of the split
  std::int64_t pitch;
  const std::uint32_t* donors;  // [slots][pitch] of all rows; null: every row is its own
  const unsigned char*
      randomized;  // [inputs] 1: the coordinate comes from the donor; read where there are donors
  float* plain;    // [slots][capacity][padded(inputs)] scratch: before the rotation
  float* x;        // [slots][capacity][padded(inputs)]; null: the members' own train_x, from `first` on
  const std::int64_t* firsts = nullptr;  // [slots] in place of `first`, with x
};

// rows_in_hand[slots] = how many rows of the split fall in [first, first + capacity).
void launch_chunk_rows(Stream& stream, const Member* members, const int* member, int slots, Split split,
                       std::int64_t first, int capacity, int* rows_in_hand);

// Labels of all rows of the split into labels, or into the members' own train_y where labels is null.
void launch_split_labels(Stream& stream, const SplitRows& rows);

// Donor rows of a joint permutation: donors[slots][pitch].
void launch_permuted_donors(Stream& stream, const SplitRows& rows, std::uint32_t salt, std::uint32_t* donors);

// The rows themselves: generated or gathered, then rotated where the member's data are.
void launch_split_rows(Stream& stream, const SplitRows& rows);

}  // namespace occam::cuda
