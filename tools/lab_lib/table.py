"""The lab's one table: what runs and every variant of it, by one net; what the model predicts of each, what the
compiler made of it, and what a GPU measured."""

import dataclasses

from bench_lib.ensembles import MODEL_UPDATES
from bench_lib.table import columns

from . import resident, tensor, tiled, whole
from .model import Prediction, floor_cycles

REFERENCE = "kernels/resident.cu"


@dataclasses.dataclass
class Row:
    name: str
    kernel: str = ""
    instance: str = ""
    precision: str = "fp32"
    prediction: Prediction | None = None
    registers: int | None = None
    spills: str = ""  # instructions in machine code, or bytes where only a GPU was asked
    shared_bytes: int | None = None
    obstacle: str = ""
    measured: dict | None = None  # a row of lab_runner's
    scale: float = 1.0  # of the prediction's cycles to those of one member on one multiprocessor

    def numbers(self, net, ceilings, of):
        """GFLOP/s, GB/s of rows from device memory, and the share of the floor, as measured."""
        rate = self.measured["updates_per_second"]
        floor = floor_cycles(net, self.precision, of) / of.clock / of.multiprocessors
        if ceilings.get("ffma_gflops") and self.precision == "fp32":
            floor = net.flop / (ceilings["ffma_gflops"] * 1e9)
        return {"gflops": rate * net.flop / 1e9, "gbs": rate * net.row_bytes / 1e9, "share_of_floor": rate * floor}


def newest(kernels):
    """Those of the newest architecture among them."""
    architecture = max((kernel.architecture for kernel in kernels), default="")
    return [kernel for kernel in kernels if kernel.architecture == architecture]


def words(instance):
    """A variant's template arguments, read out."""
    m, n, slice_, unroll, blocks, held = map(int, instance.split("x"))
    return (
        f"{m}x{n}, slice {slice_}, unroll {unroll}"
        + (f", {blocks} blocks" if blocks > 1 else "")
        + (", gradients in registers" if held else "")
    )


def named(source, precision):
    """A row's name, of a kernel that has an instance for each precision of tensor cores."""
    return source if precision == "fp32" else f"{source}, {precision.upper()}"


def slice_of(net, of):
    """Samples that what runs in fp32 by plan resident works on at a time; None where plan tiled runs."""
    if whole.takes(net, limit=of.shared_limit):
        return whole.SAMPLES
    return resident.slice_of(net, of.shared_limit)


def compiled_row(kernel, net, of):
    """Of a kernel that trains this net by plan resident; None of another."""
    if precision := whole.precision_of(kernel):
        if not whole.takes(net, precision, of.shared_limit):
            return None
        prediction, size = whole.predict(net, precision, kernel.loops, of), whole.shared_bytes(precision)
        row = Row(named(whole.source_of(precision), precision), precision=precision)
    elif precision := tensor.precision_of(kernel):
        if whole.takes(net, precision, of.shared_limit):
            return None
        prediction = tensor.predict(net, precision, kernel.loops, of)
        if prediction is None:
            return None
        size = tensor.plan_of(net, precision, of.shared_limit).bytes
        row = Row(named("kernels/resident_tensor.cu", precision), precision=precision)
    else:
        shape = resident.shape_of(kernel)
        is_reference = kernel.name == "resident_kernel"
        if shape is None or is_reference and shape.slice != slice_of(net, of):
            return None
        held = not is_reference and kernel.instance.endswith("x1")
        size = resident.shared_bytes(net, shape.slice) - (4 * net.parameter_floats if held else 0)
        row = Row(f"{REFERENCE}, slice {shape.slice}" if is_reference else words(kernel.instance))
        try:
            prediction = resident.predict(net, shape, kernel.loops, of)
        except ValueError as error:
            prediction, row.obstacle = None, str(error)
        if size > of.shared_limit:
            row.obstacle = "does not fit"
    row.kernel, row.instance, row.prediction, row.shared_bytes = kernel.name, kernel.instance, prediction, size
    row.registers, row.spills = kernel.registers, f"{kernel.spills} ops"
    return row


def rows_of(kernels, net, of, members, measured=None):
    """The table's rows: first what runs. members: of plan tiled. measured: lab_runner's report."""
    kernels = newest(kernels)
    rows = [row for row in (compiled_row(kernel, net, of) for kernel in kernels) if row]
    shares = tiled.shares_of(kernels)
    if shares and slice_of(net, of) is None:
        rows.append(Row(f"plan tiled, {members} members", prediction=tiled.predict(net, members, shares, of)))
        rows[-1].scale = of.multiprocessors / members
    by_instance = {row.instance: row for row in rows if row.kernel in ("resident_kernel", "variant_kernel")}
    by_instance |= {str(whole.SAMPLES): row for row in rows if row.kernel == whole.KERNELS["fp32"]}
    for found in (measured or {"variants": []})["variants"]:
        row = by_instance.get(found["instance"])
        if row is None:
            row = Row("")
            rows.append(row)
        # lab_runner calls kernels/resident.cu whatever its launcher takes.
        own = row.kernel == whole.KERNELS["fp32"]
        row.name = f"{found['number']}: {row.name if own else found['name']}"
        row.obstacle = found.get("obstacle", "")
        if not row.obstacle:
            row.measured, row.shared_bytes = found, found["shared_bytes"]
            if row.registers is None:
                row.registers, row.spills = found["registers"], f"{found['local_bytes']} B"
    return sorted(rows, key=lambda row: (row.kernel == "variant_kernel", row.precision != "fp32"))


