// Plan *resident, whole batch* on tensor cores. A warp owns 32 samples and all units; so logits and loss are its own affair,
// without a meeting of the block, and of the second hidden layer it keeps bits (tensor_active.cuh). The fp32 weights that the
// optimiser steps stay in the L2 cache, in BF16 on the chip; biases and the last layer are fp32 there.

#include "whole_batch_tensor.hpp"

#include "tensor_active.cuh"
#include "tensor_last_layer.cuh"
#include "tensor_rows.cuh"
#include "tensor_weights.cuh"

namespace occam::cuda {

// Where things lie, and what a warp has in hand.
template <class P>
using Chip = WholeBatchTensor<P::kBytes>;
constexpr int kAcross = WholeBatchTensor<4>::kTiles;
template <class P, int tiles, int across>
using Weights = WeightPart<P, tiles, 2, across, 2>;

// Calls f(i, j, e) of every sum of a warp's samples, tiles of units in ascending order.
template <class F>
__device__ __forceinline__ void each_sum(const F& f) {
  OCCAM_UNROLL
  for (int j = 0; j < kAcross; ++j) {
    OCCAM_UNROLL
    for (int i = 0; i < kDown; ++i) {
      OCCAM_UNROLL
      for (int e = 0; e < 4; ++e) f(i, j, e);
    }
  }
}

// ---- kernels -----------------------------------------------------------------------------------------------

// Members whose optimiser has state, or those whose has none.
template <class Operands, bool has_state>
__global__ void __launch_bounds__(kTensorThreads, 1) whole_batch_tensor_kernel(TensorArguments a) {
  using P = InOrder<Operands>;
  using W = Chip<P>;
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0 || has_dropout(a.wave.members[id]) ||
      keeps_state(a.wave.members[id]) != has_state)
    return;
  char* const base = reinterpret_cast<char*>(&shared<float>());
  const auto floats = [&](int offset) { return reinterpret_cast<float*>(base + offset); };
  const Member member = a.wave.members[id];  // a copy: stores to device memory would have it read anew
  const BatchRows rows{member, member.train_x, reinterpret_cast<std::uint32_t*>(base + W::kRowNumbers),
                       reinterpret_cast<std::int32_t*>(base + W::kLabels), a.plan.inputs};
  const OperandPanel weight1{base + W::kWeight1, W::kXBytes}, weight2{base + W::kWeight2, W::kUnitBytes},
      hidden{base + W::kHidden, W::kUnitBytes};
  OperandPanel x{base + W::kX, W::kXBytes};
  float *const bias1 = floats(W::kBias1), *const bias2 = floats(W::kBias2), *const delta = floats(W::kDelta),
               *const partial = floats(W::kPartial);
  auto* const bits = reinterpret_cast<std::uint32_t*>(base + W::kActive);
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const LayerView &view1 = a.plan.layer[0].view, &view2 = a.plan.layer[1].view, &view3 = a.plan.layer[2].view;
  const int units1 = view1.out, units2 = view2.out, thread = static_cast<int>(threadIdx.x);

  for (int i = thread; i < W::kBytes / 4; i += kTensorThreads) floats(0)[i] = 0.0f;
  __syncthreads();
  bring_weights<P>(view1, trained, weight1, bias1);
  bring_weights<P>(view2, trained, weight2, bias2);
  // Where the optimiser steps weights: on the chip, or where they came from, which is the L2 cache.
  float* const stepped1 = W::kSpacious ? floats(W::kMaster1) : trained + view1.weight;
  float* const stepped2 = W::kSpacious ? floats(W::kMaster2) : trained + view2.weight;
  const auto copy_weights = [&](const LayerView& view, const float* from, float* to) {
    for (int i = thread; i < view.out * view.in_stride; i += kTensorThreads) to[i] = from[i];
  };
  if constexpr (W::kSpacious) {
    copy_weights(view1, trained + view1.weight, stepped1);
    copy_weights(view2, trained + view2.weight, stepped2);
  }
  const TensorLastLayer<kAcross> last{view3, floats(W::kWeight3), floats(W::kMaster3)};
  last.bring(trained);
  Trainee trainee{a.wave, id, trained, {}};

