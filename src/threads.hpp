// Work dealt out to threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace occam {

// body(t) for t = 0 … threads − 1, each on a thread of its own, 0 on the caller's. The first exception is
// thrown from here, when all have ended.
template <class Body>
void on_threads(int threads, const Body& body) {
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&](int t) {
    try {
      body(t);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(run, t);
    run(0);
  }
  if (error) std::rethrow_exception(error);
}

// body(i) for i = 0 … count − 1, in this order, on `threads` threads at most. After an exception none is begun any more;
// the first is thrown from here, when those that had begun have ended.
template <class Body>
void side_by_side(int threads, std::size_t count, const Body& body) {
  std::atomic<std::size_t> next{0};
  on_threads(static_cast<int>(std::min(static_cast<std::size_t>(threads), count)), [&](int) {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        body(i);
      } catch (...) {
        next = count;
        throw;
      }
    }
  });
}

}  // namespace occam
