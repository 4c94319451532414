// Data of a member: slab recipes and arrays of a user's own, and the .npz they come from.
#include "occam/data.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "io/npz.hpp"
#include "occam/error.hpp"
#include "support/folder.hpp"
#include "support/message_of.hpp"

namespace occam {
namespace {

using test::message_of;

// Row r is {r, r + 1/4}, its label r mod 3.
ArrayData::Table counting_table() {
  ArrayData::Table table{.dim = 2, .classes = 3, .x = {}, .y = {}, .train = 5, .validation = 2, .test = 3};
  for (int r = 0; r < 10; ++r) {
    table.x.insert(table.x.end(), {static_cast<float>(r), static_cast<float>(r) + 0.25f});
    table.y.push_back(r % 3);
  }
  return table;
}

TEST(Data, SlabRecipesShareTheirSpecification) {
  SlabSpec spec = ms(5, 7, 6);
  spec.train = 700, spec.validation = 20, spec.test = 100;
  const std::vector<Data> data = slab_data(spec, {3, 4294967295u});
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(std::get<SlabData>(data[0]).spec, std::get<SlabData>(data[1]).spec);
  EXPECT_EQ(seed(data[0]), 3u);
  EXPECT_EQ(seed(data[1]), 4294967295u);
  EXPECT_EQ(dim(data[0]), 6);
  EXPECT_EQ(classes(data[0]), 2);
  EXPECT_EQ(rows(data[0], Split::train), 700);
  EXPECT_EQ(rows(data[0], Split::validation), 20);
  EXPECT_EQ(rows(data[0], Split::test), 100);
  EXPECT_EQ(first_row(data[0], Split::test), 0);
  EXPECT_EQ(first_row(data[0], Split::validation), 100);
  EXPECT_EQ(first_row(data[0], Split::train), 120);
  EXPECT_EQ(rotation(data[0]).size(), 36u);
  EXPECT_NE(rotation(data[0]), rotation(data[1]));
}

TEST(Data, SlabSplitsAreSlicesOfAllRows) {
  SlabSpec spec = lms(5, 3);
  spec.rotate = false;
  spec.train = 70, spec.validation = 20, spec.test = 10;
  const Data data = slab_data(spec, {3})[0];
  std::vector<float> x(300);
  std::vector<std::int32_t> y(100);
  generate(data, 0, 100, x.data(), y.data());
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    const HostTable table = materialize(data, split);
    ASSERT_EQ(table.rows, rows(data, split));
    EXPECT_TRUE(std::equal(table.x.begin(), table.x.end(), x.begin() + 3 * first_row(data, split)));
    EXPECT_TRUE(std::equal(table.y.begin(), table.y.end(), y.begin() + first_row(data, split)));
  }
}

TEST(Data, ArraysAreGivenBackAsTheyAre) {
  const std::vector<Data> data = array_data(counting_table(), {7, 8});
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(std::get<ArrayData>(data[0]).table, std::get<ArrayData>(data[1]).table);
  EXPECT_EQ(seed(data[1]), 8u);
  EXPECT_EQ(dim(data[0]), 2);
  EXPECT_EQ(classes(data[0]), 3);
  EXPECT_TRUE(rotation(data[0]).empty());
  EXPECT_EQ(materialize(data[0], Split::test).x, (std::vector<float>{0, 0.25f, 1, 1.25f, 2, 2.25f}));
  EXPECT_EQ(materialize(data[0], Split::validation).x, (std::vector<float>{3, 3.25f, 4, 4.25f}));
  EXPECT_EQ(materialize(data[0], Split::train).y, (std::vector<std::int32_t>{2, 0, 1, 2, 0}));
  float x[2];
  std::int32_t y = -1;
  generate(data[0], 9, 1, x, &y);
  EXPECT_EQ(x[1], 9.25f);
  EXPECT_EQ(y, 0);
}

TEST(Data, GenerateRefusesRowsThatAreNotThere) {
  const Data data = array_data(counting_table(), {7})[0];
  std::vector<float> x(40);
  std::vector<std::int32_t> y(20);
  EXPECT_EQ(message_of(ErrorKind::usage, [&] { generate(data, 9, 2, x.data(), y.data()); }),
            "data: rows 9 to 11 are asked for, but there are 10");
  EXPECT_EQ(message_of(ErrorKind::usage, [&] { generate(data, -1, 2, x.data(), y.data()); }),
            "data: rows -1 to 1 are asked for, but there are 10");
  generate(data, 10, 0, x.data(), y.data());
}

std::string refusal(void (*spoil)(ArrayData::Table&)) {
  ArrayData::Table table = counting_table();
  spoil(table);
  return message_of(ErrorKind::usage, [&] { array_data(table, {0}); });
}

TEST(DataErrors, MadeByNobody) {
  for (const Data& data : {Data{}, Data{ArrayData{}}, Data{ShapeData{}}}) {
    const auto refused = [&](const auto& call) {
      EXPECT_NE(message_of(ErrorKind::usage, [&] { call(); }).find("nothing is in it"), std::string::npos);
    };
    refused([&] { dim(data); });
    refused([&] { classes(data); });
    refused([&] { rows(data, Split::train); });
    refused([&] { labels(data, Split::test); });
    refused([&] { rotation(data); });
    refused([&] { materialize(data, Split::test); });
  }
}

TEST(DataErrors, Tables) {
  using Table = ArrayData::Table;
  EXPECT_EQ(refusal([](Table& t) { t.dim = 0; }), "array data: dim is 0; give 1 to 16384");
  EXPECT_EQ(refusal([](Table& t) { t.classes = 1; }), "array data: 1 classes; give 2 to 256");
  EXPECT_EQ(refusal([](Table& t) { t.test = -3; }),
            "array data: 5 train, 2 validation and -3 test rows; none may be negative");
  EXPECT_EQ(refusal([](Table& t) { t.train = 6; }),
            "array data: 10 labels for 6 train, 2 validation and 3 test rows; the counts must add up to 1 to "
            "2147483647 rows");
  EXPECT_EQ(refusal([](Table& t) { t.x.pop_back(); }), "array data: 19 values for 10 rows of 2 coordinates");
  EXPECT_EQ(refusal([](Table& t) { t.x[5] = std::numeric_limits<float>::quiet_NaN(); }),
            "array data: the value at row 2, coordinate 1 is nan; remove or replace it");
  EXPECT_EQ(refusal([](Table& t) { t.y[4] = 3; }), "array data: the label of row 4 is 3; give 0 to 2");
}

// ---- .npz -------------------------------------------------------------------------------------------------

class ArrayFile : public testing::Test {
 protected:
  // Rows first … first + count of the counting table, as float64 and int64.
  static void add(NpzWriter& writer, const std::string& suffix, int first, int count) {
    std::vector<double> x;
    std::vector<std::int64_t> y;
    for (int r = first; r < first + count; ++r) {
      x.insert(x.end(), {static_cast<double>(r), r + 0.25});
      y.push_back(r % 3);
    }
    writer.add("x" + suffix, x, {count, 2});
    writer.add("y" + suffix, y);
  }

