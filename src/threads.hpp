// Work dealt out to threads.
#pragma once

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

}  // namespace occam
