#include "occam/slab.hpp"

#include <algorithm>
#include <cmath>

#include "interrupt.hpp"
#include "law/philox_run.hpp"
#include "law/slab.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"

namespace occam {

namespace {

constexpr std::uint32_t kSignBit = 0x80000000u;

const char* name_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::linear: return "linear";
    case BlockKind::slab3: return "3-slab";
    case BlockKind::slab5: return "5-slab";
    case BlockKind::slab7: return "7-slab";
    case BlockKind::unused: return "unused";
  }
  return nullptr;
}

const char* name_of(NoiseKind kind) {
  switch (kind) {
    case NoiseKind::margin: return "margin";
    case NoiseKind::flip: return "flip";
    case NoiseKind::label: return "label";
  }
  return nullptr;
}

int slabs_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::slab3: return 3;
    case BlockKind::slab5: return 5;
    case BlockKind::slab7: return 7;
    default: return 0;
  }
}

bool has_noise(BlockKind block, NoiseKind noise) {
  switch (block) {
    case BlockKind::linear: return noise == NoiseKind::margin || noise == NoiseKind::flip;
    case BlockKind::slab5: return noise == NoiseKind::margin || noise == NoiseKind::label;
    case BlockKind::slab7: return noise == NoiseKind::label;
    default: return false;
  }
}

// γ below which every slab has a positive width: k slabs and k − 1 gaps of 2γB share 2B.
double margin_limit(BlockKind kind) {
  const int slabs = slabs_of(kind);
  return slabs == 0 ? 1.0 : 1.0 / (slabs - 1);
}

void validate_margin(const SlabCoordinate& c, int index) {
  const double limit = margin_limit(c.kind);
  require(c.margin >= 0 && c.margin < limit,
          "slab coordinate {} ({}): margin {} leaves no room for the data; give one of at least 0 and below "
          "{:.4g}",
          index, name_of(c.kind), c.margin, limit);
}

void validate_noise(const SlabCoordinate& c, int index) {
  require(c.noise >= 0 && c.noise <= 1,
          "slab coordinate {} ({}): noise {} is no share of the rows; give 0 to 1", index, name_of(c.kind),
          c.noise);
  require(name_of(c.noise_kind) != nullptr,
          "slab coordinate {}: unknown noise kind {}; give margin, flip or label", index,
          static_cast<int>(c.noise_kind));
  if (c.noise == 0) return;
  require(c.kind != BlockKind::slab3 && c.kind != BlockKind::unused,
          "slab coordinate {} ({}): such a block has no noise, but noise is {}; set it to 0", index,
          name_of(c.kind), c.noise);
  const char* choices = c.kind == BlockKind::linear  ? "margin or flip"
                        : c.kind == BlockKind::slab5 ? "margin or label"
                                                     : "label";
  require(has_noise(c.kind, c.noise_kind),
          "slab coordinate {} ({}): {} noise is not defined for this block; give {}", index, name_of(c.kind),
          name_of(c.noise_kind), choices);
}

void validate_probability(double probability, bool used, const char* field, const SlabCoordinate& c,
                          int index) {
  if (probability < 0) return;  // the default
  require(probability <= 1,
          "slab coordinate {} ({}): {} is {}; give a probability of 0 to 1, or a negative number for the "
          "default",
          index, name_of(c.kind), field, probability);
  require(used, "slab coordinate {} ({}): {} is {}, but this block has no such choice; leave it out", index,
          name_of(c.kind), field, probability);
}

void validate(const SlabCoordinate& c, int index) {
  require(name_of(c.kind) != nullptr,
          "slab coordinate {}: unknown block kind {}; give linear, slab3, slab5, slab7 or unused", index,
          static_cast<int>(c.kind));
  validate_margin(c, index);
  validate_noise(c, index);
  require(std::isfinite(static_cast<float>(c.shift)),
          "slab coordinate {} ({}): shift {} is not finite in fp32", index, name_of(c.kind), c.shift);
  require(c.shift == 0 || c.kind != BlockKind::unused,
          "slab coordinate {} (unused): shift is {}, but an unused coordinate "
          "is not shifted; set it to 0",
          index, c.shift);
  const bool two_negative = c.kind == BlockKind::slab5 || c.kind == BlockKind::slab7;
  validate_probability(c.inner_probability0, two_negative, "inner_probability0", c, index);
  validate_probability(c.inner_probability1, c.kind == BlockKind::slab7, "inner_probability1", c, index);
}

// |x| = offset + width · U, in double precision.
struct Stretch {
  double offset, width;
};

