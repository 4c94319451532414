// kernels/tensor.cuh on the executor: products against plain loops, exact where all numbers are small integers;
// layouts against their formulas; what a warp must not do.
#include "tensor.cuh"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <utility>

#include "simt/executor_fixture.hpp"

namespace occam::cuda {
namespace {

constexpr int kRows = 16, kColumns = 8;

// Fragments are gathered by the layouts' formulas from matrices in global memory, rows side by side.
__global__ void tf32_kernel(float* sum, const float* a, const float* b) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const float fragment_a[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};
  const float fragment_b[2] = {b[t * kColumns + g], b[(t + 4) * kColumns + g]};
  float* const place[4] = {&sum[g * kColumns + 2 * t], &sum[g * kColumns + 2 * t + 1],
                           &sum[(g + 8) * kColumns + 2 * t], &sum[(g + 8) * kColumns + 2 * t + 1]};
  float fragment[4] = {*place[0], *place[1], *place[2], *place[3]};
  mma_m16n8k8_tf32(fragment, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) *place[i] = fragment[i];
}

__global__ void bf16_kernel(float* sum, const float* a, const float* b) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto pair_a = [&](int row, int k) { return pack_bf16(a[row * 16 + k], a[row * 16 + k + 1]); };
  const auto pair_b = [&](int k) { return pack_bf16(b[k * kColumns + g], b[(k + 1) * kColumns + g]); };
  const std::uint32_t fragment_a[4] = {pair_a(g, 2 * t), pair_a(g + 8, 2 * t), pair_a(g, 2 * t + 8),
                                       pair_a(g + 8, 2 * t + 8)};
  const std::uint32_t fragment_b[2] = {pair_b(2 * t), pair_b(2 * t + 8)};
  float* const place[4] = {&sum[g * kColumns + 2 * t], &sum[g * kColumns + 2 * t + 1],
                           &sum[(g + 8) * kColumns + 2 * t], &sum[(g + 8) * kColumns + 2 * t + 1]};
  float fragment[4] = {*place[0], *place[1], *place[2], *place[3]};
  mma_m16n8k16_bf16(fragment, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) *place[i] = fragment[i];
}

class TensorCores : public Executor {
 protected:
  using Kernel = void (*)(float*, const float*, const float*);

  DeviceBuffer<float> on_device(const char* name, const std::vector<float>& values) {
    DeviceBuffer<float> buffer(name, values.size());
    copy_to_device(stream, buffer, std::span<const float>(values));
    return buffer;
  }
  std::vector<float> product(Kernel kernel, const std::vector<float>& start, const std::vector<float>& a,
                             const std::vector<float>& b) {
    auto sum = on_device("sum", start);
    launch(stream, "product", kernel, 1, 32, 0, sum.data(), on_device("a", a).data(),
           on_device("b", b).data());
    return download(sum);
  }
  // Compares with the plain loop; tolerance: 2^-22 · Σ |a| |b|, or none.
  void expect_product(Kernel kernel, int depth, bool exact, const std::function<float()>& draw) {
    const auto size = static_cast<std::size_t>(depth);
    std::vector<float> start(kRows * kColumns), a(kRows * size), b(size * kColumns);
    for (std::vector<float>* matrix : {&start, &a, &b})
      for (float& value : *matrix) value = draw();
    const std::vector<float> sum = product(kernel, start, a, b);
    for (std::size_t row = 0; row < kRows; ++row)
      for (std::size_t column = 0; column < kColumns; ++column) {
        double expected = start[row * kColumns + column], magnitude = std::abs(expected);
        for (std::size_t k = 0; k < size; ++k) {
          const double term = static_cast<double>(a[row * size + k]) * b[k * kColumns + column];
          expected += term, magnitude += std::abs(term);
        }
        ASSERT_GT(magnitude, 0.0);
        ASSERT_NEAR(sum[row * kColumns + column], expected, exact ? 0.0 : std::ldexp(magnitude, -22))
            << row << ", " << column;
      }
  }

  std::mt19937 random{5};
  float uniform() { return std::uniform_real_distribution<float>(-1.0f, 1.0f)(random); }
};

