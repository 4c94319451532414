#include "contract/bodies.hpp"

#include "cpu/wave.hpp"
#include "occam/error.hpp"
#if OCCAM_HAS_CUDA
#include "cuda/backend.hpp"
#include "cuda/devices.hpp"
#endif
#if OCCAM_HAS_SIMT
#include "simt/body.hpp"
#endif

namespace occam::test {

std::string name_of(Body body) {
  switch (body) {
    case Body::cpu: return "cpu";
    case Body::simt_checked: return "simt_checked";
    case Body::simt_plain: return "simt_plain";
    default: return "cuda";
  }
}

std::string obstacle(Body body) {
  switch (body) {
    case Body::cpu: return "";
    case Body::simt_checked:
    case Body::simt_plain:
#if OCCAM_HAS_SIMT
      return "";
#else
      return "this build has no SIMT executor";
#endif
    default: break;
  }
#if OCCAM_HAS_CUDA
  const cuda::DeviceAnswer answer = cuda::ask(0);
  return answer.usable ? "" : answer.obstacle;
#else
  return "this build has no CUDA support";
#endif
}

std::unique_ptr<Backend> make_backend(Body body, std::int64_t memory_limit,
                                      [[maybe_unused]] std::size_t shared_limit) {
  if (body == Body::cpu) return std::make_unique<cpu::CpuBackend>(1);
#if OCCAM_HAS_SIMT
  if (body == Body::simt_checked) return simt::checked_body().make_backend(memory_limit, shared_limit);
  if (body == Body::simt_plain) return simt::plain_body().make_backend(memory_limit, shared_limit);
#endif
#if OCCAM_HAS_CUDA
  if (body == Body::cuda) return std::make_unique<cuda::CudaBackend>(0, memory_limit, shared_limit);
#endif
  fail(ErrorKind::device, "the body {} is not part of this build", name_of(body));
}

}  // namespace occam::test
