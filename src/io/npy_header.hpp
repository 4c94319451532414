// The header of an .npy array: magic, version, length, and a Python dictionary as text (numpy.lib.format).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/npz.hpp"

namespace occam {

struct NpyHeader {
  NpyType type = NpyType::float32;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::size_t elements = 1;  // product of the shape
  std::size_t size = 0;      // bytes before the data
};

// Throws data errors that begin with `where`; so does an array of none of the `accepted` types. Empty: all are.
NpyHeader parse_npy_header(std::span<const std::byte> file, const std::string& where,
                           std::span<const NpyType> accepted = {});

// Version 1 (2 where it is too long), padded to a multiple of 64 bytes.
std::string npy_header(NpyType type, std::span<const std::int64_t> shape);

}  // namespace occam
