"""Predicted cycles of plan resident in fp32, by slices of the batch, from the machine code of its loops.

A warp's FFMA takes one issue slot of its scheduler, which has every fourth warp, and those that it waits for registers
(banks.py): a product of which each thread does F multiply-adds, in a loop of whose cycles FFMA are the share s, takes
F / s for each of a scheduler's warps. Idle
threads of a warp and columns beyond the last one cost as much as the others; a warp without any work costs nothing.
Not counted: barriers, latencies, conflicts of stores, gather, activations, loss and optimiser.
"""

import dataclasses
import operator

from .chip import LANES, Chip, busiest, of_warps
from .model import QUAD, Phase, Prediction, divided, floor_cycles, padded

PAIRS = (1, 3, 5)
SLICES = (128, 64, 32, 16)
READ_BEYOND = 12  # floats
# Of one-thread-a-sample products, where their loop is not found: 4 FFMA, 2 loads, 3 of the loop.
FEW_SHARE = 4 / 9


@dataclasses.dataclass(frozen=True)
class Shape:
    """m x n threads over samples and features; the compiled numbers of columns of a thread; so few units are
    multiplied with one thread a sample and unit."""

    slice: int
    m: int = 16
    n: int = 16
    columns: tuple = (1, 2, 4, 6, 7, 8)
    few_units: int = 8

    @property
    def per_m(self):
        return self.slice // self.m

    @property
    def threads(self):
        return self.m * self.n

    def place(self, thread):
        """(m, n) of a thread: of its first sample and its first feature."""
        return divmod(thread, self.n)

    def row(self, columns):
        """Floats of a row of a matrix in shared memory."""
        return padded(columns)


