#include "experiment/progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <unistd.h>

#include "experiment/tell.hpp"

namespace occam::experiment {

std::string format_seconds(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string format_count(std::int64_t count) {
  std::string digits = std::to_string(count);
  for (int at = static_cast<int>(digits.size()) - 3; at > (count < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

Progress::Progress(std::string name, bool shown)
    : name_(std::move(name)), shown_(shown && isatty(STDERR_FILENO)) {}

void Progress::expect(std::int64_t total) {
  const std::lock_guard lock(mutex_);
  total_ = total;
  draw(false);
}

void Progress::skip(std::int64_t updates) {
  const std::lock_guard lock(mutex_);
  done_ += updates;
  skipped_ += updates;
}

void Progress::advance(std::int64_t updates) {
  const std::lock_guard lock(mutex_);
  done_ += updates;
  what_.clear();
  draw(false);
}

std::int64_t Progress::done() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

void Progress::say(const std::string& what) {
  const std::lock_guard lock(mutex_);
  what_ = what;
  draw(true);
}

void Progress::clear() {
  const std::lock_guard lock(mutex_);
  if (width_ > 0) tell("\r{:{}}\r", "", width_);
  width_ = 0;
}

void Progress::draw(bool now) {
  if (!shown_) return;
  const Clock::time_point time = Clock::now();
  if (!now && time - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = time;
  const double seconds = std::chrono::duration<double>(time - start_).count();
  const double speed = seconds > 0 ? static_cast<double>(done_ - skipped_) / seconds : 0;
  const std::int64_t total = std::max(total_, done_);
  const double share = total > 0 ? static_cast<double>(done_) / static_cast<double>(total) : 0;
  constexpr int cells = 24;
  const auto filled = static_cast<std::size_t>(share * cells);
  std::string line =
      fmt::format("{} [{:<{}}] {:3.0f}%  {}/~{} updates  {}/s", name_, std::string(filled, '='), cells,
                  100 * share, format_count(done_), format_count(total), format_count(std::llround(speed)));
  if (!what_.empty())
    line += "  " + what_;
  else if (speed > 0)
    line += fmt::format("  {} left", format_seconds(static_cast<double>(total - done_) / speed));
  tell("\r{:<{}}", line, width_);
  std::fflush(stderr);
  width_ = line.size();
}

}  // namespace occam::experiment
