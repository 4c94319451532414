// The one exception of Occam: what is wrong, where, and how to mend it, in one line.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace occam {

// The value is the exit code of an executable that ends with this error.
enum class ErrorKind : int { usage = 2, data = 3, device = 4, diverged = 5 };

class Error : public std::runtime_error {
 public:
  // Of control characters, which names of files and values may bring along, '?' is left.
  Error(ErrorKind kind, std::string message)
      : std::runtime_error(one_line(std::move(message))), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  static std::string one_line(std::string text) {
    for (char& c : text)
      if ((c >= 0 && c < ' ') || c == '\x7f') c = '?';
    return text;
  }

  ErrorKind kind_;
};

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

// Throws a usage error unless `condition` holds.
template <class... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) fail(ErrorKind::usage, format, std::forward<Args>(args)...);
}

}  // namespace occam
