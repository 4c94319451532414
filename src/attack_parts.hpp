// attack() of occam/attack.hpp by parts of a wave's members.
#pragma once

#include <cstdint>

#include "occam/attack.hpp"

namespace occam {

// As attack(), with about `floats` of perturbations on the host at a time, those of PGD and as many of SVD-UAP's.
void attack_by_parts(const MlpEnsemble& models, std::span<const Data> data,
                     std::span<const AttackSuite> suites,
                     const std::function<void(int member, AttackResult&& result)>& finished, Which which,
                     Split split, std::int64_t floats);

}  // namespace occam
