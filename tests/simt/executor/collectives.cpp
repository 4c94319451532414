// Where threads meet: block barriers, named barriers, warp operations.
#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "simt/executor/state.hpp"

namespace occam::simt {
namespace {

bool same_place(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::string_view(a.file_name()) == b.file_name());
}

void release_block(BlockReduction reduction) {
  const BlockBarrier& barrier = state.barrier;
  state.barrier_result = reduction == BlockReduction::count ? barrier.count
                         : reduction == BlockReduction::all ? barrier.all
                                                            : barrier.any;
  state.barrier.waiting = 0;
  state.base_clock = state.last_clock + 1;
  for (std::uint32_t i = 0; i < state.threads; ++i) advance_clock(state.thread[i], state.base_clock);
  for (std::uint32_t i = 0; i < state.threads; ++i) {
    if (&state.thread[i] != current) make_ready(state.thread[i]);
  }
}

std::uint64_t reduce(WarpOperation operation, const Collective& collective) {
  std::uint64_t result = 0;
  bool first = true;
  for (unsigned lanes = collective.mask; lanes != 0; lanes &= lanes - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(lanes));
    const std::uint64_t value = collective.value[lane];
    const auto a = static_cast<std::uint32_t>(result), b = static_cast<std::uint32_t>(value);
    const auto signed_a = static_cast<std::int32_t>(a), signed_b = static_cast<std::int32_t>(b);
    if (operation == WarpOperation::ballot) {
      result |= value << lane;
    } else if (first) {
      result = value;
    } else {
      switch (operation) {
        case WarpOperation::any: result |= value; break;
        case WarpOperation::all: result &= value; break;
        case WarpOperation::add: result = a + b; break;
        case WarpOperation::min_signed: result = signed_b < signed_a ? b : a; break;
        case WarpOperation::min_unsigned: result = std::min(a, b); break;
        case WarpOperation::max_signed: result = signed_a < signed_b ? b : a; break;
        case WarpOperation::max_unsigned: result = std::max(a, b); break;
        case WarpOperation::bit_and: result = a & b; break;
        case WarpOperation::bit_or: result = a | b; break;
        case WarpOperation::bit_xor: result = a ^ b; break;
        default: break;
      }
    }
    first = false;
  }
  return result;
}

// All lanes of the mask are ordered: each knows all of the others' past.
void sync_lanes(const Warp& warp, unsigned mask) {
  state.lanes_synced = true;
  const std::size_t first_thread = static_cast<std::size_t>(&warp - state.warp.data()) * 32;
  std::array<std::uint32_t, 32> joined{};
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(lanes));
    Thread& thread = state.thread[first_thread + lane];
    for (unsigned i = 0; i < 32; ++i) joined[i] = std::max(joined[i], thread.lane_clock[i]);
  }
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(lanes));
    Thread& thread = state.thread[first_thread + lane];
    advance_clock(thread, thread.clock + 1);
    joined[lane] = thread.clock;
  }
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    state.thread[first_thread + static_cast<unsigned>(__builtin_ctz(lanes))].lane_clock = joined;
  }
}

void check_mask(const Thread& me, const Warp& warp, unsigned mask, Where where) {
  if ((mask >> me.lane() & 1) == 0) {
    violate([&] {
      return fmt::format("{} is not in the mask {:#010x} of its own warp operation at {}", describe(me), mask,
                         describe(where));
    });
  }
  if ((mask & ~warp.present) != 0) {
    violate([&] {
      return fmt::format(
          "inactive lane: the mask {:#010x} at {} names lane {}, which this warp does not have", mask,
          describe(where), __builtin_ctz(mask & ~warp.present));
    });
  }
  if ((mask & warp.exited) != 0) {
    violate([&] {
      return fmt::format("inactive lane: the mask {:#010x} at {} names lane {}, which has ended", mask,
                         describe(where), __builtin_ctz(mask & warp.exited));
    });
  }
}

Collective& join(Thread& me, Warp& warp, WarpOperation operation, Exchange exchange, unsigned mask,
                 Where where) {
  for (unsigned open = warp.open; open != 0; open &= open - 1) {
    Collective& other = warp.collectives[static_cast<unsigned>(__builtin_ctz(open))];
    if ((other.mask & mask) == 0) continue;
    if (other.mask == mask && other.operation == operation && other.exchange == exchange &&
        same_place(other.where, where))
      return other;
    violate([&] {
      return fmt::format(
          "divergent warp: {} is at {} with mask {:#010x} while other lanes of that mask wait at {} with "
          "mask {:#010x}",
          describe(me), describe(where), mask, describe(other.where), other.mask);
    });
  }
  const unsigned slot = static_cast<unsigned>(__builtin_ctz(~warp.open));
  warp.open |= 1u << slot;
  Collective& collective = warp.collectives[slot];
  collective.mask = mask;
  collective.arrived = 0;
  collective.operation = operation;
  collective.where = where;
  collective.exchange = exchange;
  collective.first_thread = me.index - me.lane();
  return collective;
}

void deliver(Warp& warp, Collective& collective) {
  const std::size_t first_thread = static_cast<std::size_t>(&warp - state.warp.data()) * 32;
  if (collective.operation == WarpOperation::sync) sync_lanes(warp, collective.mask);
  const bool is_shuffle = collective.operation == WarpOperation::shuffle;
  const bool is_exchange = collective.operation == WarpOperation::exchange;
  if (is_exchange) collective.exchange(collective);
  const std::uint64_t all = is_shuffle || is_exchange ? 0 : reduce(collective.operation, collective);
  for (unsigned lanes = collective.mask; lanes != 0; lanes &= lanes - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(lanes));
    Thread& thread = state.thread[first_thread + lane];
    thread.result = is_shuffle ? collective.value[collective.source[lane]] : all;
    if (&thread != current) make_ready(thread);
  }
  warp.open &= ~(1u << (&collective - warp.collectives.data()));
}

