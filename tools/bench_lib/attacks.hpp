// Attacks of an ensemble that is trained beforehand, timed as a user calls them: occam::attack().
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "occam/attack.hpp"
#include "problem.hpp"

namespace occam::bench {

// Notebook 6's attacks of LMS-5, on the test rows of every member.
class Attacked {
 public:
  // Trains the request's ensemble (Problem).
  explicit Attacked(const nlohmann::json& request);

  // What there is: updates of each member, test accuracies, rows, FLOP of each part for one member.
  nlohmann::json describe() const;

  // Attacks every member once. "part": pgd, svd, as, or all for the three in one call; open for what every
  // call does before it attacks (rows, their range) and one forward pass. "threads": on the CPU. Replies the
  // times, and accuracies and shares on the simplest coordinate by attack.
  nlohmann::json run(const nlohmann::json& request) const;

  // Member 0 for the rivals, .npz: x [rows][inputs] and y of its test rows, low and high of all rows, the
  // direction of the simplest coordinate [inputs], weight_0 [fan_out][fan_in], bias_0, weight_1, ...
  void write(const std::string& path) const;

 private:
  AttackSuite suite(const std::string& part, std::uint32_t seed) const;

  Problem problem_;
  MlpEnsemble models_;
  std::vector<Data> data_;
  std::vector<std::vector<float>> rotations_;
  nlohmann::json training_;
};

}  // namespace occam::bench
