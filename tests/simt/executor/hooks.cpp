// What -fsanitize=thread,alignment,bounds,... makes the compiler call. The sanitizers' own libraries are not
// linked: these few functions are all there is. A hook sees the return address of the access, which a message
// turns into a source line.
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "simt/executor/memory.hpp"
#include "simt/executor/state.hpp"

namespace {

using occam::simt::Access;

#define OCCAM_RETURN_ADDRESS reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))

inline void look(const volatile void* address, std::size_t bytes, Access access,
                 std::uintptr_t return_address) {
  if (occam::simt::current == nullptr) return;
  occam::simt::memory::check(reinterpret_cast<std::uintptr_t>(address), bytes, access, return_address);
}

// The layouts that the compiler passes to __ubsan_handle_*.
struct SourceLocation {
  const char* file;
  std::uint32_t line, column;
};
struct TypeDescriptor {
  std::uint16_t kind, info;
  char name[1];
};
struct TypeMismatch {
  SourceLocation location;
  const TypeDescriptor* type;
  unsigned char log_alignment, check_kind;
};
struct OutOfBounds {
  SourceLocation location;
  const TypeDescriptor *array, *index;
};
struct Arithmetic {
  SourceLocation location;
  const TypeDescriptor* type;
};

// In host code of the same translation unit it is a bug as well, but there is no kernel to abandon.
template <class Words>
[[noreturn]] void broken(const SourceLocation& location, Words&& words) {
  const auto place = [&] {
    const std::string_view path = location.file;
    return fmt::format("{}:{}", path.substr(path.rfind('/') + 1), location.line);
  };
  if (occam::simt::current == nullptr) {
    std::fputs(fmt::format("host code at {}: {}\n", place(), words()).c_str(), stderr);
    std::abort();
  }
  const occam::simt::Thread& me = *occam::simt::current;
  occam::simt::violate([&] { return fmt::format("{}: {} at {}", words(), describe(me), place()); });
}

// Types are quoted by the compiler: 'float4'.
const char* name(const TypeDescriptor* type) { return type->name; }

}  // namespace

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define OCCAM_PLAIN(bytes)                                                                               \
  void __tsan_read##bytes(void* address) { look(address, bytes, Access::read, OCCAM_RETURN_ADDRESS); }   \
  void __tsan_write##bytes(void* address) { look(address, bytes, Access::write, OCCAM_RETURN_ADDRESS); } \
  void __tsan_unaligned_read##bytes(void* address) {                                                     \
    look(address, bytes, Access::read, OCCAM_RETURN_ADDRESS);                                            \
  }                                                                                                      \
  void __tsan_unaligned_write##bytes(void* address) {                                                    \
    look(address, bytes, Access::write, OCCAM_RETURN_ADDRESS);                                           \
  }                                                                                                      \
  void __tsan_volatile_read##bytes(void* address) {                                                      \
    look(address, bytes, Access::read, OCCAM_RETURN_ADDRESS);                                            \
  }                                                                                                      \
  void __tsan_volatile_write##bytes(void* address) {                                                     \
    look(address, bytes, Access::write, OCCAM_RETURN_ADDRESS);                                           \
  }
OCCAM_PLAIN(1)
OCCAM_PLAIN(2)
OCCAM_PLAIN(4)
OCCAM_PLAIN(8)
OCCAM_PLAIN(16)
#undef OCCAM_PLAIN

void __tsan_read_range(void* address, std::size_t bytes) {
  look(address, bytes, Access::read, OCCAM_RETURN_ADDRESS);
}
void __tsan_write_range(void* address, std::size_t bytes) {
  look(address, bytes, Access::write, OCCAM_RETURN_ADDRESS);
}

// Atomics of the host's own code (reference counts, guards of local statics); kernels use device.hpp's.
#define OCCAM_FETCH(bits, type, name, builtin)                                 \
  type __tsan_atomic##bits##_##name(volatile type* address, type value, int) { \
    look(address, sizeof(type), Access::atomic, OCCAM_RETURN_ADDRESS);         \
    return builtin(address, value, __ATOMIC_SEQ_CST);                          \
  }
