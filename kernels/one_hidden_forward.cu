// One hidden layer, wider than the chip: its activations are what passes through memory, written once and, backward, read
// once. A block owns 128 samples and goes through all units in their order, tile by tile, so that logits grow beside
// the product and the loss follows at once.

#include "forward.cuh"
#include "law/loss.hpp"
#include "one_hidden.cuh"

namespace occam::cuda {

namespace {

// All inputs are one stage; the last of them stand in the quad that sets its rows apart.
struct DeepTile : Wide {
  static constexpr int kDepth = 48;
};
using SampleStage = Stage<DeepTile::kM, DeepTile::kDepth, Order::depth>;
using UnitStage = Stage<DeepTile::kN, DeepTile::kDepth, Order::depth>;
static_assert(kOneHiddenInputs <= SampleStage::kStride && SampleStage::kStride == UnitStage::kStride);

constexpr int kHiddenStride = DeepTile::kN + kQuad;  // an odd number of quads

struct ForwardShared {
  alignas(16) SampleStage x;
  alignas(16) UnitStage weight[2];  // of a tile of units; one is used while the other is filled
  alignas(
      16) float vector[2][1 + kOneHiddenOutputs][DeepTile::kN];  // their biases and the last layer's weights
  alignas(16) float hidden[DeepTile::kM * kHiddenStride];
};
static_assert(sizeof(ForwardShared) <= kSharedOfEveryDevice);

}  // namespace

// ---- building blocks --------------------------------------------------------------------------------------

// Fetches what tiles of units need: their weights, in the order of staged_column, biases, and the last layer's
// weights. What does not exist stays as it is. A thread has the same places of every tile, whose offsets it works out
// once.
class UnitLoader {
 public:
  using T = DeepTile;

  __device__ __forceinline__ UnitLoader(const OneHiddenArguments& a, const float* parameters)
      : units_(a.hidden.out), stride_(a.hidden.in_stride), weight_(parameters + a.hidden.weight) {
    const int quads = (a.hidden.in + kQuad - 1) / kQuad, thread = static_cast<int>(threadIdx.x);
    OCCAM_UNROLL
    for (int i = 0; i < kPlaces; ++i) {
      const int item = thread + i * T::kThreads, row = item / quads, at = item % quads * kQuad;
      unit_[i] = row < T::kN ? staged_column<T::kThreadsN>(row) : units_;  // beyond every tile
      from_[i] = row < T::kN ? unit_[i] * stride_ + at : 0, to_[i] = row * UnitStage::kStride + at;
    }
    const int v = thread / (T::kN / kQuad), at = thread % (T::kN / kQuad) * kQuad;  // a quad of vector v
    vector_unit_ = v <= a.last.out ? at : units_, vector_to_ = v * T::kN + at;
    vector_ =
        parameters + at +
        (v == 0 || v > a.last.out ? a.hidden.bias
                                  : a.last.weight + (v - 1) * static_cast<std::int64_t>(a.last.in_stride));
  }

  // Starts with the tile of units from `first_n` on.
  __device__ __forceinline__ void start(int first_n, ForwardShared& stage, int which) const {
    const float* const from = weight_ + static_cast<std::int64_t>(first_n) * stride_;
    OCCAM_UNROLL
    for (int i = 0; i < kPlaces; ++i)
      copy_async_if(first_n + unit_[i] < units_, stage.weight[which].value + to_[i], from + from_[i]);
    copy_async_if(first_n + vector_unit_ < units_, &stage.vector[which][0][0] + vector_to_,
                  vector_ + first_n);
    copy_async_commit();
  }

 private:
  static constexpr int kPlaces = (T::kN * padded(kOneHiddenInputs) / kQuad + T::kThreads - 1) / T::kThreads;
  static_assert(T::kThreads >= (1 + kOneHiddenOutputs) * T::kN / kQuad,
                "a thread has one quad of the vectors");

