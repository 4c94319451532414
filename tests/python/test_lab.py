"""tools/lab: what it reads from machine code, its command line, and the variants' bits on the CPU."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from types import SimpleNamespace

from lab_case import RESIDENT, ROOT, TENSOR, VARIANT, WHOLE, WHOLE_TENSOR, listing

from lab_lib import banks, compiled, sass  # noqa: E402

LAB = os.path.join(ROOT, "tools", "lab")
BUILD = os.environ.get("OCCAM_BUILD_DIR", os.path.join(ROOT, "build"))
RUNNER = os.path.join(BUILD, "tools", "lab_runner_simt")


class MachineCode(unittest.TestCase):
    def test_operations_keep_the_width_of_loads(self):
        for text, operation in (
            ("FFMA R1, R2, R3, R1", "FFMA"),
            ("@!P0 FFMA.FTZ R1, R2, R3, R1", "FFMA"),
            ("LDS.U.128 R4, [R2+0x10]", "LDS.128"),
            ("LD.E.128 R4, [R2.64]", "LD.128"),
            ("@UP0 UIADD3 UR4, UR4, 0x1, URZ", "UIADD3"),
            ("HMMA.1688.F32.TF32 R4, R8, R2, R4", "HMMA"),
        ):
            self.assertEqual(sass.operation_of(text), operation)

    def test_inner_loops_and_spills(self):
        loop = ["LDS.128 R4, [R2]"] * 2 + ["@P1 FFMA R1, R4, RZ, R1"] * 16 + ["IADD3 R2, R2, 0x10, RZ"]
        (kernel,) = sass.parse_sass(listing(loop)).values()
        self.assertEqual(
            (kernel.name, kernel.instance, kernel.architecture), ("resident_kernel", "128", "sm_90a")
        )
        self.assertEqual((kernel.instructions, kernel.spills), (2 + 19 + 3, 1))
        (found,) = kernel.loops
        self.assertEqual((found.instructions, found.hot, found.operations["LDS.128"]), (21, "FFMA", 2))
        self.assertAlmostEqual(found.share, 16 / 21)

    def test_waits_for_registers(self):
        for loop, cycles in (
            (["FFMA R1, R4, RZ, R1"], 0),  # one of either bank
            (["FFMA R1, R4, R5, R1"], 1),  # two of the odd one
            (["FFMA R2, R4, R6, R8"], 2),  # three of the even one
            (["FFMA R2, R4, RZ, R2", "FFMA R1, R3, RZ, R1"], 0),  # two of either, in turn
            (["FFMA R2, R4, RZ, R2", "FFMA R1, R3, R5, R1"], 1),  # five in two cycles
            (["FFMA R2, R4, R6, R8", "MOV R9, R9", "MOV R9, R9"], 0),  # others leave it the time
            (["FFMA.FTZ R1, R4, R7.reuse, R1", "FFMA R3, R6, R7.reuse, R3"], 0),  # R7 is at hand, once it was read
            (["FFMA R1, R4, R7.reuse, R1", "FFMA R3, R6, R9, R3"], 2),  # of another register it is of no use
            (["FFMA R1, R4, R7.reuse, R1", "FFMA R3, R7, R6, R3"], 1),  # in another place it is read once more
            (["FFMA R1, R4, R7.reuse, R1", "FFMA R3, R6, R7, R3"], 1),  # not marked, it is read in the next round
            (["FFMA R1, R4, R7.reuse, R1", "@P1 FFMA R3, R7, R8, R3", "FFMA R3, R6, R7.reuse, R3"], 1),  # other bank
            (["FFMA R1, R4.reuse, c[0x0][0x10], R1", "IADD3 R1, R3, R5, R7", "FFMA R3, R4.reuse, 2, R1"], 0),
        ):
            with self.subTest(loop):
                self.assertEqual(banks.waits(loop), cycles)

    def test_waits_are_cycles_of_a_loop(self):
        loop = ["FFMA R1, R4, R5, R1"] * 8 + ["HMMA.1688.F32.TF32 R4, R8, R2, R4"]
        (kernel,) = sass.parse_sass(listing(loop)).values()
        (found,) = kernel.loops
        self.assertEqual((found.instructions, found.waits, found.cycles), (11, 7, 18))
        self.assertAlmostEqual(found.share, 8 / 18)

    def test_a_loop_of_few_multiply_adds_is_left_out(self):
        (kernel,) = sass.parse_sass(listing(["FFMA R1, R4, R5, R1"] * 7)).values()
        self.assertEqual(kernel.loops, [])

    def test_only_the_innermost_loop_counts(self):
        hot = ["FFMA R1, R4, R5, R1"] * 8
        # The inner loop is 8 FFMA and its branch, at 0x20; the outer one is all of it, from 0x10.
        (kernel,) = sass.parse_sass(listing(["MOV R9, R9", *hot, "@P2 BRA 0x30"])).values()
        self.assertEqual([loop.instructions for loop in kernel.loops], [9])

    def test_tensor_products_are_hot_too(self):
        # Two of them make a loop: the product of a few units has one a step.
        (kernel,) = sass.parse_sass(listing(["HMMA.1688.F32.TF32 R4, R8, R2, R4"] * 2)).values()
        self.assertEqual(kernel.loops[0].hot, "HMMA")

    def test_resources_belong_to_their_architecture(self):
        kernels = {**sass.parse_sass(listing([], architecture="sm_80")), **sass.parse_sass(listing([]))}
        sass.add_resources(
            kernels,
            f"arch = sm_80\n Function {RESIDENT.format(128)}:\n  REG:254 STACK:16 SHARED:32 LOCAL:0\n"
            f"arch = sm_90a\n Function {RESIDENT.format(128)}:\n  REG:180 STACK:0 SHARED:1024 LOCAL:0\n",
        )
        self.assertEqual(
            {k.architecture: (k.registers, k.stack, k.shared) for k in kernels.values()},
            {"sm_80": (254, 16, 32), "sm_90a": (180, 0, 1024)},
        )

    def test_instances(self):
        self.assertEqual(sass.instance_of(VARIANT), "8x16x64x2x2x0")
        self.assertEqual(sass.instance_of("_ZN5occam4cuda14advance_kernelEPNS0_8ProgressEi"), "")
        self.assertEqual(
            sass.instance_of("_ZN5occam4cuda14forward_kernelINS0_4TileILi16ELi8ELi8ELi8EEEEEvi"), "16x8x8x8"
        )
        for precision in ("Bf16", "Tf32"):
            self.assertEqual(sass.instance_of(TENSOR.format(precision)), precision.upper())
            self.assertEqual(sass.instance_of(WHOLE_TENSOR.format(precision)), f"{precision.upper()}x0")
        self.assertEqual(sass.instance_of(WHOLE), "0")

    def test_kernels_are_in_order(self):
        names = [RESIDENT.format(n) for n in (128, 16, 64)] + [TENSOR.format(p) for p in ("Tf32", "Bf16")]
        ordered = sorted((sass.Kernel(name, "sm_90") for name in names), key=compiled.order)
        self.assertEqual([kernel.instance for kernel in ordered], ["16", "64", "128", "BF16", "TF32"])


class CommandLine(unittest.TestCase):
    def run_lab(self, *arguments, **environment):
        return subprocess.run(
            [sys.executable, LAB, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
            check=False,
        )

    def test_bad_usage(self):
        with tempfile.TemporaryDirectory() as empty:
            for arguments, words in (
                (["--net", "ten"], "ten"),
                (["--net", "0,5"], "0,5"),
                (["--batch", "0"], "positive"),
                (["--members", "0"], "positive"),
                (["--build-dir", "/no/build"], "--build-dir /no/build: no such folder"),
                (["--objects", LAB, "/no/kernel.o"], "--objects /no/kernel.o: no such file"),
                (["--fast"], "--fast"),
            ):
                with self.subTest(arguments):
                    done = self.run_lab(*arguments, "--tools", self.fake_tools(empty))
                    self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                    self.assertIn(words, done.stderr)
                    self.assertEqual(len(done.stderr.strip().splitlines()), 1)

    def fake_tools(self, folder, loop=("FFMA R1, R4, R5, R1",) * 8):
        """A cuobjdump that says the same of every object."""
        texts = {
            "-sass": listing(loop),
            "--dump-resource-usage": f"arch = sm_90a\n Function {RESIDENT.format(128)}:\n REG:168 STACK:8 SHARED:0",
        }
        path = os.path.join(folder, "cuobjdump")
        with open(path, "w", encoding="utf-8") as script:
            script.write(f"#!{sys.executable}\nimport sys\nprint({texts!r}[sys.argv[1]])\n")
        os.chmod(path, 0o700)
        return folder

    def test_a_report_without_a_gpu(self):
        with tempfile.TemporaryDirectory() as folder:
            loop = ["LD.E.128 R4, [R2]"] * 16 + ["LDS.128 R4, [R2]"] * 14 + ["FFMA R1, R4, R5, R1"] * 448
            tools = self.fake_tools(folder, loop)
            objects = ["--tools", tools, "--objects", tools + "/cuobjdump"]
            done = self.run_lab(*objects, "--json", PATH="/usr/bin:/bin")
            self.assertEqual(done.returncode, 0, done.stderr)
            report = json.loads(done.stdout)
            (kernel,) = report["kernels"]
            self.assertEqual((report["schema"], report["tool"], report["gpus"]), (1, "lab", []))
            self.assertEqual((report["net"], report["batch"], report["table"]), ([100, 100], 256, []))
            self.assertNotIn("variants", report)
            self.assertEqual(
                (kernel["registers"], kernel["stack_bytes"], kernel["spill_instructions"]), (168, 8, 1)
            )
            self.assertEqual(kernel["loops"][0]["operations"], {"LD.128": 16, "LDS.128": 14, "FFMA": 448})
            self.assertRegex(done.stderr, r"resident_kernel +128 +sm_90a +168 +1 +8 +0 +")
            self.assertRegex(done.stderr, r"FFMA 448 +\d+% +LD\.128 16 LDS\.128 14\n")
            self.assertIn("generic loads (LD) in inner loops: resident_kernel", done.stderr)
            self.assertNotIn("what runs, and its variants", done.stderr)
            # The report is as good as the objects.
            saved = os.path.join(folder, "lab.json")
            with open(saved, "w", encoding="utf-8") as file:
                file.write(done.stdout)
            again = self.run_lab("--from", saved, "--json", PATH="/usr/bin:/bin")
            self.assertEqual(json.loads(again.stdout)["kernels"], report["kernels"], again.stderr)
            self.assertEqual(again.stderr, done.stderr)
            plain = self.run_lab("--from", saved, PATH="/usr/bin:/bin")
            self.assertEqual((plain.returncode, plain.stdout, plain.stderr), (0, done.stderr, ""))

    def test_what_a_runner_measured(self):
        rows = [
            {"number": 0, "name": "kernels/resident.cu", "instance": "128", "shared_bytes": 1024, "same_bits": True,
             "changed": True, "updates_per_second": 5e5, "registers": 168, "local_bytes": 0},
            {"number": 1, "name": "another", "instance": "8x16x64x2x2x0", "shared_bytes": 1024, "same_bits": True,
             "changed": True, "updates_per_second": 1e6, "registers": 168, "local_bytes": 0},
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            tools = self.fake_tools(folder)
            runner = os.path.join(folder, "runner")
            for same, code in ((True, 0), (False, 1)):
                rows[1]["same_bits"] = same
                with open(runner, "w", encoding="utf-8") as script:
                    script.write(f"#!{sys.executable}\nprint({json.dumps(json.dumps({'variants': rows}))})\n")
                os.chmod(runner, 0o700)
                objects = ["--tools", tools, "--objects", tools + "/cuobjdump", "--runner", runner, "--json"]
                done = self.run_lab(*objects, "--net", "20", PATH="/usr/bin:/bin")
                self.assertEqual(done.returncode, code, done.stderr)
                report = json.loads(done.stdout)
                self.assertEqual(report["variants"], {"variants": rows})
                found = {row["name"]: row for row in report["table"]}
                self.assertAlmostEqual(found["0: kernels/resident.cu"]["models_per_second"], 100)
                self.assertEqual(found["1: another"]["same_bits"], same)
                resources = {name: (row["registers"], row["spills"]) for name, row in found.items()}
                self.assertEqual(resources, {"0: kernels/resident.cu": (168, "1 ops"), "1: another": (168, "0 B")})
                self.assertIn("same" if same else "DIFFERENT", done.stderr)

    def test_a_report_that_is_none(self):
        with tempfile.NamedTemporaryFile("w") as file:
            for text in ("{", "{}", '{"kernels": [{}]}'):
                file.seek(0)
                file.truncate()
                file.write(text)
                file.flush()
                done = self.run_lab("--from", file.name)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn("not a report of tools/lab --json", done.stderr)

    def test_a_report_without_what_is_asked_for(self):
        record = {"kernels": [compiled.describe(sass.Kernel(WHOLE, name)) for name in ("sm_90a", "sm_80")]}
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump(record, file)
            file.flush()
            for arguments, words in (
                (["--arch", "sm_10"], f"{file.name}: no kernels for sm_10; it has sm_80, sm_90a"),
                (["--kernel", "nothing"], f"no kernel of Occam's called nothing in {file.name}"),
            ):
                done = self.run_lab("--from", file.name, *arguments)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", f"lab: {words}\n"))
            done = self.run_lab("--from", file.name, "--arch", "sm_80")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("sm_90a", done.stdout)

    def test_without_cuobjdump_it_says_that_it_compiles(self):
        with tempfile.TemporaryDirectory() as folder:
            compiler = os.path.join(folder, "nvcc")
            with open(compiler, "w", encoding="utf-8") as script:
                script.write("#!/bin/sh\nexit 1\n")
            os.chmod(compiler, 0o700)
            options = {"saved": None, "tools": [], "objects": [LAB], "build_dir": None, "arch": ""}
            options = SimpleNamespace(**options, kernel="no_such_kernel")
            with unittest.mock.patch.object(sass, "find_tool", lambda name, folders: compiler * (name == "nvcc")):
                said = io.StringIO()
                with contextlib.redirect_stderr(said):
                    with self.assertRaisesRegex(compiled.LabError, "no kernel of Occam's called no_such_kernel"):
                        compiled.look_at(options)
            self.assertRegex(said.getvalue(), r"^lab: without cuobjdump .*--objects.* compiling kernels/\*\.cu .*\n$")

    def test_a_real_compiler(self):
        tools = {
            name: sass.find_tool(name, os.environ.get("OCCAM_LAB_TOOLS", "").split(os.pathsep))
            for name in ("nvcc", "cuobjdump")
        }
        if None in tools.values():
            self.skipTest(f"not installed: {', '.join(name for name, path in tools.items() if path is None)}")
        with tempfile.TemporaryDirectory() as folder:
            source, target = os.path.join(folder, "k.cu"), os.path.join(folder, "k.o")
            with open(source, "w", encoding="utf-8") as text:
                text.write(
                    "namespace occam::cuda { __global__ void sum_kernel(float* x, const float* y, int n) {\n"
                    "float s[8] = {}; for (int i = 0; i < n; ++i) { float f = y[i];\n"
                    "#pragma unroll\nfor (int k = 0; k < 8; ++k) s[k] = __fmaf_rn(f, s[k], f + k); }\n"
                    "for (int k = 0; k < 8; ++k) x[k] = s[k]; } }\n"
                )
            subprocess.run(
                [tools["nvcc"], "-arch=sm_90a", "-c", source, "-o", target], check=True, timeout=120
            )
            (kernel,) = sass.read_object(tools["cuobjdump"], target, "sm_90a")
        self.assertEqual((kernel.name, kernel.spills), ("sum_kernel", 0))
        self.assertGreater(kernel.registers, 8)
        self.assertTrue(any(loop.operations["FFMA"] >= 8 for loop in kernel.loops))


@unittest.skipUnless(os.path.exists(RUNNER), "this build has no lab_runner_simt")
class Variants(unittest.TestCase):
    """Every variant trains to the bits of kernels/resident.cu, under the SIMT executor."""

    def rows(self, *arguments):
        done = subprocess.run(
            [RUNNER, "--members", "2", "--repeats", "1", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return {row["number"]: row for row in json.loads(done.stdout)["variants"]}

    def check(self, obstacles, *arguments):
        rows = self.rows(*arguments)
        self.assertEqual({number for number, row in rows.items() if "obstacle" in row}, set(obstacles))
        for number, row in rows.items():
            if number not in obstacles:
                self.assertTrue(row["same_bits"] and row["changed"], row)

    def test_a_small_network_over_epochs(self):
        self.check([], "--net=20,12", "--inputs=10", "--batch=48", "--rows=100", "--updates=7")

    def test_the_studys_network(self):
        # Slices of 128 do not fit beside gradients in shared memory.
        self.check([1, 2, 3, 4, 5], "--batch=256", "--rows=600", "--updates=4")

    def test_other_depths_have_no_gradients_in_registers(self):
        self.check([9, 10], "--net=33", "--inputs=7", "--batch=130", "--rows=300", "--updates=6")
        self.check(
            [9, 10], "--net=20,12,9", "--inputs=10", "--classes=5", "--batch=300", "--rows=700", "--updates=4"
        )

    def test_odd_widths(self):
        self.check([], "--net=130,70", "--inputs=20", "--batch=200", "--rows=333", "--updates=3")

    def test_every_number_of_columns(self):
        # 8 and 1, 7 and 2, 6 and 4 columns a thread, in slices of 128 and of 64.
        for net in ("125,16", "110,30", "90,60"):
            for batch in ("128", "64"):
                with self.subTest(net=net, batch=batch):
                    self.check([], f"--net={net}", "--inputs=18", f"--batch={batch}", "--rows=150", "--updates=3")

    def test_layers_wider_than_a_quad_for_each_thread_are_refused(self):
        # 128 threads of variant 8 own 512 units; slices of 128 do not fit.
        rows = self.rows("--net=520", "--inputs=6", "--batch=64", "--rows=100", "--updates=1", "--variants=6,8")
        self.assertTrue(rows[6]["same_bits"] and rows[6]["changed"], rows[6])
        self.assertEqual(rows[8]["obstacle"], "layer 0 has 520 units, more than 4 for each of 128 threads")

    def test_a_network_that_does_not_fit(self):
        done = subprocess.run(
            [RUNNER, "--net=1000,1000"], capture_output=True, text=True, timeout=60, check=False
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no resident plan for this network", done.stderr)


if __name__ == "__main__":
    unittest.main()
