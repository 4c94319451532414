#include <bit>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "code.hpp"

namespace occam::machine {
namespace {

using Kind = Operand::Kind;

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw std::runtime_error("machine code '" + text + "': " + why);
}

// Opcodes whose name differs from their enumerator, or that several names share, stand beside the plain ones.
const std::map<std::string, Op> kOps = {{"ATOMS", Op::atoms},     {"B2R", Op::b2r},
                                        {"BRA", Op::bra},         {"BREAK", Op::brk},
                                        {"BRX", Op::brx},         {"BSSY", Op::bssy},
                                        {"BSYNC", Op::bsync},     {"CALL", Op::call},
                                        {"CS2R", Op::cs2r},       {"DADD", Op::dadd},
                                        {"DEPBAR", Op::depbar},   {"DFMA", Op::dfma},
                                        {"DMUL", Op::dmul},       {"DSETP", Op::dsetp},
                                        {"EXIT", Op::exit},       {"ENDCOLLECTIVE", Op::endcollective},
                                        {"F2F", Op::f2f},         {"F2FP", Op::f2fp},
                                        {"F2I", Op::f2i},         {"FADD", Op::fadd},
                                        {"FCHK", Op::fchk},       {"FFMA", Op::ffma},
                                        {"FMNMX", Op::fmnmx},     {"FMUL", Op::fmul},
                                        {"FSEL", Op::fsel},       {"FSETP", Op::fsetp},
                                        {"HFMA2", Op::hfma2},     {"HMMA", Op::hmma},
                                        {"I2F", Op::i2f},         {"I2FP", Op::i2f},
                                        {"IABS", Op::iabs},       {"IADD3", Op::iadd3},
                                        {"IMAD", Op::imad},       {"ISETP", Op::isetp},
                                        {"LD", Op::ldg},          {"LDC", Op::ldc},
                                        {"LDG", Op::ldg},         {"LDL", Op::ldl},
                                        {"LDS", Op::lds},         {"LDGDEPBAR", Op::ldgdepbar},
                                        {"LDGSTS", Op::ldgsts},   {"LDSM", Op::ldsm},
                                        {"LEA", Op::lea},         {"LOP3", Op::lop3},
                                        {"MOV", Op::mov},         {"MUFU", Op::mufu},
                                        {"NOP", Op::nop},         {"P2R", Op::p2r},
                                        {"PLOP3", Op::plop3},     {"POPC", Op::popc},
                                        {"PRMT", Op::prmt},       {"R2P", Op::r2p},
                                        {"R2UR", Op::r2ur},       {"REDG", Op::redg},
                                        {"REDUX", Op::redux},     {"RET", Op::ret},
                                        {"S2R", Op::s2r},         {"S2UR", Op::s2r},
                                        {"SEL", Op::sel},         {"SHF", Op::shf},
                                        {"SHFL", Op::shfl},       {"ST", Op::stg},
                                        {"STG", Op::stg},         {"STL", Op::stl},
                                        {"STS", Op::sts},         {"UFLO", Op::uflo},
                                        {"UIADD3", Op::iadd3},    {"UIMAD", Op::imad},
                                        {"UISETP", Op::isetp},    {"ULDC", Op::ldc},
                                        {"ULEA", Op::lea},        {"ULOP3", Op::lop3},
                                        {"UMOV", Op::mov},        {"USEL", Op::sel},
                                        {"USHF", Op::shf},        {"VIADD", Op::viadd},
                                        {"VIMNMX", Op::vimnmx},   {"VOTE", Op::vote},
                                        {"VOTEU", Op::vote},      {"VIADDMNMX", Op::viaddmnmx},
                                        {"VIMNMX3", Op::vimnmx3}, {"WARPSYNC", Op::warpsync},
                                        {"UPLOP3", Op::plop3},    {"UPOPC", Op::popc},
                                        {"UPRMT", Op::prmt},      {"BRXU", Op::brx},
                                        {"YIELD", Op::yield},     {"CCTL", Op::fence},
                                        {"CGAERRBAR", Op::fence}, {"CGANOP", Op::fence},
                                        {"ERRBAR", Op::fence},    {"MEMBAR", Op::fence}};

const std::map<std::string, Special> kSpecialRegisters = {{"SR_TID.X", kTidX},
                                                          {"SR_TID.Y", kTidY},
                                                          {"SR_CTAID.X", kCtaidX},
                                                          {"SR_CTAID.Y", kCtaidY},
                                                          {"SR_CTAID.Z", kCtaidZ},
                                                          {"SR_LANEID", kLaneId},
                                                          {"SR_CgaCtaId", kClusterCtaid},
                                                          {"SR_SWINHI", kSharedWindow},
                                                          {"SRZ", kZeros},
                                                          {"PR", kPredicates}};

const std::map<std::string, Compare> kCompares = {
    {"F", Compare::f},     {"LT", Compare::lt},   {"EQ", Compare::eq},   {"LE", Compare::le},
    {"GT", Compare::gt},   {"NE", Compare::ne},   {"GE", Compare::ge},   {"LTU", Compare::ltu},
    {"EQU", Compare::equ}, {"LEU", Compare::leu}, {"GTU", Compare::gtu}, {"NEU", Compare::neu},
    {"GEU", Compare::geu}, {"NUM", Compare::num}, {"NAN", Compare::nan}};

const std::map<std::string, std::uint32_t> kFlags = {
    {"U32", kU32},   {"X", kX},     {"HI", kHi},   {"EX", kEx},      {"FTZ", kFtz},   {"SX32", kSx32},
    {"WIDE", kWide}, {"S64", kS64}, {"U64", kU64}, {"S32", kSigned}, {"NAN", kNan},   {"RP", kUp},
    {"RM", kDown},   {"RZ", kZero}, {"L", kLeft},  {"W", kWrap},     {"BF16", kBf16}, {"MT88", kTransposed}};

const std::map<std::string, Mode> kModes = {
    {"UP", Mode::up},   {"DOWN", Mode::down}, {"BFLY", Mode::butterfly}, {"IDX", Mode::index},
    {"RCP", Mode::rcp}, {"RSQ", Mode::rsq},   {"RCP64H", Mode::rcp64h},  {"RSQ64H", Mode::rsq64h},
    {"OR", Mode::or_},  {"AND", Mode::and_},  {"MIN", Mode::min},        {"MAX", Mode::max},
    {"SUM", Mode::sum}, {"ANY", Mode::any},   {"ALL", Mode::all}};

const std::set<std::string> kWithoutMeaning = {
    "E",       "DEFER_BLOCKING", "SYNC", "STRONG", "GPU",   "MMA",   "LUT",     "REL",
    "NOINC",   "NODEC",          "F32",  "F64",    "TF32",  "M88",   "LU",      "ALL",
    "MOV",     "IADD",           "SHL",  "LE",     "TRUNC", "NTZ",   "BYPASS",  "RED",
    "R",       "RESULT",         "DIV",  "16",     "1688",  "16816", "PACK_AB", "COLLECTIVE",
    "LTC128B", "IVALL",          "SC"};

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts;
  std::string part;
  std::istringstream in(text);
  while (std::getline(in, part, by)) parts.push_back(part);
  return parts;
}

