// A first layer on images of shapes. Images exist nowhere: a product goes through the lit pixels of its
// samples alone, in ascending order, as the law wants, and a pixel that is 0 would add nothing. A shape
// lights one in twenty pixels, and what bounds training is the optimiser's traffic: weights that no training
// row lights are never touched.

#include <algorithm>

#include "backward.hpp"
#include "forward.cuh"
#include "law/shape.hpp"
#include "occam/limits.hpp"
#include "weight_step.cuh"

namespace occam::cuda {

namespace {

// 64 × 64 by many threads with little each: they wait for masks and places, not for multiply-adds.
using ForwardTile = Tile<32, 8, 2, 8>;
using ShapeTile = Tile<16, 16, 4, 4>;

// Blocks of a multiprocessor that registers leave room for: others work while one waits.
constexpr int kBlocks = 3;

constexpr int kWarp = 32;
constexpr int kColumns = kWarp;                        // pixels of an image row that are staged at a time
constexpr int kStageStride = ForwardTile::kN + kQuad;  // floats from pixel to pixel
constexpr int kImageRows = 96;                         // of the image, looked through at a time
constexpr int kListed = 128;                           // samples looked through at a time
constexpr int kBlocksEnough = 2048;  // of a launch; more would only look for samples more often

static_assert(kMostSide <= 0x7FFF);  // columns, also those right of the image, in two bytes

struct ForwardStage {
  alignas(16) float weight[2][kColumns * kStageStride];  // [pixel][unit]; one is filled meanwhile
  law::ShapeBox box[ForwardTile::kM];                    // at their places
  float pixel[ForwardTile::kM][kColumns + 1];            // of the staged columns
  unsigned lit[kImageRows][ForwardTile::kM + 1];  // begin and, from bit 16 on, end; rows in different banks
  law::ShapeSpan columns[kImageRows];             // that some sample lights
};
static_assert(sizeof(ForwardStage) <= kSharedOfEveryDevice);

// Those of the samples in hand that light the tile, all at once.
struct GradientListed : ShapeTile {
  static constexpr int kDepth = kListed;
};
struct GradientStage {
  alignas(16) Stage<ShapeTile::kM, kListed, Order::extent> delta;
  alignas(16) Stage<ShapeTile::kN, kListed, Order::extent> pixel;
  unsigned lit[kListed / kWarp];  // which of the samples light the tile, a bit each
  int listed[kListed];            // those, ascending
  law::ShapeBox box[kListed];     // theirs, at their places
};
static_assert(sizeof(GradientStage) <= kSharedOfEveryDevice);

}  // namespace

// ---- building blocks --------------------------------------------------------------------------------------

// Row `s` of a slot in hand.
__device__ __forceinline__ law::ShapePlace place_of(const Member& member, Split split,
                                                    const std::uint32_t* batch, std::int64_t first_row,
                                                    int s) {
  return member.places[member.first[static_cast<int>(split)] + (batch ? batch[s] : first_row + s)];
}

// Columns in one word; a shape may end left of the image, which lights none.
__device__ __forceinline__ unsigned packed(const law::ShapeSpan& span) {
  return static_cast<unsigned>(span.begin) | static_cast<unsigned>(span.end > 0 ? span.end : 0) << 16;
}
__device__ __forceinline__ law::ShapeSpan unpacked(unsigned lit) {
  return {static_cast<int>(lit & 0xFFFFu), static_cast<int>(lit >> 16)};
}

// Whether a sample, its box at its place, lights one of the pixels [first, first + count).
__device__ __forceinline__ bool lights(const law::Shapes& shapes, const law::ShapeBox& box, int first,
                                       int count) {
  const int last = first + count - 1;
  for (int y = first / shapes.width; y <= last / shapes.width && y < shapes.height; ++y) {
    const law::ShapeSpan span = law::lit_span(shapes, box, y);
    const int begin = y * shapes.width + span.begin, end = y * shapes.width + span.end;
    if (span.begin < span.end && begin <= last && end > first) return true;
  }
  return false;
}

// Finds the columns that each of the block's samples lights, and that some do, of image rows from `first` on.
__device__ __forceinline__ void find_columns(const law::Shapes& shapes, int rows, int first,
                                             ForwardStage& stage) {
  constexpr int kSamples = ForwardTile::kM;
  const int count = shapes.height - first < kImageRows ? shapes.height - first : kImageRows;
#pragma unroll 4  // their loads overlap
  for (int item = static_cast<int>(threadIdx.x); item < count * kSamples; item += ForwardTile::kThreads) {
    const int s = item % kSamples, y = item / kSamples;
    if (s >= rows) continue;
    stage.lit[y][s] = packed(law::lit_span(shapes, stage.box[s], first + y));
  }
  __syncthreads();
  for (int y = static_cast<int>(threadIdx.x); y < count; y += ForwardTile::kThreads) {
    law::ShapeSpan all{shapes.width, 0};
#pragma unroll 4
    for (int s = 0; s < rows; ++s) {
      const law::ShapeSpan span = unpacked(stage.lit[y][s]);
      if (span.begin >= span.end) continue;
      all.begin = span.begin < all.begin ? span.begin : all.begin;
      all.end = span.end > all.end ? span.end : all.end;
    }
    stage.columns[y] = all;
  }
}

// At most kColumns neighbouring pixels of an image row, of those that find_columns found.
struct Pixels {
  int y, first;  // y is counted from the rows that are looked through

