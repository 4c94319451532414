#include "occam/data.hpp"

#include <algorithm>
#include <cmath>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "interrupt.hpp"
#include "io/npz.hpp"
#include "law/rotate.hpp"
#include "law/slab.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"
#include "occam/permutation.hpp"
#include "shape_set.hpp"

namespace occam {

namespace {

bool made(const SlabData& data) { return data.spec != nullptr; }
bool made(const ArrayData& data) { return data.table != nullptr; }
bool made(const ShapeData& data) { return data.set != nullptr; }

template <class... Each>
struct Visitor : Each... {
  using Each::operator()...;
};

// Calls the one that takes what `data` is.
template <class... Each>
auto visit(const Data& data, const Each&... each) {
  require(std::visit([](const auto& of) { return made(of); }, data),
          "data: nothing is in it; make it with slab_data(), array_data() or shape_data()");
  return std::visit(Visitor<Each...>{each...}, data);
}

std::int64_t rows_of(Split split, std::int64_t train, std::int64_t validation, std::int64_t test) {
  switch (split) {
    case Split::train: return train;
    case Split::validation: return validation;
    case Split::test: return test;
  }
  return 0;
}

// ---- arrays of a user's own -------------------------------------------------------------------------------

// One part of an .npz: x and y with the same number of rows.
struct Part {
  int dim = 0;
  std::vector<float> x;         // [rows][dim]
  std::vector<std::int32_t> y;  // [rows]
  std::int64_t rows() const { return static_cast<std::int64_t>(y.size()); }
};

Part read_part(const NpzReader& file, const std::string& x_name, const std::string& y_name) {
  constexpr NpyType kReals[] = {NpyType::float32, NpyType::float64};
  constexpr NpyType kIntegers[] = {NpyType::int32, NpyType::int64, NpyType::uint8, NpyType::boolean};
  const NpyArray x = file.read(x_name, kReals), y = file.read(y_name, kIntegers);
  if (x.shape.size() != 2 || x.shape[1] < 1 || x.shape[1] > kMostDim)
    fail(ErrorKind::data, "{}: shape {} is not [rows, dim] with a dim of 1 to {}; reshape it", x.where,
         shape_text(x.shape), kMostDim);
  if (x.shape[0] < 1 || x.shape[0] > kMostRows)
    fail(ErrorKind::data, "{}: shape {} has {} rows; give 1 to {}", x.where, shape_text(x.shape), x.shape[0],
         kMostRows);
  if (y.shape.size() != 1 || y.shape[0] != x.shape[0])
    fail(ErrorKind::data, "{}: shape {} does not match the {} rows of {}; give one label per row", y.where,
         shape_text(y.shape), x.shape[0], x_name);

  Part part{.dim = static_cast<int>(x.shape[1]), .x = x.to_float(), .y = {}};
  for (std::size_t i = 0; i < part.x.size(); ++i)
    if (!std::isfinite(part.x[i]))
      fail(ErrorKind::data, "{}: the value at [{}, {}] is {} in fp32; remove or replace it", x.where,
           i / static_cast<std::size_t>(part.dim), i % static_cast<std::size_t>(part.dim), part.x[i]);
  const std::vector<std::int64_t> labels = y.to_int64();
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || labels[i] >= kMostClasses)
      fail(ErrorKind::data, "{}: the label at [{}] is {}; labels count from 0 to at most {}", y.where, i,
           labels[i], kMostClasses - 1);
  part.y.assign(labels.begin(), labels.end());
  return part;
}

void append_row(ArrayData::Table& table, const Part& part, std::int64_t row) {
  const auto width = static_cast<std::size_t>(part.dim);
  const float* begin = part.x.data() + static_cast<std::size_t>(row) * width;
  table.x.insert(table.x.end(), begin, begin + width);
  table.y.push_back(part.y[static_cast<std::size_t>(row)]);
}

void append_all(ArrayData::Table& table, const Part& part) {
  table.x.insert(table.x.end(), part.x.begin(), part.x.end());
  table.y.insert(table.y.end(), part.y.begin(), part.y.end());
}

// Appends the part's rows in random order.
void append_shuffled(ArrayData::Table& table, const Part& part, std::uint32_t split_seed) {
  const KeyedPermutation order(draw(split_seed, Stream::split, 0), static_cast<std::uint32_t>(part.rows()));
  for (std::int64_t place = 0; place < part.rows(); ++place)
    append_row(table, part, order(static_cast<std::uint32_t>(place)));
}

void check_table(const ArrayData::Table& table) {
  require(table.dim >= 1 && table.dim <= kMostDim, "array data: dim is {}; give 1 to {}", table.dim,
          kMostDim);
  require(table.classes >= 2 && table.classes <= kMostClasses, "array data: {} classes; give 2 to {}",
          table.classes, kMostClasses);
  require(table.train >= 0 && table.validation >= 0 && table.test >= 0,
          "array data: {} train, {} validation and {} test rows; none may be negative", table.train,
          table.validation, table.test);
  const auto rows = static_cast<std::int64_t>(table.y.size());
  require(rows >= 1 && rows <= kMostRows && table.train <= rows && table.validation <= rows &&
              table.test <= rows && table.train + table.validation + table.test == rows,
          "array data: {} labels for {} train, {} validation and {} test rows; the counts must add up to 1 "
          "to {} rows",
          rows, table.train, table.validation, table.test, kMostRows);
  require(table.x.size() == table.y.size() * static_cast<std::size_t>(table.dim),
          "array data: {} values for {} rows of {} coordinates", table.x.size(), rows, table.dim);
  for (std::size_t i = 0; i < table.x.size(); ++i)
    require(std::isfinite(table.x[i]),
            "array data: the value at row {}, coordinate {} is {}; remove or replace it",
            i / static_cast<std::size_t>(table.dim), i % static_cast<std::size_t>(table.dim), table.x[i]);
  for (std::size_t i = 0; i < table.y.size(); ++i)
    require(table.y[i] >= 0 && table.y[i] < table.classes,
            "array data: the label of row {} is {}; give 0 to {}", i, table.y[i], table.classes - 1);
}

// ---- images of shapes -------------------------------------------------------------------------------------

// Rows [first, first + count) of all rows.
void draw_images(const ShapeData& data, std::int64_t first, std::int64_t count, float* x, std::int32_t* y) {
  const law::Shapes& shapes = data.set->view();
  const std::int64_t pixels = std::int64_t{shapes.height} * shapes.width;
  std::fill_n(x, count * pixels, shapes.background);
  for (std::int64_t i = 0; i < count; ++i) {
    Split split = Split::test;
    for (const Split later : {Split::validation, Split::train})
      if (first + i >= first_row(data, later)) split = later;
    const law::ShapePlace place = data.set->place(data.seed, split, first + i - first_row(data, split));
    y[i] = place.shape;
    for (int row = 0; row < shapes.height; ++row) {
      const law::ShapeSpan span = law::shape_span(shapes, law::placed(shapes, place), row);
      float* const out = x + i * pixels + std::int64_t{row} * shapes.width;
      for (int column = span.begin; column < span.end; ++column)
        out[column] = law::shape_pixel(shapes, place, row, column);
    }
  }
}

}  // namespace

