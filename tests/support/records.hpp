// Records, to compare byte by byte.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

#include "experiment/checkpoint.hpp"
#include "support/folder.hpp"

namespace occam::test {

inline std::string bytes_of(const experiment::Records& records) {
  const Folder folder;
  const std::string path = folder / "checkpoint";
  experiment::write_checkpoint(path, 1, {}, records);
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace occam::test
