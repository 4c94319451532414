"""Predicted cycles of plan resident on tensor cores, from the machine code of its loops.

A warp owns a tile of `down` x 16 rows by `across` x 8 columns of a product and steps through its depth; tiles are
dealt out to eight warps, of which two share a scheduler and its tensor core. So a product takes as long as the
busiest scheduler's tiles, in issue slots or in HMMA, or as all tiles' loads take of shared memory: ldmatrix four
cycles for four matrices, a load of single words one, neither with conflicts (kernels/resident_tensor_operand.cuh).
Between updates the optimiser passes over parameters and gradients in the L2 cache; rows come from device memory,
beside the products. Not counted: barriers, latencies, activations, loss, rounding of rows and weights.
"""

import dataclasses

from . import chip
from .model import PRODUCTS, Phase, Prediction, divided, floor_cycles

WARPS = 8
# (down, across): kWarpTiles of kernels/resident_tensor.hpp.
WARP_TILES = ((2, 7), (1, 7), (2, 4), (1, 2), (1, 1))
CHUNK, READ_BEYOND = 16, 64  # bytes
ELEMENT_BYTES = {"tf32": 4, "bf16": 2}
# Of a step whose loop is not found: addresses and the branch.
OTHER_INSTRUCTIONS = 4


def precision_of(kernel):
    """tf32 or bf16 of an instance of resident_tensor_kernel; None for another kernel."""
    instance = kernel.instance.lower()
    return instance if kernel.name == "resident_tensor_kernel" and instance in ELEMENT_BYTES else None


def row_bytes(columns, precision):
    return (divided(columns * ELEMENT_BYTES[precision], CHUNK) | 1) * CHUNK


def shared_bytes(net, precision, slice_, gradients):
    """What the plan takes of shared memory, with activations in place (src/cuda/plan.cpp)."""
    step = 2 * CHUNK // ELEMENT_BYTES[precision]

    def rounded(size, to=CHUNK):
        return divided(size, to) * to

    def panel(rows, columns):
        return rounded(rows * row_bytes(columns, precision) + READ_BEYOND)

    used = 2 * panel(slice_, net.widths[0])
    for fan_in, fan_out in net.layers:
        used += panel(rounded(fan_out, step), fan_in) + panel(slice_, fan_out)
        used += rounded(4 * (rounded(fan_out, 8) + 1))
    used += rounded(4 * slice_ * net.widths[-1]) + 2 * rounded(8 * net.batch) + CHUNK
    return used + (4 * net.parameter_floats if gradients else 0)


@dataclasses.dataclass(frozen=True)
class Plan:
    slice: int
    gradients_on_chip: bool
    bytes: int


def plan_of(net, precision, limit):
    """As few slices as fit, then gradients on the chip if they fit too; None where none fits."""
    slices = slice_ = 0
    while slice_ != 16:
        slices += 1
        slice_ = divided(divided(net.batch, slices), 16) * 16
        for on_chip in (True, False):
            size = shared_bytes(net, precision, slice_, on_chip)
            if size <= limit:
                return Plan(slice_, on_chip, size)
    return None


def best_warp_tile(rows, columns):
    m_tiles, n_tiles = divided(rows, 16), divided(columns, 8)
    fitting = [(down, across) for down, across in WARP_TILES if down <= m_tiles and across <= n_tiles]

    def cost(tile):
        down, across = tile
        rounds = divided(divided(m_tiles, down) * divided(n_tiles, across), WARPS)
        return rounds * (down * across + down + across)

    return min(fitting, key=cost)


@dataclasses.dataclass(frozen=True)
class Product:
    name: str
    kind: str  # forward, input, weight
    down: int
    across: int
    tiles: int  # of a slice
    bias_tiles: int  # of them, those that sum the bias's gradient beside their own columns
    steps: int
    useful: int  # multiply-adds of the network in a slice
    unread: int = 0  # of its tiles' columns, those of ones, which nobody loads

    @property
    def matrix_products(self):
        """HMMA of a step of most tiles."""
        return self.down * self.across

    def loads(self, precision):
        """(ldmatrix, loads of single words, wavefronts) of a step."""
        single = 0
        if self.kind == "weight" and precision == "tf32":
            matrices, waves, single = 0, 0, 4 * self.down
        else:
            matrices, waves = self.down, 4 * self.down
        columns = self.across - self.unread
        if self.kind != "forward" and precision == "tf32":
            single += 2 * columns
        else:
            matrices, waves = matrices + divided(columns, 2), waves + 2 * columns
        return matrices, single, waves + single


