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
        const int unit = unit_of(i, half);
        if (owns(i) && unit < units) f(i, half, unit);
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
  __device__ __forceinline__ void multiply_rows(OperandPanel weight, const float* bias, const LayerView& view,
                                                float (&sum)[down][2]) const {
    each_row(view.out, [&](int i, int half, int unit) {
      float& of = sum[i][half];
      const char* const row = weight.row(P::weight_row(unit));
      each_feature(view.in, [&](int j, int feature) {
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

  // Calls f(unit, value) of one row: of four lanes, which have the same ones, each has another.
  template <class F>
  __device__ __forceinline__ void one_row(int units, const float (&value)[down][2], const F& f) const {
    static_assert(2 * down <= 4);
    const int r = lane() % 4, unit = unit_of(r / 2, r % 2);
    float own = value[0][0];
    OCCAM_UNROLL
    for (int e = 1; e < 2 * down; ++e)
      if (r == e) own = value[e / 2][e % 2];
    if (r < 2 * down && owns(r / 2) && unit < units) f(unit, own);
  }

  // Fetches the layer's fp32 weights, [units][in_stride] at `weights`: from the L2 cache, and products hide how long that
  // takes, or from the chip.
  __device__ __forceinline__ void fetch(const float* weights, const LayerView& view) {
    // Else what is not loaded would be kept from update to update.
    OCCAM_UNROLL
    for (int e = 0; e < 2 * down * across; ++e)
      master[e / 2 / across][e / across % 2][e % across] = make_float2(0.0f, 0.0f);
    each_row(view.out, [&](int i, int half, int unit) {
      load_row(weights + unit * view.in_stride, view.in, master[i][half]);
    });
  }

  // Stores what `fetch` fetched, stepped since.
  __device__ __forceinline__ void give_back(float* weights, const LayerView& view) const {
    each_row(view.out, [&](int i, int half, int unit) {
      store_row(weights + unit * view.in_stride, view.in, master[i][half]);
    });
  }

  // Steps the weights and rounds them into `operand`; biases stand in fp32 at `bias`. Without `weights` they are those that
  // were fetched, and stay in registers alone. Else they go back to `weights`; where the optimiser has state they come from there
  // with it, too, and need not be fetched.
  template <bool has_state>
  __device__ __forceinline__ void step(const Trainee& trainee, const LayerView& view, OperandPanel operand,
                                       float* bias) {
    step_all<has_state, false>(trainee, view, operand, bias, nullptr);
  }
  template <bool has_state>
  __device__ __forceinline__ void step_at(const Trainee& trainee, const LayerView& view, OperandPanel operand,
                                          float* bias, float* weights) {
    step_all<has_state, true>(trainee, view, operand, bias, weights);
  }

 private:
  __device__ __forceinline__ bool owns(int i) const { return m + i >= own_m; }
  __device__ __forceinline__ int unit_of(int i, int half) const {
    return 16 * (m + i) + P::unit_of_group() + 8 * half;
  }
  using Row = float2[across];  // a lane's pairs of features
  __device__ __forceinline__ void load_row(const float* from, int features, Row& row) const {
    each_feature(features, [&](int j, int at) { row[j] = *reinterpret_cast<const float2*>(from + at); });
  }
  __device__ __forceinline__ void store_row(float* to, int features, const Row& row) const {
    each_feature(features, [&](int j, int at) { *reinterpret_cast<float2*>(to + at) = row[j]; });
  }

  template <bool has_state, bool elsewhere>
  __device__ __forceinline__ void step_all(const Trainee& trainee, const LayerView& view,
                                           OperandPanel operand, float* bias, float* weights) {
    if constexpr (has_state)
      with_optimizer(trainee.optimizer, [&](auto kind, auto momentum) {
        constexpr bool has_momentum = decltype(momentum)::value;
        if constexpr (kReadsState0<decltype(kind)::value, has_momentum>)
          step_with_state<decltype(kind)::value, has_momentum, elsewhere>(trainee, view, operand, bias,
                                                                          weights);
      });
    else
      step_plainly<elsewhere>(trainee.optimizer, view, operand, bias, weights);
  }

  template <bool elsewhere>
  __device__ __forceinline__ void put_row(const Row& row, int unit, const LayerView& view,
                                          OperandPanel operand, float* weights) const {
    if constexpr (elsewhere) store_row(weights + unit * view.in_stride, view.in, row);
    char* const rounded = operand.row(P::weight_row(unit));
    OCCAM_UNROLL
    for (int j = 0; j < across; ++j) {
      const float first = P::round(row[j].x), second = P::round(row[j].y);
      if (feature(j) < view.in) P::put_rounded_pair(rounded, feature(j), first, second);
    }
  }

  // All is stepped, so that there is no branch around each pair, and stored where it is a weight.
  template <bool elsewhere>
  __device__ __forceinline__ void step_plainly(const law::OptimizerConstants& optimizer,
                                               const LayerView& view, OperandPanel operand, float* bias,
                                               float* weights) {
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
      v.y = stepped(v.y, feature(j) + 1 < view.in ? sums[i][j][2 * half + 1] : 0.0f);
    }
    each_row(view.out, [&](int i, int half, int unit) {
      put_row<elsewhere>(master[i][half], unit, view, operand, weights);
      if (has_ones()) bias[unit] = stepped(bias[unit], of_ones(i, half));
    });
  }

  // State comes from memory, a row's while that of the one before is stepped. In the lane of ones a bias's takes the place of the
  // last feature's, which does not exist there.
  template <OptimizerKind kind, bool momentum, bool elsewhere>
  __device__ __forceinline__ void step_with_state(const Trainee& trainee, const LayerView& view,
                                                  OperandPanel operand, float* bias, float* weights) {
    constexpr bool kSecond = kReadsState1<kind, momentum>;
    struct State {
      Row value{}, first{}, second{};
    } state[2];
    const auto each_state = [&](const auto& f) {
      f(trainee.state0, &State::first);
      if constexpr (kSecond) f(trainee.state1, &State::second);
    };
    const auto of_row = [&](int r, const auto& f) {
      const int i = r / 2, half = r % 2, unit = unit_of(i, half);
      if (owns(i) && unit < view.out) f(i, half, unit, state[r % 2]);
    };
    const auto load = [&](int r) {
      of_row(r, [&](int, int, int unit, State& of) {
        if constexpr (elsewhere) load_row(weights + unit * view.in_stride, view.in, of.value);
        each_state([&](const float* from, Row State::*row) {
          load_row(from + view.weight + unit * view.in_stride, view.in, of.*row);
          if (has_ones()) (of.*row)[across - 1].y = from[view.bias + unit];
        });
      });
    };
    load(0);
    OCCAM_UNROLL
    for (int r = 0; r < 2 * down; ++r) {
      if (r + 1 < 2 * down) load(r + 1);
      of_row(r, [&](int i, int half, int unit, State& of) {
        const auto step_one = [&](float& value, float gradient, float& first, float& second) {
          law::optimizer_step<kind, momentum>(trainee.optimizer, trainee.adam, gradient, value, first,
                                              second);
        };
        Row& value = elsewhere ? of.value : master[i][half];
        OCCAM_UNROLL
        for (int j = 0; j < across; ++j) {
          float2& v = value[j];
          if (feature(j) < view.in) step_one(v.x, sums[i][j][2 * half], of.first[j].x, of.second[j].x);
          if (feature(j) + 1 < view.in)
            step_one(v.y, sums[i][j][2 * half + 1], of.first[j].y, of.second[j].y);
        }
        if (has_ones())
          step_one(bias[unit], of_ones(i, half), of.first[across - 1].y, of.second[across - 1].y);
        each_state([&](float* to, const Row State::*row) {
          store_row(to + view.weight + unit * view.in_stride, view.in, of.*row);
          if (has_ones()) to[view.bias + unit] = (of.*row)[across - 1].y;
        });
        put_row<elsewhere>(value, unit, view, operand, weights);
      });
    }
  }
};

}  // namespace occam::cuda
