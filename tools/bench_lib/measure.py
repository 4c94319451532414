"""Measurements on contestants that take turns, so that all of them meet the same disturbances."""

import dataclasses
import statistics

PARTS = ("training", "attacks", "images")


@dataclasses.dataclass
class Settings:
    quick: bool = False
    rounds: int = 9  # turns each contestant takes
    stretch_seconds: float = 0.4  # least length of a turn
    repeats: int = 3  # of a whole training
    clock: str = "wall"  # or "cpu": seconds of CPU time, for a machine that others use too
    train_rows: int = 100_000
    attacked_rows: int = 10_000
    parts: tuple = PARTS  # what is measured
    members: tuple = ()  # of ensembles; empty: the device's usual ones
    precisions: tuple = ()  # of ensembles on a GPU; empty: all
    core: int = 0  # where single-core measurements run

    def seconds(self, reply):
        return reply["seconds" if self.clock == "wall" else "cpu_seconds"]


@dataclasses.dataclass
class Stretch:
    updates: int
    seconds: float  # by the clock of the settings
    contention: float  # 1 − CPU time / wall time: share of the time that somebody else had the core


class Contention:
    """Collects how much of the time others had the core."""

    def __init__(self):
        self.samples = []

    def of(self, reply):
        share = max(0.0, 1 - reply["cpu_seconds"] / reply["seconds"])
        self.samples.append(share)
        return share

    def median(self):
        return statistics.median(self.samples) if self.samples else 0.0


def flop_per_update(inputs, hidden, outputs, rows, batch):
    """Model FLOP of an update, averaged over an epoch: a product forward, two backward, but for the input
    gradient of the first layer, which nobody needs; 2 FLOP a multiply-add. Gather, bias, activation, loss and
    optimiser are not counted."""
    widths = [inputs, *hidden, outputs]
    multiply_adds = sum(
        fan_in * fan_out * (3 if layer else 2)
        for layer, (fan_in, fan_out) in enumerate(zip(widths, widths[1:]))
    )
    return 2 * multiply_adds * rows / -(-rows // batch)


def epochs_for(contestant, settings):
    """How many epochs make a turn of at least stretch_seconds."""
    seconds = min(settings.seconds(contestant.ask("run", epochs=1)) for _ in range(2))
    return max(1, round(settings.stretch_seconds / seconds))


def take_turns(contestants, settings, contention, before_each=lambda contestant: None):
    """rounds × (each contestant trains for a turn). before_each(contestant) is called before its turn.
    Returns for each contestant its list of (Stretch, what before_each returned)."""
    epochs = [epochs_for(contestant, settings) for contestant in contestants]
    turns = [[] for _ in contestants]
    for _ in range(settings.rounds):
        for contestant, count, of_contestant in zip(contestants, epochs, turns):
            before = before_each(contestant)
            reply = contestant.ask("run", epochs=count)
            of_contestant.append(
                (Stretch(reply["updates"], settings.seconds(reply), contention.of(reply)), before)
            )
    return turns


def rates(turns):
    return [stretch.updates / stretch.seconds for stretch, _ in turns]


def median_ratio(numerators, denominators):
    """Median over the rounds of the ratio within a round."""
    return statistics.median(n / d for n, d in zip(numerators, denominators))
