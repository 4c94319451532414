"""Predicted cycles of plan resident where a whole batch stays on the chip, from the machine code of its loops: in fp32
(kernels/whole_batch.cu) as in resident.py, on tensor cores (kernels/whole_batch_tensor.cu) as in tensor.py.

Layers are as wide as the kernels' matrices, whatever the network's are. Products forward and gradients of inputs are of
all 256 samples, however few there are; gradients of weights are sums over those that exist. In fp32 a phase of the last
layer, or of the second one backward, is of both halves of the batch; in TF32 one of any weights is. On tensor cores
the last layer has no phase: its products are a few FFMA a lane, without a loop. Nor are these counted, beside what
resident.py and tensor.py leave out: layers on their way from registers to shared memory, gradients of biases in fp32,
operands read ahead of a last step, and rows, which in BF16 arrive during the last product alone. On tensor cores the
unrolled code between the loops, activations above all, has more instructions than the loops execute.
"""

import dataclasses

from . import resident, tensor
from .chip import LANES, Chip
from .model import PRODUCTS, QUAD, Phase, Prediction, divided, floor_cycles

# kernels/whole_batch.hpp
SAMPLES, HALF = 256, 128
INPUTS, UNITS, LEAST_UNITS, OUTPUTS = 52, 100, 92, 2
ROWS, COLUMNS = 32, 8  # threads over samples and features
PER_M, PER_N = SAMPLES // ROWS, divided(UNITS, COLUMNS)
READ_BEYOND = 12  # floats
# kernels/whole_batch_tensor.hpp
TILES = divided(UNITS, 8)
WIDE = 8 * TILES
SPACIOUS = ("bf16",)  # both hidden layers and two batches of rows
# Of PartPosition: threads that share a quad of units.
PLACES = 10

KERNELS = {"fp32": "whole_batch_kernel"} | dict.fromkeys(tensor.ELEMENT_BYTES, "whole_batch_tensor_kernel")


def precision_of(kernel):
    """fp32, tf32 or bf16 of a kernel of whole batches; None for another one."""
    precision = kernel.instance.lower() or "fp32"
    return precision if KERNELS.get(precision) == kernel.name else None


def source_of(precision):
    return f"kernels/{KERNELS[precision].removesuffix('_kernel')}.cu"


def shared_bytes(precision):
    """WholeBatch::kBytes or WholeBatchTensor::kBytes."""
    batches = 4 * 4 * SAMPLES  # numbers of rows and labels, of two batches
    if precision == "fp32":
        parameters = UNITS * (INPUTS + UNITS + OUTPUTS) + 2 * COLUMNS * PER_N + QUAD
        return 4 * (parameters + SAMPLES * (INPUTS + UNITS) + READ_BEYOND + HALF * OUTPUTS) + batches
    inputs, units = tensor.row_bytes(INPUTS, precision), tensor.row_bytes(UNITS, precision)
    panels = 2 if precision in SPACIOUS else 1  # of either kind
    samples = panels * (SAMPLES * (inputs + units) + 2 * tensor.READ_BEYOND)
    if precision in SPACIOUS:
        samples += 4 * SAMPLES * OUTPUTS  # logits; in TF32 they lie beside half of the second layer, in the rows' room
    parameters = WIDE * (inputs + units) + 4 * WIDE * (2 + OUTPUTS) + 4 * QUAD
    partial = 4 * tensor.WARPS * OUTPUTS * (WIDE + 2)  # each warp's sums of the last layer
    return parameters + samples + partial + batches


def takes(net, precision="fp32", limit=Chip.shared_limit):
    """Whether it trains this network, by plain SGD and with ReLU (src/cuda/plan.cpp)."""
    if precision not in KERNELS or len(net.layers) != 3 or shared_bytes(precision) > limit:
        return False
    inputs, *hidden, outputs = net.widths
    return (
        inputs <= INPUTS
        and outputs <= OUTPUTS
        and HALF < net.batch <= SAMPLES
        and all(LEAST_UNITS <= units <= UNITS and units % QUAD == 0 for units in hidden)
    )


