#include "score_beside.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "waves.hpp"

namespace occam {

std::vector<Score> score_all(Wave& wave, std::span<const Data> data, Split split,
                             const Randomization& variant) {
  std::vector<int> members(data.size());
  std::iota(members.begin(), members.end(), 0);
  std::vector<WaveScore> of(data.size());
  wave.score(members, split, variant, true, of);
  std::vector<Score> scores;
  for (std::size_t m = 0; m < data.size(); ++m)
    scores.push_back(as_score(std::move(of[m]), rows(data[m], split)));
  return scores;
}

std::vector<std::vector<Score>> score_sets(Wave& wave, std::span<const std::vector<Data>> sets,
                                           std::size_t first, std::size_t count, Split split,
                                           Interrupt interrupt) {
  std::vector<std::vector<Score>> scores;
  for (const std::vector<Data>& set : sets) {
    heed(interrupt);
    const std::span<const Data> data = std::span(set).subspan(first, count);
    if (!scores.empty()) wave.show(data);
    scores.push_back(score_all(wave, data, split, {}));
  }
  return scores;
}

std::vector<std::vector<Score>> score_beside(Backend& device, const MlpSpec& spec,
                                             std::span<const std::span<const float>> parameters,
                                             std::span<const std::vector<Data>> sets,
                                             std::span<const Seeds> seeds) {
  std::vector<std::vector<Score>> scores(sets.size());
  for (std::size_t first = 0, count = 0; !sets.empty() && first < parameters.size(); first += count) {
    const auto request = [&](std::size_t members) {
      return WaveRequest{
          &spec, std::span(sets.front()).subspan(first, members), seeds.subspan(first, members), {}};
    };
    count = static_cast<std::size_t>(
        members_of_wave(device, request(parameters.size() - first), sets.subspan(1), first));
    const std::unique_ptr<Wave> wave = device.open(request(count));
    for (std::size_t m = 0; m < count; ++m) wave->load(static_cast<int>(m), parameters[first + m]);
    std::vector<std::vector<Score>> of_wave = score_sets(*wave, sets, first, count, Split::test);
    for (std::size_t s = 0; s < sets.size(); ++s)
      std::ranges::move(of_wave[s], std::back_inserter(scores[s]));
  }
  return scores;
}

}  // namespace occam
