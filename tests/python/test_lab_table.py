"""The lab's tables, of recorded and of invented machine code and of an invented run on a GPU."""

import glob
import json
import os
import re
import tempfile
import unittest
from types import SimpleNamespace

from lab_case import RESIDENT, ROOT, TENSOR, VARIANT, WHOLE, WHOLE_TENSOR, loop_of

from lab_lib import compiled, sass, table  # noqa: E402
from lab_lib.table import Net  # noqa: E402

STUDY = Net(50, (100, 100), 2)
RECORDED = sorted(glob.glob(os.path.join(ROOT, "docs", "results", "lab-*.json")))


def source(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def recorded():
    return compiled.look_at(SimpleNamespace(saved=RECORDED[-1], kernel="", arch=""))


def kernel(mangled, registers=168, architecture="sm_90", loops=()):
    return sass.Kernel(mangled, architecture, registers=registers, spills=3, loops=list(loops))


MEASURED = {
    "device": "NVIDIA X",
    "variants": [
        {"number": 0, "name": "kernels/resident.cu", "instance": "64", "slice": 64, "shared_bytes": 205888,
         "same_bits": True, "changed": True, "updates_per_second": 1.75e6, "registers": 170, "local_bytes": 0},
        {"number": 8, "name": "8x16", "instance": "8x16x64x2x2x0", "slice": 64, "shared_bytes": 205888,
         "same_bits": False, "changed": True, "updates_per_second": 2e6, "registers": 168, "local_bytes": 16},
        {"number": 6, "name": "16x16", "instance": "16x16x64x2x1x0", "slice": 64, "shared_bytes": 205888,
         "same_bits": True, "changed": True, "updates_per_second": 1e6, "registers": 150, "local_bytes": 16},
        {"number": 1, "name": "slice 128", "instance": "16x16x128x2x1x0", "obstacle": "it needs 286784 bytes"},
    ],
}  # fmt: skip


class Networks(unittest.TestCase):
    def test_the_studys_network(self):
        self.assertEqual(STUDY.name, "50-100-100-2")
        self.assertEqual(STUDY.flop, 2 * 256 * (2 * 50 * 100 + 3 * 100 * 100 + 3 * 100 * 2))
        self.assertEqual(STUDY.row_bytes, 256 * (52 + 1) * 4)

    def test_a_row_is_an_odd_number_of_quads(self):
        for inputs, stride in ((1, 4), (4, 4), (5, 12), (12, 12), (13, 20)):
            self.assertEqual(Net(inputs, (9,), 2, batch=10).row_bytes, 10 * 4 * (stride + 1), inputs)


class OneTable(unittest.TestCase):
    NET = Net(50, (100, 100), 2, batch=128)  # too small for kernels/whole_batch.cu

    def entries(self, measured=MEASURED, net=NET, ceilings=None, kernels=None):
        if kernels is None:
            kernels = [kernel(RESIDENT.format(64)), kernel(VARIANT), kernel(RESIDENT.format(128), registers=200)]
        return table.entries(measured, kernels, net, ceilings or {})

    def test_a_measurement_stands_beside_its_machine_code(self):
        entries = self.entries()
        self.assertEqual([entry["name"] for entry in entries],
                         ["0: kernels/resident.cu", "8: 8x16", "6: 16x16", "1: slice 128"])  # fmt: skip
        own, eighth = entries[:2]
        self.assertEqual([entry["kernel"] for entry in entries], ["resident_kernel", "variant_kernel", "", ""])
        self.assertEqual((own["same_bits"], eighth["same_bits"]), (True, False))
        self.assertAlmostEqual(own["gflops"], 1.75e6 * 10.3936e6 / 1e9)
        self.assertAlmostEqual(own["gbs"], 1.75e6 * 128 * 53 * 4 / 1e9)
        self.assertAlmostEqual(own["models_per_second"], 350)
        self.assertAlmostEqual(own["share_of_floor"], 1.75e6 * 10.3936e6 / (132 * 128 * 2 * 1.98e9))
        self.assertEqual((own["registers"], own["spills"]), (168, "3 ops"))  # of machine code, where it is there
        self.assertEqual(own["shared_bytes"], 205888)
        title, header, *lines = table.lines(entries, self.NET)
        self.assertEqual(title, "50-100-100-2, batch 128: what runs, and its variants")
        self.assertIn("GFLOP/s", header)
        (line,) = (line for line in lines if "8: 8x16" in line)
        self.assertRegex(line, r"8: 8x16 +DIFFERENT +400\.0 +20,787 +54\.3 +31% +168 +3 ops +201\.1$")

    def test_variants_without_machine_code_have_what_the_gpu_says(self):
        found = {entry["name"]: entry for entry in self.entries()}
        self.assertEqual((found["6: 16x16"]["registers"], found["6: 16x16"]["spills"]), (150, "16 B"))
        self.assertEqual(found["1: slice 128"]["obstacle"], "it needs 286784 bytes")
        self.assertNotIn("gflops", found["1: slice 128"])
        self.assertIn("1: slice 128 (it needs 286784 bytes)", table.lines(self.entries(), self.NET)[-1])
        for entry in self.entries(kernels=[]):
            self.assertEqual(entry["kernel"], "")

    def test_bits_that_did_not_change_are_none(self):
        untrained = {"variants": [MEASURED["variants"][0] | {"changed": False}]}
        self.assertFalse(self.entries(untrained)[0]["same_bits"])

    def test_the_floor_follows_the_measured_ceiling(self):
        entries = self.entries(ceilings={"ffma_gflops": 50_000.0})
        self.assertAlmostEqual(entries[0]["share_of_floor"], 1.75e6 * 10.3936e6 / 50e12)

    def test_what_runs_is_the_kernel_that_the_runner_names(self):
        own = MEASURED["variants"][0] | {"name": "kernels/whole_batch.cu", "instance": "0", "shared_bytes": 223264}
        tensor = [mangled.format(precision) for mangled in (TENSOR, WHOLE_TENSOR) for precision in ("Tf32", "Bf16")]
        kernels = [*map(kernel, [RESIDENT.format(64), VARIANT, *tensor]), kernel(WHOLE, registers=255)]
        (entry,) = self.entries({"variants": [own]}, net=STUDY, kernels=kernels)
        self.assertEqual((entry["kernel"], entry["registers"], entry["spills"]), ("whole_batch_kernel", 255, "3 ops"))
        self.assertEqual(entry["shared_bytes"], 223264)
        self.assertAlmostEqual(entry["gflops"], 1.75e6 * 20.7872e6 / 1e9)
        (entry,) = self.entries({"variants": [own]}, net=STUDY, kernels=kernels[:-1])
        self.assertEqual((entry["kernel"], entry["registers"]), ("", 170))

    def test_the_sources_that_the_runner_names_have_their_kernels(self):
        sources = set(re.findall(r'"(kernels/\w+\.cu)"', source("tools/lab_lib/lab.cpp")))
        self.assertEqual(sources, {"kernels/resident.cu", "kernels/whole_batch.cu", "kernels/one_hidden_chip.cu"})
        for name in sources:
            self.assertIn(f" {table.kernel_name(name)}(", source(name))
        self.assertIn(f" {table.kernel_name('8x16, slice 64')}(", source("tools/lab_lib/variant.cuh"))

    def test_machine_code_is_of_the_newest_architecture(self):
        for older, newer in (("sm_80", "sm_90"), ("sm_90", "sm_90a"), ("sm_90a", "sm_100")):
            kernels = [kernel(VARIANT, registers=n, architecture=a) for n, a in ((128, newer), (255, older))]
            self.assertEqual(table.newest(kernels), kernels[:1])
            self.assertEqual(table.newest(kernels[::-1]), kernels[:1])
            self.assertEqual(self.entries(kernels=kernels)[1]["registers"], 128)
        self.assertEqual(table.newest([]), [])


class MachineCode(unittest.TestCase):
    """Kernels and inner loops, as they are printed and as a report keeps them."""

    KERNELS = [
        kernel(RESIDENT.format(64), loops=[loop_of(560, FFMA=448, LDS_128=30, IADD3=6), loop_of(40, FFMA=16, LD=8)]),
        kernel(WHOLE_TENSOR.format("Bf16"), loops=[loop_of(98, HMMA=52, LDSM=18)]),
    ]

    def test_kernels_and_inner_loops(self):
        text = "\n".join(compiled.lines(self.KERNELS))
        kernels, loops = text.split("\n\n")
        header = r"^Kernels\n  kernel +instance +for +registers +spill ops +stack B +static shared B +instructions\n"
        self.assertRegex(kernels, header)
        self.assertRegex(kernels, r"\n  whole_batch_tensor_kernel +BF16x0 +sm_90 +168 +3 +0 +0 +0$")
        title, header, *rows = loops.splitlines()
        self.assertEqual(title, "Inner loops of products")
        self.assertEqual(header.split(), ["kernel", "for", "instructions", "waits", "hot", "share", "loads"])
        *rows, last = rows
        self.assertEqual([row.split() for row in rows], [
            ["resident_kernel", "64", "sm_90", "560", "FFMA", "448", "80%", "LDS.128", "30"],
            ["resident_kernel", "64", "sm_90", "40", "FFMA", "16", "40%", "LD", "8"],
            ["whole_batch_tensor_kernel", "BF16x0", "sm_90", "98", "HMMA", "52", "53%", "LDSM", "18"],
        ])  # fmt: skip
        self.assertIn("generic loads (LD) in inner loops: resident_kernel;", last)

    def test_waits_lower_the_share(self):
        loop = loop_of(100, FFMA=80)
        loop.waits = 60
        self.assertRegex("\n".join(compiled.lines([kernel(WHOLE, loops=[loop])])), r" 100 +60 +FFMA 80 +50%")

    def test_a_report_is_as_good_as_the_objects(self):
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump({"kernels": [compiled.describe(k) for k in self.KERNELS]}, file)
            file.flush()
            again = compiled.read_report(file.name)
        self.assertEqual(compiled.lines(again), compiled.lines(self.KERNELS))

    def test_the_record_is_a_report_of_the_lab(self):
        with open(RECORDED[-1], encoding="utf-8") as file:
            record = json.load(file)
        self.assertEqual((record["schema"], record["tool"]), (1, "lab"))
        kernels = recorded()
        written = {row["mangled"]: row for row in record["kernels"]}
        self.assertEqual({k.mangled: compiled.describe(k) for k in kernels}, written)
        for name in ("resident_kernel", "variant_kernel", "whole_batch_kernel", "whole_batch_tensor_kernel"):
            self.assertTrue(any(k.name == name and k.loops for k in kernels), name)
        lines = compiled.lines(kernels)
        end, loops = lines.index(""), sum(len(k.loops) for k in kernels)
        self.assertEqual(len(lines[2:end]), len(kernels))
        self.assertEqual(sum(" sm_90a " in line for line in lines[end:]), loops)


if __name__ == "__main__":
    unittest.main()