  template <class X, class Y>
  void write_xy(const std::vector<X>& x, std::vector<std::int64_t> x_shape, const std::vector<Y>& y,
                std::vector<std::int64_t> y_shape) {
    NpzWriter writer(path_);
    writer.add("x", x, std::move(x_shape));
    writer.add("y", y, std::move(y_shape));
    writer.close();
  }

  std::string refusal(ErrorKind kind, std::int64_t test_rows = 1, std::int64_t validation_rows = 0) {
    return message_of(kind, [&] { read_array_data(path_, test_rows, validation_rows, 0); });
  }

  test::Folder folder_;
  std::string path_ = folder_ / "data.npz";
};

TEST_F(ArrayFile, WithItsOwnSplit) {
  NpzWriter writer(path_);
  add(writer, "_train", 5, 5);
  add(writer, "_validation", 3, 2);
  add(writer, "_test", 0, 3);
  writer.close();
  const ArrayData::Table table = read_array_data(path_, 0, 0, 1), want = counting_table();
  EXPECT_EQ(table.x, want.x);
  EXPECT_EQ(table.y, want.y);
  EXPECT_EQ(table.dim, 2);
  EXPECT_EQ(table.classes, 3);
  EXPECT_EQ(table.train, 5);
  EXPECT_EQ(table.validation, 2);
  EXPECT_EQ(table.test, 3);
  EXPECT_EQ(read_array_data(path_, 3, 2, 1).x, want.x);  // the same numbers again are no contradiction
  EXPECT_EQ(refusal(ErrorKind::usage, 4),
            path_ + ": 4 test rows are asked for, but x_test has 3; leave it out");
  EXPECT_EQ(refusal(ErrorKind::usage, 0, 1),
            path_ + ": 1 validation rows are asked for, but x_validation has 2; leave it out");
}

// The rows that a table holds, by their first coordinate; each must still carry its second coordinate and its
// label.
std::multiset<int> rows_in(const ArrayData::Table& table, std::int64_t first, std::int64_t count) {
  std::multiset<int> result;
  for (auto r = static_cast<std::size_t>(first); r < static_cast<std::size_t>(first + count); ++r) {
    const int row = static_cast<int>(table.x[2 * r]);
    EXPECT_EQ(table.x[2 * r + 1], static_cast<float>(row) + 0.25f);
    EXPECT_EQ(table.y[r], row % 3);
    result.insert(row);
  }
  return result;
}

TEST_F(ArrayFile, SplitAtRandom) {
  NpzWriter writer(path_);
  add(writer, "", 0, 100);
  writer.close();
  std::multiset<int> everything;
  for (int r = 0; r < 100; ++r) everything.insert(r);
  const ArrayData::Table table = read_array_data(path_, 20, 10, 1);
  EXPECT_EQ(table.train, 70);
  EXPECT_EQ(table.validation, 10);
  EXPECT_EQ(table.test, 20);
  EXPECT_EQ(rows_in(table, 0, 100), everything);
  EXPECT_EQ(read_array_data(path_, 20, 10, 1).x, table.x);
  EXPECT_NE(rows_in(read_array_data(path_, 20, 10, 2), 0, 20), rows_in(table, 0, 20));
  EXPECT_GT(*rows_in(table, 0, 20).rbegin(), 40);  // not just the first rows
}

TEST_F(ArrayFile, ValidationFromTheTrainingRows) {
  NpzWriter writer(path_);
  add(writer, "_train", 10, 50);
  add(writer, "_test", 0, 10);
  writer.close();
  const ArrayData::Table table = read_array_data(path_, 0, 15, 1);
  EXPECT_EQ(table.test, 10);
  EXPECT_EQ(table.validation, 15);
  EXPECT_EQ(table.train, 35);
  std::multiset<int> training;
  for (int r = 10; r < 60; ++r) training.insert(r);
  EXPECT_EQ(rows_in(table, 10, 50), training);
  EXPECT_EQ(*rows_in(table, 0, 10).rbegin(), 9);
}

TEST_F(ArrayFile, EveryClassHasARow) {
  write_xy<float, std::uint8_t>({1, 2, 3}, {3, 1}, {0, 0, 0}, {3});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": no row has label 1, the largest is 0; number the classes, two at least, from 0 on");
  write_xy<float, std::uint8_t>({1, 2, 3}, {3, 1}, {0, 3, 1}, {3});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": no row has label 2, the largest is 3; number the classes, two at least, from 0 on");
}

