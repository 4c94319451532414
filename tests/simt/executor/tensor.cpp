// The tensor-core operations of kernels/tensor.cuh. Lane l is in group l / 4, at place l % 4 of it.
#include <array>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "simt/executor/memory.hpp"
#include "simt/executor/state.hpp"

namespace occam::simt {
namespace {

constexpr int kRows = 16, kColumns = 8;  // of the product

template <int depth>
struct Operands {
  double a[kRows][depth], b[depth][kColumns];
};

// What a lane brings along, on its own stack.
template <class Element>
struct Fragments {
  float* sum;
  const Element *a, *b;
};

template <class Element>
const Fragments<Element>& fragments(const Collective& collective, int lane) {
  return *static_cast<const Fragments<Element>*>(collective.block[static_cast<std::size_t>(lane)]);
}

// Products are exact and their sum is rounded once. Hardware adds them in an order of its own.
template <class Element, int depth>
void multiply(const Collective& collective, const Operands<depth>& operands) {
  for (int lane = 0; lane < 32; ++lane) {
    float* const sum = fragments<Element>(collective, lane).sum;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      double total = sum[i];
      for (int k = 0; k < depth; ++k) total += operands.a[row][k] * operands.b[k][column];
      sum[i] = static_cast<float>(total);
    }
  }
}

// A TF32 operand has 10 bits of mantissa. Hardware ignores the rest, which is truncation where rounding was
// forgotten.
double tf32(float value, char operand, int lane, int i, const Collective& collective) {
  if ((std::bit_cast<std::uint32_t>(value) & 0x1FFFu) != 0) {
    violate([&] {
      return fmt::format("not rounded to TF32: {}[{}] of {} at {} is {:a}; round_to_tf32 makes it an operand",
                         operand, i,
                         describe(state.thread[collective.first_thread + static_cast<std::uint32_t>(lane)]),
                         describe(collective.where), value);
    });
  }
  return value;
}

void multiply_lanes_tf32(const Collective& collective) {
  Operands<8> operands;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = fragments<float>(collective, lane);
    for (int i = 0; i < 4; ++i)
      operands.a[lane / 4 + 8 * (i % 2)][lane % 4 + 4 * (i / 2)] = tf32(mine.a[i], 'a', lane, i, collective);
    for (int i = 0; i < 2; ++i)
      operands.b[lane % 4 + 4 * i][lane / 4] = tf32(mine.b[i], 'b', lane, i, collective);
  }
  multiply<float>(collective, operands);
}

double bf16(std::uint32_t pair, int half) {
  return std::bit_cast<float>(half == 0 ? pair << 16 : pair & 0xFFFF0000u);
}

void multiply_lanes_bf16(const Collective& collective) {
  Operands<16> operands;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = fragments<std::uint32_t>(collective, lane);
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i)
        operands.a[group + 8 * (i % 2)][pair + half + 8 * (i / 2)] = bf16(mine.a[i], half);
      for (int i = 0; i < 2; ++i) operands.b[pair + half + 8 * i][group] = bf16(mine.b[i], half);
    }
  }
  multiply<std::uint32_t>(collective, operands);
}

struct Rows {
  const unsigned char* mine;
  std::array<const unsigned char*, 32> all;
};

void share_rows(const Collective& collective) {
  for (void* const to : collective.block) {
    Rows& rows = *static_cast<Rows*>(to);
    for (std::size_t lane = 0; lane < 32; ++lane)
      rows.all[lane] = static_cast<const Rows*>(collective.block[lane])->mine;
  }
}

}  // namespace

void multiply_tf32(float (&sum)[4], const float (&a)[4], const float (&b)[2], Where where) {
  Fragments<float> mine{sum, a, b};
  warp_exchange(&mine, multiply_lanes_tf32, where);
}

void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
  Fragments<std::uint32_t> mine{sum, a, b};
  warp_exchange(&mine, multiply_lanes_bf16, where);
}

// Rows are exchanged, then each lane reads its own elements: they are its accesses, so another lane's write
// to them needs a __syncwarp on either side.
void load_matrices(std::uint32_t* fragment, int count, bool transposed, const void* row, Where where) {
  const Thread& me = *current;
  const auto return_address = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  const auto address = reinterpret_cast<std::uintptr_t>(row);
  if (static_cast<int>(me.lane()) < 8 * count && (!memory::is_shared(row) || address % 16 != 0)) {
    violate([&] {
      return fmt::format(
          "{}: ldmatrix at {}: the row that {} gives is {} (address {:#x}); rows are 16 B of "
          "shared memory and 16-byte aligned",
          memory::is_shared(row) ? "misaligned" : "not in shared memory", describe(where), describe(me),
          describe_address(address), address);
    });
  }
  Rows rows{static_cast<const unsigned char*>(row), {}};
  warp_exchange(&rows, share_rows, where);
  const unsigned group = me.lane() / 4, pair = 2 * (me.lane() % 4);
  const auto read = [&](unsigned char* to, const unsigned char* from, std::size_t bytes) {
    memory::check(reinterpret_cast<std::uintptr_t>(from), bytes, Access::read, return_address);
    std::memcpy(to, from, bytes);
  };
  for (unsigned matrix = 0; matrix < static_cast<unsigned>(count); ++matrix) {
    auto* const to = reinterpret_cast<unsigned char*>(fragment + matrix);
    const unsigned char* const* const first = rows.all.data() + 8 * matrix;
    if (transposed) {
      read(to, first[pair] + 2 * group, 2);
      read(to + 2, first[pair + 1] + 2 * group, 2);
    } else {
      read(to, first[group] + 2 * pair, 4);
    }
  }
}

}  // namespace occam::simt
