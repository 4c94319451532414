// The memory of the emulated device and its shadow. Global memory is one range of addresses, and so is the
// shared memory of the block that runs; both have, for each 4-byte word, a state byte (which of its bytes
// exist and which were written) and a cell (who touched it last, and when). Private to the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace occam::simt {

inline constexpr int kMaskBits = 4, kAtomicBits = 1, kThreadBits = 10, kClockBits = 22, kSerialBits = 27;
static_assert(kMaskBits + kAtomicBits + kThreadBits + kClockBits + kSerialBits == 64);

enum class Access : std::uint8_t { read, write, atomic };

namespace memory {

// A stamp of the block that runs: its serial number, clock, thread, atomic or not, bytes of the word.
std::uint64_t stamp(std::uint32_t clock, std::uint32_t thread);

void open_launch(std::uint64_t blocks);
// Fresh shared memory of `bytes`, poisoned, for the next block.
void open_block(std::size_t bytes);
unsigned char* shared_base();
bool is_shared(const void* address);
bool is_global(const void* address);

// The running thread accesses `bytes` at `address`: bounds, initialisation, races, order of streams. Does
// nothing outside of kernels.
void check(std::uintptr_t address, std::size_t bytes, Access access, std::uintptr_t return_address);
// Forgets that these bytes of shared memory were written: a copy to them is in flight.
void forget_shared(std::uintptr_t address, std::size_t bytes);

// ---- for the host's calls ---------------------------------------------------------------------------------
inline constexpr std::size_t kDeviceBytes = std::size_t{8} << 30;
void* allocate(const char* name, std::size_t count, std::size_t element_bytes);  // throws a device error
void release(void* address);        // throws for what is no buffer
std::size_t allocated();            // bytes
void set_limit(std::size_t bytes);  // pretend memory of the device
std::size_t limit();
// The present piece of work, `what`, uses the range. Throws Violation unless it lies in one live buffer, the
// order of streams allows it and, if asked, every byte was written.
void require_range(const void* address, std::size_t bytes, Access access, const char* what,
                   bool initialised = false);
void mark_written(void* address, std::size_t bytes);
// Copies the written-or-not state along with a copy on the device.
void copy_state(void* to, const void* from, std::size_t bytes);

}  // namespace memory

std::string describe_address(std::uintptr_t address);

}  // namespace occam::simt
