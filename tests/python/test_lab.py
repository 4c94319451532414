"""tools/lab: what it reads from machine code, what it predicts from that, and the variants' bits on the
CPU."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

from lab_lib import model, sass  # noqa: E402

LAB = os.path.join(ROOT, "tools", "lab")
BUILD = os.environ.get("OCCAM_BUILD_DIR", os.path.join(ROOT, "build"))
RUNNER = os.path.join(BUILD, "tools", "lab_runner_simt")

RESIDENT = "_ZN5occam4cuda15resident_kernelILi128EEEvNS0_17ResidentArgumentsE"
VARIANT = (
    "_ZN5occam3lab14variant_kernelINS0_5ShapeILi8ELi16ELi64ELi2ELi2ELNS0_9GradientsE0EEEEEv"
    "NS_4cuda17ResidentArgumentsE"
)


def listing(loop, name=RESIDENT, architecture="sm_90a"):
    """A kernel in cuobjdump's words: a loop around `loop`, a list of instructions, and a spill after it."""
    lines = [f"arch = {architecture}", f"\tcode for {architecture}", f"\t\tFunction : {name}"]
    body = ["MOV R1, c[0x0][0x28]", "S2R R0, SR_TID.X", *loop, "@P0 BRA 0x10", "STL [R1], R5", "EXIT"]
    for number, text in enumerate(body):
        lines.append(f"        /*{16 * number:04x}*/                   {text} ;      /* 0x00000000 */")
        lines.append("                                                          /* 0x000fe20000000f00 */")
    return "\n".join(lines) + "\n"


