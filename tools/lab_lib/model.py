"""Predicted cycles of plan resident, from the machine code of its loops.

The model is that of issue slots. A multiprocessor has four schedulers, each issues one instruction a cycle, a
warp's FFMA takes one slot, and warps are dealt out evenly. So a product of which each thread does F
multiply-adds, in a loop of which FFMA are the share s, takes threads / 128 · F / s cycles. Instructions count
as each thread executes them: idle threads of a grid and columns beyond the last one cost as much as the
others. Latencies that no other warp hides, bank conflicts, barriers, and everything outside products (gather,
loss, optimiser) are not in it: it is a bound from below, of which a measurement says how near it is.
"""

import dataclasses

QUAD, PAIRS = 4, (1, 3, 5)
SCHEDULERS, LANES = 4, 32
FEW_SHARE = (
    4 / 9
)  # of one-thread-a-sample products, where their loop is not found: 4 FFMA, 2 loads, 3 of the loop


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


def shape_of(kernel):
    """The Shape of an instance of resident_kernel or variant_kernel; None for another kernel. The numbers
    stand in kernels/resident_product.cuh and tools/lab_lib/variant.cuh."""
    numbers = [int(number) for number in kernel.instance.split("x") if number]
    if kernel.name == "resident_kernel" and numbers:
        return Shape(numbers[0])
    if kernel.name == "variant_kernel" and len(numbers) >= 3:
        m, n, slice_ = numbers[:3]
        return Shape(slice_, m, n, (2, 4, 7), n // 2)
    return None


@dataclasses.dataclass(frozen=True)
class Product:
    name: str
    kind: str  # forward, input, weight, few
    width: int  # columns or pairs of a thread
    multiply_adds: int  # of one thread in one slice
    useful: int  # of all threads in one slice


def divided(a, b):
    return -(-a // b)


def columns_of(features, shape):
    """(columns of a thread in a pass, passes) as over the compiled numbers."""
    every = divided(features, shape.n)
    passes = divided(every, shape.columns[-1])
    width = next(width for width in shape.columns if width >= divided(every, passes))
    return width, divided(features, width * shape.n)


def products(widths, shape):
    """The products of one slice of an update. widths: inputs, hidden layers, outputs."""
    found = []
    for number, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
        useful, label = shape.slice * fan_in * fan_out, f"layer {number}, {fan_in}->{fan_out}"
        depth = divided(fan_in, QUAD) * QUAD

        def add(name, kind, width, multiply_adds, of=label, all_threads=useful):
            found.append(Product(f"{name}, {of}", kind, width, multiply_adds, all_threads))

        if fan_out <= shape.few_units:
            add("forward", "few", 1, divided(shape.slice * fan_out, shape.threads) * depth)
        else:
            width, passes = columns_of(fan_out, shape)
            add("forward", "forward", width, passes * shape.per_m * width * depth)
        if number:
            width, passes = columns_of(fan_in, shape)
            add("input gradient", "input", width, passes * shape.per_m * width * fan_out)
        across = shape.threads // divided(fan_out, QUAD)
        width = next((p for p in PAIRS if p >= divided(fan_in, 2 * across)), PAIRS[-1])
        passes = divided(fan_in, 2 * width * across)
        add("weight gradient", "weight", width, passes * 2 * width * QUAD * shape.slice)
    return found


def kind_of(loop, shape):
    """(kind, width, unrolled steps) of an inner loop by its loads from shared memory; None for another loop.

    A step of a forward product reads per_m + columns quads for 4 · per_m · columns multiply-adds, one of an
    input gradient per_m quads and 4 · columns numbers for as many, one of a weight gradient a quad and
    `pairs` pairs for 8 · pairs.
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
            if pairs == 0 and single == steps * 4 * width and quads == steps * per_m:
                return "input", width, steps
        for width in PAIRS:
            if (single, quads, pairs, ffma) == (0, steps, steps * width, steps * 8 * width):
                return "weight", width, steps
    return None


@dataclasses.dataclass
class Prediction:
    cycles: float  # of an update on one multiprocessor
    floor: float  # cycles if every slot were a multiply-add of the model
    rows: list  # (product, share or None, cycles)
    unknown: int  # products whose loop was not found


def predict(widths, batch, shape, loops):
    """loops: of the kernel's instance of this shape."""
    shares = {}
    for loop in loops:
        kind = kind_of(loop, shape)
        # A remainder loop has the same loads; the main one, unrolled more, is where the time goes.
        if kind and (kind[:2] not in shares or kind[2] > shares[kind[:2]][1]):
            shares[kind[:2]] = loop.share, kind[2]
    slices = divided(batch, shape.slice)
    warps = shape.threads / LANES / SCHEDULERS
    rows, unknown = [], 0
    for product in products(widths, shape):
        share, _ = shares.get(
            (product.kind, product.width), (FEW_SHARE if product.kind == "few" else None, 0)
        )
        unknown += share is None
        rows.append((product, share, slices * warps * product.multiply_adds / share if share else None))
    useful = sum(product.useful for product, _, _ in rows) * slices
    total = sum(cycles for _, _, cycles in rows if cycles is not None)
    return Prediction(total, useful / (LANES * SCHEDULERS), rows, unknown)
