// Specifications of slab data: the named sets, and one test per error.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "occam/data.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"
#include "occam/slab.hpp"
#include "occam/statistics.hpp"
#include "support/slab_rows.hpp"

namespace occam {
namespace {

using namespace test;

std::vector<BlockKind> kinds(const std::vector<SlabCoordinate>& coordinates) {
  std::vector<BlockKind> result;
  for (const SlabCoordinate& c : coordinates) result.push_back(c.kind);
  return result;
}

TEST(SlabSpecs, LmsAndMs) {
  using enum BlockKind;
  EXPECT_EQ(kinds(lms(5, 3).coordinates), (std::vector{linear, slab5, slab5}));
  EXPECT_EQ(kinds(lms(7, 2).coordinates), (std::vector{linear, slab7}));
  EXPECT_EQ(kinds(ms(5, 7, 3).coordinates), (std::vector{slab5, slab7, slab7}));
  EXPECT_EQ(kinds(ms(3, 3, 2).coordinates), (std::vector{slab3, slab3}));
  EXPECT_EQ(lms(5).dim(), 50);
  EXPECT_EQ(lms(5).rows(), 110'000);
  EXPECT_TRUE(lms(5).rotate);
  for (const SlabCoordinate& c : ms(5, 7, 4, 0.125).coordinates) EXPECT_EQ(c.margin, 0.125);
}

TEST(SlabSpecs, CoordinatesComeInTheirOrder) {
  using enum BlockKind;
  const auto coordinates =
      slab_coordinates({.dim = 7, .linear = 1, .slabs3 = 1, .slabs5 = 2, .slabs7 = 1}, 0.05);
  EXPECT_EQ(kinds(coordinates), (std::vector{linear, slab3, slab5, slab5, slab7, unused, unused}));
  for (const SlabCoordinate& c : coordinates) EXPECT_EQ(c.margin, 0.05);
}

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  return "no error";
}

std::string refusal(const std::function<void(SlabSpec&)>& spoil) {
  SlabSpec spec = spec_of({{.kind = BlockKind::linear},
                           {.kind = BlockKind::slab3},
                           {.kind = BlockKind::slab5},
                           {.kind = BlockKind::slab7},
                           {.kind = BlockKind::unused}});
  validate(spec);
  spoil(spec);
  return message_of([&] { validate(spec); });
}

TEST(SlabErrors, Margin) {
  EXPECT_EQ(
      refusal([](SlabSpec& s) { s.coordinates[0].margin = 1; }),
      "slab coordinate 0 (linear): margin 1 leaves no room for the data; give one of at least 0 and below 1");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[1].margin = 0.5; }),
            "slab coordinate 1 (3-slab): margin 0.5 leaves no room for the data; give one of at least 0 and "
            "below 0.5");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[2].margin = 0.25; }),
            "slab coordinate 2 (5-slab): margin 0.25 leaves no room for the data; give one of at least 0 and "
            "below 0.25");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[3].margin = 0.2; }),
            "slab coordinate 3 (7-slab): margin 0.2 leaves no room for the data; give one of at least 0 and "
            "below 0.1667");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[3].margin = -0.1; }),
            "slab coordinate 3 (7-slab): margin -0.1 leaves no room for the data; give one of at least 0 and "
            "below 0.1667");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[0].margin = kNan; }),
            "slab coordinate 0 (linear): margin nan leaves no room for the data; give one of at least 0 and "
            "below 1");
}

TEST(SlabErrors, Noise) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[0].noise = 1.5; }),
            "slab coordinate 0 (linear): noise 1.5 is no share of the rows; give 0 to 1");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[0].noise = kNan; }),
            "slab coordinate 0 (linear): noise nan is no share of the rows; give 0 to 1");
}

TEST(SlabErrors, NoiseKind) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[0].noise = 0.1; }),
            "slab coordinate 0 (linear): label noise is not defined for this block; give margin or flip");
  EXPECT_EQ(refusal([](SlabSpec& s) {
              s.coordinates[2].noise = 0.1, s.coordinates[2].noise_kind = NoiseKind::flip;
            }),
            "slab coordinate 2 (5-slab): flip noise is not defined for this block; give margin or label");
  EXPECT_EQ(refusal([](SlabSpec& s) {
              s.coordinates[3].noise = 0.1, s.coordinates[3].noise_kind = NoiseKind::margin;
            }),
            "slab coordinate 3 (7-slab): margin noise is not defined for this block; give label");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[0].noise_kind = static_cast<NoiseKind>(9); }),
            "slab coordinate 0: unknown noise kind 9; give margin, flip or label");
}

