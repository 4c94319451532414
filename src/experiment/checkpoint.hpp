// Members of an interrupted run, in one file: magic, version, key of the run, seconds spent, records of those that are
// measured, states of those that are under way, CRC-32. Little-endian, replaced by renaming, so it is whole or not there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "experiment/record.hpp"

namespace occam::experiment {

// By case and member.
using Records = std::map<std::pair<int, int>, MemberRecord>;
// By the case that is trained for, member and network of its vote.
using States = std::map<std::tuple<int, int, int>, MemberState>;

struct Checkpoint {
  std::uint64_t key = 0;  // of the run: Plan::hash, and the device where that decides about bits
  Seconds seconds;
  Records records;
  States states;

  // Measured or under way, those of a training that cases share as one.
  std::size_t members() const;
};

// Throws a data error when the file cannot be written.
void write_checkpoint(const std::filesystem::path& path, std::uint64_t key, const Seconds& seconds,
                      const Records& records, const States& states = {});

// Nothing when there is no file. Throws a data error for a damaged one.
std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& path);

}  // namespace occam::experiment