def loop_of(instructions, **operations):
    counts = Counter({name.replace("_", "."): n for name, n in operations.items()})
    return sass.Loop(instructions, counts)


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
        loop = ["LDS.128 R4, [R2]"] * 2 + ["@P1 FFMA R1, R4, R5, R1"] * 16 + ["IADD3 R2, R2, 0x10, RZ"]
        (kernel,) = sass.parse_sass(listing(loop)).values()
        self.assertEqual(
            (kernel.name, kernel.instance, kernel.architecture), ("resident_kernel", "128", "sm_90a")
        )
        self.assertEqual((kernel.instructions, kernel.spills), (2 + 19 + 3, 1))
        (found,) = kernel.loops
        self.assertEqual((found.instructions, found.hot, found.operations["LDS.128"]), (21, "FFMA", 2))
        self.assertAlmostEqual(found.share, 16 / 21)

    def test_a_loop_of_few_multiply_adds_is_left_out(self):
        (kernel,) = sass.parse_sass(listing(["FFMA R1, R4, R5, R1"] * 7)).values()
        self.assertEqual(kernel.loops, [])

    def test_only_the_innermost_loop_counts(self):
        hot = ["FFMA R1, R4, R5, R1"] * 8
        # The inner loop is 8 FFMA and its branch, at 0x20; the outer one is all of it, from 0x10.
        (kernel,) = sass.parse_sass(listing(["MOV R9, R9", *hot, "@P2 BRA 0x30"])).values()
        self.assertEqual([loop.instructions for loop in kernel.loops], [9])

    def test_tensor_products_are_hot_too(self):
        (kernel,) = sass.parse_sass(listing(["HMMA.1688.F32.TF32 R4, R8, R2, R4"] * 8)).values()
        self.assertEqual(kernel.loops[0].hot, "HMMA")

    def test_resources_belong_to_their_architecture(self):
        kernels = {**sass.parse_sass(listing([], architecture="sm_80")), **sass.parse_sass(listing([]))}
        sass.add_resources(
            kernels,
            f"arch = sm_80\n Function {RESIDENT}:\n  REG:254 STACK:16 SHARED:32 LOCAL:0\n"
            f"arch = sm_90a\n Function {RESIDENT}:\n  REG:180 STACK:0 SHARED:1024 LOCAL:0\n",
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


class Model(unittest.TestCase):
    widths = [50, 100, 100, 2]

    def test_shapes(self):
        self.assertEqual(model.shape_of(sass.Kernel(RESIDENT, "sm_90a")), model.Shape(128))
        shape = model.shape_of(sass.Kernel(VARIANT, "sm_90a"))
        self.assertEqual((shape.slice, shape.m, shape.n, shape.threads, shape.per_m), (64, 8, 16, 128, 8))
        self.assertIsNone(
            model.shape_of(sass.Kernel("_ZN5occam4cuda14advance_kernelEPNS0_8ProgressEi", "sm_80"))
        )

    def test_products_of_the_studys_network(self):
        found = {product.name: product for product in model.products(self.widths, model.Shape(128))}
        self.assertEqual(len(found), 8)  # 3 forward, 2 input gradients, 3 weight gradients
        forward = found["forward, layer 1, 100->100"]
        # 100 units are 7 columns of 16 threads; 8 samples a thread; 100 steps.
        self.assertEqual(
            (forward.width, forward.multiply_adds, forward.useful), (7, 8 * 7 * 100, 128 * 100 * 100)
        )
        weight = found["weight gradient, layer 0, 50->100"]
        # 25 quads of units leave 10 threads for 50 features: 3 pairs of a quad each, 128 samples.
        self.assertEqual((weight.width, weight.multiply_adds), (3, 24 * 128))
        for product in found.values():
            self.assertGreaterEqual(product.multiply_adds * 256, product.useful, product.name)

    def test_kinds_of_loops(self):
        shape = model.Shape(128)  # 8 samples a thread
        for loop, kind in (
            (loop_of(500, FFMA=448, LDS_128=30), ("forward", 7, 2)),
            (loop_of(500, FFMA=448, LDS_128=14, LD_128=16), ("forward", 7, 2)),
            (loop_of(280, FFMA=224, LDS_128=8, LDS=28), ("input", 7, 1)),
            (loop_of(99, FFMA=80, LDS_128=2, LDS_64=10), ("weight", 5, 2)),
            (loop_of(32, FFMA=16, LDS_128=8), ("few", 1, 4)),
            (loop_of(200, FFMA=80, LDG=8), None),
            (loop_of(500, FFMA=447, LDS_128=30), None),
        ):
            self.assertEqual(model.kind_of(loop, shape), kind, loop)

    def loops(self, share):
        every = [
            dict(FFMA=448, LDS_128=30), dict(FFMA=224, LDS_128=8, LDS=28),
            dict(FFMA=80, LDS_128=2, LDS_64=10), dict(FFMA=48, LDS_128=2, LDS_64=6), dict(FFMA=16, LDS_128=2, LDS_64=2), dict(FFMA=16, LDS_128=8),
        ]  # fmt: skip
        return [loop_of(round(of["FFMA"] / share), **of) for of in every]

    def test_cycles_follow_the_share(self):
        shape = model.Shape(128)
        whole = model.predict(self.widths, 256, shape, self.loops(1.0))
        half = model.predict(self.widths, 256, shape, self.loops(0.5))
        self.assertEqual((whole.unknown, half.unknown), (0, 0))
        self.assertAlmostEqual(half.cycles, 2 * whole.cycles)
        self.assertGreater(whole.cycles, whole.floor)  # idle threads and columns
        # 20.8 MFLOP of the model, 256 a cycle.
        useful = 256 * (2 * 50 * 100 + 3 * 100 * 100 + 3 * 100 * 2)
        self.assertAlmostEqual(whole.floor, useful / 128)
        by_hand = sum(2 * 2 * product.multiply_adds for product in model.products(self.widths, shape))
        self.assertAlmostEqual(whole.cycles, by_hand)

    def test_a_loop_that_is_missing_is_said(self):
        self.assertEqual(model.predict(self.widths, 256, model.Shape(128), self.loops(1.0)[1:]).unknown, 2)

    def test_the_main_loop_counts_not_its_remainder(self):
        loops = self.loops(1.0) + [loop_of(448, FFMA=224, LDS_128=15)]
        whole = model.predict(self.widths, 256, model.Shape(128), loops)
        self.assertEqual(
            whole.cycles, model.predict(self.widths, 256, model.Shape(128), self.loops(1.0)).cycles
        )

    def test_the_models_numbers_are_those_of_the_kernel(self):
        with open(os.path.join(ROOT, "kernels", "resident_product.cuh"), encoding="utf-8") as source:
            text = source.read()
        self.assertEqual(int(re.search(r"kGrid = (\d+);", text).group(1)), model.Shape(128).n)
        compiled = re.findall(r"if \(columns <= (\d+)\)", text) + [
            re.search(r"kMostColumns = (\d+)", text).group(1)
        ]
        self.assertEqual(tuple(map(int, compiled)), model.Shape(128).columns)
        self.assertEqual(
            tuple(map(int, re.findall(r"return run\(std::integral_constant<int, (\d)>", text))), model.PAIRS
        )


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
                (["--build-dir", "/no/build"], "no build"),
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
            "--dump-resource-usage": f"arch = sm_90a\n Function {RESIDENT}:\n REG:168 STACK:8 SHARED:0",
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
            done = self.run_lab(
                "--tools", tools, "--objects", tools + "/cuobjdump", "--json", PATH="/usr/bin:/bin"
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            report = json.loads(done.stdout)
            (kernel,), (predicted,) = report["kernels"], report["predictions"]
            self.assertEqual(
                (kernel["registers"], kernel["stack_bytes"], kernel["spill_instructions"]), (168, 8, 1)
            )
            self.assertEqual(kernel["loops"][0]["generic_loads"], 16)
            self.assertEqual(
                (predicted["slice"], predicted["cycles_per_update"]), (128, None)
            )  # no other loop
            self.assertIn("forward 7 x2", done.stderr)
            self.assertIn("generic loads (LD) in inner loops: resident_kernel", done.stderr)
            self.assertIn("Predicted, not measured", done.stderr)

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

    def test_a_network_that_does_not_fit(self):
        done = subprocess.run(
            [RUNNER, "--net=1000,1000"], capture_output=True, text=True, timeout=60, check=False
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no resident plan for this network", done.stderr)


if __name__ == "__main__":
    unittest.main()
