// What the executor costs. `time_per` is what counts: of one switch, one thread's barrier, one access.
//   bare_switch      Boost.Context alone, from one fiber to another and nothing else
//   barrier          __syncthreads of 256 threads: a switch, the random choice of the next, the clocks
//   shuffle          the same for a warp operation
//   checked_access   a float read from shared or device memory under all checks
#include <benchmark/benchmark.h>

#include <boost/context/detail/fcontext.hpp>

#include <vector>

#include "cuda/runtime.hpp"
#include "launch.hpp"

namespace occam::cuda {
namespace {

namespace fcontext = boost::context::detail;

void report_time_per(benchmark::State& state, double count_per_iteration) {
  state.counters["time_per"] =
      benchmark::Counter(count_per_iteration * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void go_back(fcontext::transfer_t from) {
  for (;;) from = fcontext::jump_fcontext(from.fctx, nullptr);
}

void bare_switch(benchmark::State& state) {
  std::vector<unsigned char> stack(64 * 1024);
  fcontext::fcontext_t fiber = fcontext::make_fcontext(stack.data() + stack.size(), stack.size(), go_back);
  for (auto _ : state) fiber = fcontext::jump_fcontext(fiber, nullptr).fctx;
  report_time_per(state, 2);
}
BENCHMARK(bare_switch);

constexpr int kRounds = 1000;

__global__ void barrier_kernel() {
  for (int i = 0; i < kRounds; ++i) __syncthreads();
}
__global__ void shuffle_kernel(int* out) {
  int value = static_cast<int>(threadIdx.x);
  for (int i = 0; i < kRounds; ++i) value = __shfl_xor_sync(0xFFFFFFFFu, value, 1);
  out[threadIdx.x] = value;
}
__global__ void shared_reads_kernel(float* out) {
  float* const rows = &shared<float>();
  for (int i = 0; i < 1024; ++i) rows[i] = 1.0f;
  float sum = 0.0f;
  for (int i = 0; i < kRounds * 1024; ++i) sum += rows[i % 1024];
  *out = sum;
}
__global__ void device_reads_kernel(float* out, const float* in) {
  float sum = 0.0f;
  for (int i = 0; i < kRounds * 1024; ++i) sum += in[i % 1024];
  *out = sum;
}

void barrier(benchmark::State& state) {
  Stream stream;
  for (auto _ : state) launch(stream, "barrier", barrier_kernel, 1, 256, 0);
  report_time_per(state, 256.0 * kRounds);
}
BENCHMARK(barrier)->Unit(benchmark::kMillisecond);

void shuffle(benchmark::State& state) {
  Stream stream;
  DeviceBuffer<int> out("out", 256);
  for (auto _ : state) launch(stream, "shuffle", shuffle_kernel, 1, 256, 0, out.data());
  report_time_per(state, 256.0 * kRounds);
}
BENCHMARK(shuffle)->Unit(benchmark::kMillisecond);

void checked_access_shared(benchmark::State& state) {
  Stream stream;
  DeviceBuffer<float> out("out", 1);
  for (auto _ : state)
    launch(stream, "shared_reads", shared_reads_kernel, 1, 1, 1024 * sizeof(float), out.data());
  report_time_per(state, 1024.0 * kRounds);
}
BENCHMARK(checked_access_shared)->Unit(benchmark::kMillisecond);

void checked_access_device(benchmark::State& state) {
  Stream stream;
  DeviceBuffer<float> out("out", 1), in("in", 1024);
  fill(stream, in);
  for (auto _ : state) launch(stream, "device_reads", device_reads_kernel, 1, 1, 0, out.data(), in.data());
  report_time_per(state, 1024.0 * kRounds);
}
BENCHMARK(checked_access_device)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace occam::cuda

BENCHMARK_MAIN();
