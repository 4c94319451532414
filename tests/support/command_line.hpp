// Command lines of an experiment that does not exist.
#pragma once

#include <vector>

#include "experiment/plan.hpp"

namespace occam::test {

// What `tool WORD...` asks for.
inline experiment::CommandLine parse(std::vector<const char*> words, bool user_data = false,
                                     const std::vector<experiment::OwnOption>& own = {}) {
  words.insert(words.begin(), "/somewhere/tool");
  return experiment::read_command_line("tool", "A claim.", own, user_data, static_cast<int>(words.size()),
                                       words.data());
}

}  // namespace occam::test
