// What follows a layer's product, while its tile is in registers.
#pragma once

#include "epilogue.cuh"
#include "forward.hpp"
#include "law/activation.hpp"
#include "law/batch_norm.hpp"

namespace occam::cuda {

// y = (x − running mean) / deviation · gamma + beta of the tile's columns.
template <class T>
__device__ __forceinline__ void normalize_tile(const LayerView& layer, const float* parameters, int first_n,
                                               float (&value)[T::kPerM][T::kPerN]) {
  OCCAM_UNROLL
  for (int j = 0; j < T::kPerN; ++j) {
    const int n = first_n + T::column(j);
    if (n >= layer.out) continue;
    const float mean = parameters[layer.running_mean + n], gamma = parameters[layer.gamma + n];
    const float inverse = law::inverse_deviation(parameters[layer.running_variance + n]);
    const float beta = parameters[layer.beta + n];
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) value[i][j] = law::batch_norm(value[i][j], mean, inverse, gamma, beta);
  }
}

// value: bias of the tile's columns.
template <class T>
__device__ __forceinline__ void start_forward(const LayerView& layer, const float* parameters, int first_n,
                                              float (&value)[T::kPerM][T::kPerN]) {
  OCCAM_UNROLL
  for (int j = 0; j < T::kPerN; ++j) {
    const int n = first_n + T::column(j);
    const float bias = n < layer.out ? parameters[layer.bias + n] : 0.0f;
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) value[i][j] = bias;
  }
}

// Activation, dropout or batch norm by the running averages, and the tile's way to memory. `id`: the member;
// `place`: of the slot's first row.
template <class T>
__device__ __forceinline__ void finish_forward(const ForwardArguments& a, int id, std::int64_t place,
                                               const TilePlace<T>& at, float (&value)[T::kPerM][T::kPerN]) {
  const Member& member = a.wave.members[id];
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  if (a.layer.hidden) {
    const bool prelu = a.layer.activation == Activation::prelu;
    if (a.kept && prelu) store_tile<T>(a.kept + place * a.layer.out_stride, at, value);
    const float slope = prelu ? parameters[a.layer.slope] : 0.0f;
    law::with_activation(a.layer.activation, [&](auto kind) {
      OCCAM_UNROLL
      for (int i = 0; i < T::kPerM; ++i) {
        OCCAM_UNROLL
        for (int j = 0; j < T::kPerN; ++j)
          value[i][j] = law::activate<decltype(kind)::value>(value[i][j], slope);
      }
    });
    if (a.kept && !prelu) store_tile<T>(a.kept + place * a.layer.out_stride, at, value);
    if (a.training) {
      if (member.hidden_dropout.threshold > 0)
        drop_tile<T>(member, static_cast<std::uint32_t>(a.layer.number) + 1, a.wave.progress[id].update, at,
                     value);
    } else if (a.layer.gamma >= 0) {
      normalize_tile<T>(a.layer, parameters, at.first_n, value);
    }
  }
  store_tile<T>(a.output + place * a.layer.out_stride, at, value);
}

}  // namespace occam::cuda
