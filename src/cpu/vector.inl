// The vector of the instruction set this file is compiled for, and the transpose of a square of them.
// Included inside namespace occam::cpu::<instruction set>.

#if defined(__AVX512F__)

inline constexpr int kWidth = 16;  // floats in a vector
using Vector = __m512;
inline Vector fetch(const float* p) { return _mm512_load_ps(p); }

inline void put(float* p, Vector v) { _mm512_store_ps(p, v); }
inline Vector broadcast(const float* p) { return _mm512_set1_ps(*p); }
inline Vector zero() { return _mm512_setzero_ps(); }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }

// GCC 12's AVX-512 headers warn about their own undefined operands.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

// The lower half of a vector, for columns that end there: a processor whose multipliers are 256 bits wide does it in
// half the time, another one in the same. Stored, the upper half is 0.
inline constexpr bool kHasHalves = true;
using Half = __m256;
inline void fetch(const float* p, Half& half) { half = _mm256_load_ps(p); }
inline void put(float* p, Half half) {
  _mm256_store_ps(p, half);
  _mm256_store_ps(p + kWidth / 2, _mm256_setzero_ps());
}
inline Half multiply_add(Vector a, Half b, Half c) {
  return _mm256_fmadd_ps(_mm512_castps512_ps256(a), b, c);
}

// destination[c][r] = source[r][c] for 16 x 16 floats, strides in floats.
[[gnu::noinline]] inline void transpose_square(const float* source, std::int64_t source_stride,
                                               float* destination, std::int64_t destination_stride) {
  for (int c = 0; c < 16; c += 4) {
    __m512 a[4];  // 128-bit lane l of a[i]: columns c … c + 3 of row 4l + i
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const float* at = source + i * source_stride + c;
      __m512 x = _mm512_castps128_ps512(_mm_load_ps(at));
      x = _mm512_insertf32x4(x, _mm_load_ps(at + 4 * source_stride), 1);
      x = _mm512_insertf32x4(x, _mm_load_ps(at + 8 * source_stride), 2);
      a[i] = _mm512_insertf32x4(x, _mm_load_ps(at + 12 * source_stride), 3);
    }
    // row r of the square is at a[r % 4] lane r / 4
    const __m512 t0 = _mm512_unpacklo_ps(a[0], a[1]), t1 = _mm512_unpackhi_ps(a[0], a[1]);
    const __m512 t2 = _mm512_unpacklo_ps(a[2], a[3]), t3 = _mm512_unpackhi_ps(a[2], a[3]);
    put(destination + c * destination_stride, _mm512_shuffle_ps(t0, t2, 0x44));
    put(destination + (c + 1) * destination_stride, _mm512_shuffle_ps(t0, t2, 0xEE));
    put(destination + (c + 2) * destination_stride, _mm512_shuffle_ps(t1, t3, 0x44));
    put(destination + (c + 3) * destination_stride, _mm512_shuffle_ps(t1, t3, 0xEE));
  }
}
#pragma GCC diagnostic pop

#else

inline constexpr int kWidth = 8;
using Vector = __m256;
inline Vector fetch(const float* p) { return _mm256_load_ps(p); }

inline void put(float* p, Vector v) { _mm256_store_ps(p, v); }
inline Vector broadcast(const float* p) { return _mm256_broadcast_ss(p); }
inline Vector zero() { return _mm256_setzero_ps(); }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }

inline constexpr bool kHasHalves = false;
using Half = Vector;

inline void transpose_square(const float* source, std::int64_t source_stride, float* destination,
                             std::int64_t destination_stride) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = fetch(source + i * source_stride);
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xEE);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
  }
  for (int c = 0; c < 4; ++c) {
    put(destination + c * destination_stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x20));
    put(destination + (4 + c) * destination_stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x31));
  }
}

#endif

inline void fetch(const float* p, Vector& vector) { vector = fetch(p); }

inline std::int64_t whole_vectors(std::int64_t width) { return (width + kWidth - 1) / kWidth * kWidth; }

// destination[c][r] = source[r][c]. Both have whole vectors in every row and 16-row-aligned allocations: rows
// and columns are rounded up to the vector width, so the padding is transposed along.
inline void transpose(const float* source, std::int64_t source_stride, std::int64_t rows,
                      std::int64_t columns, float* destination, std::int64_t destination_stride) {
  for (std::int64_t r = 0; r < rows; r += kWidth)
    for (std::int64_t c = 0; c < columns; c += kWidth)
      transpose_square(source + r * source_stride + c, source_stride,
                       destination + c * destination_stride + r, destination_stride);
}
