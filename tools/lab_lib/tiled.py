"""Predicted cycles of plan tiled in fp32, from the machine code of its loops: one launch a product, for all members.

A block owns a tile of a product. It executes the whole tile, whatever lies beyond the matrix, and the depth in quads;
a launch takes as long as the multiprocessor with the most blocks needs for them, in issue slots and the cycles that FFMA
wait for registers (banks.py), or in wavefronts of shared memory; or as long as its bytes take through device memory.
Bytes count once a launch, as if the tiles of a member found each other's rows in L2 and no launch found anything of the
one before: right where all members' activations are far larger than L2. Not counted: latencies, tails of waves,
launches, epilogues.
"""

import dataclasses

from . import chip
from .model import PRODUCTS, QUAD, Phase, Prediction, divided, floor_cycles, padded


@dataclasses.dataclass(frozen=True)
class Tile:
    threads_m: int
    threads_n: int
    per_m: int
    per_n: int

    @property
    def m(self):
        return self.threads_m * self.per_m

    @property
    def n(self):
        return self.threads_n * self.per_n

    @property
    def threads(self):
        return self.threads_m * self.threads_n

    def place(self, thread):
        """(m, n) of a thread. Neighbouring lanes share columns and lanes two apart rows, where there are enough of
        both."""
        if self.threads_m % 2 or self.threads_n % 2:
            return divmod(thread, self.threads_n)
        return (
            thread // (2 * self.threads_n) * 2 + thread % 2,
            thread // 4 % (self.threads_n // 2) * 2 + thread // 2 % 2,
        )

    @property
    def instance(self):
        return f"{self.threads_m}x{self.threads_n}x{self.per_m}x{self.per_n}"


# kernels/epilogue.cuh
WIDE, SQUARE = Tile(16, 8, 8, 8), Tile(8, 8, 8, 8)
FEW_ROWS, FEW_COLUMNS, FEW_UNITS = Tile(4, 16, 4, 4), Tile(64, 1, 2, 4), Tile(2, 32, 4, 4)
STAGE_ROW = 20  # floats between rows of a stage along the depth
KERNELS = ("forward_kernel", "input_gradient_kernel", "weight_gradient_kernel")
# kernels/one_hidden.hpp; its kernels by the kind of their product, with their tiles, and the instance for two outputs and
# ReLU.
ONE_HIDDEN_INPUTS, ONE_HIDDEN_OUTPUTS, ONE_HIDDEN_INSTANCE = 51, 2, "2x1"
ONE_HIDDEN_KERNELS = {
    "one_hidden_forward_kernel": ("one forward", WIDE),
    "one_hidden_backward_kernel": ("one weight", Tile(16, 4, 8, 13)),
}
ONE_HIDDEN_TILES = dict(ONE_HIDDEN_KERNELS.values())


def tile_of(kind, net, fan_out):
    """What the launchers of kernels/{forward,input_gradient,weight_gradient}.cu choose."""
    if kind == "weight":
        return FEW_UNITS if fan_out <= FEW_UNITS.m else SQUARE
    if kind == "forward" and fan_out <= FEW_COLUMNS.n:
        return FEW_COLUMNS
    return FEW_ROWS if net.batch <= FEW_ROWS.m else SQUARE if net.batch <= SQUARE.m else WIDE


@dataclasses.dataclass(frozen=True)
class Product:
    name: str
    kind: str  # forward, input, weight
    tile: Tile
    rows: int  # of the result, for one member
    columns: int
    depth: int
    bytes: int  # through device memory, of one member

    @property
    def tiles(self):
        return divided(self.rows, self.tile.m) * divided(self.columns, self.tile.n)

    @property
    def steps(self):
        """Quads of the depth; one hidden layer's inputs end with half a quad where that is enough."""
        return divided(self.depth, 2) / 2 if self.kind == "one forward" else divided(self.depth, QUAD)

    @property
    def multiply_adds(self):
        """Of a thread in a step."""
        return QUAD * self.tile.per_m * self.tile.per_n

    @property
    def useful(self):
        return self.rows * self.columns * self.depth


def wavefronts(kind, tile):
    """Of all warps of a block in a step."""

    def m(thread):
        return tile.place(thread)[0]

    def n(thread):
        return tile.place(thread)[1]

    def along_depth(place, count):  # a quad of the depth of each of `count` rows
        return count * sum(chip.of_warps(tile.threads, 4, lambda thread: STAGE_ROW * place(thread)))

    def along_extent(place, count):  # quads of rows or columns, at each of the four depths
        return count * sum(chip.of_warps(tile.threads, 4, lambda thread: QUAD * place(thread)))

    if kind == "one weight":  # of the columns one in each step stands behind the quads
        columns = (tile.per_n - 1) * sum(chip.of_warps(tile.threads, 4, lambda thread: QUAD * n(thread)))
        return along_extent(m, tile.per_m) + columns + QUAD * sum(chip.of_warps(tile.threads, 1, n))
    of_a = along_extent if kind.endswith("weight") else along_depth
    of_b = along_depth if kind.endswith("forward") else along_extent
    return of_a(m, tile.per_m) + of_b(n, tile.per_n)


