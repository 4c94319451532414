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

#if OCCAM_HAS_SIMT
static bool is_checked(Body body) { return body == Body::simt_checked || body == Body::simt_checked_tiled; }

static const simt::Body& emulated(Body body) {
  return is_checked(body) ? simt::checked_body() : simt::plain_body();
}
#endif

static void set_device_bytes([[maybe_unused]] Body body, [[maybe_unused]] std::size_t bytes) {
#if OCCAM_HAS_SIMT
  if (body != Body::cpu && !is_cuda(body)) emulated(body).set_device_bytes(bytes);
#endif
}

DeviceOfBytes::DeviceOfBytes(Body body, std::size_t bytes) : body_(body) { set_device_bytes(body_, bytes); }
DeviceOfBytes::~DeviceOfBytes() { set_device_bytes(body_, SIZE_MAX); }

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
  if (!is_cuda(body)) return emulated(body).make_backend(memory_limit, shared_limit);
#endif
#if OCCAM_HAS_CUDA
  if (is_cuda(body)) return std::make_unique<cuda::CudaBackend>(0, memory_limit, shared_limit);
#endif
  fail(ErrorKind::device, "the body {} is not part of this build", name_of(body));
}

}  // namespace occam::test
