"""The lab's tables, of recorded machine code and an invented run on a GPU: predictions beside measurements, and the
predictions that docs/performance.md publishes."""

import copy
import glob
import json
import os
import unittest
from types import SimpleNamespace

from lab_case import RESIDENT, ROOT, VARIANT, loop_of, whole_kernels

from lab_lib import chip, compiled, sass, table, targets  # noqa: E402
from lab_lib.model import Net  # noqa: E402

STUDY = Net((50, 100, 100, 2))
SLICED = Net((50, 100, 100, 2), batch=128)  # too small for kernels/whole_batch.cu
RECORDED = sorted(glob.glob(os.path.join(ROOT, "docs", "results", "lab-*.json")))


def recorded():
    return compiled.look_at(SimpleNamespace(saved=RECORDED[-1], kernel="", arch=""))


def kernel(mangled, columns, registers=168):
    """With a loop of every kind that the study's network needs, of threads with four samples, or eight."""
    samples = 8 if "variant" in mangled else 4
    loops = [loop_of(10 * samples * columns, FFMA=8 * samples * columns, LDS_128=2 * (samples + columns))]
    loops.append(loop_of(5 * samples * columns, FFMA=4 * samples * columns, LDS_128=samples, LDS=4 * columns))
    for pairs in (1, 3, 5):
        loops.append(loop_of(20 * pairs, FFMA=16 * pairs, LDS_128=2, LDS_64=2 * pairs))
    return sass.Kernel(mangled, "sm_90", registers=registers, spills=3, loops=loops)


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


class OneTable(unittest.TestCase):
    def rows(self, measured=None, net=SLICED, ceilings=None):
        kernels = [kernel(RESIDENT.format(64), 7), kernel(VARIANT, 7), kernel(RESIDENT.format(128), 7)]
        rows = table.rows_of(kernels, net, chip.Chip(), 132, measured)
        return rows, table.as_json(rows, net, ceilings or {}, chip.Chip())

    def test_without_a_gpu_there_is_the_prediction(self):
        rows, entries = self.rows()
        self.assertEqual([entry["instance"] for entry in entries], ["64", "8x16x64x2x2x0"])  # 128 is not what runs
        self.assertEqual(entries[1]["name"], "8x16, slice 64, unroll 2, 2 blocks")
        for entry in entries:
            self.assertAlmostEqual(entry["hot_share"], 0.8, delta=0.01)
            self.assertAlmostEqual(
                entry["predicted_share_of_floor"], SLICED.multiply_adds / 128 / entry["predicted_cycles"]
            )
            self.assertEqual((entry["registers"], entry["spills"], entry["shared_bytes"]), (168, "3 ops", 205888))
            self.assertNotIn("gflops", entry)
        text = "\n".join(table.lines(rows, SLICED, {}, chip.Chip()))
        self.assertIn("no GPU: none was run", text)
        self.assertNotIn("GFLOP/s", text)

    def test_a_measurement_stands_beside_its_prediction(self):
        rows, entries = self.rows(MEASURED)
        by_instance = {entry["instance"]: entry for entry in entries}
        own, eighth = by_instance["64"], by_instance["8x16x64x2x2x0"]
        self.assertEqual((own["name"], own["same_bits"], eighth["same_bits"]), ("0: kernels/resident.cu", True, False))
        self.assertAlmostEqual(own["gflops"], 1.75e6 * 10.3936e6 / 1e9)
        self.assertAlmostEqual(own["gbs"], 1.75e6 * 128 * 53 * 4 / 1e9)
        self.assertAlmostEqual(own["models_per_second"], 350)
        self.assertAlmostEqual(own["share_of_floor"], 1.75e6 * 10.3936e6 / (132 * 128 * 2 * 1.98e9))
        self.assertEqual((own["registers"], own["spills"]), (168, "3 ops"))  # of machine code, where it is there
        self.assertIsNotNone(own["predicted_cycles"])
        lines = table.lines(rows, SLICED, {}, chip.Chip())
        self.assertIn("GFLOP/s", lines[1])
        (line,) = (line for line in lines if "8: 8x16" in line)
        self.assertIn("DIFFERENT", line)
        self.assertIn("20,787", line)

    def test_variants_without_machine_code_have_what_the_gpu_says(self):
        _, entries = self.rows(MEASURED)
        found = {entry["name"]: entry for entry in entries}
        self.assertEqual((found["6: 16x16"]["registers"], found["6: 16x16"]["spills"]), (150, "16 B"))
        self.assertIsNone(found["6: 16x16"]["predicted_cycles"])
        self.assertEqual(found["1: slice 128"]["obstacle"], "it needs 286784 bytes")
        self.assertNotIn("gflops", found["1: slice 128"])

    def test_the_floor_follows_the_measured_ceiling(self):
        _, entries = self.rows(MEASURED, ceilings={"ffma_gflops": 50_000.0})
        self.assertAlmostEqual(entries[0]["share_of_floor"], 1.75e6 * 10.3936e6 / 50e12)

    def test_the_reference_is_what_the_plan_takes(self):
        wide = Net((50, 300, 300, 2))
        rows, _ = self.rows(net=wide)
        variant = ("8x16, slice 64, unroll 2, 2 blocks", "does not fit")
        self.assertEqual([(row.name, row.obstacle) for row in rows], [variant])
        rows = table.rows_of(recorded(), wide, chip.Chip(), 1024)
        self.assertEqual((rows[0].name, rows[0].prediction.unknown), ("plan tiled, 1024 members", 0))
        (entry, *_) = table.as_json(rows, wide, {}, chip.Chip())
        # As of one member on one multiprocessor, whatever the members.
        self.assertAlmostEqual(entry["predicted_cycles"], wide.multiply_adds / 128 / entry["predicted_share_of_floor"])

    def test_where_the_cycles_go(self):
        rows, (entry, _) = self.rows()
        found = {phase["name"]: phase for phase in entry["phases"]}
        forward = found["forward, layer 1, 100->100"]
        self.assertAlmostEqual(forward["useful"], 100 / 112)
        self.assertAlmostEqual(forward["issue"], 2 * 25 * 2 * 112 / 0.8, delta=20)
        largest = (max(phase[name] for name in ("issue", "shared", "tensor", "memory")) for phase in found.values())
        self.assertAlmostEqual(sum(largest), entry["predicted_cycles"])
        (line,) = (line for line in table.phase_lines(rows, SLICED, chip.Chip()) if "forward, layer 1" in line)
        self.assertRegex(line, r"14,400 +14,000 +14,400 +80% +89%$")

    def test_a_variant_with_too_few_threads_is_refused_not_divided_by_zero(self):
        rows, entries = self.rows(net=Net((6, 520, 2), batch=64))
        self.assertIn("more than 4 for each of 128 threads", rows[1].obstacle)
        self.assertIsNone(entries[1]["predicted_cycles"])


