#include "io/npz.hpp"

#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "io/npy_header.hpp"
#include "occam/error.hpp"

namespace occam {

namespace {

zip_t* as_zip(void* archive) { return static_cast<zip_t*>(archive); }

struct CloseFile {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

std::string zip_message(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

template <class From, class To>
void convert(const std::vector<std::byte>& bytes, std::vector<To>& to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    to[i] = static_cast<To>(value);
  }
}

// Fortran order to C order: the first index runs fastest in `bytes`, the last one in the result.
std::vector<std::byte> transposed(std::span<const std::byte> bytes, std::span<const std::int64_t> shape,
                                  std::size_t item) {
  std::vector<std::byte> result(bytes.size());
  std::vector<std::int64_t> index(shape.size(), 0);
  for (std::size_t from = 0; from < bytes.size(); from += item) {
    std::int64_t to = 0;
    for (std::size_t d = 0; d < shape.size(); ++d) to = to * shape[d] + index[d];
    std::memcpy(result.data() + static_cast<std::size_t>(to) * item, bytes.data() + from, item);
    for (std::size_t d = 0; d < shape.size() && ++index[d] == shape[d]; ++d) index[d] = 0;
  }
  return result;
}

}  // namespace

const char* name_of(NpyType type) {
  static constexpr std::array names{"float32", "float64", "int32", "int64", "uint8", "bool"};
  return names[static_cast<std::size_t>(type)];
}

std::size_t size_of(NpyType type) {
  static constexpr std::array<std::size_t, 6> sizes{4, 8, 4, 8, 1, 1};
  return sizes[static_cast<std::size_t>(type)];
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// ---- one array --------------------------------------------------------------------------------------------

std::int64_t NpyArray::size() const { return static_cast<std::int64_t>(bytes.size() / size_of(type)); }

void NpyArray::check_type(NpyType wanted) const {
  if (type != wanted)
    fail(ErrorKind::data, "{}: the array is {}, expected {}; convert it with numpy's astype", where,
         name_of(type), name_of(wanted));
}

std::vector<float> NpyArray::to_float() const {
  std::vector<float> result(static_cast<std::size_t>(size()));
  switch (type) {
    case NpyType::float32: convert<float>(bytes, result); break;
    case NpyType::float64: convert<double>(bytes, result); break;
    case NpyType::int32: convert<std::int32_t>(bytes, result); break;
    case NpyType::int64: convert<std::int64_t>(bytes, result); break;
    case NpyType::uint8:
    case NpyType::boolean: convert<std::uint8_t>(bytes, result); break;
  }
  return result;
}

std::vector<std::int64_t> NpyArray::to_int64() const {
  std::vector<std::int64_t> result(static_cast<std::size_t>(size()));
  switch (type) {
    case NpyType::int32: convert<std::int32_t>(bytes, result); break;
    case NpyType::int64: convert<std::int64_t>(bytes, result); break;
    case NpyType::uint8:
    case NpyType::boolean: convert<std::uint8_t>(bytes, result); break;
    case NpyType::float32:
    case NpyType::float64:
      fail(ErrorKind::data, "{}: the array is {}, expected integers; convert it with numpy's astype", where,
           name_of(type));
  }
  return result;
}

NpyArray parse_npy(std::span<const std::byte> file, std::string where, std::span<const NpyType> accepted) {
  const NpyHeader header = parse_npy_header(file, where, accepted);
  NpyArray array{.where = std::move(where), .type = header.type, .shape = header.shape, .bytes = {}};
  const std::span<const std::byte> data = file.subspan(header.size);
  const std::size_t item = size_of(header.type);
  if (data.size() % item != 0 || data.size() / item != header.elements)
    fail(ErrorKind::data,
         "{}: {} of shape {} needs {} bytes of data, found {}; the file is damaged, write it again",
         array.where, name_of(array.type), shape_text(array.shape), header.elements * item, data.size());
  if (header.fortran_order)
    array.bytes = transposed(data, array.shape, item);
  else
    array.bytes.assign(data.begin(), data.end());
  return array;
}

NpyArray read_npy(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail(ErrorKind::data, "{}: cannot be opened: {}", path, std::strerror(errno));
  const std::string content{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad()) fail(ErrorKind::data, "{}: cannot be read: {}", path, std::strerror(errno));
  return parse_npy(std::as_bytes(std::span(content)), path);
}

// ---- reading archives -------------------------------------------------------------------------------------

NpzReader::NpzReader(const std::string& path) : path_(path) {
  int code = 0;
  archive_ = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive_ == nullptr)
    fail(ErrorKind::data, "{}: cannot be read as an .npz: {}; write it with numpy.savez", path,
         zip_message(code));
  const zip_int64_t entries = zip_get_num_entries(as_zip(archive_), 0);
  for (zip_int64_t i = 0; i < entries; ++i) {
    const char* name = zip_get_name(as_zip(archive_), static_cast<zip_uint64_t>(i), 0);
    std::string_view text = name == nullptr ? "" : name;
    if (text.ends_with(".npy")) names_.emplace_back(text.substr(0, text.size() - 4));
  }
}

NpzReader::~NpzReader() {
  if (archive_ != nullptr) zip_discard(as_zip(archive_));
}

bool NpzReader::contains(std::string_view name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

NpyArray NpzReader::read(std::string_view name, std::span<const NpyType> accepted) const {
  if (!contains(name))
    fail(ErrorKind::data, "{}: has no array \"{}\"; it has {}", path_, name,
         names_.empty() ? "none" : fmt::format("{}", fmt::join(names_, ", ")));
  const std::string where = fmt::format("{}: {}", path_, name), entry = fmt::format("{}.npy", name);
  zip_stat_t stat;
  std::unique_ptr<zip_file_t, CloseFile> file(zip_fopen(as_zip(archive_), entry.c_str(), 0));
  if (file == nullptr || zip_stat(as_zip(archive_), entry.c_str(), 0, &stat) != 0 ||
      (stat.valid & ZIP_STAT_SIZE) == 0)
    fail(ErrorKind::data, "{}: cannot be read: {}", where, zip_strerror(as_zip(archive_)));
  // Grows with what is really there, so that a false size in a damaged directory cannot ask for the whole
  // memory.
  std::vector<std::byte> content;
  for (;;) {
    const std::size_t step = std::min<std::size_t>(stat.size + 1, std::size_t{1} << 22);
    const std::size_t old = content.size();
    if (content.capacity() < old + step) content.reserve(std::max(2 * old, old + step));
    content.resize(old + step);
    const zip_int64_t got = zip_fread(file.get(), content.data() + old, step);
    if (got < 0)
      fail(ErrorKind::data, "{}: is damaged: {}; write the file again", where, zip_file_strerror(file.get()));
    content.resize(old + static_cast<std::size_t>(got));
    if (got == 0) break;  // only here has libzip compared the checksum
  }
  if (content.size() != stat.size)
    fail(ErrorKind::data, "{}: is damaged: expected {} bytes, found {}; write the file again", where,
         stat.size, content.size());
  return parse_npy(content, where, accepted);
}

bool can_name_array(std::string_view name) {
  if (name.empty() || name.front() == '/') return false;
  for (std::size_t begin = 0; begin != std::string_view::npos;) {
    const std::size_t end = name.find('/', begin);
    if (name.substr(begin, end - begin) == "..") return false;
    begin = end == std::string_view::npos ? end : end + 1;
  }
  return true;
}

// ---- writing archives -------------------------------------------------------------------------------------

NpzWriter::NpzWriter(std::string path, Compression compression)
    : path_(std::move(path)), spill_path_(fmt::format("{}.{}.spill", path_, ::getpid())),
      compression_(compression) {
  spill_ = std::fopen(spill_path_.c_str(), "wb");
  if (spill_ == nullptr)
    fail(ErrorKind::data, "{}: cannot be written: {}", spill_path_, std::strerror(errno));
}

NpzWriter::~NpzWriter() {
  if (spill_ != nullptr) std::fclose(spill_);
  std::remove(spill_path_.c_str());
}

void NpzWriter::write(const void* bytes, std::size_t size) {
  if (size > 0 && std::fwrite(bytes, 1, size, spill_) != size)
    fail(ErrorKind::data, "{}: cannot be written: {}", spill_path_, std::strerror(errno));
  offset_ += size;
}

void NpzWriter::add_bytes(std::string_view name, NpyType type, std::span<const std::byte> bytes,
                          std::span<const std::int64_t> shape) {
  require(spill_ != nullptr, "{}: array \"{}\" comes after close()", path_, name);
  require(
      can_name_array(name),
      "{}: \"{}\" is no name for an array; it must not be empty, begin with / or lead out of a folder by ..",
      path_, name);
  require(!names_.contains(std::string(name)), "{}: there are two arrays named {}", path_, name);
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= extent;
  const auto values = static_cast<std::int64_t>(bytes.size() / size_of(type));
  require(elements == values &&
              std::all_of(shape.begin(), shape.end(), [](std::int64_t extent) { return extent >= 0; }),
          "{}: array {} has {} values but shape {}", path_, name, values, shape_text(shape));
  const std::uint64_t begin = offset_;
  const std::string header = npy_header(type, shape);
  write(header.data(), header.size());
  write(bytes.data(), bytes.size());
  entries_.push_back({std::string(name), begin, offset_ - begin});
  names_.emplace(name);
}

void NpzWriter::close() {
  require(spill_ != nullptr, "{}: close() was called before", path_);
  // The end of an archive; of one without entries libzip leaves no file.
  constexpr unsigned char kNoEntries[22] = {'P', 'K', 5, 6};
  if (entries_.empty()) write(kNoEntries, sizeof kNoEntries);
  const int closed = std::fclose(std::exchange(spill_, nullptr));
  if (closed != 0) fail(ErrorKind::data, "{}: cannot be written: {}", spill_path_, std::strerror(errno));
  if (entries_.empty()) {
    if (std::rename(spill_path_.c_str(), path_.c_str()) != 0)
      fail(ErrorKind::data, "{}: cannot be written: {}", path_, std::strerror(errno));
    return;
  }

  int code = 0;
  // libzip writes to a temporary name in the same folder and renames it in zip_close.
  std::unique_ptr<zip_t, decltype(&zip_discard)> archive(
      zip_open(path_.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code), &zip_discard);
  if (archive == nullptr) fail(ErrorKind::data, "{}: cannot be written: {}", path_, zip_message(code));
  const auto check = [&](bool good) {
    if (!good) fail(ErrorKind::data, "{}: cannot be written: {}", path_, zip_strerror(archive.get()));
  };
  for (const Entry& entry : entries_) {
    zip_source_t* source = zip_source_file(archive.get(), spill_path_.c_str(), entry.offset,
                                           static_cast<zip_int64_t>(entry.size));
    check(source != nullptr);
    const zip_int64_t index =
        zip_file_add(archive.get(), (entry.name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) zip_source_free(source);
    check(index >= 0);
    const auto at = static_cast<zip_uint64_t>(index);
    constexpr zip_uint16_t kDosDate = (1 << 5) | 1;  // 1 January 1980, the first date a zip knows
    check(zip_file_set_dostime(archive.get(), at, 0, kDosDate, 0) == 0);
    // zlib's usual level: its highest takes several times as long for half a percent.
    check(zip_set_file_compression(archive.get(), at,
                                   compression_ == Compression::store ? ZIP_CM_STORE : ZIP_CM_DEFLATE,
                                   compression_ == Compression::store ? 0 : 6) == 0);
  }
  check(zip_close(archive.get()) == 0);
  (void)archive.release();  // zip_close freed it
  std::remove(spill_path_.c_str());
}

}  // namespace occam