std::vector<Data> slab_data(const SlabSpec& spec, const std::vector<std::uint32_t>& data_seeds) {
  validate(spec);
  const auto shared = std::make_shared<const SlabSpec>(spec);
  std::vector<Data> data;
  data.reserve(data_seeds.size());
  for (const std::uint32_t seed : data_seeds) data.emplace_back(SlabData{shared, seed});
  return data;
}

std::vector<Data> shape_data(const ShapeSpec& spec, const std::vector<std::uint32_t>& data_seeds) {
  const auto shared = std::make_shared<const ShapeSet>(spec);
  std::vector<Data> data;
  data.reserve(data_seeds.size());
  for (const std::uint32_t seed : data_seeds) data.emplace_back(ShapeData{shared, seed});
  return data;
}

std::vector<Data> array_data(ArrayData::Table table, const std::vector<std::uint32_t>& data_seeds) {
  check_table(table);
  const auto shared = std::make_shared<const ArrayData::Table>(std::move(table));
  std::vector<Data> data;
  data.reserve(data_seeds.size());
  for (const std::uint32_t seed : data_seeds) data.emplace_back(ArrayData{shared, seed});
  return data;
}

ArrayData::Table read_array_data(const std::string& npz_path, std::int64_t test_rows,
                                 std::int64_t validation_rows, std::uint32_t split_seed) {
  const NpzReader file(npz_path);
  const bool split_already = file.contains("x_train");
  if (!split_already && !file.contains("x"))
    fail(ErrorKind::data, "{}: has neither x_train nor x; it has {}", npz_path,
         file.names().empty() ? "no array" : fmt::format("{}", fmt::join(file.names(), ", ")));
  require(test_rows >= 0 && validation_rows >= 0,
          "{}: {} test and {} validation rows; neither may be negative", npz_path, test_rows,
          validation_rows);

  const Part train = split_already ? read_part(file, "x_train", "y_train") : read_part(file, "x", "y");
  std::optional<Part> test, validation;
  if (split_already) {
    test = read_part(file, "x_test", "y_test");
    require(test_rows == 0 || test_rows == test->rows(),
            "{}: {} test rows are asked for, but x_test has {}; leave it out", npz_path, test_rows,
            test->rows());
  }
  if (split_already && file.contains("x_validation")) {
    validation = read_part(file, "x_validation", "y_validation");
    require(validation_rows == 0 || validation_rows == validation->rows(),
            "{}: {} validation rows are asked for, but x_validation has {}; leave it out", npz_path,
            validation_rows, validation->rows());
  }
  for (const auto* part : {&test, &validation})
    if (part->has_value() && (*part)->dim != train.dim)
      fail(ErrorKind::data, "{}: x_train has {} coordinates, but {} has {}; all parts need the same",
           npz_path, train.dim, part == &test ? "x_test" : "x_validation", (*part)->dim);

  ArrayData::Table table;
  table.dim = train.dim;
  table.test = test ? test->rows() : test_rows;
  table.validation = validation ? validation->rows() : validation_rows;
  const std::int64_t drawn = (test ? 0 : table.test) + (validation ? 0 : table.validation);
  require(drawn < train.rows(), "{}: {} rows for test and validation leave no train row of {}; ask for fewer",
          npz_path, drawn, train.rows());
  require(table.test > 0, "{}: no test rows; give their number (--test), or x_test and y_test", npz_path);
  table.train = train.rows() - drawn;

  if (test) append_all(table, *test);
  if (validation) append_all(table, *validation);
  if (drawn > 0)
    append_shuffled(table, train, split_seed);
  else
    append_all(table, train);
  table.classes = std::max(2, *std::max_element(table.y.begin(), table.y.end()) + 1);
  std::vector<std::int64_t> rows_of_class(static_cast<std::size_t>(table.classes));
  for (const std::int32_t label : table.y) ++rows_of_class[static_cast<std::size_t>(label)];
  if (const auto none = std::ranges::find(rows_of_class, 0); none != rows_of_class.end())
    fail(ErrorKind::data,
         "{}: no row has label {}, the largest is {}; number the classes, two at least, from 0 on", npz_path,
         none - rows_of_class.begin(), *std::ranges::max_element(table.y));
  return table;
}

