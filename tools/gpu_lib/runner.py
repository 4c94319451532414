"""How a command of tools/gpu_check runs: its output goes to a log while it runs, and it ends when its time is up."""

import math
import os
import signal
import subprocess
import tempfile
import time

OUT_OF_TIME, CANNOT_START = 124, 127  # as in a shell


def run(command, timeout, log=None):
    """(exit code, output). The output is appended to the file `log` as it comes."""
    with open(log, "a+b") if log else tempfile.TemporaryFile() as file:
        file.write(f"$ {' '.join(map(str, command))}\n".encode())
        file.flush()
        begin = file.tell()
        try:
            # In a session of its own, so that what the command starts ends with it.
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            file.write(f"{command[0]}: {error.strerror}\n".encode())
            code = CANNOT_START
        else:
            code = wait(process, timeout)
        file.seek(begin)
        return code, file.read().decode(errors="replace")


def wait(process, timeout):
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return OUT_OF_TIME
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Runner:
    """Runs commands one after the other, all of them within `budget` seconds but the last `kept`."""

    def __init__(self, log=None, budget=math.inf):
        self.log, self.deadline, self.kept = log, time.monotonic() + budget, 0.0

    def left(self):
        return max(0.0, self.deadline - time.monotonic() - self.kept)

    def __call__(self, command, timeout):
        return run(command, min(timeout, self.left()), self.log)
