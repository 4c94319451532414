// The SIMT executor's body of sort.hpp: no vendor library runs there.
#if defined(OCCAM_SIMT)
#include <algorithm>
#include <vector>

#include "cuda/sort.hpp"

namespace occam::cuda {

void sort_lists(Stream& stream, std::uint64_t* keys, std::uint64_t* sorted, std::int64_t pitch,
                std::span<const std::int64_t> lengths, int bits) {
  const std::uint64_t mask = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    std::vector<std::uint64_t> list(static_cast<std::size_t>(lengths[i]));
    const std::int64_t at = static_cast<std::int64_t>(i) * pitch;
    copy_to_host(stream, list.data(), keys + at, list.size());
    std::stable_sort(list.begin(), list.end(),
                     [=](std::uint64_t a, std::uint64_t b) { return (a & mask) < (b & mask); });
    copy_to_device(stream, sorted + at, list.data(), list.size());
  }
}

}  // namespace occam::cuda
#endif
