// The data of one ensemble member: slab data or images of shapes, recipes that are materialised only while
// the member is resident, or arrays of the user's own. Rows are split into train, validation and test.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "occam/shapes.hpp"
#include "occam/slab.hpp"
#include "occam/split.hpp"

namespace occam {

struct SlabData {
  std::shared_ptr<const SlabSpec> spec;  // validated by the maker, slab_data()
  std::uint32_t seed = 0;                // data seed
};

class ShapeSet;  // a validated ShapeSpec and its masks as kernels see them (src/shape_set.hpp)

struct ShapeData {
  std::shared_ptr<const ShapeSet> set;  // made by shape_data()
  std::uint32_t seed = 0;               // data seed
};

// Rows of a user's own, in the order test, validation, train (as slab rows are).
struct ArrayData {
  struct Table {
    int dim = 0;                                       // values of a row
    int classes = 2;                                   // 2 … 256
    std::vector<float> x;                              // [test + validation + train][dim]
    std::vector<std::int32_t> y;                       // [test + validation + train], 0 … classes − 1
    std::int64_t train = 0, validation = 0, test = 0;  // rows of each split
  };
  std::shared_ptr<const Table> table;  // validated by the maker, array_data()
  std::uint32_t seed = 0;              // keys the randomised measures
};

using Data = std::variant<SlabData, ArrayData, ShapeData>;

// Validates the specification and returns one recipe per data seed; the specification is shared. Throws the
// usage errors of validate(SlabSpec).
std::vector<Data> slab_data(const SlabSpec& spec, const std::vector<std::uint32_t>& data_seeds);

// The same for images of shapes, with the usage errors of validate(ShapeSpec). A row's coordinates are the
// pixels of its image, [height][width].
std::vector<Data> shape_data(const ShapeSpec& spec, const std::vector<std::uint32_t>& data_seeds);

// Arrays of the caller's own, one entry per data seed; the table is shared. Throws a usage error that names
// the offending value: sizes that do not fit together, a value that is not finite, a label outside the
// classes.
std::vector<Data> array_data(ArrayData::Table table, const std::vector<std::uint32_t>& data_seeds);

// Reads x_train, y_train, x_test, y_test (and optionally x_validation, y_validation) from an .npz, or x and
// y, which are then split at random (keyed by `split_seed`) with `test_rows` for the test set;
// `validation_rows` are set aside from the training rows unless the file has them. x: [rows, dim] float32 or
// float64; y: [rows] int32, int64, uint8 or bool, from 0 to 255. 0 rows mean "as the file says". Throws a data
// error that names file, array and the offending value (shape, NaN, label out of range), and a usage error for
// numbers of rows that the file does not allow.
ArrayData::Table read_array_data(const std::string& npz_path, std::int64_t test_rows,
                                 std::int64_t validation_rows, std::uint32_t split_seed);

// Of data that none of the makers above made, what follows (but seed) throws a usage error.
int dim(const Data& data);             // values of a row
int classes(const Data& data);         // labels are 0 … classes − 1
std::uint32_t seed(const Data& data);  // keys the rows that are generated and the randomised measures
std::int64_t rows(const Data& data, Split split);  // 0 where there is no such split
// Index of the split's first row among all rows: test rows come first, then validation, then train.
std::int64_t first_row(const Data& data, Split split);

// Rows [first, first + count) of all rows, before the rotation. x: [count][dim], y: [count].
// Throws a usage error for rows that do not exist.
void generate(const Data& data, std::int64_t first, std::int64_t count, float* x, std::int32_t* y);

// Those of a split, [rows], without generating its rows.
std::vector<std::int32_t> labels(const Data& data, Split split);

// W of x ↦ xW as models see rows, row-major [dim][dim]; empty when the data are not rotated.
std::vector<float> rotation(const Data& data);

// A whole split on the host, as a model sees it (rotated).
struct HostTable {
  std::int64_t rows = 0;
  int dim = 0;                  // values of a row
  std::vector<float> x;         // [rows][dim]
  std::vector<std::int32_t> y;  // [rows] labels
};
HostTable materialize(const Data& data, Split split);

}  // namespace occam
