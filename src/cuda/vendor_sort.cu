// sort.hpp by CUB's segmented radix sort.
#include <cub/device/device_segmented_radix_sort.cuh>

#include <algorithm>
#include <vector>

#include "cuda/sort.hpp"

namespace occam::cuda {

void sort_lists(Stream& stream, std::uint64_t* keys, std::uint64_t* sorted, std::int64_t pitch,
                std::span<const std::int64_t> lengths, int bits) {
  const NvtxRange range{"sort"};
  // One sort takes less than 2^31 keys.
  const auto at_once = static_cast<std::size_t>(std::max<std::int64_t>(INT32_MAX / pitch, 1));
  if (lengths.size() > at_once) {
    sort_lists(stream, keys, sorted, pitch, lengths.first(at_once), bits);
    const std::int64_t done = static_cast<std::int64_t>(at_once) * pitch;
    return sort_lists(stream, keys + done, sorted + done, pitch, lengths.subspan(at_once), bits);
  }
  const auto lists = static_cast<std::int64_t>(lengths.size());
  std::vector<std::int64_t> offsets;  // where lists begin, then where they end
  for (std::int64_t i = 0; i < lists; ++i) offsets.push_back(i * pitch);
  for (std::int64_t i = 0; i < lists; ++i)
    offsets.push_back(i * pitch + lengths[static_cast<std::size_t>(i)]);
  DeviceBuffer<std::int64_t> device_offsets("sort offsets", offsets.size());
  copy_to_device(stream, device_offsets, offsets);

  const auto sort = [&](void* scratch, std::size_t& bytes) {
    const cudaError_t status = cub::DeviceSegmentedRadixSort::SortKeys(
        scratch, bytes, keys, sorted, lists * pitch, lists, device_offsets.data(),
        device_offsets.data() + lists, 0, bits, static_cast<cudaStream_t>(stream.handle()));
    if (status != cudaSuccess)
      fail(ErrorKind::device, "sort of {} lists of up to {} keys: {}", lists, pitch,
           cudaGetErrorString(status));
  };
  std::size_t bytes = 0;
  sort(nullptr, bytes);
  DeviceBuffer<unsigned char> scratch("sort scratch", bytes + 1);  // never null
  sort(scratch.data(), bytes);
  stream.synchronize();  // the buffers above must outlive the sort
}

}  // namespace occam::cuda
