// Words for messages: threads, call sites, and the source lines behind return addresses (asked of addr2line, which comes
// with the compiler, and only when something went wrong).
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

// "tile.cuh:41 < train.cu:120": the innermost line that is not the executor's own, then the lines it was inlined into.
std::string source_lines(const char* module, std::uintptr_t offset) {
  const std::string command = fmt::format("addr2line -i -e '{}' {:#x} 2>/dev/null", module, offset);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe{popen(command.c_str(), "r"), pclose};
  std::string text;
  char buffer[1024];
  while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe.get()) != nullptr) {
    std::string_view line = buffer;
    line = file_name(line.substr(0, line.find_first_of(" \n")));
    const std::string_view file = line.substr(0, line.find(':'));
    if (file == "??" || file == "device.hpp" || file == "device_types.hpp" || file == "tuple" || file == "invoke.h") continue;
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
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(call), &info) == 0) return fmt::format("{:#x}", call);
  const auto base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  const bool fixed = static_cast<const ElfW(Ehdr)*>(info.dli_fbase)->e_type == ET_EXEC;
  static std::map<std::uintptr_t, std::string> known;  // addr2line reads all debug information: tens of milliseconds
  const auto [entry, is_new] = known.try_emplace(call);
  if (is_new) entry->second = source_lines(info.dli_fname, fixed ? call : call - base);
  const std::string& lines = entry->second;
  return lines.empty() ? fmt::format("{}+{:#x}", file_name(info.dli_fname), call - base) : lines;
}

}  // namespace occam::simt