std::string trimmed(const std::string& s) {
  const auto first = s.find_first_not_of(' ');
  return first == std::string::npos ? "" : s.substr(first, s.find_last_not_of(' ') - first + 1);
}

// "R12" with prefix "R": 12.
bool numbered(const std::string& s, const std::string& prefix, int& index) {
  if (!s.starts_with(prefix) || s.size() == prefix.size()) return false;
  char* end = nullptr;
  const long number = std::strtol(s.c_str() + prefix.size(), &end, 10);
  if (*end != 0) return false;
  index = static_cast<int>(number);
  return true;
}

// R28.64+UR4+-0x8
void parse_address(const std::string& body, Operand& o, const std::string& text) {
  o.index = kZeroRegister;
  for (std::string part : split(body, '+')) {
    part = trimmed(part);
    if (part.ends_with(".64")) part.resize(part.size() - 3);
    if (part == "RZ" || part == "URZ") continue;
    if (numbered(part, "UR", o.uniform) || numbered(part, "R", o.index)) continue;
    if (part.find("0x") == std::string::npos) refuse(text, "no address: '" + part + "'");
    o.offset += static_cast<std::int32_t>(std::strtoll(part.c_str(), nullptr, 16));
  }
}

enum class Numbers : std::uint8_t { integer, single, twice, half };  // how decimal immediates are meant