  int units_, stride_;
  const float *weight_, *vector_;
  int unit_[kPlaces], from_[kPlaces], to_[kPlaces], vector_unit_, vector_to_;
};

// The tile's pre-activations, from the bias on.
__device__ __forceinline__ void multiply_inputs(const SampleStage& x, const UnitStage& weight,
                                                const float* bias, int inputs,
                                                float (&value)[DeepTile::kPerM][DeepTile::kPerN]) {
  using T = DeepTile;
  float start[T::kPerN];
  read_step<T::kPerN, T::kThreadsN>(bias + kQuad * T::n(), start);
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; ++j) value[i][j] = start[j];
  }
  // By itself, the first quad adds to the biases where they stand.
  multiply_quad<T, Order::depth, Order::depth>(x, weight, 0, value);
  int k = kQuad;
  OCCAM_NO_UNROLL
  for (; k + 2 < inputs; k += kQuad) multiply_quad<T, Order::depth, Order::depth>(x, weight, k, value);
  if (k < inputs) multiply_quad<T, Order::depth, Order::depth, 2>(x, weight, k, value);
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <int outputs, bool relu>
__global__ void __launch_bounds__(DeepTile::kThreads, 2) one_hidden_forward_kernel(OneHiddenArguments a) {
  using T = DeepTile;
  static_assert(T::kM == T::kThreads, "a thread has a sample's logits");
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot],
            thread = static_cast<int>(threadIdx.x);
  const int first_m = static_cast<int>(blockIdx.x) * T::kM;
  if (first_m >= rows) return;
  const int id = a.slots.member_of(slot), units = a.hidden.out;
  const Member& member = a.wave.members[id];
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row
  auto& stage = shared<ForwardShared>();

  for (int i = thread; i < static_cast<int>(sizeof(ForwardShared) / 4); i += T::kThreads)
    reinterpret_cast<float*>(&stage)[i] = 0.0f;
  __syncthreads();
  const Operand x = rows_of(a, member, place);
  const int quads = (a.hidden.in + kQuad - 1) / kQuad;
  for (int item = thread; item < T::kM * quads; item += T::kThreads) {
    const int row = item / quads, at = item % quads * kQuad;
    if (first_m + row < rows)
      copy_async<16>(stage.x.value + row * SampleStage::kStride + at, x.row(first_m + row) + at);
  }
  const UnitLoader load_units(a, parameters);
  load_units.start(0, stage, 0);

  float logit[outputs];
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c) logit[c] = parameters[a.last.bias + c];
  for (int first_n = 0, now = 0; first_n < units; first_n += T::kN, now ^= 1) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and nobody reads the one before any more
    if (first_n + T::kN < units) load_units.start(first_n + T::kN, stage, now ^ 1);
    float value[T::kPerM][T::kPerN];
    multiply_inputs(stage.x, stage.weight[now], stage.vector[now][0], a.hidden.in, value);
    with_activation<relu>(a.hidden.activation, [&](auto kind) {
      OCCAM_UNROLL
      for (int i = 0; i < T::kPerM; ++i) {
        OCCAM_UNROLL
        for (int j = 0; j < T::kPerN; ++j)
          value[i][j] = law::activate<decltype(kind)::value>(value[i][j], 0.0f);
      }
    });
    store_tile<T>(a.activations + place * a.hidden.out_stride,
                  {first_m, rows, first_n, units, a.hidden.out_stride}, value);
    OCCAM_UNROLL
    for (int i = 0; i < T::kPerM; ++i) {
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; j += kQuad)
        *reinterpret_cast<float4*>(stage.hidden + T::row<Order::depth>(i) * kHiddenStride + T::column(j)) =
            make_float4(value[i][j], value[i][j + 1], value[i][j + 2], value[i][j + 3]);
    }
    __syncthreads();
    // The chains of the thread's sample go on through a quad of units, of which `count` exist.
    const auto add = [&](int k, int count) {
      float h[kQuad];
      read_steps(stage.hidden + thread * kHiddenStride + k, h);
      OCCAM_UNROLL
      for (int c = 0; c < outputs; ++c) {
        float w[kQuad];
        read_steps(&stage.vector[now][1 + c][k], w);
        OCCAM_UNROLL
        for (int step = 0; step < kQuad; ++step)
          if (step < count) logit[c] = law::fma(h[step], w[step], logit[c]);
      }
    };
    const int left = units - first_n;
    if (left >= T::kN) {
#pragma unroll 4
      for (int k = 0; k < T::kN; k += kQuad) add(k, kQuad);
    } else {
      OCCAM_NO_UNROLL
      for (int k = 0; k < left; k += kQuad) add(k, left - k);
    }
  }
  const int sample = first_m + thread;
  if (sample >= rows) return;
  float* const logits = a.logits + (place + sample) * kQuad;
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c) logits[c] = logit[c];
  law::sample_loss_gradient(a.loss, logits, outputs, member.train_y[a.batch[place + sample]],
                            1.0f / static_cast<float>(rows), logits);
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_one_hidden_forward(Stream& stream, const OneHiddenArguments& a) {
  const NvtxRange range{"one hidden layer, forward"};
  check_one_hidden(a);
  with_one_hidden_variant(a, [&]<int outputs, bool relu>() {
    launch(stream, "one_hidden_forward", one_hidden_forward_kernel<outputs, relu>,
           dim3(static_cast<unsigned>(tiles(a.slots.capacity, DeepTile::kM)),
                static_cast<unsigned>(a.slots.count)),
           dim3(DeepTile::kThreads), sizeof(ForwardShared), a);
  });
}

}  // namespace occam::cuda
