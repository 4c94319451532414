// Checksums: of files that a run reads, and of the program that runs.
#pragma once

#include <string>

namespace occam::experiment {

// "crc32:" and the CRC-32 of a whole file, as zip and gzip know it.
std::string checksum(const std::string& path);

// What tells this program from one of other code: the commit it was built from, and where the checkout differed from
// that or had none, the checksum of the program itself.
std::string program();

}  // namespace occam::experiment
