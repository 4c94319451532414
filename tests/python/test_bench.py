"""tools/bench: its arithmetic, the turns contestants take, its command line, and a real run without rivals."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

from bench_case import BUILD, PAGE, ROOT, WORKER, built
from bench_lib import frameworks, machine, table
from bench_lib.contestant import Contestant, ContestantError
from bench_lib.cpu import CpuBench
from bench_lib.measure import Contention, Settings, flop_per_update, median_ratio, rates, take_turns

BENCH = os.path.join(ROOT, "tools", "bench")


def run_bench(*arguments, **environment):
    return subprocess.run(
        [sys.executable, BENCH, *arguments],
        text=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, **environment},
        check=False,
    )


class FakeContestant:
    """Trains 10 updates an epoch at a fixed pace, and writes into a log who was asked what."""

    def __init__(self, name, seconds_per_epoch, log):
        self.name, self.pace, self.log = name, seconds_per_epoch, log

    def ask(self, operation, epochs=0):
        self.log.append((self.name, operation, epochs))
        return {
            "updates": 10 * epochs,
            "seconds": self.pace * epochs,
            "cpu_seconds": 0.5 * self.pace * epochs,
        }


class Arithmetic(unittest.TestCase):
    def test_flop_of_the_studys_network(self):
        # 50-100-100-2: 2 products in the first layer, 3 in the others, 256 rows, 2 FLOP a multiply-add.
        by_hand = 2 * 256 * (2 * 50 * 100 + 3 * 100 * 100 + 3 * 100 * 2)
        self.assertEqual(flop_per_update(50, (100, 100), 2, 256, 256), by_hand)

    def test_a_short_last_batch_lowers_the_mean(self):
        whole = flop_per_update(50, (100,), 2, 512, 256)
        self.assertEqual(flop_per_update(50, (100,), 2, 384, 256), whole * 0.75)

    def test_the_ratio_is_taken_within_rounds(self):
        # Both slow down threefold in the second round: within a round that changes nothing.
        self.assertEqual(median_ratio([6, 2, 6], [3, 1, 3]), 2)
        self.assertEqual(median_ratio([10, 1, 1], [1, 1, 1]), 1)


class Turns(unittest.TestCase):
    def test_contestants_alternate_and_slow_ones_get_fewer_epochs(self):
        log = []
        slow, fast = FakeContestant("slow", 0.5, log), FakeContestant("fast", 0.1, log)
        turns = take_turns(
            [slow, fast],
            Settings(rounds=3, stretch_seconds=1.0),
            Contention(),
            lambda contestant: log.append((contestant.name, "before", 0)) or 7,
        )
        calibration, measured = log[:4], log[4:]
        self.assertEqual({entry[1:] for entry in calibration}, {("run", 1)})
        self.assertEqual(
            measured,
            [("slow", "before", 0), ("slow", "run", 2), ("fast", "before", 0), ("fast", "run", 10)] * 3,
        )
        self.assertEqual(rates(turns[0]), [20.0] * 3)
        self.assertEqual([before for _, before in turns[1]], [7] * 3)

    def test_the_clock_and_the_contention(self):
        contention = Contention()
        turns = take_turns([FakeContestant("one", 0.5, [])], Settings(rounds=2, clock="cpu"), contention)
        self.assertEqual(rates(turns[0]), [40.0] * 2)  # 10 updates in 0.25 s of CPU time
        self.assertEqual(contention.median(), 0.5)


@built
class EnsembleWorker(unittest.TestCase):
    """Occam's side of an ensemble: members that are resident together."""

    def setUp(self):
        self.worker = Contestant("Occam", [WORKER])
        self.addCleanup(self.worker.close)

    def test_updates_are_those_of_all_members(self):
        self.worker.ask("open", members=3, train=1000, test=500)
        self.assertEqual(self.worker.ask("run", epochs=2)["updates"], 3 * 2 * 4)
        checked = self.worker.ask("check")
        self.assertEqual((len(checked["train_loss"]), len(checked["test_correct"])), (3, 3))
        self.assertEqual(len(set(checked["train_loss"])), 3)  # data, initialisation and order of their own
        self.worker.ask("run", epochs=100)
        for before, after in zip(checked["train_loss"], self.worker.ask("check")["train_loss"]):
            self.assertLess(after, before)

    def test_precisions(self):
        self.assertIn("fp32", self.worker.ask("info")["precisions"])
        with self.assertRaisesRegex(ContestantError, "this build does not offer 'fp8'"):
            self.worker.ask("open", precision="fp8", train=1000)

    def test_requests_out_of_order(self):
        for operation in ("run", "check"):
            with self.assertRaisesRegex(ContestantError, f"{operation}: nothing is open"):
                self.worker.ask(operation)