def shape_of(kernel):
    """The Shape of an instance of resident_kernel or variant_kernel; None for another kernel. The numbers
    stand in kernels/resident_product.cuh and tools/lab_lib/variant.cuh."""
    numbers = [int(number) for number in kernel.instance.split("x") if number.isdigit()]
    if kernel.name == "resident_kernel" and numbers:
        return Shape(numbers[0])
    if kernel.name == "variant_kernel" and len(numbers) >= 3:
        m, n, slice_ = numbers[:3]
        return Shape(slice_, m, n, (2, 4, 7), n // 2)
    return None


def shared_bytes(net, slice_):
    """What plan resident takes of shared memory, with activations in place (src/cuda/plan.cpp)."""
    floats = 2 * net.parameter_floats + 2 * (slice_ * padded(net.widths[0]) + READ_BEYOND)
    floats += sum(slice_ * padded(units) for units in net.widths[1:]) + READ_BEYOND
    return 4 * (floats + 2 * 2 * divided(net.batch, QUAD) * QUAD + QUAD)


def slice_of(net, limit):
    """Samples that plan resident with gradients in shared memory works on at a time; None where it does not take the
    network."""
    fitting = [slice_ for slice_ in SLICES if shared_bytes(net, slice_) <= limit]
    if not fitting or max(net.widths[1:]) > QUAD * Shape(16).threads:
        return None
    return min(fitting, key=lambda slice_: divided(net.batch, slice_) * slice_)


@dataclasses.dataclass(frozen=True)
class Product:
    name: str
    kind: str  # forward, input, weight, few
    width: int  # columns or pairs of a thread
    steps: tuple  # by warp: of its loop in one slice
    multiply_adds: int  # of one thread in a step
    useful: int  # of all threads in one slice
    wavefronts: tuple  # by warp: of its loads in a step


def columns_of(features, shape):
    """(columns of a thread in a pass, passes) as over the compiled numbers."""
    every = divided(features, shape.n)
    passes = divided(every, shape.columns[-1])
    width = next(width for width in shape.columns if width >= divided(every, passes))
    return width, divided(features, width * shape.n)


def total(shape, *loads):
    """Wavefronts by warp of (how many, width, place) each."""
    waves = [[count * n for n in of_warps(shape.threads, width, place)] for count, width, place in loads]
    return tuple(map(sum, zip(*waves)))


def of_all_warps(shape, steps):
    return (steps,) * (shape.threads // LANES)


def forward_product(fan_in, fan_out, shape):
    width, passes = columns_of(fan_out, shape)
    row = shape.row(fan_in)
    waves = total(
        shape,
        (shape.per_m, 4, lambda thread: shape.place(thread)[0] * row),
        (width, 4, lambda thread: shape.place(thread)[1] * row),
    )
    return "forward", width, of_all_warps(shape, passes * divided(fan_in, QUAD)), QUAD * shape.per_m * width, waves


def few_product(fan_in, fan_out, shape):
    items, row = shape.slice * fan_out, shape.row(fan_in)

    def exists(thread, word):
        return word if thread < items else None

    waves = total(
        shape,
        (1, 4, lambda thread: exists(thread, thread // fan_out * row)),
        (1, 4, lambda thread: exists(thread, thread % fan_out * row)),
    )
    rounds = [divided(max(items - first, 0), shape.threads) for first in range(0, shape.threads, LANES)]
    return "few", 1, tuple(n * divided(fan_in, QUAD) for n in rounds), QUAD, waves


def input_product(fan_in, fan_out, shape):
    width, passes = columns_of(fan_in, shape)
    row = shape.row(fan_out)
    waves = total(
        shape,
        (shape.per_m, 4, lambda thread: shape.place(thread)[0] * row),
        (QUAD * width, 1, lambda thread: shape.place(thread)[1]),
    )
    return "input", width, of_all_warps(shape, passes * divided(fan_out, QUAD)), QUAD * shape.per_m * width, waves


def weight_product(fan_in, fan_out, shape):
    quads = divided(fan_out, QUAD)
    across = shape.threads // quads
    width = next((pairs for pairs in PAIRS if pairs >= divided(fan_in, 2 * across)), PAIRS[-1])

    def first(thread):
        return 2 * width * (thread % across)

    def passes(thread):
        return divided(max(fan_in - first(thread), 0), 2 * width * across) if thread // across < quads else 0

    waves = total(
        shape,
        (1, 4, lambda thread: QUAD * (thread // across) if passes(thread) else None),
        (width, 2, lambda thread: first(thread) if passes(thread) else None),
    )
    steps = tuple(
        shape.slice * max(passes(thread) for thread in range(warp, warp + LANES))
        for warp in range(0, shape.threads, LANES)
    )
    return "weight", width, steps, 2 * width * QUAD, waves


def products(net, shape):
    """The products of one slice of an update."""
    found = []
    for number, (fan_in, fan_out) in enumerate(net.layers):
        if fan_out > QUAD * shape.threads:
            raise ValueError(f"{fan_out} units are more than {QUAD} for each of {shape.threads} threads")
        forward = few_product if fan_out <= shape.few_units else forward_product
        for name, of in (("forward", forward), ("input gradient", input_product), ("weight gradient", weight_product)):
            if of is input_product and number == 0:
                continue
            kind, width, steps, multiply_adds, waves = of(fan_in, fan_out, shape)
            name = f"{name}, layer {number}, {fan_in}->{fan_out}"
            useful = shape.slice * fan_in * fan_out
            found.append(Product(name, kind, width, steps, multiply_adds, useful, waves))
    return found


def kind_of(loop, shape):
    """(kind, width, unrolled steps) of an inner loop by its loads from shared memory; None for another loop.

    A step of a forward product reads per_m + columns quads for 4 · per_m · columns multiply-adds, one of an input
    gradient per_m quads and 4 · columns single words for as many, one of a weight gradient a quad and `pairs` pairs for
    8 · pairs.
    """
    per_m, ffma = shape.per_m, loop.operations["FFMA"]
    quads, pairs, single = (
        loop.operations["LDS" + width] + loop.operations["LD" + width] for width in (".128", ".64", "")
    )
    for steps in (1, 2, 4, 8):
        if pairs == single == 0 and (quads, ffma) == (2 * steps, 4 * steps):
            return "few", 1, steps
        for width in shape.columns:
            if ffma != steps * 4 * per_m * width:
                continue
            if pairs == single == 0 and quads == steps * (per_m + width):
                return "forward", width, steps
            if pairs == 0 and (quads, single) == (steps * per_m, steps * QUAD * width):
                return "input", width, steps
        for width in PAIRS:
            if (single, quads, pairs, ffma) == (0, steps, steps * width, steps * 8 * width):
                return "weight", width, steps
    return None


def shares_of(loops, kind_of_loop):
    """{(kind, width): share of FFMA} of a kernel's loops; kind_of_loop(loop): as kind_of. Where several are alike, of all
    of them."""
    alike = {}
    for loop in loops:
        if kind := kind_of_loop(loop):
            alike.setdefault(kind[:2], {}).setdefault(kind[2], []).append(loop)
    # A remainder loop has the same loads; the main one, unrolled more, is where the time goes.
    main = {kind: by_steps[max(by_steps)] for kind, by_steps in alike.items()}
    return {
        kind: sum(loop.operations["FFMA"] for loop in found) / sum(loop.cycles for loop in found)
        for kind, found in main.items()
    }


def phases_of(found, shares, slices=1):
    """A phase for each product of a slice, as often as there are slices."""
    phases = []
    for product in found:
        share = shares.get((product.kind, product.width))
        phases.append(
            Phase(
                product.name,
                issue=slices * busiest(product.steps) * product.multiply_adds / share if share else 0.0,
                shared=slices * sum(map(operator.mul, product.steps, product.wavefronts)),
                share=share,
                useful=slices * product.useful,
                executed=slices * sum(product.steps) * product.multiply_adds * LANES,
                known=share is not None,
            )
        )
    return phases


def predict(net, shape, loops, chip=Chip()):
    """An update of one member on one multiprocessor. loops: of the kernel's instance of this shape."""
    shares = {("few", 1): FEW_SHARE} | shares_of(loops, lambda loop: kind_of(loop, shape))
    phases = phases_of(products(net, shape), shares, divided(net.batch, shape.slice))
    return Prediction(phases, floor_cycles(net, of=chip))
