// A weight gradient in a warp's registers, and the step of the fp32 weights behind it, in the bodies of plan resident on tensor cores
// with sizes at compile time.
#pragma once

#include "optimizer.cuh"
#include "tensor_samples.cuh"

namespace occam::cuda {

// A layer's parameters, to the chip: weights as an operand, biases as they are.
template <class P>
__device__ __forceinline__ void bring_weights(const LayerView& view, const float* trained,
                                              OperandPanel operand, float* bias) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int item = thread; item < view.out * view.in; item += kTensorThreads) {
    const int unit = item / view.in, k = item % view.in;
    P::put(operand.row(P::weight_row(unit)), k, trained[view.weight + unit * view.in_stride + k]);
  }
  for (int unit = thread; unit < view.out; unit += kTensorThreads) bias[unit] = trained[view.bias + unit];
}
__device__ __forceinline__ void give_biases_back(const LayerView& view, const float* bias, float* trained) {
  for (int unit = static_cast<int>(threadIdx.x); unit < view.out; unit += kTensorThreads)
    trained[view.bias + unit] = bias[unit];
}

// The part of a warp: units as rows, `down` of all `tiles` of 16 units, and features as columns, `across` tiles of 8 for each
// of warps_across warps side by side. Warps whose rows would end behind the last tile are moved back, and leave alone what is
// others' then. The last column of all stands for a feature of ones, so it has the bias's gradient.
template <class P, int tiles, int down, int across, int warps_across>
struct WeightPart {
  static constexpr int kTilesOfWarp = down;
  static_assert((kWarps / warps_across) * down >= tiles && tiles >= down);

  int m, own_m, n;
  Sums<down, across> sums;
  float2 master[down][2][across];

  __device__ __forceinline__ WeightPart() {
    own_m = tensor_warp() / warps_across * down, m = own_m < tiles - down ? own_m : tiles - down;
    n = tensor_warp() % warps_across * across;
    clear();
  }
  __device__ __forceinline__ void clear() {
    OCCAM_UNROLL
    for (int e = 0; e < 4 * down * across; ++e) sums[e / 4 / across][e / 4 % across][e % 4] = 0.0f;
  }
  __device__ __forceinline__ bool is_idle() const { return own_m >= tiles; }
  __device__ __forceinline__ bool is_last_across() const {
    return warps_across == 1 || tensor_warp() % warps_across == warps_across - 1;
  }

  // += A · x over `samples` samples; those up to the next whole step are zeros in A.
  template <class AtA>
  __device__ __forceinline__ void add_product(const AtA& at_a, OperandPanel x, int samples) {
    if (samples <= 0 || is_idle()) return;
    multiply<P, down, across, true>(at_a, ColumnsB<P>{x}.template place<across>(n),
                                    Depth{(samples + P::kStep - 1) / P::kStep, false},
                                    is_last_across() && lane() / 4 == 7, sums);
  }
  // += deltaᵀ · x
  __device__ __forceinline__ void add(OperandPanel delta, OperandPanel x, int samples) {
    add_product(ColumnsA<P>{delta}.template place<down>(m), x, samples);
  }