TEST(SlabErrors, NoiseOfABlockWithoutNoise) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[1].noise = 0.1; }),
            "slab coordinate 1 (3-slab): such a block has no noise, but noise is 0.1; set it to 0");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[4].noise = 0.1; }),
            "slab coordinate 4 (unused): such a block has no noise, but noise is 0.1; set it to 0");
}

TEST(SlabErrors, Probabilities) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[2].inner_probability0 = 1.25; }),
            "slab coordinate 2 (5-slab): inner_probability0 is 1.25; give a probability of 0 to 1, or a "
            "negative number for "
            "the default");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[3].inner_probability1 = kNan; }),
            "slab coordinate 3 (7-slab): inner_probability1 is nan; give a probability of 0 to 1, or a "
            "negative number for "
            "the default");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[2].inner_probability1 = 0.5; }),
            "slab coordinate 2 (5-slab): inner_probability1 is 0.5, but this block has no such choice; leave "
            "it out");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[1].inner_probability0 = 0.5; }),
            "slab coordinate 1 (3-slab): inner_probability0 is 0.5, but this block has no such choice; leave "
            "it out");
}

TEST(SlabErrors, Shift) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[0].shift = kNan; }),
            "slab coordinate 0 (linear): shift nan is not finite in fp32");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[4].shift = 0.5; }),
            "slab coordinate 4 (unused): shift is 0.5, but an unused coordinate is not shifted; set it to 0");
}

TEST(SlabErrors, Kind) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates[0].kind = static_cast<BlockKind>(7); }),
            "slab coordinate 0: unknown block kind 7; give linear, slab3, slab5, slab7 or unused");
}

TEST(SlabErrors, Width) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.width = 0; }),
            "slab data: width 0 is not positive and finite in fp32");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.width = kNan; }),
            "slab data: width nan is not positive and finite in fp32");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.width = 1e39; }),
            "slab data: width 1e+39 is not positive and finite in fp32");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.width = 1e-50; }),
            "slab data: width 1e-50 is not positive and finite in fp32");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.unused_limit = kNan; }),
            "slab data: unused_limit nan is not finite in fp32");
}

TEST(SlabErrors, Rows) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.train = s.test = 0; }),
            "slab data: no rows; give train, validation or test rows");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.validation = -1; }),
            "slab data: -1 validation rows; give 0 to 2147483647");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.train = std::int64_t{1} << 31; }),
            "slab data: 2147483648 train rows; give 0 to 2147483647");
  EXPECT_EQ(refusal([](SlabSpec& s) { s.train = s.test = 0x40000000; }),
            "slab data: 2147483648 rows in all are more than 2147483647; ask for fewer");
}

TEST(SlabErrors, Coordinates) {
  EXPECT_EQ(refusal([](SlabSpec& s) { s.coordinates.clear(); }), "slab data: 0 coordinates; give 1 to 16384");
  EXPECT_EQ(message_of([] { slab_coordinates({.dim = 0}); }), "slab data: dim is 0; give 1 to 16384");
  EXPECT_EQ(
      message_of([] { slab_coordinates({.dim = 3, .linear = -1}); }),
      "slab data: -1 linear, 0 3-slab, 0 5-slab and 0 7-slab coordinates; a count must not be negative");
  EXPECT_EQ(message_of([] { slab_coordinates({.dim = 3, .linear = 2, .slabs7 = 2}); }),
            "slab data: 4 blocks do not fit into 3 coordinates; raise dim or drop blocks");
  EXPECT_EQ(message_of([] { lms(4); }), "slab data: there is no 4-slab block; give 3, 5 or 7");
  EXPECT_EQ(message_of([] { ms(9, 7); }), "slab data: there is no 9-slab block; give 3, 5 or 7");
  EXPECT_EQ(message_of([] { ms(5, 7, 0); }), "slab data: dim is 0; give 1 to 16384");
}

TEST(SlabErrors, AsManyRowsAsThereMayBe) {
  SlabSpec spec = lms(5);
  spec.train = spec.validation = 0, spec.test = kMostRows;
  EXPECT_NO_THROW(validate(spec));
  spec.test = kMostRows + 1;
  EXPECT_THROW(validate(spec), Error);
}

TEST(SlabErrors, TheMakerValidates) {
  SlabSpec spec = lms(5);
  spec.coordinates[3].margin = 2;
  EXPECT_EQ(message_of([&] { slab_data(spec, {0}); }),
            "slab coordinate 3 (5-slab): margin 2 leaves no room for the data; give one of at least 0 and "
            "below 0.25");
}

}  // namespace
}  // namespace occam