  __device__ __forceinline__ bool exist(int count) const { return y < count; }
  // The next ones from here on, these included if they are lit.
  __device__ __forceinline__ void seek(const ForwardStage& stage, int count) {
    while (y < count && first >= stage.columns[y].end)
      if (++y < count) first = stage.columns[y].begin;
  }
  __device__ __forceinline__ int last(const ForwardStage& stage) const {
    const int end = stage.columns[y].end;
    return first + kColumns < end ? first + kColumns : end;
  }
};

// Starts to fetch the tile's weights of image row y's pixels [first, last); weight: of the tile's first unit. A warp
// has a unit in hand, its lanes are the pixels.
__device__ __forceinline__ void fetch_weights(const float* weight, std::int64_t stride, int units, int first,
                                              int last, float* to) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, x = first + lane;
  OCCAM_UNROLL
  for (int i = 0; i < ForwardTile::kN * kWarp / ForwardTile::kThreads; ++i) {
    const int n = static_cast<int>(threadIdx.x) / kWarp + i * (ForwardTile::kThreads / kWarp);
    if (x < last && n < units) copy_async<4>(to + lane * kStageStride + n, weight + n * stride + x);
  }
  copy_async_commit();
}

// Which of the staged columns [first, last) sample s lights, counted from the first; image row y is the of_stage-th that is
// looked through.
__device__ __forceinline__ law::ShapeSpan staged_columns(const ForwardStage& stage, int rows, int s,
                                                         int of_stage, int first, int last) {
  if (s >= rows) return {0, 0};
  const law::ShapeSpan span = unpacked(stage.lit[of_stage][s]);
  return {(span.begin > first ? span.begin : first) - first, (span.end < last ? span.end : last) - first};
}

