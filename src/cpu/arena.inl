// The memory of an engine. Included inside namespace occam::cpu::<instruction set>.

// One block of memory, handed out in pieces.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Call twice with the same requests: the first pass measures, reserve() allocates, the second pass hands
  // out.
  float* take(std::int64_t floats) {
    float* piece = block_ ? block_.data() + used_ : nullptr;
    used_ += (floats + 15) / 16 * 16;
    return piece;
  }
  void reserve() {
    block_ = AlignedFloats(used_);
    used_ = 0;
  }

 private:
  AlignedFloats block_;
  std::int64_t used_ = 0;
};
