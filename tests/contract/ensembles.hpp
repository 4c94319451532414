// Ensembles for the contract's tests: one architecture, members that differ in everything else.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backend.hpp"
#include "contract/bodies.hpp"
#include "support/compare.hpp"
#include "support/scalar_twin.hpp"

namespace occam::test {

struct Ensemble {
  MlpSpec spec;
  std::vector<Data> data;
  std::vector<Seeds> seeds;
  std::vector<Training> trainings;
  std::vector<std::vector<float>> start;  // parameters

  int members() const { return static_cast<int>(data.size()); }
  WaveRequest request(bool trains = true) const {
    return {&spec, data, seeds, trains ? std::span<const Training>(trainings) : std::span<const Training>()};
  }
  void add(const Data& one, const Training& training, std::uint32_t seed);
};

std::string describe(const Ensemble& ensemble);

// The wave of a body, with the members' start loaded.
std::unique_ptr<Wave> open_loaded(Backend& backend, const Ensemble& ensemble, bool trains = true);

std::vector<float> parameters(const Ensemble& ensemble, const Wave& wave, int member);

// What the scalar twin makes of a member.
ScalarTwin twin_of(const Ensemble& ensemble, int member);

// Slab data with every kind of block, some of them noisy and shifted; `dim` coordinates.
Data slabs(int dim, std::int64_t train, std::int64_t validation, std::int64_t test, bool rotate,
           std::uint32_t seed);

// A draw of architecture and members: widths, rows and batches around the tiles' sizes (16, 64, 128), every
// optimiser, activation and loss, batch norm, dropout, members of different data. The same number gives the
// same ensemble.
struct Limits {
  int widest = 70, largest_batch = 140, members = 3, depth = 3;
};
Ensemble drawn_ensemble(std::uint32_t number, const Limits& limits);

extern const Optimizer kOptimizers[5];

}  // namespace occam::test
