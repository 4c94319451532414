// A score as an integer that sorts like it (kernels/auc.cu says what for).
#pragma once

#include "auc.hpp"
#include "law/functions.hpp"

namespace occam::cuda {

// An integer that sorts like the value; −0 and +0 are one.
OCCAM_HD std::uint32_t ordered_bits(float value) {
  const auto bits = static_cast<std::uint32_t>(law::bits_of(value == 0.0f ? 0.0f : value));
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
OCCAM_HD float of_ordered_bits(std::uint32_t ordered) {
  return law::float_of(static_cast<std::int32_t>(ordered & 0x80000000u ? ordered & 0x7FFFFFFFu : ~ordered));
}

__device__ __forceinline__ std::uint64_t key_of(float score, bool positive) {
  return static_cast<std::uint64_t>(ordered_bits(score)) << 1 | (positive ? 1u : 0u);
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
