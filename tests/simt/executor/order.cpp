#include "simt/executor/order.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "simt/executor/shadow.hpp"
#include "simt/executor/state.hpp"

namespace occam::simt::order {

constinit Seen seen;

namespace {

struct Use {
  std::uint32_t stream = 0;
  std::uint64_t tick = 0;  // of the piece in its stream
  Piece piece;
};

struct Usage {
  std::optional<Use> write;
  std::vector<Use> reads;  // since, none of which is ordered before another
};

constinit std::vector<Usage> usages;        // by buffer; the first is none
constinit std::vector<std::uint64_t> last;  // what `seen` points to
std::vector<std::uint32_t> free_numbers;
std::set<std::uint32_t> open_streams;
std::uint32_t streams = 0;
Clock host;  // what the host has waited for
Use present;
const Clock* present_clock = nullptr;

void join(Clock& clock, const Clock& other) {
  for (const auto& [stream, tick] : other) {
    std::uint64_t& mine = clock[stream];
    mine = std::max(mine, tick);
  }
}

// What is no longer open was waited for by the host.
bool is_ordered(const Use& earlier) {
  if (earlier.stream == present.stream || !open_streams.contains(earlier.stream)) return true;
  const auto known = present_clock->find(earlier.stream);
  return known != present_clock->end() && known->second >= earlier.tick;
}

std::string describe(const Use& use) {
  const Piece& piece = use.piece;
  return fmt::format("{}{}{} in stream {}", piece.what, *piece.name == '\0' ? "" : " of ", piece.name,
                     use.stream) +
         (piece.step == 0 ? "" : fmt::format(" (step {} of a graph)", piece.step));
}

[[noreturn, gnu::noinline, gnu::cold]] void report(const Use& earlier, bool earlier_writes, Access access,
                                                   std::uintptr_t address, std::uintptr_t return_address) {
  const auto words = [&] {
    return fmt::format(
        "order of streams: the {} {} {}{}, and nothing orders it after the {}, which {} that buffer: a "
        "Stream::wait for an event recorded after it is missing",
        describe(present), access == Access::read ? "reads" : "writes", describe_address(address),
        return_address == 0 ? "" : " at " + describe_code(return_address), describe(earlier),
        earlier_writes ? "writes" : "reads");
  };
  if (current != nullptr) violate(words);
  throw Violation(words());
}

void add_buffer() {
  usages.emplace_back();
  last.push_back(0);
  seen.last = last.data();
}

}  // namespace

Stream open_stream() {
  open_streams.insert(++streams);
  return {streams, host};
}

void close_stream(const Stream& stream) {
  host_waits(stream.clock);
  open_streams.erase(stream.number);
  host.erase(stream.number);
}

void begin(Stream& stream, Piece piece) {
  join(stream.clock, host);
  present = {stream.number, ++stream.clock[stream.number], piece};
  present_clock = &stream.clock;
  ++seen.now;
}

void wait(Stream& stream, const Clock& event) { join(stream.clock, event); }

Clock record(Stream& stream) {
  join(stream.clock, host);
  return stream.clock;
}

void host_waits(const Clock& clock) {
  for (const auto& [stream, tick] : clock)
    if (open_streams.contains(stream)) host[stream] = std::max(host[stream], tick);
}

void start(std::uint32_t* lines) {
  seen.buffer_of_line = lines;
  add_buffer();
}

void open_buffer(std::size_t offset, std::size_t bytes) {
  if (free_numbers.empty()) {
    free_numbers.push_back(static_cast<std::uint32_t>(usages.size()));
    add_buffer();
  }
  const std::uint32_t buffer = free_numbers.back();
  free_numbers.pop_back();
  usages[buffer] = {};
  seen.last[buffer] = 0;
  std::fill_n(seen.buffer_of_line + offset / kLine, (bytes + kLine - 1) / kLine, buffer);
}

void close_buffer(std::size_t offset, std::size_t bytes) {
  free_numbers.push_back(seen.buffer_of_line[offset / kLine]);
  std::fill_n(seen.buffer_of_line + offset / kLine, (bytes + kLine - 1) / kLine, 0u);
}

void check(std::uint32_t buffer, std::size_t offset, Access access, std::uintptr_t return_address) {
  if (buffer == 0 || present_clock == nullptr) return;  // bounds are checked elsewhere
  // Outside of the thread, as words are (state.hpp): library templates may have hooks.
  Thread* const thread = std::exchange(current, nullptr);
  Usage& usage = usages[buffer];
  const Use* unordered = usage.write && !is_ordered(*usage.write) ? &*usage.write : nullptr;
  const bool after_write = unordered != nullptr;
  if (access == Access::read) {
    std::erase_if(usage.reads, is_ordered);  // who comes after us comes after them
    if (unordered == nullptr) usage.reads.push_back(present);
  } else {
    for (const Use& read : usage.reads)
      if (unordered == nullptr && !is_ordered(read)) unordered = &read;
    if (unordered == nullptr) usage = {present, {}};
  }
  current = thread;
  if (unordered != nullptr)
    report(*unordered, after_write, access, shadow.global.base + offset, return_address);
  seen.last[buffer] = 2 * seen.now + (access == Access::read ? 0 : 1);
}

}  // namespace occam::simt::order
