// Plan *resident, whole batch* on tensor cores: as kernels/whole_batch.cu, with the second hidden layer in the
// registers of the warps whose products made it. A warp owns 32 samples and all units; so logits, loss, the last
// layer's gradient and the second layer's are its own affair, without a meeting of the block. The fp32 weights that
// the optimiser steps stay in the L2 cache; biases and, in registers, the last layer are fp32 on the chip.

#include "whole_batch_tensor.hpp"

#include "law/loss.hpp"
#include "whole_batch_tensor.cuh"

namespace occam::cuda {

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
  float *const bias1 = floats(W::kBias1), *const bias2 = floats(W::kBias2),
               *const weight3 = floats(W::kWeight3), *const bias3 = floats(W::kBias3);
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const LayerView &view1 = a.plan.layer[0].view, &view2 = a.plan.layer[1].view, &view3 = a.plan.layer[2].view;
  const int units1 = view1.out, units2 = view2.out, outputs = view3.out,
            thread = static_cast<int>(threadIdx.x);

  for (int i = thread; i < W::kBytes / 4; i += kTensorThreads) floats(0)[i] = 0.0f;
  __syncthreads();
  const auto round_weights = [&](const LayerView& view, OperandPanel operand, float* bias) {
    for (int item = thread; item < view.out * view.in; item += kTensorThreads) {
      const int unit = item / view.in, k = item % view.in;
      P::put(operand.row(P::weight_row(unit)), k, trained[view.weight + unit * view.in_stride + k]);
    }
    for (int unit = thread; unit < view.out; unit += kTensorThreads) bias[unit] = trained[view.bias + unit];
  };
  round_weights(view1, weight1, bias1);
  round_weights(view2, weight2, bias2);
  // Of the last layer each thread owns at most one weight or bias; both its fp32 value and its sum stay with it.
  float* last_operand = nullptr;
  float* last_master = nullptr;
  float last_value = 0.0f;
  if (thread < outputs * W::kWide && thread % W::kWide < units2) {
    last_operand = weight3 + thread;
    last_master = trained + view3.weight + thread / W::kWide * view3.in_stride + thread % W::kWide;
  } else if (thread >= W::kOutputs * W::kWide && thread - W::kOutputs * W::kWide < outputs) {
    last_operand = bias3 + thread - W::kOutputs * W::kWide;
    last_master = trained + view3.bias + thread - W::kOutputs * W::kWide;
  }
  const bool is_weight = thread < W::kOutputs * W::kWide;
  const auto put_last = [&] { *last_operand = is_weight ? P::round(last_value) : last_value; };
  if (last_operand) {
    last_value = *last_master;
    put_last();
  }

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

  const int warp = tensor_warp(), group = lane() / 4, pair = lane() % 4;
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
    float* const partial = floats(W::kPartial) + warp * W::kPartials;
    {
      multiply_samples<P>(hidden, weight2, bias2, units1, tile);
      activate<P>(tile, [](int, float) {});

      // Logits: a lane adds its columns of four samples, four lanes make a sample's sum.
      float logit[2][2][W::kOutputs] = {};
      each_pair([&](int i, int j, int half, int, int unit) {
        OCCAM_UNROLL
        for (int c = 0; c < W::kOutputs; ++c) {
          const float2 weight = *reinterpret_cast<const float2*>(weight3 + c * W::kWide + unit);
          logit[i][half][c] = law::fma(tile[i][j][2 * half], weight.x, logit[i][half][c]);
          logit[i][half][c] = law::fma(tile[i][j][2 * half + 1], weight.y, logit[i][half][c]);
        }
      });
      const int own_i = pair / 2, own_half = pair % 2, own_in_warp = sample_of_row(group) + 8 * pair,
                own = warp * 32 + own_in_warp;
      float* const logits = partial;  // [32][kOutputs], until the partial sums follow
      float* const own_logits = logits + own_in_warp * W::kOutputs;
      OCCAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        OCCAM_UNROLL
        for (int half = 0; half < 2; ++half) {
          OCCAM_UNROLL
          for (int c = 0; c < W::kOutputs; ++c) {
            float sum = logit[i][half][c];
            sum += __shfl_xor_sync(kWarp, sum, 1);
            sum += __shfl_xor_sync(kWarp, sum, 2);
            if (i == own_i && half == own_half) own_logits[c] = sum + bias3[c];
          }
        }
      }
      if (own < place.count)
        law::sample_loss_gradient(a.loss, own_logits, outputs, rows.labels(batch)[own],
                                  1.0f / static_cast<float>(place.count), own_logits);
      float bias_sum[W::kOutputs];
      OCCAM_UNROLL
      for (int c = 0; c < W::kOutputs; ++c) {
        bias_sum[c] = own < place.count && c < outputs ? P::round(own_logits[c]) : 0.0f;
        own_logits[c] = bias_sum[c];
      }
      __syncwarp();

