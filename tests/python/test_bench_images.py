"""tools/bench's images of shapes: turns and ratios with contestants that only answer, many members on a GPU, and
Occam's worker, which loads cuBLAS at run time."""

import os
import subprocess
import tempfile
import unittest
import unittest.mock

from bench_case import PAGE, WORKER, built, cuda_result
from bench_lib import frameworks, images
from bench_lib.contestant import Contestant, ContestantError
from bench_lib.measure import Contention, Settings


class FakeContestant:
    """Trains at a fixed pace. Occam replies a list of accuracies, a rival the number."""

    def __init__(self, seconds, occam, fails=""):
        self.seconds, self.occam, self.fails, self.asked, self.closed = seconds, occam, fails, [], False

    def ask(self, operation, timeout=0, **fields):
        self.asked.append((operation, fields))
        if operation == self.fails:
            raise ContestantError(f"fake: no {operation}")
        accuracy = [1.0] * (fields.get("members", 1) - 1) + [0.5] if self.occam else 0.75
        return {
            "updates": fields.get("updates"),
            "seconds": self.seconds,
            "cpu_seconds": self.seconds / 2,
            **{f"{name}_accuracy": accuracy for name in images.SETS},
        }

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Measuring(unittest.TestCase):
    def measure(self, device, *rivals, **settings):
        """rivals: contestants, or the error that one ends with as it starts."""
        occam = FakeContestant(4.0, True)
        style = frameworks.IMAGE_STYLES[0]
        found = [frameworks.Rival(style, "installed", "python", f"2.{9 - i}") for i in range(len(rivals))]
        starting = iter(rivals)

        def start(_):
            rival = next(starting)
            if isinstance(rival, Exception):
                raise rival
            return rival

        found.append(frameworks.Rival(style, "not installed"))
        rows = images.measure(device, Settings(**settings), Contention(), print, lambda: occam, start, found, "/tmp")
        self.assertTrue(occam.closed)
        for rival in rivals:
            self.assertTrue(isinstance(rival, Exception) or rival.closed)
        return occam, rows

    def setUp(self):
        self.enterContext(unittest.mock.patch("builtins.print"))

    def test_turns_and_ratios(self):
        for device, turns, target in (("cpu", 1, 5), ("cuda", 3, None)):
            rival = FakeContestant(20.0, False)
            occam, (own, missing, measured) = self.measure(device, rival)
            self.assertEqual([name for name, _ in occam.asked], ["export_images"] + ["fit_images"] * turns)
            self.assertEqual((own["members"], own["seconds"], own["updates"]), (1, 4.0, 200))
            self.assertAlmostEqual(measured["ratio"], 5.0)
            self.assertEqual(measured["target"], target)
            self.assertEqual(len(measured["samples"]), turns)
            self.assertEqual(missing["status"], "not installed")

    def test_a_rival_that_fails_is_said_and_costs_the_others_nothing(self):
        rivals = (
            FakeContestant(20.0, False),
            ContestantError("fake: no such file"),
            FakeContestant(1.0, False, "open"),
            FakeContestant(1.0, False, "fit"),
        )
        for device in ("cpu", "cuda"):
            _, rows = self.measure(device, *rivals)
            status = {row.get("version", ""): row["status"] for row in rows[1:] if row["status"] != "not installed"}
            self.assertEqual(rows[0]["status"], "measured")
            self.assertEqual(
                status,
                {
                    "2.9": "measured",
                    "2.8": "failed: fake: no such file",
                    "2.7": "failed: fake: no open",
                    "2.6": "failed: fake: no fit",
                },
            )

    def many(self, occam, **settings):
        row = images.measure_many(Settings(**settings), lambda line: None, lambda: occam)
        self.assertTrue(occam.closed)
        return row

    def test_many_members_at_once(self):
        occam = FakeContestant(12.5, True)
        row = self.many(occam)
        (operation, fields), *more = occam.asked
        self.assertEqual((operation, fields["members"], fields["updates"], more), ("fit_images", 100, 200, []))
        self.assertEqual((row["members"], row["seconds"], row["target_seconds"]), (100, 12.5, 15))
        self.assertAlmostEqual(row["iid_accuracy"], 0.995)
        self.assertIsNone(self.many(FakeContestant(12.5, True), quick=True)["target_seconds"])
        failed = self.many(FakeContestant(1.0, True, "fit_images"))
        self.assertEqual(failed["status"], "failed: fake: no fit_images")

    def test_table(self):
        rows = [self.many(FakeContestant(seconds, True)) for seconds in (12.5, 15.5)]
        text = "\n".join(images.lines(rows))
        words = "Occam, 100 members at once: 200 updates in"
        self.assertIn(f"{words} 12.5 s (target 15 s met); accuracy train 0.995", text)
        self.assertIn(f"{words} 15.5 s (target 15 s missed)", text)
        self.assertNotIn("core", text)
        _, rows = self.measure("cpu", FakeContestant(20.0, False))
        text = "\n".join(images.lines(rows, " on one core"))
        self.assertIn("in turns on one core", text)
        self.assertIn("PyTorch, dense images 2.9: 200 updates in 20.0 s, Occam is 5.0x as fast (target 5x met)", text)

    def test_the_page_documents_every_key(self):
        _, rows = self.measure("cpu", FakeContestant(20.0, False))
        with open(PAGE, encoding="utf-8") as page:
            documented = page.read()
        missing = {key for row in [*rows, self.many(FakeContestant(1.0, True))] for key in row}
        self.assertEqual({key for key in missing if f"`{key}`" not in documented}, set())


