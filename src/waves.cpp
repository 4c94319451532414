#include "waves.hpp"

namespace occam {

int members_of_wave(const Backend& device, WaveRequest request, std::span<const std::vector<Data>> sets,
                    std::size_t first) {
  int count = device.wave_members(request);
  for (const std::vector<Data>& set : sets) {
    request.data = std::span(set).subspan(first, static_cast<std::size_t>(count));
    count = device.wave_members(request);
  }
  return count;
}

}  // namespace occam
