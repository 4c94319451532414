"""The chip that predictions are for, and what a warp's load from shared memory costs there.

Its numbers are assumptions, not measurements of Occam: an H200's multiprocessors, boost clock and shared memory by
the datasheet, its copy bandwidth as such cards reach it, and three that no datasheet gives. mma.sync reaches 62%
of the tensor cores' datasheet rate on Hopper (only wgmma reaches more); the L2 cache delivers 5.5 TB/s to all
multiprocessors together; cuBLAS's sgemm on large matrices reaches 90% of the FFMA peak.
"""

import dataclasses
from collections import defaultdict

SCHEDULERS, LANES, BANKS = 4, 32, 32
FMA_PER_CYCLE = SCHEDULERS * LANES  # of a multiprocessor, fp32
MMA_SYNC = 0.62
# Both m16n8k8 in TF32 and m16n8k16 in BF16 take a tensor core four cycles at the datasheet's rate.
HMMA_CYCLES = 4 / MMA_SYNC
HMMA_MULTIPLY_ADDS = {"tf32": 16 * 8 * 8, "bf16": 16 * 8 * 16}


@dataclasses.dataclass(frozen=True)
class Chip:
    multiprocessors: int = 132
    clock: float = 1.98e9  # Hz
    memory: float = 4.3e12  # B/s, read and written
    l2: float = 5.5e12  # B/s
    shared_limit: int = 227 * 1024  # B of a block
    sgemm: float = 0.90  # of the FFMA peak that cuBLAS reaches

    @property
    def fma_per_second(self):
        return self.multiprocessors * self.clock * FMA_PER_CYCLE

    def per_cycle(self, bytes_per_second):
        """Of one multiprocessor, while all of them draw."""
        return bytes_per_second / self.multiprocessors / self.clock


def wavefronts(words, width):
    """Cycles that one load of a warp takes of shared memory's 128 B a cycle; words[lane] is the first of `width`
    (1, 2 or 4) words of four bytes, None of an idle lane.

    A cycle returns one register to a warp's 32 lanes, or 32 words of different banks: 8 lanes with 16 bytes each,
    16 lanes with 8. Lanes that read the same address get credit only where NVIDIA says that registers are packed
    (for compute capability 7.x; that 9.0 does the same is an assumption): where all lanes l and l ^ 1, or all
    lanes l and l ^ 2, read the same address (or one of the two nothing), twice as many lanes are served at a time.
    """

    def pairs(apart):
        active = [(a, words[lane ^ apart]) for lane, a in enumerate(words) if a is not None]
        return all(b is None or a == b for a, b in active)

    together = LANES // width * (2 if width > 1 and (pairs(1) or pairs(2)) else 1)
    cycles = 0
    for first in range(0, LANES, together):
        banks = defaultdict(set)
        for word in words[first : first + together]:
            for at in range(word, word + width) if word is not None else ():
                banks[at % BANKS].add(at)
        cycles += max((len(different) for different in banks.values()), default=0)
    return cycles


def of_warps(threads, width, place):
    """Wavefronts of one load, by warp of a block; place(thread): its first word, or None."""
    return [
        wavefronts([place(thread) for thread in range(warp, warp + LANES)], width)
        for warp in range(0, threads, LANES)
    ]


def busiest(of_warp):
    """The most of any scheduler, of which every fourth warp is one's."""
    return max(sum(of_warp[first::SCHEDULERS]) for first in range(SCHEDULERS))
