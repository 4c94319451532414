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
    case Body::simt_checked_tiled: return "simt_checked_tiled";
    case Body::simt_plain: return "simt_plain";
    case Body::simt_plain_tiled: return "simt_plain_tiled";
    case Body::cuda: return "cuda";
    default: return "cuda_tiled";
  }
}

bool is_tiled(Body body) {
  return body == Body::simt_checked_tiled || body == Body::simt_plain_tiled || body == Body::cuda_tiled;
}

static bool is_cuda(Body body) { return body == Body::cuda || body == Body::cuda_tiled; }

std::string obstacle(Body body) {
  if (body == Body::cpu) return "";
  if (!is_cuda(body)) {
#if OCCAM_HAS_SIMT
    return "";
#else
    return "this build has no SIMT executor";
#endif
  }
#if OCCAM_HAS_CUDA
  const cuda::DeviceAnswer answer = cuda::ask(0);
  return answer.usable ? "" : answer.obstacle;
#else
  return "this build has no CUDA support";
#endif
}

std::unique_ptr<Backend> make_backend(Body body, [[maybe_unused]] std::int64_t memory_limit,
                                      [[maybe_unused]] std::size_t shared_limit) {
  if (body == Body::cpu) return std::make_unique<cpu::CpuBackend>(1);
  if (is_tiled(body)) shared_limit = 0;
#if OCCAM_HAS_SIMT
  if (body == Body::simt_checked || body == Body::simt_checked_tiled)
    return simt::checked_body().make_backend(memory_limit, shared_limit);
  if (body == Body::simt_plain || body == Body::simt_plain_tiled)
    return simt::plain_body().make_backend(memory_limit, shared_limit);
#endif
#if OCCAM_HAS_CUDA
  if (is_cuda(body)) return std::make_unique<cuda::CudaBackend>(0, memory_limit, shared_limit);
#endif
  fail(ErrorKind::device, "the body {} is not part of this build", name_of(body));
}

}  // namespace occam::test