  const std::int64_t all_rows = rows.member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, a.plan.batch);
  int batch = 0;
  rows.open(place, batch);
  __syncthreads();
  {
    RowsInRegisters<P, W::kSamples> first;
    first.load(rows, batch, 0, place.count);
    first.store(rows, x, 0, place.count);
    copy_async_commit();  // of labels
  }

  const int warp = tensor_warp();
  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace next = law::following(place, all_rows, a.plan.batch);
    const bool goes_on = update + 1 < end;
    copy_async_wait<0>();
    __syncthreads();  // the rows have arrived, and all have done their step
    if (goes_on) rows.open(next, batch ^ 1);
    if (has_state && trainee.optimizer.kind == OptimizerKind::adam && thread == 0)
      *reinterpret_cast<law::AdamScale*>(base + W::kAdam) = law::adam_scale(trainee.optimizer, update);
    copy_async_commit();
    __syncwarp();  // lanes drew rows at their own pace, and products want all of them

    Sums<kDown, kAcross> tile;
    multiply_samples<P>(x, weight1, bias1, a.plan.inputs, tile);
    ActiveUnits<kAcross> active1, active2;
    each_sum([&](int i, int j, int e) {
      float& value = tile[i][j][e];
      active1.push(i, e, value);
      value = P::round_sum(rectified(value));
    });
    put<P>(tile, hidden, units1);
    __syncwarp();
    multiply_samples<P>(hidden, weight2, bias2, units1, tile);
    float logit[2 * kDown] = {};  // then its gradient
    each_pair<kAcross>([&](int i, int j, int half, int, int unit) {
      const float first = tile[i][j][2 * half], second = tile[i][j][2 * half + 1];
      last.add(unit, rectified(first), rectified(second), logit[2 * i + half]);
      active2.push(i, 2 * half, first), active2.push(i, 2 * half + 1, second);
    });
    const int own = sample_of<>(lane() % 4);
    const float of_own = last.loss_gradient(a.loss, own < place.count ? rows.labels(batch)[own] : -1,
                                            1.0f / static_cast<float>(place.count), logit);
    delta[own] = P::round(of_own);
    const float of_warp = sum_of_warp(of_own);
    if (lane() == 0) floats(W::kPartialBias)[warp] = of_warp;
    OCCAM_UNROLL
    for (int r = 0; r < 2 * kDown; ++r)
      bits[lane() % 4 * active_row(W::kSamples) + sample_of<>(r)] = active2.of_sample(r);
    __syncthreads();

    // The second layer's weight gradient, which is stepped when the first layer's is on its way.
    Weights<P, 8, 7> second;
    second.add_product(ActiveColumns<P, W::kSamples>{bits, delta, second.m}, hidden, place.count);
    float scale[kDown][2] = {}, of_last[kDown][2] = {};
    second.each_row(units2, [&](int i, int half, int unit) { scale[i][half] = last.weight[unit]; });
    second.multiply_rows(weight2, bias2, view2, of_last);
    second.one_row(units2, of_last, [&](int unit, float of) { partial[warp % 2 * W::kPlaces + unit] = of; });
    second.scale_rows(scale);

    each_sum([&](int i, int j, int e) { tile[i][j][e] = 0.0f; });
    constexpr int kTilesOfStep = P::kStep / 8;
    multiply<P, 2, kAcross, false>(ActiveRows<P, kAcross>{active2, logit, last.weight},
                                   ColumnsB<P>{weight2}.template place<kAcross>(0),
                                   Depth{kAcross / kTilesOfStep, kAcross % kTilesOfStep != 0}, false, tile);
    each_sum([&](int i, int j, int e) {
      float& value = tile[i][j][e];
      value = active1(i, e, j) ? P::round_sum(value) : 0.0f;
    });
    __syncthreads();  // all have read what the gradient now replaces
    put<P>(tile, hidden, units1);
    const auto fetch_second = [&] { second.fetch(stepped2, view2); };
    __syncthreads();  // all have read the second layer's weights
    if constexpr (!W::kSpacious && !has_state) fetch_second();
    if (has_state) trainee.adam = *reinterpret_cast<const law::AdamScale*>(base + W::kAdam);
    if (thread < units2)
      last.template step<has_state>(trainee, thread, partial[thread] + partial[W::kPlaces + thread]);
    if (thread == W::kWide) {
      float sum = 0.0f;
      OCCAM_UNROLL
      for (int w = 0; w < kWarps; ++w) sum += floats(W::kPartialBias)[w];
      last.template step<has_state>(trainee, thread, sum);
    }
    const auto step_second = [&] {
      second.template step_at<has_state>(trainee, view2, weight2, bias2, stepped2);
    };

    // The first layer's weight gradient. Rows of the next update take the place of those that everybody is done
    // with. Weights go back behind what is fetched from where they go.
    Weights<P, (W::kUnits + 15) / 16, 4> first;
    const auto fetch_first = [&] { first.fetch(stepped1, view1); };
    const int coming_count = goes_on ? next.count : 0;
    if constexpr (W::kSpacious) {
      RowsInRegisters<P, W::kSamples> coming;
      coming.load(rows, batch ^ 1, 0, coming_count);
      first.add(hidden, x, place.count);
      x.data = base + (x.data == base + W::kX ? W::kOtherX : W::kX);
      coming.store(rows, x, 0, coming_count);
      if constexpr (!has_state) fetch_second();
      step_second();
      if constexpr (!has_state) fetch_first();
    } else {
      const int coming_half = rows.in_first_half(coming_count);
      RowsInRegisters<P, W::kHalf> coming;
      coming.load(rows, batch ^ 1, 0, coming_half);
      first.add(hidden, x, rows.in_first_half(place.count));
      __syncthreads();
      coming.store(rows, x, 0, coming_half);
      RowsInRegisters<P, W::kHalf> rest;
      rest.load(rows, batch ^ 1, W::kHalf, coming_count);
      step_second();
      if constexpr (!has_state) fetch_first();
      __syncwarp();  // products want all lanes
      first.add({hidden.row(W::kHalf), hidden.row_bytes}, {x.row(W::kHalf), x.row_bytes},
                place.count - W::kHalf);
      __syncthreads();
      rest.store(rows, x, W::kHalf, coming_count);
    }
    first.template step_at<has_state>(trainee, view1, weight1, bias1, stepped1);
    place = next;
  }
  __syncthreads();
  if constexpr (W::kSpacious) {
    copy_weights(view1, stepped1, trained + view1.weight);
    copy_weights(view2, stepped2, trained + view2.weight);
  }
  last.give_back(trained);
  give_biases_back(view1, bias1, trained);
  give_biases_back(view2, bias2, trained);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <bool has_state, class F>
