// The attacks' plain loops (src/attack_steps.cpp) on the scalar twin. Every body of the contract must give
// these bits.
#pragma once

#include "occam/attack.hpp"
#include "support/scalar_twin.hpp"

namespace occam::test {

// PGD on the rows as they are. update: of a training under way.
Perturbed perturb(const ScalarTwin& model, const HostTable& rows, const Pgd& attack,
                  std::uint32_t update = 0);

// [inputs]
std::vector<float> fit_universal(const ScalarTwin& model, const HostTable& rows, const AsUap& attack);
Universal fit_universal(const ScalarTwin& model, const HostTable& rows, const SvdUap& attack);

// The rows after x ↦ clamp(x + (2y − 1) universal); the factor is 1 for more than two classes.
HostTable shifted(const HostTable& rows, int classes, std::span<const float> universal, double lower,
                  double upper);

}  // namespace occam::test
