// .npz archives: round trips, numpy in both directions, equal bytes for equal content, and broken archives.
#include "io/npz.hpp"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "occam/error.hpp"
#include "support/folder.hpp"
#include "support/message_of.hpp"

namespace occam {
namespace {

using test::message_of;

namespace fs = std::filesystem;

// Archives in a folder of the test's own.
class Npz : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_ / name; }

  static std::string read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  static void write_file(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }
  // The names of the files that the test left in its folder.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  test::Folder folder_;
};

template <class T>
std::vector<T> vector_of(const NpyArray& array) {
  const auto values = array.values<T>();
  return {values.begin(), values.end()};
}

const std::vector<float> kFloats{0.0f, -0.0f, 1.5f, std::numeric_limits<float>::infinity(), 1e-45f, -3.25f};
const std::vector<double> kDoubles{0.1, -1e300};
const std::vector<std::int32_t> kInts{0, -1, 2147483647};
const std::vector<std::int64_t> kLongs{std::numeric_limits<std::int64_t>::min(), 7};
const std::vector<std::uint8_t> kBytes{0, 255, 3, 4};
constexpr std::array<bool, 3> kBools{true, false, true};

void write_everything(const std::string& path,
                      NpzWriter::Compression compression = NpzWriter::Compression::deflate) {
  NpzWriter writer(path, compression);
  writer.add("LMS-5/logits_standard", kFloats, {2, 3});
  writer.add("doubles", kDoubles, {2, 1, 1});
  writer.add("ints", kInts);
  writer.add("longs", kLongs);
  writer.add("bytes", kBytes, {2, 2});
  writer.add("bools", std::span<const bool>(kBools), {3});
  writer.add("scalar", std::vector<float>{2.5f}, {});
  writer.add("empty", std::vector<float>{}, {0, 7});
  writer.close();
}