      // The last layer's gradient over the warp's samples, and dL/dz of the second layer in place of h.
      float delta[2][2][W::kOutputs];
      OCCAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        OCCAM_UNROLL
        for (int half = 0; half < 2; ++half) {
          OCCAM_UNROLL
          for (int c = 0; c < W::kOutputs; ++c)
            delta[i][half][c] = logits[(sample_of_row(group) + 16 * i + 8 * half) * W::kOutputs + c];
        }
      }
      __syncwarp();
      static_assert(W::kOutputs == 2, "two tiles have eight sums: of two units and classes each");
      OCCAM_UNROLL
      for (int first = 0; first < W::kTiles; first += 2) {
        float sum[8] = {};
        OCCAM_UNROLL
        for (int j = first; j < first + 2 && j < W::kTiles; ++j) {
          float weight[W::kOutputs][2];
          OCCAM_UNROLL
          for (int c = 0; c < W::kOutputs; ++c) {
            const float2 of_pair =
                *reinterpret_cast<const float2*>(weight3 + c * W::kWide + 8 * j + 2 * pair);
            weight[c][0] = of_pair.x, weight[c][1] = of_pair.y;
          }
          OCCAM_UNROLL
          for (int e = 0; e < 2; ++e) {
            float* const of_unit = sum + (j - first) * 4 + e * 2;
            OCCAM_UNROLL
            for (int i = 0; i < 2; ++i) {
              OCCAM_UNROLL
              for (int half = 0; half < 2; ++half) {
                float &h = tile[i][j][2 * half + e], gradient = 0.0f;
                OCCAM_UNROLL
                for (int c = 0; c < W::kOutputs; ++c) {
                  of_unit[c] = law::fma(delta[i][half][c], h, of_unit[c]);
                  gradient = law::fma(delta[i][half][c], weight[c][e], gradient);
                }
                h = h > 0.0f ? P::round_sum(gradient) : 0.0f;
              }
            }
          }
        }
        const float own_sum = sum_over_groups(sum);
        const int j = first + group / 4, unit = 8 * j + 2 * pair + group % 2;
        if (j < W::kTiles) partial[group / 2 % 2 * W::kWide + unit] = own_sum;
      }
      OCCAM_UNROLL
      for (int c = 0; c < W::kOutputs; ++c) {
        float sum = bias_sum[c];
        for (const int apart : {1, 2, 16, 4, 8}) sum += __shfl_xor_sync(kWarp, sum, apart);
        if (lane() == 0) partial[W::kOutputs * W::kWide + c] = sum;
      }
    }

    // The second layer's weight gradient, which is stepped when the first layer's is on its way.
    WeightPart<P, 7> second;
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
    for (int e = 0; e < 8 * W::kTiles; ++e) tile[e / 4 / W::kTiles][e / 4 % W::kTiles][e % 4] = 0.0f;
    const Depth steps = depth_of<P>(units2);
    multiply<P, 2, W::kTiles, false>(SampleRows{W::kSpacious ? above : hidden, steps},
                                     ColumnsB<P>{weight2}.template place<W::kTiles>(0), steps, false, tile);
    OCCAM_UNROLL
    for (int bit = 0; bit < 8 * W::kTiles; ++bit) {
      const int i = bit / 4 / W::kTiles, j = bit / 4 % W::kTiles, e = bit % 4;
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
    if (last_operand) {
      float sum = 0.0f;
      OCCAM_UNROLL
      for (int w = 0; w < kWarps; ++w) sum += floats(W::kPartial)[w * W::kPartials + thread];
      float none = 0.0f;
      law::optimizer_step<OptimizerKind::sgd, false>(member.optimizer, {}, sum, last_value, none, none);
      put_last();
    }
    const auto step_second = [&] {
      second.step(member.optimizer, trained + view2.weight, view2.in_stride, weight2, bias2, units2, units1);
    };

    // The first layer's weight gradient. Rows of the next update take the place of those that everybody is done
    // with. Weights go back to the L2 cache behind what is fetched from there.
    WeightPart<P, 4> first;
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
    first.step(member.optimizer, trained + view1.weight, view1.in_stride, weight1, bias1, units1,
               a.plan.inputs);
    place = next;
  }
  __syncthreads();
  if (last_operand) *last_master = last_value;
  for (int unit = thread; unit < units1; unit += kTensorThreads) trained[view1.bias + unit] = bias1[unit];
  for (int unit = thread; unit < units2; unit += kTensorThreads) trained[view2.bias + unit] = bias2[unit];
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
