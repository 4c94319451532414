// Every access of a kernel comes through check(): bounds, initialisation, races; order of streams (order.hpp).
#include <link.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "simt/executor/memory.hpp"
#include "simt/executor/order.hpp"
#include "simt/executor/shadow.hpp"
#include "simt/executor/state.hpp"

namespace occam::simt {
namespace {

constexpr int kThreadShift = kMaskBits + kAtomicBits, kClockShift = kThreadShift + kThreadBits,
              kSerialShift = kClockShift + kClockBits;
constexpr std::uint64_t kAtomic = 1u << kMaskBits, kAllBytes = 15;

std::uint32_t thread_of(std::uint64_t stamp) { return stamp >> kThreadShift & ((1u << kThreadBits) - 1); }
std::uint32_t clock_of(std::uint64_t stamp) { return stamp >> kClockShift & ((1u << kClockBits) - 1); }

// Places are stored relative to this function: kernels and executor lie in one module.
std::uintptr_t anchor() { return reinterpret_cast<std::uintptr_t>(&memory::check); }

enum class Relation { ordered, race_in_block, race_of_blocks };

// How an earlier access relates to the present one of `me`.
inline Relation relation(std::uint64_t earlier, std::uint64_t now, const Thread& me, bool is_shared) {
  const std::uint64_t difference = earlier ^ now;
  if ((earlier & now & kAllBytes) == 0 || (earlier & now & kAtomic) != 0) return Relation::ordered;
  if (difference >> kSerialShift != 0) {
    return is_shared || earlier >> kSerialShift < shadow.first_serial ? Relation::ordered
                                                                      : Relation::race_of_blocks;
  }
  const std::uint32_t other = thread_of(earlier), clock = clock_of(earlier);
  if (other == me.index || clock < state.base_clock) return Relation::ordered;
  if (clock < state.warp_clock[me.warp()][other / 32]) return Relation::ordered;
  if (other / 32 == me.warp() && clock < me.lane_clock[other % 32]) return Relation::ordered;
  return Relation::race_in_block;
}

const char* verb(Access access) {
  return access == Access::read ? "reads" : access == Access::write ? "writes" : "atomically updates";
}

[[noreturn, gnu::noinline, gnu::cold]] void report_race(Relation kind, std::uint64_t earlier,
                                                        std::int32_t place, bool earlier_writes,
                                                        const Thread& me, Access access,
                                                        std::uintptr_t address,
                                                        std::uintptr_t return_address) {
  const char* earlier_verb = !earlier_writes            ? "reads"
                             : (earlier & kAtomic) != 0 ? "atomically updates"
                                                        : "writes";
  const std::string who =
      kind == Relation::race_of_blocks ? "another block" : describe(state.thread[thread_of(earlier)]);
  violate([&] {
    return fmt::format("race on {}: {} {} it at {}, {} {} it at {}, and nothing orders the two",
                       describe_address(address), describe(me), verb(access), describe_code(return_address),
                       who, earlier_verb, describe_code(anchor() + static_cast<std::intptr_t>(place)));
  });
}

[[noreturn, gnu::noinline, gnu::cold]] void report_state(std::uintptr_t address, std::size_t bytes,
                                                         bool exists, const Thread& me, Access access,
                                                         std::uintptr_t return_address) {
  if (!exists) {
    violate([&] {
      return fmt::format("out of bounds: {} {} {} at {}", describe(me), verb(access),
                         describe_address(address), describe_code(return_address));
    });
  }
  for (std::uint32_t i = 0; i < state.threads; ++i) {
    for (const Copy& copy : state.thread[i].copies) {
      const auto to = reinterpret_cast<std::uintptr_t>(copy.to);
      if (address + bytes <= to || address >= to + static_cast<std::size_t>(copy.bytes)) continue;
      violate([&] {
        return fmt::format(
            "asynchronous copy in flight: {} {} {} at {}, but the copy that {} issued at {} has not been "
            "waited for",
            describe(me), verb(access), describe_address(address), describe_code(return_address),
            describe(state.thread[i]), describe(copy.where));
      });
    }
  }
  violate([&] {
    return fmt::format("uninitialised: {} {} {} at {}, which nobody wrote", describe(me), verb(access),
                       describe_address(address), describe_code(return_address));
  });
}

template <bool is_shared>
inline void check_word(const Region& region, std::size_t word, unsigned mask, Access access, const Thread& me,
                       std::uintptr_t return_address) {
  const std::uintptr_t address = region.base + word * 4;
  std::uint8_t& state_byte = region.word_state[word];
  const unsigned needed = access == Access::write ? mask : mask | mask << 4;
  if ((state_byte & needed) != needed) [[unlikely]] {
    const unsigned missing = ~static_cast<unsigned>(state_byte) & needed;
    const bool exists = (missing & 15) == 0;
    const unsigned first = static_cast<unsigned>(__builtin_ctz(exists ? missing >> 4 : missing));
    report_state(address + first, 1, exists, me, access, return_address);
  }
  Cell& cell = region.cell[word];
  const std::uint64_t now = me.stamp | mask | (access == Access::atomic ? kAtomic : 0);
  const auto place = static_cast<std::int32_t>(return_address - anchor());
  const auto verify = [&](std::uint64_t earlier, std::int32_t earlier_place, bool earlier_writes) {
    if (earlier == 0) return;
    const Relation kind = relation(earlier, now, me, is_shared);
    if (kind != Relation::ordered) [[unlikely]] {
      report_race(kind, earlier, earlier_place, earlier_writes, me, access, address, return_address);
    }
  };
  if (access == Access::read) {
    if (cell.read[0] == now || cell.read[1] == now) return;
    verify(cell.write, cell.write_place, true);
    const std::uint64_t first = cell.read[0];
    const bool same_block = (first ^ now) >> kSerialShift == 0;
    // The first slot is free when it is ours or ordered before us; else it stays and the second slot is ours.
    const bool free = same_block ? thread_of(first) == me.index || clock_of(first) < state.base_clock
                                 : is_shared || first >> kSerialShift < shadow.first_serial;
    const int slot = free ? 0 : 1;
    cell.read[slot] = now;
    cell.read_place[slot] = place;
    return;
  }
  state_byte = static_cast<std::uint8_t>(state_byte | mask << 4);
  verify(cell.write, cell.write_place, true);
  verify(cell.read[0], cell.read_place[0], false);
  verify(cell.read[1], cell.read_place[1], false);
  cell.write = now;
  cell.write_place = place;
  if (mask == kAllBytes && access == Access::write) cell.read[0] = cell.read[1] = 0;
}

template <bool is_shared>
inline void check_range(const Region& region, std::size_t offset, std::size_t bytes, Access access,
                        const Thread& me, std::uintptr_t return_address) {
  if (offset % 4 == 0 && bytes == 4) [[likely]] {
    check_word<is_shared>(region, offset / 4, 15, access, me, return_address);
    return;
  }
  while (bytes > 0) {
    const std::size_t in_word = std::min<std::size_t>(4 - offset % 4, bytes);
    const unsigned mask = ((1u << in_word) - 1) << (offset % 4);
    check_word<is_shared>(region, offset / 4, mask, access, me, return_address);
    offset += in_word;
    bytes -= in_word;
  }
}

// What the program may only read: code and constants of every loaded module.
bool is_constant(std::uintptr_t address) {
  using Ranges = std::vector<std::pair<std::uintptr_t, std::uintptr_t>>;
  static const Ranges ranges = [] {
    Ranges found;
    dl_iterate_phdr(
        [](dl_phdr_info* module, std::size_t, void* data) {
          for (int i = 0; i < module->dlpi_phnum; ++i) {
            const auto& header = module->dlpi_phdr[i];
            const bool fixed =
                header.p_type == PT_GNU_RELRO || (header.p_type == PT_LOAD && !(header.p_flags & PF_W));
            const std::uintptr_t first = module->dlpi_addr + header.p_vaddr;
            if (fixed) static_cast<Ranges*>(data)->emplace_back(first, first + header.p_memsz);
          }
          return 0;
        },
        &found);
    return found;
  }();
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const auto& range) { return address >= range.first && address < range.second; });
}