TEST_F(ArrayFile, Missing) {
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": cannot be read as an .npz: No such file; write it with numpy.savez");
  NpzWriter other(path_);
  other.add("z", std::vector<float>{1});
  other.close();
  EXPECT_EQ(refusal(ErrorKind::data), path_ + ": has neither x_train nor x; it has z");
  NpzWriter half(path_);
  half.add("x", std::vector<float>{1}, {1, 1});
  half.close();
  EXPECT_EQ(refusal(ErrorKind::data), path_ + ": has no array \"y\"; it has x");
}

TEST_F(ArrayFile, Shapes) {
  write_xy<float, std::int64_t>({1, 2, 3}, {3}, {0, 1, 0}, {3});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": x: shape [3] is not [rows, dim] with a dim of 1 to 16384; reshape it");
  write_xy<float, std::int64_t>({}, {3, 0}, {0, 1, 0}, {3});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": x: shape [3, 0] is not [rows, dim] with a dim of 1 to 16384; reshape it");
  write_xy<float, std::int64_t>({}, {0, 2}, {}, {0});
  EXPECT_EQ(refusal(ErrorKind::data), path_ + ": x: shape [0, 2] has 0 rows; give 1 to 2147483647");
  write_xy<float, std::int64_t>({1, 2, 3}, {3, 1}, {0, 1}, {2});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": y: shape [2] does not match the 3 rows of x; give one label per row");
  write_xy<float, std::int64_t>({1, 2, 3}, {3, 1}, {0, 1, 0}, {3, 1});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": y: shape [3, 1] does not match the 3 rows of x; give one label per row");
}

