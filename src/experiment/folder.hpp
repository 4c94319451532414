// The folder of a run's results.
#pragma once

#include <filesystem>
#include <string>

#include "occam/error.hpp"

namespace occam::experiment {

// Makes it, where there is none. An error says why it cannot be made or written.
void make_folder(const std::filesystem::path& folder, ErrorKind kind = ErrorKind::usage);

// One run at a time writes into a folder: a usage error for the second. Where the file system has no locks, it is on trust.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_;
};

// Results are made in a folder inside `folder` and renamed from there, result.json last: where there is a
// result.json, all is there. Without publish() nothing stays. Who makes one holds the folder's lock: what a run that was
// killed left is removed.
class Staging {
 public:
  explicit Staging(std::filesystem::path folder);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  const std::filesystem::path& path() const { return partial_; }

  // Throws data errors.
  void write(const char* name, const std::string& text) const;
  void publish() const;

 private:
  std::filesystem::path folder_, partial_;
};

}  // namespace occam::experiment
