"""What tools/lab predicts: cycles of shared memory, plan resident in fp32, on tensor cores, and plan tiled."""

import os
import re
import subprocess
import unittest

from lab_case import RESIDENT, ROOT, TENSOR, VARIANT, loop_of

from lab_lib import chip, resident, sass, tensor, tiled  # noqa: E402
from lab_lib.model import Net, floor_cycles, models_per_second  # noqa: E402

BUILD = os.environ.get("OCCAM_BUILD_DIR", os.path.join(ROOT, "build"))
TRAIN_SLAB = os.path.join(BUILD, "experiments", "train_slab")
STUDY = Net((50, 100, 100, 2))


def source(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


class SharedMemory(unittest.TestCase):
    def waves(self, place, width):
        return chip.wavefronts([place(lane) for lane in range(chip.LANES)], width)

    def test_bytes_over_128_a_cycle(self):
        for width in (1, 2, 4):
            self.assertEqual(self.waves(lambda lane: width * lane, width), width)

    def test_conflicts(self):
        self.assertEqual(self.waves(lambda lane: 2 * lane, 1), 2)
        self.assertEqual(self.waves(lambda lane: 32 * lane, 1), 32)
        # Eight rows an odd number of quads apart touch all banks once, an even number do not.
        self.assertEqual(self.waves(lambda lane: 20 * (lane % 8), 4), 4)
        self.assertEqual(self.waves(lambda lane: 24 * (lane % 8), 4), 8)

    def test_credit_for_pairs_that_read_the_same(self):
        self.assertEqual(self.waves(lambda lane: 0, 1), 1)
        self.assertEqual(self.waves(lambda lane: 0, 4), 2)
        self.assertEqual(self.waves(lambda lane: 4 * (lane // 2), 4), 2)
        self.assertEqual(self.waves(lambda lane: 4 * (lane & ~2), 4), 4)  # lanes l ^ 2, of two rows of banks
        self.assertEqual(self.waves(lambda lane: 2 * (lane // 2), 2), 1)
        # Halves of a warp that read the same do not count: their lanes are no pairs.
        self.assertEqual(self.waves(lambda lane: 4 * (lane % 16), 4), 4)

    def test_idle_lanes(self):
        self.assertEqual(self.waves(lambda lane: None, 4), 0)
        self.assertEqual(self.waves(lambda lane: 4 * lane if lane < 8 else None, 4), 1)
        # An idle lane is no obstacle to the other one's credit.
        self.assertEqual(self.waves(lambda lane: 4 * (lane // 2) if lane != 7 else None, 4), 2)

    def test_a_block_is_its_warps(self):
        self.assertEqual(chip.of_warps(64, 1, lambda thread: thread if thread < 32 else 32 * thread), [1, 32])
        self.assertEqual(chip.busiest([1, 2, 3, 4, 10, 0, 0, 0]), 11)


class Networks(unittest.TestCase):
    def test_the_studys_network(self):
        self.assertEqual(STUDY.flop, 2 * 256 * (2 * 50 * 100 + 3 * 100 * 100 + 3 * 100 * 2))
        self.assertEqual(STUDY.parameter_floats, 100 * 52 + 100 + 100 * 100 + 100 + 2 * 100 + 4)
        self.assertEqual(STUDY.row_bytes, 256 * (52 + 1) * 4)

    def test_floors(self):
        self.assertAlmostEqual(floor_cycles(STUDY), STUDY.flop / 2 / 128)
        # On tensor cores HMMA of 1,024 multiply-adds, 2,048 in BF16, at mma.sync's rate.
        hmma = STUDY.flop / 2 / 1024 / 4 * (4 / 0.62)
        self.assertAlmostEqual(floor_cycles(STUDY, "tf32"), hmma)
        self.assertAlmostEqual(floor_cycles(STUDY, "bf16"), hmma / 2)
        # A network of so little arithmetic waits for its rows.
        small = Net((50, 2))
        self.assertAlmostEqual(floor_cycles(small), small.row_bytes * 132 * 1.98e9 / 4.3e12)


class Resident(unittest.TestCase):
    def test_shapes(self):
        self.assertEqual(resident.shape_of(sass.Kernel(RESIDENT.format(128), "sm_90a")), resident.Shape(128))
        shape = resident.shape_of(sass.Kernel(VARIANT, "sm_90a"))
        self.assertEqual((shape.slice, shape.m, shape.n, shape.threads, shape.per_m), (64, 8, 16, 128, 8))
        for other in ("_ZN5occam4cuda14advance_kernelEPNS0_8ProgressEi", TENSOR.format("Tf32")):
            self.assertIsNone(resident.shape_of(sass.Kernel(other, "sm_80")))

    def test_products_of_the_studys_network(self):
        found = {product.name: product for product in resident.products(STUDY, resident.Shape(128))}
        self.assertEqual(len(found), 8)  # 3 forward, 2 input gradients, 3 weight gradients
        forward = found["forward, layer 1, 100->100"]
        # 100 units are 7 columns of 16 threads; 8 samples a thread; 25 quads of the depth.
        self.assertEqual(
            (forward.width, forward.steps, forward.multiply_adds, forward.useful),
            (7, (25,) * 8, 4 * 8 * 7, 128 * 100 * 100),
        )
        weight = found["weight gradient, layer 0, 50->100"]
        # 25 quads of units leave 10 threads for 50 features: 3 pairs of a quad each, 128 samples.
        self.assertEqual((weight.width, weight.steps, weight.multiply_adds), (3, (128,) * 8, 24))
        # Two units are one quad, and 50 pairs of features 50 threads.
        self.assertEqual(found["weight gradient, layer 2, 100->2"].steps, (128, 128, 0, 0, 0, 0, 0, 0))
        for product in found.values():
            self.assertGreaterEqual(sum(product.steps) * product.multiply_adds * 32, product.useful, product.name)

    def test_one_thread_a_sample_and_unit(self):
        few = next(p for p in resident.products(STUDY, resident.Shape(64)) if p.kind == "few")
        self.assertEqual(few.steps, (25, 25, 25, 25, 0, 0, 0, 0))  # 128 of 256 threads
        # 16 samples' rows, each read by neighbours; 2 units' rows, in turn.
        self.assertEqual(few.wavefronts, (4, 4, 4, 4, 0, 0, 0, 0))

    def test_wavefronts_of_its_loads(self):
        found = {product.name: product for product in resident.products(STUDY, resident.Shape(64))}
        # Each of 8 warps reads quads of 4 samples, each of which 16 lanes share, and of 7 units, 16 different ones at
        # a time; of weights then single words, 16 side by side, of 7 columns at each of four units.
        self.assertEqual(found["forward, layer 1, 100->100"].wavefronts, (4 * 2 + 7 * 4,) * 8)
        self.assertEqual(found["input gradient, layer 1, 100->100"].wavefronts, (4 * 2 + 4 * 7,) * 8)
        # 10 threads share a quad of units; 250 of 256 threads have work.
        self.assertEqual(found["weight gradient, layer 1, 100->100"].wavefronts, (2 + 5 * 2,) * 8)

    def test_layers_too_wide(self):
        with self.assertRaisesRegex(ValueError, "520 units are more than 4 for each of 128 threads"):
            resident.products(Net((6, 520, 2)), resident.Shape(64, 8, 16))
        self.assertEqual(len(resident.products(Net((6, 520, 2)), resident.Shape(64))), 5)
        self.assertIsNone(resident.slice_of(Net((2, 1025, 2), batch=16), 227 * 1024))
        self.assertIsNotNone(resident.slice_of(Net((2, 1024, 2), batch=16), 227 * 1024))

    def test_kinds_of_loops(self):
        shape = resident.Shape(128)  # 8 samples a thread
        for loop, kind in (
            (loop_of(500, FFMA=448, LDS_128=30), ("forward", 7, 2)),
            (loop_of(500, FFMA=448, LDS_128=14, LD_128=16), ("forward", 7, 2)),
            (loop_of(280, FFMA=224, LDS_128=8, LDS=28), ("input", 7, 1)),
            (loop_of(269, FFMA=448, LDS_128=16, LDS=56), ("input", 7, 2)),
            (loop_of(280, FFMA=224, LDS_128=8 + 4, LDS=12), None),
            (loop_of(99, FFMA=80, LDS_128=2, LDS_64=10), ("weight", 5, 2)),
            (loop_of(32, FFMA=16, LDS_128=8), ("few", 1, 4)),
            (loop_of(200, FFMA=80, LDG=8), None),
            (loop_of(500, FFMA=447, LDS_128=30), None),
        ):
            self.assertEqual(resident.kind_of(loop, shape), kind, loop)
        variant = resident.Shape(128, columns=(2, 4, 7))
        self.assertEqual(resident.kind_of(loop_of(280, FFMA=224, LDS_128=8, LDS=28), variant), ("input", 7, 1))
        self.assertIsNone(resident.kind_of(loop_of(240, FFMA=192, LDS_128=8, LDS=24), variant))

    def loops(self, share):
        every = [
            dict(FFMA=448, LDS_128=30), dict(FFMA=224, LDS_128=8, LDS=28),
            dict(FFMA=80, LDS_128=2, LDS_64=10), dict(FFMA=48, LDS_128=2, LDS_64=6),
            dict(FFMA=16, LDS_128=2, LDS_64=2), dict(FFMA=16, LDS_128=8),
        ]  # fmt: skip
        return [loop_of(round(of["FFMA"] / share), **of) for of in every]

    def test_issue_slots_follow_the_share(self):
        shape = resident.Shape(128)
        whole = resident.predict(STUDY, shape, self.loops(1.0))
        half = resident.predict(STUDY, shape, self.loops(0.5))
        self.assertEqual((whole.unknown, half.unknown), (0, 0))
        self.assertAlmostEqual(half.issue, 2 * whole.issue)
        self.assertAlmostEqual(half.hot_share, 0.5)
        self.assertGreater(whole.issue, whole.floor)  # idle threads and columns
        by_hand = sum(2 * (p.steps[0] + p.steps[4]) * p.multiply_adds for p in resident.products(STUDY, shape))
        self.assertAlmostEqual(whole.issue, by_hand)

    def test_a_product_waits_for_the_slower_of_issue_and_shared_memory(self):
        shape = resident.Shape(128)
        whole = resident.predict(STUDY, shape, self.loops(1.0))
        by_name = {phase.name: phase for phase in whole.phases}
        weight = by_name["weight gradient, layer 1, 100->100"]
        self.assertEqual(weight.bound, "shared")
        self.assertEqual(weight.cycles, 2 * 128 * 8 * (2 + 5 * 2))
        slow = resident.predict(STUDY, shape, self.loops(0.25))
        self.assertEqual({phase.bound for phase in slow.phases}, {"issue"})
        self.assertAlmostEqual(slow.cycles, slow.issue)
        self.assertLess(whole.cycles, slow.cycles)

    def test_a_loop_that_is_missing_is_said(self):
        self.assertEqual(resident.predict(STUDY, resident.Shape(128), self.loops(1.0)[1:]).unknown, 2)

    def test_the_main_loop_counts_not_its_remainder(self):
        loops = self.loops(1.0) + [loop_of(448, FFMA=224, LDS_128=15)]
        whole = resident.predict(STUDY, resident.Shape(128), loops)
        self.assertEqual(whole.cycles, resident.predict(STUDY, resident.Shape(128), self.loops(1.0)).cycles)

    def test_rounds_of_members(self):
        whole = resident.predict(STUDY, resident.Shape(128), self.loops(1.0))
        of = chip.Chip()
        full = models_per_second(whole, 132, of, 5000)
        self.assertAlmostEqual(full, 132 * of.clock / whole.cycles / 5000)
        self.assertAlmostEqual(models_per_second(whole, 133, of, 5000), full * 133 / 264)

    def test_one_member_of_plan_tiled_has_the_chip(self):
        found = tiled.predict(Tiled.NET, 1, Tiled.SHARES)
        self.assertAlmostEqual(models_per_second(found, 1, chip.Chip(), 5000), 1.98e9 / found.cycles / 5000)

    def test_the_models_numbers_are_those_of_the_kernel(self):
        text = source("kernels/resident_product.cuh")
        shape = resident.Shape(128)
        self.assertEqual(int(re.search(r"kGrid = (\d+);", text).group(1)), shape.n)
        found = re.findall(r"if \(columns <= (\d+)\)", text) + [re.search(r"kMostColumns = (\d+)", text).group(1)]
        self.assertEqual(tuple(map(int, found)), shape.columns)
        pairs = re.findall(r"return run\(std::integral_constant<int, (\d)>", text)
        self.assertEqual(tuple(map(int, pairs)), resident.PAIRS)

    @unittest.skipUnless(os.path.exists(TRAIN_SLAB), "this build has no train_slab")
    def test_slices_and_shared_memory_are_the_plans(self):
        nets = {"100x100": (100, 100), "200": (200,), "130x70": (130, 70), "33": (33,), "300x300": (300, 300)}
        data = ["--dim", "50", "--linear", "1", "--slabs5", "9", "--slabs7", "40", "--train", "1000"]
        # With momentum gradients stand in shared memory, which is what the model describes.
        command = [TRAIN_SLAB, *data, "--hidden", ",".join(nets), "--momentum", "0.9", "--explain-plan"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        if "H200 by its data sheet" not in done.stdout:
            self.skipTest("this machine's own GPU is explained")
        for part in done.stdout.split("hidden=")[1:]:
            net = Net((50, *nets[part.split(":")[0]], 2))
            slice_ = resident.slice_of(net, chip.Chip().shared_limit)
            planned = re.search(r"slices? of (\d+) samples", part)
            self.assertEqual(slice_, int(planned.group(1)) if planned else None, part)
            if planned:
                size = re.search(r"shared memory ([\d.]+) KiB", part).group(1)
                self.assertEqual(f"{resident.shared_bytes(net, slice_) / 1024:.1f}", size)


class TensorCores(unittest.TestCase):
    def test_plans_of_the_studys_network(self):
        limit = chip.Chip().shared_limit
        for precision, slice_, kib in (("tf32", 128, "225.3"), ("bf16", 256, "209.7")):  # as --explain-plan says
            plan = tensor.plan_of(STUDY, precision, limit)
            self.assertEqual((plan.slice, plan.gradients_on_chip, f"{plan.bytes / 1024:.1f}"), (slice_, False, kib))
        self.assertTrue(tensor.plan_of(Net((10, 20, 2)), "tf32", limit).gradients_on_chip)
        self.assertIsNone(tensor.plan_of(Net((50, 2000, 2000, 2)), "tf32", limit))

    def test_tiles_are_those_of_the_kernel(self):
        text = source("kernels/resident_tensor.hpp")
        found = re.search(r"kWarpTiles\[\] = \{(.*)\};", text).group(1)
        self.assertEqual(tuple((int(a), int(b)) for a, b in re.findall(r"\{(\d+), (\d+)\}", found)), tensor.WARP_TILES)
        self.assertEqual(tensor.best_warp_tile(128, 100), (2, 7))
        self.assertEqual(tensor.best_warp_tile(128, 2), (1, 1))

    def products(self, precision, slice_):
        return {product.name: product for product in tensor.products(STUDY, precision, slice_)}

    def test_products_of_the_studys_network(self):
        found = self.products("tf32", 128)
        forward = found["forward, layer 1, 100->100"]
        # 8 x 13 tiles of 16 x 8 are 8 of 2 x 7; 100 features are 12.5 steps of 8.
        self.assertEqual((forward.down, forward.across, forward.tiles, forward.steps), (2, 7, 8, 13))
        self.assertEqual(forward.loads("tf32"), (2 + 4, 0, 2 * 4 + 7 * 2))
        weight = found["weight gradient, layer 1, 100->100"]
        self.assertEqual((weight.tiles, weight.bias_tiles, weight.steps), (8, 4, 16))
        self.assertEqual(weight.loads("tf32"), (0, 2 * 4 + 7 * 2, 22))
        self.assertEqual(weight.loads("bf16"), (6, 0, 22))
        self.assertEqual(found["input gradient, layer 1, 100->100"].loads("tf32"), (2, 14, 22))
        self.assertNotIn("input gradient, layer 0, 50->100", found)
        self.assertEqual(self.products("bf16", 256)["forward, layer 1, 100->100"].steps, 7)

    def test_a_prediction(self):
        loop = loop_of(100, HMMA=28, LDSM=12)  # two steps of the forward product
        found = tensor.predict(STUDY, "tf32", [loop])
        by_name = {phase.name: phase for phase in found.phases}
        forward = by_name["forward, layer 1, 100->100"]
        # 2 slices, 2 of 8 tiles on each scheduler, 13 steps.
        self.assertAlmostEqual(forward.issue, 2 * 2 * 13 * 50)
        self.assertAlmostEqual(forward.shared, 2 * 8 * 13 * 22)
        self.assertAlmostEqual(forward.tensor, 2 * 2 * 13 * 14 * 4 / 0.62)
        self.assertEqual(forward.cycles, forward.tensor)
        weight = by_name["weight gradient, layer 1, 100->100"]  # with products of ones for the bias in half of it
        self.assertAlmostEqual(weight.tensor, 2 * 16 * (2 * 14 + 1 * 2) * 4 / 0.62)
        # Parameters in and out, gradients of two slices out and in again.
        self.assertAlmostEqual(
            by_name["optimiser"].cycles, 4 * STUDY.parameter_floats * 6 / (5.5e12 / 132 / 1.98e9)
        )
        self.assertGreater(found.unknown, 0)
        with_gradients = tensor.Plan(256, True, 0)
        self.assertEqual(tensor.l2_bytes(STUDY, with_gradients), 4 * STUDY.parameter_floats * 2)

    def test_rows_that_arrive_late_count(self):
        wide = Net((800, 8, 2))
        found = tensor.predict(wide, "bf16", [])
        rows = wide.row_bytes / (4.3e12 / 132 / 1.98e9)
        self.assertAlmostEqual(sum(phase.cycles for phase in found.phases if phase.name != "optimiser"), rows)
        early = tensor.predict(STUDY, "bf16", [])
        self.assertNotIn("rows", [phase.name for phase in early.phases])  # they arrive beside the products


class Tiled(unittest.TestCase):
    NET = Net((50, 300, 300, 2))
    SHARES = {
        ("forward", tiled.WIDE.instance): 0.8,
        ("input", tiled.WIDE.instance): 0.8,
        ("weight", tiled.SQUARE.instance): 0.8,
        ("forward", tiled.FEW_COLUMNS.instance): 0.5,
        ("weight", tiled.FEW_UNITS.instance): 0.5,
    }

    def test_tiles_are_those_of_the_kernels(self):
        text = source("kernels/epilogue.cuh")
        for name, tile in (
            ("Wide", tiled.WIDE), ("Square", tiled.SQUARE), ("FewRows", tiled.FEW_ROWS),
            ("FewColumns", tiled.FEW_COLUMNS), ("FewUnits", tiled.FEW_UNITS),
        ):  # fmt: skip
            numbers = re.search(rf"using {name} = Tile<([\d, ]+)>", text).group(1)
            self.assertEqual(numbers.replace(", ", "x"), tile.instance, name)

    def test_products(self):
        found = {product.name: product for product in tiled.products(self.NET)}
        self.assertEqual(len(found), 8)
        forward = found["forward, layer 1, 300->300"]
        self.assertEqual((forward.tile, forward.tiles, forward.steps), (tiled.WIDE, 2 * 5, 75))
        # Activations in and out, the weights: rows of 300 floats are 75 quads, an odd number.
        self.assertEqual(forward.bytes, 4 * 300 * (256 + 256 + 300))
        self.assertEqual(found["input gradient, layer 1, 300->300"].bytes, 4 * 300 * (3 * 256 + 300))
        self.assertEqual(found["weight gradient, layer 1, 300->300"].bytes, 4 * 300 * (2 * 256 + 2 * 300))
        self.assertEqual(found["forward, layer 2, 300->2"].tile, tiled.FEW_COLUMNS)
        self.assertEqual(found["weight gradient, layer 2, 300->2"].tile, tiled.FEW_UNITS)
        small = {product.name: product for product in tiled.products(Net((50, 300, 2), batch=16))}
        self.assertEqual(small["forward, layer 0, 50->300"].tile, tiled.FEW_ROWS)

    def test_wavefronts(self):
        # A warp's lanes are at 4 rows and 8 columns of both. 8 loads of either, each for 16 lanes at a time: of rows
        # because lanes two apart read the same, of columns because neighbours do, and what they read, 2 or 8 quads, is
        # in different banks.
        self.assertEqual(tiled.wavefronts("forward", tiled.WIDE), 4 * (8 * 2 + 8 * 2))
        self.assertEqual(tiled.wavefronts("weight", tiled.SQUARE), 2 * (8 * 2 + 8 * 2))
        # Without a second thread along the columns a lane's rows are its own, and all read the same columns.
        self.assertEqual(tiled.wavefronts("forward", tiled.FEW_COLUMNS), 2 * (2 * 4 + 4 * 2))

    def test_places_of_threads(self):
        for tile in (tiled.WIDE, tiled.SQUARE, tiled.FEW_ROWS, tiled.FEW_COLUMNS, tiled.FEW_UNITS):
            places = [tile.place(thread) for thread in range(tile.threads)]
            every = {(m, n) for m in range(tile.threads_m) for n in range(tile.threads_n)}
            self.assertEqual((set(places), len(places)), (every, len(every)), tile)
        for thread in range(tiled.WIDE.threads):
            m, n = tiled.WIDE.place(thread)
            self.assertEqual((tiled.WIDE.place(thread ^ 1)[1], tiled.WIDE.place(thread ^ 2)[0]), (n, m))
        self.assertEqual(tiled.WIDE.place(16), (2, 0))
        self.assertEqual(tiled.FEW_COLUMNS.place(5), (5, 0))

    def test_the_busiest_multiprocessor_sets_the_pace(self):
        def forward(members):
            return next(p for p in tiled.predict(self.NET, members, self.SHARES).phases if "forward, layer 1" in p.name)

        one = 75 * 4 * 64 * 128 / 128 / 0.8  # cycles of a tile
        self.assertAlmostEqual(forward(13).issue, one)  # 130 tiles on 132 multiprocessors
        self.assertAlmostEqual(forward(14).issue, 2 * one)
        self.assertAlmostEqual(forward(132).issue, 10 * one)
        self.assertAlmostEqual(forward(132).useful / forward(132).executed, 300 / 320)

    def test_a_launch_waits_for_its_bytes(self):
        found = tiled.predict(self.NET, 132, self.SHARES)
        last = next(phase for phase in found.phases if phase.name == "input gradient, layer 2, 300->2")
        self.assertEqual(last.bound, "memory")
        self.assertAlmostEqual(last.cycles, 132 * 4 * (256 * 4 + 2 * 300 + 2 * 256 * 300) / 4.3e12 * 1.98e9)
        self.assertEqual(tiled.predict(self.NET, 132, {}).unknown, 8)

    def test_one_hidden_layer_takes_two_launches(self):
        wide = Net((50, 2000, 2))
        text = source("kernels/one_hidden.hpp")
        limits = re.search(r"kOneHiddenInputs = (\d+), kOneHiddenOutputs = (\d+);", text).groups()
        self.assertEqual(tuple(map(int, limits)), (tiled.ONE_HIDDEN_INPUTS, tiled.ONE_HIDDEN_OUTPUTS))
        for other in (Net((52, 2000, 2)), Net((50, 2000, 3)), Net((50, 300, 300, 2))):
            self.assertEqual(tiled.launched(other), tiled.products(other))
        forward, weight = tiled.launched(wide)
        self.assertEqual((forward.tile, forward.tiles, forward.steps), (tiled.WIDE, 2 * 32, 12.5))
        self.assertEqual((weight.tile, weight.tiles, weight.steps), (tiled.Tile(16, 4, 8, 13), 16, 64))
        tile = re.search(r"struct GradientTile : Tile<(\d+), (\d+), (\d+), (\d+)>", source("kernels/one_hidden_backward.cu")).groups()
        self.assertEqual(tuple(map(int, tile)), (16, 4, 8, 13 - 1))  # the last column is beside the quads
        # Rows, weights and activations, each once; weights read and written where they are stepped.
        self.assertEqual(forward.bytes, 4 * (256 * 52 + 2000 * 52 + 256 * 2004))
        self.assertEqual(weight.bytes, 4 * (256 * 2004 + 256 * 52 + 2 * 2000 * 52))
        shares = {("one forward", tiled.WIDE.instance): 0.8, ("one weight", weight.tile.instance): 0.5}
        found = tiled.predict(wide, 132, shares)
        self.assertEqual([phase.bound for phase in found.phases], ["issue", "issue"])
        self.assertAlmostEqual(found.phases[1].issue, 16 * 64 * 4 * 8 * 13 / 2 / 0.5)
        # Of two warps at each of four steps: two quads of units and three of inputs, two wavefronts each, and a column.
        self.assertEqual(tiled.wavefronts("one weight", weight.tile), 2 * 4 * (2 * 2 + 3 * 2 + 1))

    def test_shares_come_from_the_main_loops(self):
        kernel = sass.Kernel("_ZN5occam4cuda14forward_kernelINS0_4TileILi16ELi8ELi8ELi8EEEEEvi", "sm_90")
        kernel.loops = [loop_of(320, FFMA=256, LDS_128=16), loop_of(10, FFMA=9)]
        self.assertEqual(tiled.shares_of([kernel, sass.Kernel(VARIANT, "sm_90")]), {("forward", "16x8x8x8"): 0.8})
        # Of one hidden layer the kernel for ReLU and two outputs, wherever it stands; cycles that its FFMA wait count.
        one = "_ZN5occam4cuda25one_hidden_forward_kernelILi2ELb{}EEEvNS0_18OneHiddenArgumentsE"
        kernels = [sass.Kernel(one.format(relu), "sm_90", loops=[loop_of(300, FFMA=256)]) for relu in (1, 0)]
        kernels[0].loops[0].waits = 20
        self.assertEqual(tiled.shares_of(kernels), {("one forward", "16x8x8x8"): 0.8})

    def test_sgemm_is_bound_by_arithmetic_or_memory(self):
        deep = Net((1024, 1024, 1024), batch=1024)
        of = chip.Chip()
        self.assertAlmostEqual(tiled.sgemm_cycles(deep, 1), of.clock * deep.flop / 2 / (of.fma_per_second * 0.9))
        thin = Net((50, 2), batch=256)  # forward and weight gradient read x, rows of 52 floats
        elements = (256 * 52 + 2 * 52 + 256 * 4) + (2 * 260 + 50 * 260 + 2 * 52)
        self.assertAlmostEqual(tiled.sgemm_cycles(thin, 10), 10 * 4 * elements / 4.3e12 * of.clock)


if __name__ == "__main__":
    unittest.main()