TEST_F(Npz, RoundTripsEveryType) {
  for (const auto compression : {NpzWriter::Compression::deflate, NpzWriter::Compression::store}) {
    write_everything(path("a.npz"), compression);
    const NpzReader reader(path("a.npz"));
    EXPECT_EQ(reader.names(), (std::vector<std::string>{"LMS-5/logits_standard", "doubles", "ints", "longs",
                                                        "bytes", "bools", "scalar", "empty"}));
    const NpyArray logits = reader.read("LMS-5/logits_standard");
    EXPECT_EQ(logits.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(logits.type, NpyType::float32);
    EXPECT_EQ(std::memcmp(logits.bytes.data(), kFloats.data(), logits.bytes.size()), 0);  // −0 too
    EXPECT_EQ(vector_of<double>(reader.read("doubles")), kDoubles);
    EXPECT_EQ(vector_of<std::int32_t>(reader.read("ints")), kInts);
    EXPECT_EQ(vector_of<std::int64_t>(reader.read("longs")), kLongs);
    EXPECT_EQ(vector_of<std::uint8_t>(reader.read("bytes")), kBytes);
    EXPECT_EQ(vector_of<bool>(reader.read("bools")), (std::vector<bool>{true, false, true}));
    EXPECT_TRUE(reader.read("scalar").shape.empty());
    EXPECT_EQ(vector_of<float>(reader.read("scalar")), std::vector<float>{2.5f});
    EXPECT_EQ(reader.read("empty").shape, (std::vector<std::int64_t>{0, 7}));
    EXPECT_EQ(reader.read("empty").size(), 0);
    EXPECT_TRUE(reader.contains("ints"));
    EXPECT_FALSE(reader.contains("int"));
  }
  EXPECT_EQ(files(), std::vector<std::string>{"a.npz"});  // neither spill nor temporary file is left
}

TEST_F(Npz, LargeArraysRoundTrip) {
  std::vector<float> values(3'000'001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1013);
  NpzWriter writer(path("large.npz"));
  writer.add("values", values);
  writer.add("again", values, {1, 3'000'001});
  writer.close();
  EXPECT_EQ(vector_of<float>(NpzReader(path("large.npz")).read("values")), values);
  EXPECT_EQ(vector_of<float>(NpzReader(path("large.npz")).read("again")), values);
}

TEST_F(Npz, EqualContentGivesEqualBytes) {
  write_everything(path("a.npz"));
  setenv("TZ", "Asia/Tokyo", 1);
  tzset();
  write_everything(path("b.npz"));
  unsetenv("TZ");
  tzset();
  EXPECT_GT(read_file(path("a.npz")).size(), 500u);
  EXPECT_EQ(read_file(path("a.npz")), read_file(path("b.npz")));
}

TEST_F(Npz, ReplacesAnExistingFileOnlyAtClose) {
  write_file(path("a.npz"), "what was there");
  {
    NpzWriter writer(path("a.npz"));
    writer.add("x", kFloats);
    EXPECT_EQ(read_file(path("a.npz")), "what was there");
  }  // never closed
  EXPECT_EQ(read_file(path("a.npz")), "what was there");
  EXPECT_EQ(files(), std::vector<std::string>{"a.npz"});
  NpzWriter writer(path("a.npz"));
  writer.add("x", kFloats);
  writer.close();
  EXPECT_EQ(NpzReader(path("a.npz")).names(), std::vector<std::string>{"x"});
}

TEST_F(Npz, Converts) {
  write_everything(path("a.npz"));
  const NpzReader reader(path("a.npz"));
  EXPECT_EQ(reader.read("doubles").to_float(),
            (std::vector<float>{0.1f, -std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(reader.read("bytes").to_float(), (std::vector<float>{0, 255, 3, 4}));
  EXPECT_EQ(reader.read("ints").to_int64(), (std::vector<std::int64_t>{0, -1, 2147483647}));
  EXPECT_EQ(reader.read("bools").to_int64(), (std::vector<std::int64_t>{1, 0, 1}));
}

// ---- numpy ------------------------------------------------------------------------------------------------

std::string python() {
  const char* chosen = std::getenv("OCCAM_PYTHON");
  return chosen != nullptr ? chosen : "/usr/bin/python3";
}

// True when the script ends well. Skips nothing by itself: ask has_numpy() first.
bool run_python(const std::string& script_path) {
  return std::system((python() + " " + script_path).c_str()) == 0;
}

bool has_numpy() { return std::system((python() + " -c 'import numpy' 2>/dev/null").c_str()) == 0; }

TEST_F(Npz, NumpyReadsWhatWeWrite) {
  if (!has_numpy()) GTEST_SKIP() << python() << " has no numpy";
  write_everything(path("a.npz"));
  write_file(path("check.py"), R"(
import numpy as np
a = np.load(')" + path("a.npz") + R"(')
assert a.files == ['LMS-5/logits_standard', 'doubles', 'ints', 'longs', 'bytes', 'bools', 'scalar', 'empty']
x = a['LMS-5/logits_standard']
assert x.dtype == np.float32 and x.shape == (2, 3)
assert x[1, 2] == -3.25 and np.isinf(x[1, 0]) and np.signbit(x[0, 1])
assert a['doubles'].dtype == np.float64 and a['doubles'].shape == (2, 1, 1)
assert a['doubles'][1, 0, 0] == -1e300
assert a['ints'].dtype == np.int32 and a['ints'].tolist() == [0, -1, 2147483647]
assert a['longs'].dtype == np.int64 and a['longs'].tolist() == [-2**63, 7]
assert a['bytes'].dtype == np.uint8 and a['bytes'].tolist() == [[0, 255], [3, 4]]
assert a['bools'].dtype == np.bool_ and a['bools'].tolist() == [True, False, True]
assert a['scalar'].shape == () and a['scalar'] == 2.5
assert a['empty'].shape == (0, 7)
)");
  EXPECT_TRUE(run_python(path("check.py")));
}

TEST_F(Npz, WeReadWhatNumpyWrites) {
  if (!has_numpy()) GTEST_SKIP() << python() << " has no numpy";
  write_file(path("make.py"),
             R"(
import numpy as np
x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
for save, name in ((np.savez, 'plain'), (np.savez_compressed, 'compressed')):
    save(')" + folder_.path().string() +
                 R"(/' + name + '.npz', c=x, fortran=np.asfortranarray(x), column=np.asfortranarray(x[0]),
         y=np.array([1, 0, 255]), small=np.arange(3, dtype=np.uint8), flags=np.array([True, False]),
         scalar=np.float64(0.5), empty=np.zeros((0, 5), dtype=np.int32))
    np.savez(')" +
                 folder_.path().string() +
                 R"(/objects.npz', o=np.array([None, 1], dtype=object), half=np.zeros(2, np.float16),
             big=np.zeros(2, '>f4'), records=np.zeros(2, [('a', 'f4')]))
np.save(')" + folder_.path().string() +
                 R"(/one.npy', x)
from numpy.lib import format
with open(')" + folder_.path().string() +
                 R"(/two.npy', 'wb') as f:
    format.write_array(f, x, version=(2, 0))
)");
  ASSERT_TRUE(run_python(path("make.py")));
  std::vector<float> counting(24);
  for (std::size_t i = 0; i < 24; ++i) counting[i] = static_cast<float>(i);
  for (const char* name : {"plain.npz", "compressed.npz"}) {
    const NpzReader reader(path(name));
    EXPECT_EQ(vector_of<float>(reader.read("c")), counting);
    EXPECT_EQ(reader.read("c").shape, (std::vector<std::int64_t>{2, 3, 4}));
    EXPECT_EQ(vector_of<float>(reader.read("fortran")), counting);
    EXPECT_EQ(reader.read("fortran").shape, (std::vector<std::int64_t>{2, 3, 4}));
    EXPECT_EQ(vector_of<float>(reader.read("column")),
              std::vector<float>(counting.begin(), counting.begin() + 12));
    EXPECT_EQ(vector_of<std::int64_t>(reader.read("y")), (std::vector<std::int64_t>{1, 0, 255}));
    EXPECT_EQ(vector_of<std::uint8_t>(reader.read("small")), (std::vector<std::uint8_t>{0, 1, 2}));
    EXPECT_EQ(vector_of<bool>(reader.read("flags")), (std::vector<bool>{true, false}));
    EXPECT_EQ(vector_of<double>(reader.read("scalar")), std::vector<double>{0.5});
    EXPECT_EQ(reader.read("empty").shape, (std::vector<std::int64_t>{0, 5}));
  }
  EXPECT_EQ(vector_of<float>(read_npy(path("one.npy"))), counting);
  EXPECT_EQ(vector_of<float>(read_npy(path("two.npy"))), counting);

  const NpzReader odd(path("objects.npz"));
  const std::string at = path("objects.npz");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { odd.read("o"); }),
            at + ": o: arrays of Python objects are not read; save numbers instead");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { odd.read("half"); }),
            at + ": half: type <f2 is not read; convert it with astype to float32, float64, int32, int64, "
                 "uint8 or bool");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { odd.read("big"); }),
            at + ": big: type >f4 is not read; convert it with astype to float32, float64, int32, int64, "
                 "uint8 or bool");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { odd.read("records"); }),
            at + ": records: structured arrays are not read; save each field as an array of its own");
}

