#include <fstream>
#include <sstream>
#include <stdexcept>

#include "code.hpp"

namespace occam::machine {
namespace {

// Gathers the kernel whose lines are being read.
class Reader {
 public:
  explicit Reader(const std::string& name) { code_.name = name; }

  void line(const std::string& what, std::istringstream& words) {
    if (what == "base")
      words >> code_.parameter_base;
    else if (what == "registers")
      words >> code_.registers;
    else if (what == "frame")
      words >> code_.frame;
    else if (what == "shared")
      words >> code_.shared;
    else if (what == "parameter")
      words >> code_.parameters.emplace_back().offset >> code_.parameters.back().bytes;
    else if (what == "constant")
      constant(words);
    else if (what == "label")
      label(words);
    else if (what == "i")
      instruction(words);
    else
      throw std::runtime_error("a listing's line that begins with '" + what + "'");
  }

  Code finish() {
    for (const auto& [from, label] : jumps_) {
      Instruction& i = code_.instructions[from];
      if (i.op == Op::ret) continue;  // its label is the kernel, its target in a register
      const auto at = labels_.find(label);
      if (at == labels_.end()) throw std::runtime_error("machine code '" + i.text + "': no label " + label);
      for (Operand& o : i.operand)
        if (o.kind == Operand::Kind::target) o.value = at->second;
    }
    return std::move(code_);
  }

 private:
  void constant(std::istringstream& words) {
    int bank = 0;
    std::string hex;
    words >> bank >> hex;
    for (std::size_t k = 0; k + 1 < hex.size(); k += 2)
      code_.constants[bank].push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(k, 2), nullptr, 16)));
  }
  void label(std::istringstream& words) {
    std::string name;
    words >> name;
    labels_[name] = static_cast<std::uint32_t>(code_.instructions.size());
  }
  void instruction(std::istringstream& words) {
    std::string address, text, label;
    int stall = 0, write_barrier = 0, read_barrier = 0, wait = 0;
    words >> address >> stall >> write_barrier >> read_barrier >> wait >> std::ws;
    std::getline(words, text);
    Instruction i = decode(text, label);
    i.address = static_cast<std::uint32_t>(std::stoul(address, nullptr, 16));
    i.stall = static_cast<std::uint8_t>(stall);
    i.write_barrier = static_cast<std::uint8_t>(write_barrier);
    i.read_barrier = static_cast<std::uint8_t>(read_barrier);
    i.wait = static_cast<std::uint8_t>(wait);
    const auto index = static_cast<std::uint32_t>(code_.instructions.size());
    if (!label.empty()) jumps_.emplace_back(index, label);
    code_.at[i.address] = index;
    code_.instructions.push_back(std::move(i));
  }

  Code code_;
  std::map<std::string, std::uint32_t> labels_;
  std::vector<std::pair<std::uint32_t, std::string>> jumps_;
};

}  // namespace

std::map<std::string, Code> read_codes(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read the listing " + file);
  std::map<std::string, Code> codes;
  std::vector<Reader> reader;  // of the present kernel, or none
  const auto close = [&] {
    if (reader.empty()) return;
    Code code = reader.back().finish();
    codes.insert_or_assign(code.name, std::move(code));
    reader.clear();
  };
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string what, name;
    words >> what;
    if (what == "kernel") {
      close();
      words >> name;
      reader.emplace_back(name);
    } else if (!reader.empty()) {
      reader.back().line(what, words);
    }
  }
  close();
  return codes;
}

}  // namespace occam::machine
