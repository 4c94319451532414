// Runs an executable of the project as a user would.
#pragma once

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/folder.hpp"

extern char** environ;

namespace occam::end_to_end {

using test::Folder;

inline std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Ended {
  int code = -1;  // exit code; minus the signal when one ended it
  std::string out, err;
  std::size_t error_lines() const {
    return static_cast<std::size_t>(std::count(err.begin(), err.end(), '\n'));
  }
};

// A running executable of build/experiments.
class Program {
 public:
  Program(const std::string& name, std::vector<std::string> words, const Folder& folder,
          const std::string& python = "/nonexistent/python")
      : out_(folder / "stdout"), err_(folder / "stderr") {
    words.insert(words.begin(), std::string(OCCAM_BUILD_DIR) + "/experiments/" + name);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::vector<std::string> variables;
    for (char** variable = environ; *variable; ++variable)
      if (python.empty() || !std::string(*variable).starts_with("OCCAM_PYTHON="))
        variables.push_back(*variable);
    if (!python.empty()) variables.push_back("OCCAM_PYTHON=" + python);
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), flags, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err_.c_str(), flags, 0600);
    const int error =
        posix_spawn(&child_, arguments[0], &actions, nullptr, arguments.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error(words[0] + " does not start");
  }

  void send(int signal) const { kill(child_, signal); }

  Ended wait() const {
    int status = 0;
    waitpid(child_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), content(out_), content(err_)};
  }

 private:
  std::string out_, err_;
  pid_t child_ = 0;
};

// Without a report, which would take most of a small run's time: its figures need a Python that is not there.
inline Ended run(const std::string& name, const std::vector<std::string>& words, const Folder& folder,
                 const std::string& python = "/nonexistent/python") {
  return Program(name, words, folder, python).wait();
}

}  // namespace occam::end_to_end