// value[i][j] += Σ_x pixel(sample i, y, x) · weight[j][x] over the staged columns. The threads that share a sample bring
// its pixels together; a barrier of the block comes before the next ones take their place.
template <class T>
__device__ __forceinline__ void multiply_columns(const law::Shapes& shapes, ForwardStage& stage,
                                                 const float* staged, int rows, int y, int of_stage,
                                                 int first, int last, float (&value)[T::kPerM][T::kPerN]) {
  law::ShapeSpan span[T::kPerM];
  bool some = false;
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    span[i] = staged_columns(stage, rows, T::template row<Order::depth>(i), of_stage, first, last);
    some |= span[i].begin < span[i].end;
  }
  if (!__any_sync(0xFFFFFFFFu, some)) return;
  float pixel[T::kPerM][kColumns / T::kThreadsN];
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    if (span[i].begin >= span[i].end) continue;
    const law::ShapeRow row = law::shape_row(shapes, stage.box[T::template row<Order::depth>(i)], y);
    OCCAM_UNROLL
    for (int k = 0; k < kColumns / T::kThreadsN; ++k) {
      const int x = T::n() + k * T::kThreadsN;
      pixel[i][k] = x < span[i].end ? row[first + x] : 0.0f;
    }
  }
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    if (span[i].begin >= span[i].end) continue;
    OCCAM_UNROLL
    for (int k = 0; k < kColumns / T::kThreadsN; ++k)
      stage.pixel[T::template row<Order::depth>(i)][T::n() + k * T::kThreadsN] = pixel[i][k];
  }
  __syncwarp();
  OCCAM_UNROLL
  for (int i = 0; i < T::kPerM; ++i) {
    const float* const pixels = stage.pixel[T::template row<Order::depth>(i)];
#pragma unroll 4  // their loads overlap
    for (int x = span[i].begin; x < span[i].end; ++x) {
      const float of_sample = pixels[x];
      float weight[T::kPerN];
      read_step<T::kPerN, T::kThreadsN>(staged + x * kStageStride + kQuad * T::n(), weight);
      OCCAM_UNROLL
      for (int j = 0; j < T::kPerN; ++j) value[i][j] = law::fma(of_sample, weight[j], value[i][j]);
    }
  }
}

// Lists those of the samples from first_s on, kListed at most, that light the tile's pixels; their number.
template <class T>
__device__ __forceinline__ int list_samples(const law::Shapes& shapes, const Member& member,
                                            const std::uint32_t* batch, int first_s, int rows, int first_n,
                                            GradientStage& stage) {
  static_assert(kListed <= T::kThreads, "a thread looks at one sample");
  const int thread = static_cast<int>(threadIdx.x);
  bool meets = false;
  law::ShapeBox box;
  if (thread < kListed && first_s + thread < rows) {
    box = law::placed(shapes, place_of(member, Split::train, batch, 0, first_s + thread));
    meets = lights(shapes, box, first_n, T::kN);
  }
  const unsigned mine = __ballot_sync(0xFFFFFFFFu, meets);
  if (thread < kListed && thread % kWarp == 0) stage.lit[thread / kWarp] = mine;
  __syncthreads();
  int count = 0, before = 0;
  OCCAM_UNROLL
  for (int w = 0; w < kListed / kWarp; ++w) {
    if (w == thread / kWarp) before = count;
    count += __popc(stage.lit[w]);
  }
  if (meets) {
    const int at = before + __popc(mine & ((1u << thread % kWarp) - 1u));
    stage.listed[at] = thread, stage.box[at] = box;
  }
  __syncthreads();
  return count;
}

// What stands for samples up to a whole quad adds nothing.
__device__ __forceinline__ int whole_quads(int count) { return (count + kQuad - 1) / kQuad * kQuad; }

// The tile's pixels of the listed samples.
template <class T>
__device__ __forceinline__ void stage_pixels(const law::Shapes& shapes, int first_n, int pixels, int count,
                                             GradientStage& stage) {
  static_assert(T::kThreads % T::kN == 0);
  const int n = static_cast<int>(threadIdx.x) % T::kN, pixel = first_n + n, y = pixel / shapes.width,
            x = pixel % shapes.width, steps = whole_quads(count);
#pragma unroll 4  // their loads overlap
  for (int k = static_cast<int>(threadIdx.x) / T::kN; k < steps; k += T::kThreads / T::kN)
    stage.pixel.value[k * T::kN + n] =
        k < count && pixel < pixels ? law::shape_row(shapes, stage.box[k], y)[x] : 0.0f;
}