TEST_F(ArrayFile, Types) {
  write_xy<std::int32_t, std::int64_t>({1, 2, 3}, {3, 1}, {0, 1, 0}, {3});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": x: type <i4 is not read; convert it with astype to float32 or float64");
  write_xy<float, float>({1, 2, 3}, {3, 1}, {0, 1, 0}, {3});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": y: type <f4 is not read; convert it with astype to int32, int64, uint8 or bool");
}

TEST_F(ArrayFile, Values) {
  write_xy<float, std::int64_t>({1, 2, 3, NAN}, {2, 2}, {0, 1}, {2});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": x: the value at [1, 1] is nan in fp32; remove or replace it");
  write_xy<double, std::int64_t>({1, 2, 1e300, 4}, {2, 2}, {0, 1}, {2});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": x: the value at [1, 0] is inf in fp32; remove or replace it");
  write_xy<float, std::int64_t>({1, 2}, {2, 1}, {0, -1}, {2});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": y: the label at [1] is -1; labels count from 0 to at most 255");
  write_xy<float, std::int64_t>({1, 2}, {2, 1}, {256, 0}, {2});
  EXPECT_EQ(refusal(ErrorKind::data),
            path_ + ": y: the label at [0] is 256; labels count from 0 to at most 255");
}

TEST_F(ArrayFile, Counts) {
  write_xy<float, std::int64_t>({1, 2, 3}, {3, 1}, {0, 1, 0}, {3});
  EXPECT_EQ(refusal(ErrorKind::usage, 2, 1),
            path_ + ": 3 rows for test and validation leave no train row of 3; ask for fewer");
  EXPECT_EQ(refusal(ErrorKind::usage, 0),
            path_ + ": no test rows; give their number (--test), or x_test and y_test");
  EXPECT_EQ(refusal(ErrorKind::usage, -1),
            path_ + ": -1 test and 0 validation rows; neither may be negative");
}

TEST_F(ArrayFile, PartsOfDifferentWidth) {
  NpzWriter writer(path_);
  add(writer, "_train", 0, 4);
  writer.add("x_test", std::vector<float>{1, 2, 3}, {1, 3});
  writer.add("y_test", std::vector<std::int32_t>{1});
  writer.close();
  EXPECT_EQ(refusal(ErrorKind::data, 0),
            path_ + ": x_train has 2 coordinates, but x_test has 3; all parts need the same");
}

}  // namespace
}  // namespace occam
