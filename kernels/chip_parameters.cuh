// How parameters get to the chip and back in the bodies of plan resident with sizes at compile time, and how an optimiser with
// state steps them.
#pragma once

#include "optimizer.cuh"
#include "resident.hpp"
#include "whole_batch_products.cuh"

namespace occam::cuda {

// Where a layer's parameters lie, in floats from the start of the block's shared memory; rows of weights are `stride`
// apart. swaps: rows of the units that swapped<S> names keep the two features of a pair in each other's place.
struct ChipPlace {
  int weight, bias, stride;
  bool swaps;
};

// Weights of a unit, or biases, side by side.
struct ParameterQuad {
  int chip;           // where it begins, in floats from the start of the block's shared memory
  std::int64_t wave;  // from the member's first parameter
  int count;          // that exist
  bool swaps;         // pairs on the chip
};

// load(value, quad), then store(value, quad) of each of the thread's quads, `at_once` of which are loaded before the first
// one is stored, so that memory is waited for once.
template <class S, int at_once, class Value, int layers, class Load, class Store>
__device__ __forceinline__ void each_parameter_quad(const ResidentPlan& plan,
                                                    const ChipPlace (&place)[layers], const Load& load,
                                                    const Store& store) {
  OCCAM_UNROLL
  for (int l = 0; l < layers; ++l) {
    const LayerView& view = plan.layer[l].view;
    const int quads = (view.in + kQuad - 1) / kQuad, all = view.out * quads;
    const auto quad = [&](int item) {
      const int unit = item / quads, at = item % quads * kQuad;
      return ParameterQuad{place[l].weight + unit * place[l].stride + at,
                           view.weight + unit * view.in_stride + at, view.in - at,
                           place[l].swaps && swapped<S>(unit)};
    };
    for (int first = thread(); first < all; first += at_once * kResidentThreads) {
      Value value[at_once];
      OCCAM_UNROLL
      for (int i = 0; i < at_once; ++i)
        if (first + i * kResidentThreads < all) load(value[i], quad(first + i * kResidentThreads));
      OCCAM_UNROLL
      for (int i = 0; i < at_once; ++i)
        if (first + i * kResidentThreads < all) store(value[i], quad(first + i * kResidentThreads));
    }
    for (int at = kQuad * thread(); at < view.out; at += kQuad * kResidentThreads) {
      const ParameterQuad biases{place[l].bias + at, view.bias + at, view.out - at, false};
      Value value;
      load(value, biases);
      store(value, biases);
    }
  }
}

__device__ __forceinline__ float4 with_pairs(const float4& quad, bool swaps) {
  return swaps ? make_float4(quad.y, quad.x, quad.w, quad.z) : quad;
}

template <class S, int layers>
__device__ __forceinline__ void bring_parameters(const ResidentPlan& plan, const ChipPlace (&place)[layers],
                                                 const float* trained, float* chip) {
  each_parameter_quad<S, 1, float4>(
      plan, place,
      [&](float4& value, const ParameterQuad& q) {
        value = *reinterpret_cast<const float4*>(trained + q.wave);
      },
      [&](const float4& value, const ParameterQuad& q) {
        *reinterpret_cast<float4*>(chip + q.chip) = with_pairs(value, q.swaps);
      });
}

template <class S, int layers>
__device__ __forceinline__ void return_parameters(const ResidentPlan& plan, const ChipPlace (&place)[layers],
                                                  const float* chip, float* trained) {
  each_parameter_quad<S, 1, float4>(
      plan, place,
      [&](float4& value, const ParameterQuad& q) { value = *reinterpret_cast<const float4*>(chip + q.chip); },
      [&](const float4& value, const ParameterQuad& q) {
        *reinterpret_cast<float4*>(trained + q.wave) = with_pairs(value, q.swaps);
      });
}

// The step of an optimiser with state, which is in memory. put(gradients) stores each gradient at its parameter's offset
// there, in [parameter_stride] floats where nobody reads any more after a barrier. By the whole block; others read the new
// parameters after another one.
template <class S, int layers, class Put>
__device__ __forceinline__ void step_with_state(const ResidentArguments& a, int member, law::AdamScale adam,
                                                const ChipPlace (&place)[layers], float* chip,
                                                float* gradients, const Put& put) {
  __syncthreads();
  put(gradients);
  __syncthreads();
  const Trainee trainee{a.wave, member, chip, adam};
  with_optimizer(trainee.optimizer, [&](auto kind, auto momentum) {
    // Roots and divisions are calls around which what is at hand has to be stored.
    constexpr int kAtOnce = decltype(kind)::value == OptimizerKind::sgd ? 4 : 1;
    using Quad = Trainee::Quad<decltype(kind)::value, decltype(momentum)::value>;
    each_parameter_quad<S, kAtOnce, Quad>(
        a.plan, place, [&](Quad& of, const ParameterQuad& q) { of.load_state(trainee, q.wave); },
        [&](Quad& of, const ParameterQuad& q) {
          float4& value = *reinterpret_cast<float4*>(chip + q.chip);
          float gradient[kQuad];
          read_steps(gradients + q.wave, gradient);
          const float4 before = with_pairs(value, q.swaps);
          of.value[0] = before.x, of.value[1] = before.y, of.value[2] = before.z, of.value[3] = before.w;
          of.step_values(trainee, q.count, gradient);
          of.store_state(trainee, q.wave);
          value = with_pairs(make_float4(of.value[0], of.value[1], of.value[2], of.value[3]), q.swaps);
        });
  });
}

}  // namespace occam::cuda
