// Slab data (Shah et al. 2020, §3 and the notebooks' generator): every coordinate is a linear block, a 3-, 5-
// or 7-slab block, or unused; given the label, coordinates are independent. A SlabData is a recipe: any row
// of it can be generated anywhere at any time, and CPU and GPU generate the same bits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace occam {

enum class BlockKind : std::int32_t { linear = 0, slab3 = 1, slab5 = 2, slab7 = 3, unused = 4 };

enum class NoiseKind : std::int32_t {
  margin = 0,  // linear: uniform in [−m, m]; 5-slab: one of its four gaps
  flip = 1,    // linear only: negated
  label = 2,   // 5- and 7-slab: moved to a slab of the other class
};

// One coordinate. Margins, noise and shift are its own. m = margin · width.
struct SlabCoordinate {
  BlockKind kind = BlockKind::slab5;
  double margin = 0.1;  // fraction of the width; < 1, 1/2, 1/4, 1/6 for linear, 3-, 5-, 7-slab; >= 0
  double noise = 0.0;   // exactly round-half-even(noise · rows) rows of train + validation + test are noisy
  NoiseKind noise_kind = NoiseKind::label;
  double shift = 0.0;  // in units of the width; before the noise for linear, after it for slabs
  // Probability of the inner slab, < 0: the default. Class 0: 5-slab 3/4, 7-slab 1/2; class 1: 7-slab 7/8.
  double inner_probability0 = -1, inner_probability1 = -1;
};

struct SlabSpec {
  std::vector<SlabCoordinate> coordinates;
  double width = 1.0;        // B: coordinates live in [−B, B] before shifts
  double unused_limit = -1;  // unused coordinates are uniform on [0, unused_limit]; < 0 means width
  bool rotate = true;        // x ↦ x W with W Haar-distributed on the orthogonal group
  std::int64_t train = 100'000, validation = 0, test = 10'000;

  int dim() const { return static_cast<int>(coordinates.size()); }
  std::int64_t rows() const { return train + validation + test; }
};

// Counts by kind, in the order linear, 3-, 5-, 7-slab, then unused up to `dim`; every block has margin
// `margin`. The position of the linear coordinate is changed by swapping two entries of `coordinates`.
struct SlabCounts {
  int dim = 50;
  int linear = 1, slabs3 = 0, slabs5 = 0, slabs7 = 0;
};
std::vector<SlabCoordinate> slab_coordinates(const SlabCounts& counts, double margin = 0.1);

// LMS-k: one linear block and dim − 1 k-slabs. MS-(p,q): one p-slab and dim − 1 q-slabs. k, p, q in {3, 5,
// 7}.
SlabSpec lms(int k, int dim = 50, double margin = 0.1);
SlabSpec ms(int p, int q, int dim = 50, double margin = 0.1);

// Throws a usage error that names the offending value: a margin that leaves no slab, a probability outside
// [0, 1], a noise kind the block does not have, no rows, rows beyond 2^31 − 1, a width that is not positive
// and finite.
void validate(const SlabSpec& spec);

// The Haar rotation of one data seed, row-major [dim][dim]; identity when the specification does not rotate.
// Computed on the host in double precision and rounded once.
std::vector<float> slab_rotation(const SlabSpec& spec, std::uint32_t data_seed);

}  // namespace occam
