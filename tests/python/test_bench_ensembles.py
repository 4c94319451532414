"""tools/bench's ensembles: their arithmetic, and what is said of precisions and rivals that are missing."""

import json
import re
import unittest

from bench_case import PAGE, WORKER as BUILT_WORKER, built, cuda_result
from bench_lib import ensembles, frameworks, table
from bench_lib.contestant import Contestant, ContestantError
from bench_lib.cuda import MEMBERS
from bench_lib.measure import Contention, Settings

CEILINGS = {"ffma_gflops": 50e3, "tf32_gflops": 300e3, "bf16_gflops": 600e3, "copy_gbs": 4000.0}


class Arithmetic(unittest.TestCase):
    def test_checks_cost_their_share(self):
        # 10 members at 1,000 updates/s: 5,000 updates of all take 50 s, and a check of all takes 50 s more.
        self.assertAlmostEqual(ensembles.updates_with_checks(1000.0, 50.0, 10), 500.0)
        self.assertAlmostEqual(ensembles.updates_with_checks(1000.0, 0.0, 10), 1000.0)

    def test_the_floor_is_the_slower_of_operations_and_rows(self):
        self.assertAlmostEqual(ensembles.floor_of(1e9, "fp32", CEILINGS), 50e3)
        self.assertAlmostEqual(ensembles.floor_of(1e9, "tf32", CEILINGS), 300e3)
        read = 256 * (52 * 2 + 4)  # bytes of a batch in BF16
        self.assertAlmostEqual(ensembles.floor_of(1.0, "bf16", CEILINGS), 4000e9 / read)

    def test_without_ceilings_there_is_no_floor(self):
        self.assertIsNone(ensembles.floor_of(1e9, "fp32", {}))
        self.assertIsNone(ensembles.floor_of(1e9, "tf32", {"ffma_gflops": 1.0, "copy_gbs": 1.0}))

    def test_the_best_rival_is_the_fastest_of_the_same_problem(self):
        problem = {"net": (100, 100), "members": 16, "precision": "fp32"}
        own = [{**problem, "status": "measured"}, {**problem, "precision": "tf32", "status": ensembles.LACKS}]
        rival = {**problem, "name": "a", "version": "1", "updates_per_second": 10.0, "ratio": 9.0}
        rival["ratio_with_checks"] = 8.0
        faster = {**rival, "name": "b", "updates_per_second": 30.0, "ratio": 3.0}
        larger = {**rival, "name": "c", "members": 132, "updates_per_second": 99.0, "ratio": 1.0}
        ensembles.compare_with_best(own, [rival, faster, larger])
        self.assertEqual((own[0]["best_rival"], own[0]["ratio_to_best_rival"]), ("b 1", 3.0))
        self.assertNotIn("best_rival", own[1])


