// Back through PReLU, with the gradient of its one slope a layer: a lane sum over the samples of lane sums
// over the features. One warp owns a sample, so its row is read once; then one warp owns a member.

#include "prelu.hpp"

#include "lanes.cuh"
#include "law/activation.hpp"
#include "optimizer.cuh"
#include "product.cuh"

namespace occam::cuda {

namespace {
constexpr int kWarps = 8;  // of a block
}

// ---- kernels ----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kWarps* law::kLanes) prelu_rows_kernel(PreluArguments a) {
  const int slot = static_cast<int>(blockIdx.y), lane = static_cast<int>(threadIdx.x) % law::kLanes;
  const int sample = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / law::kLanes;
  if (sample >= a.slots.rows[slot]) return;
  const float slope = a.wave.parameters[a.slots.member_of(slot) * a.wave.parameter_stride + a.layer.slope];
  const std::int64_t row = static_cast<std::int64_t>(slot) * a.slots.capacity + sample;
  const float* z = a.z + row * a.layer.out_stride;
  float* gradient = a.gradient + row * a.layer.out_stride;
  float sum = 0.0f;
  for (int f = lane; f < a.layer.out; f += law::kLanes) {
    sum += law::prelu_slope_term(gradient[f], z[f]);
    gradient[f] = law::activation_gradient<Activation::prelu>(gradient[f], z[f], 0.0f, slope);
  }
  sum = warp_total(sum);
  if (lane == 0) a.row_gradients[row] = sum;
}

__global__ void __launch_bounds__(kWarps* law::kLanes) prelu_slope_kernel(PreluArguments a) {
  const int slot = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / law::kLanes;
  const int lane = static_cast<int>(threadIdx.x) % law::kLanes;
  if (slot >= a.slots.count || a.slots.rows[slot] == 0) return;
  const float* rows = a.row_gradients + static_cast<std::int64_t>(slot) * a.slots.capacity;
  float sum = 0.0f;
  for (int s = lane; s < a.slots.rows[slot]; s += law::kLanes) sum += rows[s];
  sum = warp_total(sum);
  if (lane == 0) Trainee{a.wave, a.slots.member_of(slot)}.step(a.layer.slope, sum);
}

// ---- launchers --------------------------------------------------------------------------------------------

void launch_prelu_backward(Stream& stream, const PreluArguments& a) {
  const NvtxRange range{"prelu gradient"};
  require(a.layer.slope >= 0, "prelu gradient: layer {} has no slope", a.layer.number);
  const dim3 block(kWarps * law::kLanes);
  launch(stream, "prelu_rows", prelu_rows_kernel,
         dim3(static_cast<unsigned>(tiles(a.slots.capacity, kWarps)), static_cast<unsigned>(a.slots.count)),
         block, 0, a);
  launch(stream, "prelu_slope", prelu_slope_kernel, dim3(static_cast<unsigned>(tiles(a.slots.count, kWarps))),
         block, 0, a);
}

}  // namespace occam::cuda