class Processes(unittest.TestCase):
    def contestant(self, code):
        contestant = Contestant("fake", [sys.executable, "-c", "import sys, json, time\n" + code])
        self.addCleanup(contestant.close)
        return contestant

    def test_answers(self):
        echo = self.contestant(
            "for line in sys.stdin: print(json.dumps({'got': json.loads(line)}), flush=True)"
        )
        self.assertEqual(echo.ask("run", epochs=2), {"got": {"op": "run", "epochs": 2}})

    def test_an_error_carries_message_and_exit_code(self):
        failing = self.contestant(
            "input(); print(json.dumps({'error': 'no device', 'exit_code': 4}), flush=True)"
        )
        with self.assertRaisesRegex(ContestantError, "fake: no device") as raised:
            failing.ask("info")
        self.assertEqual(raised.exception.exit_code, 4)

    def test_a_dead_process_is_named_with_its_last_words(self):
        with self.assertRaisesRegex(ContestantError, "fake: ended with code 3: out of luck"):
            self.contestant("input(); print('out of luck', file=sys.stderr); sys.exit(3)").ask("info")

    def test_silence_ends(self):
        with self.assertRaisesRegex(ContestantError, "no answer to 'info' within 0.2 s"):
            self.contestant("input(); time.sleep(60)").ask("info", timeout=0.2)

    def test_a_missing_program(self):
        with self.assertRaisesRegex(ContestantError, "no-such-program: No such file"):
            Contestant("fake", ["/no-such-program"])


class CommandLine(unittest.TestCase):
    def assert_refused(self, done, code, words):
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn(words, done.stderr)

    def test_bad_usage(self):
        for arguments, words in (
            (["--fast"], "--fast"),
            (["--json", "tpu"], "'tpu'"),
            (["--core", "9999"], "9999"),
            (["--core", "x"], "'x'"),
            (["--clock", "sun"], "'sun'"),
            (["--python", "/no/python"], "/no/python: no such program"),
            (["--save", "/no/folder/bench.json"], "/no/folder/bench.json: no such folder"),
            (["--members", "132,0"], "'132,0' should be whole numbers from 1"),
            (["--members", "ten"], "'ten' should be whole numbers from 1"),
            (["--precisions", "fp64"], "'fp64' should be one or several of fp32, tf32, bf16"),
            (["--build-dir", "/no/build"], "/no/build/tools/bench_worker"),
        ):
            with self.subTest(arguments):
                self.assert_refused(run_bench(*arguments), 2, words)

    @built
    def test_no_cuda_device(self):
        for flag in ("--json", "--device"):
            done = run_bench(flag, "cuda", "--build-dir", BUILD, CUDA_VISIBLE_DEVICES="")
            self.assert_refused(done, 4, "cuda")


