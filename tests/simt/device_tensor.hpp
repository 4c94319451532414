// kernels/tensor.cuh on the executor: the same functions, emulated (executor/tensor.cpp).
#pragma once

#include "simt/device.hpp"

namespace occam::cuda {

__forceinline__ float round_to_tf32(float value) {
  const unsigned bits = __float_as_uint(value);
  const bool is_finite = (bits & 0x7F800000u) != 0x7F800000u;
  const unsigned half = is_finite ? 0x1000u : 0;  // of the last bit that stays: away from zero
  return __uint_as_float((bits + half) & 0xFFFFE000u);
}

__forceinline__ std::uint32_t pack_bf16(float low, float high) {
  const auto round = [](float value) -> std::uint32_t {
    const unsigned bits = __float_as_uint(value);
    return value != value ? 0x7FFFu : (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
  };
  return round(low) | round(high) << 16;
}

__forceinline__ void mma_m16n8k8_tf32(float (&sum)[4], const float (&a)[4], const float (&b)[2],
                                      simt::Where where = simt::Where::current()) {
  simt::multiply_tf32(sum, a, b, where);
}

__forceinline__ void mma_m16n8k16_bf16(float (&sum)[4], const std::uint32_t (&a)[4],
                                       const std::uint32_t (&b)[2],
                                       simt::Where where = simt::Where::current()) {
  simt::multiply_bf16(sum, a, b, where);
}

template <int count>
__forceinline__ void ldmatrix(std::uint32_t (&fragment)[count], const void* row,
                              simt::Where where = simt::Where::current()) {
  static_assert(count == 1 || count == 2 || count == 4, "ldmatrix loads 1, 2 or 4 matrices");
  simt::load_matrices(fragment, count, false, row, where);
}

template <int count>
__forceinline__ void ldmatrix_transposed(std::uint32_t (&fragment)[count], const void* row,
                                         simt::Where where = simt::Where::current()) {
  static_assert(count == 1 || count == 2 || count == 4, "ldmatrix loads 1, 2 or 4 matrices");
  simt::load_matrices(fragment, count, true, row, where);
}

}  // namespace occam::cuda
