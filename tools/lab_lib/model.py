"""What every prediction is made of: networks, phases of an update, and the bound that they add up to.

A phase is what runs between two barriers or launches. It takes at least the largest of: its instructions, over four
schedulers that issue one a cycle, with the cycles that FFMA wait for registers; its data through shared memory (chip.wavefronts); its matrix products on the tensor
cores; its bytes through L2 or device memory. Latencies that no other warp hides, barriers, launches, and what is
said not to be counted come on top: every prediction is a bound from below, of which a measurement says how near
it is.
"""

import dataclasses

from . import chip

QUAD = 4
PRODUCTS = {"forward": "forward", "input": "input gradient", "weight": "weight gradient"}


def divided(a, b):
    return -(-a // b)


def padded(columns):
    """Floats of a row: an odd number of quads."""
    return (divided(columns, QUAD) | 1) * QUAD


@dataclasses.dataclass(frozen=True)
class Net:
    """A fully connected network and its batch. Layers are (fan_in, fan_out)."""

    widths: tuple  # inputs, hidden layers, outputs
    batch: int = 256

    @property
    def layers(self):
        return list(zip(self.widths, self.widths[1:]))

    @property
    def name(self):
        return "-".join(map(str, self.widths))

    @property
    def multiply_adds(self):
        """Of an update: a product forward and two backward, without the gradient of the inputs."""
        return self.batch * sum(a * b * (3 if number else 2) for number, (a, b) in enumerate(self.layers))

    @property
    def flop(self):
        return 2 * self.multiply_adds

    @property
    def parameter_floats(self):
        """Of a member on the device, with its padding."""
        return sum(b * padded(a) + divided(b, QUAD) * QUAD for a, b in self.layers)

    @property
    def row_bytes(self):
        """Of an update's rows and labels in device memory."""
        return self.batch * 4 * (padded(self.widths[0]) + 1)


@dataclasses.dataclass
class Phase:
    """Cycles of one multiprocessor (plan tiled: of the busiest), in an update."""

    name: str
    issue: float = 0.0
    shared: float = 0.0
    tensor: float = 0.0
    memory: float = 0.0
    share: float | None = None  # of multiply-adds or matrix products in the inner loop's cycles
    useful: float = 0.0  # multiply-adds of the network
    executed: float = 0.0  # multiply-adds as executed, idle lanes and padding included
    known: bool = True  # the loop was found in the machine code

    @property
    def cycles(self):
        return max(self.issue, self.shared, self.tensor, self.memory)

    @property
    def bound(self):
        """Which of the four it is."""
        return max(("issue", "shared", "tensor", "memory"), key=lambda name: getattr(self, name))


@dataclasses.dataclass
class Prediction:
    phases: list
    floor: float  # cycles of an update on as much of the chip as the phases are of
    whole_chip: bool = False  # the phases are of all members on all multiprocessors, not of one on one

    @property
    def cycles(self):
        return sum(phase.cycles for phase in self.phases)

    @property
    def issue(self):
        return sum(phase.issue for phase in self.phases)

    @property
    def share_of_floor(self):
        return self.floor / self.cycles

    @property
    def unknown(self):
        return sum(not phase.known for phase in self.phases)

    @property
    def hot_share(self):
        """Of multiply-adds (or matrix products) in the cycles of all inner loops, as often as they run."""
        counted = [phase for phase in self.phases if phase.share and phase.issue]
        issue = sum(phase.issue for phase in counted)
        return sum(phase.issue * phase.share for phase in counted) / issue if issue else None


def floor_cycles(net, precision="fp32", of=chip.Chip()):
    """Cycles of an update on one multiprocessor: FLOP over the peak of FFMA or mma.sync, or a batch's rows over the
    memory bandwidth, whichever takes longer."""
    if precision == "fp32":
        compute = net.multiply_adds / chip.FMA_PER_CYCLE
    else:
        rate = chip.SCHEDULERS * chip.HMMA_MULTIPLY_ADDS[precision] / chip.HMMA_CYCLES
        compute = net.multiply_adds / rate
    return max(compute, net.row_bytes / of.per_cycle(of.memory))


def models_per_second(prediction, members, of, updates):
    """Members that get `updates` updates a second. Plan resident: a multiprocessor takes the next member when one is
    done, so a last round may be a part of one."""
    if prediction.whole_chip:
        return members / (prediction.cycles * updates / of.clock)
    return members / (divided(members, of.multiprocessors) * prediction.cycles * updates / of.clock)
