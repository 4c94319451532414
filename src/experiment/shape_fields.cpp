#include "experiment/field_makers.hpp"
#include "occam/limits.hpp"

namespace occam::experiment {
namespace {

// "60x80" is 60 rows of 80 pixels; or auto.
Field canvas_field() {
  Field f{"canvas", Room::data,
          "rows x columns of an image, such as 60x80; auto: as in the files, 200x200 for star and crescent"};
  f.set = [](Case& c, const std::string& text) {
    c.shapes->height = c.shapes->width = 0;
    if (text == "auto") return;
    const auto cross = text.find('x');
    require(cross != std::string::npos, "--canvas: '{}' is not ROWSxCOLUMNS or auto", text);
    c.shapes->height = static_cast<int>(parse_integer("canvas", text.substr(0, cross), 1, kMostSide));
    c.shapes->width = static_cast<int>(parse_integer("canvas", text.substr(cross + 1), 1, kMostSide));
  };
  f.get = [](const Case& c) -> std::string {
    return c.shapes->height ? fmt::format("{}x{}", c.shapes->height, c.shapes->width) : "auto";
  };
  f.json = f.get;
  return f;
}

// "46:60:39:70+-53:-39:-65:-34", or published.
template <class At>
Field places(std::string flag, At at, std::string help) {
  Field f{flag, Room::data, help + ": LEFT:RIGHT:TOP:BOTTOM, half-open, joined by +; or published"};
  f.set = [at, flag](Case& c, const std::string& text) {
    at(c) = {};
    if (text == "published") return;
    for (const std::string& part : split_list(flag, text, '+')) {
      const std::vector<std::string> numbers = split_list(flag, part, ':');
      require(numbers.size() == 4, "--{}: '{}' is not LEFT:RIGHT:TOP:BOTTOM", flag, part);
      const auto number = [&](std::size_t i) {
        return static_cast<int>(parse_integer(flag, numbers[i], 1 - kMostSide, kMostSide));
      };
      at(c).push_back({number(0), number(1), number(2), number(3)});
    }
  };
  f.get = [get = read_only(at)](const Case& c) -> std::string {
    std::vector<std::string> parts;
    for (const Rectangle& r : get(c))
      parts.push_back(fmt::format("{}:{}:{}:{}", r.left, r.right, r.top, r.bottom));
    return parts.empty() ? "published" : fmt::format("{}", fmt::join(parts, "+"));
  };
  f.json = f.get;
  return f;
}

// Any text.
template <class At>
Field text(std::string flag, At at, std::string help) {
  Field f{flag, Room::data, std::move(help)};
  f.set = [at](Case& c, const std::string& value) { at(c) = value; };
  f.get = [get = read_only(at)](const Case& c) { return get(c); };
  f.json = f.get;
  return f;
}

}  // namespace

std::vector<Field> shape_fields() {
  constexpr Room room = Room::data;
  std::vector<Field> fields = {
      text("mask0", OCCAM_AT(shapes->mask0), "shape of class 0: star, crescent, or a FILE.png or FILE.npy"),
      text("mask1", OCCAM_AT(shapes->mask1), "shape of class 1"),
      canvas_field(),
      real(room, "scale", OCCAM_AT(shapes->style.scale),
           "size of the shapes; 1: as published, or as in the file"),
      real(room, "rotation", OCCAM_AT(shapes->style.rotation), "degrees, clockwise"),
      real(room, "blur", OCCAM_AT(shapes->style.blur), "standard deviation of a Gaussian blur, pixels"),
      boolean(room, "antialias", OCCAM_AT(shapes->style.antialias), "soft edges"),
      real(room, "background", OCCAM_AT(shapes->background), "value of a pixel outside the shape"),
      real(room, "contrast", OCCAM_AT(shapes->contrast), "what a shape adds to it"),
      places("biased0", OCCAM_AT(shapes->biased0), "offsets of class 0 in biased images"),
      places("biased1", OCCAM_AT(shapes->biased1), "offsets of class 1 in biased images"),
      places("uniform0", OCCAM_AT(shapes->uniform0), "offsets of class 0 in the other images"),
      places("uniform1", OCCAM_AT(shapes->uniform1), "offsets of class 1 in the other images"),
      real(room, "bias", OCCAM_AT(shapes->bias), "share of training images in biased places"),
      boolean(room, "crop", OCCAM_AT(shapes->crop),
              "let the canvas crop a shape; --no-crop makes that an error"),
      integer(room, "train", OCCAM_AT(shapes->train), 1, kMostRows, "training images"),
      integer(room, "validation", OCCAM_AT(shapes->validation), 0, kMostRows,
              "validation images, arranged like training; they choose the best model"),
      integer(room, "test", OCCAM_AT(shapes->test), 1, kMostRows, "images of each test set"),
  };
  for (Field& field : fields) field.recipe = true;
  return fields;
}

}  // namespace occam::experiment