// Slab 0 is the centre, slab i lies i gaps of 2m further out. B: data width, m: margin, both in units of x.
Stretch slab(BlockKind kind, int i, double B, double m) {
  const int slabs = slabs_of(kind);
  const double w = (2 * B - 2 * (slabs - 1) * m) / slabs;
  if (i == 0) return {0, 0.5 * w};
  return {(i - 0.5) * w + 2 * i * m, w};
}

// The gap between slabs i and i + 1.
Stretch gap(BlockKind kind, int i, double B, double m) {
  const Stretch inside = slab(kind, i, B, m);
  return {inside.offset + inside.width, 2 * m};
}

void set_label(law::SlabMixture& mixture, int label, Stretch inner, Stretch outer, double inner_probability) {
  mixture.offset[label][0] = static_cast<float>(inner.offset);
  mixture.width[label][0] = static_cast<float>(inner.width);
  mixture.offset[label][1] = static_cast<float>(outer.offset);
  mixture.width[label][1] = static_cast<float>(outer.width);
  mixture.last_inner[label] =
      static_cast<std::int32_t>(static_cast<std::int64_t>(std::nearbyint(inner_probability * 0x1p31)) - 1);
}

void set_label(law::SlabMixture& mixture, int label, Stretch only) {
  set_label(mixture, label, only, only, 1.0);
}

double or_default(double probability, double standard) { return probability < 0 ? standard : probability; }

// Gives `label` the slabs that class `as_label` has in a 3-, 5- or 7-slab block; `inner` is the probability of the inner
// one.
void set_slabs(law::SlabMixture& mixture, int label, int as_label, BlockKind kind, double B, double m,
               double inner) {
  const bool two = slabs_of(kind) > (as_label == 0 ? 3 : 5);
  set_label(mixture, label, slab(kind, as_label, B, m), slab(kind, two ? as_label + 2 : as_label, B, m),
            inner);
}

law::SlabMixture clean_mixture(const SlabCoordinate& c, double B, double unused_limit) {
  law::SlabMixture mixture;
  const double m = c.margin * B;
  mixture.shift = static_cast<float>(c.shift * B);
  if (c.kind == BlockKind::unused) {
    for (int label : {0, 1}) set_label(mixture, label, {0, unused_limit});
  } else if (c.kind == BlockKind::linear) {
    for (int label : {0, 1}) set_label(mixture, label, {m, B - m});
    mixture.sign[0] = kSignBit;
  } else {
    mixture.random_sign = kSignBit;
    set_slabs(mixture, 0, 0, c.kind, B, m,
              or_default(c.inner_probability0, c.kind == BlockKind::slab5 ? 0.75 : 0.5));
    set_slabs(mixture, 1, 1, c.kind, B, m, or_default(c.inner_probability1, 0.875));
  }
  return mixture;
}

law::SlabMixture noisy_mixture(const SlabCoordinate& c, double B, const law::SlabMixture& clean) {
  law::SlabMixture mixture;
  const double m = c.margin * B;
  if (c.noise_kind == NoiseKind::flip) {  // −(z|x| + shift), to the bit
    mixture = clean;
    std::swap(mixture.sign[0], mixture.sign[1]);
    mixture.shift = -clean.shift;
    return mixture;
  }
  mixture.random_sign = kSignBit;
  if (c.kind == BlockKind::linear) {  // in [−m, m], not shifted: the shift comes before the noise
    for (int label : {0, 1}) set_label(mixture, label, {0, m});
    return mixture;
  }
  mixture.shift = clean.shift;
  for (int label : {0, 1}) {
    if (c.noise_kind == NoiseKind::margin)
      set_label(mixture, label, gap(c.kind, 0, B, m), gap(c.kind, 1, B, m), 0.5);
    else
      set_slabs(mixture, label, 1 - label, c.kind, B, m, 0.5);
  }
  return mixture;
}

