#include "timing.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>

#include "register_ports.hpp"

namespace occam::machine {
namespace {

using Cycle = std::uint64_t;

enum class Pipe : std::uint8_t { fma, multiply, integer, special, memory, twice, tensor, other };
constexpr std::size_t kPipes = 8;

Pipe pipe_of(Op op) {
  switch (op) {
    case Op::ffma:
    case Op::fmul:
    case Op::fadd: return Pipe::fma;
    case Op::imad:
    case Op::hfma2: return Pipe::multiply;
    case Op::iadd3:
    case Op::lop3:
    case Op::isetp:
    case Op::fsetp:
    case Op::sel:
    case Op::fsel:
    case Op::shf:
    case Op::lea:
    case Op::prmt:
    case Op::viadd:
    case Op::iabs:
    case Op::vimnmx:
    case Op::vimnmx3:
    case Op::viaddmnmx:
    case Op::fmnmx:
    case Op::plop3:
    case Op::p2r:
    case Op::r2p:
    case Op::mov:
    case Op::f2fp:
    case Op::vote: return Pipe::integer;
    case Op::mufu:
    case Op::i2f:
    case Op::f2i:
    case Op::popc:
    case Op::f2f:
    case Op::fchk: return Pipe::special;
    case Op::lds:
    case Op::sts:
    case Op::ldg:
    case Op::stg:
    case Op::ldl:
    case Op::stl:
    case Op::ldgsts:
    case Op::ldsm:
    case Op::shfl:
    case Op::atoms:
    case Op::redg: return Pipe::memory;
    case Op::dadd:
    case Op::dmul:
    case Op::dfma:
    case Op::dsetp: return Pipe::twice;
    case Op::hmma: return Pipe::tensor;
    default: return Pipe::other;
  }
}

bool is_global(Op op) { return op == Op::ldg || op == Op::stg || op == Op::ldgsts || op == Op::redg; }

struct Static {  // what is the same whenever the instruction issues
  Pipe pipe = Pipe::other;
  SourceRegisters sources;
};

struct Resident;

struct Flow {  // a warp
  const std::vector<Issued>* trace = nullptr;
  Resident* block = nullptr;
  std::size_t at = 0;
  Cycle ready = 0;
  std::array<Cycle, 6> scoreboards{};
  bool at_barrier = false;
  Cycle copied = 0;           // when all its copies to shared memory have arrived
  std::vector<Cycle> groups;  // the same when each group of them was closed

  bool done() const { return at >= trace->size(); }
  const Issued& next() const { return (*trace)[at]; }
};

struct Resident {  // a block on the multiprocessor
  std::vector<Flow> flows;
  std::array<std::uint32_t, 16> arrived{};  // warps
};

struct Scheduler {
  std::vector<Flow*> flows;
  std::size_t last = 0;
  std::array<Cycle, kPipes> free{};
  std::array<Cycle, 2> fma_free{};  // two halves, of which the second multiplies integers as well
  RegisterPorts ports;
};

class Multiprocessor {
 public:
  Multiprocessor(const Code& code, const std::vector<BlockTrace>& blocks, int resident, const Chip& chip)
      : code_(code), blocks_(blocks), chip_(chip), residents_(static_cast<std::size_t>(resident)) {
    for (const Instruction& i : code.instructions) {
      const Pipe pipe = pipe_of(i.op);
      const bool reads = pipe == Pipe::fma || pipe == Pipe::multiply || pipe == Pipe::integer;
      static_.push_back({pipe, reads ? source_registers(i) : SourceRegisters{}});
    }
    timed_.instructions.resize(code.instructions.size());
  }

  Timed run() {
    for (std::size_t r = 0; r < residents_.size(); ++r) start(r);
    for (now_ = 0; living_ > 0; ++now_) {
      for (Scheduler& s : schedulers_) cycle(s);
      if (ended_) replace_ended();
    }
    timed_.cycles = now_;
    return std::move(timed_);
  }

 private:
  void start(std::size_t r) {
    residents_[r].reset();
    if (next_block_ == blocks_.size()) return;
    const BlockTrace& trace = blocks_[next_block_++];
    auto block = std::make_unique<Resident>();
    block->flows.resize(trace.warps.size());
    for (std::size_t w = 0; w < trace.warps.size(); ++w) {
      Flow& flow = block->flows[w];
      flow.trace = &trace.warps[w], flow.block = block.get();
      flow.ready = now_ == 0 ? 0 : now_ + static_cast<Cycle>(chip_.block_start);
      if (!flow.done()) ++living_;
      schedulers_[next_scheduler_++ % schedulers_.size()].flows.push_back(&flow);
    }
    residents_[r] = std::move(block);
  }

