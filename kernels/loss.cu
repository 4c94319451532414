// From logits to what is wanted of them: in training the gradient of the mean loss, one thread a sample; in
// scoring each row's loss and predicted class, one thread a row, and their sums, one warp a member
// (law/loss.hpp, law/sum.hpp).

#include "loss.hpp"

#include "lanes.cuh"
#include "law/loss.hpp"
#include "product.cuh"

namespace occam::cuda {

namespace {
constexpr int kThreads = 128;

dim3 grid_of_rows(const Slots& slots) {
  return dim3(static_cast<unsigned>(tiles(slots.capacity, kThreads)), static_cast<unsigned>(slots.count));
}
}  // namespace

// ---- kernels ----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads) loss_gradient_kernel(LossGradientArguments a) {
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  const int sample = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (sample >= rows) return;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity + sample;
  const std::int32_t label = a.wave.members[a.slots.member_of(slot)].train_y[a.batch[place]];
  float* logits = a.logits + place * padded(a.outputs);
  law::sample_loss_gradient(a.loss, logits, a.outputs, label, 1.0f / static_cast<float>(rows), logits);
}

__global__ void __launch_bounds__(kThreads) row_loss_kernel(RowLossArguments a) {
  const int slot = static_cast<int>(blockIdx.y);
  const int row = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (row >= a.slots.rows[slot]) return;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity + row;
  const float* logits = a.logits + place * padded(a.outputs);
  a.losses[place] = law::sample_loss(a.loss, logits, a.outputs, a.labels[slot * a.label_stride + row]);
  a.predicted[place] = law::predicted_class(logits, a.outputs);
}

// One warp a slot.
__global__ void __launch_bounds__(kThreads) tally_kernel(RowLossArguments a) {
  const int thread = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int slot = thread / law::kLanes, lane = thread % law::kLanes;
  if (slot >= a.slots.count) return;
  const int rows = a.slots.rows[slot];
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;
  float sum = a.tally[slot].lane[lane];
  int correct = 0;
  for (int row = lane; row < rows; row += law::kLanes) {
    sum += a.losses[place + row];
    correct += a.predicted[place + row] == a.labels[slot * a.label_stride + row];
  }
  a.tally[slot].lane[lane] = sum;
  correct = __reduce_add_sync(kWarp, correct);
  if (lane == 0) a.tally[slot].correct += static_cast<unsigned long long>(correct);
}

// One warp a slot.
__global__ void __launch_bounds__(kThreads)
    finish_tally_kernel(Tally* tally, const std::int64_t* rows, int slots) {
  const int thread = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int slot = thread / law::kLanes, lane = thread % law::kLanes;
  if (slot >= slots) return;
  const float sum = warp_total(tally[slot].lane[lane]);
  if (lane == 0) tally[slot].loss = sum / static_cast<float>(rows[slot]);
}

__global__ void __launch_bounds__(kThreads) predict_kernel(Slots slots, int outputs, const float* logits,
                                                           std::int32_t* labels, std::int64_t label_stride) {
  const int slot = static_cast<int>(blockIdx.y);
  const int row = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (row >= slots.rows[slot]) return;
  const std::int64_t place = static_cast<std::int64_t>(slot) * slots.capacity + row;
  labels[slot * label_stride + row] = law::predicted_class(logits + place * padded(outputs), outputs);
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_loss_gradient(Stream& stream, const LossGradientArguments& a) {
  const NvtxRange range{"loss gradient"};
  require(a.outputs >= 1 && a.logits && a.batch, "loss gradient: {} outputs, or no logits or batch",
          a.outputs);
  launch(stream, "loss_gradient", loss_gradient_kernel, grid_of_rows(a.slots), dim3(kThreads), 0, a);
}

void launch_row_loss(Stream& stream, const RowLossArguments& a) {
  const NvtxRange range{"row loss"};
  require(a.slots.capacity % law::kLanes == 0, "row loss: chunks of {} rows are no multiple of {}",
          a.slots.capacity, law::kLanes);
  launch(stream, "row_loss", row_loss_kernel, grid_of_rows(a.slots), dim3(kThreads), 0, a);
  launch_tally(stream, a);
}

void launch_tally(Stream& stream, const RowLossArguments& a) {
  const NvtxRange range{"tally"};
  launch(stream, "tally", tally_kernel,
         dim3(static_cast<unsigned>(tiles(a.slots.count * law::kLanes, kThreads))), dim3(kThreads), 0, a);
}

void launch_finish_tally(Stream& stream, Tally* tally, const std::int64_t* rows, int slots) {
  const NvtxRange range{"finish tally"};
  launch(stream, "finish_tally", finish_tally_kernel,
         dim3(static_cast<unsigned>(tiles(slots * law::kLanes, kThreads))), dim3(kThreads), 0, tally, rows,
         slots);
}

void launch_predict(Stream& stream, const Slots& slots, int outputs, const float* logits,
                    std::int32_t* labels, std::int64_t label_stride) {
  const NvtxRange range{"predict"};
  launch(stream, "predict", predict_kernel, grid_of_rows(slots), dim3(kThreads), 0, slots, outputs, logits,
         labels, label_stride);
}

}  // namespace occam::cuda
