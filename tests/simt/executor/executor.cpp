// Fibers and their schedule: run() and what moves from one CUDA thread to the next.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <random>

#include "occam/error.hpp"
#include "simt/executor/memory.hpp"
#include "simt/executor/state.hpp"

namespace occam::simt {

namespace fcontext = boost::context::detail;

State state;
thread_local Thread* current __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

constexpr std::size_t kStackBytes = 256 * 1024, kGuardBytes = 4096;
constexpr std::uint32_t kClockLimit = (1u << kClockBits) - 2048;
constexpr std::uint64_t kParameterLimit = 4096;  // bytes, what every CUDA toolkit accepts

std::mutex one_launch;  // the executor runs one kernel at a time
alignas(128) unsigned char parameters[kParameterLimit];

std::uint64_t seed_of_environment() {
  if (const char* text = std::getenv("OCCAM_SIMT_SEED")) return std::strtoull(text, nullptr, 0);
  return std::random_device{}();
}

std::string skip_of_environment() {
  const char* text = std::getenv("OCCAM_SIMT_SKIP_BARRIER");
  return text == nullptr ? "" : text;
}

struct Start {
  Start() {
    state.seed = seed_of_environment();
    state.skip = skip_of_environment();
    for (std::uint32_t i = 0; i < kMaximumThreads; ++i) state.thread[i].index = i;
  }
} start;

// Stacks lie in one range, each above a page that faults. Their tops differ in the cache set they fall into.
void give_stack(Thread& thread) {
  static unsigned char* const all = [] {
    void* memory = mmap(nullptr, kStackBytes * kMaximumThreads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
      fail(ErrorKind::device, "simt: no address space for {} stacks", kMaximumThreads);
    return static_cast<unsigned char*>(memory);
  }();
  thread.stack_low = all + kStackBytes * thread.index;
  mprotect(thread.stack_low, kGuardBytes, PROT_NONE);
  thread.stack_high = thread.stack_low + kStackBytes - 192 * (thread.index % 20);
}

// Completes a jump: the one who came here told us where it keeps its context.
void arrived(fcontext::transfer_t transfer) { static_cast<Thread*>(transfer.data)->context = transfer.fctx; }

void leave_kernel();

void fiber_main(fcontext::transfer_t transfer) {
  arrived(transfer);
  for (;;) {
    try {
      state.body(state.argument);
    } catch (...) {
      state.exception = std::current_exception();
    }
    leave_kernel();
  }
}

void jump_to(Thread& from, Thread& to) {
  if (to.context == nullptr) {
    if (to.stack_low == nullptr) give_stack(to);
    to.context = fcontext::make_fcontext(to.stack_high,
                                         static_cast<std::size_t>(to.stack_high - to.stack_low), fiber_main);
  }
  current = &to == &state.host ? nullptr : &to;
  ++state.statistics.switches;
  arrived(fcontext::jump_fcontext(to.context, &from));
}

// The next thread by chance, or the host when nobody can go on.
Thread& next_thread() {
  if (state.runnable == 0) return state.host;
  const std::uint32_t place = state.random.below(state.runnable);
  Thread& thread = state.thread[state.ready[place]];
  state.ready[place] = state.ready[--state.runnable];
  return thread;
}

void leave_kernel() {
  Thread& me = *current;
  if (state.exception) jump_to(me, state.host);
  if (!me.copies.empty()) {
    violate([&] {
      return fmt::format(
          "{} ends with an asynchronous copy in flight (issued at {}): copy_async_wait is missing",
          describe(me), describe(me.copies.front().where));
    });
  }
  if (state.barrier.waiting > 0) {
    violate([&] {
      return fmt::format("divergent barrier: {} ends while {} waits at {}", describe(me),
                         describe(state.thread[state.barrier.first]), describe(state.barrier.where));
    });
  }
  Warp& warp = state.warp[me.warp()];
  for (unsigned open = warp.open; open != 0; open &= open - 1) {
    const Collective& collective = warp.collectives[static_cast<unsigned>(__builtin_ctz(open))];
    if (collective.mask >> me.lane() & 1) {
      violate([&] {
        return fmt::format("{} ends, but the warp operation at {} names it in its mask {:#010x}",
                           describe(me), describe(collective.where), collective.mask);
      });
    }
  }
  warp.exited |= 1u << me.lane();
  me.waiting = Waiting::exited;
  ++state.exited;
  jump_to(me, next_thread());
}

std::string list_waiting() {
  std::string text;
  int listed = 0;
  for (std::uint32_t i = 0; i < state.threads && listed < 4; ++i) {
    const Thread& thread = state.thread[i];
    if (thread.waiting == Waiting::exited || thread.waiting == Waiting::nothing) continue;
    text += fmt::format("{}{} at {}", listed++ == 0 ? "" : "; ", describe(thread), describe(thread.where));
  }
  return text;
}

void start_threads(Extent block) {
  state.exited = 0;
  state.barrier = {};
  for (NamedBarrier& barrier : state.named) barrier.threads = barrier.waiting = 0;
  for (Warp& warp : state.warp) warp.present = warp.exited = warp.open = 0;
  for (auto& row : state.warp_clock) row.fill(0);
  const bool clear_lanes = std::exchange(state.lanes_synced, false);
  state.base_clock = state.last_clock = 1;
  for (std::uint32_t i = 0; i < state.threads; ++i) {
    Thread& thread = state.thread[i];
    thread.position = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    thread.waiting = Waiting::nothing;
    thread.group = 0;
    thread.copies.clear();
    if (clear_lanes) thread.lane_clock.fill(0);
    state.warp[i / 32].present |= 1u << (i % 32);
    state.ready[i] = static_cast<std::uint16_t>(i);
    advance_clock(thread, 1);
  }
  state.runnable = state.threads;
}

// After a violation no fiber is in a state to go on with: they are made anew. Kernels own nothing that leaks.
[[noreturn]] void abandon(std::string what) {
  for (Thread& thread : state.thread) thread.context = nullptr, thread.copies.clear();
  state.lanes_synced = true;
  if (state.exception) std::rethrow_exception(std::exchange(state.exception, nullptr));
  const Launch& launch = *state.launch;
  throw Violation(
      fmt::format("kernel {} <<<({}, {}, {}), ({}, {}, {}), {} B>>>, block ({}, {}, {}): {} "
                  "[OCCAM_SIMT_SEED={}, launch {}]",
                  launch.name, launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x, launch.block.y,
                  launch.block.z, launch.shared_bytes, state.block.x, state.block.y, state.block.z, what,
                  state.seed, state.launch_number));
}

void run_block(Extent block) {
  memory::open_block(state.launch->shared_bytes);
  start_threads(block);
  ++state.statistics.blocks;
  jump_to(state.host, next_thread());
  if (!state.violation.empty() || state.exception) abandon(std::exchange(state.violation, {}));
  if (state.exited < state.threads) {
    abandon(fmt::format("deadlock: {} of {} threads ended and the others wait for each other: {}",
                        state.exited, state.threads, list_waiting()));
  }
}

void validate(const Launch& launch, std::size_t bytes) {
  const Extent grid = launch.grid, block = launch.block;
  const std::uint64_t threads = static_cast<std::uint64_t>(block.x) * block.y * block.z;
  const auto refuse = [&](const std::string& what) {
    fail(ErrorKind::device, "launch of {} <<<({}, {}, {}), ({}, {}, {}), {} B>>>: {}", launch.name, grid.x,
         grid.y, grid.z, block.x, block.y, block.z, launch.shared_bytes, what);
  };
  if (threads == 0 || threads > kMaximumThreads || block.z > 64)
    refuse("a block has 1 to 1024 threads, at most 64 in z");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) {
    refuse("a grid has 1 to 2^31 - 1 blocks in x, 1 to 65535 in y and z");
  }
  if (launch.shared_bytes > kSharedLimit) refuse("more shared memory than the 232448 B of a block");
  if (bytes > kParameterLimit) refuse("more than 4096 B of parameters");
}

}  // namespace