float bf16_of(std::uint32_t pair, int half) {
  return __uint_as_float(half == 0 ? pair << 16 : pair & 0xFFFF0000u);
}

TEST_F(TensorCores, ProductsAreThePlainLoops) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    simt::set_seed(seed);
    const auto integer = [&] { return static_cast<float>(static_cast<int>(random() % 16) * 2 - 15); };
    ASSERT_NO_FATAL_FAILURE(expect_product(tf32_kernel, 8, true, integer));
    ASSERT_NO_FATAL_FAILURE(expect_product(bf16_kernel, 16, true, integer));
    ASSERT_NO_FATAL_FAILURE(expect_product(tf32_kernel, 8, false, [&] { return round_to_tf32(uniform()); }));
    ASSERT_NO_FATAL_FAILURE(
        expect_product(bf16_kernel, 16, false, [&] { return bf16_of(pack_bf16(uniform(), 0.0f), 0); }));
  }
}

// Each element of a and b alone reaches the row and column it belongs to.
TEST_F(TensorCores, OneElementAtATime) {
  for (const auto& [kernel, depth] : {std::pair<Kernel, int>{tf32_kernel, 8}, {bf16_kernel, 16}})
    for (int row = 0; row < kRows; ++row)
      for (int k = 0; k < depth; ++k) {
        std::vector<float> a(static_cast<std::size_t>(kRows * depth)), b(static_cast<std::size_t>(depth) * 8);
        a[static_cast<std::size_t>(row * depth + k)] = 2.0f;
        for (std::size_t column = 0; column < kColumns; ++column)
          b[static_cast<std::size_t>(k) * kColumns + column] = static_cast<float>(column + 1);
        std::vector<float> expected(kRows * kColumns);
        for (std::size_t column = 0; column < kColumns; ++column)
          expected[static_cast<std::size_t>(row) * kColumns + column] = 2.0f * static_cast<float>(column + 1);
        ASSERT_EQ(product(kernel, std::vector<float>(kRows * kColumns), a, b), expected) << row << ", " << k;
      }
}

TEST_F(TensorCores, OperandsMustBeRounded) {
  std::vector<float> a(16 * 8, 1.0f), b(8 * 8, 1.0f), start(16 * 8);
  a[3 * 8 + 5] = 1.0f + std::ldexp(1.0f, -11);  // lane 13's a[2]
  EXPECT_THAT(
      violation([&] { product(tf32_kernel, start, a, b); }),
      AllOf(HasSubstr("not rounded to TF32: a[2] of thread (13, 0, 0)"), HasSubstr("tensor_test.cpp:")));
  a[3 * 8 + 5] = round_to_tf32(a[3 * 8 + 5]);
  b[6 * 8 + 1] = 0.1f;  // lane 6's b[1]
  EXPECT_THAT(violation([&] { product(tf32_kernel, start, a, b); }),
              HasSubstr("not rounded to TF32: b[1] of thread (6, 0, 0)"));
  b[6 * 8 + 1] = round_to_tf32(0.1f);
  EXPECT_EQ(violation([&] { product(tf32_kernel, start, a, b); }), "");
  a[0] = std::numeric_limits<float>::quiet_NaN();
  a[8] = std::numeric_limits<float>::infinity();
  const std::vector<float> sum = product(tf32_kernel, start, a, b);
  EXPECT_TRUE(std::isnan(sum[0]));
  EXPECT_TRUE(std::isinf(sum[8]));
  EXPECT_EQ(sum[16], 8.0f);
}

