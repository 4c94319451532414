"""Cycles that multiply-adds wait for registers.

A scheduler's registers lie in two banks, the even and the odd ones, each of which can be read once a cycle. What an
instruction reads of a bank beyond that is read in the cycles that follow, and an instruction is not issued before the
banks that it needs are free. An operand marked .reuse stays at hand for the same place of the instructions that follow,
until something else is read from its bank for that place; it is not read again.

That registers lie in two banks was found by Huerta et al. on compute capability 8.6 (Analyzing Modern NVIDIA GPU Cores,
2025). Of the rules that were tried, this one gives the times of six kernels on an H200 (docs/machine.md, whose
register_ports.hpp has the same rule). What instructions other than FFMA read is not counted here, nor what two warps
take from each other.
"""

import re

OPERAND = re.compile(r"(?<![A-Z])R(\d+)(\.reuse)?")
PREDICATE = re.compile(r"^@!?U?P\w+\s+")
PLACES = 3
ROUNDS = 4  # of a loop; by the last one its cycles have settled


def operands_of(text):
    """(place, register, whether it stays at hand) of the operands that "FFMA R1, R4, R5.reuse, R1" reads."""
    _, _, rest = PREDICATE.sub("", text).partition(" ")
    found = [OPERAND.search(operand) for operand in rest.split(",")[1 : 1 + PLACES]]
    return [(place, int(f.group(1)), bool(f.group(2))) for place, f in enumerate(found) if f]


def waits(texts):
    """Cycles beyond one an instruction that a loop takes, because its FFMA wait for registers."""
    operands = [operands_of(text) if "FFMA" in text else [] for text in texts]
    at_hand, free, cycle, start = {}, [0, 0], 0, 0
    for _ in range(ROUNDS):
        start = cycle
        for read in operands:
            needed, kept = [0, 0], {}
            for place, register, stays in read:
                bank = register % 2
                needed[bank] += at_hand.get((bank, place)) != register
                kept[bank, place] = register if stays else None
            at_hand.update(kept)
            cycle = max([cycle, *(at for at, n in zip(free, needed) if n)])
            free = [cycle + n if n else at for at, n in zip(free, needed)]
            cycle += 1
    return cycle - start - len(texts)
