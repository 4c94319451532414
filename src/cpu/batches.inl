// Which rows each update trains on (law/batch.hpp), one batch ahead, so that the next batch's rows can come
// into the cache meanwhile. Included inside namespace occam::cpu::<instruction set>.

class Batches {
 public:
  Batches(std::uint32_t order_seed, int batch, bool in_order)
      : order_seed_(order_seed), batch_(batch), in_order_(in_order) {}

  void lay_out(Arena& arena, std::int64_t capacity) {
    for (std::uint32_t*& rows : row_) rows = reinterpret_cast<std::uint32_t*>(arena.take(capacity + 16));
  }

  // Draws the batch of `update` among `rows` rows, and where another follows in this call that one too.
  // Returns how many rows it has.
  std::int64_t draw(std::int64_t update, std::int64_t rows, bool another) {
    if (coming_count_ == 0) coming_count_ = rows_of(update, rows, row_[1]);
    std::swap(row_[0], row_[1]);
    const std::int64_t count = coming_count_;
    coming_count_ = another ? rows_of(update + 1, rows, row_[1]) : 0;
    return count;
  }

  const std::uint32_t* current() const { return row_[0]; }
  const std::uint32_t* coming() const { return row_[1]; }
  std::int64_t coming_count() const { return coming_count_; }  // 0: not known

 private:
  std::int64_t rows_of(std::int64_t update, std::int64_t rows, std::uint32_t* row) const {
    const law::BatchPlace at = law::batch_place(update, rows, batch_);
    if (in_order_) {
      for (int i = 0; i < at.count; ++i) row[i] = static_cast<std::uint32_t>(at.first + i);
      return at.count;
    }
    const KeyedPermutation order = law::epoch_permutation(order_seed_, at.epoch, rows);
    const std::uint32_t first = static_cast<std::uint32_t>(at.first), size = order.size();
    const std::int64_t whole = (at.count + 15) / 16 * 16;  // past the end: walked along, never used
    for (std::int64_t i = 0; i < whole; ++i) {
      const std::uint32_t start = first + static_cast<std::uint32_t>(i);
      row[i] = order.once(start < size ? start : 0u);
    }
    for (bool outside = true; outside;) {
      std::uint32_t largest = 0;
      for (std::int64_t i = 0; i < whole; ++i) {
        const std::uint32_t next = order.once(row[i]);
        row[i] = row[i] >= size ? next : row[i];
        largest = row[i] > largest ? row[i] : largest;
      }
      outside = largest >= size;
    }
    return at.count;
  }

  std::uint32_t order_seed_;
  int batch_;
  bool in_order_;
  std::uint32_t* row_[2] = {};  // [capacity + 16] of the batch under way, and of the one after it
  std::int64_t coming_count_ = 0;
};
