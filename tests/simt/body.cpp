#include "simt/body.hpp"

#include "cuda/backend.hpp"
#include "simt/executor/memory.hpp"

namespace occam::simt {
namespace {

std::unique_ptr<Backend> make_backend(std::int64_t memory_limit, std::size_t shared_limit) {
  return std::make_unique<cuda::CudaBackend>(0, memory_limit, shared_limit);
}

}  // namespace

#if defined(OCCAM_SIMT_CHECKED)
[[gnu::visibility("default")]] const Body& checked_body() {
  static const Body body{"simt, checked", make_backend, memory::set_limit,
                         set_seed,        statistics,   launched_kernels};
  return body;
}
#else
[[gnu::visibility("default")]] const Body& plain_body() {
  static const Body body{"simt, plain", make_backend, memory::set_limit,
                         set_seed,      statistics,   launched_kernels};
  return body;
}
#endif

}  // namespace occam::simt