  void replace_ended() {
    ended_ = false;
    for (std::size_t r = 0; r < residents_.size(); ++r) {
      if (!residents_[r] || !std::ranges::all_of(residents_[r]->flows, &Flow::done)) continue;
      for (Scheduler& s : schedulers_) {
        std::erase_if(s.flows, [&](const Flow* f) { return f->block == residents_[r].get(); });
        s.last = 0;
      }
      start(r);
    }
  }

  // Why the warp cannot issue now, but for the register banks.
  Stall why_not(const Scheduler& s, const Flow& f) const {
    if (f.at_barrier) return Stall::barrier;
    if (now_ < f.ready) return Stall::fixed;
    const Instruction& i = code_.instructions[f.next().instruction];
    for (std::size_t b = 0; b < f.scoreboards.size(); ++b)
      if ((i.wait >> b & 1) && now_ < f.scoreboards[b]) return Stall::memory;
    if (i.op == Op::depbar && now_ < closed_groups(f, i)) return Stall::memory;
    const Pipe pipe = static_[f.next().instruction].pipe;
    bool busy = s.free[static_cast<std::size_t>(pipe)] > now_;
    if (pipe == Pipe::fma) busy = s.fma_free[0] > now_ && s.fma_free[1] > now_;
    if (pipe == Pipe::multiply) busy = s.fma_free[1] > now_;
    if (pipe == Pipe::memory) busy |= shared_free_ > now_ + static_cast<Cycle>(chip_.memory_queue);
    return busy ? Stall::pipe : Stall::issued;
  }

  // When all groups of copies have arrived but as many of the latest as DEPBAR lets be on their way.
  static Cycle closed_groups(const Flow& f, const Instruction& depbar) {
    const std::size_t pending = depbar.count > 1 ? depbar.operand[1].value : 0;
    return f.groups.size() <= pending ? 0 : f.groups[f.groups.size() - 1 - pending];
  }

  void cycle(Scheduler& s) {
    std::optional<std::size_t> chosen;
    stalls_.assign(s.flows.size(), Stall::issued);
    for (std::size_t k = 0; k < s.flows.size(); ++k) {  // the warp that issued last first
      const std::size_t which = k == 0 ? s.last : k <= s.last ? k - 1 : k;
      Flow& f = *s.flows[which];
      if (f.done()) continue;
      Stall why = why_not(s, f);
      if (why == Stall::issued && chosen) why = Stall::not_chosen;
      if (why == Stall::issued && f.next().on &&
          !s.ports.read(now_, static_cast<int>(which), static_[f.next().instruction].sources))
        why = Stall::register_banks;
      stalls_[which] = why;
      if (why == Stall::issued) chosen = which;
    }
    count(s, chosen.has_value());
    if (!chosen) return;
    s.last = *chosen;
    issue(s, *s.flows[*chosen]);
  }

  void count(const Scheduler& s, bool issued) {
    double living = 0;
    for (std::size_t k = 0; k < s.flows.size(); ++k) {
      if (s.flows[k]->done()) continue;
      ++living;
      ++timed_.instructions[s.flows[k]->next().instruction].warps[static_cast<std::size_t>(stalls_[k])];
    }
    ++(issued ? timed_.issued : timed_.idle);
    if (issued) return;
    for (const Flow* f : s.flows)
      if (!f->done()) timed_.instructions[f->next().instruction].idle += 1 / living;
  }

  void issue(Scheduler& s, Flow& f) {
    const Issued& issued = f.next();
    const Instruction& i = code_.instructions[issued.instruction];
    const Pipe pipe = static_[issued.instruction].pipe;
    f.ready = now_ + std::max<Cycle>(1, i.stall);
    const auto release = [&](Cycle result, Cycle read) {
      if (i.write_barrier < 6) raise(f.scoreboards[i.write_barrier], result);
      if (i.read_barrier < 6) raise(f.scoreboards[i.read_barrier], read);
    };
    const auto after = [&](int cycles) { return now_ + static_cast<Cycle>(cycles); };
    Cycle& free = s.free[static_cast<std::size_t>(pipe)];
    switch (pipe) {
      case Pipe::fma: s.fma_free[s.fma_free[0] <= now_ ? 0 : 1] = after(2); break;
      case Pipe::multiply: s.fma_free[1] = after(2); break;
      case Pipe::integer: free = after(2); break;
      case Pipe::special: free = after(8), release(after(chip_.math_latency), after(12)); break;
      case Pipe::twice: free = after(2), release(after(chip_.double_latency), after(10)); break;
      case Pipe::tensor:
        free = after(chip_.tensor_cycles), release(after(chip_.tensor_latency), after(10));
        break;
      case Pipe::memory: free = after(2), access(f, i, issued, release); break;
      case Pipe::other: other(f, i, issued, release); break;
    }
    ++f.at;
    if (f.done()) --living_, ended_ = true;
  }

