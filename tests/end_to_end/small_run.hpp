// A run of train_slab that takes a second, and what it leaves behind.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

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

inline nlohmann::json read_json(const std::string& path) { return nlohmann::json::parse(content(path)); }

inline std::set<std::string> files_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

}  // namespace occam::end_to_end
