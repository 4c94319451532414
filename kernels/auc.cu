// ROC-AUC, exact, ties averaged: scores become integer keys, and over a sorted list positives count 2 for
// every negative below and 1 for every tie. All counts are integers, so no order of additions matters.

#include "auc.hpp"

#include "product.cuh"
#include "score_key.cuh"

namespace occam::cuda {

namespace {
constexpr int kThreads = 256;
}

// ---- building blocks --------------------------------------------------------------------------------------

struct RankScratch {
  unsigned negatives[kThreads];
  unsigned long long twice[kThreads];
};

// ---- kernels ----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads) score_keys_kernel(ScoreKeyArguments a) {
  const int slot = static_cast<int>(blockIdx.y);
  const int row = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (row >= a.slots.rows[slot]) return;
  const float* logits =
      a.logits + (static_cast<std::int64_t>(slot) * a.slots.capacity + row) * padded(a.outputs);
  const std::int32_t label = a.labels[slot * a.label_stride + row];
  write_keys(logits, a.outputs, a.lists, label,
             a.keys + static_cast<std::int64_t>(slot) * a.lists * a.pitch + row, a.pitch,
             a.sums + slot * a.lists);
}

// One block a list. Thread t owns a run of entries; it counts the groups of tied scores that begin in its
// run, to their end.
__global__ void __launch_bounds__(kThreads)
    rank_sums_kernel(const std::uint64_t* keys, std::int64_t pitch, const std::int64_t* rows, int lists,
                     RankSum* sums) {
  const std::int64_t list = blockIdx.x, count = rows[list / lists];
  const std::uint64_t* key = keys + list * pitch;
  const std::int64_t run = (count + kThreads - 1) / kThreads;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * run;
  const std::int64_t last = first + run < count ? first + run : count;
  auto& scratch = shared<RankScratch>();

  unsigned negatives = 0;
  for (std::int64_t i = first; i < last; ++i) negatives += (key[i] & 1) == 0;
  scratch.negatives[threadIdx.x] = negatives;
  for (unsigned step = 1; step < kThreads; step *= 2) {  // inclusive scan
    __syncthreads();
    const unsigned before = threadIdx.x >= step ? scratch.negatives[threadIdx.x - step] : 0;
    __syncthreads();
    scratch.negatives[threadIdx.x] += before;
  }
  unsigned long long below = scratch.negatives[threadIdx.x] - negatives, twice = 0;
  for (std::int64_t i = first; i < last;) {
    const std::uint64_t score = key[i] >> 1;
    if (i == first && i > 0 && key[i - 1] >> 1 == score) {  // a group that began in an earlier run
      for (; i < last && key[i] >> 1 == score; ++i) below += (key[i] & 1) == 0;
      continue;
    }
    unsigned long long tied_negatives = 0, tied_positives = 0;
    for (; i < count && key[i] >> 1 == score; ++i) (key[i] & 1) == 0 ? ++tied_negatives : ++tied_positives;
    twice += tied_positives * (2 * below + tied_negatives);
    below += tied_negatives;
  }
  scratch.twice[threadIdx.x] = twice;
  for (unsigned stride = kThreads / 2; stride > 0; stride /= 2) {
    __syncthreads();
    if (threadIdx.x < stride) scratch.twice[threadIdx.x] += scratch.twice[threadIdx.x + stride];
  }
  if (threadIdx.x == 0) {
    const unsigned long long all_negatives = scratch.negatives[kThreads - 1];
    sums[list].twice = scratch.twice[0];
    sums[list].negatives = all_negatives;
    sums[list].positives = static_cast<unsigned long long>(count) - all_negatives;
  }
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_score_keys(Stream& stream, const ScoreKeyArguments& a) {
  const NvtxRange range{"score keys"};
  require(a.lists == (a.outputs <= 2 ? 1 : a.outputs), "score keys: {} lists for {} outputs", a.lists,
          a.outputs);
  launch(stream, "score_keys", score_keys_kernel,
         dim3(static_cast<unsigned>(tiles(a.slots.capacity, kThreads)), static_cast<unsigned>(a.slots.count)),
         dim3(kThreads), 0, a);
}

void launch_rank_sums(Stream& stream, const std::uint64_t* keys, std::int64_t pitch, const std::int64_t* rows,
                      int slots, int lists, RankSum* sums) {
  const NvtxRange range{"rank sums"};
  launch(stream, "rank_sums", rank_sums_kernel, dim3(static_cast<unsigned>(slots * lists)), dim3(kThreads),
         sizeof(RankScratch), keys, pitch, rows, lists, sums);
}

}  // namespace occam::cuda
