// Marks a function that runs on the host and in device code. Always inlined, so that a translation unit
// compiled for a wider instruction set never lends its copy to the rest of the program.
#pragma once

#if defined(__CUDACC__)
#define OCCAM_HD __host__ __device__ __forceinline__
#else
#define OCCAM_HD inline __attribute__((always_inline))
#endif
