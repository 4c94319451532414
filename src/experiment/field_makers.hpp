// One maker for each type of field (fields.hpp). `at` maps a Case& to what the field holds; it is used for
// const cases too.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "experiment/fields.hpp"
#include "experiment/text.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"

namespace occam::experiment {

using Room = Field::Room;

template <class At>
auto read_only(At at) {
  return [at](const Case& c) -> const auto& { return at(const_cast<Case&>(c)); };
}

template <class At>
Field real(Room room, std::string flag, At at, std::string help) {
  Field f{flag, room, std::move(help)};
  f.set = [at, flag](Case& c, const std::string& text) { at(c) = parse_real(flag, text); };
  f.get = [get = read_only(at)](const Case& c) { return format_real(get(c)); };
  f.json = [get = read_only(at)](const Case& c) { return get(c); };
  return f;
}

// A length in fp32: at least 0, and no more than an attack takes.
template <class At>
Field length(Room room, std::string flag, At at, std::string help) {
  Field f = real(room, flag, at, std::move(help));
  f.set = [at, flag](Case& c, const std::string& text) {
    const double value = parse_real(flag, text);
    require(value >= 0, "--{}: {} is negative; give 0 or more", flag, text);
    require(value <= kMostLength, "--{}: {} is more than {:g}", flag, text, kMostLength);
    at(c) = value;
  };
  return f;
}

// A probability with a built-in default, which is stored as a negative number.
template <class At>
Field defaulted(Room room, std::string flag, At at, double by_default, double most, std::string help) {
  Field f{flag, room, std::move(help)};
  f.set = [at, flag, most](Case& c, const std::string& text) {
    const double value = parse_real(flag, text);
    require(value >= 0 && value <= most, "--{}: '{}' is outside [0, {}]", flag, text, most);
    at(c) = value;
  };
  const auto value = [get = read_only(at), by_default](const Case& c) {
    return get(c) < 0 ? by_default : get(c);
  };
  f.get = [value](const Case& c) { return format_real(value(c)); };
  f.json = [value](const Case& c) { return value(c); };
  return f;
}

template <class At>
Field integer(Room room, std::string flag, At at, std::int64_t least, std::int64_t most, std::string help) {
  Field f{flag, room, std::move(help)};
  f.set = [=](Case& c, const std::string& text) {
    auto& field = at(c);
    field = static_cast<std::decay_t<decltype(field)>>(parse_integer(flag, text, least, most));
  };
  f.get = [get = read_only(at)](const Case& c) { return std::to_string(get(c)); };
  f.json = [get = read_only(at)](const Case& c) { return get(c); };
  return f;
}

template <class At>
Field boolean(Room room, std::string flag, At at, std::string help) {
  Field f{flag, room, std::move(help)};
  f.boolean = true;
  f.set = [at, flag](Case& c, const std::string& text) { at(c) = parse_boolean(flag, text); };
  f.get = [get = read_only(at)](const Case& c) { return get(c) ? "true" : "false"; };
  f.json = [get = read_only(at)](const Case& c) { return get(c); };
  return f;
}

// values[i] is what words[i] means.
template <class Enum, class At>
Field word(Room room, std::string flag, At at, std::vector<std::string> words, std::vector<Enum> values,
           std::string help) {
  Field f{flag, room, fmt::format("{} ({})", help, fmt::join(words, "|"))};
  f.set = [=](Case& c, const std::string& text) {
    at(c) = values[static_cast<std::size_t>(parse_word(flag, text, words))];
  };
  f.get = [=, get = read_only(at)](const Case& c) {
    return words[static_cast<std::size_t>(std::find(values.begin(), values.end(), get(c)) - values.begin())];
  };
  f.json = f.get;
  return f;
}

#define OCCAM_AT(expression) \
  [](Case & c) -> auto& { return c.expression; }

}  // namespace occam::experiment
