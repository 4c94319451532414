"""tools/gpu_check: kernels found in sources, what ptxas says, the ledger, and the steps on invented command output."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from gpu_lib import kernels, ledger, ptxas, steps  # noqa: E402

PTXAS = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN5occam4cuda14forward_kernelINS0_4TileILi16ELi8ELi8ELi8EEEEEvNS0_16ForwardArgumentsE' for 'sm_90a'
ptxas info    : Function properties for _ZN5occam4cuda14forward_kernelINS0_4TileILi16ELi8ELi8ELi8EEEEEvNS0_16ForwardArgumentsE
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 164 registers, used 1 barriers
ptxas info    : Compiling entry function '_ZN5occam4cuda14forward_kernelINS0_4TileILi16ELi8ELi8ELi8EEEEEvNS0_16ForwardArgumentsE' for 'sm_80'
    80 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 552 bytes cmem[0]
ptxas info    : Compiling entry function '_ZN5occam4cuda14advance_kernelEPNS0_8ProgressEi' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
ptxas info    : Compiling entry function '_ZN3cub17CUB_300001_SM_90011EmptyKernelIvEEvv' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""

FIRST = "// a kernel\ntemplate <class T>\n__global__ void __launch_bounds__(T::kThreads, T::kBlocks) one_kernel(int a) {}\n"
SECOND = "__global__ void two_kernel(float* x) {}\n__global__ void __launch_bounds__(kWarps* (1 + 2)) three_kernel(int) {}\n"


def make_root(folder):
    root = pathlib.Path(folder)
    for name in ("kernels", "src/law", "src/cuda", "docs/results"):
        (root / name).mkdir(parents=True)
    (root / "kernels/first.cu").write_text(FIRST)
    (root / "kernels/second.cu").write_text(SECOND)
    (root / "kernels/shared.cuh").write_text("// shared\n")
    (root / "src/law/sum.hpp").write_text("// law\n")
    (root / "src/cuda/vendor_sort.cu").write_text("// vendor\n")
    return root


def result_of(found, date="2026-01-02", device="NVIDIA X", statuses=("passed", "passed")):
    return {
        "schema": 1,
        "date": date,
        "device": {"name": device},
        "commit": "0123456789abcdef",
        "dirty": False,
        "kernels": {k.name: k.digest for k in found},
        "steps": [{"name": n, "status": s} for n, s in zip(("contract tests", "memcheck"), statuses)],
    }


class Kernels(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = make_root(self.folder.name)

    def test_every_kernel_is_found_with_its_file(self):
        found = [(k.name, k.file, k.on_simt) for k in kernels.find_kernels(self.root)]
        self.assertEqual(
            found,
            [
                ("one_kernel", "kernels/first.cu", True),
                ("two_kernel", "kernels/second.cu", True),
                ("three_kernel", "kernels/second.cu", True),
                ("sort_lists (CUB)", "src/cuda/vendor_sort.cu", False),
            ],
        )

    def test_the_digest_follows_the_file_and_what_it_includes(self):
        def digests():
            return {k.name: k.digest for k in kernels.find_kernels(self.root)}

        before = digests()
        self.assertEqual(before, digests())
        (self.root / "kernels/second.cu").write_text(SECOND + "// changed\n")
        after = digests()
        self.assertEqual(before["one_kernel"], after["one_kernel"])
        self.assertNotEqual(before["two_kernel"], after["two_kernel"])
        (self.root / "src/law/sum.hpp").write_text("// another law\n")
        self.assertNotEqual(after["one_kernel"], digests()["one_kernel"])

    def test_no_global_function_of_the_project_is_missed(self):
        names = [k.name for k in kernels.find_kernels(ROOT) if k.on_simt]
        text = "".join(p.read_text() for p in (ROOT / "kernels").glob("*.cu"))
        self.assertEqual(len(names), text.count("__global__ "))
        self.assertIn("forward_kernel", names)


class Ptxas(unittest.TestCase):
    def test_registers_spills_and_tiles(self):
        compiled = ptxas.parse(PTXAS)
        self.assertEqual(
            [(c.kernel, c.tile, c.architecture, c.registers, c.spills) for c in compiled],
            [
                ("advance_kernel", "", "sm_90a", 12, 0),
                ("forward_kernel", "128x64", "sm_80", 168, 12),
                ("forward_kernel", "128x64", "sm_90a", 164, 0),
            ],
        )

    def test_the_table_has_a_column_per_architecture(self):
        lines = ptxas.table(ptxas.parse(PTXAS)).splitlines()
        self.assertEqual(lines[2], "| `advance_kernel` |  |  | 12, 0 |")
        self.assertEqual(lines[3], "| `forward_kernel` | 128x64 | 168, 12 | 164, 0 |")

    def test_instances_for_tensor_cores_are_told_apart_by_precision(self):
        for mangled, tile in (
            ("_ZN5occam4cuda22resident_tensor_kernelINS0_4Tf32EEEvNS0_15TensorArgumentsE", "TF32"),
            ("_ZN5occam4cuda22resident_tensor_kernelINS0_4Bf16EEEvNS0_15TensorArgumentsE", "BF16"),
            ("_ZN5occam4cuda15resident_kernelILi64EEEvNS0_17ResidentArgumentsE", "64 rows"),
        ):
            self.assertEqual(ptxas.tile_of(mangled), tile)

    def test_every_kernel_of_the_ledger_has_a_row(self):
        document = (ROOT / "docs/gpu.md").read_text()
        table = document.split("<!-- begin ptxas -->")[1].split("<!-- end ptxas -->")[0]
        rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
        compiled = [k.name for k in kernels.find_kernels(ROOT) if k.on_simt]
        self.assertEqual([name for name in compiled if name not in rows], [], "run tools/gpu_check --ledger --ptxas LOG")
        self.assertEqual([name for name in rows if name not in compiled], [], "no such kernel any more")
        for name, row in rows.items():
            self.assertRegex(row, r"\| \d+, \d+ \| \d+, \d+ \|$", name)  # both architectures

    def test_output_without_a_report_has_no_kernels(self):
        self.assertEqual(ptxas.parse("ninja: no work to do.\n"), [])


class Ledger(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = make_root(self.folder.name)
        self.found = kernels.find_kernels(self.root)

    def said(self, results):
        return {k.name: text for k, text in ledger.rows(self.found, results)}

    def test_without_results_nothing_is_proven(self):
        said = self.said([])
        self.assertEqual(said["one_kernel"], "SIMT only, never on hardware")
        self.assertEqual(said["sort_lists (CUB)"], "compiled only, never on hardware")

    def test_passed_steps_are_named(self):
        self.assertEqual(
            self.said([result_of(self.found)])["one_kernel"],
            "NVIDIA X, 2026-01-02, 01234567: contract tests, memcheck",
        )

    def test_a_failed_step_is_a_failure_of_every_kernel(self):
        said = self.said([result_of(self.found, statuses=("passed", "failed"))])
        self.assertEqual(said["two_kernel"], "**FAILED** on NVIDIA X, 2026-01-02, 01234567: memcheck")

    def test_steps_that_could_not_run_prove_nothing(self):
        said = self.said([result_of(self.found, statuses=("unavailable", "unavailable"))])
        self.assertEqual(said["one_kernel"], "SIMT only, never on hardware")

    def test_code_that_changed_is_no_longer_proven(self):
        result = result_of(self.found)
        (self.root / "kernels/first.cu").write_text(FIRST + "\n")
        self.found = kernels.find_kernels(self.root)
        said = self.said([result])
        self.assertEqual(said["one_kernel"], "changed since NVIDIA X, 2026-01-02, 01234567")
        self.assertIn("contract tests", said["two_kernel"])

    def test_the_newest_result_of_each_device_counts(self):
        results = [
            result_of(self.found, statuses=("passed", "failed")),
            result_of(self.found, date="2026-02-01"),
            result_of(self.found, date="2026-01-20", device="NVIDIA Y"),
        ]
        for result in results:
            name = f"{result['date']}-{result['device']['name'][-1]}.json"
            (self.root / "docs/results" / name).write_text(json.dumps(result))
        said = self.said(ledger.load_results(self.root / "docs/results"))
        self.assertEqual(
            said["one_kernel"],
            "NVIDIA X, 2026-02-01, 01234567: contract tests, memcheck; "
            "NVIDIA Y, 2026-01-20, 01234567: contract tests, memcheck",
        )

    def test_a_malformed_result_is_refused(self):
        for text in ("{", '{"schema": 2}'):
            (self.root / "docs/results/bad.json").write_text(text)
            with self.assertRaises(ledger.LedgerError):
                ledger.load_results(self.root / "docs/results")

    def test_results_of_other_tools_are_passed_by(self):
        (self.root / "docs/results/bench.json").write_text('{"schema": 1, "tool": "bench"}')
        self.assertEqual(ledger.load_results(self.root / "docs/results"), [])

    def test_a_section_is_replaced_and_the_rest_stays(self):
        document = "a\n<!-- begin x -->\nold\n<!-- end x -->\nz\n"
        once = ledger.replace_section(document, "x", "new")
        self.assertEqual(once, "a\n<!-- begin x -->\nnew\n<!-- end x -->\nz\n")
        self.assertEqual(ledger.replace_section(once, "x", "new"), once)
        for broken in ("no markers", "<!-- end x --><!-- begin x -->"):
            with self.assertRaises(ledger.LedgerError):
                ledger.replace_section(broken, "x", "new")

    def test_the_ledger_in_the_repository_is_that_of_its_sources(self):
        document = (ROOT / "docs/gpu.md").read_text()
        table = ledger.table(kernels.find_kernels(ROOT), ledger.load_results(ROOT / "docs/results"))
        self.assertEqual(
            ledger.replace_section(document, "ledger", table), document, "run tools/gpu_check --ledger"
        )


class FakeTests:
    """Stands in for the test executable: writes a GoogleTest report."""

    def __init__(self, cases, code):
        self.cases, self.code = cases, code

    def __call__(self, command, timeout):
        path = next(str(c) for c in command if str(c).startswith("--gtest_output=json:")).split(":", 1)[1]
        report = {"testsuites": [{"testsuite": self.cases}]}
        pathlib.Path(path).write_text(json.dumps(report))
        return self.code, "output\n"


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

    def test_a_sanitizer_must_say_that_it_found_nothing(self):
        with mock.patch("shutil.which", return_value="/bin/compute-sanitizer"):
            for code, output, status in (
                (0, "========= ERROR SUMMARY: 0 errors\n", "passed"),
                (0, "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n", "passed"),
                (86, "========= ERROR SUMMARY: 3 errors\n", "failed"),
                (0, "it did not attach\n", "failed"),
            ):
                result = steps.sanitizer("memcheck", "tests", lambda c, t, r=(code, output): r)
                self.assertEqual(result["status"], status, output)

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

    def run_precisions(self, shift, spread=0.0):
        """BF16 is off by `shift`, and `spread` more or less from seed to seed."""
        with tempfile.NamedTemporaryFile() as binary:

            def execute(command, timeout):
                precision = command[command.index("--precision") + 1]
                out = pathlib.Path(command[command.index("--out") + 1]) / "extreme_slab"
                out.mkdir(parents=True)
                seeds = range(int(command[command.index("--seeds") + 1]))
                off = [shift + (spread if seed % 2 else -spread) if precision == "bf16" else 0 for seed in seeds]
                metrics = {
                    "standard_auc": [0.9 + by for by in off],
                    "s_randomized_accuracy": [0.5 + 0.001 * (seed % 7) for seed in seeds],
                    "updates": [5001 + 1000 * by for by in off],
                }
                (out / "result.json").write_text(json.dumps({"cases": [{"metrics": metrics}]}))
                return 0, ""

            return steps.precisions(binary.name, execute)

    def test_precisions_must_have_equal_statistics(self):
        for shift, spread, status in (
            (0.0, 0.0, "passed"),
            (0.009, 0.0, "passed"),
            (-0.011, 0.0, "failed"),
            (0.005, 0.02, "passed"),
            (0.005, 0.05, "failed"),  # too uncertain to call equal
        ):
            result = self.run_precisions(shift, spread)
            self.assertEqual(result["status"], status, (shift, spread))
            self.assertEqual(list(result["compared"]["tf32"]), ["standard_auc", "s_randomized_accuracy"])
            self.assertAlmostEqual(result["compared"]["bf16"]["standard_auc"]["difference"], shift)
        self.assertEqual(steps.precisions("/no/extreme_slab")["status"], "unavailable")

    def test_a_diverged_member_has_no_statistics(self):
        with mock.patch.object(steps, "SEEDS_OF_PRECISIONS", 3), tempfile.NamedTemporaryFile() as binary:

            def execute(command, timeout):
                out = pathlib.Path(command[command.index("--out") + 1]) / "extreme_slab"
                out.mkdir(parents=True)
                lost = None if "bf16" in command else 0.5
                (out / "result.json").write_text(json.dumps({"cases": [{"metrics": {"standard_auc": [1, lost, 1]}}]}))
                return 0, ""

            result = steps.precisions(binary.name, execute)
        self.assertEqual((result["status"], result["output"]), ("failed", "members diverged in bf16"))

    def test_the_benchmark_is_recorded(self):
        with tempfile.NamedTemporaryFile() as program:


            def benchmark(code, output):
                return steps.benchmark(program.name, "build", True, lambda c, t: (code, output))

            result = benchmark(0, 'table\n{"rate": 7}\n')
            self.assertEqual((result["status"], result["measured"]), ("passed", {"rate": 7}))
            self.assertTrue(result["command"].endswith("--json cuda --build-dir build --quick"))
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

    def test_the_profile_is_written(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch("shutil.which", return_value="/bin/ncu"):
            runner, report = pathlib.Path(folder) / "runner", pathlib.Path(folder) / "ncu.txt"
            runner.write_text("")
            for code, output, status in (
                (0, "resident_kernel: 90% of FMA\n", "passed"),
                (0, "==WARNING== No kernels were profiled.\n", "failed"),
                (1, "==ERROR== ERR_NVGPUCTRPERM\n", "unavailable"),
            ):
                result = steps.profile(runner, report, lambda c, t, r=(code, output): r)
                self.assertEqual(result["status"], status, output)
            self.assertEqual(report.read_text(), "resident_kernel: 90% of FMA\n")

    def test_a_command_that_hangs_fails(self):
        code, _ = steps.run([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
        self.assertEqual(code, 124)


class Program(unittest.TestCase):
    def run_check(self, *arguments, path="/nowhere"):
        return subprocess.run(
            [sys.executable, ROOT / "tools/gpu_check", *arguments],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_a_dry_run_names_the_steps_in_their_order(self):
        done = self.run_check("--dry-run", "--prebuilt", "/no/build")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found = [line.split(". ")[1].split(" (")[0] for line in done.stdout.splitlines() if line[0].isdigit()]
        self.assertEqual(
            found,
            ["ceilings", "contract tests", "memcheck", "racecheck", "extreme_slab", "variants", "benchmark", "precisions", "profile"],
        )
        self.assertIn("tools/lab_runner: missing", done.stdout)
        self.assertIn("profile (ncu is not on PATH: unavailable)", done.stdout)

    def test_steps_can_be_chosen(self):
        done = self.run_check("--dry-run", "--steps", "profile,ceilings")
        self.assertIn("1. profile", done.stdout)
        self.assertIn("2. ceilings", done.stdout)
        done = self.run_check("--steps", "coffee")
        self.assertEqual(done.returncode, 2)
        self.assertIn("'coffee' is not one of ceilings", done.stderr)

    def test_steps_of_the_same_code_are_kept(self):
        loader = importlib.machinery.SourceFileLoader("gpu_check", str(ROOT / "tools/gpu_check"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
        loader.exec_module(module)

        def result(**status):
            return {
                **{"schema": 1, "device": {"name": "X"}, "commit": "c", "dirty": False, "kernels": {}},
                "steps": [{"name": name, "status": said} for name, said in status.items()],
            }

        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "result.json"
            now = result(profile="passed", ceilings="passed")
            self.assertEqual(module.with_earlier_steps(now, path), now)
            path.write_text(json.dumps(result(memcheck="failed", ceilings="failed")))
            kept = [(step["name"], step["status"]) for step in module.with_earlier_steps(now, path)["steps"]]
            self.assertEqual(kept, [("ceilings", "passed"), ("memcheck", "failed"), ("profile", "passed")])
            path.write_text(json.dumps({**result(memcheck="failed"), "commit": "another"}))
            self.assertEqual(module.with_earlier_steps(now, path), now)

    def test_without_a_gpu_it_says_so_in_one_line(self):
        environment = {**os.environ, "PATH": "/nowhere"}
        done = subprocess.run(
            [sys.executable, ROOT / "tools/gpu_check"], env=environment, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 4)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
