// Small trainings by fit().
#pragma once

#include <cstdint>
#include <vector>

#include "occam/training.hpp"
#include "support/small_data.hpp"

namespace occam::test {

inline const MlpSpec kSpec{.inputs = 6, .hidden = {12}, .classes = 2};

inline Training training(const StopRule& stop, double learning_rate = 0.1) {
  return {.optimizer = {.learning_rate = learning_rate}, .stop = stop, .batch = 16};
}

// A rule that never stops by itself.
inline StopRule limit(std::int64_t updates, std::int64_t check_every) {
  return {.criterion = StopCriterion::none, .check_every = check_every, .max_updates = updates};
}

inline Data noisy(std::uint32_t seed, std::int64_t validation = 0) {
  return clouds_data({.dim = 6, .classes = 2, .train = 70, .validation = validation, .test = 45}, seed, 0.4);
}

inline std::vector<std::int64_t> updates_of(const MemberHistory& history) {
  std::vector<std::int64_t> updates;
  for (const Check& check : history.checks) updates.push_back(check.updates);
  return updates;
}

}  // namespace occam::test
