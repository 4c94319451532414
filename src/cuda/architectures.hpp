// For which GPUs this build has kernels.
#pragma once

#include <charconv>
#include <string_view>

namespace occam::cuda {

// Whether a GPU of compute capability major.minor runs what was compiled for `architectures`, a list as CMake writes it
// ("80-real;90a-real;90-virtual"): machine code runs on later ones of the same major number, PTX on all later ones; with
// an `a` both run on just that capability, with an `f` on later ones of its major number. True where the list names no
// number ("native").
inline bool has_code_for(std::string_view architectures, int major, int minor) {
  bool names_a_number = false;
  while (!architectures.empty()) {
    const std::size_t end = architectures.find(';');
    std::string_view one = architectures.substr(0, end);
    architectures = end == std::string_view::npos ? "" : architectures.substr(end + 1);
    int number = 0;
    const auto [behind, error] = std::from_chars(one.data(), one.data() + one.size(), number);
    if (error != std::errc()) continue;
    names_a_number = true;
    one.remove_prefix(static_cast<std::size_t>(behind - one.data()));
    const char feature = one.empty() || one[0] == '-' ? '\0' : one[0];
    const int of_major = number / 10, of_minor = number % 10;
    if (major == of_major && (feature == 'a' ? minor == of_minor : minor >= of_minor)) return true;
    if (major > of_major && feature == '\0' && !one.ends_with("-real")) return true;
  }
  return !names_a_number;
}

}  // namespace occam::cuda
