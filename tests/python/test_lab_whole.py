"""What tools/lab predicts of whole batches on the chip, in fp32, TF32 and BF16, and where its tables show it."""

import os
import re
import subprocess
import unittest

from lab_case import RESIDENT, ROOT, TENSOR, VARIANT, WHOLE_TENSOR, loop_of, whole_kernels, whole_loops

from lab_lib import chip, compiled, resident, sass, table, targets, tensor, whole  # noqa: E402
from lab_lib.model import Net, floor_cycles  # noqa: E402

BUILD = os.environ.get("OCCAM_BUILD_DIR", os.path.join(ROOT, "build"))
TRAIN_SLAB = os.path.join(BUILD, "experiments", "train_slab")
STUDY = Net((50, 100, 100, 2))


def source(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def explained(*arguments):
    """What the plan is of 50 inputs and two classes, by network."""
    data = ["--dim", "50", "--linear", "1", "--slabs5", "9", "--slabs7", "40", "--train", "1000", "--momentum", "0"]
    command = [TRAIN_SLAB, *data, *arguments, "--explain-plan"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class Plan(unittest.TestCase):
    def test_the_models_numbers_are_those_of_the_kernels(self):
        text = source("kernels/whole_batch.hpp") + source("kernels/whole_batch_tensor.hpp")
        text += source("kernels/whole_batch.cu") + source("kernels/resident_tensor.hpp")
        for name, value in (
            ("Samples", whole.SAMPLES), ("Inputs", whole.INPUTS), ("Units", whole.UNITS),
            ("LeastUnits", whole.LEAST_UNITS), ("Outputs", whole.OUTPUTS), ("Rows", whole.ROWS),
            ("Columns", whole.COLUMNS), ("Places", whole.PLACES), ("ChunkBytes", tensor.CHUNK),
            ("TensorReadBeyond", tensor.READ_BEYOND),
        ):  # fmt: skip
            found = re.search(rf"\bk{name} = (\d+)[,;]", text)
            self.assertEqual(int(found.group(1)), value, name)
        self.assertEqual((whole.HALF, whole.PER_M, whole.PER_N), (128, 8, 13))
        self.assertIn("kHalf = kSamples / 2;", text)
        self.assertIn(f"kLogits = kSpare + kSamples * kInputs + {whole.READ_BEYOND};", text)
        self.assertIn("kSpacious = element == 2;", text)
        self.assertEqual([tensor.ELEMENT_BYTES[precision] for precision in whole.SPACIOUS], [2])
        pairs = [product.width for product in whole.products(STUDY) if product.kind == "weight"]
        self.assertEqual([int(n) for n in re.findall(r"\bGradientPart<(\d+)> \w+\{\};", text)], pairs)
        for precision, name in whole.KERNELS.items():
            self.assertIn(f" {name}(", source(whole.source_of(precision)))

    def test_the_kernels(self):
        self.assertEqual([whole.precision_of(kernel) for kernel in whole_kernels()], ["fp32", "bf16", "tf32"])
        sources = ["kernels/whole_batch.cu"] + 2 * ["kernels/whole_batch_tensor.cu"]
        self.assertEqual([whole.source_of(precision) for precision in ("fp32", "tf32", "bf16")], sources)
        for mangled in (TENSOR.format("Bf16"), RESIDENT.format(64), VARIANT, WHOLE_TENSOR.replace("INS0_4{}EEEv", "E")):
            self.assertIsNone(whole.precision_of(sass.Kernel(mangled, "sm_90")), mangled)
        for kernel in whole_kernels():
            self.assertIsNone(tensor.precision_of(kernel))

    def test_shared_memory(self):
        # Rows of 13 and 25 chunks of 16 bytes in TF32, of 7 and 13 in BF16: 104 of weights, 256 of samples. Then
        # biases, the last layer, partial sums by eight warps, and numbers of rows and labels, of two batches.
        others = 4 * (2 * 104 + 2 * 104 + 4) + 4 * 8 * 2 * 106 + 4 * 4 * 256
        self.assertEqual(whole.shared_bytes("tf32"), 360 * (208 + 400) + 2 * 64 + others)
        logits = 4 * 256 * 2
        self.assertEqual(
            whole.shared_bytes("bf16"), 360 * (112 + 208) + 256 * (112 + 208) + 4 * 64 + logits + others
        )

    def test_the_networks_that_it_takes(self):
        self.assertTrue(whole.takes(STUDY))
        for widths in ((52, 92, 96, 1), (1, 96, 100, 2)):
            self.assertTrue(whole.takes(Net(widths)), widths)
        for widths in (
            (53, 100, 100, 2), (50, 100, 100, 3), (50, 88, 100, 2), (50, 100, 104, 2), (50, 98, 100, 2),
            (50, 100, 2), (50, 100, 100, 100, 2),
        ):  # fmt: skip
            self.assertFalse(whole.takes(Net(widths)), widths)
        for batch, taken in ((128, False), (129, True), (256, True), (257, False)):
            self.assertEqual(whole.takes(Net(STUDY.widths, batch)), taken, batch)
        self.assertEqual([whole.takes(STUDY, p) for p in ("fp32", "tf32", "bf16")], [True] * 3)
        for precision in whole.KERNELS:
            self.assertFalse(whole.takes(STUDY, precision, limit=whole.shared_bytes(precision) - 1))
        self.assertFalse(whole.takes(STUDY, "fp16"))

    @unittest.skipUnless(os.path.exists(TRAIN_SLAB), "this build has no train_slab")
    def test_networks_and_shared_memory_are_the_plans(self):
        nets = {f"{a}x{b}": (a, b) for a, b in ((100, 100), (92, 96), (88, 100), (98, 100), (100, 104))}
        for precision in whole.KERNELS:
            hidden, seen = ["--hidden", ",".join(nets), "--precision", precision], []
            for batch in (128, 129, 256, 257):
                text = explained(*hidden, "--batch", str(batch))
                if "H200 by its data sheet" not in text:
                    self.skipTest("this machine's own GPU is explained")
                for part in text.split("hidden=")[1:]:
                    taken = whole.takes(Net((50, *nets[part.split(":")[0]], 2), batch), precision)
                    self.assertEqual("its whole batch an update" in part, taken, part)
                    if taken:
                        seen.append(re.search(r"shared memory ([\d.]+) KiB", part).group(1))
            self.assertEqual(seen, [f"{whole.shared_bytes(precision) / 1024:.1f}"] * 4)


class Fp32(unittest.TestCase):
    def products(self, net=STUDY):
        return {product.name: product for product in whole.products(net)}

    def test_places_of_threads(self):
        shape = whole.SHAPE
        self.assertEqual((shape.threads, shape.per_m), (256, 8))
        places = [shape.place(thread) for thread in range(256)]
        self.assertEqual(sorted(places), [(m, n) for m in range(32) for n in range(8)])
        for thread, (m, n) in enumerate(places):
            self.assertEqual((places[thread ^ 1][1], places[thread ^ 2][0]), (n, m))
        self.assertEqual({m for m, _ in places[32:64]}, {1, 3, 5, 7})

    def test_parts_of_weight_gradients(self):
        for units in (92, 96, 100):
            parts = [part for part in (whole.part_of(thread, units) for thread in range(256)) if part]
            self.assertEqual(sorted(parts), [(quad, place) for quad in range(units // 4) for place in range(10)])
        paired = [whole.part_of(thread, 100) for thread in range(240)]
        for thread, (quad, place) in enumerate(paired):
            self.assertEqual((paired[thread ^ 1][0], paired[thread ^ 2][1]), (quad, place))
        # The last quad of an odd number stands alone.
        self.assertEqual([whole.part_of(thread, 100) for thread in (240, 249, 250)], [(24, 0), (24, 9), None])

    def test_steps(self):
        found = self.products()
        self.assertEqual(len(found), 8)
        by_hand = {
            "forward, layer 0, 50->100": ((13,) * 8, 416),
            "forward, layer 1, 100->100": ((25,) * 8, 416),
            "forward, layer 2, 100->2": ((2 * 25,) * 8, 4),
            "weight gradient, layer 2, 100->2": ((256,) * 4 + (0,) * 4, 2),  # 100 threads
            "input gradient, layer 2, 100->2": ((4,) * 8, 52),
            "weight gradient, layer 1, 100->100": ((256,) * 8, 40),
            "input gradient, layer 1, 100->100": ((2 * 25,) * 8, 208),
            "weight gradient, layer 0, 50->100": ((256,) * 8, 24),
        }
        self.assertEqual({name: (p.steps, p.multiply_adds) for name, p in found.items()}, by_hand)
        self.assertEqual(sum(product.useful for product in found.values()), STUDY.multiply_adds)
        for product in found.values():
            self.assertGreaterEqual(sum(product.steps) * product.multiply_adds * 32, product.useful, product.name)

    def test_fewer_samples_and_narrower_layers(self):
        found = self.products(Net((20, 92, 96, 1), batch=200))
        # Products of all samples take as long as ever, and as wide as ever.
        self.assertEqual(found["forward, layer 1, 92->96"].steps, (23,) * 8)
        self.assertEqual(found["forward, layer 1, 92->96"].multiply_adds, 416)
        self.assertEqual(found["input gradient, layer 1, 92->96"].steps, (2 * 24,) * 8)
        # A thread a sample: 128, then 72.
        self.assertEqual(found["forward, layer 2, 96->1"].steps, (48, 48, 48, 24, 0, 0, 0, 0))
        self.assertEqual(found["weight gradient, layer 2, 96->1"].steps, (200,) * 3 + (0,) * 5)
        # 23 quads of units, of which 22 lie in pairs on 220 threads; of the last one the first four places have inputs.
        self.assertEqual(found["weight gradient, layer 0, 20->92"].steps, (200,) * 7 + (0,))
        self.assertEqual(found["weight gradient, layer 1, 92->96"].steps, (200,) * 8)
        for product in found.values():
            self.assertGreaterEqual(sum(product.steps) * product.multiply_adds * 32, product.useful, product.name)

    def test_wavefronts(self):
        found = {name: product.wavefronts for name, product in self.products().items()}
        # Quads of 8 samples and 13 units, 16 lanes at a time: lanes two apart read the same sample, neighbours the
        # same unit, and the 4 different rows that 16 lanes read are in different banks.
        for layer in ("0, 50->100", "1, 100->100"):
            self.assertEqual(found[f"forward, layer {layer}"], (8 * 2 + 13 * 2,) * 8)
        # Of either half: quads of 4 samples, and of weights in each step three quads and a single word.
        self.assertEqual(found["input gradient, layer 1, 100->100"], (4 * 2 + 4 * (3 * 2 + 1),) * 8)
        # 16 samples' rows, each read by neighbours; two rows of weights, in turn.
        self.assertEqual(found["forward, layer 2, 100->2"], (4,) * 8)
        # A single word each, and half a quad that all read; the last warps have no units.
        self.assertEqual(found["weight gradient, layer 2, 100->2"], (2,) * 3 + (1.5,) + (0,) * 4)
        self.assertEqual(found["input gradient, layer 2, 100->2"], (4 + 13,) * 8)
        # A quad of units for 16 lanes at a time, since neighbours share it; pairs of features for all 32, since lanes
        # two apart do. In the last warp the last quad's threads are side by side: pairs for 16 lanes at a time.
        self.assertEqual(found["weight gradient, layer 1, 100->100"], (2 + 5,) * 7 + (2 + 5 * 2,))
        self.assertEqual(found["weight gradient, layer 0, 50->100"], (2 + 3,) * 7 + (2 + 3 * 2,))

    def test_kinds_of_loops(self):
        for loop, kind in (
            (loop_of(442, FFMA=416, LDS_128=21), ("forward", 13, 1)),
            (loop_of(884, FFMA=832, LDS_128=42), ("forward", 13, 2)),
            (loop_of(234, FFMA=208, LDS_128=16, LDS=4), ("half input", 13, 1)),
            (loop_of(234, FFMA=208, LDS_128=16, LDS=8), None),
            (loop_of(97, FFMA=80, LDS_128=2, LDS_64=10), ("weight", 5, 2)),
            (loop_of(61, FFMA=48, LDS_128=2, LDS_64=6), ("weight", 3, 2)),
            (loop_of(32, FFMA=16, LDS_128=8), ("few", 1, 4)),
            (loop_of(40, FFMA=16, LDS=8, LDS_128=4), ("last weight", 1, 8)),
            (loop_of(32, FFMA=8, LDS=16), None),
            (loop_of(76, FFMA=52, LDS=17), ("last input", 13, 1)),
            (loop_of(104, FFMA=32, LDS=4), None),  # of the loss
            (loop_of(88, FFMA=20, LDS=4), None),
        ):
            self.assertEqual(whole.kind_of(loop), kind, loop)
        fp32, *others = whole_kernels()
        self.assertEqual(compiled.kind_of(fp32, fp32.loops[0]), ("forward", 13, 1))
        self.assertEqual([compiled.kind_of(kernel, kernel.loops[0]) for kernel in others], [None, None])

    def test_phases(self):
        found = whole.predict(STUDY, "fp32", whole_loops("fp32"))
        by_name = {phase.name: phase for phase in found.phases}
        # Two warps a scheduler.
        forward = by_name["forward, layer 1, 100->100"]
        self.assertAlmostEqual(forward.issue, 2 * 25 * 416 / 0.8)
        self.assertEqual((forward.shared, forward.bound), (8 * 25 * 42, "issue"))
        self.assertAlmostEqual(forward.useful / forward.executed, 100 / 104)
        self.assertAlmostEqual(by_name["forward, layer 2, 100->2"].issue, 2 * 50 * 4 / 0.5)
        last = by_name["weight gradient, layer 2, 100->2"]
        self.assertAlmostEqual(last.issue, 256 * 2 / 0.4)  # of four warps, one a scheduler
        self.assertEqual((last.shared, last.bound), (256 * 7.5, "shared"))
        self.assertAlmostEqual(by_name["input gradient, layer 2, 100->2"].issue, 2 * 4 * 52 / 0.8)
        weight = by_name["weight gradient, layer 1, 100->100"]
        self.assertAlmostEqual(weight.issue, 2 * 256 * 40 / 0.8)
        self.assertEqual(weight.shared, 256 * (7 * 7 + 12))
        self.assertEqual((found.unknown, found.floor), (0, floor_cycles(STUDY)))
        self.assertLess(found.share_of_floor, 1)

    def test_a_loop_that_is_missing_is_said(self):
        loops = whole_loops("fp32")
        missing = [whole.predict(STUDY, "fp32", loops[:i] + loops[i + 1 :]).unknown for i in range(len(loops))]
        # Either half of the second layer's input gradient will do.
        self.assertEqual(missing, [2, 0, 0, 1, 1, 1, 1, 1])
        self.assertEqual(whole.predict(STUDY, "fp32", []).unknown, 8)

    def test_loops_that_are_alike_count_together(self):
        loops = whole_loops("fp32")
        loops[2].waits = 260
        shares = resident.shares_of(loops, whole.kind_of)
        self.assertAlmostEqual(shares["half input", 13], 2 * 208 / (3 * 260))
        self.assertAlmostEqual(shares["forward", 13], 0.8)


class Tf32(unittest.TestCase):
    def test_loads(self):
        found = {product.name: product for product in whole.tensor_products(STUDY, "tf32")}
        # (ldmatrix, single words, wavefronts): of units six times two tiles and one; of ones nothing.
        for name, matrix_products, loads in (
            ("forward, layer 0, 50->100", 26, (2 + 7, 0, 2 * 4 + 13 * 2)),
            ("forward, layer 1, 100->100", 26, (2 + 7, 0, 2 * 4 + 13 * 2)),
            ("input gradient, layer 1, 100->100", 26, (2, 26, 2 * 4 + 26)),
            ("weight gradient, layer 1, 100->100", 14, (0, 8 + 14, 22)),
            ("weight gradient, layer 0, 50->100", 8, (0, 4 + 14, 18)),
        ):
            product = found.pop(name)
            self.assertEqual((product.matrix_products, product.loads("tf32")), (matrix_products, loads), name)
        self.assertEqual(found, {})

    def test_phases(self):
        found = whole.predict(STUDY, "tf32", whole_loops("tf32"))
        by_name = {phase.name: phase for phase in found.phases}
        hmma = 4 / 0.62
        # 50 inputs are 6.25 steps of 8; two warps a scheduler.
        self.assertAlmostEqual(by_name["forward, layer 0, 50->100"].tensor, 2 * 7 * 26 * hmma)
        forward = by_name["forward, layer 1, 100->100"]
        self.assertAlmostEqual(by_name["forward, layer 0, 50->100"].issue, 2 * 7 * 104 / 2)
        self.assertAlmostEqual(forward.issue, 2 * 13 * 180 / 2)
        self.assertAlmostEqual(forward.shared, 8 * 13 * 34)
        self.assertAlmostEqual(forward.tensor, 2 * 13 * 26 * hmma)
        self.assertEqual((forward.bound, forward.executed), ("tensor", 8 * 13 * 26 * 1024))
        second = by_name["weight gradient, layer 1, 100->100"]
        self.assertAlmostEqual(second.issue, 2 * 32 * 46)
        self.assertAlmostEqual(second.shared, 8 * 32 * 22)
        self.assertAlmostEqual(second.tensor, 2 * 32 * 14 * hmma)
        first = by_name["weight gradient, layer 0, 50->100"]  # by seven warps
        self.assertAlmostEqual(first.issue, 2 * 32 * 56)
        self.assertAlmostEqual(first.shared, 7 * 32 * 18)
        self.assertAlmostEqual(first.tensor, 2 * 32 * 8 * hmma)
        self.assertEqual(first.bound, "shared")
        self.assertAlmostEqual(
            by_name["optimiser"].cycles, 2 * 4 * STUDY.parameter_floats / (5.5e12 / 132 / 1.98e9)
        )
        self.assertEqual((found.unknown, found.floor), (0, floor_cycles(STUDY, "tf32")))
        # Sums over the samples are of those that exist.
        fewer = whole.predict(Net(STUDY.widths, batch=129), "tf32", whole_loops("tf32"))
        ratios = {a.name: b.tensor / a.tensor for a, b in zip(found.phases, fewer.phases) if a.tensor}
        self.assertEqual(ratios.pop("weight gradient, layer 1, 100->100"), 17 / 32)
        self.assertEqual(ratios.pop("weight gradient, layer 0, 50->100"), 17 / 32)
        self.assertEqual(set(ratios.values()), {1})

    def test_a_loop_that_is_missing_is_said(self):
        loops = whole_loops("tf32")
        missing = [whole.predict(STUDY, "tf32", loops[:i] + loops[i + 1 :]).unknown for i in range(len(loops))]
        # Either half of the second layer's gradient will do. Without the first loop the next product has none.
        self.assertEqual(missing, [1, 1, 0, 0, 1, 1])
        self.assertEqual(whole.predict(STUDY, "tf32", []).unknown, 5)


class Bf16(unittest.TestCase):
    def test_loads(self):
        found = {product.name: product for product in whole.tensor_products(STUDY, "bf16")}
        # (ldmatrix, single words, wavefronts), in steps of 16: columns by ldmatrix, too, and those of ones with the
        # tile beside them.
        for name, steps, matrix_products, loads in (
            ("forward, layer 0, 50->100", 4, 26, (2 + 7, 0, 2 * 4 + 13 * 2)),
            ("forward, layer 1, 100->100", 7, 26, (2 + 7, 0, 2 * 4 + 13 * 2)),
            ("input gradient, layer 1, 100->100", 7, 26, (2 + 7, 0, 2 * 4 + 13 * 2)),
            ("weight gradient, layer 1, 100->100", 16, 14, (2 + 4, 0, 2 * 4 + 7 * 2)),
            ("weight gradient, layer 0, 50->100", 16, 8, (1 + 4, 0, 4 + 8 * 2)),
        ):
            product = found.pop(name)
            self.assertEqual(product.steps, steps, name)
            self.assertEqual((product.matrix_products, product.loads("bf16")), (matrix_products, loads), name)
        self.assertEqual(found, {})

    def test_phases(self):
        found = whole.predict(STUDY, "bf16", whole_loops("bf16"))
        by_name = {phase.name: phase for phase in found.phases}
        hmma = 4 / 0.62
        # Loops that differ in nothing else are taken in the order of their products.
        for name, steps, instructions in (
            ("forward, layer 0, 50->100", 4, 98), ("forward, layer 1, 100->100", 7, 168),
            ("input gradient, layer 1, 100->100", 7, 78),
        ):  # fmt: skip
            phase = by_name[name]
            self.assertAlmostEqual(phase.issue, 2 * steps * instructions / 2)
            self.assertAlmostEqual(phase.shared, 8 * steps * 34)
            self.assertAlmostEqual(phase.tensor, 2 * steps * 26 * hmma)
            self.assertEqual((phase.bound, phase.executed), ("tensor", 8 * steps * 26 * 2048))
        second = by_name["weight gradient, layer 1, 100->100"]
        self.assertAlmostEqual(second.issue, 2 * 16 * 62 / 2)
        self.assertAlmostEqual(second.shared, 8 * 16 * 22)
        self.assertAlmostEqual(second.tensor, 2 * 16 * 14 * hmma)
        first = by_name["weight gradient, layer 0, 50->100"]  # by seven warps
        self.assertAlmostEqual(first.issue, 2 * 16 * 80 / 4)
        self.assertAlmostEqual(first.shared, 7 * 16 * 20)
        self.assertAlmostEqual(first.tensor, 2 * 16 * 8 * hmma)
        self.assertEqual(first.bound, "shared")
        tf32 = whole.predict(STUDY, "tf32", whole_loops("tf32"))
        self.assertEqual(by_name["optimiser"], tf32.phases[-1])
        self.assertEqual((found.unknown, found.floor), (0, floor_cycles(STUDY, "bf16")))

    def test_a_loop_that_is_missing_is_said(self):
        loops = whole_loops("bf16")
        for i in range(len(loops)):
            self.assertGreater(whole.predict(STUDY, "bf16", loops[:i] + loops[i + 1 :]).unknown, 0, i)


class Shown(unittest.TestCase):
    """What runs, in the table and in the forecasts."""

    OTHERS = [sass.Kernel(RESIDENT.format(64), "sm_90"), sass.Kernel(VARIANT, "sm_90")]
    OTHERS += [sass.Kernel(TENSOR.format(precision), "sm_90") for precision in ("Bf16", "Tf32")]

    def names(self, kernels, net=STUDY, of=chip.Chip()):
        return [row.name for row in table.rows_of(kernels, net, of, 132)]

    def test_the_rows(self):
        kernels = [*self.OTHERS, *whole_kernels()]
        variant = "8x16, slice 64, unroll 2, 2 blocks"
        self.assertEqual(
            self.names(kernels),
            ["kernels/whole_batch.cu", "kernels/whole_batch_tensor.cu, BF16", "kernels/whole_batch_tensor.cu, TF32",
             variant],
        )  # fmt: skip
        sliced = ["kernels/resident.cu, slice 64", "kernels/resident_tensor.cu, BF16",
                  "kernels/resident_tensor.cu, TF32", variant]  # fmt: skip
        self.assertEqual(self.names(kernels, Net(STUDY.widths, batch=512)), sliced)
        # A block with too little shared memory for whole batches: first in BF16 alone, then in none.
        limit = whole.shared_bytes("bf16")
        at_most = self.names(kernels, of=chip.Chip(shared_limit=limit))
        self.assertEqual(at_most, [sliced[0], sliced[2], "kernels/whole_batch_tensor.cu, BF16", variant])
        limit -= 1
        self.assertEqual(resident.slice_of(STUDY, limit), 64)
        self.assertEqual(self.names(kernels, of=chip.Chip(shared_limit=limit)), sliced)
        # A record of other kernels alone.
        self.assertEqual(self.names(self.OTHERS), [variant])

    def test_a_measurement_stands_beside_its_prediction(self):
        variants = [
            {"number": 0, "name": "kernels/resident.cu", "instance": "256", "slice": 256, "shared_bytes": 223264,
             "same_bits": True, "changed": True, "updates_per_second": 1.75e6, "registers": 255, "local_bytes": 0},
        ]  # fmt: skip
        rows = table.rows_of(whole_kernels(), STUDY, chip.Chip(), 132, {"variants": variants})
        tensor_rows = [f"kernels/whole_batch_tensor.cu, {precision}" for precision in ("BF16", "TF32")]
        self.assertEqual([row.name for row in rows], ["0: kernels/whole_batch.cu", *tensor_rows])
        own, *others = table.as_json(rows, STUDY, {}, chip.Chip())
        self.assertAlmostEqual(own["models_per_second"], 350)
        self.assertAlmostEqual(own["gflops"], 1.75e6 * 20.7872e6 / 1e9)
        self.assertIsNotNone(own["predicted_cycles"])
        for row, precision in zip(others, ("bf16", "tf32")):
            self.assertNotIn("gflops", row)
            self.assertEqual(row["shared_bytes"], whole.shared_bytes(precision))
        self.assertEqual(own["shared_bytes"], 223264)
        self.assertEqual(own["shared_bytes"], whole.shared_bytes("fp32"))

    def test_the_forecasts(self):
        found = {row.case.precision: row for row in targets.forecasts([*self.OTHERS, *whole_kernels()])}
        self.assertEqual({(row.net, row.plan) for row in found.values()}, {("(100,2)", "resident")})
        self.assertEqual(set(found), {"fp32", "tf32", "bf16"})  # the others have no loops
        for precision, row in found.items():
            cycles = whole.predict(STUDY, precision, whole_loops(precision)).cycles
            self.assertAlmostEqual(row.cycles, cycles * 8 / 1024)  # 1,024 members in 8 rounds
        self.assertEqual(targets.forecasts(self.OTHERS), [])
        broken = whole_kernels()
        for kernel in broken:
            kernel.loops = kernel.loops[1:]
        self.assertEqual(targets.forecasts(broken), [])


if __name__ == "__main__":
    unittest.main()
