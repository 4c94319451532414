// Runs an ensemble wave by wave: as many members at a time as the device holds, as many waves side by side as
// it runs.
#pragma once

#include <span>
#include <vector>

#include "backend.hpp"
#include "occam/error.hpp"
#include "threads.hpp"

namespace occam {

struct WaveRange {
  int first = 0, count = 0;  // members first … first + count − 1 of the ensemble
};

// How many of the requested members fit in a wave that is to hold these sets of data, too, one after the other
// (Wave::show). sets[s][first] is of the first member requested.
int members_of_wave(const Backend& device, WaveRequest request, std::span<const std::vector<Data>> sets,
                    std::size_t first);

// Calls body(wave, range) for every wave; bodies of different waves run on different threads. `trainings` is
// empty when nothing is trained. The first exception of a body ends the loop and is thrown from here, as is
// Interrupted where a wave opens: heeded is `interrupt`, or else that of the models. `later`: further data that a
// wave is to hold, as in members_of_wave.
template <class Body>
void for_each_wave(const MlpEnsemble& models, std::span<const Data> data, std::span<const Training> trainings,
                   const Body& body, Interrupt interrupt = nullptr,
                   std::span<const std::vector<Data>> later = {}) {
  require(models.members() > 0, "ensemble: it was moved from");
  require(static_cast<int>(data.size()) == models.members(), "ensemble: {} data sets for {} members",
          data.size(), models.members());
  for (const Data& one : data) {
    require(dim(one) == models.spec().inputs, "data: dimension {}, the network has {} inputs", dim(one),
            models.spec().inputs);
    require(classes(one) <= models.spec().classes, "data: {} classes, the network has {}", classes(one),
            models.spec().classes);
  }
  std::vector<Seeds> seeds;
  for (int m = 0; m < models.members(); ++m) seeds.push_back(models.seeds(m));
  const auto request = [&](int first, int count) {
    const auto from = static_cast<std::size_t>(first), size = static_cast<std::size_t>(count);
    return WaveRequest{&models.spec(), data.subspan(from, size),
                       std::span<const Seeds>(seeds).subspan(from, size),
                       trainings.empty() ? trainings : trainings.subspan(from, size)};
  };

  if (interrupt == nullptr) interrupt = models.interrupt();
  Backend& device = backend(models.device());
  std::vector<WaveRange> waves;
  for (int first = 0; first < models.members();) {
    const int count = members_of_wave(device, request(first, models.members() - first), later,
                                      static_cast<std::size_t>(first));
    waves.push_back({first, count});
    first += count;
  }

  const std::size_t threads = std::min(static_cast<std::size_t>(device.concurrency()), waves.size());
  const int threads_of_wave = std::max(1, models.device().threads / static_cast<int>(threads));
  side_by_side(static_cast<int>(threads), waves.size(), [&](std::size_t w) {
    heed(interrupt);
    WaveRequest opened = request(waves[w].first, waves[w].count);
    opened.threads = threads_of_wave;
    opened.interrupt = interrupt;
    const std::unique_ptr<Wave> wave = device.open(opened);
    body(*wave, waves[w]);
  });
}

}  // namespace occam
