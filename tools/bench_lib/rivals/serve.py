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


def fastest(names, seconds_of):
    """The name for which seconds_of(name) is least; a name whose call raises is no candidate."""
    seconds, errors = {}, {}
    for name in names:
        try:
            seconds[name] = seconds_of(name)
        except Exception as error:  # whatever a framework's version lacks
            errors[name] = error
    if not seconds:
        raise RuntimeError("; ".join(f"{name}: {error}" for name, error in errors.items()))
    return min(seconds, key=seconds.get)


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
