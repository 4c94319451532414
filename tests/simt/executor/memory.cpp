#include "simt/executor/memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "occam/error.hpp"
#include "simt/executor/order.hpp"
#include "simt/executor/shadow.hpp"
#include "simt/executor/state.hpp"

namespace occam::simt {

Shadow shadow;

namespace {

constexpr std::size_t kRedzone = 1024;  // bytes around every buffer and both sides of shared memory
constexpr std::size_t kSharedMargin =
    64 * 1024;                           // more there: an index that is off by rows is caught as well
constexpr unsigned char kPoison = 0xFF;  // a NaN, or −1

struct Buffer {
  const char* name;
  std::size_t bytes;
  std::uint64_t number;  // of its allocation
  bool live;
};
std::map<std::uintptr_t, Buffer> buffers;  // by address; released ones stay until their place is needed
std::uint64_t allocations = 0;
std::size_t live_bytes = 0, memory_limit = memory::kDeviceBytes;
std::uintptr_t frontier = 0;  // nothing was allocated at or beyond it

unsigned char* reserve(std::size_t bytes) {
  void* memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    fail(ErrorKind::device,
         "simt: the system refuses {} bytes of address space (ulimit -v, vm.overcommit_memory)", bytes);
  }
  return static_cast<unsigned char*>(memory);
}

void reserve_region(Region& region, std::size_t bytes) {
  region.bytes = bytes;
  region.base = reinterpret_cast<std::uintptr_t>(reserve(bytes));
  if (!kChecked) return;
  region.word_state = reserve(bytes / 4);
  region.cell = reinterpret_cast<Cell*>(reserve(bytes / 4 * sizeof(Cell)));
}

struct Reserve {
  Reserve() {
    reserve_region(shadow.shared, kSharedLimit + 2 * kSharedMargin);
    reserve_region(shadow.global, 2 * memory::kDeviceBytes);
    frontier = shadow.global.base + kRedzone;
    if (!kChecked) return;
    order::start(reinterpret_cast<std::uint32_t*>(
        reserve(shadow.global.bytes / order::kLine * sizeof(std::uint32_t))));
  }
} reserve_all;

void forget_stamps(Region& region, std::size_t used) {
  if (kChecked) madvise(region.cell, used / 4 * sizeof(Cell), MADV_DONTNEED);
}

// State bits of a byte range. `bits` are those of one byte: 1 exists, 16 written.
void set_state(const Region& region, std::uintptr_t address, std::size_t bytes, unsigned bits, bool value) {
  std::size_t offset = address - region.base;
  const std::size_t end = offset + bytes;
  for (; offset < end && offset % 4 != 0; ++offset) region.set(offset, bits, value);
  const unsigned whole = bits * 15;
  for (; offset + 4 <= end; offset += 4) {
    std::uint8_t& state_byte = region.word_state[offset / 4];
    state_byte = static_cast<std::uint8_t>(value ? state_byte | whole : state_byte & ~whole);
  }
  for (; offset < end; ++offset) region.set(offset, bits, value);
}

std::uintptr_t end_of(const std::pair<const std::uintptr_t, Buffer>& entry) {
  return (entry.first + entry.second.bytes + kRedzone + 255) / 256 * 256;
}

// First place of that size between live buffers; the released ones there are forgotten.
std::uintptr_t find_place(std::size_t bytes) {
  const std::uintptr_t last = shadow.global.base + shadow.global.bytes - kRedzone;
  std::uintptr_t place = (frontier + 255) / 256 * 256;
  if (bytes + kRedzone <= last - place) return place;
  place = shadow.global.base + kRedzone;
  for (auto entry = buffers.begin(); entry != buffers.end();) {
    if (!entry->second.live) {
      entry = buffers.erase(entry);
      continue;
    }
    if (entry->first >= place + bytes + kRedzone) return place;
    place = end_of(*entry);
    ++entry;
  }
  if (bytes + kRedzone <= last - place) return place;
  fail(ErrorKind::device, "simt: the emulated device memory is fragmented: no room for {} bytes", bytes);
}

// The buffer that holds or precedes the address, or the end.
auto buffer_before(std::uintptr_t address) {
  auto entry = buffers.upper_bound(address);
  return entry == buffers.begin() ? buffers.end() : std::prev(entry);
}

}  // namespace

