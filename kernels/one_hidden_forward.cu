// One hidden layer, wider than the chip: its activations are what passes through memory, written once and, backward, read
// once. A block owns 128 samples and goes through all units in their order, tile by tile, so that logits grow beside
// the product and the loss follows at once.

#include "forward.cuh"
#include "law/loss.hpp"
#include "one_hidden.cuh"

namespace occam::cuda {

namespace {

// Samples × units. Weights lie as in memory, a unit's inputs side by side, and samples across, an input of all samples
// side by side: a thread reads quads of both.
using DeepTile = Tile<16, 8, 8, 12>;
constexpr int kInputs = padded(kOneHiddenInputs);
constexpr int kSampleStride = DeepTile::kM + kQuad;  // neighbouring inputs of a sample lie in different banks
constexpr int kUnitStride = kInputs;
static_assert(kUnitStride / kQuad % 2 == 1,
              "eight threads that read quads of eight units touch all 32 banks");

// A warp has all units of 32 samples: those of its rows. Their logits are its own business, a part of the units after
// the other.
constexpr int kWarp = 32, kWarpM = kWarp / DeepTile::kThreadsN;  // lanes; of them along the samples
static_assert(kWarpM * DeepTile::kPerM == kWarp && kWarpM * kQuad == kWarp / 2, "a lane has a sample");
using Part = Tile<DeepTile::kThreadsM, DeepTile::kThreadsN, DeepTile::kPerM, kQuad>;
constexpr int kHiddenStride = Part::kN + kQuad;  // an odd number of quads

struct ForwardShared {
  alignas(16) float x[kInputs * kSampleStride];
  alignas(
      16) float weight[2][DeepTile::kN * kUnitStride];  // of a tile; one is used while the other is filled
  alignas(
      16) float vector[2][1 + kOneHiddenOutputs][DeepTile::kN];  // their biases and the last layer's weights
  alignas(16) float hidden[DeepTile::kM * kHiddenStride];        // of a part, 32 rows a warp
};
static_assert(sizeof(ForwardShared) <= kSharedOfEveryDevice);

}  // namespace

// ---- building blocks --------------------------------------------------------------------------------------

// Fetches what tiles of units need: their weights, in the order of staged_column, biases, and the last layer's
// weights. What does not exist stays as it is. Sixteen threads have a staged row and every eighth one that follows.
class UnitLoader {
 public:
  using T = DeepTile;

  __device__ __forceinline__ UnitLoader(const OneHiddenArguments& a, const float* parameters)
      : units_(a.hidden.out), stride_(a.hidden.in_stride) {
    const int thread = static_cast<int>(threadIdx.x), row = thread / kThreadsOfRow,
              in = thread % kThreadsOfRow * kQuad;
    unit_ = in < a.hidden.in ? kQuad * row : units_;  // beyond every tile
    weight_ = parameters + a.hidden.weight + static_cast<std::int64_t>(kQuad * row) * stride_ + in;
    to_ = row * kUnitStride + in;
    const int v = thread / (T::kN / kQuad), at = thread % (T::kN / kQuad) * kQuad;  // a quad of vector v
    vector_unit_ = v <= a.last.out ? at : units_, vector_to_ = v * T::kN + at;
    vector_ =
        parameters + at +
        (v == 0 || v > a.last.out ? a.hidden.bias
                                  : a.last.weight + (v - 1) * static_cast<std::int64_t>(a.last.in_stride));
  }

  // Starts with the tile of units from `first_n` on.
  __device__ __forceinline__ void start(int first_n, ForwardShared& stage, int which) const {
    const float* part = weight_ + static_cast<std::int64_t>(first_n) * stride_;
    const int left = units_ - first_n - unit_;
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; j += kQuad, part += Part::kN * stride_) {
      const float* from = part;
      OCCAM_UNROLL
      for (int e = 0; e < kQuad; ++e, from += stride_)
        copy_async_if(j * T::kThreadsN + e < left,
                      stage.weight[which] + to_ + (j + e) * T::kThreadsN * kUnitStride, from);
    }
    copy_async_if(first_n + vector_unit_ < units_, &stage.vector[which][0][0] + vector_to_,
                  vector_ + first_n);
    copy_async_commit();
  }

 private:
  static constexpr int kThreadsOfRow = T::kThreads / T::kThreadsN;
  static_assert(kThreadsOfRow * kQuad >= kInputs);
  static_assert(T::kThreads >= (1 + kOneHiddenOutputs) * T::kN / kQuad,
                "a thread has one quad of the vectors");

  int units_, stride_, unit_, to_, vector_unit_, vector_to_;
  const float *weight_, *vector_;
};

// Starts the copies of the inputs of the block's samples, which lie at the rows row_at[0 … kM) of `x`.
__device__ __forceinline__ void start_samples(const Operand& x, const std::uint32_t* row_at, int rows,
                                              int inputs, float* to) {
  using T = DeepTile;
  constexpr int kThreadsOfRow = 64;
  static_assert(kThreadsOfRow >= kOneHiddenInputs);
  const int thread = static_cast<int>(threadIdx.x), in = thread % kThreadsOfRow;
  if (in >= inputs) return;
#pragma unroll 8  // their addresses are read together
  for (int row = thread / kThreadsOfRow; row < T::kM; row += T::kThreads / kThreadsOfRow)
    if (row < rows) copy_async<4>(to + in * kSampleStride + row, x.data + row_at[row] * x.stride + in);
}