// The lane has joined: waits for the others, or lets them all go on.
void meet(Thread& me, Warp& warp, Collective& collective) {
  collective.arrived |= 1u << me.lane();
  if (collective.arrived != collective.mask) {
    wait_for(Waiting::warp, collective.where);
  } else {
    deliver(warp, collective);
    maybe_yield();
  }
}

void release_named(NamedBarrier& barrier) {
  const std::uint32_t clock = state.last_clock + 1;
  std::array<unsigned, kWarps> lanes{};
  const std::span<const std::uint16_t> waiting(barrier.thread.data(),
                                               static_cast<std::size_t>(barrier.waiting));
  for (const std::uint32_t i : waiting) lanes[i / 32] |= 1u << (i % 32);
  std::array<std::uint32_t, kWarps> joined{};
  for (int w = 0; w < kWarps; ++w) {
    if (lanes[static_cast<std::size_t>(w)] == 0) continue;
    const std::size_t index = static_cast<std::size_t>(w);
    if (lanes[index] != state.warp[index].present) {
      violate([&] {
        return fmt::format("named barrier at {}: only part of warp {} takes part (lanes {:#010x})",
                           describe(barrier.where), w, lanes[index]);
      });
    }
    for (std::size_t i = 0; i < kWarps; ++i) joined[i] = std::max(joined[i], state.warp_clock[index][i]);
  }
  for (std::size_t w = 0; w < kWarps; ++w) {
    if (lanes[w] != 0) joined[w] = clock;
  }
  for (std::size_t w = 0; w < kWarps; ++w) {
    if (lanes[w] != 0) state.warp_clock[w] = joined;
  }
  for (const std::uint32_t i : waiting) {
    advance_clock(state.thread[i], clock);
    if (&state.thread[i] != current) make_ready(state.thread[i]);
  }
  barrier.threads = barrier.waiting = 0;
}

}  // namespace

int block_barrier(BlockReduction reduction, int predicate, Where where) {
  Thread& me = *current;
  land_some_copies(me);
  if (reduction == BlockReduction::none && skipped(where)) return 0;
  if (state.exited > 0) {
    violate([&] {
      return fmt::format("divergent barrier: {} waits at {}, but {} threads have ended without it",
                         describe(me), describe(where), state.exited);
    });
  }
  BlockBarrier& barrier = state.barrier;
  if (barrier.waiting == 0) {
    barrier = {0, 0, 1, 0, reduction, where, me.index};
  } else if (!same_place(barrier.where, where)) {
    violate([&] {
      return fmt::format("divergent barrier: {} waits at {} while {} waits at {}", describe(me),
                         describe(where), describe(state.thread[barrier.first]), describe(barrier.where));
    });
  }
  barrier.count += predicate != 0;
  barrier.all &= predicate != 0;
  barrier.any |= predicate != 0;
  if (++barrier.waiting < state.threads) {
    wait_for(Waiting::block_barrier, where);
  } else {
    release_block(reduction);
    maybe_yield();
  }
  return state.barrier_result;
}

void named_barrier(int id, int threads, Where where) {
  Thread& me = *current;
  land_some_copies(me);
  if (skipped(where)) return;
  if (id < 1 || id > 15 || threads <= 0 || threads % 32 != 0) {
    violate([&] {
      return fmt::format("named barrier {} for {} threads at {}: ids are 1 to 15, threads a multiple of 32",
                         id, threads, describe(where));
    });
  }
  NamedBarrier& barrier = state.named[static_cast<std::size_t>(id)];
  if (barrier.threads == 0) {
    barrier.threads = threads;
    barrier.where = where;
  } else if (barrier.threads != threads) {
    violate([&] {
      return fmt::format("named barrier {}: {} expects {} threads at {}, others expect {} at {}", id,
                         describe(me), threads, describe(where), barrier.threads, describe(barrier.where));
    });
  }
  barrier.thread[static_cast<std::size_t>(barrier.waiting++)] = static_cast<std::uint16_t>(me.index);
  if (barrier.waiting < threads) {
    wait_for(Waiting::named_barrier, where);
  } else {
    release_named(barrier);
    maybe_yield();
  }
}

std::uint64_t warp_collective(WarpOperation operation, unsigned mask, std::uint64_t value, unsigned source,
                              Where where) {
  Thread& me = *current;
  land_some_copies(me);
  if (operation == WarpOperation::sync && skipped(where)) return 0;
  Warp& warp = state.warp[me.warp()];
  check_mask(me, warp, mask, where);
  if (operation == WarpOperation::shuffle && (mask >> source & 1) == 0) {
    violate([&] {
      return fmt::format("inactive lane: {} shuffles at {} from lane {}, which is not in the mask {:#010x}",
                         describe(me), describe(where), source, mask);
    });
  }
  Collective& collective = join(me, warp, operation, nullptr, mask, where);
  collective.value[me.lane()] = value;
  collective.source[me.lane()] = source;
  meet(me, warp, collective);
  return me.result;
}

void warp_exchange(void* block, Exchange exchange, Where where) {
  Thread& me = *current;
  land_some_copies(me);
  constexpr unsigned all = 0xFFFFFFFFu;
  Warp& warp = state.warp[me.warp()];
  check_mask(me, warp, all, where);
  Collective& collective = join(me, warp, WarpOperation::exchange, exchange, all, where);
  collective.block[me.lane()] = block;
  meet(me, warp, collective);
}

}  // namespace occam::simt