decltype(auto) with_kernel(Precision precision, const F& f) {
  return precision == Precision::tf32 ? f(whole_batch_tensor_kernel<Tf32, has_state>)
                                      : f(whole_batch_tensor_kernel<Bf16, has_state>);
}

}  // namespace

void launch_whole_batch_tensor(Stream& stream, const TensorArguments& a) {
  const NvtxRange range{"whole batch on tensor cores"};
  require(a.members >= 1, "whole batch on tensor cores: {} members", a.members);
  const auto run = [&](auto* kernel) {
    launch(stream, "whole batch on tensor cores", kernel, dim3(static_cast<unsigned>(a.members)),
           dim3(kTensorThreads), static_cast<std::size_t>(a.plan.bytes), a);
  };
  with_kernel<false>(a.plan.precision, run);
  if (a.wave.state0) with_kernel<true>(a.plan.precision, run);
}

KernelResources whole_batch_tensor_resources(Precision precision, bool has_state) {
  const auto of = [&](auto* kernel) {
    return kernel_resources(reinterpret_cast<const void*>(kernel), "whole batch on tensor cores",
                            kTensorThreads, static_cast<std::size_t>(whole_batch_tensor_bytes(precision)));
  };
  return has_state ? with_kernel<true>(precision, of) : with_kernel<false>(precision, of);
}

}  // namespace occam::cuda
