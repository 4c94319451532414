// The one matrix product of the CPU body: C = start + A · B, each element a single fmaf chain in ascending k
// (the law). A is read one broadcast element at a time through two strides, so the same kernel serves the
// forward product, the input gradient and the weight gradient (A transposed); B is read by whole vectors
// along its rows. Nothing is packed. Included inside namespace occam::cpu::<instruction set>.

// Element (i, k) at data[i · row + k · column].
struct Operand {
  const float* data;
  std::int64_t row, column;
};

struct Product {
  std::int64_t rows, columns, depth;  // C is [rows][columns]
  Operand a;                          // [rows][depth]
  const float* b;                     // [depth][b_stride], 64-byte aligned rows of whole vectors
  std::int64_t b_stride;
  const float* start;  // [columns] in whole vectors, what every row's accumulators start at; null: 0
};

#if defined(__AVX512F__)
inline constexpr int kMaxVectors = 4;  // 32 registers: accumulators, B's vectors, A's element
inline constexpr int kMaxRows[kMaxVectors + 1] = {0, 24, 14, 9, 6};
#else
inline constexpr int kMaxVectors = 3;  // 16 registers
inline constexpr int kMaxRows[kMaxVectors + 1] = {0, 12, 6, 4};
#endif
inline constexpr int kTileFloats = 28 * 16;  // the largest tile of accumulators

// tile[r][c · kWidth …] = the accumulators of `rows_` rows and `vectors` vectors, of which the last may be half a one.
template <int rows_, int vectors, class Last>
inline void micro_kernel(const Product& p, const float* a, const float* b, const float* start, float* tile) {
  constexpr int before = vectors - 1;  // the last one
  Vector sum[rows_][vectors];
  Last last_sum[rows_];
#pragma GCC unroll 24
  for (int r = 0; r < rows_; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < before; ++c) sum[r][c] = start ? fetch(start + c * kWidth) : zero();
    last_sum[r] = Last{};
    if (start) fetch(start + before * kWidth, last_sum[r]);
  }
  // Three rows share a pointer: x86 addresses base, base + row and base + 2 row without further registers.
  constexpr int pointers = (rows_ + 2) / 3;
  const std::int64_t a_row = p.a.row, a_column = p.a.column, b_stride = p.b_stride;
  const float* base[pointers];
#pragma GCC unroll 8
  for (int i = 0; i < pointers; ++i) base[i] = a + 3 * i * a_row;
  for (std::int64_t k = 0; k < p.depth; ++k) {
    Vector row[vectors];
#pragma GCC unroll 4
    for (int c = 0; c < before; ++c) row[c] = fetch(b + c * kWidth);
    Last last;
    fetch(b + before * kWidth, last);
#pragma GCC unroll 24
    for (int r = 0; r < rows_; ++r) {
      const Vector element = broadcast(base[r / 3] + (r % 3) * a_row);
#pragma GCC unroll 4
      for (int c = 0; c < before; ++c) sum[r][c] = multiply_add(element, row[c], sum[r][c]);
      last_sum[r] = multiply_add(element, last, last_sum[r]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < pointers; ++i) base[i] += a_column;
    b += b_stride;
  }
#pragma GCC unroll 24
  for (int r = 0; r < rows_; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < before; ++c) put(tile + (r * vectors + c) * kWidth, sum[r][c]);
    put(tile + (r * vectors + before) * kWidth, last_sum[r]);
  }
}

using MicroKernel = void (*)(const Product&, const float* a, const float* b, const float* start, float* tile);

template <int vectors, class Last, std::size_t... rows>
constexpr auto micro_kernels(std::index_sequence<rows...>) {
  return std::array<MicroKernel, sizeof...(rows)>{
      &micro_kernel<static_cast<int>(rows) + 1, vectors, Last>...};
}

template <int vectors>
inline MicroKernel micro_kernel_for(std::int64_t rows, bool half) {
  constexpr auto all_rows = std::make_index_sequence<kMaxRows[vectors]>{};
  static constexpr auto table = micro_kernels<vectors, Vector>(all_rows),
                        halves = micro_kernels<vectors, Half>(all_rows);
  return (half ? halves : table)[static_cast<std::size_t>(rows) - 1];
}

inline MicroKernel micro_kernel_for(std::int64_t rows, std::int64_t vectors, bool half) {
  switch (vectors) {
    case 1: return micro_kernel_for<1>(rows, half);
    case 2: return micro_kernel_for<2>(rows, half);
    case 3: return micro_kernel_for<3>(rows, half);
    default: return micro_kernel_for<kMaxVectors>(rows, half);
  }
}

// Few steps leave nothing to a tile in registers: a row of C at a time, read and written by whole lines.
template <int depth, class Epilogue>
inline void multiply_shallow(const Product& p, const Epilogue& epilogue) {
  alignas(64) float tile[kTileFloats];
  const std::int64_t all_columns = whole_vectors(p.columns);
  for (std::int64_t first = 0; first < all_columns; first += kTileFloats) {
    const std::int64_t columns = std::min<std::int64_t>(kTileFloats, all_columns - first);
    for (std::int64_t row = 0; row < p.rows; ++row) {
      Vector element[depth];
#pragma GCC unroll 4
      for (int k = 0; k < depth; ++k) element[k] = broadcast(p.a.data + row * p.a.row + k * p.a.column);
      for (std::int64_t c = 0; c < columns; c += kWidth) {
        Vector sum = p.start ? fetch(p.start + first + c) : zero();
#pragma GCC unroll 4
        for (int k = 0; k < depth; ++k)
          sum = multiply_add(element[k], fetch(p.b + k * p.b_stride + first + c), sum);
        put(tile + c, sum);
      }
      epilogue(row, std::int64_t{1}, first, columns, tile);
    }
  }
}

