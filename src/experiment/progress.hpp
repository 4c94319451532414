// A progress bar on standard error when it is a terminal: updates done, updates per second and time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace occam::experiment {

class Progress {
 public:
  Progress(std::string name, bool shown);
  ~Progress() { clear(); }

  // The estimate of all updates of the run, which sharpens as members finish.
  void expect(std::int64_t total);
  // Updates that an earlier run did: they count as done but not for the speed.
  void skip(std::int64_t updates);
  // From any thread.
  void advance(std::int64_t updates);
  // Updates, skipped ones among them.
  std::int64_t done() const;
  // What is being done when it is not training, such as "measuring".
  void say(const std::string& what);
  void clear();

 private:
  void draw(bool now);

  using Clock = std::chrono::steady_clock;
  mutable std::mutex mutex_;
  std::string name_, what_;
  bool shown_;
  std::int64_t done_ = 0, skipped_ = 0, total_ = 0;
  Clock::time_point start_ = Clock::now(), drawn_ = {};
  std::size_t width_ = 0;
};

// "1:02:03", "2:03".
std::string format_seconds(double seconds);
// "12,345".
std::string format_count(std::int64_t count);

}  // namespace occam::experiment