// Starts to fetch the listed samples' deltas of a tile's units; delta: of the first sample looked through and of the
// tile's first unit, [sample][stride]. Units beyond the last one are those of no sample.
template <class T>
__device__ __forceinline__ void fetch_delta(const float* delta, std::int64_t stride, int units, int count,
                                            GradientStage& stage) {
  constexpr int kAcross = T::kM / kQuad;
  const int steps = whole_quads(count);
  for (int item = static_cast<int>(threadIdx.x); item < steps * kAcross; item += T::kThreads) {
    const int k = item / kAcross, at = item % kAcross * kQuad;
    float* const to = stage.delta.value + k * T::kM + at;
    if (k < count && at < units)
      copy_async<16>(to, delta + stage.listed[k] * stride + at);
    else
      *reinterpret_cast<float4*>(to) = make_float4(-0.0f, -0.0f, -0.0f, -0.0f);
  }
  copy_async_commit();
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <class T>
__global__ void __launch_bounds__(T::kThreads, kBlocks) shape_forward_kernel(ShapeForwardArguments of) {
  const ForwardArguments& a = of.forward;
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  const int across = tiles(a.layer.out, T::kN);
  const int first_m = static_cast<int>(blockIdx.x) / across * T::kM,
            first_n = static_cast<int>(blockIdx.x) % across * T::kN;
  if (first_m >= rows) return;
  const int id = a.slots.member_of(slot), of_block = rows - first_m < T::kM ? rows - first_m : T::kM;
  const Member& member = a.wave.members[id];
  const law::Shapes shapes = *member.shapes;
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row
  auto& stage = shared<ForwardStage>();
  for (int s = static_cast<int>(threadIdx.x); s < of_block; s += T::kThreads)
    stage.box[s] = law::placed(
        shapes, place_of(member, of.split, a.batch ? a.batch + place : nullptr, a.first_row, first_m + s));

  for (int item = static_cast<int>(threadIdx.x); item < 2 * kColumns * kStageStride; item += T::kThreads)
    stage.weight[item / (kColumns * kStageStride)][item % (kColumns * kStageStride)] = 0.0f;
  __syncthreads();

  float value[T::kPerM][T::kPerN];
  start_forward<T>(a.layer, parameters, first_n, value);
  const float* const weight =
      parameters + a.layer.weight + static_cast<std::int64_t>(first_n) * a.layer.in_stride;
  for (int first_y = 0; first_y < shapes.height; first_y += kImageRows) {
    find_columns(shapes, of_block, first_y, stage);
    __syncthreads();
    const int count = shapes.height - first_y < kImageRows ? shapes.height - first_y : kImageRows;
    const auto fetch = [&](const Pixels& pixels, int to) {
      if (pixels.exist(count))
        fetch_weights(weight + static_cast<std::int64_t>(first_y + pixels.y) * shapes.width,
                      a.layer.in_stride, a.layer.out - first_n, pixels.first, pixels.last(stage),
                      stage.weight[to]);
    };
    Pixels now{0, stage.columns[0].begin};
    now.seek(stage, count);
    fetch(now, 0);
    for (int which = 0; now.exist(count); which ^= 1) {
      Pixels next{now.y, now.last(stage)};
      next.seek(stage, count);
      copy_async_wait<0>();
      __syncthreads();  // these weights have arrived, and nobody reads the others any more
      fetch(next, which ^ 1);
      multiply_columns<T>(shapes, stage, stage.weight[which], of_block, first_y + now.y, now.y, now.first,
                          now.last(stage), value);
      now = next;
    }
    __syncthreads();  // the next rows' columns overwrite these
  }
  finish_forward<T>(a, id, place, {first_m, rows, first_n, a.layer.out, a.layer.out_stride}, value);
}

// weight gradient[j][k] = Σ_s delta[s][j] · pixel[s][k] over the samples that light the tile's pixels, in
// batch order: the others would add zeros. bias gradient[j] = Σ_s delta[s][j] by the blocks of k = 0. A block has T::kN
// pixels and `units` units, which it goes through a tile at a time: it looks for samples once, unless they are too many.
template <class T>
__global__ void __launch_bounds__(T::kThreads, kBlocks)
    shape_weight_gradient_kernel(ShapeWeightGradientArguments a, int units) {
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  if (rows == 0) return;
  const int across = tiles(a.layer.in, T::kN), thread = static_cast<int>(threadIdx.x);
  const int first_n = static_cast<int>(blockIdx.x) % across * T::kN,
            begin_m = static_cast<int>(blockIdx.x) / across * units,
            end_m = begin_m + units < a.layer.out ? begin_m + units : a.layer.out;
  const int id = a.slots.member_of(slot);
  const Member& member = a.wave.members[id];
  static_assert(T::kN / kQuad <= kWarp, "a lane looks at one quad");
  const int looked_at = first_n + thread % kWarp * kQuad;
  const unsigned live = __ballot_sync(0xFFFFFFFFu, thread % kWarp < T::kN / kQuad && looked_at < a.layer.in &&
                                                       member.live[looked_at / kQuad] != 0);
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row
  const float* const delta = a.delta + place * a.layer.out_stride;
  if (first_n == 0)
    for (int m = begin_m + thread; m < end_m; m += T::kThreads) {
      float gradient = 0.0f;
      for (int s = 0; s < rows; ++s) gradient += delta[static_cast<std::int64_t>(s) * a.layer.out_stride + m];
      Trainee{a.wave, id}.step(a.layer.bias + m, gradient);
    }
  if (live == 0) return;
  auto& stage = shared<GradientStage>();
  int count = 0;
  for (int first_m = begin_m; first_m < end_m; first_m += T::kM) {
    float gradient[T::kPerM][T::kPerN] = {};
    for (int first_s = 0; first_s < rows; first_s += kListed) {
      if (first_m == begin_m || rows > kListed) {
        const law::Shapes shapes = *member.shapes;
        count = list_samples<T>(shapes, member, a.batch + place, first_s, rows, first_n, stage);
        stage_pixels<T>(shapes, first_n, a.layer.in, count, stage);
      }
      fetch_delta<T>(delta + static_cast<std::int64_t>(first_s) * a.layer.out_stride + first_m,
                     a.layer.out_stride, a.layer.out - first_m, count, stage);
      copy_async_wait<0>();
      __syncthreads();
      OCCAM_NO_UNROLL
      for (int k = 0; k < whole_quads(count); k += kQuad)
        multiply_step<GradientListed, Order::extent, Order::extent>(stage.delta, stage.pixel, k, gradient);
      __syncthreads();  // what follows takes the place of deltas
    }
    static_assert(sizeof(stage.delta) >= sizeof(float) * T::kM * T::kN);
    put_gradients<T, T::kN>(stage.delta.value, gradient);
    __syncthreads();
    step_tile<T, T::kN>(Trainee{a.wave, id}, a.layer, first_m, first_n, stage.delta.value,
                        [&](int n) { return (live >> (n - first_n) / kQuad & 1u) != 0; });
    static_assert(T::kM == T::kN, "a thread puts the next tile's deltas where it has read gradients itself");
  }
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_shape_forward(Stream& stream, const ShapeForwardArguments& of) {
  const NvtxRange range{"shape forward"};
  const ForwardArguments& a = of.forward;
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots, "shape forward: {} members at once; give 1 to {}",
          a.slots.count, kMaxSlots);
  using T = ForwardTile;
  const dim3 grid(static_cast<unsigned>(tiles(a.slots.capacity, T::kM) * tiles(a.layer.out, T::kN)),
                  static_cast<unsigned>(a.slots.count));
  launch(stream, "shape_forward", shape_forward_kernel<T>, grid, dim3(T::kThreads), sizeof(ForwardStage), of);
}

void launch_shape_weight_gradient(Stream& stream, const ShapeWeightGradientArguments& a) {
  const NvtxRange range{"shape weight gradient"};
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots,
          "shape weight gradient: {} members at once; give 1 to {}", a.slots.count, kMaxSlots);
  require(a.delta && a.batch, "shape weight gradient: no delta, or no batch");
  using T = ShapeTile;
  const int down = tiles(a.layer.out, T::kM), across = tiles(a.layer.in, T::kN);
  const int of_block = static_cast<int>(std::clamp(
      std::int64_t{down} * across * a.slots.count / kBlocksEnough, std::int64_t{1}, std::int64_t{down}));
  const dim3 grid(static_cast<unsigned>(tiles(down, of_block) * across),
                  static_cast<unsigned>(a.slots.count));
  launch(stream, "shape_weight_gradient", shape_weight_gradient_kernel<T>, grid, dim3(T::kThreads),
         sizeof(GradientStage), a, of_block * T::kM);
}

}  // namespace occam::cuda
