#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiment/results.hpp"
#include "experiment/tell.hpp"
#include "occam/error.hpp"
#include "occam_build_info.hpp"

extern char** environ;

namespace occam::experiment {
namespace {

std::filesystem::path report_script() {
  std::error_code none;  // what cannot be looked at is not there
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", none);
  for (const std::filesystem::path& base : {std::filesystem::path(build_info::source_dir),
                                            program.parent_path().parent_path() / "share" / "occam",
                                            std::filesystem::path(build_info::install_data_dir)}) {
    for (const auto& script : {base / "tools" / "report", base / "report"})
      if (std::filesystem::is_regular_file(script, none)) return script;
  }
  return {};
}

struct Ended {
  bool started = false;
  int status = 0;
  std::string output;  // of both streams
};

// Runs a command to its end.
Ended run_command(std::vector<std::string> words) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDERR_FILENO);
  // A group of its own: an interrupt on the terminal must not reach it when the run itself is past
  // interrupting.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(pipe_ends[1]);
  Ended ended;
  if (error == 0) {
    ended.started = true;
    char block[4096];
    for (ssize_t got = 0; (got = read(pipe_ends[0], block, sizeof block)) != 0;) {
      if (got > 0)
        ended.output.append(block, static_cast<std::size_t>(got));
      else if (errno != EINTR)
        break;
    }
    while (waitpid(child, &ended.status, 0) < 0 && errno == EINTR) {
    }
  } else {
    ended.output = std::strerror(error);
  }
  close(pipe_ends[0]);
  return ended;
}

std::string last_line(const std::string& text) {
  const std::size_t end = text.find_last_not_of("\n\r ");
  if (end == std::string::npos) return "no message";
  const std::size_t begin = text.find_last_of('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

}  // namespace

bool make_report(const std::string& experiment, const std::filesystem::path& folder) {
  const char* chosen = std::getenv("OCCAM_PYTHON");
  const std::string python = chosen && *chosen ? chosen : "/usr/bin/python3";
  const std::filesystem::path script = report_script();
  if (script.empty()) {
    tell("{}: no report.html: tools/report is neither in {} nor in {}\n", experiment, build_info::source_dir,
         build_info::install_data_dir);
    return false;
  }
  const Ended ended =
      run_command({python, script.string(), std::filesystem::absolute(folder).string(), "--quiet"});
  const bool good = ended.started && WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 0 &&
                    std::filesystem::exists(folder / "report.html");
  if (!good)
    tell("{}: no report.html: {} (OCCAM_PYTHON names the Python to use)\n", experiment,
         ended.started ? last_line(ended.output) : python + ": " + ended.output);
  return good;
}

}  // namespace occam::experiment