# ---- fp32 -------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Shape(resident.Shape):
    slice: int = SAMPLES
    m: int = ROWS
    n: int = COLUMNS
    columns: tuple = (PER_N,)

    def place(self, thread):
        """TilePosition: neighbouring lanes share a feature, and lanes two apart a sample."""
        warp, lane = divmod(thread, LANES)
        m = 2 * (lane % 2 + lane // 4 % 2 * 2) + warp % 2 + warp // 2 * 8
        return m, lane // 2 % 2 + lane // 8 * 2

    def row(self, columns):
        return INPUTS if columns <= INPUTS else UNITS


SHAPE = Shape()


def part_of(thread, units):
    """PartPosition: (quad of units, place along the features) of a thread in a weight gradient; None: it owns none."""
    quads, group = units // QUAD, thread // 4
    paired = quads // 2 * (PLACES // 2)
    if group < paired:
        return group // (PLACES // 2) * 2 + thread // 2 % 2, group % (PLACES // 2) * 2 + thread % 2
    place = 4 * (group - paired) + thread % 4
    return (quads - 1, place) if quads % 2 and place < PLACES else None


def logits(net, fan_in, fan_out):
    """A thread for each of a half's samples and outputs."""
    halves = [
        resident.few_product(fan_in, fan_out, Shape(slice=samples)) for samples in (HALF, net.batch - HALF)
    ]
    kind, width, _, multiply_adds, waves = halves[0]
    return kind, width, tuple(map(sum, zip(*(steps for _, _, steps, _, _ in halves)))), multiply_adds, waves


def last_weight(net, fan_in, _fan_out):
    """A thread for each unit and its weights of both outputs: a step is its activation and half a quad, the gradients of
    two samples side by side."""

    def exists(thread, word):
        return word if thread < fan_in else None

    waves = resident.total(
        SHAPE,
        (1, 1, lambda thread: exists(thread, thread)),
        (1 / 2, QUAD, lambda thread: exists(thread, 0)),
    )
    steps = tuple(net.batch if first < fan_in else 0 for first in range(0, SHAPE.threads, LANES))
    return "last weight", 1, steps, OUTPUTS, waves


def last_input(_net, _fan_in, fan_out):
    """Half a tile of each thread at a time, one step an output."""
    waves = resident.total(
        SHAPE,
        (PER_M // 2, 1, lambda thread: SHAPE.place(thread)[0] * OUTPUTS),
        (PER_N, 1, lambda thread: SHAPE.place(thread)[1]),
    )
    return "last input", PER_N, resident.of_all_warps(SHAPE, 2 * fan_out), PER_M // 2 * PER_N, waves


def weight(net, fan_in, fan_out):
    pairs = divided(SHAPE.row(fan_in), 2 * PLACES)

    def part(thread):
        found = part_of(thread, fan_out)
        return found if found and 2 * pairs * found[1] < fan_in else None

    waves = resident.total(
        SHAPE,
        (1, 4, lambda thread: part(thread) and QUAD * part(thread)[0]),
        (pairs, 2, lambda thread: part(thread) and 2 * pairs * part(thread)[1]),
    )
    steps = tuple(
        net.batch if any(map(part, range(first, first + LANES))) else 0 for first in range(0, SHAPE.threads, LANES)
    )
    return "weight", pairs, steps, 2 * pairs * QUAD, waves


def forward(_net, fan_in, fan_out):
    return resident.forward_product(fan_in, fan_out, SHAPE)


def input_gradient(_net, _fan_in, fan_out):
    """Half the samples at a time; of a thread's features all but one are in quads."""
    samples, quads = PER_M // 2, PER_N // QUAD
    waves = resident.total(
        SHAPE,
        (samples, 4, lambda thread: SHAPE.place(thread)[0] * UNITS),
        (QUAD * quads, 4, lambda thread: SHAPE.place(thread)[1] * QUAD),
        (QUAD, 1, lambda thread: SHAPE.place(thread)[1]),
    )
    steps = resident.of_all_warps(SHAPE, 2 * divided(fan_out, QUAD))
    return "half input", PER_N, steps, QUAD * samples * PER_N, waves


def name_of(net, kind, number):
    fan_in, fan_out = net.layers[number]
    return f"{PRODUCTS[kind]}, layer {number}, {fan_in}->{fan_out}"


def products(net):
    """The products of an update in fp32, in their order."""
    found = []
    for name, number, of in (
        ("forward", 0, forward),
        ("forward", 1, forward),
        ("forward", 2, logits),
        ("weight", 2, last_weight),
        ("input", 2, last_input),
        ("weight", 1, weight),
        ("input", 1, input_gradient),
        ("weight", 0, weight),
    ):
        fan_in, fan_out = net.layers[number]
        kind, width, steps, multiply_adds, waves = of(net, fan_in, fan_out)
        useful = net.batch * fan_in * fan_out
        found.append(
            resident.Product(name_of(net, name, number), kind, width, steps, multiply_adds, useful, waves)
        )
    return found


def kind_of(loop):
    """(kind, width, unrolled steps) of an inner loop of whole_batch_kernel, by its loads; None for another loop."""
    ffma, single, quads = (loop.operations[name] for name in ("FFMA", "LDS", "LDS.128"))
    for steps in (1, 2, 4):
        of_step = QUAD * PER_M // 2 * PER_N, QUAD, PER_M // 2 + PER_N // QUAD * QUAD
        if (ffma, single, quads) == tuple(steps * n for n in of_step):
            return "half input", PER_N, steps
    for steps in (1, 2, 4, 8, 16):
        if (ffma, single, 2 * quads) == (OUTPUTS * steps, steps, steps):
            return "last weight", 1, steps
    if not loop.operations["LDS.64"] and not quads:
        for steps in (1, 2, 4, 8, 16):
            if (ffma, single) == (steps * PER_M // 2 * PER_N, steps * (PER_M // 2 + PER_N)):
                return "last input", PER_N, steps
    return resident.kind_of(loop, SHAPE)


# ---- tensor cores -----------------------------------------------------------------------------------------
def tensor_products(net, precision):
    """The products of an update that are matrix products on tensor cores, in their order. A warp's tile is of its 32
    samples and all columns; of weights' gradients the last column is the bias's, of ones. Layer 0 has them at compile
    time: then nobody loads their words in TF32; in BF16 ldmatrix loads their tile with its neighbour."""
    (inputs, units1), (_, units2), _ = net.layers
    step = 2 * tensor.CHUNK // tensor.ELEMENT_BYTES[precision]
    ones = 1 if precision == "tf32" else 0
    found = []
    for kind, number, down, across, tiles, depth, unread in (
        ("forward", 0, 2, TILES, tensor.WARPS, inputs, 0),
        ("forward", 1, 2, TILES, tensor.WARPS, units1, 0),
        ("weight", 1, 2, divided(TILES + 1, 2), tensor.WARPS, net.batch, 0),
        ("input", 1, 2, TILES, tensor.WARPS, units2, 0),
        ("weight", 0, 1, divided(INPUTS, 8) + 1, divided(UNITS, 16), net.batch, ones),
    ):
        fan_in, fan_out = net.layers[number]
        found.append(
            tensor.Product(
                name_of(net, kind, number),
                kind,
                down,
                across,
                tiles,
                bias_tiles=0,
                steps=divided(depth, step),
                useful=net.batch * fan_in * fan_out,
                unread=unread,
            )
        )
    return found


def tensor_phases(net, precision, loops):
    """Loops come in the order of their products, of which some differ in nothing else: in BF16 those forward and the
    input gradient."""
    phases = []
    for product in tensor_products(net, precision):
        phases += tensor.phases_of([product], precision, loops)
        if found := tensor.find_loop(product, precision, loops):
            loops = loops[found[0] + 1 :]
    return phases


# ---- both -------------------------------------------------------------------------------------------------
def predict(net, precision, loops, of=Chip()):
    """An update of one member on one multiprocessor, of a network that it takes. loops: of the precision's kernel."""
    if precision == "fp32":
        phases = resident.phases_of(products(net), resident.shares_of(loops, kind_of))
    else:
        phases = tensor_phases(net, precision, loops)
        # Biases and the last layer, which stay on the chip, are less than 3% of the parameters.
        phases.append(Phase("optimiser", memory=2 * 4 * net.parameter_floats / of.per_cycle(of.l2)))
    return Prediction(phases, floor_cycles(net, precision, of))
