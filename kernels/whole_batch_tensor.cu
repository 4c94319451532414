// Plan *resident, whole batch* on tensor cores: as kernels/whole_batch.cu, with the second hidden layer in the
// registers of the warps whose products made it. A warp owns 32 samples and all units; so logits, loss, the last
// layer's gradient and the second layer's are its own affair, without a meeting of the block. The fp32 weights that
// the optimiser steps stay in the L2 cache; biases and, in registers, the last layer are fp32 on the chip.

#include "whole_batch_tensor.hpp"

#include "tensor_last_layer.cuh"
#include "tensor_rows.cuh"
#include "tensor_weights.cuh"

namespace occam::cuda {

// Where things lie, and what a warp has in hand.
template <class P>
using Chip = WholeBatchTensor<P::kBytes>;
constexpr int kDown = 2, kAcross = WholeBatchTensor<4>::kTiles;
using SampleSums = Sums<kDown, kAcross>;
template <class P, int across>
using Weights = WeightPart<P, (WholeBatch::kUnits + 15) / 16, 2, across, 2>;

// Which of a lane's activations are 0: a bit each, in four words, whose chains of instructions run side by side.
class Inactive {
 public:
  __device__ __forceinline__ void push(int e, float activation) {
    const std::uint32_t below = __float_as_uint(activation) - 1u;  // its top bit: the activation is 0
#if defined(__CUDA_ARCH__)
    // Volatile: or activations would be kept, at a spill each, to take their bits where they are needed.
    asm volatile("shf.l.wrap.b32 %0, %1, %0, 1;" : "+r"(word_[e]) : "r"(below));
#else
    word_[e] = word_[e] << 1 | below >> 31;
#endif
  }
  // value, or 0 where the activation is: by a mask, as a predicate for each bit costs more.
  __device__ __forceinline__ float pass(int i, int j, int e, float value) const {
    const int place = 2 * kAcross - 1 - (i * kAcross + j);
    const auto mask = static_cast<std::int32_t>(word_[e] << (31 - place)) >> 31;
    return __uint_as_float(__float_as_uint(value) & ~static_cast<std::uint32_t>(mask));
  }

 private:
  std::uint32_t word_[4] = {};
};

// From the last activations of the warp's samples to dL/dz in their place, rounded, and the warp's share of the last layer's
// gradient.
template <class P>
__device__ __forceinline__ void last_backward(const TensorLastLayer<kAcross>& last, Loss loss,
                                              const std::int32_t* label, int samples, float* share,
                                              SampleSums& tile) {
  float delta[2 * kDown] = {};
  each_pair<kDown, kAcross>([&](int i, int j, int half, int, int unit) {
    last.add(unit, tile[i][j][2 * half], tile[i][j][2 * half + 1], delta[2 * i + half]);
  });
  const int own_sample = sample_of<kDown>(lane() % 4);
  const float own = last.loss_gradient(loss, own_sample < samples ? label[own_sample] : -1,
                                       1.0f / static_cast<float>(samples), delta);
  const int group = lane() / 4, pair = lane() % 4;
  constexpr int kTilesOfSums = 4;  // eight sums, of two units each
  OCCAM_UNROLL
  for (int first = 0; first < kAcross; first += kTilesOfSums) {
    float sum[8] = {};
    OCCAM_UNROLL
    for (int j = first; j < first + kTilesOfSums && j < kAcross; ++j) {
      const float2 weight = *reinterpret_cast<const float2*>(last.weight + 8 * j + 2 * pair);
      OCCAM_UNROLL
      for (int e = 0; e < 2; ++e) {
        OCCAM_UNROLL
        for (int r = 0; r < 2 * kDown; ++r) {
          float &h = tile[r / 2][j][r % 2 * 2 + e], &of_unit = sum[(j - first) * 2 + e];
          of_unit = law::fma(delta[r], h, of_unit);
          h = h > 0.0f ? P::round_sum(delta[r] * (e == 0 ? weight.x : weight.y)) : 0.0f;
        }
      }
    }
    const float own_sum = sum_over_groups(sum);
    const int j = first + group / 4 * 2 + group % 2;
    if (j < kAcross) share[8 * j + 2 * pair + group / 2 % 2] = own_sum;
  }
  const float of_bias = sum_of_warp(own);
  if (lane() == 0) share[8 * kAcross] = of_bias;
}

// ---- kernels -----------------------------------------------------------------------------------------------

template <class P>
__global__ void __launch_bounds__(kTensorThreads, 1) whole_batch_tensor_kernel(TensorArguments a) {
  using W = Chip<P>;
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0 || !is_plain(a.wave.members[id])) return;
  char* const base = reinterpret_cast<char*>(&shared<float>());
  const auto floats = [&](int offset) { return reinterpret_cast<float*>(base + offset); };
  const Member member = a.wave.members[id];  // a copy: stores to device memory would have it read anew
  const BatchRows rows{member, member.train_x, reinterpret_cast<std::uint32_t*>(base + W::kRowNumbers),
                       reinterpret_cast<std::int32_t*>(base + W::kLabels), a.plan.inputs};
  const OperandPanel weight1{base + W::kWeight1, W::kXBytes}, weight2{base + W::kWeight2, W::kUnitBytes},
      hidden{base + W::kHidden, W::kUnitBytes}, above{base + W::kSecond, W::kUnitBytes};
  OperandPanel x{base + W::kX, W::kXBytes};
  float *const bias1 = floats(W::kBias1), *const bias2 = floats(W::kBias2);
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const LayerView &view1 = a.plan.layer[0].view, &view2 = a.plan.layer[1].view, &view3 = a.plan.layer[2].view;
  const int units1 = view1.out, units2 = view2.out, thread = static_cast<int>(threadIdx.x);

