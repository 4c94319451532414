// Slab rows before the rotation, and where the slabs of a block lie, for the tests of slab data.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "occam/data.hpp"
#include "occam/slab.hpp"

namespace occam::test {

struct Rows {
  int dim = 0;
  std::vector<float> x;         // [rows][dim], not rotated
  std::vector<std::int32_t> y;  // [rows]
  std::size_t size() const { return y.size(); }
  float at(std::size_t row, int coordinate) const {
    return x[row * static_cast<std::size_t>(dim) + static_cast<std::size_t>(coordinate)];
  }
};

inline Rows generate_all(const SlabSpec& spec, std::uint32_t seed) {
  const Data data = slab_data(spec, {seed})[0];
  const auto rows = static_cast<std::size_t>(spec.rows());
  Rows all{.dim = spec.dim(),
           .x = std::vector<float>(rows * spec.coordinates.size()),
           .y = std::vector<std::int32_t>(rows)};
  generate(data, 0, spec.rows(), all.x.data(), all.y.data());
  return all;
}

inline SlabSpec spec_of(std::vector<SlabCoordinate> coordinates, std::int64_t train = 40'000,
                        std::int64_t test = 10'000) {
  SlabSpec spec;
  spec.coordinates = std::move(coordinates);
  spec.train = train;
  spec.test = test;
  return spec;
}

// ---- geometry ----

struct Stretch {
  double low, high;
};

// Slabs and gaps of positive x, from the centre outwards, as Shah et al.'s figures draw them: k slabs of
// width w and k − 1 gaps of width 2m share [−B, B].
inline std::vector<Stretch> positive_slabs(int k, double B, double m) {
  const double w = (2 * B - 2 * (k - 1) * m) / k;
  std::vector<Stretch> slabs{{0, w / 2}};
  for (double edge = w / 2 + 2 * m; slabs.size() < static_cast<std::size_t>(k + 1) / 2; edge += w + 2 * m)
    slabs.push_back({edge, edge + w});
  return slabs;
}

inline std::vector<Stretch> positive_gaps(int k, double B, double m) {
  const std::vector<Stretch> slabs = positive_slabs(k, B, m);
  std::vector<Stretch> gaps;
  for (std::size_t i = 0; i + 1 < slabs.size(); ++i) gaps.push_back({slabs[i].high, slabs[i + 1].low});
  return gaps;
}

// Which interval holds |x|; −1: none. `slack` allows for the rounding of fp32 at the edges.
inline int index_in(const std::vector<Stretch>& intervals, double x, double slack) {
  for (std::size_t i = 0; i < intervals.size(); ++i)
    if (std::abs(x) >= intervals[i].low - slack && std::abs(x) <= intervals[i].high + slack)
      return static_cast<int>(i);
  return -1;
}

// ---- noise ----

// Every block with every noise it knows; the share of noisy rows is still 0.
inline const std::vector<SlabCoordinate> kNoisyBlocks{
    {.kind = BlockKind::linear, .noise_kind = NoiseKind::margin},
    {.kind = BlockKind::linear, .noise_kind = NoiseKind::flip},
    {.kind = BlockKind::slab5, .noise_kind = NoiseKind::margin},
    {.kind = BlockKind::slab5, .noise_kind = NoiseKind::label},
    {.kind = BlockKind::slab7, .noise_kind = NoiseKind::label}};

// All of them with some noise, and a block of each kind without.
inline SlabSpec noisy_spec() {
  std::vector<SlabCoordinate> coordinates = kNoisyBlocks;
  for (std::size_t i = 0; i < coordinates.size(); ++i)
    coordinates[i].noise = 0.05 * static_cast<double>(i + 1);
  coordinates.push_back({.kind = BlockKind::slab3});
  coordinates.push_back({.kind = BlockKind::unused});
  SlabSpec spec = spec_of(coordinates, 700, 200);
  spec.validation = 101;
  return spec;
}

}  // namespace occam::test
