// Words for whoever runs an experiment.
#pragma once

#include <cstdio>
#include <utility>

#include <fmt/format.h>

namespace occam::experiment {

// To stderr. That nobody listens any more, as after a terminal was closed, is no error.
template <class... Args>
void tell(fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), stderr);
}

}  // namespace occam::experiment