  template <class Release>
  void access(Flow& f, const Instruction& i, const Issued& issued, const Release& release) {
    if (!issued.on) return release(now_ + 2, now_ + 2);
    const Cycle begin = std::max(now_, shared_free_);
    if (is_global(i.op)) {
      shared_free_ = begin + std::max<Cycle>(1, issued.cost / 4u);
      global_free_ = std::max(global_free_, static_cast<double>(begin)) + issued.cost * chip_.sector;
      const int latency = i.op == Op::ldgsts ? chip_.copy_latency : chip_.global_latency;
      const Cycle arrives = static_cast<Cycle>(std::ceil(global_free_)) + static_cast<Cycle>(latency);
      if (i.op == Op::ldgsts) raise(f.copied, arrives);
      return release(arrives, shared_free_ + 8);
    }
    shared_free_ = begin + std::max<Cycle>(1, issued.cost);
    const bool local = i.op == Op::ldl || i.op == Op::stl;
    release(shared_free_ + static_cast<Cycle>(local ? chip_.local_latency : chip_.shared_latency),
            shared_free_ + 8);
  }

  template <class Release>
  void other(Flow& f, const Instruction& i, const Issued& issued, const Release& release) {
    const auto after = [&](int cycles) { return now_ + static_cast<Cycle>(cycles); };
    switch (i.op) {
      case Op::ldc: return release(after(chip_.constant_latency), after(4));
      case Op::s2r: return release(after(chip_.special_latency), after(4));
      case Op::ldgdepbar: f.groups.push_back(f.copied); return release(f.copied, after(4));
      case Op::bar_sync:
      case Op::bar_red:
        if (issued.on) meet(f, issued);
        return;
      case Op::bra:
        if (issued.cost == 0) return;
        [[fallthrough]];
      case Op::call:
      case Op::ret:
      case Op::brx: raise(f.ready, after(chip_.branch)); return;
      default: return release(after(12), after(4));
    }
  }

  // The last warp to come lets all go on.
  void meet(Flow& f, const Issued& issued) {
    Resident& block = *f.block;
    std::uint32_t expected = issued.expected / 32u;
    if (expected == 0)
      expected = static_cast<std::uint32_t>(
          std::ranges::count_if(block.flows, [](const Flow& other) { return !other.done(); }));
    f.at_barrier = true;
    if (++block.arrived[issued.barrier] < expected) {
      --f.at;  // it stands at the barrier until then
      return;
    }
    block.arrived[issued.barrier] = 0;
    for (Flow& other : block.flows) {
      if (!other.at_barrier || (&other != &f && other.next().barrier != issued.barrier)) continue;
      other.at_barrier = false;
      other.ready = now_ + static_cast<Cycle>(chip_.barrier_latency);
      if (&other != &f) ++other.at;
    }
  }

  static void raise(Cycle& cycle, Cycle to) { cycle = std::max(cycle, to); }

  const Code& code_;
  const std::vector<BlockTrace>& blocks_;
  const Chip chip_;
  std::vector<Static> static_;
  std::vector<std::unique_ptr<Resident>> residents_;
  std::array<Scheduler, 4> schedulers_;
  std::vector<Stall> stalls_;
  Timed timed_;
  std::size_t next_block_ = 0, next_scheduler_ = 0;
  int living_ = 0;  // warps
  bool ended_ = false;
  Cycle now_ = 0, shared_free_ = 0;
  double global_free_ = 0;
};

}  // namespace

Timed time(const Code& code, const std::vector<BlockTrace>& blocks, int resident, const Chip& chip) {
  return Multiprocessor(code, blocks, resident, chip).run();
}

int resident_blocks(const Code& code, std::uint32_t warps, std::uint32_t shared) {
  constexpr std::uint32_t kRegisters = 16384, kSchedulers = 4, kShared = 233472, kWarps = 64, kBlocks = 32;
  const std::uint32_t of_warp = std::max<std::uint32_t>(1, (code.registers * 32 + 255) / 256) * 256;
  const std::uint32_t by_registers = kRegisters / of_warp * kSchedulers / warps;
  const std::uint32_t by_shared = shared == 0 ? kBlocks : kShared / shared;
  return static_cast<int>(std::max(1u, std::min({kBlocks, kWarps / warps, by_registers, by_shared})));
}

}  // namespace occam::machine
