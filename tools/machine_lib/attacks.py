"""Predicted cycles of notebook 6's attacks (tools/bench_lib/attacks.cpp): of two calls, of which one moves nothing, the
difference. A network's rows have one multiprocessor, as in an ensemble that fills the chip.
"""

import json

from . import prediction

PARTS = ("pgd", "svd", "as")
ROWS = 512  # that are attacked; of 256 a batch
NOTEBOOK_ROWS = 10_000
INPUTS, CLASSES = 50, 2
FLOP_PER_CYCLE = 2 * 128  # FFMA, of a multiprocessor
HEADER = ["net", "attack", "cycles a row", "of floor", "networks a second, 10,000 rows each"]
# Passes of a row, each forward or back: iterations and what scores them. The pass in which PGD ends is in both calls.
PASSES = {"pgd": 2 * 20, "svd": 2 * 30 + 2, "as": 2 * 60 + 1}
NETS = ((200,), (100, 100))


def flop(hidden, part):
    """Of ROWS rows: products, two operations a multiply-add."""
    widths = [INPUTS, *hidden, CLASSES]
    return 2 * ROWS * PASSES[part] * sum(a * b for a, b in zip(widths, widths[1:]))


def predicted(build, hidden, part, chip):
    """Of one member's ROWS rows: cycles of a multiprocessor."""
    worker, timer = build.program("machine_worker"), build.program("machine_time")
    listing = build.listing()
    train = {
        "op": "attack_open", "device": "cuda", "hidden": list(hidden), "members": prediction.MEMBERS, "train": 512,
        "test": ROWS, "max_updates": 1,
    }  # fmt: skip
    nothing, attack = (
        prediction.launches(
            [worker], f"{json.dumps(train)}\n{json.dumps({'op': 'attack', 'part': name})}\n", listing, timer, chip,
            multiprocessors=prediction.MEMBERS,
        )
        for name in ("open", part)
    )  # fmt: skip
    return prediction.Prediction(nothing, attack, prediction.MEMBERS, 1)


def share_of_floor(found, hidden, part):
    return flop(hidden, part) / FLOP_PER_CYCLE / sum(found.cycles.values())


def networks_per_second(found):
    """At most, on an H200."""
    of_rows = sum(found.cycles.values()) * NOTEBOOK_ROWS / ROWS
    return prediction.MULTIPROCESSORS * prediction.CLOCK / of_rows


def cells(hidden, part, build):
    found = predicted(build, hidden, part, [])
    return [
        f"({hidden[0]},{len(hidden)})", {"pgd": "PGD", "svd": "SVD-UAP", "as": "AS-UAP"}[part],
        f"{sum(found.cycles.values()) / ROWS:,.0f}", f"{share_of_floor(found, hidden, part):.0%}",
        f"{networks_per_second(found):,.0f}",
    ]  # fmt: skip
