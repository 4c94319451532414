// What bound.hpp asks: which bound is shifted, by the environment. OCCAM_SIMT_BOUNDS_SEEN names a file to which
// the process appends, at its end, the bounds that kernels came across.
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "simt/bound.hpp"

namespace occam::simt {
namespace {

struct Bounds {
  int id = -1, shift = 0;
  std::string seen_file;
  std::vector<char> seen;

  Bounds() {
    if (const char* text = std::getenv("OCCAM_SIMT_BOUND")) {
      char* end = nullptr;
      id = static_cast<int>(std::strtol(text, &end, 10));
      shift = static_cast<int>(std::strtol(end, nullptr, 10));
    }
    if (const char* file = std::getenv("OCCAM_SIMT_BOUNDS_SEEN")) seen_file = file, seen.resize(10000);
  }
  ~Bounds() {
    if (seen_file.empty()) return;
    std::ofstream file(seen_file, std::ios::app);
    for (std::size_t i = 0; i < seen.size(); ++i)
      if (seen[i] != 0) file << i << '\n';
  }
} bounds;

}  // namespace

int shift_of_bound(int id) {
  if (static_cast<std::size_t>(id) < bounds.seen.size()) bounds.seen[static_cast<std::size_t>(id)] = 1;
  return id == bounds.id ? bounds.shift : 0;
}

}  // namespace occam::simt
