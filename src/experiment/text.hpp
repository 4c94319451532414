// Values on the command line: numbers, seeds, coordinates, groups and lists. Every function takes the flag's
// name so that its error can say what was given to whom.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace occam::experiment {

// "a, b,c" -> {"a", "b", "c"}. An empty entry is an error.
std::vector<std::string> split_list(const std::string& flag, std::string_view text, char separator = ',');

std::int64_t parse_integer(const std::string& flag, std::string_view text, std::int64_t least,
                           std::int64_t most);
// Finite.
double parse_real(const std::string& flag, std::string_view text);
bool parse_boolean(const std::string& flag, std::string_view text);

// "100x100" -> {100, 100}; "linear" or "0" -> {}.
std::vector<int> parse_architecture(const std::string& flag, std::string_view text);

// The place of `text` among `words`; an error lists them.
int parse_word(const std::string& flag, std::string_view text, const std::vector<std::string>& words);

// Lists of "7" and "0-3", without repetition. At most 2^24 numbers.
std::vector<std::uint32_t> parse_ranges(const std::string& flag, std::string_view text, std::uint32_t most);

// --seeds: "N" means 0 … N − 1; otherwise ranges.
std::vector<std::uint32_t> parse_seed_count(const std::string& flag, std::string_view text);

// "S=0-3,T=4,7" -> {S: {0, 1, 2, 3}, T: {4, 7}}. Names are letters, digits and '_'.
std::map<std::string, std::vector<int>> parse_groups(const std::string& flag, std::string_view text);

// What is recorded is JSON, which is UTF-8.
void require_utf8(const std::string& what, const std::string& text);

// Shortest text that reads back as the same number.
std::string format_real(double value);

}  // namespace occam::experiment
