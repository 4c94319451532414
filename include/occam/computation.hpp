// For experiments whose members are no MLPs that `fit` trains: they compute each member themselves, and the
// frame (occam/experiment.hpp) gives them flags, seeds, threads, checkpoints and everything a run leaves
// behind. They run on the CPU, members side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "occam/experiment.hpp"

namespace occam {

// A setting of such an experiment: a flag and a field of the recorded config; Case::numbers holds its value.
struct Number {
  std::string flag;      // "dim"
  std::string standard;  // what stands for no flag; a list, as in the flag itself, makes several cases
  std::string help;
  double least = 0, most = 0;       // values outside [least, most] are refused,
  bool whole = true, even = false;  // and fractions, and odd numbers
};

using Metrics = std::vector<std::pair<std::string, double>>;  // in the order in which they are shown

struct ComputedArray {
  std::string name;                 // "neurons/w1"; the members' arrays are stacked along a new first axis
  std::vector<std::int64_t> shape;  // equal for all members of a case
  std::vector<float> values;
};

struct ComputedMember {
  MemberHistory history;  // checks may be empty
  Metrics metrics;
  std::vector<ComputedArray> arrays;
};

// What the frame hands to a computation. Both may be called from any thread.
struct Work {
  std::function<void()> pause;  // to be called every tenth of a second or so: throws when the run is to end
  std::function<void(std::int64_t updates)> advance;  // progress
};

struct Computation {
  std::vector<Number> numbers;
  // One member; the same arguments must give the same result. Called from several threads.
  std::function<ComputedMember(const Case&, const Seeds&, const Work&)> member;
  // Where several cases were computed: for each seed, metrics made of its metrics in all cases, recorded as a
  // last case of this name.
  std::string summary_name = {};
  std::function<Metrics(std::span<const Case>, std::span<const Metrics>)> summary = {};
};

}  // namespace occam
