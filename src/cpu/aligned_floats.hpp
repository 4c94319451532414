// Memory of the CPU body.
#pragma once

#include <cstdint>
#include <memory>

namespace occam::cpu {

// Zeroed, 64-byte aligned floats.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::int64_t count);  // throws a device error
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::unique_ptr<float, Free> data_;
};

}  // namespace occam::cpu