@built
class RealRun(unittest.TestCase):
    """A run on few rows: its numbers mean nothing, but everything they are made of is at work."""

    @classmethod
    def setUpClass(cls):
        settings = Settings(
            quick=True,
            rounds=2,
            stretch_seconds=0.01,
            repeats=1,
            train_rows=1000,
            clock="cpu",
            core=min(os.sched_getaffinity(0)),
            parts=("training",),
        )
        with tempfile.TemporaryDirectory() as folder:
            bench = CpuBench([WORKER], [], settings, folder, lambda line: None)
            cls.result = bench.run()
            cls.data = bench.data("lms5")
            import numpy

            with numpy.load(cls.data) as arrays:
                cls.shapes = {name: arrays[name].shape for name in arrays}
                cls.norms = numpy.linalg.norm(arrays["x_train"], axis=1)
        cls.report = {
            "device": "cpu",
            "machine": machine.describe(),
            "protocol": vars(settings),
            "date": "today",
            "warnings": ["a warning"],
            "result": cls.result,
        }

    def test_shares(self):
        rows = self.result["shares"]
        sets = ["avx2", "avx512"] if self.result["occam"]["has_avx512"] else ["avx2"]
        self.assertEqual(
            [(row["net"], row["momentum"], row["instruction_set"]) for row in rows],
            [
                (net, momentum, isa)
                for net, momentum in (((100, 100), 0), ((300, 300), 0), ((200,), 0), ((100,), 0), ((300, 300), 0.9))
                for isa in sets
            ],
        )
        for row in rows:
            self.assertGreater(row["share_of_fma"], 0.01)
            self.assertLess(row["share_of_fma"], 1.0)  # nothing is faster than the multiply-adds alone
            self.assertAlmostEqual(
                row["gflops"],
                row["updates_per_second"] * row["flop_per_update"] * 1e-9,
                delta=0.01 * row["gflops"],
            )
            self.assertEqual(len(row["samples"]["gflops"]), 2)

    def test_peaks(self):
        for isa, chosen in self.result["sgemm"]["chosen"].items():
            self.assertGreater(chosen["gflops"], 0.2 * self.result["fma_gflops"][isa])
            self.assertLess(chosen["gflops"], 1.25 * self.result["fma_gflops"][isa])
        self.assertEqual(self.result["sgemm"]["tried"][0]["coretype"], "")

    def test_whole_trainings_and_memory(self):
        self.assertEqual(self.result["throughput"][0]["threads"], 1)
        self.assertTrue(
            all(updates % 5000 == 1 for row in self.result["throughput"] for updates in row["updates"])
        )
        self.assertEqual(
            self.result["throughput"][0]["parameter_bytes"], 4 * (51 * 100 + 101 * 100 + 101 * 2)
        )
        # The test rows alone, 10,000 of 50 floats, are resident twice: as generated and as models see them.
        self.assertGreater(self.result["resident"]["bytes"], 2 * 10_000 * 50 * 4)
        self.assertLess(self.result["resident"]["bytes"], 20 * 2**20)

    def test_exported_data(self):
        self.assertEqual(
            self.shapes,
            {"x_train": (1000, 50), "y_train": (1000,), "x_test": (10000, 50), "y_test": (10000,)},
        )
        self.assertGreater(self.norms.min(), 0.1)  # no coordinate of LMS-5 leaves all rows near 0

    def test_the_rivals_that_are_missing_are_said(self):
        self.assertEqual(
            [row["status"] for row in self.result["rivals"]], ["not installed"] * len(frameworks.STYLES)
        )
        self.assertEqual({row["set"] for row in self.result["whole"]}, {"LMS-5", "MS-(5,7)"})
        self.assertEqual(
            [(row["name"], row["status"]) for row in self.result["ensemble_rivals"]],
            [(style.name, "not installed") for style in frameworks.ENSEMBLE_STYLES],
        )

    def test_ensembles(self):
        (row,) = self.result["ensembles"]
        self.assertEqual((row["status"], row["members"], row["precision"]), ("measured", 1, "fp32"))
        self.assertAlmostEqual(row["models_per_second"], row["updates_per_second"] / 5000)
        self.assertLess(row["models_per_second_with_checks"], row["models_per_second"])
        self.assertGreater(row["check_seconds"], 0)
        self.assertIsNone(row["share_of_floor"])  # a GPU's

    def test_table(self):
        text = "\n".join(table.lines(self.report))
        for style in frameworks.STYLES:
            self.assertRegex(text, rf"(?m)^  {re.escape(style.name)} .*not installed$")
        self.assertIn("Warning: a warning", text)
        self.assertIn(machine.cpu_model(), text)
        self.assertNotIn("nan", text)

    def test_the_page_documents_every_key(self):
        with open(PAGE, encoding="utf-8") as page:
            documented = page.read()
        rows = [
            self.report,
            self.result,
            self.report["machine"],
            self.report["protocol"],
            self.result["resident"],
            *(
                self.result[part][0]
                for part in ("shares", "throughput", "rivals", "whole", "ensembles", "ensemble_rivals")
            ),
        ]
        missing = {key for row in rows for key in row if f"`{key}`" not in documented}
        self.assertEqual(missing, set())

    def test_json(self):
        self.assertEqual(json.loads(json.dumps(self.report))["result"]["shares"][0]["net"], [100, 100])


if __name__ == "__main__":
    unittest.main()