def phase_of(row, phase):
    cycles = {name: row.scale * getattr(phase, name) for name in ("issue", "shared", "tensor", "memory")}
    useful = phase.useful / phase.executed if phase.executed else None
    return {"name": phase.name, **cycles, "hot_share": phase.share, "useful": useful}


def as_json(rows, net, ceilings, of):
    found = []
    for row in rows:
        known = row.prediction is not None and not row.prediction.unknown
        entry = {
            "name": row.name,
            "kernel": row.kernel,
            "instance": row.instance,
            "predicted_cycles": row.prediction.cycles * row.scale if known else None,
            "hot_share": row.prediction.hot_share if known else None,
            "predicted_share_of_floor": row.prediction.share_of_floor if known else None,
            "products_without_a_loop": row.prediction.unknown if row.prediction else None,
            "registers": row.registers,
            "spills": row.spills,
            "shared_bytes": row.shared_bytes,
            "obstacle": row.obstacle,
            "phases": [phase_of(row, phase) for phase in row.prediction.phases] if row.prediction else [],
        }
        if row.measured:
            entry |= row.numbers(net, ceilings, of)
            entry["same_bits"] = row.measured["same_bits"] and row.measured["changed"]
            entry["models_per_second"] = row.measured["updates_per_second"] / MODEL_UPDATES
        found.append(entry)
    return found


def text(value, form="{:,.0f}"):
    return "" if value is None else form.format(value)


def percent(value):
    return text(value and 100 * value, "{:.0f}%")


PREDICTED = ["", "cycles", "hot share", "of floor", "registers", "spills", "shared KiB"]
MEASURED = ["bits", "models/s", "GFLOP/s", "GB/s", "of floor"]


def predicted_cells(row, entry):
    missing = entry["products_without_a_loop"]
    return [
        row.name + (f" ({row.obstacle})" if row.obstacle else ""),
        f"{missing} loops not found" if missing else text(entry["predicted_cycles"]),
        percent(entry["hot_share"]),
        percent(entry["predicted_share_of_floor"]),
        text(entry["registers"]),
        row.spills,
        text(entry["shared_bytes"] and entry["shared_bytes"] / 1024, "{:.1f}"),
    ]


def measured_cells(row, entry):
    if not row.measured:
        return [""] * len(MEASURED)
    return [
        "same" if entry["same_bits"] else "DIFFERENT",
        text(entry["models_per_second"], "{:,.1f}"),
        text(entry["gflops"]),
        text(entry["gbs"], "{:,.1f}"),
        percent(entry["share_of_floor"]),
    ]


def markdown(rows, net, of):
    """The predicted part, as it stands in docs/performance.md."""
    cells = [predicted_cells(row, entry) for row, entry in zip(rows, as_json(rows, net, {}, of))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [PREDICTED, ["---"] * len(PREDICTED), *cells])


def phase_lines(rows, net, of):
    """Where the cycles of what runs go."""
    header = ["", "cycles", "issue", "shared", "tensor", "memory", "hot share", "useful"]
    cells = []
    for phase in as_json(rows[:1], net, {}, of)[0]["phases"]:
        cycles = [phase[name] for name in ("issue", "shared", "tensor", "memory")]
        cells.append([phase["name"], text(max(cycles)), *(text(n or None) for n in cycles)])
        cells[-1] += [percent(phase["hot_share"]), percent(phase["useful"])]
    return [
        f"{net.name}, batch {net.batch}: where the cycles of {rows[0].name} go, predicted",
        *columns(header, cells),
        "  issue slots with waits for registers, cycles of shared memory, of a tensor core, of device memory or L2: the largest counts. useful:",
        "  multiply-adds of the network among those executed, with idle lanes and padding.",
    ]


def lines(rows, net, ceilings, of):
    measured = any(row.measured for row in rows)
    header = PREDICTED + (MEASURED if measured else [])
    cells = [
        predicted_cells(row, entry) + (measured_cells(row, entry) if measured else [])
        for row, entry in zip(rows, as_json(rows, net, ceilings, of))
    ]
    return [
        f"{net.name}, batch {net.batch}: what runs, and its variants" + ("" if measured else " (no GPU: none was run)"),
        *columns(header, cells),
        "  predicted: cycles of an update on one multiprocessor at least, and what they are of the floor; hot share:",
        "  of FFMA or HMMA in the cycles of the products' inner loops, as often as these run.",
    ]
