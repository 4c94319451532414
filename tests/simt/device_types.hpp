// CUDA's built-in vector types, with the sizes and alignments that the hardware demands.
#pragma once

#define OCCAM_SIMT_VECTORS(type, name, align2, align4)                                                       \
  struct name##1 {                                                                                           \
    type x;                                                                                                  \
  };                                                                                                         \
  struct alignas(align2) name##2 {                                                                           \
    type x, y;                                                                                               \
  };                                                                                                         \
  struct name##3 {                                                                                           \
    type x, y, z;                                                                                            \
  };                                                                                                         \
  struct alignas(align4) name##4 {                                                                           \
    type x, y, z, w;                                                                                         \
  };                                                                                                         \
  inline __attribute__((always_inline)) name##2 make_##name##2(type x, type y) { return {x, y}; }            \
  inline __attribute__((always_inline)) name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  inline __attribute__((always_inline)) name##4 make_##name##4(type x, type y, type z, type w) {             \
    return {x, y, z, w};                                                                                     \
  }
OCCAM_SIMT_VECTORS(float, float, 8, 16)
OCCAM_SIMT_VECTORS(int, int, 8, 16)
OCCAM_SIMT_VECTORS(unsigned, uint, 8, 16)
OCCAM_SIMT_VECTORS(unsigned short, ushort, 4, 8)
OCCAM_SIMT_VECTORS(unsigned char, uchar, 2, 4)
OCCAM_SIMT_VECTORS(double, double, 16, 16)
#undef OCCAM_SIMT_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace occam::simt {
// Constant within a CUDA thread, so the compiler may read them once per function.
[[gnu::const]] uint3 thread_index();
[[gnu::const]] uint3 block_index();
[[gnu::const]] uint3 block_dimension();
[[gnu::const]] uint3 grid_dimension();
[[gnu::const]] unsigned lane_index();
}  // namespace occam::simt