  // Calls f(i, half, unit) of the warp's own rows.
  template <class F>
  __device__ __forceinline__ void each_row(int units, const F& f) const {
    OCCAM_UNROLL
    for (int i = 0; i < down; ++i) {
      OCCAM_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int unit = 16 * (m + i) + P::unit_of_group() + 8 * half;
        if (m + i >= own_m && unit < units) f(i, half, unit);
      }
    }
  }
  __device__ __forceinline__ int feature(int j) const { return 8 * (n + j) + lane() % 4 * 2; }

  // Calls f(j, feature) of the lane's pairs of features.
  template <class F>
  __device__ __forceinline__ void each_feature(int features, const F& f) const {
    OCCAM_UNROLL
    for (int j = 0; j < across; ++j)
      if (feature(j) < features) f(j, feature(j));
  }
  __device__ __forceinline__ bool has_ones() const { return is_last_across() && lane() % 4 == 3; }
  __device__ __forceinline__ float of_ones(int i, int half) const {
    return sums[i][across - 1][2 * half + 1];
  }
  // sum += Σ G[u][k] · (weight, bias)[u][k], of the lane's rows, over the warp's features: four lanes make a row's sum.
  __device__ __forceinline__ void multiply_rows(OperandPanel weight, const float* bias, int units,
                                                int features, float (&sum)[down][2]) const {
    each_row(units, [&](int i, int half, int unit) {
      float& of = sum[i][half];
      const char* const row = weight.row(P::weight_row(unit));
      each_feature(features, [&](int j, int feature) {
        const float2 w = P::get_pair(row, feature);
        of = law::fma(sums[i][j][2 * half], w.x, of);
        of = law::fma(sums[i][j][2 * half + 1], w.y, of);
      });
      if (has_ones()) of = law::fma(of_ones(i, half), bias[unit], of);
    });
    OCCAM_UNROLL
    for (int r = 0; r < 2 * down; ++r) {
      float& of = sum[r / 2][r % 2];
      of += __shfl_xor_sync(kWarp, of, 1);
      of += __shfl_xor_sync(kWarp, of, 2);
    }
  }
  __device__ __forceinline__ void scale_rows(const float (&by)[down][2]) {
    OCCAM_UNROLL
    for (int e = 0; e < 4 * down * across; ++e)
      sums[e / 4 / across][e / 4 % across][e % 4] *= by[e / 4 / across][e % 4 / 2];
  }

  // Fetches the fp32 weights [units][features] at `weights`, rows `stride` apart: from the L2 cache,
  // and products hide how long that takes, or from the chip.
  __device__ __forceinline__ void fetch(const float* weights, int stride, int units, int features) {
    // Else what is not loaded would be kept from update to update.
    OCCAM_UNROLL
    for (int e = 0; e < 2 * down * across; ++e)
      master[e / 2 / across][e / across % 2][e % across] = make_float2(0.0f, 0.0f);
    each_row(units, [&](int i, int half, int unit) {
      const float* const row = weights + unit * stride + feature(0);
      each_feature(features,
                   [&](int j, int) { master[i][half][j] = *reinterpret_cast<const float2*>(row + 8 * j); });
    });
  }

  // Stores what `fetch` fetched, stepped since.
  __device__ __forceinline__ void give_back(float* weights, int stride, int units, int features) const {
    each_row(units, [&](int i, int half, int unit) {
      float* const row = weights + unit * stride + feature(0);
      each_feature(features,
                   [&](int j, int) { *reinterpret_cast<float2*>(row + 8 * j) = master[i][half][j]; });
    });
  }

  // Steps what was fetched and rounds it into `operand`; biases stand in fp32 at `bias`. Weights stay in registers alone, or go
  // back to where they were fetched, too. All is stepped, so that there is no branch around each pair, and stored where it is a
  // weight.
  __device__ __forceinline__ void step(const law::OptimizerConstants& optimizer, OperandPanel operand,
                                       float* bias, int units, int features) {
    step<false>(optimizer, operand, bias, nullptr, 0, units, features);
  }
  __device__ __forceinline__ void step_and_store(const law::OptimizerConstants& optimizer,
                                                 OperandPanel operand, float* bias, float* weights,
                                                 int stride, int units, int features) {
    step<true>(optimizer, operand, bias, weights, stride, units, features);
  }

 private:
  template <bool stores>
  __device__ __forceinline__ void step(const law::OptimizerConstants& optimizer, OperandPanel operand,
                                       float* bias, float* weights, int stride, int units, int features) {
    const auto stepped = [&](float value, float gradient) {
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::sgd, false>(optimizer, {}, gradient, value, none, none);
      return value;
    };
    OCCAM_UNROLL
    for (int e = 0; e < 2 * down * across; ++e) {
      const int i = e / 2 / across, half = e / across % 2, j = e % across;
      float2& v = master[i][half][j];
      v.x = stepped(v.x, sums[i][j][2 * half]);
      v.y = stepped(v.y, feature(j) + 1 < features ? sums[i][j][2 * half + 1] : 0.0f);
    }
    each_row(units, [&](int i, int half, int unit) {
      float* const row = stores ? weights + unit * stride + feature(0) : nullptr;
      char* const rounded = operand.row(P::weight_row(unit));
      OCCAM_UNROLL
      for (int j = 0; j < across; ++j) {
        const float2 v = master[i][half][j];
        const float first = P::round(v.x), second = P::round(v.y);
        if (feature(j) >= features) continue;
        if constexpr (stores) *reinterpret_cast<float2*>(row + 8 * j) = v;
        P::put_rounded_pair(rounded, feature(j), first, second);
      }
      if (has_ones()) bias[unit] = stepped(bias[unit], of_ones(i, half));
    });
  }
};

}  // namespace occam::cuda
