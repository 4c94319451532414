"""Predicted cycles of an update: of two trainings that differ in their updates alone, the difference."""

import collections
import json
import os
import subprocess
import tempfile

from .toolchain import MachineError, run

FEW, MANY = 2, 6  # updates
MEMBERS = 1  # as many as multiprocessors make the ensemble: each has the blocks of one
CLOCK, MULTIPROCESSORS = 1.98e9, 132  # of an H200
MODEL_UPDATES = 5000


class Launches:
    """What was launched, as machine_time reports it, by kernel."""

    def __init__(self, reports):
        self.cycles, self.issued, self.idle = (collections.Counter() for _ in range(3))
        self.resident, self.instructions, self.stalls = {}, collections.defaultdict(dict), []
        for report in reports:
            kernel = report["kernel"]
            self.stalls = report["stalls"]
            self.resident[kernel] = report["resident"]
            for name in ("cycles", "issued", "idle"):
                getattr(self, name)[kernel] += report[name]
            of_kernel = self.instructions[kernel]
            for address, idle, warps in report["instructions"]:
                before = of_kernel.get(address, [0.0] * (1 + len(warps)))
                of_kernel[address] = [a + b for a, b in zip(before, [idle, *warps])]


class Prediction:
    """By kernel, for one update of one member: cycles of a multiprocessor."""

    def __init__(self, few, many, members, updates):
        share = 1.0 / (members * updates)
        self.stalls, self.resident = many.stalls, many.resident
        self.cycles = {k: (many.cycles[k] - few.cycles[k]) * share for k in many.cycles}
        self.cycles = {k: c for k, c in self.cycles.items() if c > 0}
        self.issued = {k: (many.issued[k] - few.issued[k]) * share / 4 for k in self.cycles}
        self.instructions = {k: self._difference(few, many, k, share) for k in self.cycles}

    @staticmethod
    def _difference(few, many, kernel, share):
        before = few.instructions.get(kernel, {})
        nothing = [0.0] * (1 + len(many.stalls))
        return {
            address: [(a - b) * share / 4 for a, b in zip(values, before.get(address, nothing))]
            for address, values in many.instructions[kernel].items()
        }

    def models_per_second(self):
        """Of an ensemble that fills the chip: a member a multiprocessor, without the gaps between launches."""
        return MULTIPROCESSORS * CLOCK / (sum(self.cycles.values()) * MODEL_UPDATES)

    def shares(self, kernel):
        """{reason: share of the warps' time}."""
        totals = [sum(values) for values in zip(*self.instructions[kernel].values())][1:]
        return {name: total / sum(totals) for name, total in zip(self.stalls, totals)}

    def lines(self, kernel, places, depth):
        """[(place, scheduler cycles idle, [cycles by reason])], the largest first; of a scheduler, an update."""
        of_place = collections.defaultdict(lambda: [0.0] * (1 + len(self.stalls)))
        for address, values in self.instructions[kernel].items():
            place = " < ".join(places.get(address, "?").split(" < ")[:depth])
            of_place[place] = [a + b for a, b in zip(of_place[place], values)]
        issued = 1 + self.stalls.index("issued")
        return sorted(of_place.items(), key=lambda item: -(item[1][0] + item[1][issued]))


def launches(command, stdin, listing, timer, chip, kernel="kernel", multiprocessors=MULTIPROCESSORS):
    """Of a program on the machine, which takes it for a chip of so many multiprocessors: launches of the kernels whose
    name has `kernel` in it."""
    with tempfile.TemporaryDirectory() as folder:
        trace = f"{folder}/trace"
        environment = {
            **os.environ,
            "OCCAM_MACHINE_CODE": str(listing),
            "OCCAM_MACHINE_TRACE": kernel,
            "OCCAM_MACHINE_TO": trace,
            "OCCAM_MACHINE_MULTIPROCESSORS": str(multiprocessors),
        }
        done = run(command, input=stdin, env=environment, capture_output=True)
        if done.returncode or '"error"' in done.stdout:
            raise MachineError(f"{command[0]}: {(done.stderr or done.stdout).strip()}", 1)
        reports = run([timer, listing, trace, *chip], capture_output=True)
        if reports.returncode:
            raise MachineError(reports.stderr.strip(), 1)
        return Launches(json.loads(line) for line in reports.stdout.splitlines())


def of_network(build, hidden, precision, chip, optimizer="sgd", momentum=0.0):
    """Of networks 50-hidden-2 on LMS-5, batch 256."""
    worker, timer = build.program("machine_worker"), build.program("machine_time")
    listing = build.listing()
    request = {
        "op": "fit", "device": "cuda", "hidden": hidden, "members": MEMBERS, "precision": precision, "train": 4096,
        "test": 64, "optimizer": optimizer, "momentum": momentum,
    }
    few, many = (
        launches([worker], json.dumps({**request, "max_updates": updates}) + "\n", listing, timer, chip)
        for updates in (FEW, MANY)
    )
    return Prediction(few, many, MEMBERS, MANY - FEW)


def of_variant(build, number, chip):
    """Of a variant of tools/lab, which trains (100,2)."""
    lab, timer = build.program("machine_lab"), build.program("machine_time")
    listing = build.listing()
    command = [lab, "--members", MEMBERS, "--rows", 20000, "--repeats", 1, "--variants", number, "--updates"]
    few, many = (launches([*command, updates], None, listing, timer, chip) for updates in (FEW, MANY))
    return Prediction(few, many, MEMBERS, MANY - FEW)


def check(build, pattern):
    """Runs cases of the contract on machine code; the exit code of the tests."""
    contract = build.program("machine_contract")
    environment = {**os.environ, "OCCAM_MACHINE_CODE": str(build.listing())}
    command = [contract, f"--gtest_filter={pattern}", "--gtest_brief=1"]
    counted = run([*command, "--gtest_list_tests"], env=environment, stdout=subprocess.PIPE).stdout
    if not any(line.startswith("  ") for line in counted.splitlines()):
        raise MachineError(f"--filter: no case of the contract is called {pattern}", 2)
    return run(command, env=environment).returncode
