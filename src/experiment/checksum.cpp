#include "experiment/checksum.hpp"

#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <zlib.h>

#include "occam_build_info.hpp"

namespace occam::experiment {

std::string checksum(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  uLong crc = crc32(0, nullptr, 0);
  std::vector<char> block(1 << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0)
    crc = crc32(crc, reinterpret_cast<const Bytef*>(block.data()), static_cast<uInt>(file.gcount()));
  return fmt::format("crc32:{:08x}", crc);
}

std::string program() {
  const std::string commit = build_info::commit;
  return build_info::dirty || commit == "unknown" ? commit + " " + checksum("/proc/self/exe") : commit;
}

}  // namespace occam::experiment