// ---- broken archives --------------------------------------------------------------------------------------

TEST_F(Npz, NoSuchFile) {
  const std::string file = path("none.npz");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { NpzReader reader(file); }),
            file + ": cannot be read as an .npz: No such file; write it with numpy.savez");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { read_npy(file); }),
            file + ": cannot be opened: No such file or directory");
}

TEST_F(Npz, NotAZip) {
  const std::string file = path("text.npz");
  write_file(file, "this is some text, not a zip archive");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { NpzReader reader(file); }),
            file + ": cannot be read as an .npz: Not a zip archive; write it with numpy.savez");
}

TEST_F(Npz, MissingArray) {
  write_everything(path("a.npz"));
  const NpzReader reader(path("a.npz"));
  EXPECT_EQ(
      message_of(ErrorKind::data, [&] { reader.read("logits"); }),
      path("a.npz") +
          ": has no array \"logits\"; it has LMS-5/logits_standard, doubles, ints, longs, bytes, bools, "
          "scalar, empty");
}

// Wherever the file ends, there is an error and no crash.
TEST_F(Npz, TruncatedAnywhere) {
  write_everything(path("a.npz"));
  const std::string whole = read_file(path("a.npz"));
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    write_file(path("cut.npz"), whole.substr(0, size));
    const std::string message = message_of(ErrorKind::data, [&] {
      const NpzReader reader(path("cut.npz"));
      for (const std::string& name : reader.names()) reader.read(name);
      if (reader.names().size() < 8) fail(ErrorKind::data, "{}: arrays are missing", path("cut.npz"));
    });
    EXPECT_TRUE(message.starts_with(path("cut.npz") + ": ")) << size << ": " << message;
  }
}

