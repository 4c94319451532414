"""What tests of tools/bench share: this build's worker, one of a GPU that only answers, and the rivals."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

from bench_lib import frameworks  # noqa: E402
from bench_lib.cuda import CudaBench  # noqa: E402

BUILD = os.environ.get("OCCAM_BUILD_DIR", os.path.join(ROOT, "build"))
WORKER = os.path.join(BUILD, "tools", "bench_worker")
built = unittest.skipUnless(os.path.exists(WORKER), "this build has no bench_worker (OCCAM_BENCH=OFF)")
PAGE = os.path.join(ROOT, "docs", "performance.md")


def cuda_result(worker, settings, *arguments):
    """What the CUDA benchmark makes of a worker that only answers, which is a script in Python."""
    with tempfile.TemporaryDirectory() as folder:
        return CudaBench([sys.executable, "-c", worker], [], settings, folder, lambda line: None, *arguments).run()


def answer_of(python, script):
    """The last line, JSON, of a script under an interpreter that finds the rivals; its argument is an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-c", script, folder],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env={**os.environ, "PYTHONPATH": frameworks.FOLDER, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    if done.returncode != 0:
        raise AssertionError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])
