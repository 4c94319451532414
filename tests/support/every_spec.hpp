// What networks are made of, for tests that take every combination.
#pragma once

#include "occam/mlp.hpp"

namespace occam::test {

inline constexpr Activation kActivations[] = {Activation::relu, Activation::leaky_relu, Activation::prelu,
                                              Activation::tanh, Activation::identity};

struct OutputChoice {
  Loss loss;
  int classes;
};
inline constexpr OutputChoice kOutputs[] = {
    {Loss::cross_entropy, 2}, {Loss::cross_entropy, 5}, {Loss::binary_cross_entropy, 2}, {Loss::hinge, 2}};

}  // namespace occam::test
