#include "law/randomize.hpp"

#include <algorithm>

#include "backend.hpp"
#include "occam/error.hpp"

namespace occam {

std::uint32_t salt(const Randomization& variant) {
  std::uint32_t hash = 2166136261u;  // FNV-1a over kind and coordinates
  const auto mix = [&hash](std::uint32_t word) {
    for (int byte = 0; byte < 4; ++byte) hash = (hash ^ ((word >> (8 * byte)) & 0xFFu)) * 16777619u;
  };
  mix(static_cast<std::uint32_t>(variant.kind));
  for (const int coordinate : variant.coordinates) mix(static_cast<std::uint32_t>(coordinate));
  return hash;
}

std::vector<std::uint32_t> donors(const Randomization& variant, std::uint32_t data_seed,
                                  std::span<const std::int32_t> labels) {
  const auto rows = static_cast<std::uint32_t>(labels.size());
  std::vector<std::uint32_t> donor(rows);
  if (variant.coordinates.empty()) {
    for (std::uint32_t row = 0; row < rows; ++row) donor[row] = row;
  } else if (variant.kind == Randomization::Kind::permute) {
    const KeyedPermutation order = law::donor_permutation(data_seed, salt(variant), rows);
    for (std::uint32_t row = 0; row < rows; ++row) donor[row] = order(row);
  } else {
    const std::int32_t classes = labels.empty() ? 0 : *std::max_element(labels.begin(), labels.end()) + 1;
    std::vector<std::vector<std::uint32_t>> others(static_cast<std::size_t>(classes));
    for (std::uint32_t row = 0; row < rows; ++row)
      for (std::int32_t c = 0; c < classes; ++c)
        if (labels[row] != c) others[static_cast<std::size_t>(c)].push_back(row);
    for (std::uint32_t row = 0; row < rows; ++row) {
      const auto& candidates = others[static_cast<std::size_t>(labels[row])];
      if (candidates.empty())
        fail(ErrorKind::data,
             "swap: all {} rows are of class {}, so no row of another class can give its coordinates", rows,
             labels[row]);
      donor[row] = candidates[law::swap_donor(data_seed, salt(variant), row,
                                              static_cast<std::uint32_t>(candidates.size()))];
    }
  }
  return donor;
}

}  // namespace occam
