"""Predictions of the ensembles that have a target, on an H200: 50 inputs, 2 classes, batch 256, SGD."""

import dataclasses

from bench_lib.ensembles import MODEL_UPDATES
from bench_lib.table import columns

from . import resident, table, tensor, tiled, whole
from .chip import Chip
from .model import Net, divided, models_per_second

ENSEMBLES = (132, 1024)


@dataclasses.dataclass(frozen=True)
class Case:
    hidden: tuple
    precision: str = "fp32"
    least_models: float | None = None  # models a second that the target asks for, of an ensemble of 132
    least_share: float | None = None  # of the floor
    least_of_sgemm: float | None = None


CASES = (
    Case((100, 100), least_models=350),
    Case((100, 100), "tf32", least_models=800),
    Case((100, 100), "bf16"),
    Case((200,)),
    Case((300, 300), least_share=0.5),
    Case((2000,), least_of_sgemm=0.85),
)


@dataclasses.dataclass
class Forecast:
    case: Case
    members: int
    plan: str
    cycles: float  # of an update of one member, if it had the whole chip
    share_of_floor: float
    models: float  # a second, at most
    floor_models: float
    of_sgemm: float | None  # share of cuBLAS's rate, where its products are the ceiling

    @property
    def net(self):
        return "(" + ",".join(map(str, (self.case.hidden[0], len(self.case.hidden)))) + ")"

    @property
    def asks(self):
        """The target, and which share of the bound it asks for; "" and None without one."""
        case = self.case
        if case.least_models:
            return f"{case.least_models:,.0f} models/s", case.least_models / self.models
        if case.least_share:
            return f"{100 * case.least_share:.0f}% of floor", case.least_share / self.share_of_floor
        if case.least_of_sgemm:
            return f"{100 * case.least_of_sgemm:.0f}% of sgemm", case.least_of_sgemm / self.of_sgemm
        return "", None


def forecast(case, members, kernels, of=Chip()):
    """None where the machine code lacks a kernel or one of its loops."""
    net = Net((50, *case.hidden, 2))
    of_sgemm = None
    if whole.takes(net, case.precision, of.shared_limit):
        kernel = next((k for k in kernels if whole.precision_of(k) == case.precision), None)
        plan, prediction = "resident", kernel and whole.predict(net, case.precision, kernel.loops, of)
    elif case.precision != "fp32":
        kernel = next((k for k in kernels if tensor.precision_of(k) == case.precision), None)
        plan, prediction = "resident", kernel and tensor.predict(net, case.precision, kernel.loops, of)
    elif slice_ := resident.slice_of(net, of.shared_limit):
        kernel = next((k for k in kernels if k.name == "resident_kernel" and k.instance == str(slice_)), None)
        plan, prediction = "resident", kernel and resident.predict(net, resident.Shape(slice_), kernel.loops, of)
    else:
        plan, prediction = "tiled", tiled.predict(net, members, tiled.shares_of(kernels), of)
        of_sgemm = tiled.sgemm_cycles(net, members, of) / prediction.cycles if prediction.cycles else None
    if prediction is None or prediction.unknown:
        return None
    models = models_per_second(prediction, members, of, MODEL_UPDATES)
    # Cycles of the whole chip for one member's update.
    if prediction.whole_chip:
        cycles, floor = prediction.cycles / members, prediction.floor / members
    else:
        rounds = divided(members, of.multiprocessors)
        cycles, floor = prediction.cycles * rounds / members, prediction.floor / of.multiprocessors
    return Forecast(
        case, members, plan, cycles, floor / cycles, models, of.clock / floor / MODEL_UPDATES, of_sgemm
    )


def forecasts(kernels, of=Chip()):
    kernels = table.newest(kernels)
    every = (forecast(case, members, kernels, of) for case in CASES for members in ENSEMBLES)
    return [found for found in every if found]


HEADER = ["net", "precision", "plan", "members", "us an update", "of floor", "models/s at most", "floor", "target",
          "asks of the bound"]  # fmt: skip


def cells(found, of):
    for row in found:
        target, asked = row.asks
        of_floor = f"{100 * row.share_of_floor:.0f}%"
        if row.case.least_of_sgemm:
            of_floor += f", {100 * row.of_sgemm:.0f}% of sgemm"
        yield [
            row.net,
            row.case.precision,
            row.plan,
            f"{row.members:,}",
            f"{1e6 * row.cycles / of.clock:.3f}",
            of_floor,
            f"{row.models:,.0f}",
            f"{row.floor_models:,.0f}",
            target,
            "" if asked is None else f"{100 * asked:.0f}%",
        ]


def lines(found, of=Chip()):
    return [
        f"Predicted, not measured: ensembles on {of.multiprocessors} multiprocessors at {of.clock / 1e9:g} GHz; "
        f"a model: {MODEL_UPDATES:,} updates",
        *columns(HEADER, list(cells(found, of))),
    ]


def markdown(found, of=Chip()):
    rows = [HEADER, ["---"] * len(HEADER), *cells(found, of)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
