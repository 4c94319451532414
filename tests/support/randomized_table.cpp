#include "support/randomized_table.hpp"

#include "backend.hpp"
#include "law/functions.hpp"
#include "law/randomize.hpp"

namespace occam::test {

namespace {

// The donor of one row, by counting: no table of candidates.
std::int64_t donor(const Randomization& variant, std::uint32_t data_seed, const HostTable& table,
                   std::int64_t row) {
  const auto place = static_cast<std::uint32_t>(row);
  if (variant.coordinates.empty()) return row;
  if (variant.kind == Randomization::Kind::permute)
    return law::donor_permutation(data_seed, salt(variant), static_cast<std::uint32_t>(table.rows))(place);
  const auto is_candidate = [&](std::int64_t other) {
    return table.y[static_cast<std::size_t>(other)] != table.y[static_cast<std::size_t>(row)];
  };
  std::uint32_t candidates = 0;
  for (std::int64_t other = 0; other < table.rows; ++other) candidates += is_candidate(other);
  std::uint32_t left = law::swap_donor(data_seed, salt(variant), place, candidates);
  for (std::int64_t other = 0; other < table.rows; ++other)
    if (is_candidate(other) && left-- == 0) return other;
  return -1;
}

}  // namespace

HostTable randomized_table(const Data& data, Split split, const Randomization& variant) {
  const std::int64_t count = rows(data, split);
  const int width = dim(data);
  HostTable plain{.rows = count, .dim = width, .x = {}, .y = {}};
  plain.x.resize(static_cast<std::size_t>(count * width));
  plain.y.resize(static_cast<std::size_t>(count));
  generate(data, first_row(data, split), count, plain.x.data(), plain.y.data());

  HostTable mixed = plain;
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t from = donor(variant, seed(data), plain, row);
    for (const int coordinate : variant.coordinates)
      mixed.x[static_cast<std::size_t>(row * width + coordinate)] =
          plain.x[static_cast<std::size_t>(from * width + coordinate)];
  }

  const std::vector<float> matrix = rotation(data);
  if (matrix.empty()) return mixed;
  HostTable rotated = mixed;
  for (std::int64_t row = 0; row < count; ++row)
    for (int j = 0; j < width; ++j) {
      float sum = 0.0f;
      for (int k = 0; k < width; ++k)
        sum = law::fma(mixed.x[static_cast<std::size_t>(row * width + k)],
                       matrix[static_cast<std::size_t>(k * width + j)], sum);
      rotated.x[static_cast<std::size_t>(row * width + j)] = sum;
    }
  return rotated;
}

}  // namespace occam::test
