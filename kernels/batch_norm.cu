// Batch norm over the samples of a batch (law/batch_norm.hpp). A block owns kFeatures features of one member
// with the 32 lanes of their sums: thread t is lane t / kFeatures of feature t mod kFeatures, so that
// neighbours read one sector of a row.

#include "batch_norm.hpp"

#include "lanes.cuh"
#include "law/activation.hpp"
#include "law/batch_norm.hpp"
#include "optimizer.cuh"
#include "product.cuh"

namespace occam::cuda {

namespace {
constexpr int kFeatures = 8;
constexpr int kThreads = law::kLanes * kFeatures;
}  // namespace

// ---- building blocks --------------------------------------------------------------------------------------

struct LaneScratch {
  float lane[law::kLanes][kFeatures];
};

// The lane sum over the samples of term(s) of this thread's feature, for all its lanes. Every thread of the
// block calls it.
template <class Term>
__device__ __forceinline__ float feature_sum(int rows, const Term& term) {
  const int l = static_cast<int>(threadIdx.x) / kFeatures, f = static_cast<int>(threadIdx.x) % kFeatures;
  auto& scratch = shared<LaneScratch>();
  float sum = 0.0f;
  for (int s = l; s < rows; s += law::kLanes) sum += term(s);
  scratch.lane[l][f] = sum;
  OCCAM_UNROLL
  for (int stride = law::kLanes / 2; stride > 0; stride /= 2) {
    __syncthreads();
    if (l < stride) scratch.lane[l][f] += scratch.lane[l + stride][f];
  }
  __syncthreads();
  const float total = scratch.lane[0][f];
  __syncthreads();  // the scratch is free again
  return total;
}

// dL/dz from dL/d(dropped activation) of one feature of one sample; PReLU's derivative is left to
// kernels/prelu.cu.
template <Activation kind>
__device__ __forceinline__ float before_activation(float gradient, const Member& member, int layer,
                                                   std::uint32_t update, int sample, int feature, float h) {
  if (member.hidden_dropout.threshold > 0) {
    const Philox words =
        law::dropout_draws(member.order_seed, static_cast<std::uint32_t>(feature / kQuad),
                           static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(layer) + 1, update);
    const int e = feature % kQuad;
    const std::uint32_t word = e == 0   ? words.word[0]
                               : e == 1 ? words.word[1]
                               : e == 2 ? words.word[2]
                                        : words.word[3];
    gradient *= law::dropout_factor(member.hidden_dropout, word);
  }
  if constexpr (kind == Activation::prelu) return gradient;
  return law::activation_gradient<kind>(gradient, 0.0f, h, 0.0f);
}

// ---- kernels ----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads) batch_norm_forward_kernel(BatchNormArguments a) {
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  if (rows == 0) return;
  const int feature = static_cast<int>(blockIdx.x) * kFeatures + static_cast<int>(threadIdx.x) % kFeatures;
  const int lane = static_cast<int>(threadIdx.x) / kFeatures;
  const bool real = feature < a.layer.out, pads = !real && feature < a.layer.out_stride;
  float* parameters = a.wave.parameters + a.slots.member_of(slot) * a.wave.parameter_stride;
  const std::int64_t stride = a.layer.out_stride,
                     place = static_cast<std::int64_t>(slot) * a.slots.capacity * stride + feature;
  const float* x = a.x + place;
  float* y = a.y + place;

  const float count = static_cast<float>(rows);
  const float mean = feature_sum(rows, [&](int s) { return real ? x[s * stride] : 0.0f; }) / count;
  const float squares =
      feature_sum(rows, [&](int s) { return real ? law::squared_deviation(x[s * stride], mean) : 0.0f; });
  if (pads)
    for (int s = lane; s < rows; s += law::kLanes) y[s * stride] = kPadding;
  if (!real) return;
  const float inverse = law::inverse_deviation(squares / count);
  const float gamma = parameters[a.layer.gamma + feature], beta = parameters[a.layer.beta + feature];
  for (int s = lane; s < rows; s += law::kLanes)
    y[s * stride] = law::batch_norm(x[s * stride], mean, inverse, gamma, beta);
  if (lane == 0) {
    float* moments = a.moments + static_cast<std::int64_t>(slot) * 2 * stride + feature;
    moments[0] = mean;
    moments[stride] = inverse;
    float& running_mean = parameters[a.layer.running_mean + feature];
    float& running_variance = parameters[a.layer.running_variance + feature];
    running_mean = law::running_average(running_mean, mean);
    running_variance = law::running_average(running_variance, squares / (count - 1.0f));
  }
}

