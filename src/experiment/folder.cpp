#include "experiment/folder.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace occam::experiment {

namespace fs = std::filesystem;

void make_folder(const fs::path& folder, ErrorKind kind) {
  std::vector<fs::path> missing;  // from the deepest up
  std::error_code error;
  for (fs::path at = folder; !at.empty() && !fs::exists(at, error); at = at.parent_path())
    missing.push_back(at);
  fs::create_directories(folder, error);
  if (error) {
    std::error_code ignored;
    for (const fs::path& made : missing) fs::remove(made, ignored);
    fail(kind, "--out: {} cannot be made: {}", folder.string(), error.message());
  }
  if (access(folder.c_str(), R_OK | W_OK | X_OK) == 0) return;
  const int reason = errno;
  fail(kind, "--out: {} cannot be {}: {}", folder.string(),
       access(folder.c_str(), W_OK | X_OK) == 0 ? "read" : "written", std::strerror(reason));
}

FolderLock::FolderLock(const fs::path& folder)
    : file_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (file_ < 0 || flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  close(file_);
  fail(ErrorKind::usage, "--out: another run is writing into {} (wait for it, or give another --out)",
       folder.string());
}

FolderLock::~FolderLock() {
  if (file_ >= 0) close(file_);
}

namespace {

constexpr const char* kPartial = ".partial-";

void remove_partial_results(const fs::path& folder) {
  std::vector<fs::path> left;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().starts_with(kPartial)) left.push_back(entry.path());
  for (const fs::path& path : left) {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
}

}  // namespace

Staging::Staging(fs::path folder)
    : folder_(std::move(folder)), partial_(folder_ / fmt::format("{}{}", kPartial, getpid())) {
  make_folder(folder_, ErrorKind::data);  // somebody may have moved it
  remove_partial_results(folder_);
  make_folder(partial_, ErrorKind::data);
}

Staging::~Staging() {
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

void Staging::write(const char* name, const std::string& text) const {
  std::ofstream file(partial_ / name, std::ios::binary);
  file << text;
  file.close();
  if (!file) fail(ErrorKind::data, "{}: cannot be written (is the disk full?)", (folder_ / name).string());
}

void Staging::publish() const {
  const char* last = "result.json";
  const auto replace = [&](const char* name, bool made) {
    std::error_code error;
    fs::remove(folder_ / name, error);
    if (!error && made) fs::rename(partial_ / name, folder_ / name, error);
    if (error)
      fail(ErrorKind::data, "{}: cannot be replaced: {}", (folder_ / name).string(), error.message());
  };
  replace(last, false);
  for (const char* name : {"arrays.npz", "cases.csv", "timing.json", "report.html", last})
    replace(name, fs::exists(partial_ / name));
}

}  // namespace occam::experiment
