"""What CUTLASS's fp32 products (FFMA, as cuBLAS's) take on the machine for the matrix products of one update, beside
Occam's whole update: activations, loss, gathering and the optimiser's steps included.

Each product is taken by every tile that cutlass_products.cu has, and the fastest counts. Products with a side as short
as the classes are no matter of multiply-adds: what counts is the time that their large operand takes to pass through
memory once.
"""

import dataclasses

from . import prediction, target
from .toolchain import MachineError, run

LARGE = ("forward", 256, 256, 2048)  # two blocks' tiles of a large product
FFMA_PER_CYCLE = 128  # of a multiprocessor
BYTES_PER_CYCLE = 4.05e12 / prediction.MULTIPROCESSORS / prediction.CLOCK  # a multiprocessor's share of the copy rate


@dataclasses.dataclass(frozen=True)
class Product:
    """C[m][n] = A · B over k of a layer (numbered from 0)."""

    layer: int
    kind: str
    m: int
    n: int
    k: int

    @property
    def thin(self):
        return min(self.m, self.n, self.k) <= target.CLASSES

    @property
    def thin_cycles(self):
        sides = sorted((self.m, self.n, self.k))
        return 4 * sides[1] * sides[2] / BYTES_PER_CYCLE


def of_update(hidden):
    widths, batch = [target.INPUTS, *hidden, target.CLASSES], target.BATCH
    for layer, (inputs, units) in enumerate(zip(widths, widths[1:])):
        yield Product(layer, "forward", batch, units, inputs)
        if layer > 0:
            yield Product(layer, "input_gradient", batch, inputs, units)
        yield Product(layer, "weight_gradient", units, inputs, batch)


class Cutlass:
    def __init__(self, build, headers):
        if not (headers / "cutlass/gemm/device/gemm_universal.h").exists():
            raise MachineError(f"--cutlass: {headers} holds no cutlass/gemm; give the include folder of CUTLASS", 2)
        build.configure(f"-DOCCAM_CUTLASS={headers.resolve()}")
        self.program, self.timer = build.program("machine_products"), build.program("machine_time")
        objects = list(build.folder.glob("CMakeFiles/cutlass_products.dir/**/*.cu.o"))
        self.listing = build.listing_of(objects, "products.lst")
        self.tiles = int(run([self.program, *map(str, LARGE)], capture_output=True).stdout)

    def cycles(self, kind, m, n, k):
        """The fewest of all tiles, of a product on one multiprocessor."""
        return min(self._cycles([self.program, kind, m, n, k, tile]) for tile in range(self.tiles))

    def _cycles(self, command):
        return sum(prediction.launches(command, None, self.listing, self.timer, [], "cutlass").cycles.values())


HEADER = ["net", "products", "thin ones at least", "together", "Occam's update", "Occam's time by theirs"]


def rows(build, headers, log):
    """[a row of HEADER for each network with a target in fp32], and the share of the FFMA peak of a large product."""
    cutlass = Cutlass(build, headers)
    peak = LARGE[1] * LARGE[2] * LARGE[3] / FFMA_PER_CYCLE / cutlass.cycles(*LARGE)
    table = []
    for case in target.CASES:
        if case.precision != "fp32":
            continue
        large = thin = 0
        for product in of_update(case.hidden):
            if product.thin:
                thin += product.thin_cycles
                continue
            cycles = cutlass.cycles(product.kind, product.m, product.n, product.k)
            log(f"{case.name} layer {product.layer} {product.kind}: {cycles:,} cycles")
            large += cycles
        occam = sum(prediction.of_network(build, list(case.hidden), "fp32", []).cycles.values())
        both = large + thin
        table.append([case.name, *(f"{cycles:,.0f}" for cycles in (large, thin, both, occam)), f"{occam / both:.0%}"])
    return table, peak
