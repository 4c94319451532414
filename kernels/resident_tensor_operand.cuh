// Operands of tensor-core products in shared memory, by their precision: how elements are stored, and how a
// warp's fragments are read. Lane l is in group g = l / 4, at place t = l % 4 (tensor.cuh).
//
// A step of a product's depth is two chunks of 16 bytes: 8 elements of TF32, 16 of BF16. Reads are free of bank
// conflicts:
//   - rows (ldmatrix): 16 bytes of eight rows that lie an odd number of chunks apart fall into the eight
//     different groups of four banks;
//   - columns in BF16 (ldmatrix_transposed): the same;
//   - columns in TF32: 32 single words, lane l at row 2 t (or 2 t + 1), column g. Rows are 4·odd words apart, so
//     every other row is 8·odd words on: four times eight neighbouring banks, all different.
// That TF32 reads rows 2 t where the fragment's depth is t permutes the depth within a step. Weight gradients
// read both operands so, and a sum does not mind. Input gradients read their other operand by rows, so the rows
// of a weight matrix are stored in that order (weight_row).
#pragma once

#include "lanes.cuh"
#include "law/functions.hpp"
#include "product.cuh"
#include "resident_tensor.hpp"
#include "tensor.cuh"

namespace occam::cuda {

// A matrix of operands in shared memory.
struct OperandPanel {
  char* data;
  int row_bytes;

  __device__ __forceinline__ char* row(int r) const { return data + r * row_bytes; }
};

struct Tf32 {
  static constexpr int kBytes = 4, kChunk = kChunkBytes / kBytes, kStep = 2 * kChunk;
  static constexpr bool kCopiesAsync = true;  // rows land as fp32 and are rounded in place

  static __device__ __forceinline__ int weight_row(int unit) {
    return (unit & ~7) | (unit & 3) << 1 | (unit >> 2 & 1);
  }
  static __device__ __forceinline__ float round(float value) { return round_to_tf32(value); }
  // The same bits, without a predicate, of anything but a NaN with a sign and all of its upper bits set, which no
  // product makes.
  static __device__ __forceinline__ float round_sum(float value) {
    const auto bits = static_cast<std::int32_t>(__float_as_uint(value));
    const auto below = static_cast<std::uint32_t>(bits < 0x7FFFEFFF ? bits : 0x7FFFEFFF);
    return __uint_as_float((below + 0x1000u) & 0xFFFFE000u);
  }
  static __device__ __forceinline__ float get(const char* row, int column) {
    return reinterpret_cast<const float*>(row)[column];
  }
  static __device__ __forceinline__ void put(char* row, int column, float value) {
    reinterpret_cast<float*>(row)[column] = round_to_tf32(value);
  }
  static __device__ __forceinline__ float2 get_pair(const char* row, int column) {
    return *reinterpret_cast<const float2*>(row + column * kBytes);
  }
  static __device__ __forceinline__ void put_pair(char* row, int column, float first, float second) {
    *reinterpret_cast<float2*>(row + column * kBytes) =
        make_float2(round_to_tf32(first), round_to_tf32(second));
  }
  // Of what `round` made.
  static __device__ __forceinline__ void put_rounded_pair(char* row, int column, float first, float second) {
    *reinterpret_cast<float2*>(row + column * kBytes) = make_float2(first, second);
  }
  static __device__ __forceinline__ void put_quad(char* row, int column, const float (&v)[kQuad]) {
    *reinterpret_cast<float4*>(row + column * kBytes) =
        make_float4(round_to_tf32(v[0]), round_to_tf32(v[1]), round_to_tf32(v[2]), round_to_tf32(v[3]));
  }
  static __device__ __forceinline__ std::uint32_t one() { return __float_as_uint(1.0f); }
  // A word of a fragment, of elements that were not rounded.
  static __device__ __forceinline__ std::uint32_t operand(const float* element) {
    return __float_as_uint(round_sum(element[0]));
  }

  static __device__ __forceinline__ void multiply(float (&sum)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
    const float of_a[4] = {__uint_as_float(a[0]), __uint_as_float(a[1]), __uint_as_float(a[2]),
                           __uint_as_float(a[3])};
    const float of_b[2] = {__uint_as_float(b[0]), __uint_as_float(b[1])};
    mma_m16n8k8_tf32(sum, of_a, of_b);
  }

