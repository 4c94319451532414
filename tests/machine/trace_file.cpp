#include "trace_file.hpp"

#include <fstream>
#include <stdexcept>

namespace occam::machine {

void append_trace(const char* file, const TracedLaunch& launch) {
  if (file == nullptr) throw std::runtime_error("OCCAM_MACHINE_TO names no file for the trace");
  std::ofstream out(file, std::ios::binary | std::ios::app);
  const std::size_t warps = launch.blocks.empty() ? 0 : launch.blocks.front().warps.size();
  out << launch.kernel << ' ' << launch.shared << ' ' << launch.blocks.size() << ' ' << warps << '\n';
  for (const BlockTrace& block : launch.blocks)
    for (const std::vector<Issued>& warp : block.warps) {
      const std::uint64_t count = warp.size();
      out.write(reinterpret_cast<const char*>(&count), sizeof count);
      out.write(reinterpret_cast<const char*>(warp.data()),
                static_cast<std::streamsize>(count * sizeof(Issued)));
    }
  if (!out.flush()) throw std::runtime_error(std::string("cannot write ") + file);
}

std::vector<TracedLaunch> read_traces(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read the trace " + file);
  std::vector<TracedLaunch> launches;
  TracedLaunch launch;
  std::size_t blocks = 0, warps = 0;
  while (in >> launch.kernel >> launch.shared >> blocks >> warps) {
    in.get();
    launch.blocks.assign(blocks, {});
    for (BlockTrace& block : launch.blocks) {
      block.warps.resize(warps);
      for (std::vector<Issued>& warp : block.warps) {
        std::uint64_t count = 0;
        in.read(reinterpret_cast<char*>(&count), sizeof count);
        warp.resize(count);
        in.read(reinterpret_cast<char*>(warp.data()), static_cast<std::streamsize>(count * sizeof(Issued)));
      }
    }
    if (!in) throw std::runtime_error("the trace " + file + " is cut off");
    launches.push_back(launch);
  }
  return launches;
}

}  // namespace occam::machine