class FakeContestant:
    """Trains at a fixed pace; fails at the operations named. Products of cuBLAS take it 4 ms."""

    def __init__(self, updates_per_second, check_seconds, fails=(), precisions=("fp32",), exit_code=1):
        self.rate, self.check_seconds, self.fails, self.closed = (
            updates_per_second,
            check_seconds,
            fails,
            False,
        )
        self.precisions, self.exit_code = precisions, exit_code
        self.products = []  # that were asked for

    def ask(self, operation, timeout=0, **fields):
        if operation in self.fails:
            raise ContestantError(f"fake: no {operation}", self.exit_code)
        if operation == "info":
            return {"precisions": self.precisions}
        if operation == "cuda_products":
            self.products.append(fields)
            return {"seconds": 4e-3, "products": [{"layer": 0, "product": "forward", "seconds": 4e-3}]}
        if operation == "open":
            self.opened = fields
            return {"variant": "v", "tried": {"v": 1.0}, "failed": {}, "data_bytes": 7}
        seconds = self.check_seconds if operation == "check" else fields["epochs"] * 100 / self.rate
        updates = 100 * fields.get("epochs", 0)
        return {"updates": updates, "seconds": seconds, "cpu_seconds": seconds}

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Measuring(unittest.TestCase):
    def measure(self, occam, rival, precision="fp32", ceilings=None, device="cpu", hidden=(100, 100)):
        style = frameworks.ENSEMBLE_STYLES[0]
        measuring = ensembles.Ensembles(
            device,
            Settings(rounds=2, repeats=1),
            Contention(),
            lambda line: None,
            lambda: occam,
            lambda _: rival,
            ceilings,
        )
        found = [
            frameworks.Rival(style, "installed", "python", "2.9"),
            frameworks.Rival(style, "not installed"),
        ]
        return measuring.measure(hidden, 16, precision, "data.npz", found)

    def test_rates_and_ratios(self):
        own, (measured, missing) = self.measure(
            FakeContestant(3000, 1.0), FakeContestant(1000, 2.0), "fp32", CEILINGS
        )
        self.assertAlmostEqual(own["updates_per_second"], 3000)
        self.assertAlmostEqual(own["models_per_second"], 0.6)
        self.assertAlmostEqual(
            own["share_of_floor"], 3000 / ensembles.floor_of(own["gflops"] / 3000 * 1e9, "fp32", CEILINGS)
        )
        self.assertAlmostEqual(measured["ratio"], 3.0)
        with_checks = ensembles.updates_with_checks
        self.assertAlmostEqual(
            measured["ratio_with_checks"], with_checks(3000, 1.0, 16) / with_checks(1000, 2.0, 16)
        )
        self.assertEqual(missing["status"], "not installed")

    def test_a_precision_that_the_build_lacks_is_said_and_rivals_run(self):
        occam, rival = FakeContestant(3000, 1.0), FakeContestant(1000, 2.0)
        own, (measured, _) = self.measure(occam, rival, "tf32")
        self.assertEqual(own["status"], "this build does not offer it")
        self.assertEqual((measured["status"], rival.opened["precision"]), ("measured", "tf32"))
        self.assertNotIn("ratio", measured)
        self.assertTrue(occam.closed and rival.closed)

    def test_failures_are_kept_to_their_rows(self):
        own, (failed, _) = self.measure(FakeContestant(3000, 1.0), FakeContestant(1, 1, ["open"]))
        self.assertEqual((own["status"], failed["status"]), ("measured", "failed: fake: no open"))
        own, (measured, _) = self.measure(FakeContestant(1, 1, ["open"]), FakeContestant(1000, 2.0))
        self.assertEqual((own["status"], measured["status"]), ("failed: fake: no open", "measured"))

    def test_products_of_cublas_take_their_share_of_an_update(self):
        for hidden, target in (((100, 100), None), ((2000,), 0.85)):
            occam = FakeContestant(3200, 1.0)  # an update of 16 members takes 5 ms
            own, _ = self.measure(occam, FakeContestant(1, 1), device="cuda", hidden=hidden)
            self.assertEqual(occam.products, [{"widths": [50, *hidden, 2], "batch": 256, "members": 16}])
            self.assertEqual((own["cublas_status"], own["cublas_products_seconds"]), ("measured", 4e-3))
            self.assertEqual([row["product"] for row in own["cublas_products"]], ["forward"])
            self.assertAlmostEqual(own["share_of_cublas"], 0.8)
            self.assertEqual(own["target_share_of_cublas"], target)

    def test_products_of_cublas_are_those_of_fp32_on_a_gpu(self):
        for device, precision in (("cpu", "fp32"), ("cuda", "tf32"), ("cuda", "bf16")):
            occam = FakeContestant(3200, 1.0, precisions=("fp32", "tf32", "bf16"))
            own, _ = self.measure(occam, FakeContestant(1, 1), precision, device=device, hidden=(2000,))
            self.assertEqual((own["status"], occam.products), ("measured", []))
            for key in ("cublas_status", "cublas_products_seconds", "share_of_cublas", "target_share_of_cublas"):
                self.assertIsNone(own[key])

    def test_where_cublas_fails_the_row_says_why(self):
        for code in (1, 2, 4):  # 4, of a device, ends the benchmark elsewhere
            occam = FakeContestant(3200, 1.0, ["cuda_products"], exit_code=code)
            own, (rival, _) = self.measure(occam, FakeContestant(1000, 2.0), device="cuda", hidden=(2000,))
            self.assertEqual(own["cublas_status"], "failed: fake: no cuda_products")
            for key in ("cublas_products_seconds", "cublas_products", "share_of_cublas", "target_share_of_cublas"):
                self.assertIsNone(own[key])
            self.assertEqual((own["status"], rival["status"]), ("measured", "measured"))
            self.assertAlmostEqual(own["updates_per_second"], 3200)
            self.assertAlmostEqual(rival["ratio"], 3.2)

    def test_table(self):
        own, rivals = self.measure(FakeContestant(3000, 1.0), FakeContestant(1000, 2.0))
        ensembles.compare_with_best([own], rivals)
        lacking, others = self.measure(FakeContestant(3000, 1.0), FakeContestant(1000, 2.0), "bf16")
        text = "\n".join(
            table.ensemble_lines({"ensembles": [own, lacking], "ensemble_rivals": rivals + others})
        )
        self.assertRegex(text, r"100x100 +fp32 +16 +3,000 .* 3\.00x")
        self.assertRegex(text, r"100x100 +bf16 +16 +this build does not offer it")
        self.assertRegex(text, r"PyTorch, stacked members 2\.9 +100x100 +bf16 +16 +1,000 ")
        self.assertIn("not installed", text)