  static __device__ __forceinline__ std::uint32_t word(const char* at) {
    return *reinterpret_cast<const std::uint32_t*>(at);
  }
  // The lane's place in a panel [depth][extent] at column `first`.
  static __device__ __forceinline__ const char* column_place(OperandPanel p, int first) {
    return p.row(2 * (lane() % 4)) + (first + lane() / 4) * kBytes;
  }
  static __device__ __forceinline__ const char* columns_a(OperandPanel p, int first) {
    return column_place(p, first);
  }
  static __device__ __forceinline__ const char* columns_b(OperandPanel p, int first) {
    return column_place(p, first);
  }
  static __device__ __forceinline__ void read_columns_a(std::uint32_t (&a)[4], const char* at,
                                                        int row_bytes) {
    OCCAM_UNROLL
    for (int i = 0; i < 4; ++i) a[i] = word(at + i / 2 * row_bytes + i % 2 * 8 * kBytes);
  }
  // Of `count` neighbouring tiles of 8 columns.
  template <int count>
  static __device__ __forceinline__ void read_columns_b(std::uint32_t (&b)[count][2], const char* at,
                                                        int row_bytes) {
    OCCAM_UNROLL
    for (int j = 0; j < count; ++j) {
      b[j][0] = word(at + j * 8 * kBytes);
      b[j][1] = word(at + j * 8 * kBytes + row_bytes);
    }
  }
};

struct Bf16 {
  static constexpr int kBytes = 2, kChunk = kChunkBytes / kBytes, kStep = 2 * kChunk;
  static constexpr bool kCopiesAsync = false;

  static __device__ __forceinline__ int weight_row(int unit) { return unit; }
  static __device__ __forceinline__ float round(float value) {
    return __uint_as_float(pack_bf16(value, 0.0f) << 16);
  }
  static __device__ __forceinline__ float round_sum(float value) { return round(value); }
  static __device__ __forceinline__ float get(const char* row, int column) {
    return __uint_as_float(static_cast<std::uint32_t>(reinterpret_cast<const std::uint16_t*>(row)[column])
                           << 16);
  }
  static __device__ __forceinline__ void put(char* row, int column, float value) {
    reinterpret_cast<std::uint16_t*>(row)[column] = static_cast<std::uint16_t>(pack_bf16(value, 0.0f));
  }
  static __device__ __forceinline__ float2 get_pair(const char* row, int column) {
    const std::uint32_t pair = *reinterpret_cast<const std::uint32_t*>(row + column * kBytes);
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000u));
  }
  static __device__ __forceinline__ void put_pair(char* row, int column, float first, float second) {
    *reinterpret_cast<std::uint32_t*>(row + column * kBytes) = pack_bf16(first, second);
  }
  static __device__ __forceinline__ void put_rounded_pair(char* row, int column, float first, float second) {
    put_pair(row, column, first, second);
  }
  static __device__ __forceinline__ void put_quad(char* row, int column, const float (&v)[kQuad]) {
    *reinterpret_cast<uint2*>(row + column * kBytes) =
        make_uint2(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]));
  }
  static __device__ __forceinline__ std::uint32_t one() { return 0x3F803F80u; }
  static __device__ __forceinline__ std::uint32_t operand(const float* element) {
    return pack_bf16(element[0], element[1]);
  }

  static __device__ __forceinline__ void multiply(float (&sum)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
    mma_m16n8k16_bf16(sum, a, b);
  }

  static __device__ __forceinline__ const char* columns_a(OperandPanel p, int first) {
    const int matrix = lane() / 8;
    return p.row(lane() % 8 + matrix / 2 * 8) + (first + matrix % 2 * 8) * kBytes;
  }
  static __device__ __forceinline__ const char* columns_b(OperandPanel p, int first) {
    return p.row(lane() % 16) + (first + lane() / 16 * 8) * kBytes;
  }
  static __device__ __forceinline__ void read_columns_a(std::uint32_t (&a)[4], const char* at, int) {
    ldmatrix_transposed<4>(a, at);
  }
  template <int count>
  static __device__ __forceinline__ void read_columns_b(std::uint32_t (&b)[count][2], const char* at, int) {
    OCCAM_UNROLL
    for (int j = 0; j + 1 < count; j += 2) {
      std::uint32_t four[4];
      ldmatrix_transposed<4>(four, at + j * 8 * kBytes);
      b[j][0] = four[0], b[j][1] = four[1], b[j + 1][0] = four[2], b[j + 1][1] = four[3];
    }
    if constexpr (count % 2 == 1) ldmatrix_transposed<2>(b[count - 1], at + (count - 1) * 8 * kBytes);
  }
};

}  // namespace occam::cuda
