// Machine code of kernels as nvdisasm prints it, decoded.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace occam::machine {

inline constexpr int kZeroRegister = 255, kZeroUniform = 63, kTrue = 7;  // RZ, URZ, PT and UPT

struct Operand {
  enum class Kind : std::uint8_t {
    none,
    reg,
    ureg,
    pred,
    upred,
    immediate,
    constant,
    memory,
    target,
    special,
    barrier
  };
  Kind kind = Kind::none;
  bool negative = false, absolute = false, inverted = false;  // -x, |x|, ~x or !p
  bool reuse = false;
  std::uint8_t byte = 0;  // of a register, from which on it counts: R2P's alone
  std::uint8_t bank = 0;  // constant
  int index =
      kZeroRegister;  // of a register, predicate, barrier or special register; memory, constant: the base
  int uniform = kZeroUniform;  // memory and constant: a uniform register added to it
  std::int32_t offset = 0;     // memory and constant, B
  std::uint32_t value = 0;     // immediate: its bits; target: index of an instruction
};

enum Special : int {
  kTidX,
  kTidY,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kLaneId,
  kClusterCtaid,
  kSharedWindow,
  kZeros,
  kPredicates
};

enum class Op : std::uint8_t {
  atoms,
  b2r,
  bar_red,
  bar_sync,
  bra,
  bra_div,
  brk,
  brx,
  bssy,
  bsync,
  call,
  cs2r,
  dadd,
  depbar,
  dfma,
  dmul,
  dsetp,
  endcollective,
  exit,
  f2f,
  f2fp,
  f2i,
  fadd,
  fchk,
  fence,  // of memory; accesses are in order here
  ffma,
  fmnmx,
  fmul,
  fsel,
  fsetp,
  hfma2,
  hmma,
  i2f,
  iabs,
  iadd3,
  imad,
  isetp,
  ldc,
  ldg,
  ldgdepbar,
  ldgsts,
  ldl,
  lds,
  ldsm,
  lea,
  lop3,
  mov,
  mufu,
  nop,
  p2r,
  plop3,
  popc,
  prmt,
  r2p,
  r2ur,
  redg,
  redux,
  ret,
  s2r,
  sel,
  shf,
  shfl,
  stg,
  stl,
  sts,
  uflo,
  viadd,
  viaddmnmx,
  vimnmx,
  vimnmx3,
  vote,
  warpsync,
  yield
};

// What an opcode's modifiers say, where it matters here.
enum Flag : std::uint32_t {
  kU32 = 1u << 0,
  kU64 = 1u << 1,
  kS64 = 1u << 2,
  kSigned = 1u << 3,  // integers
  kX = 1u << 4,
  kHi = 1u << 5,
  kEx = 1u << 6,
  kSx32 = 1u << 7,
  kWide = 1u << 8,
  kLeft = 1u << 9,
  kWrap = 1u << 10,
  kFtz = 1u << 11,
  kNan = 1u << 12,
  kUp = 1u << 13,
  kDown = 1u << 14,
  kZero = 1u << 15,  // floats, rounding
  kBf16 = 1u << 16,
  kTransposed = 1u << 17,
  kUniform = 1u << 18,  // executed once for the warp
  kRelu = 1u << 19      // minimum and maximum: no less than 0
};
enum class Compare : std::uint8_t { f, lt, eq, le, gt, ne, ge, ltu, equ, leu, gtu, neu, geu, num, nan };
enum class Combine : std::uint8_t { and_, or_, xor_ };
enum class Mode : std::uint8_t {
  none,
  up,
  down,
  butterfly,
  index,  // shfl
  rcp,
  rsq,
  rcp64h,
  rsq64h,  // mufu
  or_,
  and_,
  min,
  max,
  sum,
  any,
  all  // atomics, redux, vote, bar.red
};

struct Instruction {
  Op op = Op::nop;
  std::uint32_t flags = 0;
  Compare compare = Compare::f;
  Combine combine = Combine::and_;
  Mode mode = Mode::none;
  std::uint8_t bytes = 4;     // a lane loads or stores
  std::uint8_t matrices = 0;  // ldsm
  int guard = kTrue;
  bool guard_not = false, guard_uniform = false;
  std::uint8_t count = 0, first = 1;  // operands; the first source among them
  std::array<Operand, 8> operand;
  std::uint32_t address = 0;
  // The scheduler's part of the control word; barriers: 7 for none; wait: a bit a barrier.
  std::uint8_t stall = 0, write_barrier = 7, read_barrier = 7, wait = 0;
  std::string text;

  bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
};

struct Parameter {
  std::uint32_t offset = 0, bytes = 0;
};

struct Code {
  std::string name;  // mangled
  std::vector<Instruction> instructions;
  std::map<std::uint32_t, std::uint32_t> at;  // address -> index
  std::vector<Parameter> parameters;
  std::uint32_t parameter_base = 0;                    // in constant bank 0
  std::uint32_t shared = 0;                            // static, with what the driver keeps; B
  std::uint32_t frame = 0;                             // local memory of a lane, B
  std::uint32_t registers = 0;                         // of a lane
  std::map<int, std::vector<std::uint8_t>> constants;  // bank -> bytes
};

// One instruction as nvdisasm writes it, "@!P0 FFMA R1, R2.reuse, -R3, R4"; `label`: where it jumps to, if it does.
// Throws std::runtime_error where an opcode, a modifier or an operand has no meaning here.
Instruction decode(const std::string& text, std::string& label);

// Kernels of a listing that tools/machine wrote, by name.
std::map<std::string, Code> read_codes(const std::string& file);

}  // namespace occam::machine