// Sum of a[i] · b[i] in eight lanes, so that it vectorises and still has one order. [n]
double dot(const double* a, const double* b, int n) {
  double lane[8] = {};
  int i = 0;
  for (; i + 8 <= n; i += 8)
    for (int l = 0; l < 8; ++l) lane[l] += a[i + l] * b[i + l];
  for (; i < n; ++i) lane[i % 8] += a[i] * b[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace

std::vector<SlabCoordinate> slab_coordinates(const SlabCounts& counts, double margin) {
  require(counts.dim >= 1 && counts.dim <= kMostDim, "slab data: dim is {}; give 1 to {}", counts.dim,
          kMostDim);
  require(
      counts.linear >= 0 && counts.slabs3 >= 0 && counts.slabs5 >= 0 && counts.slabs7 >= 0,
      "slab data: {} linear, {} 3-slab, {} 5-slab and {} 7-slab coordinates; a count must not be negative",
      counts.linear, counts.slabs3, counts.slabs5, counts.slabs7);
  const std::int64_t used = std::int64_t{counts.linear} + counts.slabs3 + counts.slabs5 + counts.slabs7;
  require(used <= counts.dim, "slab data: {} blocks do not fit into {} coordinates; raise dim or drop blocks",
          used, counts.dim);
  std::vector<SlabCoordinate> coordinates;
  const auto append = [&](int count, BlockKind kind) {
    coordinates.insert(coordinates.end(), static_cast<std::size_t>(count),
                       SlabCoordinate{.kind = kind, .margin = margin});
  };
  append(counts.linear, BlockKind::linear);
  append(counts.slabs3, BlockKind::slab3);
  append(counts.slabs5, BlockKind::slab5);
  append(counts.slabs7, BlockKind::slab7);
  append(counts.dim - static_cast<int>(used), BlockKind::unused);
  return coordinates;
}

namespace {

// dim − 1 k-slabs after one block of `first`.
SlabSpec one_and_slabs(BlockKind first, int k, int dim, double margin) {
  require(k == 3 || k == 5 || k == 7, "slab data: there is no {}-slab block; give 3, 5 or 7", k);
  require(dim >= 1 && dim <= kMostDim, "slab data: dim is {}; give 1 to {}", dim, kMostDim);
  const BlockKind others = k == 3 ? BlockKind::slab3 : k == 5 ? BlockKind::slab5 : BlockKind::slab7;
  SlabSpec spec;
  spec.coordinates.assign(static_cast<std::size_t>(dim), SlabCoordinate{.kind = others, .margin = margin});
  spec.coordinates[0].kind = first;
  return spec;
}

}  // namespace

SlabSpec lms(int k, int dim, double margin) { return one_and_slabs(BlockKind::linear, k, dim, margin); }

SlabSpec ms(int p, int q, int dim, double margin) {
  require(p == 3 || p == 5 || p == 7, "slab data: there is no {}-slab block; give 3, 5 or 7", p);
  return one_and_slabs(p == 3   ? BlockKind::slab3
                       : p == 5 ? BlockKind::slab5
                                : BlockKind::slab7,
                       q, dim, margin);
}

void validate(const SlabSpec& spec) {
  require(!spec.coordinates.empty() && spec.coordinates.size() <= kMostDim,
          "slab data: {} coordinates; give 1 to {}", spec.coordinates.size(), kMostDim);
  const auto width = static_cast<float>(spec.width);
  require(std::isnormal(width) && width > 0, "slab data: width {} is not positive and finite in fp32",
          spec.width);
  require(std::isfinite(static_cast<float>(spec.unused_limit)),
          "slab data: unused_limit {} is not finite in fp32", spec.unused_limit);
  for (const auto& [name, count] :
       {std::pair{"train", spec.train}, {"validation", spec.validation}, {"test", spec.test}})
    require(count >= 0 && count <= kMostRows, "slab data: {} {} rows; give 0 to {}", count, name, kMostRows);
  require(spec.rows() >= 1, "slab data: no rows; give train, validation or test rows");
  require(spec.rows() <= kMostRows, "slab data: {} rows in all are more than {}; ask for fewer", spec.rows(),
          kMostRows);
  for (int i = 0; i < spec.dim(); ++i) validate(spec.coordinates[static_cast<std::size_t>(i)], i);
}

std::vector<float> slab_rotation(const SlabSpec& spec, std::uint32_t data_seed) {
  return slab_rotation(spec, data_seed, nullptr);
}

std::vector<float> slab_rotation(const SlabSpec& spec, std::uint32_t data_seed, Interrupt interrupt) {
  const int n = spec.dim();
  const auto size = static_cast<std::size_t>(n);
  std::vector<float> rotation(size * size, 0.0f);
  if (!spec.rotate) {
    for (std::size_t i = 0; i < size; ++i) rotation[i * size + i] = 1.0f;
    return rotation;
  }
  // Rows of a Gaussian matrix, orthonormalised one after the other. Each keeps the direction of what the
  // earlier rows leave of it (R's diagonal is positive), which makes the result Haar-distributed (Mezzadri,
  // Notices of the AMS 54, 2007). The normals come from the law's quantile, not from libm, whose last bits
  // differ between machines.
  std::vector<double> rows(size * size);
  for (int i = 0; i < n; ++i) {
    heed(interrupt);
    const std::size_t first = static_cast<std::size_t>(i) * size;
    double* row = rows.data() + first;
    for (std::size_t k = 0; k < size; ++k)
      row[k] = law::standard_normal(
          draw(data_seed, Stream::rotation, static_cast<std::uint32_t>(first + k)).word[0]);
    for (int pass = 0; pass < 2; ++pass) {  // the second pass removes what rounding left of the first
      for (int j = 0; j < i; ++j) {
        const double* done = rows.data() + static_cast<std::size_t>(j) * size;
        const double share = dot(row, done, n);
        for (int k = 0; k < n; ++k) row[k] -= share * done[k];
      }
      const double norm = std::sqrt(dot(row, row, n));
      for (int k = 0; k < n; ++k) row[k] /= norm;
    }
  }
  std::transform(rows.begin(), rows.end(), rotation.begin(), [](double v) { return static_cast<float>(v); });
  return rotation;
}

namespace law {

std::vector<SlabColumn> slab_columns(const SlabSpec& spec, std::uint32_t data_seed) {
  const double unused_limit = spec.unused_limit < 0 ? spec.width : spec.unused_limit;
  const auto rows = static_cast<std::uint32_t>(spec.rows());
  std::vector<SlabColumn> columns(spec.coordinates.size());
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const SlabCoordinate& c = spec.coordinates[i];
    columns[i].clean = clean_mixture(c, spec.width, unused_limit);
    if (c.noise == 0) continue;
    columns[i].noisy = noisy_mixture(c, spec.width, columns[i].clean);
    columns[i].noisy_rows = static_cast<std::uint32_t>(std::nearbyint(c.noise * static_cast<double>(rows)));
    columns[i].noise_order =
        KeyedPermutation(draw(data_seed, Stream::slab_noise, static_cast<std::uint32_t>(i)), rows);
  }
  return columns;
}

namespace {

// Puts the noisy values of one column into rows [first, first + count). Few rows ask each row for its place;
// many rows walk the places instead. Both give the same.
void add_noise(const SlabColumn& column, std::uint32_t coordinate, std::uint32_t data_seed,
               std::uint32_t first, std::uint32_t count, std::size_t stride, float* x,
               const std::int32_t* y) {
  const auto put = [&](std::uint32_t row) {
    const std::size_t i = row - first;
    x[i * stride + coordinate] = slab_noisy_value(column, coordinate, data_seed, row, y[i]);
  };
  if (count < column.noisy_rows) {
    for (std::uint32_t row = first; row < first + count; ++row)
      if (slab_is_noisy(column, row)) put(row);
  } else {
    for (std::uint32_t place = 0; place < column.noisy_rows; ++place) {
      const std::uint32_t row = column.noise_order(place);
      if (row >= first && row - first < count) put(row);
    }
  }
}

}  // namespace

void slab_rows(const std::vector<SlabColumn>& columns, std::uint32_t data_seed, std::int64_t first,
               std::int64_t count, float* x, std::int32_t* y) {
  constexpr int kBlock = 64;  // rows; a block of 50 coordinates is 13 kB and stays in the first cache
  const std::size_t dim = columns.size();
  PhiloxRun<kBlock> draws;
  std::int32_t label[kBlock];
  float value[kBlock];
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const int block = static_cast<int>(std::min<std::int64_t>(kBlock, count - begin));
    const auto row = static_cast<std::uint32_t>(first + begin);
    draws.fill(data_seed, Stream::slab_label, row);
    for (int r = 0; r < kBlock; ++r) label[r] = static_cast<std::int32_t>(draws.word[0][r] >> 31);
    std::copy_n(label, block, y + begin);
    for (std::size_t c = 0; c < dim; ++c) {
      const SlabMixture clean = columns[c].clean;
      draws.fill(data_seed, Stream::slab_value, row, static_cast<std::uint32_t>(c));
      for (int r = 0; r < kBlock; ++r)
        value[r] = slab_value_of(clean, draws.word[0][r], draws.word[1][r], draws.word[2][r], label[r]);
      float* destination = x + static_cast<std::size_t>(begin) * dim + c;
      for (int r = 0; r < block; ++r) destination[static_cast<std::size_t>(r) * dim] = value[r];
    }
  }
  for (std::size_t c = 0; c < dim; ++c)
    if (columns[c].noisy_rows > 0)
      add_noise(columns[c], static_cast<std::uint32_t>(c), data_seed, static_cast<std::uint32_t>(first),
                static_cast<std::uint32_t>(count), dim, x, y);
}

}  // namespace law

}  // namespace occam