  for (int i = thread; i < W::kBytes / 4; i += kTensorThreads) floats(0)[i] = 0.0f;
  __syncthreads();
  bring_weights<P>(view1, trained, weight1, bias1);
  bring_weights<P>(view2, trained, weight2, bias2);
  const TensorLastLayer<kAcross> last{view3, floats(W::kWeight3), floats(W::kMaster3)};
  last.bring(trained);

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
    copy_async_commit();
    __syncwarp();  // lanes drew rows at their own pace, and products want all of them

    SampleSums tile;
    multiply_samples<P>(x, weight1, bias1, a.plan.inputs, tile);
    Inactive inactive1;
    activate<P>(tile, [&](int e, float value) { inactive1.push(e, value); });
    put<P>(tile, hidden, 0, units1);
    __syncwarp();
    multiply_samples<P>(hidden, weight2, bias2, units1, tile);
    rectify(tile);
    last_backward<P>(last, a.loss, rows.labels(batch), place.count, floats(W::kPartial) + warp * W::kPlaces,
                     tile);

    // The second layer's weight gradient, which is stepped when the first layer's is on its way.
    Weights<P, 7> second;
    if constexpr (W::kSpacious) {
      put<P>(tile, above, 0, units2);
      __syncthreads();
      second.add(above, hidden, place.count);
    } else {  // half by half in the rows' room; then the gradient replaces what is below it, and the rows come again
      __syncthreads();  // all have read the rows
      if (warp < 4) put<P>(tile, above, 0, units2);
      __syncthreads();
      second.add(above, hidden, rows.in_first_half(place.count));
      __syncthreads();
      if (warp >= 4) put<P>(tile, above, W::kHalf, units2);
      __syncthreads();
      second.add(above, {hidden.row(W::kHalf), hidden.row_bytes}, place.count - W::kHalf);
      __syncthreads();
      put<P>(tile, hidden, 0, units2);
      copy_rows(rows, batch, x, place.count);
      __syncwarp();
    }

