// The CUDA body of the contract (backend.hpp): one device, one wave at a time, as large as its memory.
#pragma once

#include <cstdint>
#include <memory>

#include "../backend.hpp"

namespace occam::cuda {

class CudaBackend final : public Backend {
 public:
  static constexpr std::size_t kWholeBlock = SIZE_MAX;

  // `memory_limit`: use no more device memory than this; 0 is all that is free. `shared_limit`: likewise of a
  // block's shared memory for plan resident; 0 leaves plan tiled alone.
  explicit CudaBackend(int device, std::int64_t memory_limit = 0, std::size_t shared_limit = kWholeBlock)
      : device_(device), memory_limit_(memory_limit), shared_limit_(shared_limit) {}

  int concurrency() const override { return 1; }
  int wave_members(const WaveRequest& request) const override;
  std::unique_ptr<Wave> open(const WaveRequest& request) override;

 private:
  std::int64_t available() const;    // bytes
  std::size_t shared_limit() const;  // bytes

  int device_;
  std::int64_t memory_limit_;
  std::size_t shared_limit_;
};

// The backend of a device, made on first use and kept. Throws a device error that says what is missing.
Backend& backend(int device);

}  // namespace occam::cuda
