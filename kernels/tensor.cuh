// Tensor cores: products of small matrices by a warp, what loads their operands, and the rounding that these
// need. All 32 lanes of a warp call an operation together. Lane l is in group g = l / 4, at place t = l % 4.
// The SIMT executor's bodies (tests/simt/device_tensor.hpp) follow the same layouts.
#pragma once

#include "launch.hpp"

#if defined(OCCAM_SIMT)
#include "simt/device_tensor.hpp"
#else

namespace occam::cuda {

// To the nearest TF32 (8 bits of exponent, 10 of mantissa), ties away from zero: a float whose low 13 bits are
// zero.
__device__ __forceinline__ float round_to_tf32(float value) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return __uint_as_float(bits);
}

// Two BF16 in one word, each to the nearest, ties to even.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// sum += a · b with a 16 × 8, b 8 × 8 of TF32 values (round_to_tf32) and float sums, 16 × 8:
//   a[i]    row g + 8 (i % 2), column t + 4 (i / 2)
//   b[i]    row t + 4 i,       column g
//   sum[i]  row g + 8 (i / 2), column 2 t + i % 2
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&sum)[4], const float (&a)[4], const float (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
        "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// sum += a · b with a 16 × 16, b 16 × 8 of BF16 pairs (pack_bf16) and float sums, 16 × 8. Half h (0 low, 1
// high) of a word:
//   a[i]    row g + 8 (i % 2),   column 2 t + h + 8 (i / 2)
//   b[i]    row 2 t + h + 8 i,   column g
//   sum[i]  row g + 8 (i / 2),   column 2 t + i % 2
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&sum)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Loads `count` (1, 2 or 4) 8 × 8 matrices of 16-bit elements from shared memory. Lane l gives the address of
// row l % 8 of matrix l / 8, 16 bytes, 16-byte aligned; lanes from 8 · count on give none that is used. Half h
// of fragment[i] is element (g, 2 t + h) of matrix i, so a matrix of 8 × 4 floats comes as float (g, t).
template <int count>
__device__ __forceinline__ void ldmatrix(std::uint32_t (&fragment)[count], const void* row) {
  static_assert(count == 1 || count == 2 || count == 4, "ldmatrix loads 1, 2 or 4 matrices");
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (count == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(fragment[0])
                 : "r"(address)
                 : "memory");
  } else if constexpr (count == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragment[0]), "=r"(fragment[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(address)
                 : "memory");
  }
}

// The same, of the transposed matrices: half h of fragment[i] is element (2 t + h, g) of what lies in memory.
template <int count>
__device__ __forceinline__ void ldmatrix_transposed(std::uint32_t (&fragment)[count], const void* row) {
  static_assert(count == 1 || count == 2 || count == 4, "ldmatrix loads 1, 2 or 4 matrices");
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (count == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(fragment[0])
                 : "r"(address)
                 : "memory");
  } else if constexpr (count == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragment[0]), "=r"(fragment[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(address)
                 : "memory");
  }
}

}  // namespace occam::cuda

#endif
