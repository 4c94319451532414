// A stateless keyed permutation of {0, …, size − 1}: an alternating Feistel network on ceil(log2 size) bits,
// at least seven, whose results outside the range are fed back ("cycle walking"), so it is a bijection for
// every size and both directions cost the same. It orders an epoch without a shuffled copy and picks exactly
// m of n rows: those whose `inverse` is below m. Method: Black and Rogaway, "Ciphers with arbitrary finite
// domains", CT-RSA 2002.
#pragma once

#include <cstdint>

#include "occam/philox.hpp"

namespace occam {

class KeyedPermutation {
 public:
  static constexpr int kRounds = 8;
  // Fewer mix badly (seen by chi-square); a tiny size walks a little longer instead.
  static constexpr int kMinBits = 7;

  // `key` is one Philox draw. size >= 1.
  OCCAM_HD KeyedPermutation(Philox key, std::uint32_t size) : size_(size) {
    int bits = kMinBits;
    while (bits < 32 && (std::uint64_t{1} << bits) < size) ++bits;
    left_bits_ = bits / 2;
    right_bits_ = bits - left_bits_;
    for (int round = 0; round < kRounds; ++round)
      round_key_[round] = key.word[round % 4] ^ (0x85EBCA6Bu * static_cast<std::uint32_t>(round / 4));
  }

  OCCAM_HD std::uint32_t size() const { return size_; }

  // Image of `place`: the row that comes at this place.
  OCCAM_HD std::uint32_t operator()(std::uint32_t place) const {
    std::uint32_t x = once(place);
    while (x >= size_) x = once(x);
    return x;
  }

  // Place of `row`: inverse((*this)(place)) == place.
  OCCAM_HD std::uint32_t inverse(std::uint32_t row) const {
    std::uint32_t x = once_back(row);
    while (x >= size_) x = once_back(x);
    return x;
  }

  // One pass of the network on all its bits, without cycle walking; for loops that walk many at once.
  OCCAM_HD std::uint32_t once(std::uint32_t x) const {
    std::uint32_t left = x >> right_bits_, right = x & right_mask();
    for (int round = 0; round < kRounds; round += 2) {
      left = (left ^ mix(right, round_key_[round])) & left_mask();
      right = (right ^ mix(left, round_key_[round + 1])) & right_mask();
    }
    return (left << right_bits_) | right;
  }

  OCCAM_HD std::uint32_t once_back(std::uint32_t x) const {
    std::uint32_t left = x >> right_bits_, right = x & right_mask();
    for (int round = kRounds - 2; round >= 0; round -= 2) {
      right = (right ^ mix(left, round_key_[round + 1])) & right_mask();
      left = (left ^ mix(right, round_key_[round])) & left_mask();
    }
    return (left << right_bits_) | right;
  }

 private:
  OCCAM_HD static std::uint32_t mix(std::uint32_t half, std::uint32_t key) {
    std::uint32_t h = (half + key) * 0x9E3779B1u;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    h ^= h >> 13;
    return h;
  }
  OCCAM_HD std::uint32_t left_mask() const { return (1u << left_bits_) - 1u; }
  OCCAM_HD std::uint32_t right_mask() const { return (1u << right_bits_) - 1u; }

  std::uint32_t size_;
  int left_bits_, right_bits_;
  std::uint32_t round_key_[kRounds];
};

}  // namespace occam