namespace memory {

std::uint64_t stamp(std::uint32_t clock, std::uint32_t thread) {
  return shadow.serial << (64 - kSerialBits) |
         static_cast<std::uint64_t>(clock) << (kMaskBits + kAtomicBits + kThreadBits) |
         static_cast<std::uint64_t>(thread) << (kMaskBits + kAtomicBits);
}

void open_launch(std::uint64_t blocks) {
  constexpr std::uint64_t most = (std::uint64_t{1} << kSerialBits) - 1;
  if (blocks >= most)
    fail(ErrorKind::device, "simt: {} blocks in a launch, at most {} can be told apart", blocks, most - 1);
  if (shadow.serial + blocks > most) {
    forget_stamps(shadow.shared, shadow.shared.bytes);
    forget_stamps(shadow.global, frontier - shadow.global.base);
    shadow.serial = 0;
  }
  shadow.first_serial = shadow.serial + 1;
}

void open_block(std::size_t bytes) {
  ++shadow.serial;
  const std::uintptr_t base = shadow.shared.base + kSharedMargin;
  std::memset(shared_base(), kPoison, bytes);
  if (!kChecked) return;
  set_state(shadow.shared, base, shadow.shared_bytes, 17, false);
  set_state(shadow.shared, base, bytes, 1, true);
  shadow.shared_bytes = bytes;
}

unsigned char* shared_base() { return reinterpret_cast<unsigned char*>(shadow.shared.base + kSharedMargin); }
bool is_shared(const void* address) { return shadow.shared.holds(reinterpret_cast<std::uintptr_t>(address)); }
bool is_global(const void* address) { return shadow.global.holds(reinterpret_cast<std::uintptr_t>(address)); }

void forget_shared(std::uintptr_t address, std::size_t bytes) {
  if (kChecked) set_state(shadow.shared, address, bytes, 16, false);
}

void* allocate(const char* name, std::size_t count, std::size_t element_bytes) {
  const std::size_t bytes = count * element_bytes;
  if (count > kDeviceBytes / element_bytes || bytes > memory_limit - std::min(memory_limit, live_bytes)) {
    fail(ErrorKind::device, "{}: out of device memory: {} elements of {} B asked for, {} of {} B are free",
         name, count, element_bytes, memory_limit - std::min(memory_limit, live_bytes), memory_limit);
  }
  const std::uintptr_t place = find_place(bytes);
  const auto entry = buffers.insert_or_assign(place, Buffer{name, bytes, ++allocations, true}).first;
  frontier = std::max(frontier, end_of(*entry));
  live_bytes += bytes;
  std::memset(reinterpret_cast<void*>(place), kPoison, bytes);
  if (kChecked) {
    set_state(shadow.global, place, bytes, 16, false);
    set_state(shadow.global, place, bytes, 1, true);
    order::open_buffer(place - shadow.global.base, bytes);
  }
  return reinterpret_cast<void*>(place);
}

void release(void* address) {
  const std::uintptr_t place = reinterpret_cast<std::uintptr_t>(address);
  const auto entry = buffers.find(place);
  if (entry == buffers.end() || !entry->second.live) {
    throw Violation(fmt::format("release of {}, which is no live buffer", describe_address(place)));
  }
  entry->second.live = false;
  live_bytes -= entry->second.bytes;
  if (kChecked) {
    set_state(shadow.global, place, entry->second.bytes, 17, false);
    order::close_buffer(place - shadow.global.base, entry->second.bytes);
  }
  const std::uintptr_t first = (place + 4095) / 4096 * 4096,
                       last = (place + entry->second.bytes) / 4096 * 4096;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

std::size_t allocated() { return live_bytes; }
void set_limit(std::size_t bytes) { memory_limit = std::min(bytes, kDeviceBytes); }
std::size_t limit() { return memory_limit; }

void require_range(const void* address, std::size_t bytes, Access access, const char* what,
                   bool initialised) {
  if (bytes == 0) return;
  const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(address);
  const auto entry = buffer_before(first);
  if (entry == buffers.end() || !entry->second.live || first + bytes > entry->first + entry->second.bytes) {
    throw Violation(
        fmt::format("{} of {} bytes at {} is outside of every buffer", what, bytes, describe_address(first)));
  }
  if (!kChecked) return;
  order::see(first - shadow.global.base, access, 0);
  if (!initialised) return;
  for (std::uintptr_t byte = first; byte < first + bytes; ++byte) {
    if (byte % 4 == 0 && first + bytes - byte >= 4) {  // a word at a time
      if (shadow.global.word_state[(byte - shadow.global.base) / 4] == 0xFF) {
        byte += 3;
        continue;
      }
    }
    if (!shadow.global.get(byte - shadow.global.base, 16)) {
      throw Violation(
          fmt::format("{} of {} bytes: {} was never written", what, bytes, describe_address(byte)));
    }
  }
}

void mark_written(void* address, std::size_t bytes) {
  if (kChecked) set_state(shadow.global, reinterpret_cast<std::uintptr_t>(address), bytes, 16, true);
}

void copy_state(void* to, const void* from, std::size_t bytes) {
  if (!kChecked) return;
  const std::size_t target = reinterpret_cast<std::uintptr_t>(to) - shadow.global.base;
  const std::size_t source = reinterpret_cast<std::uintptr_t>(from) - shadow.global.base;
  for (std::size_t i = 0; i < bytes; ++i)
    shadow.global.set(target + i, 16, shadow.global.get(source + i, 16));
}

}  // namespace memory

std::string describe_address(std::uintptr_t address) {
  if (shadow.shared.holds(address)) {
    const auto offset = static_cast<std::ptrdiff_t>(address - (shadow.shared.base + kSharedMargin));
    return fmt::format("byte {} of the block's {} B of shared memory", offset, state.launch->shared_bytes);
  }
  if (!shadow.global.holds(address)) return fmt::format("host address {:#x}", address);
  auto entry = buffer_before(address);
  const auto next = buffers.upper_bound(address);
  const bool before_next =
      next != buffers.end() && next->first - address <= kRedzone &&
      (entry == buffers.end() || address >= entry->first + entry->second.bytes) &&
      (entry == buffers.end() || address - (entry->first + entry->second.bytes) > next->first - address);
  if (before_next) entry = next;
  if (entry == buffers.end()) return fmt::format("device address {:#x}, in no buffer", address);
  return fmt::format(
      "byte {} of {}buffer '{}' ({} B, allocation {})", static_cast<std::ptrdiff_t>(address - entry->first),
      entry->second.live ? "" : "released ", entry->second.name, entry->second.bytes, entry->second.number);
}

}  // namespace occam::simt