void make_ready(Thread& thread) {
  thread.waiting = Waiting::nothing;
  state.ready[state.runnable++] = static_cast<std::uint16_t>(thread.index);
}

void wait_for(Waiting what, Where where) {
  Thread& me = *current;
  me.waiting = what;
  me.where = where;
  jump_to(me, next_thread());
}

void maybe_yield() {
  if (state.runnable == 0 || state.random.next() >> 63 == 0) return;
  Thread& me = *current;
  Thread& next = next_thread();
  make_ready(me);
  jump_to(me, next);
}

void abandon_block(Thread& me, const std::string& what) {
  state.violation = what;
  jump_to(me, state.host);
  std::abort();  // the host never comes back to an abandoned block
}

void advance_clock(Thread& thread, std::uint32_t clock) {
  thread.clock = clock;
  thread.stamp = memory::stamp(clock, thread.index);
  if (clock > state.last_clock) state.last_clock = clock;
  if (clock > kClockLimit) {
    violate([] {
      return std::string(
          "more than four million synchronisations in one block: give the test fewer updates per launch");
    });
  }
}

bool skipped(Where where) {
  if (state.skip.empty()) return false;
  const std::string_view path = where.file_name();
  const std::string_view file = path.substr(path.rfind('/') + 1);
  const std::string_view skip = state.skip;
  return skip.starts_with(file) && skip.substr(file.size()) == fmt::format(":{}", where.line());
}

void set_seed(std::uint64_t seed) {
  const std::lock_guard lock(one_launch);
  state.seed = seed;
  state.launch_number = 0;
}
std::uint64_t seed() { return state.seed; }
bool is_checked() { return kChecked; }
const Statistics& statistics() { return state.statistics; }
std::vector<std::string> launched_kernels() {
  std::vector<std::string> names;
  for (const void* kernel : state.kernels) names.push_back(function_name(kernel));
  return names;
}
void skip_barrier(std::string site) { state.skip = std::move(site); }

void run(const Launch& launch, void (*body)(const void*), const void* argument, std::size_t bytes) {
  const std::lock_guard lock(one_launch);
  validate(launch, bytes);
  std::memcpy(parameters, argument, bytes);
  state.launch = &launch;
  state.body = body;
  state.argument = parameters;
  state.argument_bytes = bytes;
  state.threads = launch.block.x * launch.block.y * launch.block.z;
  state.random.start(state.seed * 0xD1342543DE82EF95u + ++state.launch_number);
  ++state.statistics.launches;
  state.kernels.insert(launch.kernel);

  const Extent grid = launch.grid;
  const std::uint64_t blocks = static_cast<std::uint64_t>(grid.x) * grid.y * grid.z;
  memory::open_launch(blocks);
  std::vector<std::uint64_t> order(blocks);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  for (std::uint64_t i = blocks; i > 1; --i) {
    std::swap(order[i - 1], order[state.random.next() % i]);
  }
  for (const std::uint64_t b : order) {
    state.block = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                   static_cast<unsigned>(b / grid.x / grid.y)};
    run_block(launch.block);
  }
}

uint3 thread_index() { return current->position; }
uint3 block_index() { return state.block; }
uint3 block_dimension() { return {state.launch->block.x, state.launch->block.y, state.launch->block.z}; }
uint3 grid_dimension() { return {state.launch->grid.x, state.launch->grid.y, state.launch->grid.z}; }
unsigned lane_index() { return current->lane(); }

}  // namespace occam::simt
