#include "io/npy_header.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "occam/error.hpp"

namespace occam {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::array<std::pair<std::string_view, NpyType>, 6> kTypes{{{"<f4", NpyType::float32},
                                                                      {"<f8", NpyType::float64},
                                                                      {"<i4", NpyType::int32},
                                                                      {"<i8", NpyType::int64},
                                                                      {"|u1", NpyType::uint8},
                                                                      {"|b1", NpyType::boolean}}};

// Reads the dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } from left to right.
class Dictionary {
 public:
  Dictionary(std::string_view text, const std::string& where, std::span<const NpyType> accepted)
      : text_(text), where_(where), accepted_(accepted) {}

  void parse(NpyHeader& header) {
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        descr = true;
        header.type = type();
      } else if (key == "fortran_order" && !order) {
        order = true;
        header.fortran_order = boolean();
      } else if (key == "shape" && !shape) {
        shape = true;
        header.shape = tuple();
      } else {
        broken();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!descr || !order || !shape || at_ != text_.size()) broken();
  }

 private:
  [[noreturn]] void broken() const {
    fail(ErrorKind::data, "{}: the .npy header is broken near byte {}; write the file again with numpy.save",
         where_, at_);
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) broken();
  }
  bool accept(std::string_view word) {
    skip_space();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  std::string_view quoted() {
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) broken();
    const std::string_view word = text_.substr(at_, end - at_);
    at_ = end + 1;
    return word;
  }
  NpyType type() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[')
      fail(ErrorKind::data, "{}: structured arrays are not read; save each field as an array of its own",
           where_);
    const std::string_view descr = quoted();
    const auto accepts = [this](NpyType type) {
      return accepted_.empty() || std::ranges::find(accepted_, type) != accepted_.end();
    };
    for (const auto& [name, type] : kTypes)
      if (descr == name && accepts(type)) return type;
    if (descr.find('O') != std::string_view::npos)
      fail(ErrorKind::data, "{}: arrays of Python objects are not read; save numbers instead", where_);
    std::vector<std::string> names;
    for (const auto& [name, type] : kTypes)
      if (accepts(type)) names.push_back(name_of(type));
    const std::string last = names.back();
    names.pop_back();
    fail(ErrorKind::data, "{}: type {} is not read; convert it with astype to {} or {}", where_, descr,
         fmt::join(names, ", "), last);
  }
  bool boolean() {
    if (accept("True")) return true;
    if (!accept("False")) broken();
    return false;
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> values;
    expect('(');
    while (!accept(')')) {
      skip_space();
      std::int64_t value = -1;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
      if (error != std::errc() || value < 0) broken();
      at_ += static_cast<std::size_t>(end - begin);
      values.push_back(value);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return values;
  }

  std::string_view text_;
  const std::string& where_;
  std::span<const NpyType> accepted_;
  std::size_t at_ = 0;
};

}  // namespace

NpyHeader parse_npy_header(std::span<const std::byte> file, const std::string& where,
                           std::span<const NpyType> accepted) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (!text.starts_with(kMagic) || text.size() < 10)
    fail(ErrorKind::data, "{}: is no .npy array (its first bytes are wrong); write it with numpy.save",
         where);
  const auto byte_at = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(text[i]));
  };
  const std::size_t version = byte_at(6);
  if (version < 1 || version > 3)
    fail(ErrorKind::data, "{}: .npy version {} is not known; write it with numpy.save", where, version);
  const std::size_t prefix = version == 1 ? 10 : 12;
  std::size_t length = 0;
  if (text.size() >= prefix)
    for (std::size_t i = prefix; i-- > 8;) length = length << 8 | byte_at(i);
  if (text.size() < prefix || text.size() - prefix < length)
    fail(ErrorKind::data, "{}: the .npy header is cut off; write the file again", where);
  NpyHeader header;
  header.size = prefix + length;
  Dictionary(text.substr(prefix, length), where, accepted).parse(header);
  for (const std::int64_t extent : header.shape)
    if (__builtin_mul_overflow(header.elements, static_cast<std::size_t>(extent), &header.elements) ||
        header.elements > std::numeric_limits<std::size_t>::max() / 8)
      fail(ErrorKind::data, "{}: the .npy header's shape {} is too large", where, shape_text(header.shape));
  return header;
}

std::string npy_header(NpyType type, std::span<const std::int64_t> shape) {
  std::string_view descr;
  for (const auto& [name, known] : kTypes)
    if (known == type) descr = name;
  std::string extents;
  for (const std::int64_t extent : shape) extents += fmt::format("{}{}", extents.empty() ? "" : ", ", extent);
  if (shape.size() == 1) extents += ',';
  std::string dictionary =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, extents);
  const bool long_header = dictionary.size() + 64 + 10 > 0xFFFF;
  const std::size_t prefix = long_header ? 12 : 10;
  dictionary.append((64 - (prefix + dictionary.size() + 1) % 64) % 64, ' ');
  dictionary += '\n';
  std::string header(kMagic);
  header += static_cast<char>(long_header ? 2 : 1);
  header += '\0';
  for (std::size_t i = 0; i < prefix - 8; ++i)
    header += static_cast<char>(dictionary.size() >> (8 * i) & 0xFF);
  return header + dictionary;
}

}  // namespace occam
