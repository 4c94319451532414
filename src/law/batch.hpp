// Which rows an update trains on: epoch e is a keyed permutation of the training rows, batch b its places
// [b·B, min((b + 1)·B, N)); the last batch of an epoch may be short.
#pragma once

#include <cstdint>

#include "occam/permutation.hpp"

namespace occam::law {

struct BatchPlace {
  std::uint32_t epoch;
  std::int64_t first;  // place of the batch's first sample in the epoch
  int count;           // samples in the batch
};

OCCAM_HD BatchPlace batch_place(std::int64_t update, std::int64_t rows, int batch) {
  const std::int64_t batches = (rows + batch - 1) / batch;
  const std::int64_t first = update % batches * batch;
  const std::int64_t left = rows - first;
  return {static_cast<std::uint32_t>(update / batches), first, static_cast<int>(left < batch ? left : batch)};
}

// The place of the update after the one at `place`.
OCCAM_HD BatchPlace following(const BatchPlace& place, std::int64_t rows, int batch) {
  const std::int64_t first = place.first + place.count, left = rows - first;
  if (left <= 0) return {place.epoch + 1, 0, static_cast<int>(rows < batch ? rows : batch)};
  return {place.epoch, first, static_cast<int>(left < batch ? left : batch)};
}

OCCAM_HD KeyedPermutation epoch_permutation(std::uint32_t order_seed, std::uint32_t epoch,
                                            std::int64_t rows) {
  return KeyedPermutation(draw(order_seed, Stream::epoch_order, epoch), static_cast<std::uint32_t>(rows));
}

// The rows of an epoch by their place in it: permuted, or as they stand.
struct EpochOrder {
  KeyedPermutation permutation;
  bool as_they_stand;

  OCCAM_HD std::uint32_t operator()(std::uint32_t place) const {
    return as_they_stand ? place : permutation(place);
  }
};

OCCAM_HD EpochOrder epoch_order(std::uint32_t order_seed, bool in_order, std::uint32_t epoch,
                                std::int64_t rows) {
  return {epoch_permutation(order_seed, epoch, rows), in_order};
}

}  // namespace occam::law
