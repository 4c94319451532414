// attack() of occam/attack.hpp of one wave's members.
#pragma once

#include <cstdint>

#include "backend.hpp"
#include "occam/attack.hpp"

namespace occam {

// As attack(), of members whose parameters are loaded; `finished` gets a member's number in the wave and is called on
// `threads` threads. The host has about `floats` of perturbations at a time, those of PGD and as many of SVD-UAP's.
void attack_wave(Wave& wave, const MlpSpec& spec, std::span<const Data> data,
                 std::span<const AttackSuite> suites, Split split,
                 const std::function<void(int member, AttackResult&& result)>& finished, int threads,
                 Interrupt interrupt = nullptr, std::int64_t floats = std::int64_t{1} << 28);

}  // namespace occam