def products(net, precision, slice_):
    """The products of one slice of an update."""
    step = 2 * CHUNK // ELEMENT_BYTES[precision]
    found = []
    for number, (fan_in, fan_out) in enumerate(net.layers):
        of_kind = {
            "forward": (slice_, fan_out, fan_in),
            "input": (slice_, fan_in, fan_out),
            "weight": (fan_out, fan_in, slice_),
        }
        for kind, (rows, columns, depth) in of_kind.items():
            if kind == "input" and number == 0:
                continue
            down, across = best_warp_tile(rows, columns)
            tall, wide = divided(divided(rows, 16), down), divided(divided(columns, 8), across)
            found.append(
                Product(
                    f"{PRODUCTS[kind]}, layer {number}, {fan_in}->{fan_out}",
                    kind,
                    down,
                    across,
                    tall * wide,
                    tall if kind == "weight" else 0,
                    divided(depth, step),
                    slice_ * fan_in * fan_out,
                )
            )
    return found


def operations_of(product, precision):
    """(HMMA, ldmatrix, loads of single words) of a step."""
    matrices, single, _ = product.loads(precision)
    return product.matrix_products + (product.down if product.bias_tiles else 0), matrices, single


def find_loop(product, precision, loops):
    """(which of the loops is the product's, its steps at a time); None: none is."""
    operations = operations_of(product, precision)
    for steps in (4, 2, 1):
        for number, loop in enumerate(loops):
            if all(loop.operations[name] == steps * n for name, n in zip(("HMMA", "LDSM", "LDS"), operations)):
                return number, steps
    return None


def instructions_of(product, precision, loops):
    """(instructions of a step, whether its loop was found)."""
    if found := find_loop(product, precision, loops):
        number, steps = found
        return loops[number].instructions / steps, True
    return sum(operations_of(product, precision)) + OTHER_INSTRUCTIONS, False


def phases_of(found, precision, loops, slices=1):
    """A phase for each product of a slice, as often as there are slices."""
    phases = []
    for product in found:
        instructions, known = instructions_of(product, precision, loops)
        busiest = divided(product.tiles, chip.SCHEDULERS)  # tiles of a scheduler: warps w and w + 4 share one
        busiest_bias = divided(product.bias_tiles, chip.SCHEDULERS)
        hmma = product.steps * (busiest * product.matrix_products + busiest_bias * product.down)
        waves = product.loads(precision)[2]
        phases.append(
            Phase(
                product.name,
                issue=slices * busiest * product.steps * instructions,
                shared=slices * product.tiles * product.steps * waves,
                tensor=slices * hmma * chip.HMMA_CYCLES,
                share=product.matrix_products / instructions,
                useful=slices * product.useful,
                executed=slices * product.tiles * product.steps * product.matrix_products
                * chip.HMMA_MULTIPLY_ADDS[precision],
                known=known,
            )
        )
    return phases


def predict(net, precision, loops, of=chip.Chip()):
    """An update of one member on one multiprocessor. loops: of the kernel's instance of this precision."""
    plan = plan_of(net, precision, of.shared_limit)
    if plan is None:
        return None
    slices = divided(net.batch, plan.slice)
    phases = phases_of(products(net, precision, plan.slice), precision, loops, slices)
    phases.append(Phase("optimiser", memory=l2_bytes(net, plan) / of.per_cycle(of.l2)))
    products_alone = sum(phase.cycles for phase in phases[:-1])
    rows = net.row_bytes / of.per_cycle(of.memory)
    if rows > products_alone:  # the next slice's rows arrive beside the products
        phases.append(Phase("rows", memory=rows - products_alone))
    return Prediction(phases, floor_cycles(net, precision, of))


def l2_bytes(net, plan):
    """Of an update with SGD: the fp32 parameters read and written, and gradients where they are not on the chip:
    written by every slice, read by every later one and by the optimiser."""
    passes = 0 if plan.gradients_on_chip else 2 * divided(net.batch, plan.slice)
    return 4 * net.parameter_floats * (2 + passes)
