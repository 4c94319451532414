// What both kernels of one hidden layer share.
#pragma once

#include "epilogue.cuh"
#include "one_hidden.hpp"
#include "product.cuh"

namespace occam::cuda {

static_assert(padded(kOneHiddenOutputs) == kQuad);

__device__ __forceinline__ Operand rows_of(const OneHiddenArguments& a, const Member& member,
                                           std::int64_t place) {
  return a.input ? Operand{a.input + place * a.hidden.in_stride, nullptr, a.hidden.in_stride}
                 : Operand{member.train_x, a.batch + place, a.hidden.in_stride};
}

inline void check_one_hidden(const OneHiddenArguments& a) {
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots,
          "one hidden layer: {} members at once; give 1 to {}", a.slots.count, kMaxSlots);
  require(a.hidden.in <= kOneHiddenInputs && a.last.out <= kOneHiddenOutputs,
          "one hidden layer: {} inputs and {} outputs; at most {} and {}", a.hidden.in, a.last.out,
          kOneHiddenInputs, kOneHiddenOutputs);
}

// Calls f with the kernels' parameters.
template <class F>
void with_one_hidden_variant(const OneHiddenArguments& a, const F& f) {
  const bool relu = a.hidden.activation == Activation::relu;
  if (a.last.out == 1) return relu ? f.template operator()<1, true>() : f.template operator()<1, false>();
  return relu ? f.template operator()<2, true>() : f.template operator()<2, false>();
}
}  // namespace occam::cuda
