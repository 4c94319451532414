// What kernels do to memory through calls: shared<Layout>(), asynchronous copies, atomics.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "simt/executor/memory.hpp"
#include "simt/executor/state.hpp"

namespace occam::simt {
namespace {

void land(Copy& copy) {
  if (!copy.landed) std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
  copy.landed = true;
}

// Both ends of a copy, as accesses of the running thread.
void check_ends(const Copy& copy, std::uintptr_t return_address) {
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  memory::check(reinterpret_cast<std::uintptr_t>(copy.from), bytes, Access::read, return_address);
  memory::check(reinterpret_cast<std::uintptr_t>(copy.to), bytes, Access::write, return_address);
}

std::uint64_t load(const void* address, std::size_t bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, address, bytes);
  return value;
}

std::int64_t as_signed(std::uint64_t value, std::size_t bytes) {
  return bytes == 4 ? static_cast<std::int32_t>(value) : static_cast<std::int64_t>(value);
}

}  // namespace

void* shared_memory(std::size_t layout_bytes, Where where) {
  const std::size_t given = state.launch->shared_bytes;
  if (layout_bytes > given) {
    violate([&] {
      return fmt::format("out of bounds: the layout at {} needs {} B of shared memory, the launch gives {}",
                         describe(where), layout_bytes, given);
    });
  }
  return memory::shared_base();
}

void start_copy(void* shared_memory, const void* global, int bytes, Where where) {
  Thread& me = *current;
  const auto to = reinterpret_cast<std::uintptr_t>(shared_memory),
             from = reinterpret_cast<std::uintptr_t>(global);
  if (!memory::is_shared(shared_memory) || !memory::is_global(global)) {
    violate([&] {
      return fmt::format(
          "asynchronous copy of {} at {} goes from {} to {}; it can only go from global to shared memory",
          describe(me), describe(where), describe_address(from), describe_address(to));
    });
  }
  if ((to | from) % static_cast<std::uintptr_t>(bytes) != 0) {
    violate([&] {
      return fmt::format("misaligned: asynchronous copy of {} B by {} at {} from {} to {}", bytes,
                         describe(me), describe(where), describe_address(from), describe_address(to));
    });
  }
  me.copies.push_back({static_cast<unsigned char*>(shared_memory), static_cast<const unsigned char*>(global),
                       bytes, -1, false, where});
  check_ends(me.copies.back(), reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  memory::forget_shared(to, static_cast<std::size_t>(bytes));
}

void commit_copies() {
  Thread& me = *current;
  for (Copy& copy : me.copies) {
    if (copy.group < 0) copy.group = me.group;
  }
  ++me.group;
}

void wait_copies(int pending, Where where) {
  Thread& me = *current;
  if (skipped(where)) return;
  const auto return_address = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  std::size_t left = 0;
  for (Copy& copy : me.copies) {
    if (copy.group >= 0 && copy.group < me.group - pending) {
      land(copy);
      check_ends(copy, return_address);
    } else {
      me.copies[left++] = copy;
    }
  }
  me.copies.erase(me.copies.begin() + static_cast<std::ptrdiff_t>(left), me.copies.end());
}

void land_some_copies(Thread& thread) {
  for (Copy& copy : thread.copies) {
    if (!copy.landed && state.random.next() >> 63 == 0) land(copy);
  }
}

std::uint64_t atomic_access(AtomicOperation operation, void* address, std::size_t bytes, bool is_signed,
                            std::uint64_t value, std::uint64_t compare, Where where) {
  const Thread& me = *current;
  const auto place = reinterpret_cast<std::uintptr_t>(address);
  if (place % bytes != 0) {
    violate([&] {
      return fmt::format("misaligned: atomic of {} B by {} at {} on {}", bytes, describe(me), describe(where),
                         describe_address(place));
    });
  }
  memory::check(place, bytes, Access::atomic, reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  const std::uint64_t old = load(address, bytes);
  const bool less = is_signed ? as_signed(value, bytes) < as_signed(old, bytes) : value < old;
  std::uint64_t result = old;
  switch (operation) {
    case AtomicOperation::add: result = old + value; break;
    case AtomicOperation::subtract: result = old - value; break;
    case AtomicOperation::exchange: result = value; break;
    case AtomicOperation::min: result = less ? value : old; break;
    case AtomicOperation::max: result = less ? old : value; break;
    case AtomicOperation::bit_and: result = old & value; break;
    case AtomicOperation::bit_or: result = old | value; break;
    case AtomicOperation::bit_xor: result = old ^ value; break;
    case AtomicOperation::compare_exchange: result = old == compare ? value : old; break;
  }
  std::memcpy(address, &result, bytes);
  return old;
}

}  // namespace occam::simt
