"""What only a GPU says, or the SIMT executor in its stead: ceilings, and the variants' bits and times."""

import json
import os
import subprocess
import sys

from bench_lib.contestant import Contestant, ContestantError

from .compiled import LabError, build_folder


def built_runner(options):
    folder = build_folder(options)
    command = ["cmake", "--build", folder, "--target", "lab_runner"]
    if subprocess.run(command, stdout=sys.stderr, stderr=sys.stderr, check=False).returncode:
        raise LabError("lab_runner does not build")
    return os.path.join(folder, "tools", "lab_runner")


def run_variants(options):
    values = {
        "--net": ",".join(map(str, options.net)),
        "--inputs": options.inputs,
        "--classes": options.outputs,
        "--batch": options.batch,
        "--members": options.members,
    }
    command = [options.runner or built_runner(options)]
    for name, value in values.items():
        command += [name, str(value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if not done.stdout.strip():
        raise LabError((done.stderr.strip().splitlines() or [f"lab_runner ended with code {done.returncode}"])[-1])
    return json.loads(done.stdout)


def measure_ceilings(options):
    worker = os.path.join(build_folder(options), "tools", "bench_worker")
    try:
        with Contestant("bench_worker", [worker]) as contestant:
            return contestant.ask("ceilings")
    except ContestantError as error:
        raise LabError(str(error)) from error


def fail(measured):
    """Whether a variant changed a bit, or nothing was trained."""
    return any("same_bits" in row and not (row["same_bits"] and row["changed"]) for row in measured["variants"])