// ---- any data ---------------------------------------------------------------------------------------------

int dim(const Data& data) {
  return visit(
      data, [](const SlabData& d) { return d.spec->dim(); }, [](const ArrayData& d) { return d.table->dim; },
      [](const ShapeData& d) { return d.set->spec().height() * d.set->spec().width(); });
}

int classes(const Data& data) {
  return visit(
      data, [](const SlabData&) { return 2; }, [](const ArrayData& d) { return d.table->classes; },
      [](const ShapeData& d) { return d.set->spec().classes(); });
}

std::uint32_t seed(const Data& data) {
  return std::visit([](const auto& d) { return d.seed; }, data);
}

std::int64_t rows(const Data& data, Split split) {
  return visit(
      data,
      [&](const SlabData& d) { return rows_of(split, d.spec->train, d.spec->validation, d.spec->test); },
      [&](const ArrayData& d) { return rows_of(split, d.table->train, d.table->validation, d.table->test); },
      [&](const ShapeData& d) {
        const ShapeSpec& spec = d.set->spec();
        return rows_of(split, spec.train, spec.validation, spec.test_rows);
      });
}

std::int64_t first_row(const Data& data, Split split) {
  switch (split) {
    case Split::test: return 0;
    case Split::validation: return rows(data, Split::test);
    case Split::train: return rows(data, Split::test) + rows(data, Split::validation);
  }
  return 0;
}

