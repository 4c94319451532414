// Small programs in machine code.
#pragma once

#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "machine/code.hpp"
#include "machine/run.hpp"

namespace occam::machine {

// One instruction a line; "L1:" is a label, and a number before "|" a stall count.
inline Code assembled(const std::string& text) {
  Code code;
  code.name = "test", code.parameter_base = 0x210, code.shared = 1024, code.registers = 32;
  code.parameters = {{0, 8}};
  std::map<std::string, std::uint32_t> labels;
  std::vector<std::string> targets;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find_first_not_of(' ');
    if (first == std::string::npos) continue;
    line = line.substr(first);
    if (line.ends_with(':')) {
      labels[line.substr(0, line.size() - 1)] = static_cast<std::uint32_t>(code.instructions.size());
      continue;
    }
    int stall = 1;
    if (const auto bar = line.find("| "); bar != std::string::npos)
      stall = std::stoi(line), line = line.substr(bar + 2);
    Instruction i = decode(line, targets.emplace_back());
    i.stall = static_cast<std::uint8_t>(stall);
    i.address = static_cast<std::uint32_t>(16 * code.instructions.size());
    code.at[i.address] = static_cast<std::uint32_t>(code.instructions.size());
    code.instructions.push_back(i);
  }
  for (std::size_t k = 0; k < code.instructions.size(); ++k)
    for (Operand& o : code.instructions[k].operand)
      if (o.kind == Operand::Kind::target) o.value = labels.at(targets[k]);
  return code;
}

struct Ran {
  std::vector<std::uint32_t> value;  // by thread: R10 at the end
  std::vector<BlockTrace> traces;
};

// Runs `body` by `threads` of one block. R0 is the thread, R2 and R3 the address of the values, which begin as 7.
inline Ran ran(const std::string& body, std::uint32_t threads = 32) {
  const Code code = assembled("S2R R0, SR_TID.X\nLDC.64 R2, c[0x0][0x210]\n" + body +
                              "\nIMAD.WIDE R4, R0, 0x4, R2\nSTG.E desc[UR4][R4.64], R10\nEXIT\n");
  Ran result{std::vector<std::uint32_t>(threads, 7), {}};
  const auto address = reinterpret_cast<std::uintptr_t>(result.value.data());
  Launch launch{.code = &code,
                .grid = {},
                .block = {threads, 1, 1},
                .parameters = std::vector<std::uint8_t>(8),
                .dynamic_shared = 4096};
  std::memcpy(launch.parameters.data(), &address, sizeof address);
  run(launch, {{address, threads * sizeof(std::uint32_t)}}, &result.traces);
  return result;
}

}  // namespace occam::machine
