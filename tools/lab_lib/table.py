"""The lab's table of variants: what a GPU measured of each, beside what the compiler made of it."""

import dataclasses
import os
import re

from bench_lib.ensembles import MODEL_UPDATES
from bench_lib.measure import flop_per_update
from bench_lib.table import columns

QUAD = 4
# An H200's peak by its datasheet, for where none was measured: 132 multiprocessors of 128 multiply-adds a cycle, at
# 1.98 GHz.
DATASHEET_FFMA_GFLOPS = 132 * 128 * 2 * 1.98

HEADER = ["", "bits", "models/s", "GFLOP/s", "GB/s", "of floor", "registers", "spills", "shared KiB"]


@dataclasses.dataclass(frozen=True)
class Net:
    """A fully connected network and its batch."""

    inputs: int
    hidden: tuple
    outputs: int
    batch: int = 256

    @property
    def name(self):
        return "-".join(map(str, (self.inputs, *self.hidden, self.outputs)))

    @property
    def flop(self):
        """Of an update."""
        return flop_per_update(self.inputs, self.hidden, self.outputs, self.batch, self.batch)

    @property
    def row_bytes(self):
        """Of an update's rows and labels in device memory, where a row is an odd number of quads."""
        stride = (-(-self.inputs // QUAD) | 1) * QUAD
        return self.batch * 4 * (stride + 1)


def newest(kernels):
    """Those of the newest architecture among them: sm_100 is newer than sm_90a, which is newer than sm_90."""

    def age(kernel):
        return int(re.search(r"\d+", kernel.architecture).group()), kernel.architecture

    latest = max(map(age, kernels), default=None)
    return [kernel for kernel in kernels if age(kernel) == latest]


def kernel_name(name):
    """Of what lab_runner names: a kernel's source, or a variant in words."""
    stem, extension = os.path.splitext(os.path.basename(name))
    return f"{stem}_kernel" if extension == ".cu" else "variant_kernel"


def machine_code_of(row, kernels):
    """The kernel of a row of lab_runner's; None where its machine code is not there."""
    wanted = (kernel_name(row["name"]), row["instance"])
    return next((kernel for kernel in kernels if (kernel.name, kernel.instance) == wanted), None)


def rates(row, net, ceilings):
    """As measured: models/s, GFLOP/s, GB/s of rows from device memory, and the share of the floor, FLOP over the FFMA
    peak."""
    updates = row["updates_per_second"]
    gflops = updates * net.flop / 1e9
    return {
        "models_per_second": updates / MODEL_UPDATES,
        "gflops": gflops,
        "gbs": updates * net.row_bytes / 1e9,
        "share_of_floor": gflops / (ceilings.get("ffma_gflops") or DATASHEET_FFMA_GFLOPS),
    }


def entry_of(row, kernel, net, ceilings):
    entry = {
        "name": f"{row['number']}: {row['name']}",
        "kernel": kernel.name if kernel else "",
        "instance": row["instance"],
        "registers": kernel.registers if kernel else row.get("registers"),
        "spills": f"{kernel.spills} ops" if kernel else "",
        "shared_bytes": row.get("shared_bytes"),
        "obstacle": row.get("obstacle", ""),
    }
    if not entry["obstacle"]:
        entry |= rates(row, net, ceilings) | {"same_bits": row["same_bits"] and row["changed"]}
        entry["spills"] = entry["spills"] or f"{row['local_bytes']} B"
    return entry


def entries(measured, kernels, net, ceilings):
    """One of each variant. measured: lab_runner's report; kernels: whose machine code was read."""
    kernels = newest(kernels)
    return [entry_of(row, machine_code_of(row, kernels), net, ceilings) for row in measured["variants"]]


def text(value, form="{:,.0f}"):
    return "" if value is None else form.format(value)


def cells(entry):
    name = entry["name"] + (f" ({entry['obstacle']})" if entry["obstacle"] else "")
    bits = "" if entry["obstacle"] else "same" if entry["same_bits"] else "DIFFERENT"
    return [
        name,
        bits,
        text(entry.get("models_per_second"), "{:,.1f}"),
        text(entry.get("gflops")),
        text(entry.get("gbs"), "{:,.1f}"),
        text(entry.get("share_of_floor"), "{:.0%}"),
        text(entry["registers"]),
        entry["spills"],
        text(entry["shared_bytes"] and entry["shared_bytes"] / 1024, "{:.1f}"),
    ]


def lines(found, net):
    return [f"{net.name}, batch {net.batch}: what runs, and its variants", *columns(HEADER, list(map(cells, found)))]
