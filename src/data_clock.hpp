// Time spent on making data resident, summed over threads, for timing.json. It is part of the time of
// training or measuring.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace occam {

// Counts its own lifetime.
class DataClock {
 public:
  DataClock() = default;
  ~DataClock() {
    const auto spent = std::chrono::steady_clock::now() - start_;
    total_ += std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count();
  }
  DataClock(const DataClock&) = delete;
  DataClock& operator=(const DataClock&) = delete;

  // Of all clocks that ended since the process began.
  static double seconds() { return 1e-9 * static_cast<double>(total_.load()); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  inline static std::atomic<std::int64_t> total_{0};
};

}  // namespace occam
