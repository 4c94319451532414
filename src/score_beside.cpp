#include "score_beside.hpp"

#include <numeric>

namespace occam {

std::vector<Score> score_beside(Backend& device, const MlpSpec& spec,
                                std::span<const std::span<const float>> parameters,
                                std::span<const Data> data, std::span<const Seeds> seeds) {
  std::vector<Score> scores;
  while (scores.size() < data.size()) {
    const std::size_t first = scores.size();
    WaveRequest request{&spec, data.subspan(first), seeds.subspan(first), {}};
    const auto count = static_cast<std::size_t>(device.wave_members(request));
    request.data = request.data.first(count), request.seeds = request.seeds.first(count);
    const std::unique_ptr<Wave> wave = device.open(request);
    std::vector<int> members(count);
    std::iota(members.begin(), members.end(), 0);
    for (std::size_t m = 0; m < count; ++m) wave->load(members[m], parameters[first + m]);
    std::vector<WaveScore> of(count);
    wave->score(members, Split::test, Randomization{}, true, of);
    for (std::size_t m = 0; m < count; ++m)
      scores.push_back(as_score(std::move(of[m]), rows(request.data[m], Split::test)));
  }
  return scores;
}

}  // namespace occam
