// Philox4x32-10, the counter-based generator behind every random number of Occam (Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3", SC 2011). There is no state: the key is (seed, stream), the counter
// names the element, so any element can be drawn anywhere, in any order, on the host and on the device, with
// the same bits.
#pragma once

#include <cstdint>

#include "occam/host_device.hpp"

namespace occam {

// The second word of the key. One stream for each use, so that the uses within a network's training and measuring share
// no draw; what attacks one network in several ways starts alike each time, and an MLP that combines votes draws its
// weights as the vote's first network did. Values are part of the results: they are never renumbered. The counter of each stream is given as {word 0, word 1, word 2,
// word 3}.
enum class Stream : std::uint32_t {
  slab_label = 1,  // {row, 0, 0, 0}; word 0 bit 31 is the label
  slab_value = 2,  // {row, coordinate, 0, 0}; words: position, sign, branch, branch of a noisy row
  slab_noise = 3,  // {coordinate, 0, 0, 0}: key of the permutation that picks this coordinate's noisy rows
  rotation = 4,    // {element, 0, 0, 0}: Gaussian matrix behind the Haar rotation
  initialization = 5,  // {element / 4, layer, 0, 0}
  epoch_order = 6,     // {epoch, 0, 0, 0}: key of the epoch's permutation
  dropout = 7,         // {feature / 4, sample in batch, layer, update}; layer 0 is the input
  randomize = 8,       // {salt, 0, 0, 0}: key of the row permutation of a randomised measure
  swap_donor = 9,      // {row, salt, 0, 0}: donor row of the swap measure
  boundary = 10,       // {point, coordinate, 0, 0}: uniform fill of a decision-boundary grid
  split = 11,          // {0, 0, 0, 0}: key of the permutation that splits a user's own data
  attack_start = 12,   // {row, input / 4, restart, update}: where PGD starts from; update 0 outside training
  attack_target = 13,  // {row, iteration, restart, update}: class that a random-targeted attack aims at
  lsn = 14,            // {row, block, update, use}: rows of LSN (src/lsn.cpp says what a block holds)
  shape_place = 15,    // {row, arrangement, 0, 0}; words: x and y of a shape's offset
};

struct Philox {
  std::uint32_t word[4];
};

namespace detail {
OCCAM_HD std::uint32_t high_product(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(a) * b) >> 32);
}
}  // namespace detail

// Ten rounds over `counter` under the key (key0, key1); the known answers of the paper's library are in the
// tests.
OCCAM_HD Philox philox4x32(Philox counter, std::uint32_t key0, std::uint32_t key1) {
  std::uint32_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = detail::high_product(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const std::uint32_t high1 = detail::high_product(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

OCCAM_HD Philox draw(std::uint32_t seed, Stream stream, std::uint32_t c0, std::uint32_t c1 = 0,
                     std::uint32_t c2 = 0, std::uint32_t c3 = 0) {
  return philox4x32({{c0, c1, c2, c3}}, seed, static_cast<std::uint32_t>(stream));
}

// Uniform on [0, 1) with 24 bits: k / 2^24, exact in fp32.
OCCAM_HD float uniform01(std::uint32_t word) {
  return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f;
}

// Uniform on {0, …, n − 1} by the high product; the bias is below n / 2^32.
OCCAM_HD std::uint32_t uniform_below(std::uint32_t word, std::uint32_t n) {
  return detail::high_product(word, n);
}

}  // namespace occam
