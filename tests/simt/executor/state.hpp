// The state of the launch that runs: its threads, their clocks and what they wait for. Private to the
// executor.
//
// Order of events ("happens-before"): each thread has a clock that advances at every synchronisation it takes
// part in.
//   block barrier   everything before it comes before everything after it: what is below `base_clock`
//   named barrier   between whole warps: warp_clock[reader's warp][writer's warp]
//   __syncwarp      between lanes: Thread::lane_clock[writer's lane]
// An access of thread u at clock c is ordered before thread t's present iff c is below one of these.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <set>
#include <string>
#include <vector>

#include <boost/context/detail/fcontext.hpp>

#include "simt/device_types.hpp"
#include "simt/executor.hpp"

namespace occam::simt {

#if defined(OCCAM_SIMT_CHECKED)
inline constexpr bool kChecked = true;
#else
inline constexpr bool kChecked = false;
#endif

inline constexpr int kWarps = kMaximumThreads / 32;

// An asynchronous copy between its issue and the wait that covers it. It lands (moves its bytes) at a random
// moment between.
struct Copy {
  unsigned char* to;
  const unsigned char* from;
  int bytes;
  int group;  // −1: not committed yet
  bool landed;
  Where where;
};

enum class Waiting : std::uint8_t { nothing, block_barrier, named_barrier, warp, exited };

struct Thread {
  boost::context::detail::fcontext_t context = nullptr;  // nullptr: the fiber has to be made
  std::uint64_t stamp =
      0;  // (block, clock, thread) as the shadow memory stores it, without mask and atomic bit
  std::uint32_t clock = 0;
  std::uint32_t index = 0;   // linear within the block
  uint3 position{};          // threadIdx
  std::uint64_t result = 0;  // of the collective it waits for
  Where where;               // where it waits
  Waiting waiting = Waiting::nothing;
  int group = 0;  // groups of copies committed so far
  unsigned char* stack_low = nullptr;
  unsigned char* stack_high = nullptr;
  std::array<std::uint32_t, 32> lane_clock{};
  std::vector<Copy> copies;

  unsigned lane() const { return index % 32; }
  unsigned warp() const { return index / 32; }
};

struct Collective;
// What becomes of the lanes' blocks when all have come; the last one does it for all.
using Exchange = void (*)(const Collective& collective);

struct Collective {
  unsigned mask = 0, arrived = 0;
  WarpOperation operation = WarpOperation::sync;
  Where where;
  std::array<std::uint64_t, 32> value;
  std::array<unsigned, 32> source;
  std::array<void*, 32> block;  // of an exchange: a structure on the lane's own stack
  Exchange exchange;
  std::uint32_t first_thread;  // lane 0's
};

struct Warp {
  unsigned present = 0, exited = 0;        // lanes
  unsigned open = 0;                       // slots of `collectives` in use
  std::array<Collective, 32> collectives;  // their masks are disjoint
};

struct BlockBarrier {
  unsigned waiting = 0;
  int count = 0, all = 1, any = 0;
  BlockReduction reduction = BlockReduction::none;
  Where where;
  std::uint32_t first = 0;  // the thread that came first
};

struct NamedBarrier {
  int threads = 0;  // expected; 0: nobody waits
  int waiting = 0;
  std::array<std::uint16_t, kMaximumThreads> thread;  // the first `waiting` are their indices
  Where where;
};

// Small and fast; the order of threads needs no better.
class Random {
 public:
  void start(std::uint64_t seed) { state_ = seed; }
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(((next() >> 32) * n) >> 32); }

 private:
  std::uint64_t state_ = 0;
};

struct State {
  const Launch* launch = nullptr;
  void (*body)(const void*) = nullptr;
  const void* argument = nullptr;
  std::size_t argument_bytes = 0;

  uint3 block{};
  std::uint32_t threads = 0, exited = 0;
  std::uint32_t base_clock = 0, last_clock = 0;  // of the last block barrier; the highest of any thread
  bool lanes_synced = false;                     // lane clocks are not all zero
  std::array<std::array<std::uint32_t, kWarps>, kWarps> warp_clock{};

  std::uint32_t runnable = 0;
  std::array<std::uint16_t, kMaximumThreads>
      ready;  // the first `runnable` are indices of threads that can go on
  std::array<Thread, kMaximumThreads> thread;
  Thread host;  // whoever called run()
  std::array<Warp, kWarps> warp;
  BlockBarrier barrier;
  std::array<NamedBarrier, 16> named;
  int barrier_result = 0;

  Random random;
  Statistics statistics;
  std::set<const void*> kernels;  // launched so far
  std::uint64_t seed = 0, launch_number = 0;
  std::string skip;       // barrier site to leave out
  std::string violation;  // set when a thread broke a rule
  std::exception_ptr exception;
};

extern State state;
// The CUDA thread that this host thread runs just now; nullptr outside of kernels and while a violation is
// described.
extern thread_local Thread* current __attribute__((tls_model("initial-exec")));

// ---- scheduling -------------------------------------------------------------------------------------------
void make_ready(Thread& thread);
// Lets another ready thread run until this one is made ready and picked again.
void wait_for(Waiting what, Where where);
// Sometimes lets another ready thread go first.
void maybe_yield();
[[noreturn]] void abandon_block(Thread& me, const std::string& what);
// The calling thread broke a rule, which `words` describes: abandons the block and makes run() throw. Words
// are made outside of the thread: the linker may have taken a library template from a translation unit with
// access hooks.
template <class Words>
[[noreturn]] void violate(Words&& words) {
  Thread& me = *current;
  current = nullptr;
  abandon_block(me, words());
}

// All 32 lanes of the warp meet with a block each; `exchange` reads and writes them all.
void warp_exchange(void* block, Exchange exchange, Where where);

void advance_clock(Thread& thread, std::uint32_t clock);
bool skipped(Where where);
// Lands some of the thread's copies by chance.
void land_some_copies(Thread& thread);

// ---- words for messages -----------------------------------------------------------------------------------
std::string describe(const Thread& thread);
std::string describe(Where where);
std::string describe_code(std::uintptr_t return_address);
std::string function_name(const void* code);

}  // namespace occam::simt
