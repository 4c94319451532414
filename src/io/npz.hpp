// Reads and writes numpy's .npy arrays and .npz archives (zip through libzip). Format: numpy.lib.format,
// versions 1 to 3. Arrays are little-endian and in C order; Fortran order is converted on reading. Equal
// content gives equal bytes: every entry carries the same fixed time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

namespace occam {

enum class NpyType { float32, float64, int32, int64, uint8, boolean };

// numpy's word for the type: "float32", …, "bool".
const char* name_of(NpyType type);
std::size_t size_of(NpyType type);

template <class T>
constexpr NpyType npy_type() {
  if constexpr (std::is_same_v<T, float>)
    return NpyType::float32;
  else if constexpr (std::is_same_v<T, double>)
    return NpyType::float64;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return NpyType::int32;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return NpyType::int64;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return NpyType::uint8;
  else {
    static_assert(std::is_same_v<T, bool>, "npy arrays hold float, double, int32, int64, uint8 or bool");
    return NpyType::boolean;
  }
}

struct NpyArray {
  std::string where;  // "file.npz: name", for messages
  NpyType type = NpyType::float32;
  std::vector<std::int64_t> shape;  // empty for a scalar
  std::vector<std::byte> bytes;     // C order

  std::int64_t size() const;
  // The values as they lie; a data error when T is not the array's type.
  template <class T>
  std::span<const T> values() const {
    check_type(npy_type<T>());
    return {reinterpret_cast<const T*>(bytes.data()), static_cast<std::size_t>(size())};
  }
  // The values converted, rounded to float where need be.
  std::vector<float> to_float() const;
  std::vector<std::int64_t> to_int64() const;  // a data error for float32 and float64

 private:
  void check_type(NpyType wanted) const;
};

// "[3, 4]", "[]" for a scalar.
std::string shape_text(std::span<const std::int64_t> shape);

// One whole .npy file or entry; `where` begins the error messages. Throws data errors: not an .npy, an
// unknown version, a broken header, an unsupported type (objects, structures, big-endian, …) or none of the
// `accepted` (empty: all are), fewer or more bytes than the shape asks for.
NpyArray parse_npy(std::span<const std::byte> file, std::string where,
                   std::span<const NpyType> accepted = {});
NpyArray read_npy(const std::string& path);

class NpzReader {
 public:
  // Throws data errors: no such file, not a zip.
  explicit NpzReader(const std::string& path);
  ~NpzReader();
  NpzReader(const NpzReader&) = delete;
  NpzReader& operator=(const NpzReader&) = delete;

  const std::vector<std::string>& names() const { return names_; }  // without ".npy", in file order
  bool contains(std::string_view name) const;
  // Throws data errors: no such array (the message lists those there are), a damaged entry, and what
  // parse_npy throws.
  NpyArray read(std::string_view name, std::span<const NpyType> accepted = {}) const;

 private:
  std::string path_;
  void* archive_ = nullptr;  // zip_t
  std::vector<std::string> names_;
};

// Not empty, nor a path that leads out of the folder where an archive is unpacked.
bool can_name_array(std::string_view name);

// Arrays go to a spill file beside the archive as they come, so the writer's memory does not grow; close()
// makes the archive under a temporary name and renames it. Without close(), or after an error, there is no
// archive and no spill file. Without arrays close() makes an archive of none.
class NpzWriter {
 public:
  enum class Compression { store, deflate };

  explicit NpzWriter(std::string path, Compression compression = Compression::deflate);
  ~NpzWriter();
  NpzWriter(const NpzWriter&) = delete;
  NpzWriter& operator=(const NpzWriter&) = delete;

  // Throws usage errors (a shape that does not match the count, a name that is empty, absolute, has ".." or
  // was added before) and data errors (the disk is full, …).
  template <class T>
  void add(std::string_view name, std::span<const T> values, std::vector<std::int64_t> shape) {
    add_bytes(name, npy_type<T>(), std::as_bytes(values), shape);
  }
  template <class T>
  void add(std::string_view name, const std::vector<T>& values, std::vector<std::int64_t> shape) {
    static_assert(!std::is_same_v<T, bool>,
                  "std::vector<bool> has no bytes; use std::uint8_t or a span of bool");
    add(name, std::span<const T>(values), std::move(shape));
  }
  template <class T>
  void add(std::string_view name, const std::vector<T>& values) {
    add(name, values, {static_cast<std::int64_t>(values.size())});
  }
  void close();

 private:
  struct Entry {
    std::string name;
    std::uint64_t offset, size;  // in the spill file
  };
  void add_bytes(std::string_view name, NpyType type, std::span<const std::byte> bytes,
                 std::span<const std::int64_t> shape);
  void write(const void* bytes, std::size_t size);

  std::string path_, spill_path_;
  Compression compression_;
  std::FILE* spill_ = nullptr;
  std::vector<Entry> entries_;
  std::unordered_set<std::string> names_;
  std::uint64_t offset_ = 0;
};

}  // namespace occam
