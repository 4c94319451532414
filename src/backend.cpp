#include "backend.hpp"

#include <map>
#include <mutex>

#include "cpu/wave.hpp"
#include "occam/error.hpp"
#if OCCAM_HAS_CUDA
#include "cuda/backend.hpp"
#endif

namespace occam {

Backend& backend(const Device& device) {
  static std::mutex mutex;
  static std::map<int, cpu::CpuBackend> cpus;  // by number of threads
  const std::lock_guard lock(mutex);
  if (device.kind == DeviceKind::cpu) return cpus.try_emplace(device.threads, device.threads).first->second;
#if OCCAM_HAS_CUDA
  return cuda::backend(device.index);
#else
  fail(ErrorKind::device, "device cuda: this build has no CUDA support (configure with -DOCCAM_CUDA=ON)");
#endif
}

}  // namespace occam
