// ROC-AUC of many score lists at once (kernels/auc.cu); between its two launches the keys are sorted
// (src/cuda/sort.hpp).
#pragma once

#include "cuda/kernel.hpp"
#include "members.hpp"

namespace occam::cuda {

// Twice the Mann-Whitney statistic and what it is divided by: AUC = twice / (2 · positives · negatives), an
// exact quotient.
struct RankSum {
  unsigned long long twice, positives, negatives;
  unsigned nan;  // 1: some score was NaN
};

struct ScoreKeyArguments {
  Slots slots;
  int outputs;
  int lists;                   // of one slot: 1 for at most two outputs, else one per class
  const float* logits;         // [slots][capacity][padded(outputs)]
  const std::int32_t* labels;  // [slots][label_stride], from the first row in hand
  std::int64_t label_stride;
  std::uint64_t* keys;  // [slots][lists][pitch], from the first row in hand
  std::int64_t pitch;
  RankSum* sums;  // [slots][lists]; `nan` is set
};

// keys: the score's place among floats, twice, plus 1 for a row of the positive class. Unsigned order is the
// order of scores.
void launch_score_keys(Stream& stream, const ScoreKeyArguments& arguments);

// keys: [slots · lists][pitch], each list sorted over its first rows[slot] entries. Adds to zeroed sums.
void launch_rank_sums(Stream& stream, const std::uint64_t* keys, std::int64_t pitch, const std::int64_t* rows,
                      int slots, int lists, RankSum* sums);

}  // namespace occam::cuda
