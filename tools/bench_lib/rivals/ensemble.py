"""What the ensembles of both frameworks share: the requests, and the numbers of a permutation.

A member has a data set of its own: the exported rows, turned by a random orthogonal matrix (member 0: by
none).
"""

import numpy
from serve import Stopwatch, fastest

LEARNING_RATE, WEIGHT_DECAY = 0.1, 5e-5
PERMUTATION_ROUNDS = 4
PRECISIONS = ("fp32", "tf32", "bf16")


def factors(rows):
    """(a, b) with a · b = rows and a as near to b as can be; a keyed permutation needs both above 1.

    Place (l, r), l < a, r < b, goes to l ← l + F(r) mod a, r ← r + G(l) mod b, and so on, with tables F and G
    of random numbers: a permutation of `rows` places of which any part can be computed without the rest.
    """
    a = next(a for a in range(int(rows**0.5), 0, -1) if rows % a == 0)
    if a < 8:
        raise ValueError(f"{rows} rows do not factor into two numbers of 8 and more")
    return a, rows // a


def rotations(members, inputs):
    """float32 [members][inputs][inputs], orthogonal; the first is the identity."""
    random = numpy.random.default_rng(0)
    turned = [numpy.linalg.qr(random.standard_normal((inputs, inputs)))[0] for _ in range(members - 1)]
    return numpy.stack([numpy.eye(inputs), *turned]).astype("float32")


def initial(members, widths):
    """[(weight [members][in][out], bias [members][out])] of every layer, uniform in ±1/sqrt(in)."""
    random = numpy.random.default_rng(1)
    return [
        tuple(
            random.uniform(-1, 1, shape).astype("float32") / fan_in**0.5
            for shape in ((members, fan_in, fan_out), (members, fan_out))
        )
        for fan_in, fan_out in zip(widths, widths[1:])
    ]


class EnsembleTraining:
    """The requests of an ensemble. A trainer is make(path, hidden, batch, device, members, precision) with
    rows, batch, members, bytes, variants, start(variant), epochs(count) and accuracies(split) -> (correct
    rows of each member, mean loss of each)."""

    def __init__(self, make):
        self.make, self.trainer = make, None

    def open(self, path, hidden, batch, device="cpu", members=1, precision="fp32"):
        """Makes the data resident, tries every variant for an epoch and keeps the fastest."""
        if precision not in PRECISIONS:
            raise ValueError(f"precision '{precision}' is not known (use {', '.join(PRECISIONS)})")
        self.trainer = self.make(path, hidden, batch, device, members, precision)
        tried = {}

        def seconds_of(variant):
            self.trainer.start(variant)
            self.trainer.epochs(1)
            watch = Stopwatch()
            self.trainer.epochs(1)
            tried[variant] = watch.report()["cpu_seconds" if device == "cpu" else "seconds"]
            return tried[variant]

        failed = {}
        self.trainer.start(fastest(self.trainer.variants, seconds_of, failed))
        self.trainer.epochs(1)
        return {
            "variant": self.trainer.variant,
            "tried": tried,
            "failed": {variant: f"{type(e).__name__}: {e}".splitlines()[0] for variant, e in failed.items()},
            "data_bytes": self.trainer.bytes,
        }

    def run(self, epochs):
        """Updates are those of all members together."""
        watch = Stopwatch()
        self.trainer.epochs(epochs)
        each = epochs * -(-self.trainer.rows // self.trainer.batch)
        return {"updates": each * self.trainer.members, **watch.report()}

    def check(self):
        """Accuracy and loss of all members on the training and the test set, as at the notebook's checks."""
        watch = Stopwatch()
        correct, loss = self.trainer.accuracies("train")
        test_correct, _ = self.trainer.accuracies("test")
        reply = watch.report()
        return {**reply, "train_correct": correct, "train_loss": loss, "test_correct": test_correct}

    def operations(self, info):
        return {"info": info, "open": self.open, "run": self.run, "check": self.check}