# Occam's worker on a GPU that this machine need not have.
GPU_WORKER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    members = request.get("members", 1)
    accuracies = {name + "_accuracy": [1.0] * members for name in ("train", "iid", "uniform")}
    print(json.dumps({
        "info": {"device": "cuda, a GPU"},
        "ceilings": {"ffma_gflops": 1.0},
        "cublas": {"version": "13.1.0"},
        "cuda_sgemm": {"gflops": 1.0},
        "fit_images": {"updates": request.get("updates"), "seconds": 0.1 * members, **accuracies},
    }.get(request["op"], {})), flush=True)
"""


class Cuda(unittest.TestCase):
    def test_one_and_many_members(self):
        settings = Settings(repeats=2, parts=("images",))
        rows = [row for row in cuda_result(GPU_WORKER, settings)["images"] if row["name"] == "Occam"]
        self.assertEqual([(row["members"], row["status"]) for row in rows], [(1, "measured"), (100, "measured")])
        self.assertAlmostEqual(rows[1]["seconds"], 10.0)


@built
class Worker(unittest.TestCase):
    def test_training_on_images(self):
        """Two members, two updates: what a reply is made of."""
        with Contestant("Occam", [WORKER]) as worker:
            reply = worker.ask("fit_images", members=2, updates=2)
        self.assertEqual((reply["members"], reply["updates"]), (2, 2))
        for name in images.SETS:
            self.assertEqual(len(reply[f"{name}_accuracy"]), 2)
        self.assertEqual(images.row_of_many(reply)["target_seconds"], None)


@built
class Cublas(unittest.TestCase):
    """It is loaded at run time, or is said to be missing."""

    def setUp(self):
        with Contestant("Occam", [WORKER]) as worker:
            if "CUDA" not in worker.ask("info")["libraries"]:
                self.skipTest("this build has no CUDA")

    def ask(self, *libraries):
        with Contestant("Occam", [WORKER]) as worker:
            return worker.ask("cublas", libraries=libraries)["version"]

    def library(self, source):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "libcublas.so")
        command = ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", path]
        subprocess.run(command, input=source, text=True, check=True)
        return path

    def test_the_binary_does_not_need_it(self):
        dynamic = subprocess.run(["readelf", "-d", WORKER], capture_output=True, text=True, check=True).stdout
        self.assertIn("NEEDED", dynamic)
        self.assertNotIn("cublas", dynamic)
        self.assertRegex(dynamic, r"\(RPATH\).*\[\$ORIGIN/../lib")  # where a pack has the other libraries

    def test_a_missing_library_is_said_in_one_line(self):
        with self.assertRaisesRegex(ContestantError, r"/no/lib: cannot open.*LD_LIBRARY_PATH$") as raised:
            self.ask("/no/lib")
        self.assertNotIn("\n", str(raised.exception))

    def test_the_first_that_can_be_loaded_counts(self):
        names = ["cublasGetStatusString", "cublasCreate_v2", "cublasDestroy_v2", "cublasSgemm_v2"]
        names.append("cublasSgemmStridedBatched")
        property_of = 'extern "C" int cublasGetProperty(int which, int* value) { *value = 7 + which; return 0; }\n'
        whole = property_of + "".join(f'extern "C" void {name}() {{}}\n' for name in names)
        self.assertEqual(self.ask("/no/lib", self.library(whole)), "7.8.9")
        for name in ("cublasSgemm_v2", "cublasSgemmStridedBatched"):
            with self.assertRaisesRegex(ContestantError, name):
                self.ask(self.library(whole.replace(name, "cublasDgemm_v2")))


if __name__ == "__main__":
    unittest.main()