[[gnu::noinline]] void check_elsewhere(std::uintptr_t address, std::size_t bytes, Access access,
                                       const Thread& me, std::uintptr_t return_address) {
  const auto argument = reinterpret_cast<std::uintptr_t>(state.argument);
  if (access == Access::read && address >= argument && address + bytes <= argument + state.argument_bytes)
    return;
  if (access == Access::read && is_constant(address)) return;
  for (std::uint32_t i = 0; i < state.threads; ++i) {
    const Thread& other = state.thread[i];
    if (address >= reinterpret_cast<std::uintptr_t>(other.stack_low) &&
        address < reinterpret_cast<std::uintptr_t>(other.stack_high)) {
      violate([&] {
        return fmt::format("out of bounds: {} {} a local variable of {} at {}", describe(me), verb(access),
                           describe(other), describe_code(return_address));
      });
    }
  }
  violate([&] {
    return fmt::format("out of bounds: {} {} {}, which is not device memory, at {}", describe(me),
                       verb(access), describe_address(address), describe_code(return_address));
  });
}

}  // namespace

void memory::check(std::uintptr_t address, std::size_t bytes, Access access, std::uintptr_t return_address) {
  if (!kChecked) return;
  const Thread* me = current;
  if (me == nullptr) return;
  ++state.statistics.accesses;
  if (shadow.shared.holds(address)) {
    check_range<true>(shadow.shared, address - shadow.shared.base, bytes, access, *me, return_address);
  } else if (shadow.global.holds(address)) {
    order::see(address - shadow.global.base, access, return_address);
    check_range<false>(shadow.global, address - shadow.global.base, bytes, access, *me, return_address);
  } else if (address - reinterpret_cast<std::uintptr_t>(me->stack_low) >=
             static_cast<std::uintptr_t>(me->stack_high - me->stack_low)) {
    check_elsewhere(address, bytes, access, *me, return_address);
  }
}

}  // namespace occam::simt
