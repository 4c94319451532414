// What the requests of bench_worker have in common: the clock of their replies and the training they name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "occam/training.hpp"

namespace occam::bench {

// Wall and CPU time since it was made. CPU time far below wall time times threads: somebody else had the
// core.
class Stopwatch {
 public:
  Stopwatch();
  // Adds "seconds" and "cpu_seconds".
  void report(nlohmann::json& reply) const;

 private:
  double wall_, cpu_;
};

// The "device" of a request, a CPU by default. "threads", if it does not say: one of a CPU, all of a GPU's host.
Device device_of(const nlohmann::json& request);

// What training offers on a device; the bench says of the others that this build lacks them.
std::vector<Precision> precisions(const Device& device);

// The training problem of a request: notebook 1's data, network and settings unless the request says
// otherwise.
struct Problem {
  SlabSpec spec;
  MlpSpec network;
  Training training;
  int members = 1;
  std::uint32_t first_seed = 0;
  Device device;

  explicit Problem(const nlohmann::json& request);

  // One entry a member.
  std::vector<Seeds> seeds() const;
  std::vector<Data> data() const;
  std::vector<Training> trainings() const;
};

}  // namespace occam::bench