// The tile's pre-activations, from the bias on.
__device__ __forceinline__ void multiply_inputs(const float* x, const float* weight, const float* bias,
                                                int inputs,
                                                float (&value)[DeepTile::kPerM][DeepTile::kPerN]) {
  using T = DeepTile;
  const float *samples = x + kQuad * T::m(), *units = weight + T::n() * kUnitStride;
  float start[T::kPerN];
  read_step<T::kPerN, T::kThreadsN>(bias + kQuad * T::n(), start);
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; ++j) value[i][j] = start[j];
  }
  // Four inputs from k on, or the first `steps` of them.
  const auto add = [&]<int steps>(std::integral_constant<int, steps>, int k) {
    float w[T::kPerN][kQuad];
    OCCAM_UNROLL
    for (int j = 0; j < T::kPerN; ++j) read_steps(units + j * T::kThreadsN * kUnitStride + k, w[j]);
    OCCAM_UNROLL
    for (int step = 0; step < steps; ++step) {
      float sample[T::kPerM];
      read_step<T::kPerM, T::kThreadsM>(samples + (k + step) * kSampleStride, sample);
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; ++j) {
        OCCAM_UNROLL
        for (int at = 0; at < T::kPerM; ++at) {
          const int i = snake<T::kPerM>(j, at);
          value[i][j] = law::fma(sample[i], w[j][step], value[i][j]);
        }
      }
    }
  };
  constexpr std::integral_constant<int, kQuad> all;
  // By itself, the first quad adds to the biases where they stand.
  add(all, 0);
  int k = kQuad;
  OCCAM_NO_UNROLL
  for (; k + 2 < inputs; k += kQuad) add(all, k);
  if (k < inputs) add(std::integral_constant<int, 2>{}, k);
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

  for (int i = thread; i < static_cast<int>(sizeof(ForwardShared) / sizeof(float4)); i += T::kThreads)
    reinterpret_cast<float4*>(&stage)[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  __syncthreads();
  const UnitLoader load_units(a, parameters);
  load_units.start(0, stage, 0);
  // Of its warp's samples a lane has one. While none has activations, their row numbers stand in their place.
  const int warp = thread / kWarp, lane = thread % kWarp, half = kWarp / 2,
            own = warp * half + lane % half + lane / half * (T::kM / 2), sample = first_m + own;
  const std::uint32_t index = a.batch[place + (sample < rows ? sample : 0)];
  const std::int32_t label = member.train_y[index];
  auto* const row_at = reinterpret_cast<std::uint32_t*>(stage.hidden);
  row_at[own] = a.input ? static_cast<std::uint32_t>(sample) : index;
  __syncthreads();
  start_samples(rows_of(a, member, place), row_at, rows - first_m, a.hidden.in, stage.x);
  copy_async_commit();

  float* const hidden = stage.hidden + warp * kWarp * kHiddenStride;
  float* const hidden_to = hidden + T::m() % kWarpM * kQuad * kHiddenStride + Part::column(0);
  float logit[outputs];
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c) logit[c] = parameters[a.last.bias + c];
  for (int first_n = 0, now = 0; first_n < units; first_n += T::kN, now ^= 1) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and nobody reads the one before any more
    if (first_n + T::kN < units) load_units.start(first_n + T::kN, stage, now ^ 1);
    float value[T::kPerM][T::kPerN];
    multiply_inputs(stage.x, stage.weight[now], stage.vector[now][0], a.hidden.in, value);
    OCCAM_UNROLL
    for (int part = 0; part < T::kPerN / kQuad; ++part) {
      float activation[T::kPerM][kQuad];
      with_activation<relu>(a.hidden.activation, [&](auto kind) {
        OCCAM_UNROLL
        for (int i = 0; i < T::kPerM; ++i) {
          OCCAM_UNROLL
          for (int e = 0; e < kQuad; ++e)
            activation[i][e] = law::activate<decltype(kind)::value>(value[i][part * kQuad + e], 0.0f);
        }
      });
      const int first = first_n + part * Part::kN, left = units - first;
      store_tile<Part, Order::extent>(a.activations + place * a.hidden.out_stride,
                                      {first_m, rows, first, units, a.hidden.out_stride}, activation);
      __syncwarp();  // nobody reads the part before any more
      OCCAM_UNROLL
      for (int i = 0; i < T::kPerM; ++i)
        *reinterpret_cast<float4*>(hidden_to + (i / kQuad * half + i % kQuad) * kHiddenStride) =
            make_float4(activation[i][0], activation[i][1], activation[i][2], activation[i][3]);
      __syncwarp();
      // The chains of the lane's sample go on through a quad of units, of which `count` exist.
      const auto add = [&](int k, int count) {
        float h[kQuad];
        read_steps(hidden + lane * kHiddenStride + k, h);
        OCCAM_UNROLL
        for (int c = 0; c < outputs; ++c) {
          float w[kQuad];
          read_steps(&stage.vector[now][1 + c][part * Part::kN + k], w);
          OCCAM_UNROLL
          for (int step = 0; step < kQuad; ++step)
            if (step < count) logit[c] = law::fma(h[step], w[step], logit[c]);
        }
      };
      if (left >= Part::kN) {
        OCCAM_UNROLL
        for (int k = 0; k < Part::kN; k += kQuad) add(k, kQuad);
      } else {
        OCCAM_NO_UNROLL
        for (int k = 0; k < left; k += kQuad) add(k, left - k);
      }
    }
  }
  if (sample >= rows) return;
  float* const logits = a.logits + (place + sample) * kQuad;
  OCCAM_UNROLL
  for (int c = 0; c < outputs; ++c) logits[c] = logit[c];
  law::sample_loss_gradient(a.loss, logits, outputs, label, 1.0f / static_cast<float>(rows), logits);
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
