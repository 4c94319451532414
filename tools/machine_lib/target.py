"""The ensembles that have a target on an H200, others beside them, and what the machine predicts of them: 50 inputs,
2 classes, batch 256, 132 members on 132 multiprocessors.

Floors are FLOP over the peak of FFMA at the clock that cycles are counted at (66.9 TFLOP/s), and over what mma.sync
reached on an H200: 312 TFLOP/s in TF32, 624 in BF16. On hardware plan resident took what is predicted, within 1% in
fp32 and 6 to 11% more on tensor cores, and plan tiled 1.16 to 1.19 times as long (docs/machine.md): `expected` says so
much.
"""

import dataclasses

from . import prediction

PEAK = {"fp32": 132 * 128 * 2 * 1.98e9, "tf32": 312e12, "bf16": 624e12}
BATCH, INPUTS, CLASSES = 256, 50, 2
LONGER = {"tiled": 1.18, "fp32": 1.0, "tf32": 1.11, "bf16": 1.06}
HEADER = ["net", "precision", "optimiser", "plan", "cycles an update", "models/s predicted", "expected", "of floor", "target"]


@dataclasses.dataclass(frozen=True)
class Case:
    hidden: tuple
    precision: str = "fp32"
    optimizer: str = "sgd"
    momentum: float = 0.0
    models: float | None = None  # a second, asked for
    of_floor: float | None = None
    of_cublas: float | None = None  # of what it takes for the products alone; tools/machine products

    @property
    def name(self):
        return f"({self.hidden[0]},{len(self.hidden)})"

    @property
    def stepped_by(self):
        return "Adam" if self.optimizer == "adam" else "SGD" + f", momentum {self.momentum:g}" * bool(self.momentum)

    @property
    def flop(self):
        """Of an update: a product forward and two backward, without the gradient of the inputs."""
        widths = [INPUTS, *self.hidden, CLASSES]
        pairs = list(zip(widths, widths[1:]))
        return 2 * BATCH * sum(a * b * (3 if number else 2) for number, (a, b) in enumerate(pairs))

    def rate(self, flop_per_second):
        """Models a second."""
        return flop_per_second / self.flop / prediction.MODEL_UPDATES

    @property
    def target(self):
        if self.models:
            return f"{self.models:,.0f}"
        if self.of_floor:
            return f"{self.of_floor * self.rate(PEAK[self.precision]):,.1f} ({self.of_floor:.0%} of floor)"
        if self.of_cublas:
            return f"{self.of_cublas:.0%} of cuBLAS's products"
        return ""


CASES = (
    Case((100, 100), models=350),
    Case((100, 100), "tf32", models=800),
    Case((100, 100), "bf16"),
    Case((200,)),
    Case((200,), "tf32"),
    Case((200,), "bf16"),
    Case((100,)),
    Case((100,), "tf32"),
    Case((100,), "bf16"),
    Case((300, 300), of_floor=0.5),
    Case((300, 300), "tf32"),
    Case((300, 300), "bf16"),
    Case((600, 600)),
    Case((600, 600), "tf32"),
    Case((2000,), of_cublas=0.85),
    *(
        Case(hidden, precision, *stepped)
        for stepped in (("sgd", 0.9), ("adam", 0.0))
        for hidden in ((100, 100), (200,))
        for precision in PEAK
    ),
)


def cells(case, build):
    found = prediction.of_network(build, list(case.hidden), case.precision, [], case.optimizer, case.momentum)
    plan = "resident" if len(found.cycles) == 1 else "tiled"
    models = found.models_per_second()
    expected = models / LONGER["tiled" if plan == "tiled" else case.precision]
    return [
        case.name, case.precision, case.stepped_by, plan, f"{sum(found.cycles.values()):,.0f}", f"{models:,.1f}",
        f"{expected:,.1f}", f"{expected / case.rate(PEAK[case.precision]):.0%}", case.target,
    ]  # fmt: skip


def markdown(header, rows):
    return ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
