// Plan *resident, one hidden layer* on tensor cores: one block trains one member. A warp owns 32 samples of the batch, 16 of each
// half, on their way to the loss: it multiplies runs of units, adds what they are worth to the logits, and keeps of an
// activation a bit, whether it is positive. Then it owns units: of dL/dz one half at a time is on the chip, and the weight
// gradient grows in its registers, where its fp32 weights stay for the whole training. Rows of the next batch replace those
// of a half when its gradient is done; a warp brings those of its own samples, through registers, rounded on their way.

#include "one_hidden_tensor.hpp"

#include "tensor_active.cuh"
#include "tensor_last_layer.cuh"
#include "tensor_rows.cuh"
#include "tensor_weights.cuh"

namespace occam::cuda {

template <class P, int tiles>
using OneHidden = OneHiddenTensor<P::kBytes, tiles>;

// From rows to logits, 16 samples of either half.
template <class P, int tiles>
__device__ __forceinline__ void forward(OperandPanel x, OperandPanel weight, const float* bias,
                                        const TensorLastLayer<tiles>& last, float (&logit)[4],
                                        ActiveUnits<tiles>& active) {
  constexpr int kRun = OneHidden<P, tiles>::kBlocks == 1 ? 13 : 3;      // tiles of units, as registers allow
  constexpr int kWholeSteps = OneHidden<P, tiles>::kInputs / P::kStep;  // then one that has a chunk
  static_assert(OneHidden<P, tiles>::kInputs % P::kStep <= P::kChunk &&
                OneHidden<P, tiles>::kInputs % P::kStep > 0);
  std::uint32_t a[kWholeSteps + 1][2][4];
  const SampleRows<kSamplesOfWarps> of_samples{x, {kWholeSteps, true}};
  OCCAM_UNROLL
  for (int step = 0; step <= kWholeSteps; ++step) of_samples.read(a[step], step);
  const auto run = [&]<int count>(int first, std::integral_constant<int, count>) {
    Sums<2, count> z;
    begin_with_bias(bias + 8 * first, z);
    const auto of_units = RowsB<P>{weight}.template place<count>(first);
    OCCAM_UNROLL
    for (int step = 0; step <= kWholeSteps; ++step) {
      std::uint32_t b[count][2];
      of_units.read(b, step);
      OCCAM_UNROLL
      for (int j = 0; j < count; ++j) {
        if (step == kWholeSteps) b[j][1] = 0;
        OCCAM_UNROLL
        for (int i = 0; i < 2; ++i) P::multiply(z[i][j], a[step][i], b[j]);
      }
    }
    OCCAM_UNROLL
    for (int j = 0; j < count; ++j) {
      OCCAM_UNROLL
      for (int r = 0; r < 4; ++r) {
        const int i = r / 2, e = r % 2 * 2;
        last.add(8 * (first + j) + lane() % 4 * 2, rectified(z[i][j][e]), rectified(z[i][j][e + 1]),
                 logit[r]);
        active.push(i, e, z[i][j][e]);
        active.push(i, e + 1, z[i][j][e + 1]);
      }
    }
  };
  OCCAM_UNROLL
  for (int first = 0; first + kRun <= tiles; first += kRun) run(first, std::integral_constant<int, kRun>{});
  if constexpr (tiles % kRun != 0) run(tiles - tiles % kRun, std::integral_constant<int, tiles % kRun>{});
}

// Steps the last layer by what G in `weights` says (tensor_active.cuh), and leaves the hidden layer's gradient there.
template <bool has_state, class Weights, class Last>
__device__ __forceinline__ void step_last(Weights& weights, const Last& last, const Trainee& trainee,
                                          OperandPanel weight1, const float* bias1, const LayerView& view) {
  float scale[Weights::kTilesOfWarp][2] = {}, sum[Weights::kTilesOfWarp][2] = {};
  weights.each_row(view.out, [&](int i, int half, int unit) { scale[i][half] = last.weight[unit]; });
  weights.multiply_rows(weight1, bias1, view, sum);
  __syncwarp();  // all have read the last layer's weights
  weights.one_row(view.out, sum,
                  [&](int unit, float of) { last.template step<has_state>(trainee, unit, of); });
  weights.scale_rows(scale);
}

// Members whose optimiser has state, or those whose has none.
template <class Operands, int tiles, bool has_state>
__global__ void __launch_bounds__(kTensorThreads, OneHidden<Operands, tiles>::kBlocks)
    one_hidden_tensor_kernel(TensorArguments a) {
  using P = InOrder<Operands>;
  using S = OneHidden<P, tiles>;
  static_assert(S::kBatch == WholeBatch::kSamples && S::kInputs == WholeBatch::kInputs);
  static_assert(S::kSlice == kSamplesOfWarps);
  constexpr int kUnitTiles = (S::kUnits + 15) / 16, kTilesOfWarp = (kUnitTiles + kWarps - 1) / kWarps;
  using Weights = WeightPart<P, kUnitTiles, kTilesOfWarp, (S::kInputs + 7) / 8, 1>;
  const int id = static_cast<int>(blockIdx.x);
  const Progress& progress = a.wave.progress[id];
  if (progress.remaining == 0 || has_dropout(a.wave.members[id]) ||
      keeps_state(a.wave.members[id]) != has_state)
    return;
  char* const base = reinterpret_cast<char*>(&shared<float>());
  const auto floats = [&](int offset) { return reinterpret_cast<float*>(base + offset); };
  const Member member = a.wave.members[id];  // a copy: stores to device memory would have it read anew
  const BatchRows rows{member, member.train_x, reinterpret_cast<std::uint32_t*>(base + S::kRowNumbers),
                       reinterpret_cast<std::int32_t*>(base + S::kLabels), a.plan.inputs};
  const OperandPanel weight1{base + S::kWeight1, S::kXBytes}, delta{base + S::kDelta, S::kUnitBytes},
      x{base + S::kX, S::kXBytes};
  float* const bias1 = floats(S::kBias1);
  float* const trained = a.wave.parameters + id * a.wave.parameter_stride;
  const LayerView &view1 = a.plan.layer[0].view, &view2 = a.plan.layer[1].view;
  const int units = view1.out;
  law::EpochOrder& order = *reinterpret_cast<law::EpochOrder*>(base + S::kOrder);  // of the rows drawn next
  static_assert(sizeof order <= S::kOrderBytes);

  for (int i = static_cast<int>(threadIdx.x); i < S::kBytes / 4; i += kTensorThreads) floats(0)[i] = 0.0f;
  __syncthreads();
  bring_weights<P>(view1, trained, weight1, bias1);
  const TensorLastLayer<tiles> last{view2, floats(S::kWeight2), floats(S::kMaster2)};
  last.bring(trained);
  Weights weights;
  weights.fetch(trained + view1.weight, view1);
  Trainee trainee{a.wave, id, trained, {}};

  const std::int64_t all_rows = member.rows[static_cast<int>(Split::train)];
  law::BatchPlace place = law::batch_place(progress.update, all_rows, a.plan.batch),
                  next = law::following(place, all_rows, a.plan.batch);
  int batch = 0;
  // The warp's own rows of a half.
  using Coming = RowsInRegisters<P, 16, 32>;
  const auto first_of = [&](int half) { return half * S::kSlice + tensor_warp() * 16; };
  const auto end_of = [&](int half, int count) {
    return count < first_of(half) + 16 ? count : first_of(half) + 16;
  };
  const auto load = [&](Coming& coming, int which, int half, int count) {
    coming = Coming{};  // else what is not loaded would be kept
    coming.load(rows, which, first_of(half), end_of(half, count));
  };
  const auto store = [&](const Coming& coming, int half, int count) {
    coming.store(rows, x, first_of(half), end_of(half, count));
  };
  rows.open(place, batch);
  copy_async_commit();  // of labels
  if (threadIdx.x == 0) order = rows.order(next);
  __syncthreads();
  Coming coming;
  load(coming, batch, 0, place.count);
  store(coming, 0, place.count);
  load(coming, batch, 1, place.count);

  const std::int64_t end = progress.update + progress.remaining;
  for (std::int64_t update = progress.update; update < end; ++update, batch ^= 1) {
    const law::BatchPlace after = law::following(next, all_rows, a.plan.batch);
    const bool goes_on = update + 1 < end;
    const int coming_count = goes_on ? next.count : 0;
    copy_async_wait<0>();
    __syncthreads();  // labels are there, all have done their step, and nobody reads rows or dL/dz any more
    store(coming, 1, place.count);
    if (goes_on) rows.open(order, next, batch ^ 1);
    if (has_state && trainee.optimizer.kind == OptimizerKind::adam && threadIdx.x == 0)
      *reinterpret_cast<law::AdamScale*>(base + S::kAdam) = law::adam_scale(trainee.optimizer, update);
    copy_async_commit();
    __syncwarp();  // all lanes have stored

    float logit[4] = {};  // then its gradient
    ActiveUnits<tiles> active;
    forward<P>(x, weight1, bias1, last, logit, active);
    const int own = sample_of<kSamplesOfWarps>(lane() % 4);
    const float of_own = last.loss_gradient(a.loss, own < place.count ? rows.labels(batch)[own] : -1,
                                            1.0f / static_cast<float>(place.count), logit);
    const float of_warp = sum_of_warp(of_own);
    if (lane() == 0) floats(S::kPartial)[tensor_warp()] = of_warp;
    OCCAM_UNROLL
    for (int r = 0; r < 4; ++r) logit[r] = P::round(logit[r]);
    const auto put_delta = [&](int half) {
      OCCAM_UNROLL
      for (int tile = 0; tile < tiles; ++tile) {
        const int unit = 8 * tile + lane() % 4 * 2;
        if (unit >= units) continue;
        OCCAM_UNROLL
        for (int r = 0; r < 2; ++r) {
          const float of = logit[2 * half + r];
          P::put_rounded_pair(delta.row(sample_of<kSamplesOfWarps>(r)), unit,
                              active(half, 2 * r, tile) ? of : 0.0f,
                              active(half, 2 * r + 1, tile) ? of : 0.0f);
        }
      }
    };

    weights.clear();
    put_delta(0);
    __syncthreads();
    if (after.epoch != next.epoch && threadIdx.x == 0) order = rows.order(after);
    load(coming, batch ^ 1, 0, coming_count);
    weights.add(delta, x, rows.in_first_half(place.count));
    __syncthreads();  // nobody reads this half's rows and dL/dz any more
    store(coming, 0, coming_count);
    load(coming, batch ^ 1, 1, coming_count);
    if (place.count > S::kSlice) {
      put_delta(1);
      __syncthreads();
      weights.add(delta, {x.row(S::kSlice), x.row_bytes}, place.count - S::kSlice);
    }

    if (has_state) trainee.adam = *reinterpret_cast<const law::AdamScale*>(base + S::kAdam);
    step_last<has_state>(weights, last, trainee, weight1, bias1, view1);
    weights.template step<has_state>(trainee, view1, weight1, bias1);
    if (threadIdx.x == kTensorThreads - 1) {
      float sum = 0.0f;
      OCCAM_UNROLL
      for (int w = 0; w < kWarps; ++w) sum += floats(S::kPartial)[w];
      last.template step<has_state>(trainee, S::kWide, sum);
    }
    place = next, next = after;
  }
  __syncthreads();
  weights.give_back(trained + view1.weight, view1);
  last.give_back(trained);
  give_biases_back(view1, bias1, trained);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <bool has_state, class F>
decltype(auto) with_kernel(const TensorPlan& plan, const F& f) {
  return with_one_hidden_tensor(plan.precision, plan.layer[0].view.out, [&](auto sizes) {
    using S = decltype(sizes);
    if constexpr (S::kElement == Tf32::kBytes)
      return f(one_hidden_tensor_kernel<Tf32, S::kTiles, has_state>);
    else
      return f(one_hidden_tensor_kernel<Bf16, S::kTiles, has_state>);
  });
}

}  // namespace

void launch_one_hidden_tensor(Stream& stream, const TensorArguments& a) {
  const NvtxRange range{"one hidden layer on tensor cores"};
  require(a.members >= 1, "one hidden layer on tensor cores: {} members", a.members);
  const auto run = [&](auto* kernel) {
    launch(stream, "one hidden layer on tensor cores", kernel, dim3(static_cast<unsigned>(a.members)),
           dim3(kTensorThreads), static_cast<std::size_t>(a.plan.bytes), a);
  };
  with_kernel<false>(a.plan, run);
  if (a.wave.state0) with_kernel<true>(a.plan, run);
}

KernelResources one_hidden_tensor_resources(const TensorPlan& plan, bool has_state) {
  const auto of = [&](auto* kernel) {
    return kernel_resources(reinterpret_cast<const void*>(kernel), "one hidden layer on tensor cores",
                            kTensorThreads, static_cast<std::size_t>(plan.bytes));
  };
  return has_state ? with_kernel<true>(plan, of) : with_kernel<false>(plan, of);
}

}  // namespace occam::cuda