std::uint32_t immediate(const std::string& s, Numbers numbers, const std::string& text) {
  if (s.find("0x") != std::string::npos)
    return static_cast<std::uint32_t>(std::strtoll(s.c_str(), nullptr, 16));
  if (numbers == Numbers::integer) refuse(text, "no operand: '" + s + "'");
  const bool none = s.ends_with("QNAN");
  if (numbers == Numbers::single && none) return s[0] == '-' ? 0xffc00000u : 0x7fc00000u;
  char* end = nullptr;
  const double x = std::strtod(s.c_str(), &end);
  if (none || *end != 0) refuse(text, "no number: '" + s + "'");
  if (numbers == Numbers::single) return std::bit_cast<std::uint32_t>(static_cast<float>(x));
  if (numbers == Numbers::half) return std::bit_cast<std::uint16_t>(static_cast<_Float16>(x));
  return static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(x) >> 32);
}

Operand parse_operand(std::string s, Numbers numbers, const std::string& text) {
  Operand o;
  if (const auto at = s.find(".reuse"); at != std::string::npos) s.erase(at, 6), o.reuse = true;
  if (s.starts_with("`(")) return o.kind = Kind::target, o;
  if (const auto at = s.find(".B");
      at != std::string::npos && at + 3 == s.size() && text.find("R2P") != std::string::npos)
    o.byte = static_cast<std::uint8_t>(s.back() - '0'), s.resize(at);
  const std::string unsigned_part = s.substr(s[0] == '-' || s[0] == '+' ? 1 : 0);
  const bool is_number = std::isdigit(static_cast<unsigned char>(unsigned_part[0])) ||
                         unsigned_part == "INF" || unsigned_part == "QNAN";
  if (is_number) return o.kind = Kind::immediate, o.value = immediate(s, numbers, text), o;
  if (s[0] == '-') o.negative = true, s.erase(0, 1);
  if (s[0] == '~' || s[0] == '!') o.inverted = true, s.erase(0, 1);
  if (s[0] == '|') o.absolute = true, s = s.substr(1, s.size() - 2);
  if (s.starts_with("desc[")) s.erase(0, s.find(']') + 1);  // how caches are to be used
  if (s[0] == '[') return o.kind = Kind::memory, parse_address(s.substr(1, s.size() - 2), o, text), o;
  if (s.starts_with("c[")) {
    const auto at = s.find('[', 2);
    o.kind = Kind::constant, o.bank = static_cast<std::uint8_t>(std::strtol(s.c_str() + 2, nullptr, 16));
    return parse_address(s.substr(at + 1, s.size() - at - 2), o, text), o;
  }
  if (s == "RZ") return o.kind = Kind::reg, o;
  if (s == "URZ") return o.kind = Kind::ureg, o.index = kZeroUniform, o;
  if (s == "PT" || s == "UPT") return o.kind = s == "PT" ? Kind::pred : Kind::upred, o.index = kTrue, o;
  if (const auto special = kSpecialRegisters.find(s); special != kSpecialRegisters.end())
    return o.kind = Kind::special, o.index = special->second, o;
  const std::pair<const char*, Kind> registers[] = {{"UR", Kind::ureg},    {"UP", Kind::upred},
                                                    {"R", Kind::reg},      {"P", Kind::pred},
                                                    {"SB", Kind::barrier}, {"B", Kind::barrier}};
  for (const auto& [prefix, kind] : registers)
    if (numbered(s, prefix, o.index)) return o.kind = kind, o;
  refuse(text, "no operand: '" + s + "'");
}