__global__ void __launch_bounds__(kThreads) batch_norm_backward_kernel(BatchNormArguments a) {
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  if (rows == 0) return;
  const int feature = static_cast<int>(blockIdx.x) * kFeatures + static_cast<int>(threadIdx.x) % kFeatures;
  const int lane = static_cast<int>(threadIdx.x) / kFeatures;
  const bool real = feature < a.layer.out;
  const int id = a.slots.member_of(slot);
  const Member& member = a.wave.members[id];
  const std::int64_t stride = a.layer.out_stride,
                     place = static_cast<std::int64_t>(slot) * a.slots.capacity * stride + feature;
  const float* x = a.x + place;
  float* gradient = a.y + place;
  const float* moments = a.moments + static_cast<std::int64_t>(slot) * 2 * stride + feature;
  const float mean = real ? moments[0] : 0.0f, inverse = real ? moments[stride] : 0.0f;
  // Read before the barriers of the sums: lane 0 steps gamma after them.
  const Trainee trainee{a.wave, id};
  const float scale = real ? trainee.parameters[a.layer.gamma + feature] * inverse : 0.0f;

  const float beta_gradient = feature_sum(rows, [&](int s) { return real ? gradient[s * stride] : 0.0f; });
  const float gamma_gradient = feature_sum(rows, [&](int s) {
    return real ? gradient[s * stride] * law::normalized(x[s * stride], mean, inverse) : 0.0f;
  });
  if (!real) return;  // no barrier follows
  const float inverse_count = 1.0f / static_cast<float>(rows);
  const float* kept = a.kept ? a.kept + place : nullptr;
  const auto update = static_cast<std::uint32_t>(a.wave.progress[id].update);
  law::with_activation(a.layer.activation, [&](auto kind) {
    for (int s = lane; s < rows; s += law::kLanes) {
      const float g =
          law::batch_norm_gradient(gradient[s * stride], law::normalized(x[s * stride], mean, inverse),
                                   beta_gradient, gamma_gradient, inverse_count, scale);
      gradient[s * stride] = before_activation<decltype(kind)::value>(
          g, member, a.layer.number, update, s, feature, kept ? kept[s * stride] : 0.0f);
    }
  });
  if (lane == 0) {
    trainee.step(a.layer.gamma + feature, gamma_gradient);
    trainee.step(a.layer.beta + feature, beta_gradient);
  }
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

void launch_features(Stream& stream, const char* name, void (*kernel)(BatchNormArguments),
                     const BatchNormArguments& a) {
  require(a.layer.gamma >= 0, "{}: layer {} has no batch norm", name, a.layer.number);
  const dim3 grid(static_cast<unsigned>(tiles(a.layer.out_stride, kFeatures)),
                  static_cast<unsigned>(a.slots.count));
  launch(stream, name, kernel, grid, dim3(kThreads), sizeof(LaneScratch), a);
}

}  // namespace

void launch_batch_norm_forward(Stream& stream, const BatchNormArguments& a) {
  const NvtxRange range{"batch norm"};
  launch_features(stream, "batch_norm_forward", batch_norm_forward_kernel, a);
}

void launch_batch_norm_backward(Stream& stream, const BatchNormArguments& a) {
  const NvtxRange range{"batch norm gradient"};
  launch_features(stream, "batch_norm_backward", batch_norm_backward_kernel, a);
}

}  // namespace occam::cuda
