"""Cycles that multiply-adds wait for registers.

A scheduler's registers lie in two banks, the even and the odd ones, each of which gives a warp one a cycle. An FFMA reads
its three operands within three cycles and is not issued before the banks have room for that: so multiply-adds follow
each other every cycle only where they read two registers each, of either bank the same number in the long run. An
operand marked .reuse stays at hand for the same place of the instructions that follow, until something else is read
from its bank for that place; it is not read again.

So Huerta et al. found it on compute capability 8.6 (Analyzing Modern NVIDIA GPU Cores, 2025); that 9.0 does the same is
an assumption. What else an instruction reads is not counted, nor what two warps take from each other.
"""

import re

OPERAND = re.compile(r"(?<![A-Z])R(\d+)(\.reuse)?")
PREDICATE = re.compile(r"^@!?U?P\w+\s+")
PLACES, WINDOW = 3, 3
ROUNDS = 4  # of a loop; by the last one its cycles have settled


def operands_of(text):
    """(place, register, whether it stays at hand) of the operands that "FFMA R1, R4, R5.reuse, R1" reads."""
    _, _, rest = PREDICATE.sub("", text).partition(" ")
    found = [OPERAND.search(operand) for operand in rest.split(",")[1 : 1 + PLACES]]
    return [(place, int(f.group(1)), bool(f.group(2))) for place, f in enumerate(found) if f]


def waits(texts):
    """Cycles beyond one an instruction that a loop takes, because its FFMA wait for registers."""
    operands = [operands_of(text) if "FFMA" in text else [] for text in texts]
    at_hand, taken, cycle, start = {}, (set(), set()), 0, 0
    for _ in range(ROUNDS):
        start = cycle
        for read in operands:
            needed, kept = [0, 0], {}
            for place, register, stays in read:
                bank = register % 2
                needed[bank] += at_hand.get((bank, place)) != register
                kept[bank, place] = register if stays else None
            at_hand.update(kept)
            while True:
                free = [[at for at in range(cycle, cycle + WINDOW) if at not in bank] for bank in taken]
                if all(len(room) >= n for room, n in zip(free, needed)):
                    break
                cycle += 1
            for bank, room, n in zip(taken, free, needed):
                bank.update(room[:n])
            cycle += 1
    return cycle - start - len(texts)
