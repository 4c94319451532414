// Tensor-core precisions on every body that has them.
#pragma once

#include "contract/ensembles.hpp"
#include "support/small_data.hpp"

namespace occam::test {

inline constexpr Precision kTensorPrecisions[] = {Precision::tf32, Precision::bf16};

// Trains an ensemble at another precision than its trainings'.
class PrecisionTest : public OnBody {
 protected:
  std::vector<std::vector<float>> trained(Ensemble e, Precision precision,
                                          const std::vector<std::int64_t>& calls,
                                          std::size_t shared_limit = kWholeBlock, bool seams = false) {
    for (Training& training : e.trainings) training.precision = precision;
    const auto backend = make(0, shared_limit);
    auto wave = open_loaded(*backend, e);
    for (const std::int64_t updates : calls) {
      if (seams) {  // a wave of its own for each call
        auto next = backend->open(e.request());
        for (int m = 0; m < e.members(); ++m)
          next->load(m, parameters(e, *wave, m)), next->resume(m, wave->training_state(m));
        wave = std::move(next);
      }
      wave->train(std::vector<std::int64_t>(static_cast<std::size_t>(e.members()), updates));
    }
    std::vector<std::vector<float>> result;
    for (int m = 0; m < e.members(); ++m) result.push_back(parameters(e, *wave, m));
    return result;
  }
};

}  // namespace occam::test