TEST_F(TensorCores, Rounding) {
  const float last = std::ldexp(1.0f, -10);  // of TF32 at 1
  EXPECT_EQ(round_to_tf32(1.0f), 1.0f);
  EXPECT_EQ(round_to_tf32(1.0f + last / 2), 1.0f + last);  // a tie goes away from zero
  EXPECT_EQ(round_to_tf32(-1.0f - last / 2), -1.0f - last);
  EXPECT_EQ(round_to_tf32(1.0f + last / 2 - std::ldexp(1.0f, -23)), 1.0f);
  EXPECT_EQ(round_to_tf32(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(round_to_tf32(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(round_to_tf32(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_EQ(__float_as_uint(round_to_tf32(__uint_as_float(0x7FFFFFFFu))), 0x7FFFE000u);
  EXPECT_TRUE(std::signbit(round_to_tf32(-0.0f)));

  const float step = std::ldexp(1.0f, -7);  // of BF16 at 1
  EXPECT_EQ(pack_bf16(1.0f, -2.0f), 0xC0003F80u);
  EXPECT_EQ(bf16_of(pack_bf16(1.0f + step / 2, 0), 0), 1.0f);  // a tie goes to the even neighbour
  EXPECT_EQ(bf16_of(pack_bf16(0, 1.0f + 3 * step / 2), 1), 1.0f + 2 * step);
  EXPECT_EQ(bf16_of(pack_bf16(1.0f + step / 2 + std::ldexp(1.0f, -23), 0), 0), 1.0f + step);
  EXPECT_EQ(pack_bf16(std::numeric_limits<float>::max(), 0), 0x7F80u);
  EXPECT_TRUE(std::isnan(bf16_of(pack_bf16(std::numeric_limits<float>::quiet_NaN(), 0), 0)));
}

// ---- ldmatrix ---------------------------------------------------------------------------------------------

struct Matrices {
  alignas(16) std::uint16_t element[4][8][8];
};

// Every element holds its matrix, row and column; rows are handed out by the formula.
template <int count, bool transposed>
__global__ void load_kernel(std::uint32_t* out) {
  Matrices& matrices = shared<Matrices>();
  for (unsigned i = threadIdx.x; i < 4 * 64; i += 32)
    matrices.element[i / 64][i / 8 % 8][i % 8] = static_cast<std::uint16_t>(i);
  __syncwarp();
  const unsigned from = threadIdx.x % (8 * count);
  std::uint32_t fragment[count];
  if constexpr (transposed) {
    ldmatrix_transposed(fragment, matrices.element[from / 8][from % 8]);
  } else {
    ldmatrix(fragment, matrices.element[from / 8][from % 8]);
  }
  for (int i = 0; i < count; ++i) out[static_cast<int>(threadIdx.x) * count + i] = fragment[i];
}

template <int count, bool transposed>
void expect_layout(Stream& stream) {
  DeviceBuffer<std::uint32_t> out("out", 32 * count);
  launch(stream, "load", load_kernel<count, transposed>, 1, 32, sizeof(Matrices), out.data());
  std::vector<std::uint32_t> words(out.size());
  copy_to_host(stream, words.data(), out.data(), words.size());
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < count; ++i)
      for (unsigned h = 0; h < 2; ++h) {
        const unsigned g = lane / 4, pair = 2 * (lane % 4) + h;
        const unsigned expected = i * 64 + (transposed ? pair * 8 + g : g * 8 + pair);
        ASSERT_EQ(words[lane * count + i] >> (16 * h) & 0xFFFFu, expected) << lane << ", " << i << ", " << h;
      }
}

TEST_F(TensorCores, MatricesAreLoadedByTheFormula) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    simt::set_seed(seed);
    ASSERT_NO_FATAL_FAILURE((expect_layout<1, false>(stream)));
    ASSERT_NO_FATAL_FAILURE((expect_layout<2, false>(stream)));
    ASSERT_NO_FATAL_FAILURE((expect_layout<4, false>(stream)));
    ASSERT_NO_FATAL_FAILURE((expect_layout<1, true>(stream)));
    ASSERT_NO_FATAL_FAILURE((expect_layout<2, true>(stream)));
    ASSERT_NO_FATAL_FAILURE((expect_layout<4, true>(stream)));
  }
}

// 0: right; 1: no __syncwarp after the rows were written; 2: a row that is not aligned; 3: a row beyond shared
// memory; 4: a row nobody wrote; 5: the matrix is overwritten without a __syncwarp; 6: rows of global memory.
template <int mistake>
__global__ void mistaken_load_kernel(std::uint32_t* out, const std::uint32_t* in) {
  Matrices& matrices = shared<Matrices>();
  const unsigned lane = threadIdx.x, written = mistake == 4 ? 63 : 64;
  for (unsigned i = lane; i < written; i += 32) matrices.element[0][i / 8][i % 8] = 1;
  if constexpr (mistake != 1) __syncwarp();
  const std::uint16_t* row = matrices.element[0][lane % 8];
  if (mistake == 2 && lane == 3) row += 1;
  if (mistake == 3 && lane == 3) row += 4 * 64;
  const void* given = row;
  if constexpr (mistake == 6) given = in;
  std::uint32_t fragment[1];
  ldmatrix(fragment, given);
  if constexpr (mistake == 5) matrices.element[0][lane / 4][2 * (7 - lane % 8) % 8] = 2;
  out[lane] = fragment[0];
}

TEST_F(TensorCores, MistakenLoadsAreFound) {
  DeviceBuffer<std::uint32_t> out("out", 32), in("in", 32);
  fill(stream, in);
  const auto load = [&](auto kernel) {
    return violation([&] { launch(stream, "load", kernel, 1, 32, sizeof(Matrices), out.data(), in.data()); });
  };
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    simt::set_seed(seed);
    EXPECT_EQ(load(mistaken_load_kernel<0>), "");
    EXPECT_THAT(load(mistaken_load_kernel<1>), AllOf(HasSubstr("race on"), HasSubstr("tensor_test.cpp:")));
    EXPECT_THAT(load(mistaken_load_kernel<2>),
                AllOf(HasSubstr("misaligned: ldmatrix at tensor_test.cpp:"), HasSubstr("thread (3, 0, 0)")));
    EXPECT_THAT(load(mistaken_load_kernel<3>), AllOf(HasSubstr("out of bounds"), HasSubstr("shared memory")));
    EXPECT_THAT(load(mistaken_load_kernel<4>), HasSubstr("uninitialised"));
    EXPECT_THAT(load(mistaken_load_kernel<5>), HasSubstr("race on"));
    EXPECT_THAT(load(mistaken_load_kernel<6>),
                AllOf(HasSubstr("not in shared memory: ldmatrix"), HasSubstr("of buffer 'in'")));
  }
}

// ---- warps that do not meet -------------------------------------------------------------------------------

__global__ void divergent_product_kernel(float* out) {
  float sum[4] = {}, a[4] = {}, b[2] = {};
  if (threadIdx.x != 7) mma_m16n8k8_tf32(sum, a, b);
  out[threadIdx.x] = sum[0];
}
// Two operations, also where one line of the source stands for both.
template <bool one_place>
__global__ void split_product_kernel(float* out) {
  const simt::Where place = simt::Where::current();
  float sum[4] = {};
  const float a[4] = {}, b[2] = {};
  const std::uint32_t pairs_a[4] = {}, pairs_b[2] = {};
  if (threadIdx.x < 16) {
    mma_m16n8k8_tf32(sum, a, b, one_place ? place : simt::Where::current());
  } else {
    mma_m16n8k16_bf16(sum, pairs_a, pairs_b, one_place ? place : simt::Where::current());
  }
  out[threadIdx.x] = sum[0];
}

TEST_F(TensorCores, AllLanesMeetAtOneOperation) {
  DeviceBuffer<float> out("out", 64);
  EXPECT_THAT(violation([&] { launch(stream, "divergent", divergent_product_kernel, 1, 32, 0, out.data()); }),
              HasSubstr("names"));
  for (const auto kernel : {split_product_kernel<false>, split_product_kernel<true>})
    EXPECT_THAT(violation([&] { launch(stream, "split", kernel, 1, 32, 0, out.data()); }),
                HasSubstr("divergent warp"));
  EXPECT_THAT(violation([&] { launch(stream, "divergent", divergent_product_kernel, 1, 40, 0, out.data()); }),
              AnyOf(HasSubstr("which this warp does not have"), HasSubstr("names")));
}

}  // namespace
}  // namespace occam::cuda
