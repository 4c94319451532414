// Initial parameters, drawn where they are wanted (kernels/initialize.cu).
#pragma once

#include "cuda/kernel.hpp"
#include "law/initialization.hpp"
#include "members.hpp"

namespace occam::cuda {

struct InitializeArguments {
  LayerView layer;
  law::LayerDraws draws;
  std::uint32_t seed;
  float* parameters;  // of the member; padding stays as it is
};

// Sets a layer's parameters to what initialize() gives (occam/mlp.hpp), bit for bit.
void launch_initialize(Stream& stream, const InitializeArguments& arguments);

}  // namespace occam::cuda
