// How a network would be trained on a device: what --explain-plan prints.
#pragma once

#include <optional>
#include <string>

#include "occam/device.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"
#include "shape_set.hpp"

namespace occam {

// Floating-point operations of one update of one member: the products of a batch, 2 for a multiply-add,
// without the input gradient of the first layer. The last batch of an epoch may be shorter.
double flop_per_update(const MlpSpec& spec, int batch, double lit_share = 1);

// What an adversary adds to it: each of its iterations passes forward and back to the input.
double flop_of_adversary(const MlpSpec& spec, const Training& training);

// By what code a member is trained: "cpu, avx512", "cuda, resident, whole batch", "cuda, tiled". On tensor cores a part
// of what the bits depend on.
std::string plan_of(const Device& device, const MlpSpec& spec, const Training& training, bool images);

// A few lines, each indented by two. Without a GPU the plan for one is told, too: for an H200, by its data
// sheet. images: of images of shapes.
std::string explain_plan(const Device& device, const MlpSpec& spec, const Training& training,
                         std::optional<PixelShares> images = {});

}  // namespace occam
