// The memory of an engine. Included inside namespace occam::cpu::<instruction set>.

// One zeroed, 64-byte-aligned block of memory, handed out in pieces.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { std::free(block_); }

  // Call twice with the same requests: the first pass measures, reserve() allocates, the second pass hands
  // out.
  float* take(std::int64_t floats) {
    float* piece = block_ ? block_ + used_ : nullptr;
    used_ += (floats + 15) / 16 * 16;
    return piece;
  }
  void reserve() {
    const std::size_t bytes = static_cast<std::size_t>(used_) * sizeof(float) + 64;
    block_ = static_cast<float*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
    if (!block_) throw std::bad_alloc();
    std::memset(block_, 0, bytes);
    used_ = 0;
  }

 private:
  float* block_ = nullptr;
  std::int64_t used_ = 0;
};
