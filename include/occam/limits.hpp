// The largest that is taken of everything that has a limit: by the checks of the library and by the flags alike.
#pragma once

#include <cstdint>

namespace occam {

inline constexpr int kMostDim = 16384;     // coordinates of slabs and of a user's rows
inline constexpr int kMostInputs = 65536;  // of a network: coordinates, or an image's pixels
inline constexpr int kMostClasses = 256;
inline constexpr std::int64_t kMostRows = 0x7FFFFFFF;
inline constexpr int kMostSide = 4096;      // pixels of images and masks
inline constexpr int kMostWidth = 16384;    // units of a hidden layer
inline constexpr int kMostBatch = 1 << 20;  // rows that share a mean loss, in training or attack
inline constexpr std::int64_t kMostUpdates = 4'000'000'000;  // what dropout's 32-bit counter word holds
inline constexpr int kMostRepeats = 1'000'000;               // iterations, restarts and epochs of attacks
inline constexpr double kMostLength =
    1e15;                                   // radii, steps and starts of attacks, whose squares are fp32 sums
inline constexpr double kMostBound = 1e30;  // values that attacked rows stay inside

}  // namespace occam
