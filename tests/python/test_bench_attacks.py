"""tools/bench's attacks: turns, ratios and shares with contestants that only answer, Occam's worker, and the
rivals beside it, under the interpreters of OCCAM_BENCH_PYTHON and this one."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

from bench_case import PAGE, ROOT, WORKER, answer_of, built, cuda_result
from bench_lib import attacks, frameworks, machine, table
from bench_lib.contestant import ONE_THREAD, Contestant, ContestantError
from bench_lib.cpu import CpuBench
from bench_lib.cuda import MEMBERS
from bench_lib.measure import Contention, Settings

FLOP = {"pgd": 10e9, "svd": 20e9, "as": 30e9, "all": 60e9}
OCCAM_SECONDS = {"open": 0.1, "pgd": 0.3, "svd": 0.4, "as": 0.6, "all": 1.1}
RIVAL_SECONDS = {"pgd": 1.0, "svd": 2.0, "as": 3.0}
OUTCOME = {"accuracy": [0.25, 0.75], "share": [1.0, 0.5]}


class FakeContestant:
    """Attacks at a fixed pace, half of it on the CPU; fails at the operation or part named."""

    def __init__(self, name, seconds, log, fails=""):
        self.name, self.seconds, self.log, self.fails = name, seconds, log, fails
        self.closed = False

    def ask(self, operation, timeout=0, **fields):
        part = fields.get("part", "")
        self.log.append((self.name, operation, part))
        if self.fails and self.fails in (operation, part):
            raise ContestantError(f"fake: no {self.fails}", 4 if self.fails == "device" else 1)
        if operation == "attack_open":
            self.opened = fields
            return {"flop": FLOP}
        if operation == "open":
            self.opened = fields
            return {"variant": "v", "parts": list(self.seconds), "tried": {"v": 1.0}, "failed": {}}
        seconds = self.seconds[part]
        return {"seconds": seconds, "cpu_seconds": seconds / 2, part: OUTCOME}

    def close(self):
        self.closed = True


def rival_of(argument, version="2.9"):
    style = next(style for style in frameworks.ATTACK_STYLES if style.argument == argument)
    return frameworks.Rival(style, "installed", "python", version)


class Measuring(unittest.TestCase):
    def measure(self, members=1, threads=(1,), argument="tuned", device="cpu", fails=("", ""), clock="wall"):
        self.log = []
        self.occam = [FakeContestant(f"Occam {n}", OCCAM_SECONDS, self.log, fails[0]) for n in threads]
        parts = {"pgd": RIVAL_SECONDS["pgd"]} if argument == "torchattacks" else RIVAL_SECONDS
        self.rival = FakeContestant("rival", parts, self.log, fails[1])
        starting = iter(self.occam)
        measuring = attacks.Attacks(
            device,
            Settings(rounds=2, repeats=3, clock=clock),
            Contention(),
            lambda line: None,
            lambda count: next(starting),
            lambda rival: self.rival,
            "/folder",
            lambda contestant: self.log.append((contestant.name, "peak", "")) or 100.0,
        )
        missing = frameworks.Rival(rival_of(argument).style, "not installed")
        return measuring.measure(members, list(threads), [rival_of(argument), missing])

    def test_shares_of_the_peak(self):
        ours, _ = self.measure()
        self.assertEqual([row["part"] for row in ours], ["pgd", "svd", "as", "all"])
        by_part = {row["part"]: row for row in ours}
        self.assertAlmostEqual(by_part["pgd"]["gflops"], 10 / 0.3)
        self.assertAlmostEqual(by_part["pgd"]["share_of_peak"], 10 / 0.3 / 100)
        self.assertAlmostEqual(by_part["pgd"]["share_of_peak_without_opening"], 10 / 0.2 / 100)
        self.assertAlmostEqual(by_part["all"]["share_of_peak_without_opening"], 0.6)
        self.assertEqual((by_part["all"]["target_seconds"], by_part["as"]["target_seconds"]), (0.9, None))
        self.assertEqual((by_part["svd"]["accuracy"], by_part["svd"]["share"]), (0.5, 0.75))
        self.assertNotIn("accuracy", by_part["all"])

    def test_two_threads_have_twice_the_peak_and_the_wall_clock(self):
        ours, _ = self.measure(threads=(1, 2), clock="cpu")
        one, two = (next(r for r in ours if (r["threads"], r["part"]) == (n, "all")) for n in (1, 2))
        self.assertAlmostEqual(one["seconds"], 0.55)
        self.assertAlmostEqual(two["seconds"], 1.1)
        self.assertAlmostEqual(two["share_of_peak"], 60 / 1.1 / 200)
        self.assertEqual((one["target_seconds"], two["target_seconds"]), (0.9, 0.5))

    def test_turns(self):
        self.measure()
        turns = [entry for entry in self.log if entry[1] not in ("attack_open", "open")]
        of_occam = [("Occam 1", "peak", ""), ("Occam 1", "attack", "open")]  # the second one is not measured
        of_occam += [("Occam 1", "attack", part) for part in ("open", "pgd", "svd", "as", "all")]
        of_rival = [("rival", "attack", part) for part in ("pgd", "pgd", "svd", "as")]
        self.assertEqual(turns, 2 * (of_occam + of_rival))

    def test_ratios(self):
        _, theirs = self.measure()
        measured = {row["part"]: row for row in theirs if row["status"] == "measured"}
        self.assertEqual(list(measured), ["pgd", "svd", "as", "all"])
        self.assertAlmostEqual(measured["pgd"]["ratio"], 1.0 / 0.3)
        self.assertAlmostEqual(measured["pgd"]["ratio_without_opening"], 1.0 / 0.2)
        self.assertAlmostEqual(measured["all"]["seconds_per_member"], 6.0)
        self.assertAlmostEqual(measured["all"]["ratio"], 6.0 / 1.1)
        self.assertEqual(measured["as"]["accuracy"], 0.5)
        self.assertEqual(
            [row["status"] for row in theirs if row["part"] == "all"], ["measured", "not installed"]
        )
        self.assertTrue(self.occam[0].closed and self.rival.closed)

    def test_one_network_at_a_time_is_compared_by_member(self):
        ours, theirs = self.measure(members=16, argument="torchattacks", device="cuda")
        self.assertEqual((self.occam[0].opened["members"], self.rival.opened["members"]), (16, 1))
        (row,) = [row for row in theirs if row["status"] == "measured"]
        self.assertEqual((row["part"], row["members"], row["members_at_a_time"]), ("pgd", 16, 1))
        self.assertAlmostEqual(row["ratio"], 16 * 1.0 / 0.3)
        self.assertAlmostEqual(ours[0]["gflops"], 16 * 10 / 0.3)
        self.assertAlmostEqual(ours[0]["members_per_second"], 16 / 0.3)
        self.assertEqual(len(row["samples"]["rival"]), 3)
        self.assertIsNone(ours[-1]["target_seconds"])  # the target is one core's
        self.measure(members=16, device="cuda")
        self.assertEqual(self.rival.opened["members"], 16)

    def test_failures(self):
        for part in ("open", "svd"):
            ours, theirs = self.measure(fails=("", part))
            self.assertEqual({row["status"] for row in ours}, {"measured"})
            self.assertEqual([r["status"] for r in theirs], [f"failed: fake: no {part}", "not installed"])
            self.assertTrue(self.rival.closed)
        ours, theirs = self.measure(fails=("attack_open", ""))
        self.assertEqual([row["status"] for row in ours], ["failed: fake: no attack_open"])
        self.assertEqual({row["status"] for row in theirs}, {"no network of Occam's to attack"})
        with self.assertRaisesRegex(ContestantError, "no as"):
            self.measure(fails=("as", ""))
        self.assertTrue(self.occam[0].closed and self.rival.closed)

    def test_table(self):
        ours, theirs = self.measure(threads=(1, 2))
        failed, _ = self.measure(fails=("attack_open", ""))
        text = "\n".join(table.attack_lines({"attacks": ours + failed, "attack_rivals": theirs}))
        self.assertRegex(text, r"PGD +1 +1 +0\.300 +0\.100 +33\.3 +33\.3% +50\.0% +0\.5000 +0\.7500")
        self.assertRegex(text, r"all three +1 +1 +1\.100 .* 0\.9 \(missed\)")
        self.assertRegex(text, r"all three +1 +1 +failed: fake: no attack_open")
        self.assertRegex(text, r"fastest batches 2\.9 +SVD-UAP +1 +2,000\.0 +400\.0 +5\.00x +6\.67x")
        self.assertRegex(text, r"fastest batches +all three +1 +not installed")


class Cuda(unittest.TestCase):
    def test_every_size(self):
        worker = f"""
            import json, sys
            members = 1
            replies = {{
                "info": {{"device": "cuda, a GPU", "precisions": ["fp32"]}},
                "ceilings": {{"ffma_gflops": 50e3, "multiprocessors": 132}},
                "cublas": {{"version": "13.1.0"}},
                "cuda_sgemm": {{"gflops": 45e3}},
                "attack_open": {{"flop": {json.dumps(FLOP)}}},
                "export": {{}},
            }}
            seconds = {json.dumps(OCCAM_SECONDS)}
            for line in sys.stdin:
                request = json.loads(line)
                if request["op"] == "attack_open":
                    assert (request["device"], request["hidden"]) == ("cuda", [200])
                    members = request["members"]
                reply = replies.get(request["op"]) or {{}}
                if request["op"] == "attack":
                    took = members * 1e-3 * seconds[request["part"]]
                    reply = {{"seconds": took, "cpu_seconds": 0.0}}
                print(json.dumps(reply), flush=True)
        """
        settings = Settings(repeats=2, train_rows=1000, parts=("attacks",))
        result = cuda_result(textwrap.dedent(worker), settings)
        ours = result["attacks"]
        self.assertEqual(
            [(row["members"], row["part"]) for row in ours], [(m, p) for m in MEMBERS for p in attacks.PARTS]
        )
        for row in ours:
            self.assertAlmostEqual(
                row["share_of_peak"], FLOP[row["part"]] * 1e-9 / row["seconds"] * row["members"] / 50e3
            )
            self.assertAlmostEqual(row["members_per_second"], 1e3 / OCCAM_SECONDS[row["part"]])
        self.assertEqual(len(result["attack_rivals"]), len(MEMBERS) * len(frameworks.ATTACK_STYLES))
        self.assertNotIn("ensembles", result)
        text = "\n".join(table.cuda_lines(result))
        self.assertRegex(text, r"AS-UAP +1024 +1 +0\.614 ")
        self.assertRegex(text, r"torchattacks PGDL2 +all three +1024 +not installed")


@built
class Worker(unittest.TestCase):
    def setUp(self):
        self.worker = Contestant("Occam", [WORKER])
        self.addCleanup(self.worker.close)

    def open(self, **fields):
        return self.worker.ask("attack_open", train=2000, test=300, **{**attacks.NETWORK, **fields})

    def test_flop(self):
        opened = self.open()
        forward = 2 * 300 * (50 * 200 + 200 * 2)  # of the rows; the gradient of the inputs takes as much
        by_hand = {"open": 1, "pgd": 20 * 2 + 1, "svd": 30 * 2 + 1 + 2, "as": 2 * 30 * 2 + 1}
        by_hand["all"] = by_hand["pgd"] + by_hand["svd"] + by_hand["as"]
        self.assertEqual(opened["flop"], {part: forward * count for part, count in by_hand.items()})
        self.assertEqual((opened["updates"], opened["rows"]), ([2001], 300))

    def test_parts_and_threads(self):
        self.open(members=2)
        apart = {part: self.worker.ask("attack", part=part)[part] for part in attacks.ATTACKS}
        together = self.worker.ask("attack", part="all", threads=2)
        self.assertEqual(together["members"], 2)
        for part, measured in apart.items():
            self.assertEqual(together[part], measured)  # the same bits
            self.assertEqual(len(set(measured["share"])), 2)  # networks and rows of their own
            self.assertGreater(min(measured["share"]), 0.9)
            self.assertLess(max(measured["accuracy"]), 0.1)
        self.assertNotIn("pgd", self.worker.ask("attack", part="open"))

    def test_requests(self):
        with self.assertRaisesRegex(ContestantError, "attack: nothing is open"):
            self.worker.ask("attack", part="pgd")
        self.open()
        with self.assertRaisesRegex(ContestantError, "part: 'fgsm' is not known"):
            self.worker.ask("attack", part="fgsm")


@built
class RealRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        settings = Settings(rounds=2, train_rows=1000, attacked_rows=500, clock="cpu", parts=("attacks",))
        settings.core = min(os.sched_getaffinity(0))
        with tempfile.TemporaryDirectory() as folder:
            cls.result = CpuBench([WORKER], [], settings, folder, lambda line: None).run()
        report = {"device": "cpu", "machine": machine.describe(), "protocol": vars(settings), "date": "today"}
        cls.report = {**report, "warnings": [], "result": cls.result}

    def test_rows(self):
        rows = self.result["attacks"]
        self.assertEqual([row["part"] for row in rows if row["threads"] == 1], list(attacks.PARTS))
        for row in rows:
            self.assertLess(row["open_seconds"], row["seconds"])
            self.assertGreater(row["share_of_peak"], 0.01)
            self.assertLess(row["share_of_peak"], 1.5)
        self.assertEqual({row["status"] for row in self.result["attack_rivals"]}, {"not installed"})
        self.assertNotIn("shares", self.result)

    def test_the_page_documents_every_key(self):
        with open(PAGE, encoding="utf-8") as page:
            documented = page.read()
        protocol, own, missing = self.report["protocol"], self.result["attacks"], self.result["attack_rivals"]
        rows = [protocol, self.result, own[0], own[-1], missing[0]]
        self.assertEqual({key for row in rows for key in row if f"`{key}`" not in documented}, set())

    def test_table(self):
        text = "\n".join(table.lines(json.loads(json.dumps(self.report))))
        self.assertRegex(text, r"all three +1 +1 .* 0\.9 \((met|missed)\)")
        self.assertIn("FMA limit", text)
        self.assertNotIn("nan", text)


class CommandLine(unittest.TestCase):
    def test_only(self):
        bench = [sys.executable, os.path.join(ROOT, "tools", "bench"), "--only", "lunch"]
        done = subprocess.run(bench, text=True, capture_output=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("'lunch'", done.stderr)


# Gradients by hand are those of autograd, members in one call are attacked as one by one is, and what moves
# keeps to its ball and bounds.
RIVAL = """
import json, sys, numpy, torch
import torch_attack
torch.set_num_threads(1)
random = numpy.random.default_rng(3)
x = random.uniform(-1, 1, (90, 6)).astype("float32")
normal = lambda *shape: random.standard_normal(shape).astype("float32")
path = sys.argv[1] + "/attacked.npz"
numpy.savez(
    path, x=x, y=(x[:, 0] > 0).astype("int32"), low=numpy.full(1, x.min()), high=numpy.full(1, x.max()),
    simplest=numpy.eye(6, dtype="float32")[0], weight_0=normal(8, 6), bias_0=normal(8),
    weight_1=normal(8, 8), bias_1=normal(8), weight_2=normal(2, 8), bias_2=normal(2),
)
one, three = (torch_attack.Attacker(path, "cpu", members) for members in (1, 3))
away = lambda a, b: (a - b).abs().max().item()
answer = {"by hand": max(away(a.autograd(a.x, a.y), a.by_hand(a.x, a.y)) for a in (one, three)),
          "gradient": one.autograd(one.x, one.y).abs().max().item()}
