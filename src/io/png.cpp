#include "io/png.hpp"

#include <png.h>

#include <array>
#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <utility>

#include "occam/error.hpp"

namespace occam {

namespace {

// libpng reports errors with longjmp, which must not skip a destructor: the functions that call setjmp, and
// those that libpng calls back, hold nothing that has one.
class PngReader {
 public:
  explicit PngReader(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "rb")) {
    if (file_ == nullptr) fail(ErrorKind::data, "{}: cannot be opened: {}", path_, std::strerror(errno));
  }
  ~PngReader() {
    png_destroy_read_struct(&png_, &info_, nullptr);
    std::fclose(file_);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  PngImage read(int max_side) {
    check_signature();
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) fail(ErrorKind::data, "{}: cannot be read: libpng does not start", path_);
    if (!read_size()) damaged();
    if (height_ > static_cast<png_uint_32>(max_side) || width_ > static_cast<png_uint_32>(max_side))
      fail(ErrorKind::data, "{}: has {} x {} pixels; at most {} a side are read, make the image smaller",
           path_, height_, width_, max_side);
    if (!start_reading()) damaged();

    PngImage image{.height = static_cast<int>(height_),
                   .width = static_cast<int>(width_),
                   .channels = channels_,
                   .full = static_cast<std::uint16_t>(depth_ == 16 ? 0xFFFF : 0xFF),
                   .samples = {}};
    std::vector<png_byte> bytes(height_ * row_bytes_);
    std::vector<png_bytep> rows(height_);
    for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = bytes.data() + y * row_bytes_;
    if (!read_rows(rows.data())) damaged();
    image.samples.resize(bytes.size() / (depth_ == 16 ? 2 : 1));
    for (std::size_t i = 0; i < image.samples.size(); ++i)  // 16 bits: the high byte comes first
      image.samples[i] =
          depth_ == 16 ? static_cast<std::uint16_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]) : bytes[i];
    if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE) look_up_colours(image);
    return image;
  }

 private:
  static constexpr std::size_t kSignature = 8;  // bytes

  void check_signature() {
    std::array<png_byte, kSignature> first{};
    const std::size_t got = std::fread(first.data(), 1, first.size(), file_);
    if (std::ferror(file_)) fail(ErrorKind::data, "{}: cannot be read: {}", path_, std::strerror(errno));
    if (got < first.size() || png_sig_cmp(first.data(), 0, first.size()) != 0)
      fail(ErrorKind::data, "{}: is no PNG image (its first bytes are wrong); save it as PNG", path_);
  }

  bool read_size() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_read_fn(png_, this, on_read);
    png_set_sig_bytes(png_, kSignature);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // read() has a limit of its own
    png_set_chunk_cache_max(png_, 1);                             // keeps no texts
    png_read_info(png_, info_);
    height_ = png_get_image_height(png_, info_);
    width_ = png_get_image_width(png_, info_);
    return true;
  }

  // Takes memory for a row: the size has to be checked before.
  bool start_reading() {
    if (setjmp(png_jmpbuf(png_))) return false;
    if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE)
      png_set_packing(png_);  // to a byte an index
    else
      png_set_expand(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    channels_ = png_get_channels(png_, info_);
    depth_ = png_get_bit_depth(png_, info_);
    row_bytes_ = png_get_rowbytes(png_, info_);
    return true;
  }

  bool read_rows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  // From indices to colours, with an opacity where the palette has one. libpng would read an index beyond the palette
  // as black.
  void look_up_colours(PngImage& image) {
    png_colorp colours = nullptr;
    png_bytep opacities = nullptr;
    int count = 0, with_opacity = 0;
    png_get_PLTE(png_, info_, &colours, &count);
    png_get_tRNS(png_, info_, &opacities, &with_opacity, nullptr);
    const std::vector<std::uint16_t> indices = std::move(image.samples);
    image.samples.clear();
    image.channels = with_opacity > 0 ? 4 : 3;
    for (const int index : indices) {
      if (index >= count) {
        note(fmt::format("a pixel has colour {} of a palette of {}", index, count).c_str());
        damaged();
      }
      const png_color& colour = colours[index];
      image.samples.insert(image.samples.end(), {colour.red, colour.green, colour.blue});
      if (with_opacity > 0)
        image.samples.push_back(index < with_opacity ? opacities[index] : std::uint16_t{0xFF});
    }
  }

  [[noreturn]] void damaged() const {
    fail(ErrorKind::data, "{}: is a damaged PNG image ({}); write it again", path_, message_.data());
  }

  void note(const char* message) { std::snprintf(message_.data(), message_.size(), "%s", message); }

  static void on_read(png_structp png, png_bytep to, std::size_t count) {
    const auto* reader = static_cast<const PngReader*>(png_get_io_ptr(png));
    if (std::fread(to, 1, count, reader->file_) == count) return;
    png_error(png, std::ferror(reader->file_) ? std::strerror(errno) : "it ends too early");
  }
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    static_cast<PngReader*>(png_get_error_ptr(png))->note(message);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}

  const std::string& path_;
  std::FILE* file_ = nullptr;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  png_uint_32 height_ = 0, width_ = 0;
  int channels_ = 0, depth_ = 0;
  std::size_t row_bytes_ = 0;
  std::array<char, 128> message_{};
};

}  // namespace

PngImage read_png(const std::string& path, int max_side) { return PngReader(path).read(max_side); }

}  // namespace occam
