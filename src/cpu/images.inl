// A first layer on images of shapes (law/shape.hpp). Images exist nowhere: a product goes through the lit
// pixels of its samples alone, in ascending order, as the law wants; a pixel that is 0 would add nothing.
// And a pixel that no training row lights has gradient 0, so its weights never change (unless they decay),
// and it has no optimiser state. Weights are [pixels][stride], lanes run over the units. Included inside
// namespace occam::cpu::<instruction set>.

inline constexpr int kImageVectors = 8;  // accumulators of a sample or a pixel at a time
inline constexpr std::int64_t kImageColumns = kImageVectors * kWidth;

// The samples of a batch on their image rows.
struct ImageBatch {
  const law::Shapes* shapes = nullptr;
  const law::ShapePlace* place = nullptr;  // [count]
  std::int64_t count = 0;
};

// body(first column, how many vectors) for all columns of `columns`, a multiple of kWidth.
template <class Body>
inline void for_image_columns(std::int64_t columns, const Body& body) {
  std::int64_t column = 0;
  for (; column + kImageColumns <= columns; column += kImageColumns)
    body(column, std::integral_constant<int, kImageVectors>{});
  for (; column < columns; column += kWidth) body(column, std::integral_constant<int, 1>{});
}

// z[s][j] += Σ_k pixel[s][k] · weight[k][j] over the pixels k of image row y. z: [count][stride], columns:
// whole vectors.
inline void image_row_product(const ImageBatch& batch, int y, const float* weight, std::int64_t stride,
                              std::int64_t columns, float* z) {
  const law::Shapes& shapes = *batch.shapes;
  const float* const row = weight + std::int64_t{y} * shapes.width * stride;
  for_image_columns(columns, [&](std::int64_t column, auto vectors) {
    constexpr int kVectors = decltype(vectors)::value;
    for (std::int64_t s = 0; s < batch.count; ++s) {
      const law::ShapePlace& place = batch.place[s];
      const law::ShapeSpan span = law::lit_span(shapes, place, y);
      if (span.begin >= span.end) continue;
      float* const to = z + s * stride + column;
      Vector sum[kVectors];
#pragma GCC unroll 8
      for (int c = 0; c < kVectors; ++c) sum[c] = fetch(to + c * kWidth);
      const float* from = row + span.begin * stride + column;
      for (int x = span.begin; x < span.end; ++x, from += stride) {
        const float pixel = law::shape_pixel(shapes, place, y, x);
        const Vector element = broadcast(&pixel);
#pragma GCC unroll 8
        for (int c = 0; c < kVectors; ++c) sum[c] = multiply_add(element, fetch(from + c * kWidth), sum[c]);
      }
#pragma GCC unroll 8
      for (int c = 0; c < kVectors; ++c) put(to + c * kWidth, sum[c]);
    }
  });
}

// Where every sample's products start: z[s][j] = start[j].
inline void start_image_product(const ImageBatch& batch, const float* start, std::int64_t stride, float* z) {
  for (std::int64_t s = 0; s < batch.count; ++s)
    std::memcpy(z + s * stride, start, sizeof(float) * static_cast<std::size_t>(stride));
}

// Gradient and step of the weights that training changes.
class ImageWeights {
 public:
  // live: [pixels], whether a pixel's weights change; `stride` floats a pixel; batches of `batch` rows at
  // most.
  ImageWeights(const law::Shapes& shapes, const std::uint8_t* live, std::int64_t stride, std::int64_t batch)
      : live_(live), stride_(stride), lit_(new Lit[static_cast<std::size_t>(shapes.width * batch)]),
        range_(new Range[static_cast<std::size_t>(shapes.width)]) {
    for (std::int64_t pixel = 0; pixel < std::int64_t{shapes.height} * shapes.width; ++pixel)
      live_pixels_ += live[pixel];
  }

  std::int64_t state_floats() const { return live_pixels_ * stride_; }

  // body(pixel, its number among the live ones).
  template <class Body>
  void for_each_live(const Body& body) const {
    for (std::int64_t pixel = 0, number = 0; number < live_pixels_; ++pixel)
      if (live_[pixel]) body(pixel, number++);
  }

  // delta: dL/dz [count][stride]; weight: [pixels][stride]; states: [live pixels][stride], null where the
  // optimiser has none. columns: whole vectors. stepped(y) is called when image row y has its new weights,
  // and they are still in the cache.
  template <class Stepped>
  void update(const ImageBatch& batch, const float* delta, std::int64_t columns,
              const law::OptimizerConstants& o, law::AdamScale adam, float* weight, float* state0,
              float* state1, const Stepped& stepped) {
    const std::int64_t width = batch.shapes->width;
    std::int64_t number = 0;  // of a pixel, among the live ones
    for (int y = 0; y < batch.shapes->height; ++y) {
      find_lit(batch, y);
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t pixel = y * width + x;
        if (!live_[pixel]) continue;
        const std::int64_t at = pixel * stride_, state = number++ * stride_;
        for_image_columns(columns, [&](std::int64_t column, auto vectors) {
          constexpr int kVectors = decltype(vectors)::value;
          alignas(64) float gradient[kVectors * kWidth];
          Vector sum[kVectors];
#pragma GCC unroll 8
          for (int c = 0; c < kVectors; ++c) sum[c] = zero();
          for (std::int32_t i = range_[x].begin; i < range_[x].end; ++i) {
            const Vector element = broadcast(&lit_[i].pixel);
            const float* from = delta + lit_[i].sample * stride_ + column;
#pragma GCC unroll 8
            for (int c = 0; c < kVectors; ++c)
              sum[c] = multiply_add(fetch(from + c * kWidth), element, sum[c]);
          }
#pragma GCC unroll 8
          for (int c = 0; c < kVectors; ++c) put(gradient + c * kWidth, sum[c]);
          step(o, adam,
               {weight + at + column, gradient, state0 ? state0 + state + column : nullptr,
                state1 ? state1 + state + column : nullptr, kVectors * kWidth});
        });
      }
      stepped(y);
    }
  }

 private:
  struct Lit {
    std::int32_t sample;
    float pixel;
  };
  struct Range {
    std::int32_t begin = 0, end = 0;
  };

  // The samples that light each pixel x of image row y, in order: lit_ within range_[x].
  void find_lit(const ImageBatch& batch, int y) {
    const law::Shapes& shapes = *batch.shapes;
    const auto each = [&](const auto& body) {
      for (std::int64_t s = 0; s < batch.count; ++s) {
        const law::ShapeSpan span = law::lit_span(shapes, batch.place[s], y);
        for (int x = span.begin; x < span.end; ++x)
          if (const float pixel = law::shape_pixel(shapes, batch.place[s], y, x); pixel != 0)
            body(x, Lit{static_cast<std::int32_t>(s), pixel});
      }
    };
    // Counted, laid end to end, and filled in.
    for (int x = 0; x < shapes.width; ++x) range_[x] = {};
    each([&](int x, const Lit&) { ++range_[x].end; });
    std::int32_t before = 0;
    for (int x = 0; x < shapes.width; ++x) {
      const std::int32_t lit = range_[x].end;
      range_[x] = {before, before};
      before += lit;
    }
    each([&](int x, const Lit& lit) { lit_[range_[x].end++] = lit; });
  }

  const std::uint8_t* live_;
  std::int64_t stride_, live_pixels_ = 0;
  std::unique_ptr<Lit[]> lit_;      // of an image row
  std::unique_ptr<Range[]> range_;  // [width]
};
