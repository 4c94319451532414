// A score as an integer that sorts like it (kernels/auc.cu says what for).
#pragma once

#include "auc.hpp"
#include "law/functions.hpp"

namespace occam::cuda {

// −0 and +0 are one score.
__device__ __forceinline__ std::uint64_t key_of(float score, bool positive) {
  const auto bits = static_cast<std::uint32_t>(law::bits_of(score == 0.0f ? 0.0f : score));
  const std::uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<std::uint64_t>(ordered) << 1 | (positive ? 1u : 0u);
}

// Own logit − largest other; two classes or one logit have one score alone.
__device__ __forceinline__ float score_of(const float* logits, int outputs, int list) {
  if (outputs == 1) return logits[0];
  if (outputs == 2) return logits[1] - logits[0];
  float other = -law::detail::kInfinity;
  for (int c = 0; c < outputs; ++c)
    if (c != list) other = other < logits[c] ? logits[c] : other;
  return logits[list] - other;
}

// The keys of one row: keys[list · pitch], sums[list].
__device__ __forceinline__ void write_keys(const float* logits, int outputs, int lists, std::int32_t label,
                                           std::uint64_t* keys, std::int64_t pitch, RankSum* sums) {
  for (int list = 0; list < lists; ++list) {
    const float score = score_of(logits, outputs, list);
    if (score != score) atomicOr(&sums[list].nan, 1u);
    keys[list * pitch] = key_of(score, lists == 1 ? label != 0 : label == list);
  }
}

}  // namespace occam::cuda
