// The recipe behind ShapeData: a specification that has passed validate(), and what kernels read of it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "law/shape.hpp"
#include "occam/data.hpp"
#include "occam/training.hpp"

namespace occam {

class ShapeSet {
 public:
  explicit ShapeSet(const ShapeSpec& spec);  // validates
  ShapeSet(const ShapeSet&) = delete;
  ShapeSet& operator=(const ShapeSet&) = delete;

  const ShapeSpec& spec() const { return spec_; }
  // Points into this object.
  const law::Shapes& view() const { return view_; }
  const std::vector<law::ShapeBox>& boxes() const { return boxes_; }
  const std::vector<float>& values() const { return values_; }
  const std::vector<law::ShapeSpan>& spans() const { return spans_; }

  // Class and offset of row `row` of a split, by the draws of a data seed.
  law::ShapePlace place(std::uint32_t data_seed, Split split, std::int64_t row) const;

 private:
  ShapeSpec spec_;
  std::vector<Places> conflict_;  // [class]
  std::vector<law::ShapeBox> boxes_;
  std::vector<float> values_;
  std::vector<law::ShapeSpan> spans_;
  law::Shapes view_{};
};

// Of all rows of a split.
std::vector<law::ShapePlace> shape_places(const ShapeData& data, Split split);

// Which pixels are not 0 in some of these images. [height · width], 0 or 1
std::vector<std::uint8_t> lit_pixels(const law::Shapes& shapes, const std::vector<law::ShapePlace>& places);

// Of images of shapes: the mean share of an image's pixels that are not 0, through which alone a first layer
// goes, and the share of those whose weights training changes.
struct PixelShares {
  double lit = 1, live = 1;
};

// Of the training rows; none for other data.
std::optional<PixelShares> pixel_shares(const Data& data, const Training& training);

}  // namespace occam