    OCCAM_UNROLL
    for (int e = 0; e < 8 * kAcross; ++e) tile[e / 4 / kAcross][e / 4 % kAcross][e % 4] = 0.0f;
    const Depth steps = depth_of<P>(units2);
    multiply<P, 2, kAcross, false>(SampleRows<kDown>{W::kSpacious ? above : hidden, steps},
                                   ColumnsB<P>{weight2}.template place<kAcross>(0), steps, false, tile);
    OCCAM_UNROLL
    for (int bit = 0; bit < 8 * kAcross; ++bit) {
      const int i = bit / 4 / kAcross, j = bit / 4 % kAcross, e = bit % 4;
      tile[i][j][e] = inactive1.pass(i, j, e, P::round_sum(tile[i][j][e]));
    }
    if constexpr (W::kSpacious) {
      __syncthreads();  // all have read what the gradient now replaces
    } else {
      __syncwarp();  // of which all but the warp's own rows were done with before
    }
    put<P>(tile, hidden, 0, units1);
    const auto fetch_second = [&] { second.fetch(trained + view2.weight, view2.in_stride, units2, units1); };
    if constexpr (!W::kSpacious) {
      __syncwarp();  // not earlier: what is put would have no registers
      fetch_second();
      copy_async_wait<0>();
      round_rows(rows, x, place.count);
    }
    __syncthreads();  // all have read the second layer's weights
    if constexpr (W::kSpacious) fetch_second();
    if (thread < units2 || thread == W::kWide) {
      float sum = 0.0f;
      OCCAM_UNROLL
      for (int w = 0; w < kWarps; ++w) sum += floats(W::kPartial)[w * W::kPlaces + thread];
      last.step(member.optimizer, thread, sum);
    }
    const auto step_second = [&] {
      second.step_and_store(member.optimizer, weight2, bias2, trained + view2.weight, view2.in_stride, units2,
                            units1);
    };

    // The first layer's weight gradient. Rows of the next update take the place of those that everybody is done
    // with. Weights go back to the L2 cache behind what is fetched from there.
    Weights<P, 4> first;
    const auto fetch_first = [&] {
      first.fetch(trained + view1.weight, view1.in_stride, units1, a.plan.inputs);
    };
    const int coming_count = goes_on ? next.count : 0;
    if constexpr (W::kSpacious) {
      RowsInRegisters<P, W::kSamples> coming;
      coming.load(rows, batch ^ 1, 0, coming_count);
      first.add(hidden, x, place.count);
      x.data = base + (x.data == base + W::kX ? W::kOtherX : W::kX);
      coming.store(rows, x, 0, coming_count);
      fetch_first();
      step_second();
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
      fetch_first();
      first.add({hidden.row(W::kHalf), hidden.row_bytes}, {x.row(W::kHalf), x.row_bytes},
                place.count - W::kHalf);
      __syncthreads();
      rest.store(rows, x, W::kHalf, coming_count);
    }
    first.step_and_store(member.optimizer, weight1, bias1, trained + view1.weight, view1.in_stride, units1,
                         a.plan.inputs);
    place = next;
  }
  __syncthreads();
  last.give_back(trained);
  give_biases_back(view1, bias1, trained);
  give_biases_back(view2, bias2, trained);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <class F>
decltype(auto) with_kernel(Precision precision, const F& f) {
  return precision == Precision::tf32 ? f(whole_batch_tensor_kernel<Tf32>)
                                      : f(whole_batch_tensor_kernel<Bf16>);
}

}  // namespace

void launch_whole_batch_tensor(Stream& stream, const TensorArguments& a) {
  const NvtxRange range{"whole batch on tensor cores"};
  require(a.members >= 1, "whole batch on tensor cores: {} members", a.members);
  with_kernel(a.plan.precision, [&](auto* kernel) {
    launch(stream, "whole batch on tensor cores", kernel, dim3(static_cast<unsigned>(a.members)),
           dim3(kTensorThreads), static_cast<std::size_t>(a.plan.bytes), a);
  });
}

KernelResources whole_batch_tensor_resources(Precision precision) {
  return with_kernel(precision, [&](auto* kernel) {
    return kernel_resources(reinterpret_cast<const void*>(kernel), "whole batch on tensor cores",
                            kTensorThreads, static_cast<std::size_t>(whole_batch_tensor_bytes(precision)));
  });
}

}  // namespace occam::cuda
