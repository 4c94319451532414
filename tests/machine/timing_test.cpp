// The model's rules one by one, on small programs.
#include <gmock/gmock.h>

#include "machine/register_ports.hpp"
#include "machine/timing.hpp"
#include "machine/wavefronts.hpp"
#include "program.hpp"

namespace occam::machine {
namespace {

constexpr std::uint32_t kAll = ~0u;

// Cycles of `warps` warps that run `body` once more than those that run it never.
std::uint64_t cycles(const std::string& body, std::uint32_t warps = 1) {
  const auto whole = [&](const std::string& text) {
    const Code code = assembled("NOP\n" + text + "\nEXIT\n");
    Launch launch{
        .code = &code, .grid = {}, .block = {32 * warps, 1, 1}, .parameters = {}, .dynamic_shared = 4096};
    std::vector<BlockTrace> traces;
    run(launch, {}, &traces);
    return time(code, traces, 1).cycles;
  };
  return whole(body) - whole("");
}

std::string times(int n, const std::string& text) {
  std::string all;
  for (int k = 0; k < n; ++k) all += text + "\n";
  return all;
}

TEST(Timing, AStallCountIsWaitedForByOneWarpAndHiddenByFour) {
  const std::string chain = times(10, "4| FFMA R4, R5, RZ, R4");
  EXPECT_EQ(cycles(chain, 1), 40u);
  EXPECT_EQ(cycles(chain, 4), 40u) << "one a scheduler";
  EXPECT_LE(cycles(chain, 16), 44u) << "four a scheduler fill the gaps";
}

TEST(Timing, PipesHaveRates) {
  EXPECT_EQ(cycles(times(10, "1| FFMA R4, R6, RZ, R5")), 10u);
  EXPECT_EQ(cycles(times(10, "1| IADD3 R4, R6, R7, RZ")), 19u) << "every other cycle";
  EXPECT_EQ(cycles(times(10, "1| IMAD R4, R6, R7, RZ")), 19u);
}

TEST(Timing, ATakenBranchCosts) {
  const std::uint64_t taken = cycles("5| BRA `(L)\nL:"), passed = cycles("5| @!PT BRA `(L)\nL:");
  EXPECT_EQ(taken, static_cast<std::uint64_t>(Chip{}.branch));
  EXPECT_EQ(passed, 5u);
}

TEST(Timing, TheLastWarpAtABarrierLetsAllGoOn) {
  // Four warps, one a scheduler; the first is late by its own chain.
  const std::string late = R"(
    S2R R1, SR_TID.X
    ISETP.GT.AND P0, PT, R1, 0x1f, PT
    5| @P0 BRA `(MEET)
    100| NOP
    MEET:
    BAR.SYNC.DEFER_BLOCKING 0x0)";
  EXPECT_GT(cycles(late, 4), 15u + static_cast<std::uint64_t>(Chip{}.barrier_latency));
  EXPECT_EQ(cycles(late, 1), cycles(late, 4)) << "nobody waits longer than for the latest";
}

TEST(Timing, BlocksTakeTurnsOnAMultiprocessor) {
  const Code code = assembled(times(100, "4| FFMA R4, R5, RZ, R4") + "EXIT\n");
  Launch launch{.code = &code, .grid = {4, 1, 1}, .block = {32, 1, 1}, .parameters = {}, .dynamic_shared = 0};
  std::vector<BlockTrace> traces;
  run(launch, {}, &traces);
  const std::uint64_t one = time(code, {traces[0]}, 1).cycles;
  EXPECT_EQ(time(code, traces, 4).cycles, one);
  EXPECT_EQ(time(code, traces, 1).cycles, 4 * one + 3 * static_cast<std::uint64_t>(Chip{}.block_start) - 3);
  const Timed timed = time(code, traces, 2);
  EXPECT_EQ(timed.issued, 4u * 101u);
  EXPECT_EQ(timed.issued + timed.idle, 4 * timed.cycles);
}

TEST(Timing, HowManyBlocksFit) {
  Code code;
  code.registers = 255;
  EXPECT_EQ(resident_blocks(code, 8, 1024), 1);
  EXPECT_EQ(resident_blocks(code, 2, 1024), 4);
  code.registers = 168;
  EXPECT_EQ(resident_blocks(code, 4, 1024), 3);
  EXPECT_EQ(resident_blocks(code, 4, 100 << 10), 2);
  code.registers = 16;
  EXPECT_EQ(resident_blocks(code, 8, 1024), 8);
}

TEST(RegisterPorts, ABankGivesOneRegisterACycle) {
  std::string label;
  const auto sources = [&](const std::string& text) { return source_registers(decode(text, label)); };
  RegisterPorts ports;
  EXPECT_TRUE(ports.read(10, 0, sources("FFMA R0, R2, R3, R4")));   // two of the even bank: at 10 and 11
  EXPECT_FALSE(ports.read(11, 0, sources("FFMA R0, R6, R7, R9")));  // needs that bank
  EXPECT_TRUE(ports.read(12, 0, sources("FFMA R0, R6, R7, R9")));
  EXPECT_TRUE(ports.read(14, 0, sources("FFMA R0, R2, R4, R6")));  // three of one bank: 14 to 16
  EXPECT_TRUE(ports.read(15, 0, sources("FADD R0, R1, RZ")));      // the other bank is free
  EXPECT_FALSE(ports.read(16, 0, sources("FADD R0, R2, RZ")));
  EXPECT_TRUE(ports.read(17, 0, sources("FADD R0, R2, RZ")));
}

TEST(RegisterPorts, AnOperandAtHandIsNotReadAgain) {
  std::string label;
  const auto sources = [&](const std::string& text) { return source_registers(decode(text, label)); };
  RegisterPorts ports;
  EXPECT_TRUE(ports.read(0, 0, sources("FFMA R0, R2.reuse, R3, R5")));  // the odd bank at 0 and 1
  EXPECT_TRUE(ports.read(2, 0, sources("FFMA R0, R2.reuse, R3, R4")));  // one a bank
  EXPECT_TRUE(ports.read(3, 0, sources("FFMA R0, R2, R3, R4")));        // likewise
  EXPECT_TRUE(
      ports.read(4, 0, sources("FFMA R0, R2, R3, R4")));  // not at hand any more: the even bank at 4, 5
  EXPECT_FALSE(ports.read(5, 0, sources("FADD R0, R2, RZ")));
  RegisterPorts other;
  EXPECT_TRUE(other.read(0, 0, sources("FFMA R0, R2.reuse, R3, RZ")));
  EXPECT_TRUE(other.read(1, 1, sources("FFMA R0, R2, R4, RZ")));  // another warp's: both are read
  EXPECT_FALSE(other.read(2, 1, sources("FADD R0, R2, RZ")));
}

TEST(Wavefronts, OfAccessesToSharedMemory) {
  std::array<std::uint32_t, 32> address{};
  const auto of = [&](auto place, std::size_t bytes, bool load = true, std::uint32_t mask = kAll) {
    for (std::uint32_t l = 0; l < 32; ++l) address[l] = place(l);
    return wavefronts(address, mask, bytes, load);
  };
  EXPECT_EQ(of([](std::uint32_t l) { return 4 * l; }, 4), 1);
  EXPECT_EQ(of([](std::uint32_t l) { return 8 * l; }, 4), 2);
  EXPECT_EQ(of([](std::uint32_t l) { return 128 * l; }, 4), 32);
  EXPECT_EQ(of([](std::uint32_t) { return 64u; }, 4), 1) << "one word for all";
  EXPECT_EQ(of([](std::uint32_t l) { return 16 * l; }, 16), 4);
  EXPECT_EQ(of([](std::uint32_t l) { return 16 * (l / 2); }, 16), 2) << "neighbours share";
  EXPECT_EQ(of([](std::uint32_t l) { return 16 * (l / 2); }, 16, false), 4) << "stores do not";
  EXPECT_EQ(of([](std::uint32_t l) { return 128 * l; }, 4, true, 0xf), 4) << "four lanes";
}

}  // namespace
}  // namespace occam::machine
