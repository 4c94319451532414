// Finished members of an interrupted run, in one file: magic, version, key of the run, seconds spent,
// records, CRC-32. Little-endian, replaced by renaming, so it is whole or not there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "experiment/record.hpp"

namespace occam::experiment {

using Records = std::map<std::pair<int, int>, MemberRecord>;  // by case and member

struct Checkpoint {
  std::uint64_t key = 0;  // of the run: Plan::hash, and the device where that decides about bits
  Seconds seconds;
  Records records;
};

// Throws a data error when the file cannot be written.
void write_checkpoint(const std::filesystem::path& path, std::uint64_t key, const Seconds& seconds,
                      const Records& records);

// Nothing when there is no file. Throws a data error for a damaged one.
std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& path);

}  // namespace occam::experiment
