// The SIMT executor: runs a kernel's blocks one after another and each CUDA thread of a block as a fiber, in
// a random order that a seed replays. This is what device.hpp calls from kernels and runtime_simt.cpp from the
// host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

namespace occam::cuda {
class Stream;
}

namespace occam::simt {

inline constexpr std::size_t kSharedLimit = 227 * 1024;  // bytes of one block, compute capability 9.0
inline constexpr int kMaximumThreads = 1024;             // of one block

using Where = std::source_location;

// A kernel broke a rule of the machine. The message names kernel, threads, source lines and the seed that
// replays it.
class Violation : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// ---- for the host -----------------------------------------------------------------------------------------

// Starts a new replayable sequence of thread and block orders. Without a call it is OCCAM_SIMT_SEED, or random.
void set_seed(std::uint64_t seed);
std::uint64_t seed();

// Whether kernels were compiled with access hooks (checked) or without (plain).
bool is_checked();

struct Statistics {
  std::uint64_t launches = 0, blocks = 0, switches = 0, accesses = 0;
};
const Statistics& statistics();

// The functions that were launched so far, by their C++ names: "occam::cuda::forward_kernel<…>(…)".
std::vector<std::string> launched_kernels();

// The call site of a barrier (__syncthreads and its kin, __syncwarp, named_barrier, copy_async_wait) to leave
// out, as "file.cu:line"; empty for none. Starts as OCCAM_SIMT_SKIP_BARRIER. Proves that the suite notices.
void skip_barrier(std::string site);

struct Extent {
  unsigned x = 1, y = 1, z = 1;
};
struct Launch {
  const char* name = "";
  Extent grid, block;
  std::size_t shared_bytes = 0;
  const void* kernel = nullptr;  // its code, for launched_kernels()
};

// Runs, or records when the stream is being captured, body(argument) for every thread; `argument` is copied.
// Throws Violation, also when another stream's work is not ordered before this.
void submit(cuda::Stream& stream, const Launch& launch, void (*body)(const void*), const void* argument,
            std::size_t bytes);

// Runs it now; throws Violation.
void run(const Launch& launch, void (*body)(const void*), const void* argument, std::size_t bytes);

// ---- for kernels ------------------------------------------------------------------------------------------

enum class BlockReduction { none, count, all, any };
int block_barrier(BlockReduction reduction, int predicate, Where where);
void named_barrier(int id, int threads, Where where);

enum class WarpOperation {
  sync,
  shuffle,
  ballot,
  any,
  all,
  add,
  min_signed,
  min_unsigned,
  max_signed,
  max_unsigned,
  bit_and,
  bit_or,
  bit_xor,
  exchange  // of a block of bytes per lane: the tensor-core operations below
};
// All lanes of `mask` meet; the result is this lane's. `source` is the lane that a shuffle reads.
std::uint64_t warp_collective(WarpOperation operation, unsigned mask, std::uint64_t value, unsigned source,
                              Where where);

// The tensor-core operations of kernels/tensor.cuh, which has the layouts. All 32 lanes of the warp meet.
void multiply_tf32(float (&sum)[4], const float (&a)[4], const float (&b)[2], Where where);
void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where);
// `count` 8 × 8 matrices of 16-bit elements; this lane's `row` is row lane % 8 of matrix lane / 8.
void load_matrices(std::uint32_t* fragment, int count, bool transposed, const void* row, Where where);

enum class AtomicOperation { add, subtract, exchange, min, max, bit_and, bit_or, bit_xor, compare_exchange };
std::uint64_t atomic_access(AtomicOperation operation, void* address, std::size_t bytes, bool is_signed,
                            std::uint64_t value, std::uint64_t compare, Where where);

void* shared_memory(std::size_t layout_bytes, Where where);

void start_copy(void* shared_memory, const void* global, int bytes, Where where);
void commit_copies();
void wait_copies(int pending, Where where);

}  // namespace occam::simt
