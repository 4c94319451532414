// Words for messages: threads, call sites, and the source lines behind return addresses (asked of addr2line,
// which comes with the compiler, and only when something went wrong).
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdio>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "simt/executor/state.hpp"

namespace occam::simt {
namespace {

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// A place in a loaded module, as addr2line wants it. Empty when nobody knows the module.
struct Place {
  std::string module;
  std::uintptr_t offset;  // as the module's symbols count
  std::uintptr_t from_base;
};
Place place_of(std::uintptr_t code) {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(code), &info) == 0) return {};
  const auto base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  const bool fixed = static_cast<const ElfW(Ehdr)*>(info.dli_fbase)->e_type == ET_EXEC;
  return {info.dli_fname, fixed ? code : code - base, code - base};
}

std::vector<std::string> addr2line(const char* options, const Place& place) {
  const std::string command =
      fmt::format("addr2line {} -e '{}' {:#x} 2>/dev/null", options, place.module, place.offset);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe{popen(command.c_str(), "r"), pclose};
  std::vector<std::string> lines;
  char buffer[4096];
  while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe.get()) != nullptr) {
    lines.emplace_back(buffer);
    lines.back().resize(lines.back().find_last_not_of('\n') + 1);
  }
  return lines;
}

// "tile.cuh:41 < train.cu:120": the innermost line that is not the executor's own, then the lines it was
// inlined into.
std::string source_lines(const Place& place) {
  std::string text;
  for (const std::string& full : addr2line("-i", place)) {
    const std::string_view line = file_name(std::string_view(full).substr(0, full.find(' ')));
    const std::string_view file = line.substr(0, line.find(':'));
    if (file == "??" || file == "device.hpp" || file == "device_types.hpp" || file == "tuple" ||
        file == "invoke.h")
      continue;
    text += fmt::format("{}{}", text.empty() ? "" : " < ", line);
  }
  return text;
}

}  // namespace

std::string describe(const Thread& thread) {
  return fmt::format("thread ({}, {}, {})", thread.position.x, thread.position.y, thread.position.z);
}

std::string describe(Where where) { return fmt::format("{}:{}", file_name(where.file_name()), where.line()); }

std::string describe_code(std::uintptr_t return_address) {
  const std::uintptr_t call = return_address - 1;
  const Place place = place_of(call);
  if (place.module.empty()) return fmt::format("{:#x}", call);
  static std::map<std::uintptr_t, std::string>
      known;  // addr2line reads all debug information: tens of milliseconds
  const auto [entry, is_new] = known.try_emplace(call);
  if (is_new) entry->second = source_lines(place);
  if (entry->second.empty()) return fmt::format("{}+{:#x}", file_name(place.module), place.from_base);
  return entry->second;
}

std::string function_name(const void* code) {
  const Place place = place_of(reinterpret_cast<std::uintptr_t>(code));
  const std::vector<std::string> lines = addr2line("-f -C", place);
  return lines.empty() ? fmt::format("{}+{:#x}", file_name(place.module), place.from_base) : lines.front();
}

}  // namespace occam::simt
