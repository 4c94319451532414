// Masks from .png and .npy files. The files are written here byte by byte (PNG: RFC 2083), so that libpng is
// not its own judge.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "io/npy_header.hpp"
#include "occam/error.hpp"
#include "occam/shapes.hpp"
#include "support/folder.hpp"
#include "support/mask_tools.hpp"
#include "support/message_of.hpp"

namespace occam {
namespace {

using test::message_of;

std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

const std::string kSignature = "\x89PNG\r\n\x1a\n";

std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<std::uint32_t>(data.size())) + body +
         big_endian(static_cast<std::uint32_t>(sum));
}

std::string deflated(const std::string& data) {
  uLongf size = compressBound(static_cast<uLong>(data.size()));
  std::string result(size, '\0');
  compress(reinterpret_cast<Bytef*>(result.data()), &size, reinterpret_cast<const Bytef*>(data.data()),
           static_cast<uLong>(data.size()));
  return result.substr(0, size);
}

std::string bytes(std::initializer_list<int> values) {
  std::string result;
  for (const int value : values) result += static_cast<char>(value);
  return result;
}

constexpr int kGrey = 0, kRgb = 2, kPalette = 3, kGreyOpacity = 4, kRgbOpacity = 6;  // colour types

std::string png_start(std::uint32_t height, std::uint32_t width, int colour, int depth, int interlaced = 0) {
  return kSignature +
         chunk("IHDR", big_endian(width) + big_endian(height) + bytes({depth, colour, 0, 0, interlaced}));
}

std::string png_end(const std::string& data) { return chunk("IDAT", deflated(data)) + chunk("IEND", ""); }

// A .png of these rows of samples; `extra` are chunks before the data.
std::string png(std::uint32_t width, int colour, int depth, const std::vector<std::string>& rows,
                const std::string& extra = "") {
  std::string data;
  for (const std::string& row : rows) data += '\0' + row;  // the row is not filtered
  return png_start(static_cast<std::uint32_t>(rows.size()), width, colour, depth) + extra + png_end(data);
}

