#include "occam/device.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <thread>

#include <sched.h>

#include "occam/error.hpp"
#if OCCAM_HAS_CUDA
#include "cuda/devices.hpp"
#endif

namespace occam {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      if (const std::size_t colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return "x86-64 CPU";
}

// Processors this process may run on; a container's quota of processor time counts too.
int usable_processors() {
  int count = 0;
  // More processors than a fixed cpu_set_t has: the mask grows until the kernel accepts it.
  for (int processors = 1024; processors <= 1 << 20 && count == 0; processors *= 2) {
    cpu_set_t* set = CPU_ALLOC(processors);
    const std::size_t size = CPU_ALLOC_SIZE(processors);
    if (set && sched_getaffinity(0, size, set) == 0) count = CPU_COUNT_S(size, set);
    CPU_FREE(set);
  }
  if (count == 0) count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (quota_file >> quota >> period && period > 0)  // "max 100000" does not read as a number
    count = std::min(count, std::max(1, static_cast<int>(quota / period + 0.5)));
  return count;
}

Device cpu_device(int threads, std::string reason) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    fail(ErrorKind::device, "device cpu: {} lacks AVX2 or FMA, which Occam needs", processor_name());
#endif
  return {DeviceKind::cpu, 0, threads > 0 ? threads : usable_processors(), processor_name(),
          std::move(reason)};
}

struct CudaAnswer {
  bool usable = false;
  std::string name, obstacle;
};

CudaAnswer ask_cuda(int index) {
#if OCCAM_HAS_CUDA
  const cuda::DeviceAnswer answer = cuda::ask(index);
  return {answer.usable, answer.name, answer.obstacle};
#else
  (void)index;
  return {false, "",
          "this build has no CUDA support (configure with -DOCCAM_CUDA=ON on a machine with a CUDA toolkit)"};
#endif
}

Device cuda_device(int index, int threads, const CudaAnswer& answer, std::string reason) {
  return {DeviceKind::cuda, index, threads > 0 ? threads : usable_processors(), answer.name,
          std::move(reason)};
}

}  // namespace

Device select_device(std::string_view request, int threads) {
  require(threads >= 0, "--threads: {} is negative", threads);
  if (request == "cpu") return cpu_device(threads, "requested");
  if (request == "auto") {
    const CudaAnswer answer = ask_cuda(0);
    if (answer.usable) return cuda_device(0, threads, answer, "found by auto");
    return cpu_device(threads, "no CUDA device: " + answer.obstacle);
  }
  int index = 0;
  bool good = request == "cuda";
  if (request.starts_with("cuda:")) {
    const std::string_view digits = request.substr(5);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    good = !digits.empty() && error == std::errc() && end == digits.data() + digits.size() && index >= 0;
  }
  require(good, "--device: '{}' is not one of auto, cpu, cuda, cuda:N", request);
  const CudaAnswer answer = ask_cuda(index);
  if (!answer.usable) fail(ErrorKind::device, "--device {}: {}", request, answer.obstacle);
  return cuda_device(index, threads, answer, "requested");
}

std::string describe(const Device& device) {
  if (device.kind == DeviceKind::cuda)
    return fmt::format("device cuda:{}, {} ({})", device.index, device.name, device.reason);
  return fmt::format("device cpu, {}, {} thread{} ({})", device.name, device.threads,
                     device.threads == 1 ? "" : "s", device.reason);
}

}  // namespace occam
