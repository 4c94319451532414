// The stored vectors of tests/data, written by tests/reference/make_pytorch_vectors.py.
#pragma once

#include <string>
#include <vector>

#include "io/npz.hpp"
#include "occam/data.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"

namespace occam::test {

struct PytorchCase {
  std::string name;
  MlpSpec spec;
  Training training;
  std::int64_t updates = 0;
  std::uint32_t order_seed = 0;
  ArrayData::Table table;    // the test rows have label 0
  std::vector<float> start;  // [layout.total]
  std::vector<double> gradient, loss, end, logits;
};

// Every training case of pytorch_vectors.npz.
const std::vector<PytorchCase>& pytorch_cases();

}  // namespace occam::test