class Published(unittest.TestCase):
    """docs/performance.md says what the model makes of the recorded machine code."""

    def test_all_cases_are_known(self):
        found = targets.forecasts(recorded())
        self.assertEqual(len(found), len(targets.CASES) * len(targets.ENSEMBLES))
        for row in found:
            self.assertLess(row.share_of_floor, 1, row)
            self.assertLess(row.models, row.floor_models, row)

    def test_a_kernel_that_is_missing_has_no_row(self):
        kernels = [k for k in recorded() if "tensor_kernel" not in k.name]
        self.assertEqual({row.case.precision for row in targets.forecasts(kernels)}, {"fp32"})
        loops = copy.deepcopy(kernels)
        for of_kernel in loops:
            of_kernel.loops = []
        self.assertEqual(targets.forecasts(loops), [])

    def test_what_a_target_asks_for(self):
        kernels = [*whole_kernels(), kernel(RESIDENT.format(64), 7), *recorded()]
        by_case = {(row.net, row.case.precision): row for row in targets.forecasts(kernels) if row.members == 132}
        target, asked = by_case["(100,2)", "fp32"].asks
        self.assertEqual(target, "350 models/s")
        self.assertAlmostEqual(asked, 350 / by_case["(100,2)", "fp32"].models)
        self.assertEqual(by_case["(300,2)", "fp32"].asks[0], "50% of floor")
        self.assertEqual(by_case["(2000,1)", "fp32"].asks[0], "85% of sgemm")
        self.assertEqual(by_case["(200,1)", "fp32"].asks, ("", None))

    def section(self, name):
        with open(os.path.join(ROOT, "docs", "performance.md"), encoding="utf-8") as file:
            return file.read().split(f"<!-- begin {name} -->\n")[1].split(f"\n<!-- end {name} -->")[0]

    def test_the_ensembles(self):
        self.assertEqual(self.section("predictions"), targets.markdown(targets.forecasts(recorded())))

    def test_the_variants(self):
        rows = table.rows_of(recorded(), STUDY, chip.Chip(), 132)
        self.assertEqual(self.section("variants"), table.markdown(rows, STUDY, chip.Chip()))

    def test_the_record_is_a_report_of_the_lab(self):
        with open(RECORDED[-1], encoding="utf-8") as file:
            self.assertEqual(json.load(file)["tool"], "lab")


if __name__ == "__main__":
    unittest.main()