// Runs the product tile by tile and hands each finished tile, still in the first-level cache, to
// epilogue(first_row, rows, first_column, columns, tile) with tile: [rows][columns], columns in whole vectors; beyond the
// product's they hold what B's padding makes of them, or 0. The tiles of a column come in the order of their rows.
template <class Epilogue>
inline void multiply(const Product& p, const Epilogue& epilogue) {
  switch (p.depth) {
    case 1: return multiply_shallow<1>(p, epilogue);
    case 2: return multiply_shallow<2>(p, epilogue);
    case 3: return multiply_shallow<3>(p, epilogue);
    case 4: return multiply_shallow<4>(p, epilogue);
    default: break;
  }
  alignas(64) float tile[kTileFloats];
  const std::int64_t all_vectors = whole_vectors(p.columns) / kWidth;
  const bool ends_in_half = kHasHalves && all_vectors * kWidth - p.columns >= kWidth / 2;
  const std::int64_t groups = (all_vectors + kMaxVectors - 1) / kMaxVectors;
  for (std::int64_t group = 0, column = 0; group < groups; ++group) {
    const std::int64_t vectors = (all_vectors - column / kWidth + groups - group - 1) / (groups - group);
    const std::int64_t blocks = (p.rows + kMaxRows[vectors] - 1) / kMaxRows[vectors];
    for (std::int64_t block = 0, row = 0; block < blocks; ++block) {
      const std::int64_t rows = (p.rows - row + blocks - block - 1) / (blocks - block);
      micro_kernel_for(rows, vectors, ends_in_half && group == groups - 1)(
          p, p.a.data + row * p.a.row, p.b + column, p.start ? p.start + column : nullptr, tile);
      epilogue(row, rows, column, vectors * kWidth, tile);
      row += rows;
    }
    column += vectors * kWidth;
  }
}

// A product with few columns wastes most lanes of a vector along them. Here the lanes are rows: blocks of A are
// transposed into the first-level cache, and each column costs one multiply-add for a vector of rows.
inline constexpr int kFewColumns = 4;

// out[r][j] = start[j] + Σ_k a[r][k] · b[k][j] for the whole vectors of rows; returns how many rows that are.
// a: [rows][a_stride], b: [depth][b_stride], out: [rows][out_stride].
template <int columns>
inline std::int64_t multiply_few(const float* a, std::int64_t a_stride, std::int64_t rows, std::int64_t depth,
                                 const float* b, std::int64_t b_stride, const float* start, float* out,
                                 std::int64_t out_stride) {
  constexpr int kGroups = 4;            // vectors of rows at a time: as many chains as the latency asks for
  constexpr std::int64_t kDepth = 128;  // transposed at a time: 32 KiB at most
  alignas(64) float transposed[kDepth * kGroups * kWidth], results[columns * kGroups * kWidth];
  const std::int64_t whole = rows / kWidth * kWidth;
  for (std::int64_t first = 0; first < whole; first += kGroups * kWidth) {
    const std::int64_t groups = std::min<std::int64_t>(kGroups, (whole - first) / kWidth);
    Vector sum[columns][kGroups];
    for (int j = 0; j < columns; ++j)
      for (int g = 0; g < kGroups; ++g) sum[j][g] = broadcast(start + j);
    for (std::int64_t begin = 0; begin < depth; begin += kDepth) {
      const std::int64_t steps = std::min(kDepth, depth - begin);
      for (std::int64_t g = 0; g < groups; ++g)
        for (std::int64_t k = 0; k < steps; k += kWidth)
          transpose_square(a + (first + g * kWidth) * a_stride + begin + k, a_stride,
                           transposed + k * kGroups * kWidth + g * kWidth, kGroups * kWidth);
      for (std::int64_t k = 0; k < steps; ++k) {
        const float* lanes = transposed + k * kGroups * kWidth;
        const float* row = b + (begin + k) * b_stride;
#pragma GCC unroll 4
        for (int j = 0; j < columns; ++j) {
          const Vector element = broadcast(row + j);
#pragma GCC unroll 4
          for (int g = 0; g < kGroups; ++g)
            sum[j][g] = multiply_add(fetch(lanes + g * kWidth), element, sum[j][g]);
        }
      }
    }
    for (int j = 0; j < columns; ++j)
      for (int g = 0; g < kGroups; ++g) put(results + (j * kGroups + g) * kWidth, sum[j][g]);
    for (std::int64_t r = 0; r < groups * kWidth; ++r)
      for (int j = 0; j < columns; ++j) out[(first + r) * out_stride + j] = results[j * kGroups * kWidth + r];
  }
  return whole;
}

inline std::int64_t multiply_few(const float* a, std::int64_t a_stride, std::int64_t rows,
                                 std::int64_t columns, std::int64_t depth, const float* b,
                                 std::int64_t b_stride, const float* start, float* out,
                                 std::int64_t out_stride) {
  const auto run = [&](auto count) {
    return multiply_few<count>(a, a_stride, rows, depth, b, b_stride, start, out, out_stride);
  };
  switch (columns) {
    case 1: return run(std::integral_constant<int, 1>{});
    case 2: return run(std::integral_constant<int, 2>{});
    case 3: return run(std::integral_constant<int, 3>{});
    case kFewColumns: return run(std::integral_constant<int, kFewColumns>{});
    default: return 0;
  }
}

// A tile of results, [rows][columns], to its place in a matrix of rows `stride` apart.
inline void copy_tile(const float* tile, float* out, std::int64_t stride, std::int64_t row, std::int64_t rows,
                      std::int64_t column, std::int64_t columns) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; c += kWidth)
      put(out + (row + r) * stride + column + c, fetch(tile + r * columns + c));
}