# Occam's worker on a GPU that this machine need not have: 1 ms an epoch of a member, checks of 1 ms, products of
# cuBLAS 100 ns a unit of a member.
WORKER = f"""
import json, sys
members = 1
for line in sys.stdin:
    request = json.loads(line)
    op = request.pop("op")
    seconds = {{"seconds": 0.001 * members, "cpu_seconds": 0.0}}
    if op == "open":
        members = request["members"]
        reply = {{"variant": "gpu"}} if request["precision"] == "fp32" else {{"error": "precision"}}
    else:
        reply = {{
            "info": {{"device": "cuda, a GPU", "precisions": ["fp32"]}},
            "ceilings": {json.dumps({**CEILINGS, "multiprocessors": 132})},
            "cublas": {{"version": "13.1.0"}},
            "cuda_sgemm": {{"gflops": 45e3}},
            "cuda_products": {{"seconds": 1e-7 * sum(request.get("widths", [])) * members, "products": []}},
            "run": {{"updates": 4 * members * request.get("epochs", 1), **seconds}},
            "fit": {{"updates": [5001], **seconds}},
        }}.get(op, seconds)
        if op == "run":
            reply["seconds"] *= request["epochs"]
    print(json.dumps(reply), flush=True)
"""


class Cuda(unittest.TestCase):
    """The CUDA benchmark with a worker that only answers."""

    @classmethod
    def setUpClass(cls):
        settings = Settings(rounds=2, stretch_seconds=0.01, repeats=2, train_rows=1000, parts=("training",))
        cls.result = cuda_result(WORKER, settings)
        cls.rows = cls.result["ensembles"]

    def test_every_size_and_precision(self):
        self.assertEqual(MEMBERS, (1, 16, 132, 1024))
        first = [row for row in self.rows if row["net"] == (100, 100)]
        self.assertEqual(
            [(row["members"], row["precision"]) for row in first],
            [(members, precision) for members in MEMBERS for precision in ensembles.PRECISIONS],
        )
        self.assertEqual(len(self.rows), 4 * len(first) + len(MEMBERS))  # nets; the wide one in fp32 alone
        wide = [row for row in self.rows if row["net"] == (2000,)]
        self.assertEqual([(row["members"], row["precision"]) for row in wide], [(m, "fp32") for m in MEMBERS])
        self.assertEqual(
            {(row["precision"], row["status"]) for row in self.rows},
            {("fp32", "measured"), ("tf32", ensembles.LACKS), ("bf16", ensembles.LACKS)},
        )

    def test_rates(self):
        for row in self.rows:
            if row["status"] == "measured":
                self.assertAlmostEqual(row["updates_per_second"], 4000)
                self.assertAlmostEqual(
                    row["share_of_floor"], row["models_per_second"] / row["floor_models_per_second"]
                )
                self.assertLess(row["share_of_floor"], 1)

    def test_shares_of_sgemm(self):
        for row in self.rows:
            if row["status"] == "measured":
                self.assertAlmostEqual(row["share_of_sgemm"], row["gflops"] / 45e3)

    def test_shares_of_cublas(self):
        for row in self.rows:
            if row["status"] == "measured":
                units = 52 + sum(row["net"])
                self.assertAlmostEqual(row["cublas_products_seconds"], 1e-7 * units * row["members"])
                self.assertAlmostEqual(row["share_of_cublas"], 4000 * 1e-7 * units)
                self.assertEqual(row["target_share_of_cublas"], 0.85 if row["net"] == (2000,) else None)
                self.assertNotIn("target_share_of_sgemm", row)

    def test_the_page_documents_every_key(self):
        with open(PAGE, encoding="utf-8") as page:
            documented = page.read()
        keys = {*self.result, *(key for row in self.rows for key in row)}
        self.assertEqual({key for key in keys if f"`{key}`" not in documented}, set())

    def test_a_quick_run_measures_the_nets_that_have_targets(self):
        settings = Settings(
            quick=True, rounds=1, stretch_seconds=0.01, repeats=1, train_rows=1000, parts=("training",)
        )
        rows = cuda_result(WORKER, settings)["ensembles"]
        self.assertEqual({row["net"] for row in rows}, {(100, 100), (300, 300), (2000,)})
        self.assertEqual({row["members"] for row in rows}, {132})

    def test_some_ensembles_alone_kept_one_by_one(self):
        settings = Settings(rounds=1, stretch_seconds=0.01, repeats=1, train_rows=1000, parts=("training",))
        settings.members, settings.precisions = (132, 7), ("fp32",)
        kept = []
        result = cuda_result(WORKER, settings, lambda result: kept.append(len(result.get("ensembles", []))))
        self.assertEqual([row["members"] for row in result["ensembles"]], 5 * [132, 7])
        self.assertEqual({row["precision"] for row in result["ensembles"]}, {"fp32"})
        self.assertEqual(kept, [*range(11), 10])  # before the first, after each, and after the other parts
        self.assertEqual(result["throughput"][0]["members"], 132)

    def test_without_cublas_the_rest_is_measured(self):
        settings = Settings(rounds=1, stretch_seconds=0.01, repeats=1, train_rows=1000, quick=True, parts=("training",))
        refusal = '{"error": "cuBLAS cannot be loaded", "exit_code": 2}'
        without = re.sub(r'("cublas"|"cuda_products"): {.*},', rf"\1: {refusal},", WORKER)
        self.assertEqual(without.count(refusal), 2)
        result = cuda_result(without, settings)
        self.assertIsNone(result["sgemm_gflops"])
        for row in result["ensembles"]:
            if row["precision"] == "fp32":
                self.assertEqual((row["status"], row["share_of_sgemm"]), ("measured", None))
                self.assertEqual(row["share_of_cublas"], None)
                self.assertEqual(row["cublas_status"], "failed: Occam: cuBLAS cannot be loaded")
        text = "\n".join(table.cuda_lines(result))
        self.assertRegex(text, r"cuBLAS sgemm +failed: Occam: cuBLAS cannot be loaded")
        self.assertRegex(text, r"2000 +fp32 +132 +4,000 .*% +failed\n")
        self.assertNotIn("target 85%", text)

    def test_rivals_that_are_missing_are_said_for_each_problem(self):
        missing = self.result["ensemble_rivals"]
        self.assertEqual(
            len(missing), len(frameworks.ENSEMBLE_STYLES) * len(MEMBERS) * len(ensembles.PRECISIONS)
        )
        self.assertEqual({row["status"] for row in missing + self.result["rivals"]}, {"not installed"})

    def test_table(self):
        text = "\n".join(table.cuda_lines(self.result))
        self.assertRegex(text, r"tf32 +300,000 GFLOP/s")
        self.assertRegex(text, r"copy +4,000 GB/s")
        self.assertRegex(text, r"cuBLAS 13\.1\.0 sgemm +45,000 GFLOP/s")
        self.assertRegex(text, r"of floor +of sgemm +of cuBLAS +to best rival")
        self.assertRegex(text, r"2000 +fp32 +1024 .*% +[0-9.]+% +82\.1% \(target 85% missed\)")
        self.assertRegex(text, r"100x100 +fp32 +1024 +4,000 .*% +10\.1%\n")
        self.assertNotIn("multiprocessors", text)


