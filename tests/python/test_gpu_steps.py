"""The steps of tools/gpu_check on invented command output."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from gpu_lib import kernels, steps  # noqa: E402

CONTRACT_TESTS = pathlib.Path(os.environ.get("OCCAM_BUILD_DIR", ROOT / "build")) / "tests/occam_contract_tests"


class FakeTests:
    """Stands in for the test executable, alone or under a sanitizer: writes a GoogleTest report."""

    def __init__(self, cases, code, output="output\n"):
        self.cases, self.code, self.output = cases, code, output

    def __call__(self, command, timeout):
        path = next(str(c) for c in command if str(c).startswith("--gtest_output=json:")).split(":", 1)[1]
        report = {"testsuites": [{"testsuite": self.cases}]}
        pathlib.Path(path).write_text(json.dumps(report))
        return self.code, self.output


PASSED = {"name": "a", "result": "COMPLETED"}
FAILED = {"name": "b", "result": "COMPLETED", "failures": [{"failure": "no"}]}
SKIPPED = {"name": "c", "result": "SKIPPED"}


class Steps(unittest.TestCase):
    def test_contract_tests(self):
        for cases, code, status in (
            ([PASSED, PASSED], 0, "passed"),
            ([PASSED, FAILED], 1, "failed"),
            ([PASSED, SKIPPED], 0, "failed"),  # a case that cannot run on the GPU proves nothing
            ([SKIPPED], 0, "failed"),
            ([], 0, "failed"),
        ):
            result = steps.contract_tests("tests", FakeTests(cases, code))
            self.assertEqual(result["status"], status, cases)
            self.assertEqual(result["tests"]["passed"], cases.count(PASSED))

    def test_a_test_executable_that_dies_has_passed_nothing(self):
        result = steps.contract_tests("tests", lambda command, timeout: (-11, "the last words\n"))
        self.assertEqual((result["status"], result["tests"]["passed"]), ("failed", 0))
        self.assertEqual(result["output"], "the last words")

    def test_a_sanitizer_must_say_that_it_found_nothing_in_cases_that_ran(self):
        no_errors = "========= ERROR SUMMARY: 0 errors\n"
        with mock.patch("shutil.which", return_value="/bin/compute-sanitizer"):
            for cases, code, output, status in (
                ([PASSED], 0, no_errors, "passed"),
                ([PASSED], 0, "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n", "passed"),
                ([PASSED], 86, "========= RACECHECK SUMMARY: 2 hazards displayed (0 errors, 2 warnings)\n", "passed"),
                ([FAILED], 86, "========= RACECHECK SUMMARY: 2 hazards displayed (0 errors, 2 warnings)\n", "failed"),
                ([PASSED], 86, "========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)\n", "failed"),
                ([PASSED], 86, "========= ERROR SUMMARY: 3 errors\n", "failed"),
                ([PASSED], 0, "it did not attach\n", "failed"),
                ([], 0, no_errors, "failed"),
                ([PASSED, SKIPPED], 0, no_errors, "failed"),
                ([PASSED, FAILED], 0, no_errors, "failed"),
                ([FAILED], 1, "========= Error: Device not supported. See the manual\n", "unavailable"),
            ):
                result = steps.sanitizer("memcheck", "tests", FakeTests(cases, code, output))
                self.assertEqual(result["status"], status, (cases, output))
                if status != "unavailable":
                    self.assertEqual(result["tests"]["passed"], cases.count(PASSED))

    def test_the_small_cases_are_cases_of_the_contract(self):
        sources = "".join(path.read_text() for path in (ROOT / "tests/contract").glob("*_test.cpp"))
        for pattern in steps.SMALL_CASES.split(":"):
            suite, case = re.fullmatch(r"\*(\w+)\.(\w+)/cuda\*?", pattern).groups()
            self.assertRegex(sources, rf"TEST_P\(\w*{suite}, {case}\)")

    @unittest.skipUnless(CONTRACT_TESTS.exists(), "the contract tests are not built")
    def test_the_small_cases_reach_every_kernel(self):
        on_executor = steps.SMALL_CASES.replace("/cuda", "/simt_plain")
        with tempfile.TemporaryDirectory() as folder:
            launched = pathlib.Path(folder) / "launched.txt"
            done = subprocess.run(
                [CONTRACT_TESTS, f"--gtest_filter={on_executor}", "--gtest_brief=1"],
                env={**os.environ, "OCCAM_LAUNCHED_KERNELS": str(launched)},
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stdout)
            if "this build has no SIMT executor" in done.stdout:
                self.skipTest("this build has no SIMT executor")
            functions = launched.read_text()
        wanted = [kernel.name for kernel in kernels.find_kernels(ROOT) if kernel.on_simt]
        for precision in ("Tf32", "Bf16"):
            wanted += [f"resident_tensor_kernel<.*{precision}>"]
            for state in ("false", "true"):
                wanted += [f"whole_batch_tensor_kernel<.*{precision}, {state}>"]
                wanted += [f"one_hidden_tensor_kernel<.*{precision}, {tiles}, {state}>" for tiles in (13, 25)]
            wanted += [f"{kind}_kernel<.*TensorTile<.*{precision}" for kind in ("forward", "input_gradient")]
            wanted += [f"weight_gradient_kernel<.*{precision}>"]
        self.assertEqual([name for name in wanted if not re.search(rf"\b{name}", functions)], [])

    def test_without_a_sanitizer_the_step_is_unavailable(self):
        with mock.patch("shutil.which", return_value=None):
            self.assertEqual(steps.sanitizer("racecheck", "tests")["status"], "unavailable")

    def run_experiment(self, cuda, cpu):
        with tempfile.NamedTemporaryFile() as binary:

            def execute(command, timeout):
                device = command[command.index("--device") + 1]
                out = pathlib.Path(command[command.index("--out") + 1]) / "extreme_slab"
                out.mkdir(parents=True)
                metrics = cuda if device == "cuda" else cpu
                (out / "result.json").write_text(json.dumps({"cases": [{"metrics": m} for m in metrics]}))
                return 0, ""

            return steps.experiment(binary.name, execute)

    def test_the_experiment_must_agree_with_the_cpu(self):
        self.assertEqual(self.run_experiment([{"auc": [0.5]}], [{"auc": [0.5]}])["status"], "passed")
        self.assertEqual(self.run_experiment([{"auc": [0.5]}], [{"auc": [0.25]}])["status"], "failed")
        self.assertEqual(self.run_experiment([], [])["status"], "failed")

    def run_precisions(self, shift, spread=0.0, late=0):
        """BF16 is off by `shift`, and `spread` more or less from seed to seed; `late` of its seeds stop later."""
        with tempfile.NamedTemporaryFile() as binary:

            def execute(command, timeout):
                bf16 = command[command.index("--precision") + 1] == "bf16"
                out = pathlib.Path(command[command.index("--out") + 1]) / "extreme_slab"
                out.mkdir(parents=True)
                seeds = range(int(command[command.index("--seeds") + 1]))
                off = [shift + (spread if seed % 2 else -spread) if bf16 else 0 for seed in seeds]
                metrics = {
                    "standard_auc": [0.9 + by for by in off],
                    "s_randomized_accuracy": [0.5 + 0.001 * (seed % 7) for seed in seeds],
                    "updates": [10001 if bf16 and seed < late else 5001 for seed in seeds],
                }
                (out / "result.json").write_text(json.dumps({"cases": [{"name": "MS-(5,7)", "metrics": metrics}]}))
                return 0, ""

            return steps.precisions(binary.name, execute)

    def test_precisions_must_have_equal_means(self):
        for shift, spread, status in (
            (0.0, 0.0, "passed"),
            (0.0049, 0.0, "passed"),
            (-0.0051, 0.0, "failed"),
            (0.003, 0.011, "passed"),  # half of the 90% interval: 1.66 * 0.011 / 10
            (0.003, 0.013, "failed"),  # too uncertain to call equal
        ):
            result = self.run_precisions(shift, spread)
            self.assertEqual(result["status"], status, (shift, spread))
            of_case = result["compared"]["MS-(5,7)"]
            self.assertEqual(list(of_case["tf32"]), ["standard_auc", "s_randomized_accuracy", "updates"])
            compared = of_case["bf16"]["standard_auc"]
            self.assertAlmostEqual(compared["difference"], shift)
            self.assertAlmostEqual(compared["interval"][1] - shift, 0.16604 * spread, delta=1e-4)
            self.assertEqual(compared["margin"], 0.005)
        self.assertEqual(steps.precisions("/no/extreme_slab")["status"], "unavailable")

    def test_precisions_must_stop_alike(self):
        # sqrt(100 * 100 / 200) = 7.07; of Kolmogorov's distribution 1.59 leaves 1.25%.
        for late, status in ((0, "passed"), (22, "passed"), (23, "failed")):
            result = self.run_precisions(0.0, late=late)
            self.assertEqual(result["status"], status, late)
            compared = result["compared"]["MS-(5,7)"]["bf16"]["updates"]
            self.assertAlmostEqual(compared["statistic"], late / 100)
            self.assertEqual(compared["p"] >= 0.0125, status == "passed")
            self.assertEqual(result["compared"]["MS-(5,7)"]["tf32"]["updates"]["p"], 1.0)

    def test_kolmogorovs_distribution(self):
        # Smirnov's table of 1948.
        for x, p in ((0.5, 0.963945), (0.83, 0.496192), (1.0, 0.269999), (1.36, 0.049486), (1.63, 0.009846)):
            self.assertAlmostEqual(steps.kolmogorov(x), p, delta=1.5e-6)
        self.assertEqual(steps.kolmogorov(0.0), 1.0)
        self.assertAlmostEqual(steps.kolmogorov(0.2), steps.kolmogorov(0.1999), delta=1e-9)  # where the series begins

    def test_the_distance_of_two_samples(self):
        for first, second, distance in (
            ([1, 2, 3], [1, 2, 3], 0.0),
            ([1, 2, 3], [4, 5, 6, 7], 1.0),
            ([1, 1, 2, 2], [1, 2, 2, 2], 0.25),
            ([3, 1, 2, 5], [4, 2.5], 0.5),
        ):
            for one, other in ((first, second), (second, first)):
                self.assertAlmostEqual(steps.kolmogorov_smirnov(one, other)["statistic"], distance)

    def test_a_diverged_member_has_no_statistics(self):
        with mock.patch.object(steps, "SEEDS_OF_PRECISIONS", 3), tempfile.NamedTemporaryFile() as binary:

            def execute(command, timeout):
                out = pathlib.Path(command[command.index("--out") + 1]) / "extreme_slab"
                out.mkdir(parents=True)
                lost = None if "bf16" in command else 0.5
                metrics = {"standard_auc": [1, lost, 1], "updates": [1, 1, 1]}
                (out / "result.json").write_text(json.dumps({"cases": [{"name": "MS-(5,7)", "metrics": metrics}]}))
                return 0, ""

            result = steps.precisions(binary.name, execute)
        self.assertEqual((result["status"], result["output"]), ("failed", "members diverged: MS-(5,7) in bf16"))

    def test_the_benchmark_is_recorded(self):
        with tempfile.NamedTemporaryFile() as program:


            def benchmark(code, output):
                return steps.benchmark(program.name, "build", "kept.json", True, lambda c, t: (code, output))

            result = benchmark(0, 'a {table\n{of}\n{"rate": 7}\nand {more}\n')
            self.assertEqual((result["status"], result["measured"]), ("passed", {"rate": 7}))
            self.assertTrue(result["command"].endswith("--json cuda --build-dir build --save kept.json --quick"))
            self.assertEqual(benchmark(0, "no json")["status"], "failed")
            self.assertEqual(benchmark(1, "broken")["status"], "failed")
            self.assertEqual(benchmark(2, "install")["status"], "unavailable")

    def test_ceilings_are_numbers_above_0(self):
        with tempfile.NamedTemporaryFile() as worker:
            for code, output, status in (
                (0, '{"ffma_gflops": 5.0, "copy_gbs": 2.0}\n', "passed"),
                (0, '{"ffma_gflops": 5.0, "copy_gbs": 0.0}\n', "failed"),
                (0, '{"error": "no device", "exit_code": 4}\n', "failed"),
                (0, "", "failed"),
                (1, "", "failed"),
            ):
                result = steps.ceilings(worker.name, lambda c, t, r=(code, output): r)
                self.assertEqual(result["status"], status, output)
        self.assertEqual(steps.ceilings("/no/worker")["status"], "unavailable")

    def test_ceilings_ask_the_worker(self):
        with tempfile.TemporaryDirectory() as folder:
            worker = pathlib.Path(folder) / "worker"
            worker.write_text('#!/bin/sh\nread line; test "$line" = \'{"op":"ceilings"}\' && echo \'{"ffma_gflops": 3}\'\n')
            worker.chmod(0o700)
            self.assertEqual(steps.ceilings(worker)["measured"], {"ffma_gflops": 3})

    def test_all_members_must_learn_the_images(self):
        reply = {"updates": 200, "seconds": 12.5}
        reply |= {"train_accuracy": [1.0] * 100, "uniform_accuracy": [0.5] * 100}
        requests = []
        with tempfile.NamedTemporaryFile() as worker:
            for iid, status in (([1.0] * 100, "passed"), ([1.0] * 99 + [0.98], "failed"), ([1.0] * 99, "failed")):
                output = json.dumps({**reply, "iid_accuracy": iid})
                result = steps.images(worker.name, lambda c, t, o=output: requests.append(json.loads(c[-2])) or (0, o))
                self.assertEqual(result["status"], status, iid)
            self.assertEqual(result["measured"]["learnt"], 99)
            self.assertEqual((result["measured"]["seconds"], result["measured"]["target_seconds"]), (12.5, 15))
            broken = steps.images(worker.name, lambda c, t: (0, '{"error": "no device", "exit_code": 4}'))
            self.assertEqual(broken["status"], "failed")
        self.assertEqual(requests[0], {"op": "fit_images", "device": "cuda", "members": 100, "updates": 200})
        self.assertEqual(steps.images("/no/worker")["status"], "unavailable")

    def test_every_variant_must_have_the_same_bits(self):
        same = {"same_bits": True, "changed": True}
        with tempfile.NamedTemporaryFile() as runner:
            for rows, status in (
                ([same, same, {"obstacle": "too large"}], "passed"),
                ([same, {**same, "same_bits": False}], "failed"),
                ([same, {**same, "changed": False}], "failed"),
                ([same], "failed"),  # nothing was compared
                ([], "failed"),
            ):
                output = json.dumps({"variants": rows})
                result = steps.variants(runner.name, lambda c, t, r=(0, output): r)
                self.assertEqual(result["status"], status, rows)

    def profile(self, answer):
        """The step, its report, and the commands; answer(profiled kernels) is what each run of ncu ends with."""
        commands = []

        def execute(command, timeout):
            commands.append(" ".join(command))
            return answer(re.search(r"regex:\^\((.*?)\)\$", commands[-1]).group(1).split("|"))

        with tempfile.TemporaryDirectory() as folder, mock.patch("shutil.which", return_value="/bin/ncu"):
            worker, report = pathlib.Path(folder) / "worker", pathlib.Path(folder) / "ncu.txt"
            worker.write_text("")
            result = steps.profile(worker, report, execute)
            return result, report.read_text() if report.exists() else "", commands

    def test_the_profile_is_written(self):
        result, report, commands = self.profile(lambda names: (0, f"{names[-1]}: 90% of FMA\n"))
        self.assertEqual((result["status"], result["report"]), ("passed", "ncu.txt"))
        self.assertEqual(result["profiled"], [name for name, *_ in steps.PROFILED])
        self.assertIn("# (2000,1) in fp32\none_hidden_backward_kernel: 90% of FMA\n", report)
        attack = next(command for command in commands if "fused_pgd_kernel" in command)
        self.assertRegex(attack, r'"op":"attack_open",.*"device":"cuda"}\n{"op":"attack","part":"all","device":"cuda"}')
        for command in commands:
            self.assertIn("--clock-control none", command)  # another clock would time another machine
            self.assertIn('"device":"cuda"', command)

    def test_a_kernel_that_was_not_profiled_has_failed_and_costs_no_other(self):
        def answer(names):
            return (0, "==WARNING== No kernels were profiled.\n") if "shape" in names[0] else (0, f"{names[0]}\n")

        result, report, _ = self.profile(answer)
        self.assertEqual(result["status"], "failed")
        self.assertIn("images of shapes: ==WARNING== No kernels", result["output"])
        self.assertEqual(len(result["profiled"]), len(steps.PROFILED) - 1)
        self.assertIn("# (100,2) in BF16", report)

    def test_a_profile_that_cannot_begin_is_unavailable(self):
        for code, output, status in (
            (1, "==ERROR== The application returned an error code (1).\n", "failed"),
            (1, "==ERROR== ERR_NVGPUCTRPERM - the user\n", "unavailable"),
            (1, "==PROF== a\n==ERROR== Failed to initialize the profiler: LibraryNotLoaded\n", "unavailable"),
        ):
            result, report, _ = self.profile(lambda names, r=(code, output): r)
            self.assertEqual((result["status"], report), (status, ""), output)
        self.assertEqual(result["why"], "==ERROR== Failed to initialize the profiler: LibraryNotLoaded")

    def test_what_is_profiled_are_kernels_and_requests_that_exist(self):
        found = {kernel.name for kernel in kernels.find_kernels(ROOT)}
        worker = (ROOT / "tools/bench_lib/bench_worker.cpp").read_text()
        for _, request, names, passed_by, count in steps.PROFILED:
            self.assertLessEqual(set(names.split("|")), found)
            for one in request if isinstance(request, tuple) else (request,):
                self.assertIn(f'"{one["op"]}"', worker)
            self.assertGreaterEqual(passed_by, 0)
            self.assertGreaterEqual(count, 1)


if __name__ == "__main__":
    unittest.main()
