// A run of train_slab that takes a second, and what it leaves behind.
#pragma once

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "end_to_end/program.hpp"

namespace occam::end_to_end {

using Words = std::vector<std::string>;

// A run that learns, in about a second; `extra` comes last.
inline Words small(const std::string& out, const Words& extra = {}) {
  Words words{"--device", "cpu",   "--dim",   "10", "--train",       "8000", "--test",        "2000",
              "--hidden", "30x30", "--batch", "64", "--check-every", "200",  "--max-updates", "1200",
              "--seeds",  "3",     "--out",   out};
  words.insert(words.end(), extra.begin(), extra.end());
  return words;
}

inline std::set<std::string> files_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

// Starts train_slab and interrupts it after some milliseconds; the delay adapts until the signal meets the
// training.
inline Ended interrupt_run(const Words& words, const std::string& results, const Folder& folder, int signal) {
  Ended ended;
  int delay = 400;
  for (int attempt = 0; attempt < 12; ++attempt) {
    std::filesystem::remove_all(results);
    const Program program("train_slab", words, folder);
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    program.send(signal);
    ended = program.wait();
    if (ended.code == 75) return ended;
    delay = ended.code < 0 ? delay * 2 : delay * 2 / 3;  // before the handler was there, or after the end
  }
  return ended;
}

}  // namespace occam::end_to_end
