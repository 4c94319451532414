#include "cpu/aligned_floats.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "occam/error.hpp"

namespace occam::cpu {

AlignedFloats::AlignedFloats(std::int64_t count) {
  // Batches read their rows at random: huge pages spare them the misses of the address translation.
  constexpr std::size_t kHugePage = 1 << 21;
  const std::size_t wanted = static_cast<std::size_t>(count) * sizeof(float) + 64;
  const std::size_t alignment = wanted >= kHugePage ? kHugePage : 64;
  const std::size_t bytes = (wanted + alignment - 1) / alignment * alignment;
  data_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
  if (!data_)
    fail(ErrorKind::device,
         "out of memory: {:.0f} MiB in one piece are not to be had (fewer rows, or fewer --threads, which "
         "hold fewer data sets at a time)",
         static_cast<double>(bytes) / (1 << 20));
  if (alignment == kHugePage)
    madvise(data_.get(), bytes, MADV_HUGEPAGE);  // a hint: refusal costs speed alone
  std::memset(data_.get(), 0, bytes);
}

void AlignedFloats::Free::operator()(float* p) const { std::free(p); }

}  // namespace occam::cpu