// Masks in a folder of the test's own.
class MaskFiles : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content) const {
    const std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  Mask read(const std::string& name, const std::string& content, const MaskStyle& style = {}) const {
    return read_mask(write(name, content), style);
  }
  template <class T>
  std::string npy(const std::vector<T>& values, const std::vector<std::int64_t>& shape,
                  NpyType type = npy_type<T>()) const {
    return npy_header(type, shape) +
           std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  // The message without the path that it begins with.
  std::string refusal(const std::string& name, const std::string& content, ErrorKind kind = ErrorKind::data,
                      const MaskStyle& style = {}) const {
    const std::string path = write(name, content);
    const std::string message = message_of(kind, [&] { read_mask(path, style); });
    EXPECT_TRUE(message.starts_with(path + ": ")) << message;
    return message.substr(std::min(message.size(), path.size() + 2));
  }

  test::Folder folder_;
};

using Values = std::vector<float>;

TEST_F(MaskFiles, GreyPng) {
  const Mask mask = read("8.png", png(3, kGrey, 8, {bytes({0, 255, 51}), bytes({0, 1, 0})}));
  EXPECT_EQ(mask, (Mask{2, 3, {0, 1, .2f, 0, 1 / 255.f, 0}}));
  EXPECT_EQ(read("16.PNG", png(2, kGrey, 16, {bytes({0, 1, 255, 255}), bytes({128, 0, 0, 0})})),
            (Mask{2, 2, {1 / 65535.f, 1, 32768 / 65535.f, 0}}));
  EXPECT_EQ(read("1.png", png(10, kGrey, 1, {bytes({0b10110000, 0b01000000})})).coverage,
            (Values{1, 0, 1, 1, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(read("4.png", png(2, kGrey, 4, {bytes({0x3F})})).coverage, (Values{.2f, 1}));
  // A transparent grey of 255.
  EXPECT_EQ(read("trns.png", png(2, kGrey, 8, {bytes({255, 51})}, chunk("tRNS", bytes({0, 255})))).coverage,
            (Values{0, .2f}));
}

TEST_F(MaskFiles, ColourPng) {
  const Values primaries{.2126f, .7152f, .0722f, 1, 0};
  const Mask mask =
      read("rgb.png", png(5, kRgb, 8, {bytes({255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0})}));
  EXPECT_EQ(mask.coverage, primaries);
  EXPECT_EQ(read("wide.png", png(1, kRgb, 16, {bytes({255, 255, 0, 0, 0, 0})})).coverage, Values{.2126f});
  EXPECT_EQ(
      read("rgba.png", png(3, kRgbOpacity, 8, {bytes({255, 255, 255, 51, 0, 0, 0, 255, 0, 255, 0, 255})}))
          .coverage,
      (Values{.2f, 0, .7152f}));
  EXPECT_EQ(read("ga.png", png(3, kGreyOpacity, 8, {bytes({255, 51, 51, 255, 255, 0})})).coverage,
            (Values{.2f, .2f, 0}));
  EXPECT_EQ(read("ga16.png", png(1, kGreyOpacity, 16, {bytes({255, 255, 255, 255})})).coverage, Values{1});
}

TEST_F(MaskFiles, PalettePng) {
  const std::string colours = chunk("PLTE", bytes({0, 0, 0, 255, 255, 255, 255, 0, 0}));
  EXPECT_EQ(read("p.png", png(3, kPalette, 8, {bytes({2, 1, 0})}, colours)).coverage, (Values{.2126f, 1, 0}));
  EXPECT_EQ(read("p2.png", png(4, kPalette, 2, {bytes({0b01001001})}, colours)).coverage,
            (Values{1, 0, .2126f, 1}));
  EXPECT_EQ(read("pt.png", png(3, kPalette, 8, {bytes({2, 1, 0})}, colours + chunk("tRNS", bytes({255, 51}))))
                .coverage,
            (Values{.2126f, .2f, 0}));
}

// Corrections for gamma and colour profiles are for eyes: a grey of 51 is a coverage of .2 in every file.
TEST_F(MaskFiles, OtherChunksChangeNothing) {
  for (const std::string& extra :
       {chunk("gAMA", big_endian(100000)), chunk("sRGB", bytes({0})),
        chunk("tEXt", std::string("Title\0x", 7)), chunk("zTXt", std::string("Title\0\0", 7) + deflated("x")),
        chunk("meRy", "x")})
    EXPECT_EQ(read("g.png", png(2, kGrey, 8, {bytes({51, 255})}, extra)).coverage, (Values{.2f, 1}));
}

TEST_F(MaskFiles, InterlacedPng) {
  // Adam7: first row and column of each pass, and the steps to the next ones.
  constexpr std::array<std::array<int, 4>, 7> kPasses{
      {{0, 0, 8, 8}, {0, 4, 8, 8}, {4, 0, 8, 4}, {0, 2, 4, 4}, {2, 0, 4, 2}, {0, 1, 2, 2}, {1, 0, 2, 1}}};
  constexpr int kHeight = 9, kWidth = 11;
  std::string data;
  for (const auto& [top, left, down, right] : kPasses)
    for (int y = top; y < kHeight && left < kWidth; y += down) {
      data += '\0';
      for (int x = left; x < kWidth; x += right) data += static_cast<char>(y * kWidth + x);
    }
  const Mask mask = read("i.png", png_start(kHeight, kWidth, kGrey, 8, 1) + png_end(data));
  ASSERT_EQ(mask.coverage.size(), std::size_t{kHeight * kWidth});
  for (int i = 0; i < kHeight * kWidth; ++i)
    EXPECT_EQ(mask.coverage[static_cast<std::size_t>(i)], static_cast<float>(i / 255.)) << i;
}

TEST_F(MaskFiles, EveryTypeOfNpy) {
  using Bytes = std::vector<std::uint8_t>;
  EXPECT_EQ(read("b.npy", npy(Bytes{0, 1, 1, 0, 0, 1}, {2, 3}, NpyType::boolean)),
            (Mask{2, 3, {0, 1, 1, 0, 0, 1}}));
  EXPECT_EQ(read("1.npy", npy(Bytes{0, 1, 1, 0}, {2, 2})).coverage, (Values{0, 1, 1, 0}));
  EXPECT_EQ(read("255.npy", npy(Bytes{0, 255, 51, 1}, {2, 2})).coverage, (Values{0, 1, .2f, 1 / 255.f}));
  EXPECT_EQ(read("f.npy", npy(Values{0, 1, .3f, 1e-6f}, {4, 1})), (Mask{4, 1, {0, 1, .3f, 1e-6f}}));
  EXPECT_EQ(read("d.NPY", npy(std::vector<double>{0, 1, .3, 1e-6}, {1, 4})),
            (Mask{1, 4, {0, 1, .3f, 1e-6f}}));
}

// A mask at rest is the file's very pixels, whatever way they are sampled.
TEST_F(MaskFiles, RestChangesNoPixel) {
  Values values(31 * 47);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7919 % 1000) / 999;
  const std::string file = npy(values, {31, 47});
  EXPECT_EQ(read("a.npy", file), (Mask{31, 47, values}));
  EXPECT_EQ(read("a.npy", file, {.antialias = true}), (Mask{31, 47, values}));
  EXPECT_EQ(read("a.npy", file, {.rotation = 360}), (Mask{31, 47, values}));
}

TEST_F(MaskFiles, StylesApply) {
  // An L in a box of 3 x 3 whose middle is pixel [3][3].
  const Mask rest{7, 7, {0, 0, 0, 0, 0, 0,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, .75f, 0, 0, 0, 0, 0, 0, 1, 0,
                         0, 0, 0, 0, 0, .5f, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0}};
  const std::string file = npy(rest.coverage, {7, 7});
  ASSERT_EQ(read("l.npy", file), rest);
  EXPECT_EQ(read("l.npy", file, {.rotation = 90}),
            rearranged(rest, [](int y, int x) { return std::pair(x, 6 - y); }));
  EXPECT_EQ(read("l.npy", file, {.rotation = 180}),
            rearranged(rest, [](int y, int x) { return std::pair(6 - y, 6 - x); }));
  EXPECT_EQ(read("l.npy", file, {.rotation = -90, .antialias = true}),
            rearranged(rest, [](int y, int x) { return std::pair(6 - x, y); }));
  // A box of 2 x 3, whose pixels come to lie across four others.
  const Mask bar{5, 5, {0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, .5f, 0, 0, 0, 1, .25f, 0, 0, 0, 0, 0, 0, 0}};
  for (const double rotation : {90.0, -90.0, 180.0})
    for (const bool antialias : {false, true})
      EXPECT_EQ(
          area(read("b.npy", npy(bar.coverage, {5, 5}), {.rotation = rotation, .antialias = antialias})),
          area(bar));
  const Mask doubled = read("l.npy", file, {.scale = 2, .antialias = true});
  EXPECT_NEAR(area(doubled), 4 * area(rest), 1e-5);
  const Mask soft = read("l.npy", file, {.blur = .3});
  EXPECT_NEAR(area(soft), area(rest), 1e-5);
  EXPECT_GT(at(soft, 1, 2), 0);
  EXPECT_EQ(at(soft, 0, 2), 0);
  EXPECT_EQ(
      refusal("l.npy", file, ErrorKind::usage, {.scale = 3}),
      "at scale 3 and a rotation of 0 degrees the shape leaves the canvas of 7 x 7; scale it down or widen "
      "the canvas");
  EXPECT_EQ(refusal("l.npy", file, ErrorKind::usage, {.scale = -1}),
            "the scale -1 is not a finite number above 0");
  EXPECT_EQ(
      refusal("dot.npy", npy(Values{1, 0, 0, 0}, {2, 2}), ErrorKind::usage, {.scale = 3}),
      "at scale 3 and a rotation of 0 degrees the shape leaves the canvas of 2 x 2; scale it down or widen "
      "the canvas");
}

// Whatever the box of the shape: pixel by pixel, and to half a pixel about its middle.
TEST_F(MaskFiles, QuarterTurnsAreExact) {
  std::uint32_t random = 1;
  for (int height = 1; height <= 12; ++height)
    for (int width = 1; width <= 12; ++width) {
      // As small a canvas as can be, with the shape on either side of its middle.
      const int side = std::max(height, width), either = (height + width) / 2 % 2;
      const int top = (side - height + either) / 2, left = (side - width + either) / 2;
      Mask rest{side, side, Values(static_cast<std::size_t>(side * side), 0)};
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
          random = random * 1664525 + 1013904223;
          rest.coverage[static_cast<std::size_t>((top + y) * side + left + x)] =
              static_cast<float>((random >> 16) + 1) / 65536;
        }
      const std::string file = npy(rest.coverage, {side, side});
      for (const int rotation : {90, -90, 180, 270, -450, 720})
        for (const bool antialias : {false, true}) {
          SCOPED_TRACE(fmt::format("{} x {} by {}, antialias {}", height, width, rotation, antialias));
          const int quarters = (rotation / 90 % 4 + 4) % 4;
          const Mask turned =
              read("q.npy", file, {.rotation = static_cast<double>(rotation), .antialias = antialias});
          const PixelBox box = box_of(turned);
          ASSERT_EQ(box.bottom - box.top + 1, quarters % 2 == 0 ? height : width);
          ASSERT_EQ(box.right - box.left + 1, quarters % 2 == 0 ? width : height);
          ASSERT_LE(std::abs(box.top + box.bottom + 1 - (2 * top + height)), 1);
          ASSERT_LE(std::abs(box.left + box.right + 1 - (2 * left + width)), 1);
          for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) {
              const int to_y[] = {y, x, height - 1 - y, width - 1 - x},
                        to_x[] = {x, height - 1 - y, width - 1 - x, y};
              ASSERT_EQ(at(turned, box.top + to_y[quarters], box.left + to_x[quarters]),
                        at(rest, top + y, left + x));
            }
        }
    }
}

// ---- files that are refused ------------------------------------------------------------------------------

TEST_F(MaskFiles, NoSuchFileAndNoSuchKind) {
  for (const char* name : {"none.png", "none.npy"}) {
    const std::string path = folder_ / name;
    EXPECT_EQ(message_of(ErrorKind::data, [&] { read_mask(path); }),
              path + ": cannot be opened: No such file or directory");
    std::filesystem::create_directory(path);
    EXPECT_EQ(message_of(ErrorKind::data, [&] { read_mask(path); }),
              path + ": cannot be read: Is a directory");
  }
  for (const char* name : {"a.jpg", "a.npz", "a", ".png"})
    EXPECT_EQ(refusal(name, "", ErrorKind::usage), "a mask is star, crescent, or a .png or an .npy file");
}

TEST_F(MaskFiles, NotAPng) {
  const std::string message = "is no PNG image (its first bytes are wrong); save it as PNG";
  EXPECT_EQ(refusal("a.png", ""), message);
  EXPECT_EQ(refusal("a.png", kSignature.substr(0, 7)), message);
  EXPECT_EQ(refusal("a.png", "\xFF\xD8\xFF\xE0 and the rest of a JPEG"), message);
}

// Wherever the file ends, there is an error and no crash.
TEST_F(MaskFiles, CutOffPng) {
  const std::string whole =
      png(3, kRgb, 8, {bytes({1, 2, 3, 4, 5, 6, 7, 8, 9}), bytes({9, 8, 7, 6, 5, 4, 3, 2, 1})});
  ASSERT_EQ(read("a.png", whole).width, 3);
  for (std::size_t size = 8; size < whole.size(); ++size)
    EXPECT_EQ(refusal("a.png", whole.substr(0, size)),
              "is a damaged PNG image (it ends too early); write it again")
        << size;
}

TEST_F(MaskFiles, DamagedPng) {
  const std::string whole = png(3, kGrey, 8, {bytes({1, 2, 3}), bytes({9, 8, 7})});
  for (std::size_t i = 8; i < whole.size(); ++i) {  // no flipped bit passes
    std::string file = whole;
    file[i] = static_cast<char>(file[i] ^ 4);
    EXPECT_TRUE(refusal("a.png", file).starts_with("is a damaged PNG image (")) << i;
  }
  // Too few rows of data.
  EXPECT_TRUE(refusal("a.png", png_start(2, 3, kGrey, 8) + png_end(bytes({0, 1, 2, 3})))
                  .starts_with("is a damaged PNG image ("));
}

// A pixel of a colour that the palette lacks, in the first pass or in the last.
TEST_F(MaskFiles, PaletteIndicesBeyondThePalette) {
  const std::string colours = chunk("PLTE", bytes({0, 0, 0, 255, 255, 255, 255, 0, 0}));
  const std::string message =
      "is a damaged PNG image (a pixel has colour 3 of a palette of 3); write it again";
  EXPECT_EQ(refusal("p.png", png(3, kPalette, 8, {bytes({2, 1, 0}), bytes({1, 3, 0})}, colours)), message);
  EXPECT_EQ(refusal("p2.png", png(4, kPalette, 2, {bytes({0b01001011})}, colours)), message);
  EXPECT_EQ(refusal("pi.png", png_start(1, 2, kPalette, 8, 1) + colours + png_end(bytes({0, 1, 0, 3}))),
            message);
  EXPECT_EQ(read("bits.png", png(1, kPalette, 2, {bytes({0b01111111})}, colours)).coverage, Values{1});
}

// The most memory that this process ever had, bytes.
std::int64_t peak_memory() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

// One row of the last of these would take 16 GB: the header alone is looked at.
TEST_F(MaskFiles, TooLarge) {
  const std::int64_t before = peak_memory();
  for (const auto& [height, width] :
       {std::pair(4097u, 1u), {1u, 4097u}, {1u, 100'000'000u}, {2147483647u, 2147483647u}})
    EXPECT_EQ(refusal("a.png", png_start(height, width, kRgbOpacity, 16) + png_end("")),
              fmt::format("has {} x {} pixels; at most 4096 a side are read, make the image smaller", height,
                          width));
  for (const auto& [height, width] : {std::pair<std::int64_t, std::int64_t>(4097, 1), {1, 1ll << 40}})
    EXPECT_EQ(refusal("a.npy", npy(Values{1}, {height, width})),
              fmt::format("has {} x {} pixels; at most 4096 a side are read, make the mask smaller", height,
                          width));
  EXPECT_EQ(refusal("a.npy", npy(Values{1}, {1ll << 40, 1ll << 40})),
            "the .npy header's shape [1099511627776, 1099511627776] is too large");
  EXPECT_LT(peak_memory() - before, 64 << 20);
  EXPECT_EQ(read("a.npy", npy(Values(4096, 1), {1, 4096})).width, 4096);
}

TEST_F(MaskFiles, NpyThatIsNoMask) {
  EXPECT_EQ(refusal("a.npy", "no array"),
            "is no .npy array (its first bytes are wrong); write it with numpy.save");
  EXPECT_EQ(refusal("a.npy", npy(Values{1, 1}, {2})),
            "the array has shape [2]; a mask needs [height, width]");
  EXPECT_EQ(refusal("a.npy", npy(Values{1}, {1, 1, 1})),
            "the array has shape [1, 1, 1]; a mask needs [height, width]");
  EXPECT_EQ(refusal("a.npy", npy(Values{1}, {})), "the array has shape []; a mask needs [height, width]");
  // Whatever the type, the advice is of those that masks may have.
  std::string halves = npy(Values{1}, {1, 1});
  halves.replace(halves.find("<f4"), 3, "<f2");
  for (const auto& [file, type] : {std::pair(npy(std::vector<std::int64_t>{1}, {1, 1}), "<i8"),
                                   {npy(std::vector<std::int32_t>{1}, {1, 1}), "<i4"},
                                   {halves, "<f2"}})
    EXPECT_EQ(
        refusal("a.npy", file),
        fmt::format("type {} is not read; convert it with astype to float32, float64, uint8 or bool", type));
  EXPECT_EQ(
      refusal("a.npy", npy(Values{1}, {4096, 4096})),
      "float32 of shape [4096, 4096] needs 67108864 bytes of data, found 4; the file is damaged, write it "
      "again");
  EXPECT_EQ(refusal("a.npy", npy(Values{1, 1}, {1, 1})),
            "float32 of shape [1, 1] needs 4 bytes of data, found 8; the file is damaged, write it again");
}

TEST_F(MaskFiles, ValuesOutside) {
  const auto outside = [](const char* value, const char* place) {
    return fmt::format("the value {} at {} is outside 0 … 1; scale the mask to that range", value, place);
  };
  EXPECT_EQ(refusal("a.npy", npy(Values{0, 1, 0, 1.5f}, {2, 2})), outside("1.5", "[1, 1]"));
  EXPECT_EQ(refusal("a.npy", npy(std::vector<double>{0, 1, -.25}, {1, 3})), outside("-0.25", "[0, 2]"));
  EXPECT_EQ(refusal("a.npy", npy(Values{0, 1, std::nanf(""), 1, 1, 1}, {3, 2})), outside("nan", "[1, 0]"));
  EXPECT_EQ(refusal("a.npy", npy(Values{1, std::numeric_limits<float>::infinity()}, {1, 2})),
            outside("inf", "[0, 1]"));
  EXPECT_EQ(refusal("a.npy", npy(std::vector<std::uint8_t>{1, 2}, {1, 2}, NpyType::boolean)),
            outside("2", "[0, 1]"));
}

TEST_F(MaskFiles, NothingCovered) {
  const std::string message =
      "covers nothing: no pixel of its 2 x 2 is above 0; draw the shape bright on black";
  EXPECT_EQ(refusal("a.png", png(2, kGrey, 8, {bytes({0, 0}), bytes({0, 0})})), message);
  EXPECT_EQ(refusal("a.png", png(2, kGreyOpacity, 8, {bytes({255, 0, 255, 0}), bytes({0, 255, 0, 255})})),
            message);
  EXPECT_EQ(refusal("a.npy", npy(std::vector<std::uint8_t>(4, 0), {2, 2})), message);
  EXPECT_EQ(refusal("a.npy", npy(std::vector<double>{0, -0., 1e-60, 0}, {2, 2})), message);
  EXPECT_EQ(refusal("a.npy", npy(Values{}, {0, 3})),
            "covers nothing: no pixel of its 0 x 3 is above 0; draw the shape bright on black");
}

}  // namespace
}  // namespace occam