#define OCCAM_COMPARE(bits, type, name, weak)                                                                \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile type* address, type* expected, type value, int, \
                                                    int) {                                                   \
    look(address, sizeof(type), Access::atomic, OCCAM_RETURN_ADDRESS);                                       \
    return __atomic_compare_exchange_n(address, expected, value, weak, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }
#define OCCAM_ATOMICS(bits, type)                                             \
  type __tsan_atomic##bits##_load(const volatile type* address, int) {        \
    look(address, sizeof(type), Access::atomic, OCCAM_RETURN_ADDRESS);        \
    return __atomic_load_n(address, __ATOMIC_SEQ_CST);                        \
  }                                                                           \
  void __tsan_atomic##bits##_store(volatile type* address, type value, int) { \
    look(address, sizeof(type), Access::atomic, OCCAM_RETURN_ADDRESS);        \
    __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                       \
  }                                                                           \
  OCCAM_FETCH(bits, type, exchange, __atomic_exchange_n)                      \
  OCCAM_FETCH(bits, type, fetch_add, __atomic_fetch_add)                      \
  OCCAM_FETCH(bits, type, fetch_sub, __atomic_fetch_sub)                      \
  OCCAM_FETCH(bits, type, fetch_and, __atomic_fetch_and)                      \
  OCCAM_FETCH(bits, type, fetch_or, __atomic_fetch_or)                        \
  OCCAM_FETCH(bits, type, fetch_xor, __atomic_fetch_xor)                      \
  OCCAM_COMPARE(bits, type, strong, false)                                    \
  OCCAM_COMPARE(bits, type, weak, true)
OCCAM_ATOMICS(8, unsigned char)
OCCAM_ATOMICS(16, unsigned short)
OCCAM_ATOMICS(32, unsigned)
OCCAM_ATOMICS(64, unsigned long)
#undef OCCAM_ATOMICS
#undef OCCAM_COMPARE
#undef OCCAM_FETCH
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}

void __ubsan_handle_type_mismatch_v1(TypeMismatch* data, std::uintptr_t address) {
  broken(data->location, [&] {
    return fmt::format("misaligned: address {:#x} of a {} is no multiple of {}", address, name(data->type),
                       1u << data->log_alignment);
  });
}
void __ubsan_handle_out_of_bounds(OutOfBounds* data, std::uintptr_t index) {
  broken(data->location, [&] {
    return fmt::format("out of bounds: index {} of an array of type {}", static_cast<std::intptr_t>(index),
                       name(data->array));
  });
}
#define OCCAM_OVERFLOW(operation)                                                                       \
  void __ubsan_handle_##operation##_overflow(Arithmetic* data, std::uintptr_t, std::uintptr_t) {        \
    broken(data->location,                                                                              \
           [&] { return fmt::format("signed overflow in a {} of {}", #operation, name(data->type)); }); \
  }
OCCAM_OVERFLOW(add)
OCCAM_OVERFLOW(sub)
OCCAM_OVERFLOW(mul)
#undef OCCAM_OVERFLOW
void __ubsan_handle_negate_overflow(Arithmetic* data, std::uintptr_t) {
  broken(data->location,
         [&] { return fmt::format("signed overflow in a negation of {}", name(data->type)); });
}
void __ubsan_handle_divrem_overflow(Arithmetic* data, std::uintptr_t, std::uintptr_t) {
  broken(data->location,
         [&] { return fmt::format("division by zero or overflow in a division of {}", name(data->type)); });
}
void __ubsan_handle_shift_out_of_bounds(Arithmetic* data, std::uintptr_t, std::uintptr_t count) {
  broken(data->location, [&] {
    return fmt::format("shift of {} by {}", name(data->type), static_cast<std::intptr_t>(count));
  });
}

}  // extern "C"
