// One value of slab data, for the host and the device alike. Everything that depends on a coordinate but not
// on a row is a constant of its SlabColumn, computed on the host in double precision and rounded once, so
// what is left is one Philox draw, four selections and one fmaf: no branch on the kind of block, and a loop
// over rows vectorises.
//
// The noise needs no draw of its own: a noisy row forgets its clean value, so position and sign may be used
// again, and only the choice of the slab takes a word of its own. Hence noise moves the noisy rows and no
// other.
//
// Rows are independent and identically distributed, and the noisy ones are picked by a keyed permutation of
// all rows. Rows are therefore exchangeable as they come: the first `test` rows are the test set, then come
// validation and train. That is the distribution of the original's "generate, shuffle, split", with the exact
// noise counts over all rows.
#pragma once

#include <cstdint>
#include <vector>

#include "law/functions.hpp"
#include "occam/permutation.hpp"
#include "occam/philox.hpp"
#include "occam/slab.hpp"

namespace occam::law {

// |x| = offset + width · U in one of two intervals, a sign, and a shift. The first index is the label.
struct SlabMixture {
  float offset[2][2] = {}, width[2][2] = {};  // [label][0: inner, 1: outer]
  std::int32_t last_inner[2] = {};  // inner when the branch word's upper 31 bits are at most this; −1: never
  std::uint32_t sign[2] = {};       // 0 or 2^31: toggles the sign of this label's values
  std::uint32_t random_sign = 0;    // 0 or 2^31: 2^31 lets the sign word's upper bit decide
  float shift = 0;
};

struct SlabColumn {
  SlabMixture clean, noisy;
  std::uint32_t noisy_rows = 0;               // of all rows
  KeyedPermutation noise_order{Philox{}, 1};  // the row at place p is noisy when p < noisy_rows
};

// Host only. One column per coordinate; the specification must have passed validate().
std::vector<SlabColumn> slab_columns(const SlabSpec& spec, std::uint32_t data_seed);

// Host only. Rows [first, first + count) before the rotation. x: [count][columns], y: [count].
void slab_rows(const std::vector<SlabColumn>& columns, std::uint32_t data_seed, std::int64_t first,
               std::int64_t count, float* x, std::int32_t* y);

OCCAM_HD std::int32_t slab_label(std::uint32_t data_seed, std::uint32_t row) {
  return static_cast<std::int32_t>(draw(data_seed, Stream::slab_label, row).word[0] >> 31);
}

OCCAM_HD float slab_value_of(const SlabMixture& mixture, std::uint32_t position, std::uint32_t sign,
                             std::uint32_t branch, std::int32_t label) {
  const bool one = label != 0;
  const bool outer =
      static_cast<std::int32_t>(branch >> 1) > (one ? mixture.last_inner[1] : mixture.last_inner[0]);
  const float inner_offset = one ? mixture.offset[1][0] : mixture.offset[0][0];
  const float outer_offset = one ? mixture.offset[1][1] : mixture.offset[0][1];
  const float inner_width = one ? mixture.width[1][0] : mixture.width[0][0];
  const float outer_width = one ? mixture.width[1][1] : mixture.width[0][1];
  const float size =
      fma(outer ? outer_width : inner_width, uniform01(position), outer ? outer_offset : inner_offset);
  const std::uint32_t flip = (sign & mixture.random_sign) ^ (one ? mixture.sign[1] : mixture.sign[0]);
  return float_of(bits_of(size) ^ static_cast<std::int32_t>(flip)) + mixture.shift;
}

OCCAM_HD float slab_clean_value(const SlabColumn& column, std::uint32_t coordinate, std::uint32_t data_seed,
                                std::uint32_t row, std::int32_t label) {
  const Philox words = draw(data_seed, Stream::slab_value, row, coordinate);
  return slab_value_of(column.clean, words.word[0], words.word[1], words.word[2], label);
}

OCCAM_HD float slab_noisy_value(const SlabColumn& column, std::uint32_t coordinate, std::uint32_t data_seed,
                                std::uint32_t row, std::int32_t label) {
  const Philox words = draw(data_seed, Stream::slab_value, row, coordinate);
  return slab_value_of(column.noisy, words.word[0], words.word[1], words.word[3], label);
}

OCCAM_HD bool slab_is_noisy(const SlabColumn& column, std::uint32_t row) {
  return column.noisy_rows > 0 && column.noise_order.inverse(row) < column.noisy_rows;
}

// The value of this row at this coordinate before the rotation; label = slab_label(data_seed, row).
OCCAM_HD float slab_value(const SlabColumn& column, std::uint32_t coordinate, std::uint32_t data_seed,
                          std::uint32_t row, std::int32_t label) {
  return slab_is_noisy(column, row) ? slab_noisy_value(column, coordinate, data_seed, row, label)
                                    : slab_clean_value(column, coordinate, data_seed, row, label);
}

}  // namespace occam::law
