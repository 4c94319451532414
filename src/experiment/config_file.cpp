#include "experiment/config_file.hpp"

#include <algorithm>
#include <set>

#include "experiment/text.hpp"
#include "occam/error.hpp"

namespace occam::experiment {
namespace {

// `line` without what stands between two quotes of a kind, and without these. CLI11 ends a line at every #.
std::string without_quotes(const std::string& path, const std::string& line) {
  std::string outside;
  for (std::size_t begin = 0; begin < line.size();) {
    const std::size_t opened = line.find_first_of("\"'#", begin);
    if (opened == std::string::npos || line[opened] == '#') return outside + line.substr(begin);
    const std::size_t closed = line.find(line[opened], opened + 1);
    if (closed == std::string::npos) return outside + line.substr(begin);
    require(line.find('#', opened) > closed,
            "--config: {}: {}: a # within quotes is not read; give this flag on the command line", path,
            line);
    outside += line.substr(begin, opened - begin);
    begin = closed + 1;
  }
  return outside;
}

}  // namespace

std::string without_no(const std::string& flag) { return flag.starts_with("no-") ? flag.substr(3) : flag; }

void check_config(const std::string& path, std::istream& file) {
  std::set<std::string> seen;
  int open_lists = 0;
  for (std::string line; std::getline(file, line);) {
    require_utf8(fmt::format("--config: {}", path), line);
    line = without_quotes(path, line);  // what is quoted opens no list and no comment
    const std::size_t comment = line.find('#');
    line = line.substr(0, comment);
    const bool within_list = open_lists > 0;
    open_lists += static_cast<int>(std::ranges::count(line, '[') - std::ranges::count(line, ']'));
    require(open_lists <= 0 || comment == std::string::npos,
            "--config: {}: '{}': a comment within a list is not read; put it before the list", path, line);
    const std::size_t last = line.find_last_not_of(" \t\r");
    require(last == std::string::npos || line[last] != '[',
            "--config: {}: '{}': a list's first value stands on the line of its [", path,
            line.substr(0, last + 1));
    const std::size_t equals = line.find('=');
    std::string key = line.substr(0, equals);
    std::erase_if(key, [](char c) { return c == ' ' || c == '\t' || c == '\r'; });
    if (equals == std::string::npos) {
      require(within_list || key.empty(), "--config: {}: '{}' is not flag = value, and nothing else is read",
              path, key);
      continue;
    }
    require(seen.insert(without_no(key)).second, "--config: {}: {} is given twice", path, key);
  }
  require(open_lists == 0, "--config: {}: a list is not closed", path);
}

}  // namespace occam::experiment