def products(net):
    """The products of an update. Bytes: what a launch reads and writes, each once."""

    def matrix(rows, columns):
        return 4 * rows * padded(columns)

    found = []
    for number, (fan_in, fan_out) in enumerate(net.layers):
        x, z, weight = matrix(net.batch, fan_in), matrix(net.batch, fan_out), matrix(fan_out, fan_in)
        of_kind = {
            "forward": (net.batch, fan_out, fan_in, x + weight + z),
            # delta and weights; h below for its derivative, the gradient in a place of its own
            "input": (net.batch, fan_in, fan_out, z + weight + 2 * x),
            "weight": (fan_out, fan_in, net.batch, z + x + 2 * weight),
        }
        for kind, (rows, columns, depth, size) in of_kind.items():
            if kind == "input" and number == 0:
                continue
            name = f"{PRODUCTS[kind]}, layer {number}, {fan_in}->{fan_out}"
            found.append(Product(name, kind, tile_of(kind, net, fan_out), rows, columns, depth, size))
    return found


def takes_one_hidden(net):
    """Whether two launches do an update of both layers (src/cuda/plan.cpp)."""
    inputs, *hidden, outputs = net.widths
    return len(hidden) == 1 and inputs <= ONE_HIDDEN_INPUTS and outputs <= ONE_HIDDEN_OUTPUTS


def launched(net):
    """The products that plan tiled launches. With one hidden layer the last layer's rides along in both launches: its
    multiply-adds are useful and not counted otherwise, and activations are written once and read once."""
    if not takes_one_hidden(net):
        return products(net)
    by_name = {product.name: product for product in products(net)}
    inputs, units, _ = net.widths
    return [
        dataclasses.replace(by_name[f"{name}, layer 0, {inputs}->{units}"], kind=kind, tile=ONE_HIDDEN_TILES[kind])
        for name, kind in (("forward", "one forward"), ("weight gradient", "one weight"))
    ]


def shares_of(kernels):
    """{(kind, tile's instance): share of FFMA} of the main loops of a build's kernels, of one architecture."""
    shares = {}
    for kernel in kernels:
        if kernel.name in ONE_HIDDEN_KERNELS and kernel.instance == ONE_HIDDEN_INSTANCE:
            kind, tile = ONE_HIDDEN_KERNELS[kernel.name]
        elif kernel.name in KERNELS:
            tile, kind = Tile(*map(int, kernel.instance.split("x")[:4])), kernel.name.split("_")[0]
        else:
            continue
        of_step = QUAD * tile.per_m * tile.per_n
        loops = [loop for loop in kernel.loops if loop.operations["FFMA"] % of_step == 0 and loop.operations["FFMA"]]
        if loops:
            shares[kind, tile.instance] = max(loop.share for loop in loops)
    return shares


def predict(net, members, shares, of=chip.Chip()):
    """An update of all members on the whole chip: cycles of its busiest multiprocessor."""
    phases = []
    for product in launched(net):
        tile, share = product.tile, shares.get((product.kind, product.tile.instance))
        blocks = divided(members * product.tiles, of.multiprocessors)
        executed = blocks * product.steps * product.multiply_adds * tile.threads
        phases.append(
            Phase(
                product.name,
                issue=executed / chip.FMA_PER_CYCLE / share if share else 0.0,
                shared=blocks * product.steps * wavefronts(product.kind, tile),
                memory=members * product.bytes / of.memory * of.clock,
                share=share,
                useful=members * product.useful / of.multiprocessors,
                executed=executed,
                known=share is not None,
            )
        )
    return Prediction(phases, members * floor_cycles(net, of=of) / of.multiprocessors, whole_chip=True)


def sgemm_cycles(net, members, of=chip.Chip()):
    """The same products by cuBLAS's batched sgemm, at best: each at its share of the FFMA peak, or at the memory
    bandwidth with the product's operands and result read and written once. Bias, activation, their derivatives and
    the optimiser, which sgemm leaves to further launches, cost nothing here."""
    total = 0.0
    for product in products(net):
        compute = members * product.useful / (of.fma_per_second * of.sgemm)
        elements = sum(
            rows * padded(columns)
            for rows, columns in (
                (product.rows, product.depth),
                (product.columns, product.depth),
                (product.rows, product.columns),
            )
        )
        total += max(compute, 4 * members * elements / of.memory)
    return total * of.clock
