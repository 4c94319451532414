// An update's bookkeeping on the device, so that the host need not wait: which rows each member trains on
// (law/batch.hpp), how many, the scalars of its optimiser, and the counting of updates.

#include "batch.hpp"

#include "law/batch.hpp"
#include "product.cuh"

namespace occam::cuda {

namespace {
constexpr int kThreads = 256;
}

// ---- kernels ----------------------------------------------------------------------------------------------

// One thread a sample.
__global__ void __launch_bounds__(kThreads) batch_kernel(BatchArguments a) {
  const int slot = static_cast<int>(blockIdx.y);
  const int sample = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const Member& member = a.wave.members[slot];
  Progress& progress = a.wave.progress[slot];
  if (progress.remaining == 0) {
    if (sample == 0) a.rows[slot] = 0;
    return;
  }
  const std::int64_t rows = member.rows[static_cast<int>(Split::train)];
  const law::BatchPlace place = law::batch_place(progress.update, rows, a.capacity);
  if (sample < place.count) {
    const law::EpochOrder order = law::epoch_order(member.order_seed, member.in_order, place.epoch, rows);
    a.batch[static_cast<std::int64_t>(slot) * a.capacity + sample] =
        order(static_cast<std::uint32_t>(place.first) + static_cast<std::uint32_t>(sample));
  }
  if (sample == 0) {
    a.rows[slot] = place.count;
    if (member.optimizer.kind == OptimizerKind::adam)
      progress.adam = law::adam_scale(member.optimizer, progress.update);
  }
}

// One thread a quad of features.
__global__ void __launch_bounds__(kThreads) input_dropout_kernel(InputDropoutArguments a) {
  const int slot = static_cast<int>(blockIdx.y), stride = padded(a.inputs), quads = tiles(a.inputs, kQuad);
  const int item = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int sample = item / quads, quad = item % quads;
  if (sample >= a.slots.rows[slot]) return;
  const int id = a.slots.member_of(slot);
  const Member& member = a.wave.members[id];
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity + sample;
  float x[kQuad];
  read_steps(
      (a.x ? a.x + place * stride : member.train_x + static_cast<std::int64_t>(a.batch[place]) * stride) +
          kQuad * quad,
      x);
  if (member.input_dropout.threshold > 0) {
    const Philox words = law::dropout_draws(member.order_seed, static_cast<std::uint32_t>(quad),
                                            static_cast<std::uint32_t>(sample), 0,
                                            static_cast<std::uint32_t>(a.wave.progress[id].update));
    OCCAM_UNROLL
    for (int e = 0; e < kQuad; ++e) x[e] *= law::dropout_factor(member.input_dropout, words.word[e]);
  }
  store_quad(a.output + place * stride, kQuad * quad, a.inputs, make_float4(x[0], x[1], x[2], x[3]));
}

// One thread a member.
__global__ void __launch_bounds__(kThreads) gather_kernel(GatherArguments a) {
  const int slot = static_cast<int>(blockIdx.y), stride = padded(a.inputs), quads = tiles(a.inputs, kQuad);
  const int item = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int sample = item / quads, quad = item % quads;
  if (sample >= a.slots.rows[slot]) return;
  const Member& member = a.wave.members[a.slots.member_of(slot)];
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity + sample;
  const std::int64_t row = a.batch[place];
  *reinterpret_cast<float4*>(a.x + place * stride + kQuad * quad) =
      *reinterpret_cast<const float4*>(member.train_x + row * stride + kQuad * quad);
  if (quad == 0) a.labels[place] = member.train_y[row];
}

__global__ void __launch_bounds__(kThreads) advance_kernel(Progress* progress, int members) {
  const int member = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (member >= members || progress[member].remaining == 0) return;
  progress[member].update += 1;
  progress[member].remaining -= 1;
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_batch(Stream& stream, const BatchArguments& a) {
  const NvtxRange range{"batch"};
  require(a.members >= 1 && a.members <= kMaxSlots && a.capacity >= 1, "batch: {} members, batches of {}",
          a.members, a.capacity);
  launch(stream, "batch", batch_kernel,
         dim3(static_cast<unsigned>(tiles(a.capacity, kThreads)), static_cast<unsigned>(a.members)),
         dim3(kThreads), 0, a);
}

namespace {

// One thread a quad of a row.
dim3 grid_of_quads(const Slots& slots, int inputs) {
  const std::int64_t items = static_cast<std::int64_t>(slots.capacity) * tiles(inputs, kQuad);
  require(items <= INT32_MAX - kThreads, "batch: {} rows of {} inputs; use smaller batches", slots.capacity,
          inputs);
  return dim3(static_cast<unsigned>(tiles(static_cast<int>(items), kThreads)),
              static_cast<unsigned>(slots.count));
}

}  // namespace

void launch_input_dropout(Stream& stream, const InputDropoutArguments& a) {
  const NvtxRange range{"input dropout"};
  launch(stream, "input_dropout", input_dropout_kernel, grid_of_quads(a.slots, a.inputs), dim3(kThreads), 0,
         a);
}

void launch_gather(Stream& stream, const GatherArguments& a) {
  const NvtxRange range{"gather"};
  launch(stream, "gather", gather_kernel, grid_of_quads(a.slots, a.inputs), dim3(kThreads), 0, a);
}

void launch_advance(Stream& stream, Progress* progress, int members) {
  const NvtxRange range{"advance"};
  launch(stream, "advance", advance_kernel, dim3(static_cast<unsigned>(tiles(members, kThreads))),
         dim3(kThreads), 0, progress, members);
}

}  // namespace occam::cuda
