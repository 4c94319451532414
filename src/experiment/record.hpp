// What is known of one trained and measured member: all that results are written from, and all that a
// checkpoint holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/npz.hpp"
#include "occam/training.hpp"

namespace occam::experiment {

// An array of one member. Arrays of the members of a case that carry the same name are stacked along a new
// first axis, except `single` ones, which the first member alone has.
struct MemberArray {
  std::string name;  // "scores/standard"
  NpyType type = NpyType::float32;
  bool single = false;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

template <class T>
MemberArray member_array(std::string name, std::span<const T> values, std::vector<std::int64_t> shape,
                         bool single = false) {
  const auto bytes = std::as_bytes(values);
  return {std::move(name), npy_type<T>(), single, std::move(shape), {bytes.begin(), bytes.end()}};
}

struct MemberRecord {
  MemberHistory history;
  std::vector<std::pair<std::string, double>> metrics;  // in order; NaN: not defined for this member
  std::vector<MemberArray> arrays;

  bool diverged() const { return history.status == FitStatus::diverged; }
};

// NaN when there is no such metric.
double metric(const MemberRecord& record, const std::string& name);

// Seconds by what they were spent on: wall clock, but for `data`, which is summed over threads and part of
// the others.
struct Seconds {
  double data = 0, train = 0, measure = 0, total = 0;
};

}  // namespace occam::experiment