@built
class Products(unittest.TestCase):
    """The worker's operation cuda_products."""

    def setUp(self):
        self.worker = self.enterContext(Contestant("Occam", [BUILT_WORKER]))

    def test_bad_requests_are_refused_in_one_line(self):
        request = {"widths": [50, 2000, 2], "batch": 256, "members": 132}
        for changed, message in (
            ({"widths": [50]}, "widths: inputs and outputs are needed, 1 given"),
            ({"widths": [50, 0, 2]}, "widths, batch, members: 0 is not within [1, 1048576]"),
            ({"batch": -1}, "widths, batch, members: -1 is not within [1, 1048576]"),
            ({"members": 2000000}, "widths, batch, members: 2000000 is not within [1, 1048576]"),
        ):
            with self.assertRaises(ContestantError) as raised:
                self.worker.ask("cuda_products", **{**request, **changed})
            self.assertEqual((str(raised.exception), raised.exception.exit_code), (f"Occam: {message}", 2))

    def test_every_product_of_an_update(self):
        try:
            self.worker.ask("info", device="cuda")
            self.worker.ask("cublas")
        except ContestantError as error:
            self.skipTest(str(error))
        reply = self.worker.ask("cuda_products", widths=[5, 7, 2], batch=16, members=3)
        self.assertEqual(
            [(row["layer"], row["product"]) for row in reply["products"]],
            [
                (0, "forward"),
                (0, "weight_gradient"),
                (1, "forward"),
                (1, "weight_gradient"),
                (1, "input_gradient"),
            ],
        )
        self.assertGreater(min(row["seconds"] for row in reply["products"]), 0)
        self.assertAlmostEqual(reply["seconds"], sum(row["seconds"] for row in reply["products"]))


if __name__ == "__main__":
    unittest.main()
