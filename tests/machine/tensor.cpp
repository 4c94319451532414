// mma.sync m16n8k8 in TF32 and m16n8k16 in BF16. Products are exact and their sum is rounded once; hardware adds them
// in an order of its own. Lane l is in group l / 4, at place l % 4 of it.
#include "operands.hpp"

namespace occam::machine {

void tensor(Block& block, Warp& warp, const Instruction& i, std::uint32_t mask) {
  const Operands on(block, warp, i);
  if (mask != kAllLanes) stop(i, "some lanes multiply");
  const auto& o = i.operand;
  const auto reg = [&](const Operand& r, int k) -> const Lanes& {
    static const Lanes zeros;
    return r.index == kZeroRegister ? zeros : warp.registers[static_cast<std::size_t>(r.index + k)];
  };
  const bool bf16 = i.has(kBf16);
  const int depth = bf16 ? 16 : 8;
  float a[16][16], b[16][8];
  for (std::size_t l = 0; l < 32; ++l) {
    const std::size_t g = l / 4, t = l % 4;
    for (std::size_t k = 0; k < 4; ++k) {
      const std::uint32_t x = reg(o[1], static_cast<int>(k))[l];
      const std::size_t row = g + 8 * (k & 1);
      if (bf16) {
        a[row][2 * t + 8 * (k / 2)] = bits<float>(x << 16);
        a[row][2 * t + 8 * (k / 2) + 1] = bits<float>(x & 0xffff0000u);
      } else {
        a[row][t + 4 * (k / 2)] = bits<float>(x & ~0x1fffu);
      }
    }
    for (std::size_t k = 0; k < 2; ++k) {
      const std::uint32_t x = reg(o[2], static_cast<int>(k))[l];
      if (bf16) {
        b[2 * t + 8 * k][g] = bits<float>(x << 16);
        b[2 * t + 8 * k + 1][g] = bits<float>(x & 0xffff0000u);
      } else {
        b[t + 4 * k][g] = bits<float>(x & ~0x1fffu);
      }
    }
  }
  std::array<Lanes, 4> out;
  for (std::size_t l = 0; l < 32; ++l)
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t row = l / 4 + 8 * (k / 2), column = 2 * (l % 4) + (k & 1);
      double sum = bits<float>(reg(o[3], static_cast<int>(k))[l]);
      for (int d = 0; d < depth; ++d) sum += static_cast<double>(a[row][d]) * b[d][column];
      out[k][l] = canonical(static_cast<float>(sum));
    }
  for (int k = 0; k < 4; ++k) on.put(o[0], mask, out[static_cast<std::size_t>(k)], k);
}

}  // namespace occam::machine
