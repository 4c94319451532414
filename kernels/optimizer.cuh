// One optimiser step on a member's parameters, in place (law/optimizer.hpp).
#pragma once

#include <type_traits>

#include "law/optimizer.hpp"
#include "members.hpp"
#include "product.cuh"

namespace occam::cuda {

// Calls f with the optimiser and whether it has momentum as compile-time constants. All members of a wave may
// differ; the threads of a block, which work on one member, take one branch.
template <class F>
__device__ __forceinline__ void with_optimizer(const law::OptimizerConstants& o, const F& f) {
  const auto call = [&]<OptimizerKind kind>(std::integral_constant<OptimizerKind, kind>) {
    constexpr std::integral_constant<OptimizerKind, kind> constant;
    if (kind != OptimizerKind::adam && o.momentum != 0.0f) {
      f(constant, std::true_type{});
    } else {
      f(constant, std::false_type{});
    }
  };
  switch (o.kind) {
    case OptimizerKind::sgd: return call(std::integral_constant<OptimizerKind, OptimizerKind::sgd>{});
    case OptimizerKind::adam: return call(std::integral_constant<OptimizerKind, OptimizerKind::adam>{});
    default: return call(std::integral_constant<OptimizerKind, OptimizerKind::rmsprop>{});
  }
}

template <OptimizerKind kind, bool momentum>
inline constexpr bool kReadsState0 = kind != OptimizerKind::sgd || momentum;
template <OptimizerKind kind, bool momentum>
inline constexpr bool kReadsState1 = kind == OptimizerKind::adam ||
                                     (kind == OptimizerKind::rmsprop && momentum);

// A member's parameters and state, [parameter_stride] each. Made where steps begin: the constants are a copy, for a
// store might change what a reference reads, which each step would then wait for.
struct Trainee {
  const law::OptimizerConstants optimizer;
  law::AdamScale adam;
  float *parameters, *state0, *state1;

  __device__ __forceinline__ Trainee(const WaveView& wave, int member)
      : Trainee(wave, member, wave.parameters + member * wave.parameter_stride, wave.progress[member].adam) {}

  // With its parameters elsewhere than in the wave.
  __device__ __forceinline__ Trainee(const WaveView& wave, int member, float* trained, law::AdamScale scale)
      : optimizer(wave.members[member].optimizer), adam(scale), parameters(trained),
        state0(wave.state0 ? wave.state0 + member * wave.parameter_stride : nullptr),
        state1(wave.state1 ? wave.state1 + member * wave.parameter_stride : nullptr) {}

  // The parameter at `offset`.
  template <OptimizerKind kind, bool momentum>
  __device__ __forceinline__ void step(std::int64_t offset, float gradient) const {
    One<kind, momentum> one;
    one.load(*this, offset);
    one.step(*this, offset, gradient);
  }

  __device__ __forceinline__ void step(std::int64_t offset, float gradient) const {
    with_optimizer(optimizer, [&](auto kind, auto momentum) {
      step<decltype(kind)::value, decltype(momentum)::value>(offset, gradient);
    });
  }

  // Parameters that lie elsewhere, whose state is at `offset`: what memory has of all of them is read before the first one
  // is stepped.
  template <int count>
  __device__ __forceinline__ void step_elsewhere(float* const (&value)[count],
                                                 const std::int64_t (&offset)[count],
                                                 const float (&gradient)[count]) const {
    with_optimizer(optimizer, [&](auto kind, auto momentum) {
      One<decltype(kind)::value, decltype(momentum)::value> one[count];
      OCCAM_UNROLL
      for (int i = 0; i < count; ++i) one[i].value = *value[i], one[i].load_state(*this, offset[i]);
      OCCAM_UNROLL
      for (int i = 0; i < count; ++i) {
        one[i].step_value(*this, gradient[i]);
        one[i].store_state(*this, offset[i]);
        *value[i] = one[i].value;
      }
    });
  }

  // `count` (1 to 4) parameters from the 16-byte aligned `offset` on.
  template <OptimizerKind kind, bool momentum>
  __device__ __forceinline__ void step_quad(std::int64_t offset, int count,
                                            const float (&gradient)[kQuad]) const {
    Quad<kind, momentum> quad;
    quad.load(*this, offset);
    quad.step(*this, offset, count, gradient);
  }

  // Parameters and their state in registers. Several of them loaded before the first one is stepped wait for memory
  // once.
  template <OptimizerKind kind, bool momentum>
  struct One {
    float value, first = 0.0f, second = 0.0f;

    __device__ __forceinline__ void load(const Trainee& t, std::int64_t offset) {
      value = t.parameters[offset];
      load_state(t, offset);
    }
    __device__ __forceinline__ void step(const Trainee& t, std::int64_t offset, float gradient) {
      step_value(t, gradient);
      t.parameters[offset] = value;
      store_state(t, offset);
    }

    // The same, apart.
    __device__ __forceinline__ void load_state(const Trainee& t, std::int64_t offset) {
      if constexpr (kReadsState0<kind, momentum>) first = t.state0[offset];
      if constexpr (kReadsState1<kind, momentum>) second = t.state1[offset];
    }
    __device__ __forceinline__ void step_value(const Trainee& t, float gradient) {
      law::optimizer_step<kind, momentum>(t.optimizer, t.adam, gradient, value, first, second);
    }
    __device__ __forceinline__ void store_state(const Trainee& t, std::int64_t offset) const {
      if constexpr (kReadsState0<kind, momentum>) t.state0[offset] = first;
      if constexpr (kReadsState1<kind, momentum>) t.state1[offset] = second;
    }
  };

  template <OptimizerKind kind, bool momentum>
  struct Quad {
    float value[kQuad], first[kQuad], second[kQuad];

    __device__ __forceinline__ void load(const Trainee& t, std::int64_t offset) {
      read_steps(t.parameters + offset, value);
      load_state(t, offset);
    }
    __device__ __forceinline__ void step(const Trainee& t, std::int64_t offset, int count,
                                         const float (&gradient)[kQuad]) {
      step_values(t, count, gradient);
      write(t.parameters + offset, value);
      store_state(t, offset);
    }

    // The same, apart.
    __device__ __forceinline__ void load_state(const Trainee& t, std::int64_t offset) {
      if constexpr (kReadsState0<kind, momentum>) read_steps(t.state0 + offset, first);
      if constexpr (kReadsState1<kind, momentum>) read_steps(t.state1 + offset, second);
    }
    __device__ __forceinline__ void step_values(const Trainee& t, int count, const float (&gradient)[kQuad]) {
      OCCAM_UNROLL
      for (int e = 0; e < kQuad; ++e) {
        if constexpr (!kReadsState0<kind, momentum>) first[e] = 0.0f;
        if constexpr (!kReadsState1<kind, momentum>) second[e] = 0.0f;
        if (e < count)
          law::optimizer_step<kind, momentum>(t.optimizer, t.adam, gradient[e], value[e], first[e],
                                              second[e]);
      }
    }
    __device__ __forceinline__ void store_state(const Trainee& t, std::int64_t offset) const {
      if constexpr (kReadsState0<kind, momentum>) write(t.state0 + offset, first);
      if constexpr (kReadsState1<kind, momentum>) write(t.state1 + offset, second);
    }
  };

 private:
  static __device__ __forceinline__ void write(float* to, const float (&value)[kQuad]) {
    *reinterpret_cast<float4*>(to) = make_float4(value[0], value[1], value[2], value[3]);
  }
};

}  // namespace occam::cuda
