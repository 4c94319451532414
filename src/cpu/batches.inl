// Which rows each update trains on (law/batch.hpp), one batch ahead, so that the next batch's rows can come
// into the cache meanwhile. Included inside namespace occam::cpu::<instruction set>.

class Batches {
 public:
  Batches(std::uint32_t order_seed, int batch, bool in_order)
      : order_seed_(order_seed), batch_(batch), in_order_(in_order) {}

  void lay_out(Arena& arena, std::int64_t capacity) {
    for (std::uint32_t** rows : {&row_[0], &row_[1], &place_, &walker_})
      *rows = reinterpret_cast<std::uint32_t*>(arena.take(capacity + 16));
  }

  // Draws the batch of `update` among `rows` rows, and where another follows in this call that one too.
  // Returns how many rows it has.
  std::int64_t draw(std::int64_t update, std::int64_t rows, bool another) {
    if (coming_count_ == 0) coming_count_ = rows_of(update, rows, row_[1]);
    std::swap(row_[0], row_[1]);
    const std::int64_t count = coming_count_;
    prefetched_ = 0;
    coming_count_ = another ? rows_of(update + 1, rows, row_[1]) : 0;
    return count;
  }

  const std::uint32_t* current() const { return row_[0]; }
  const std::uint32_t* coming() const { return row_[1]; }
  std::int64_t coming_count() const { return coming_count_; }  // 0: not known

  // Brings `part` of `all` parts of the next batch's rows and labels into the cache, once the update has
  // begun. A few at a time: there are some dozen line buffers, and the products want them too.
  // x: [rows][stride], y: [rows].
  void prefetch(const float* x, std::int64_t stride, const std::int32_t* y, std::int64_t part,
                std::int64_t all) {
    const std::int64_t share = (coming_count_ * part + all - 1) / all;
    const std::int64_t end = std::min(prefetched_ + share, coming_count_);
    for (; prefetched_ < end; ++prefetched_) {
      const std::int64_t row = row_[1][prefetched_];
      __builtin_prefetch(y + row, 0, 2);
      for (std::int64_t f = 0; f < stride; f += 16) __builtin_prefetch(x + row * stride + f, 0, 2);
    }
  }

 private:
  static std::int64_t whole_lines(std::int64_t count) { return (count + 15) / 16 * 16; }

  std::int64_t rows_of(std::int64_t update, std::int64_t rows, std::uint32_t* row) const {
    const law::BatchPlace at = law::batch_place(update, rows, batch_);
    if (in_order_) {
      for (int i = 0; i < at.count; ++i) row[i] = static_cast<std::uint32_t>(at.first + i);
      return at.count;
    }
    const KeyedPermutation order = law::epoch_permutation(order_seed_, at.epoch, rows);
    const std::uint32_t first = static_cast<std::uint32_t>(at.first), size = order.size();
    const std::int64_t whole = whole_lines(at.count);  // places past the end are drawn along, and never used
    for (std::int64_t i = 0; i < whole; ++i) row[i] = order.once(first + static_cast<std::uint32_t>(i));
    // Those that fell outside walk on (KeyedPermutation), side by side.
    std::int64_t outside = 0;
    for (std::int64_t i = 0; i < at.count; ++i) {
      place_[outside] = static_cast<std::uint32_t>(i), walker_[outside] = row[i];
      outside += row[i] >= size;
    }
    while (outside > 0) {
      const std::int64_t walking = whole_lines(outside);
      for (std::int64_t i = 0; i < walking; ++i) walker_[i] = order.once(walker_[i]);
      std::int64_t left = 0;
      for (std::int64_t i = 0; i < outside; ++i) {
        const std::uint32_t place = place_[i], walker = walker_[i];
        row[place] = walker;
        place_[left] = place, walker_[left] = walker;
        left += walker >= size;
      }
      outside = left;
    }
    return at.count;
  }

  std::uint32_t order_seed_;
  int batch_;
  bool in_order_;
  std::uint32_t* row_[2] = {};  // [capacity + 16] of the batch under way, and of the one after it
  std::uint32_t *place_ = nullptr, *walker_ = nullptr;  // [capacity + 16]: who walks on, from where
  std::int64_t coming_count_ = 0, prefetched_ = 0;
};