torch_attack.START = 1e-7  # members draw their own starts
torch_attack.BATCH = 40
delta, of_three = one.perturbations(40, **torch_attack.PGD), three.perturbations(90, **torch_attack.PGD)
width = one.high - one.low
answer["members"] = away(of_three[1], delta)
answer["length"] = delta.norm(dim=1).max().item() / width
answer["outside"] = max((one.x + delta).max().item() - one.high, one.low - (one.x + delta).min().item())
universal = one.universal(**torch_attack.AS)
answer["universal"] = [universal.norm().item(), away(three.universal(**torch_attack.AS)[2], universal)]
answer["accuracies"] = [
    one.accuracy(one.x).item(), one.pgd(40)["accuracy"].item(), one.as_uap(40)["accuracy"].item()
]
print(json.dumps(answer))
"""


class RealRivals(unittest.TestCase):
    def able(self, argument):
        pythons = frameworks.interpreters([sys.executable])
        styles = [style for style in frameworks.ATTACK_STYLES if style.argument == argument]
        rivals = [rival for rival in frameworks.find_rivals(pythons, "cpu", styles)]
        if not rivals[0].python:
            self.skipTest(f"{styles[0].module}: {rivals[0].status}")
        return rivals

    def test_torch(self):
        for rival in self.able("tuned"):
            with self.subTest(rival.version):
                answer = answer_of(rival.python, RIVAL)
                self.assertLess(answer["by hand"], 1e-4 * answer["gradient"])
                self.assertLess(answer["members"], 1e-3)
                self.assertLess(answer["length"], 0.5 + 1e-5)
                self.assertGreater(answer["length"], 0.49)
                self.assertLess(answer["outside"], 1e-6)
                length, difference = answer["universal"]
                self.assertAlmostEqual(length, 1.0, places=5)
                self.assertLess(difference, 1e-3)
                clean, pgd, universal = answer["accuracies"]
                self.assertLess(pgd, clean)
                self.assertLess(universal, clean)

    @built
    def test_rivals_find_what_occam_finds(self):
        with tempfile.TemporaryDirectory() as folder, Contestant("Occam", [WORKER]) as occam:
            path = os.path.join(folder, "attacked.npz")
            occam.ask("attack_open", train=5000, test=600, path=path, **attacks.NETWORK)
            ours = occam.ask("attack", part="all")
            for argument in ("batches", "tuned", "torchattacks"):
                for rival in self.able(argument):
                    with (
                        self.subTest(rival.name),
                        Contestant(rival.name, rival.command(), ONE_THREAD) as contestant,
                    ):
                        for part in contestant.ask("open", path=path)["parts"]:
                            theirs = contestant.ask("attack", part=part)[part]
                            for measured, expected in ours[part].items():
                                self.assertAlmostEqual(theirs[measured][0], expected[0], delta=0.004)


if __name__ == "__main__":
    unittest.main()
