// machine_time LISTING TRACE [NAME=VALUE...]: for each launch of a trace a line of JSON with what timing.hpp predicts.
// NAME: a number of Chip, to try another.
#include <iostream>

#include <nlohmann/json.hpp>

#include "timing.hpp"
#include "trace_file.hpp"

namespace occam::machine {
namespace {

void set(Chip& chip, const std::string& text) {
  const std::map<std::string, int*> numbers = {
      {"shared_latency", &chip.shared_latency},     {"local_latency", &chip.local_latency},
      {"constant_latency", &chip.constant_latency}, {"special_latency", &chip.special_latency},
      {"math_latency", &chip.math_latency},         {"global_latency", &chip.global_latency},
      {"copy_latency", &chip.copy_latency},         {"tensor_latency", &chip.tensor_latency},
      {"tensor_cycles", &chip.tensor_cycles},       {"double_latency", &chip.double_latency},
      {"barrier_latency", &chip.barrier_latency},   {"branch", &chip.branch},
      {"block_start", &chip.block_start},           {"memory_queue", &chip.memory_queue}};
  const auto at = text.find('=');
  const std::string name = text.substr(0, at);
  if (at == std::string::npos) throw std::runtime_error("'" + text + "' is not NAME=VALUE");
  if (name == "sector")
    chip.sector = std::stod(text.substr(at + 1));
  else if (const auto number = numbers.find(name); number != numbers.end())
    *number->second = std::stoi(text.substr(at + 1));
  else
    throw std::runtime_error("the chip has no number '" + name + "'");
}

}  // namespace
}  // namespace occam::machine

int main(int argc, char** argv) {
  using namespace occam::machine;
  using nlohmann::json;
  if (argc < 3) return std::cerr << "usage: machine_time LISTING TRACE [NAME=VALUE...]\n", 2;
  try {
    Chip chip;
    for (int k = 3; k < argc; ++k) set(chip, argv[k]);
    const std::map<std::string, Code> codes = read_codes(argv[1]);
    for (const TracedLaunch& launch : read_traces(argv[2])) {
      const Code& code = codes.at(launch.kernel);
      const auto warps = static_cast<std::uint32_t>(launch.blocks.front().warps.size());
      const int resident = resident_blocks(code, warps, launch.shared);
      const Timed timed = time(code, launch.blocks, resident, chip);
      json places = json::array();
      for (std::size_t i = 0; i < timed.instructions.size(); ++i) {
        const InstructionTime& at = timed.instructions[i];
        std::uint64_t all = 0;
        for (const std::uint64_t cycles : at.warps) all += cycles;
        if (all > 0) places.push_back({code.instructions[i].address, at.idle, at.warps});
      }
      std::cout << json{{"kernel", launch.kernel}, {"blocks", launch.blocks.size()}, {"warps", warps},
                        {"resident", resident},    {"cycles", timed.cycles},         {"issued", timed.issued},
                        {"idle", timed.idle},      {"stalls", kStallNames},          {"instructions", places}}
                << '\n';
    }
  } catch (const std::exception& error) {
    return std::cerr << "machine_time: " << error.what() << '\n', 1;
  }
}
