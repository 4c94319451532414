"""The rivals' end of the bench's protocol: one JSON request a line on stdin, one JSON line on stdout.

Runs under the rival's own Python and needs nothing but the standard library.
"""

import json
import os
import sys
import time


class Stopwatch:
    """Wall and CPU time since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def report(self):
        return {"seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


def fastest(names, seconds_of, errors=None):
    """The name for which seconds_of(name) is least; a name whose call raises is no candidate, and errors has
    why."""
    seconds, errors = {}, {} if errors is None else errors
    for name in names:
        try:
            seconds[name] = seconds_of(name)
        except Exception as error:  # whatever a framework's version lacks
            errors[name] = error
    if not seconds:
        raise RuntimeError("; ".join(f"{name}: {error}" for name, error in errors.items()))
    return min(seconds, key=seconds.get)


class Training:
    """The requests open and run. A trainer is make(path, hidden, batch, device) with rows, batch, variants,
    start(variant) for a fresh network, and epochs(count) that returns when all is done."""

    def __init__(self, make):
        self.make, self.trainer = make, None

    def open(self, path, hidden, batch, device="cpu"):
        """Reads the data, tries every variant for an epoch and keeps the fastest."""
        self.trainer = self.make(path, hidden, batch, device)

        def seconds_of(variant):
            self.trainer.start(variant)
            self.trainer.epochs(1)
            watch = Stopwatch()
            self.trainer.epochs(1)
            return watch.report()["cpu_seconds" if device == "cpu" else "seconds"]

        self.trainer.start(fastest(self.trainer.variants, seconds_of))
        self.trainer.epochs(1)
        return {"variant": self.trainer.variant}

    def run(self, epochs):
        watch = Stopwatch()
        self.trainer.epochs(epochs)
        return {"updates": epochs * -(-self.trainer.rows // self.trainer.batch), **watch.report()}


def serve(operations):
    """Answers until stdin ends. operations: name -> function of the request's other fields."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the replies
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = operations[request.pop("op")](**request)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0], "exit_code": 1}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
