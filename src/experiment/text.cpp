#include "experiment/text.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "occam/error.hpp"
#include "occam/limits.hpp"

namespace occam::experiment {
namespace {

constexpr std::size_t kMostNumbers = std::size_t{1} << 24;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

template <class Number>
bool read(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::vector<std::string> split_list(const std::string& flag, std::string_view text, char separator) {
  std::vector<std::string> items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    items.emplace_back(trimmed(text.substr(begin, end - begin)));
    require(!items.back().empty(), "--{}: '{}' has an empty entry", flag, text);
    begin = end + 1;
  }
  return items;
}

std::int64_t parse_integer(const std::string& flag, std::string_view text, std::int64_t least,
                           std::int64_t most) {
  std::int64_t value = 0;
  require(read(text, value) && value >= least && value <= most,
          "--{}: '{}' is not a whole number from {} to {}", flag, text, least, most);
  return value;
}

double parse_real(const std::string& flag, std::string_view text) {
  double value = 0;
  require(read(text, value) && std::isfinite(value), "--{}: '{}' is not a finite number", flag, text);
  return value;
}

bool parse_boolean(const std::string& flag, std::string_view text) {
  if (text == "true" || text == "on" || text == "yes" || text == "1") return true;
  if (text == "false" || text == "off" || text == "no" || text == "0") return false;
  fail(ErrorKind::usage, "--{}: '{}' is neither true nor false", flag, text);
}

std::vector<int> parse_architecture(const std::string& flag, std::string_view text) {
  if (text == "linear" || text == "0") return {};
  std::vector<int> hidden;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('x', begin), text.size());
    int width = 0;
    require(read(text.substr(begin, end - begin), width) && width >= 1 && width <= kMostWidth,
            "--{}: '{}' is not an architecture such as 100x100 (widths from 1 to {}) or linear", flag, text,
            kMostWidth);
    hidden.push_back(width);
    begin = end + 1;
  }
  return hidden;
}

int parse_word(const std::string& flag, std::string_view text, const std::vector<std::string>& words) {
  const auto found = std::find(words.begin(), words.end(), text);
  require(found != words.end(), "--{}: '{}' is not one of {}", flag, text, fmt::join(words, ", "));
  return static_cast<int>(found - words.begin());
}

std::vector<std::uint32_t> parse_ranges(const std::string& flag, std::string_view text, std::uint32_t most) {
  std::vector<std::uint32_t> numbers;
  std::set<std::uint32_t> seen;
  for (const std::string& item : split_list(flag, text)) {
    const std::size_t dash = item.find('-');
    std::uint32_t first = 0, last = 0;
    const std::string_view view = item;
    const bool good = dash == std::string::npos
                          ? read(view, first) && read(view, last)
                          : read(view.substr(0, dash), first) && read(view.substr(dash + 1), last);
    require(good && first <= last && last <= most,
            "--{}: '{}' is neither a number nor a range A-B, from 0 to {}", flag, item, most);
    require(last - first < kMostNumbers && numbers.size() + (last - first) < kMostNumbers,
            "--{}: '{}' makes more than {} numbers", flag, text, kMostNumbers);
    for (std::uint64_t n = first; n <= last; ++n) {
      require(seen.insert(static_cast<std::uint32_t>(n)).second, "--{}: {} is given twice in '{}'", flag, n,
              text);
      numbers.push_back(static_cast<std::uint32_t>(n));
    }
  }
  return numbers;
}

std::vector<std::uint32_t> parse_seed_count(const std::string& flag, std::string_view text) {
  if (text.find_first_of(",-") != std::string_view::npos) return parse_ranges(flag, text, 0xFFFFFFFFu);
  const std::int64_t count = parse_integer(flag, text, 1, kMostNumbers);
  std::vector<std::uint32_t> seeds(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<std::uint32_t>(i);
  return seeds;
}

std::map<std::string, std::vector<int>> parse_groups(const std::string& flag, std::string_view text) {
  std::map<std::string, std::string> ranges;
  std::string name;
  for (const std::string& item : split_list(flag, text)) {
    const std::size_t equal = item.find('=');
    if (equal != std::string::npos) {
      name = item.substr(0, equal);
      const bool good = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '_';
      });
      require(good, "--{}: '{}' is not a name of letters, digits and _", flag, name);
      require(!ranges.contains(name), "--{}: group {} is given twice", flag, name);
    }
    require(!name.empty(), "--{}: '{}' does not start with a name, as in S=0-3", flag, text);
    std::string& list = ranges[name];
    const std::string part = equal == std::string::npos ? item : item.substr(equal + 1);
    list += list.empty() ? part : "," + part;
  }
  std::map<std::string, std::vector<int>> groups;
  for (const auto& [group, list] : ranges)
    for (std::uint32_t coordinate : parse_ranges(flag, list, kMostDim - 1))
      groups[group].push_back(static_cast<int>(coordinate));
  return groups;
}

void require_utf8(const std::string& what, const std::string& text) {
  const nlohmann::json json = text;
  try {
    static_cast<void>(json.dump());
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::usage,
         "{}: {} is not UTF-8, and could not be recorded (names of files and configurations have to be)",
         what, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

std::string format_real(double value) { return fmt::format("{}", value); }

}  // namespace occam::experiment
