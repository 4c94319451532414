// Small data sets, ensembles and waves for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend.hpp"
#include "occam/data.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"

namespace occam::test {

struct TableShape {
  int dim = 5, classes = 2;
  std::int64_t train = 40, validation = 0, test = 20;
};

// Gaussian-like clouds (sums of uniforms) around one centre a class, far enough apart to be learnt in part;
// labels are random.
ArrayData::Table clouds(const TableShape& shape, std::uint32_t seed, double distance = 1.0);

std::shared_ptr<const ArrayData::Table> shared(ArrayData::Table table);
Data clouds_data(const TableShape& shape, std::uint32_t seed, double distance = 1.0);

// Initial parameters as the ensemble would draw them, except that PReLU slopes, gammas, betas and running
// averages are random too, so that a slip in any of them shows.
std::vector<float> random_parameters(const MlpSpec& spec, std::uint32_t seed);

Device cpu(int threads = 1);

// A CPU wave of one member that owns what it was opened with.
class OneMember {
 public:
  OneMember(const MlpSpec& spec, const Data& data, const Seeds& seeds, const Training& training,
            std::span<const float> parameters);
  Wave& wave() { return *wave_; }
  void train(std::int64_t updates) { wave_->train({&updates, 1}); }
  std::vector<float> parameters() const;
  std::vector<float> logits(Split split, const Randomization& variant = {});
  WaveScore score(Split split, const Randomization& variant = {}, bool auc = false);

 private:
  MlpSpec spec_;
  std::int64_t total_;
  Data data_;
  Seeds seeds_;
  Training training_;
  std::unique_ptr<Wave> wave_;
};

// Sets an environment variable for as long as it lives.
class Environment {
 public:
  Environment(const char* name, const char* value);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  bool had_;
  std::string before_;
};

}  // namespace occam::test