TEST_F(Npz, AFlippedByteFailsTheChecksum) {
  NpzWriter writer(path("a.npz"), NpzWriter::Compression::store);
  writer.add("x", std::vector<float>(100, 1.0f));
  writer.close();
  std::string content = read_file(path("a.npz"));
  content[300] = static_cast<char>(content[300] ^ 1);
  write_file(path("a.npz"), content);
  EXPECT_EQ(message_of(ErrorKind::data, [&] { NpzReader(path("a.npz")).read("x"); }),
            path("a.npz") + ": x: is damaged: CRC error; write the file again");
}

TEST_F(Npz, OtherEntriesAreNoArrays) {
  int code = 0;
  zip_t* archive = zip_open(path("mixed.npz").c_str(), ZIP_CREATE, &code);
  ASSERT_NE(archive, nullptr);
  for (const char* name : {"readme.txt", "bad.npy"})
    ASSERT_GE(zip_file_add(archive, name, zip_source_buffer(archive, "hello", 5, 0), 0), 0);
  ASSERT_EQ(zip_close(archive), 0);
  const NpzReader reader(path("mixed.npz"));
  EXPECT_EQ(reader.names(), std::vector<std::string>{"bad"});
  EXPECT_EQ(
      message_of(ErrorKind::data, [&] { reader.read("bad"); }),
      path("mixed.npz") + ": bad: is no .npy array (its first bytes are wrong); write it with numpy.save");
}

// ---- the writer's errors ----------------------------------------------------------------------------------

TEST_F(Npz, RefusesBadNamesAndShapes) {
  NpzWriter writer(path("a.npz"));
  const std::string file = path("a.npz");
  for (const char* name : {"", "/x", "../x", "a/../../x"})
    EXPECT_EQ(
        message_of(ErrorKind::usage, [&] { writer.add(name, kInts); }),
        file + ": \"" + name +
            "\" is no name for an array; it must not be empty, begin with / or lead out of a folder by ..");
  EXPECT_EQ(message_of(ErrorKind::usage,
                       [&] {
                         writer.add("x", kInts, {2, 2});
                       }),
            file + ": array x has 3 values but shape [2, 2]");
  EXPECT_EQ(message_of(ErrorKind::usage,
                       [&] {
                         writer.add("x", kInts, {-1, -3});
                       }),
            file + ": array x has 3 values but shape [-1, -3]");
  writer.add("m=../x..", kInts);  // unpacked, a folder of that name
  writer.add("x", kInts);
  EXPECT_EQ(message_of(ErrorKind::usage, [&] { writer.add("x", kInts); }),
            file + ": there are two arrays named x");
  writer.close();
  EXPECT_EQ(message_of(ErrorKind::usage, [&] { writer.close(); }), file + ": close() was called before");
  EXPECT_EQ(message_of(ErrorKind::usage, [&] { writer.add("y", kInts); }),
            file + ": array \"y\" comes after close()");
}

TEST_F(Npz, AnArchiveOfNothing) {
  NpzWriter writer(path("a.npz"));
  writer.close();
  EXPECT_TRUE(NpzReader(path("a.npz")).names().empty());
  EXPECT_EQ(std::filesystem::file_size(path("a.npz")), 22u);  // the record that ends an archive
}

TEST_F(Npz, SaysWhereItCannotWrite) {
  const std::string file = path("no/such/folder/a.npz");
  const std::string message = message_of(ErrorKind::data, [&] { NpzWriter writer(file); });
  EXPECT_TRUE(message.starts_with(file)) << message;
  EXPECT_TRUE(message.ends_with("cannot be written: No such file or directory")) << message;
}

TEST_F(Npz, SaysThatTheDiskIsFull) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  // The spill file's name is the archive's with process id and ".spill"; a link makes it a full disk.
  const std::string file = path("a.npz"), spill = fmt::format("{}.{}.spill", file, ::getpid());
  fs::create_symlink("/dev/full", spill);
  const std::string message = message_of(ErrorKind::data, [&] {
    NpzWriter writer(file);
    writer.add("x", std::vector<float>(100'000));
    writer.close();
  });
  EXPECT_EQ(message, spill + ": cannot be written: No space left on device");
  EXPECT_TRUE(files().empty());
}

}  // namespace
}  // namespace occam
