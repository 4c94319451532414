// What instructions compute, by hand.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <stdexcept>

#include "program.hpp"

namespace occam::machine {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::uint32_t lane(const std::string& body, std::size_t l = 5) { return ran(body).value.at(l); }
float as_float(std::uint32_t x) { return std::bit_cast<float>(x); }

TEST(Integers, CarriesPassFromWordToWord) {
  EXPECT_EQ(lane("MOV R6, 0xfffffffb\nIADD3 R7, P0, R6, R0, RZ\nIADD3.X R10, RZ, RZ, RZ, P0, !PT"), 1u);
  EXPECT_EQ(lane("MOV R6, 0xfffffffa\nIADD3 R7, P0, R6, R0, RZ\nIADD3.X R10, RZ, RZ, RZ, P0, !PT"), 0u);
  EXPECT_EQ(lane("IADD3 R7, P0, R0, -R0, RZ\nIADD3.X R10, RZ, ~RZ, RZ, P0, !PT"), 0u)
      << "5 - 5 has no borrow";
  EXPECT_EQ(lane("IADD3 R7, P0, R0, -0x6, RZ\nIADD3.X R10, RZ, ~RZ, RZ, P0, !PT"), ~0u);
}

TEST(Integers, ProductsOfTwoWords) {
  EXPECT_EQ(lane("MOV R6, 0x80000000\nIMAD.WIDE.U32 R8, R6, R0, RZ\nMOV R10, R9"), 2u);
  EXPECT_EQ(lane("MOV R6, 0x80000000\nIMAD.WIDE R8, R6, R0, RZ\nMOV R10, R9"),
            static_cast<std::uint32_t>(-3));
  EXPECT_EQ(lane("MOV R6, RZ\nMOV R7, 0x10\nMOV R8, 0x80000000\nIMAD.HI.U32 R10, R8, R0, R6"), 18u)
      << "what is added is a pair";
}

TEST(Integers, ShiftsAndPlaces) {
  EXPECT_EQ(lane("MOV R6, 0x40000000\nLEA.HI R10, R6, R0, RZ, 0x2"), 6u);
  EXPECT_EQ(lane("MOV R6, 0xfffffff0\nLEA.HI.SX32 R10, R6, R0, 0x1c"), 4u);
  EXPECT_EQ(lane("MOV R6, 0x21\nMOV R7, 0x1\nSHF.L.U32 R10, R7, R6, RZ"), 0u) << "shifts end at the word";
  EXPECT_EQ(lane("MOV R6, 0x21\nMOV R7, 0x1\nSHF.L.W.U32 R10, R7, R6, RZ"), 2u) << "these wrap";
  EXPECT_EQ(lane("MOV R6, 0x80000000\nSHF.R.S32.HI R10, RZ, 0x1f, R6"), ~0u);
  EXPECT_EQ(lane("MOV R6, 0x11\nMOV R7, 0x22\nSHF.R.U64 R10, R6, 0x4, R7"), 0x20000001u);
  EXPECT_EQ(lane("MOV R6, 0x83828180\nMOV R7, 0x7060504\nPRMT R10, R6, 0x9751, R7"), 0xff070581u);
  EXPECT_EQ(lane("UMOV UR4, 0x8081\nUPRMT UR5, UR4, 0x9910, URZ\nMOV R10, UR5"), 0xffff8081u);
}

TEST(Integers, LookUpBitByBit) {
  EXPECT_EQ(lane("MOV R6, 0xc\nMOV R7, 0xa\nLOP3.LUT R10, R6, R7, RZ, 0x3c, !PT"), 6u);
  EXPECT_EQ(lane("MOV R6, 0xc\nLOP3.LUT P0, RZ, R6, 0x3, RZ, 0xc0, !PT\nSEL R10, R0, RZ, P0"), 0u);
  EXPECT_EQ(
      lane("ISETP.GT.AND P1, PT, R0, 0x4, PT\nPLOP3.LUT P0, PT, P1, PT, PT, 0x80, 0x0\nSEL R10, R0, RZ, P0"),
      5u);
  EXPECT_EQ(lane("UPLOP3.LUT UP0, UPT, UPT, UPT, UPT, 0x80, 0x0\n@UP0 MOV R10, 0x7"), 7u);
  EXPECT_EQ(lane("MOV R10, 0x6\nUPLOP3.LUT UP0, UPT, UPT, UPT, UPT, 0x40, 0x0\n@UP0 MOV R10, 0x7"), 6u);
}

TEST(Integers, LeastAndLargest) {
  EXPECT_EQ(lane("VIMNMX R10, R0, 0x3, PT"), 3u);
  EXPECT_EQ(lane("VIMNMX R10, R0, 0x3, !PT"), 5u);
  EXPECT_EQ(lane("MOV R6, 0xfffffffd\nVIMNMX R10, R6, 0x3, PT"), static_cast<std::uint32_t>(-3));
  EXPECT_EQ(lane("MOV R6, 0xfffffffd\nVIMNMX.RELU R10, R6, 0x3, PT"), 0u) << "no less than 0";
  EXPECT_EQ(lane("VIMNMX.RELU R10, R0, 0x3, PT"), 3u);
  EXPECT_THAT([] { lane("IADD3.RELU R10, R0, R0, RZ"); },
              ThrowsMessage<std::runtime_error>(HasSubstr("no meaning of 'RELU'")));
}

TEST(Integers, SetPredicatesFromAByte) {
  const std::string bits = "MOV R6, 0x100\n";
  EXPECT_EQ(lane(bits + "R2P PR, R6, 0x7f\nSEL R10, 0x1, RZ, P0"), 0u);
  EXPECT_EQ(lane(bits + "R2P PR, R6.B1, 0x7f\nSEL R10, 0x1, RZ, P0"), 1u);
  EXPECT_EQ(lane(bits + "R2P PR, R6.B1, 0x7f\nSEL R10, 0x1, RZ, P1"), 0u);
  EXPECT_THAT([] { lane("IADD3 R10, R6.B1, R0, RZ"); },
              ThrowsMessage<std::runtime_error>(HasSubstr("no operand: 'R6.B1'")));
}

TEST(Integers, ComparesPairs) {
  const std::string pair = "MOV R6, 0x1\nMOV R7, 0x2\nISETP.GE.U32.AND P0, PT, R6, R0, PT\n";
  EXPECT_EQ(lane(pair + "ISETP.GE.AND.EX P0, PT, R7, 0x2, PT, P0\nSEL R10, 0x1, RZ, P0"), 0u);
  EXPECT_EQ(lane(pair + "ISETP.GE.AND.EX P0, PT, R7, 0x1, PT, P0\nSEL R10, 0x1, RZ, P0"), 1u);
}

TEST(Floats, AreRoundedOnce) {
  const float a = 1.0f + 0x1p-12f, product = a * a;
  const std::string both = "MOV R6, 0x3f800800\nFFMA R10, R6, R6, -1.00048828125";
  EXPECT_EQ(as_float(lane(both)), std::fma(a, a, -product));
  EXPECT_EQ(as_float(lane("MOV R6, 0x3f800800\nFMUL R7, R6, R6\nFADD R10, R7, -1.00048828125")), 0.0f);
}

TEST(Floats, NanAndZerosAndDenormals) {
  EXPECT_EQ(lane("FMNMX.NAN R10, RZ, +QNAN, PT"), 0x7fffffffu);
  EXPECT_EQ(lane("MOV R6, 0x80000000\nFMNMX.NAN R10, R6, RZ, PT"), 0x80000000u);
  EXPECT_EQ(lane("FSETP.GTU.AND P0, PT, RZ, +QNAN, PT\nSEL R10, 0x1, RZ, P0"), 1u);
  EXPECT_EQ(lane("FSETP.GT.AND P0, PT, RZ, +QNAN, PT\nSEL R10, 0x1, RZ, P0"), 0u);
  EXPECT_EQ(lane("MOV R6, 0x1\nFADD R10, R6, RZ"), 1u);
  EXPECT_EQ(lane("MOV R6, 0x1\nFADD.FTZ R10, R6, RZ"), 0u);
  EXPECT_EQ(lane("HFMA2.MMA R10, -RZ, RZ, 1.875, 0"), 0x3f800000u) << "how nvcc loads 1";
  EXPECT_EQ(lane("FFMA.RP R10, RZ, RZ, 1"), 0x3f800000u);
}

TEST(Lanes, ReadFromOneAnother) {
  std::vector<std::uint32_t> down, vote(32, 0xfffffff8u);
  for (std::uint32_t l = 0; l < 32; ++l) down.push_back(l < 28 ? l + 4 : l);
  EXPECT_THAT(ran("SHFL.DOWN PT, R10, R0, 0x4, 0x1f").value, ElementsAreArray(down));
  EXPECT_THAT(ran("ISETP.GT.AND P0, PT, R0, 0x2, PT\nVOTE.ANY R10, PT, P0").value, ElementsAreArray(vote));
  EXPECT_EQ(lane("ISETP.GE.AND P0, PT, R0, RZ, PT\nVOTE.ALL P1, P0\nSEL R10, 0x1, RZ, P1"), 1u);
  EXPECT_EQ(lane("ISETP.GT.AND P0, PT, R0, 0x2, PT\nVOTEU.ALL UP1, P0\n@UP1 MOV R10, 0x7"), 0u);
  EXPECT_THAT(ran("REDUX.SUM.S32 UR5, R0\nMOV R10, UR5").value, Each(496u));
}

TEST(Lanes, PartAndMeetAgain) {
  // Each lane counts to its number; all are together when they vote.
  const std::string body = R"(
    MOV R10, RZ
    BSSY B0, `(END)
    LOOP:
    ISETP.GE.AND P0, PT, R10, R0, PT
    @P0 BRA `(OUT)
    IADD3 R10, R10, 0x1, RZ
    BRA `(LOOP)
    OUT:
    BSYNC B0
    END:
    VOTE.ANY R11, PT, PT
    ISETP.EQ.AND P1, PT, R11, -0x1, PT
    @!P1 MOV R10, 0x63)";
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t l = 0; l < 32; ++l) numbers.push_back(l);
  EXPECT_THAT(ran(body).value, ElementsAreArray(numbers));
}

TEST(Blocks, HandOverAtABarrier) {
  const std::string body = R"(
    IMAD R6, R0, 0x4, RZ
    STS [R6+0x400], R0
    BAR.SYNC.DEFER_BLOCKING 0x0
    LOP3.LUT R7, R0, 0x20, RZ, 0x3c, !PT
    IMAD R7, R7, 0x4, RZ
    LDS R10, [R7+0x400])";
  std::vector<std::uint32_t> swapped;
  for (std::uint32_t t = 0; t < 64; ++t) swapped.push_back(t ^ 32);
  EXPECT_THAT(ran(body, 64).value, ElementsAreArray(swapped));
}

TEST(Blocks, ABarrierThatNotAllReach) {
  EXPECT_THAT([] { ran("ISETP.GT.AND P0, PT, R0, 0x1f, PT\n@P0 BAR.SYNC.DEFER_BLOCKING 0x1, 0x40", 64); },
              ThrowsMessage<std::runtime_error>(HasSubstr("a barrier that not all threads reach")));
}

TEST(Memory, IsCheckedForBoundsAndAlignment) {
  const auto refused = [](const std::string& body, const std::string& why) {
    EXPECT_THAT([&] { ran(body); }, ThrowsMessage<std::runtime_error>(HasSubstr(why))) << body;
  };
  refused("LDG.E R10, desc[UR4][R2.64+0x80]", "4 bytes beyond an allocation of 128 (block 0, 0, thread 0)");
  refused("LDG.E.64 R10, desc[UR4][R2.64+0x4]", "not aligned");
  refused("MOV R6, 0x1ffc\nLDS R10, [R6]", "shared memory at 8188 of 5120 bytes");
  refused("MOV R6, RZ\nMOV R7, RZ\nLDG.E R10, desc[UR4][R6.64]", "memory that nobody has");
  refused("LDC R10, c[0x0][0x1000]", "a constant bank is read beyond its end");
  refused("LDG.E R10, desc[UR4][R2.64], P0", "an operand that has no meaning here");
}

TEST(Memory, CopiesPutZerosWhereTheirPredicateIsNotSet) {
  // Lanes from 4 on copy nothing, and may have any address.
  const std::string body = R"(
    MOV R7, RZ
    IMAD R6, R0, 0x4, RZ
    STS [R6+0x400], R0
    ISETP.LT.AND P0, PT, R0, 0x4, PT
    SEL R8, R2, RZ, P0
    SEL R9, R3, RZ, P0
    LDGSTS.E [R6+0x400], desc[UR4][R8.64], P0
    LDS R10, [R6+0x400])";
  std::vector<std::uint32_t> expected(32, 0u);
  std::fill_n(expected.begin(), 4, 7u);
  EXPECT_THAT(ran(body).value, ElementsAreArray(expected));
}

TEST(Memory, WhatIsLoadedMayHoldItsOwnAddress) {
  EXPECT_EQ(lane("UMOV UR4, 0x200\nULDC.64 UR4, c[0x0][UR4+0x10]\nMOV R10, UR5"), lane("MOV R10, R3"));
}

TEST(Decoding, RefusesWhatItDoesNotKnow) {
  std::string label;
  EXPECT_THAT([&] { decode("FROB R1, R2", label); },
              ThrowsMessage<std::runtime_error>(HasSubstr("no such opcode here")));
  EXPECT_THAT([&] { decode("IADD3.FROB R1, R2, R3, R4", label); },
              ThrowsMessage<std::runtime_error>(HasSubstr("no meaning of 'FROB' here")));
  EXPECT_THAT([&] { decode("IADD3 R1, R2, X3, R4", label); },
              ThrowsMessage<std::runtime_error>(HasSubstr("no operand: 'X3'")));
}

}  // namespace
}  // namespace occam::machine