void generate(const Data& data, std::int64_t first, std::int64_t count, float* x, std::int32_t* y) {
  const std::int64_t all = rows(data, Split::test) + rows(data, Split::validation) + rows(data, Split::train);
  require(first >= 0 && count >= 0 && first <= all && count <= all - first,
          "data: rows {} to {} are asked for, but there are {}", first, first + count, all);
  visit(
      data,
      [&](const SlabData& d) {
        law::slab_rows(law::slab_columns(*d.spec, d.seed), d.seed, first, count, x, y);
      },
      [&](const ArrayData& d) {
        const std::int64_t width = d.table->dim;
        std::copy_n(d.table->x.data() + first * width, count * width, x);
        std::copy_n(d.table->y.data() + first, count, y);
      },
      [&](const ShapeData& d) { draw_images(d, first, count, x, y); });
}

std::vector<std::int32_t> labels(const Data& data, Split split) {
  const std::int64_t first = first_row(data, split), count = rows(data, split);
  std::vector<std::int32_t> result(static_cast<std::size_t>(count));
  visit(
      data,
      [&](const SlabData& d) {
        for (std::int64_t row = 0; row < count; ++row)
          result[static_cast<std::size_t>(row)] =
              law::slab_label(d.seed, static_cast<std::uint32_t>(first + row));
      },
      [&](const ArrayData& d) { std::copy_n(d.table->y.data() + first, count, result.data()); },
      [&](const ShapeData& d) {
        for (std::int64_t row = 0; row < count; ++row)
          result[static_cast<std::size_t>(row)] = d.set->place(d.seed, split, row).shape;
      });
  return result;
}

namespace {

// The matrices asked for last. Of many coordinates one takes longer to make than its member to score, and training,
// scoring and every measure of a member ask for it. It depends on the seed and the number of coordinates alone.
class LastRotations {
 public:
  std::vector<float> get(const SlabData& slab, Interrupt interrupt) {
    heed(interrupt);
    const Key key{slab.spec->dim(), slab.seed};
    {
      const std::lock_guard lock(mutex_);
      if (const auto at = std::ranges::find(kept_, key, &Kept::key); at != kept_.end()) {
        kept_.splice(kept_.begin(), kept_, at);
        return at->matrix;
      }
    }
    std::vector<float> matrix = slab_rotation(*slab.spec, slab.seed, interrupt);
    const std::lock_guard lock(mutex_);
    kept_.push_front({key, matrix});
    floats_ += matrix.size();
    while (kept_.size() > kMost || floats_ > kMostFloats) {
      floats_ -= kept_.back().matrix.size();
      kept_.pop_back();
    }
    return matrix;
  }

 private:
  static constexpr std::size_t kMost = 1024, kMostFloats = std::size_t{1} << 26;  // 256 MiB

  using Key = std::pair<int, std::uint32_t>;
  struct Kept {
    Key key;
    std::vector<float> matrix;
  };
  std::mutex mutex_;
  std::list<Kept> kept_;  // of the last call first
  std::size_t floats_ = 0;
};

}  // namespace

std::vector<float> rotation(const Data& data) { return rotation(data, nullptr); }

std::vector<float> rotation(const Data& data, Interrupt interrupt) {
  static LastRotations last;
  return visit(
      data, [&](const SlabData& d) { return d.spec->rotate ? last.get(d, interrupt) : std::vector<float>{}; },
      [](const auto&) { return std::vector<float>{}; });
}

HostTable materialize(const Data& data, Split split) {
  HostTable table{.rows = rows(data, split), .dim = dim(data), .x = {}, .y = {}};
  table.x.resize(static_cast<std::size_t>(table.rows) * static_cast<std::size_t>(table.dim));
  table.y.resize(static_cast<std::size_t>(table.rows));
  generate(data, first_row(data, split), table.rows, table.x.data(), table.y.data());
  const std::vector<float> matrix = rotation(data);
  if (!matrix.empty()) law::rotate_rows(table.x.data(), table.rows, table.dim, matrix.data());
  return table;
}

}  // namespace occam