// Split at the commas that stand in no brackets.
std::vector<std::string> operands_of(const std::string& s) {
  std::vector<std::string> parts;
  std::string part;
  int depth = 0;
  for (const char c : s) {
    depth += (c == '(' || c == '[') - (c == ')' || c == ']');
    if (c == ',' && depth == 0) {
      parts.push_back(trimmed(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!trimmed(part).empty()) parts.push_back(trimmed(part));
  return parts;
}

void read_modifiers(Instruction& i, const std::vector<std::string>& parts) {
  const bool sets_predicate = i.op == Op::isetp || i.op == Op::fsetp || i.op == Op::dsetp;
  for (std::size_t k = 1; k < parts.size(); ++k) {
    const std::string& s = parts[k];
    if (sets_predicate && k == 1) {
      const auto compare = kCompares.find(s);
      if (compare == kCompares.end()) refuse(i.text, "no comparison: '" + s + "'");
      i.compare = compare->second;
    } else if (sets_predicate && (s == "AND" || s == "OR" || s == "XOR")) {
      i.combine = s == "AND" ? Combine::and_ : s == "OR" ? Combine::or_ : Combine::xor_;
    } else if (i.op == Op::ldsm && (s == "1" || s == "2" || s == "4")) {
      i.matrices = static_cast<std::uint8_t>(s[0] - '0');
    } else if (s == "64" || s == "128") {
      i.bytes = s == "64" ? 8 : 16;
    } else if (s == "U8" || s == "U16" || s == "S16") {
      i.bytes = s == "U8" ? 1 : 2;
      if (s == "S16") i.flags |= kSigned;
    } else if (s == "RELU" && (i.op == Op::vimnmx || i.op == Op::vimnmx3 || i.op == Op::viaddmnmx)) {
      i.flags |= kRelu;
    } else if (const auto flag = kFlags.find(s); flag != kFlags.end()) {
      i.flags |= flag->second;
    } else if (const auto mode = kModes.find(s); mode != kModes.end()) {
      i.mode = mode->second;
    } else if (!kWithoutMeaning.contains(s) &&
               !(i.op == Op::bra && s == "U")) {  // U: all lanes or none take it
      refuse(i.text, "no meaning of '" + s + "' here");
    }
  }
}

void read_guard(Instruction& i, std::string& s) {
  if (s[0] != '@') return;
  const auto blank = s.find(' ');
  std::string guard = s.substr(1, blank - 1);
  s = trimmed(s.substr(blank));
  if (guard[0] == '!') i.guard_not = true, guard.erase(0, 1);
  if (guard[0] == 'U') i.guard_uniform = true, guard.erase(0, 1);
  if (guard != "PT" && !numbered(guard, "P", i.guard)) refuse(i.text, "no guard: '" + guard + "'");
}

}  // namespace

Instruction decode(const std::string& text, std::string& label) {
  Instruction i;
  i.text = text;
  std::string s = text;
  read_guard(i, s);
  const auto blank = s.find(' ');
  const std::string name = s.substr(0, blank), rest = blank == std::string::npos ? "" : s.substr(blank);
  const auto parts = split(name, '.');
  if (name.starts_with("BAR.SYNC"))
    i.op = Op::bar_sync;
  else if (name.starts_with("BAR.RED"))
    i.op = Op::bar_red;
  else if (name == "BRA.DIV")
    i.op = Op::bra_div;
  else if (const auto op = kOps.find(parts[0]); op != kOps.end())
    i.op = op->second;
  else
    refuse(text, "no such opcode here");
  if (parts[0][0] == 'U') i.flags |= kUniform;
  if (i.op != Op::bar_sync) read_modifiers(i, parts);
  const Numbers numbers = i.op == Op::hfma2                          ? Numbers::half
                          : parts[0][0] == 'F' || i.op == Op::mufu   ? Numbers::single
                          : parts[0][0] == 'D' && i.op != Op::depbar ? Numbers::twice
                                                                     : Numbers::integer;
  const auto add = [&](const std::string& o) {
    if (i.count == i.operand.size()) refuse(text, "more operands than eight");
    i.operand[i.count++] = parse_operand(o, numbers, text);
  };
  for (const std::string& o : operands_of(rest)) {
    if (const auto at = o.find("`("); at != std::string::npos) label = o.substr(at + 2, o.size() - at - 3);
    const auto second = o.find(' ');  // "BRX R42 -0x437f0" and "RET.REL.NODEC R4 `(name)" have no comma
    add(o.substr(0, second));
    if (second != std::string::npos && (i.op == Op::brx || i.op == Op::ret)) add(trimmed(o.substr(second)));
  }
  while (i.first < i.count &&
         (i.operand[i.first].kind == Kind::pred || i.operand[i.first].kind == Kind::upred))
    ++i.first;
  return i;
}

}  // namespace occam::machine
