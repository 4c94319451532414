// Initial parameters of a layer. A thread has the four elements of one Philox counter, and what is not drawn of a unit.

#include "initialize.hpp"

#include <algorithm>

#include "product.cuh"

namespace occam::cuda {

namespace {
constexpr int kThreads = 256, kWords = 4;
}

// ---- kernel -----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads) initialize_kernel(InitializeArguments a) {
  const LayerView& layer = a.layer;
  const std::int64_t number = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t weights = static_cast<std::int64_t>(layer.in) * layer.out,
                     drawn = weights + (a.draws.biases ? layer.out : 0), first = kWords * number;
  if (number < layer.out) {
    if (!a.draws.biases) a.parameters[layer.bias + number] = 0.0f;
    if (layer.gamma >= 0) {
      a.parameters[layer.gamma + number] = 1.0f, a.parameters[layer.beta + number] = 0.0f;
      a.parameters[layer.running_mean + number] = 0.0f, a.parameters[layer.running_variance + number] = 1.0f;
    }
  }
  if (number == 0 && layer.slope >= 0) a.parameters[layer.slope] = kPreluStart;
  if (first >= drawn) return;
  const Philox words = draw(a.seed, occam::Stream::initialization, static_cast<std::uint32_t>(number),
                            static_cast<std::uint32_t>(layer.number));
  std::int64_t unit = first / layer.in;
  int k = static_cast<int>(first % layer.in);
  OCCAM_UNROLL
  for (int w = 0; w < kWords; ++w) {
    const std::int64_t element = first + w;
    if (element >= drawn) return;
    a.parameters[element < weights ? layer.weight + unit * layer.in_stride + k
                                   : layer.bias + element - weights] =
        law::initial_value(a.draws, words.word[w]);
    if (++k == layer.in) k = 0, ++unit;
  }
}

// ---- launcher ---------------------------------------------------------------------------------------------

void launch_initialize(Stream& stream, const InitializeArguments& a) {
  const NvtxRange range{"initial parameters"};
  const std::int64_t elements = (static_cast<std::int64_t>(a.layer.in) + 1) * a.layer.out,
                     threads = std::max<std::int64_t>((elements + kWords - 1) / kWords, a.layer.out);
  launch(stream, "initialize", initialize_kernel,
         dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads)), dim3(kThreads), 0, a);
}

}  // namespace occam::cuda
