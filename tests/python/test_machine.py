"""tools/machine: listings, source lines, differences of trainings, and what it refuses."""

import io
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from machine_lib import attacks, listing, prediction, products, target, toolchain  # noqa: E402


def program():
    loader = importlib.machinery.SourceFileLoader("machine_program", str(ROOT / "tools/machine"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def control(stall, write, read, wait):
    """The second word of an instruction."""
    return (stall | 1 << 4 | write << 5 | read << 8 | wait << 11) << 41


class Listing(unittest.TestCase):
    TEXT = f"""
.L_x_3:
        /*0010*/                   LDS.128 R28, [R6] ;      /* 0x0000000006007984 */
                                                            /* 0x{control(4, 2, 7, 0):016x} */
        /*0020*/              @!P0 BRA `(.L_x_3) ;          /* 0x0000000006007984 */
                                                            /* 0x{control(5, 7, 1, 0b101):016x} */
        /*0030*/                   BRX R42 -0x40 (*"BRANCH_TARGETS .L_x_1,.L_x_2"*); /* 0x0000000006007984 */
                                                            /* 0x{control(15, 7, 7, 63):016x} */
"""

    def test_instructions_with_the_schedulers_part_of_their_control_words(self):
        self.assertEqual(
            list(listing.instructions(self.TEXT)),
            [
                "label .L_x_3", "i 0010 4 2 7 0 LDS.128 R28, [R6]", "i 0020 5 7 1 5 @!P0 BRA `(.L_x_3)",
                "i 0030 15 7 7 63 BRX R42 -0x40",
            ],
        )

    def test_attributes_with_and_without_bytes(self):
        data = bytes([4, 0x17, 4, 0, 1, 2, 3, 4, 3, 0x19, 7, 0, 4, 0x0A, 2, 0, 9, 9])
        self.assertEqual(list(listing.attributes(data)), [(0x17, b"\1\2\3\4"), (0x0A, b"\t\t")])


class SourceLines(unittest.TestCase):
    def test_a_place_is_the_innermost_line_and_who_called_it(self):
        text = """
        //## File "/a/law.hpp", line 16 inlined at "/a/product.cuh", line 40
        //## File "/a/product.cuh", line 40 inlined at "/a/kernel.cu", line 7
        //## File "/a/kernel.cu", line 7
        /*0000*/                   FFMA R1, R2, R3, R4 ;
        /*0010*/                   FFMA R1, R2, R3, R4 ;
        //## File "/a/kernel.cu", line 9
        /*0020*/                   EXIT ;
"""
        places = {0: "law.hpp:16 < product.cuh:40 < kernel.cu:7", 16: "law.hpp:16 < product.cuh:40 < kernel.cu:7"}
        self.assertEqual(toolchain.lines_of(text), {**places, 32: "kernel.cu:9"})


def report(kernel, cycles, instructions):
    return {
        "kernel": kernel, "cycles": cycles, "issued": cycles, "idle": 3 * cycles, "resident": 1,
        "stalls": ["issued", "fixed"], "instructions": instructions,
    }


class Differences(unittest.TestCase):
    """Between two and six updates of two members."""

    def setUp(self):
        few = prediction.Launches([report("once", 500, [[0, 1, [4, 4]]]), report("update", 100, [[0, 8, [16, 0]]])])
        many = prediction.Launches(
            [report("once", 500, [[0, 1, [4, 4]]]), *[report("update", 150, [[0, 40, [48, 32]], [16, 8, [8, 8]]])] * 6]
        )
        self.found = prediction.Prediction(few, many, members=2, updates=4)

    def test_what_is_launched_once_is_no_part_of_an_update(self):
        self.assertEqual(self.found.cycles, {"update": 100.0})
        self.assertEqual(self.found.issued, {"update": 25.0})

    def test_models_a_second_of_a_chip_that_is_full(self):
        self.assertAlmostEqual(self.found.models_per_second(), 132 * 1.98e9 / (100 * 5000))

    def test_lines_of_a_scheduler(self):
        lines = self.found.lines("update", {0: "a.cu:1 < b.cu:2", 16: "c.cu:3"}, depth=1)
        self.assertEqual(lines, [("a.cu:1", [7.25, 8.5, 6.0]), ("c.cu:3", [1.5, 1.5, 1.5])])

    def test_shares_of_the_warps_time(self):
        self.assertEqual(self.found.shares("update"), {"issued": 10 / 17.5, "fixed": 7.5 / 17.5})


class Targets(unittest.TestCase):
    def test_what_they_ask_for(self):
        by_net = {(case.hidden, case.precision): case for case in target.CASES if case.stepped_by == "SGD"}
        self.assertEqual(by_net[(100, 100), "fp32"].flop, 20_787_200)
        self.assertEqual(by_net[(100, 100), "fp32"].target, "350")
        self.assertEqual(by_net[(300, 300), "fp32"].target, "43.3 (50% of floor)")
        self.assertEqual(by_net[(2000,), "fp32"].target, "85% of cuBLAS's products")

    def test_products_of_an_update(self):
        found = [(p.layer, p.kind, p.m, p.n, p.k) for p in products.of_update((300, 200)) if not p.thin]
        expected = [
            (0, "forward", 256, 300, 50),
            (0, "weight_gradient", 300, 50, 256),
            (1, "forward", 256, 200, 300),
            (1, "input_gradient", 256, 300, 200),
            (1, "weight_gradient", 200, 300, 256),
        ]
        self.assertEqual(found, expected)
        thin = [p for p in products.of_update((300, 200)) if p.thin]
        self.assertEqual([p.kind for p in thin], ["forward", "input_gradient", "weight_gradient"])
        for product in thin:  # 256 x 200 floats at 4.05 TB/s of 132 multiprocessors
            self.assertAlmostEqual(product.thin_cycles, 256 * 200 * 4 * 132 * 1.98e9 / 4.05e12)

    def test_what_is_expected_of_a_plan(self):
        class Build:
            pass

        def of_network(*_what):
            return self.found

        before, prediction.of_network = prediction.of_network, of_network
        try:
            self.found = prediction.Prediction.__new__(prediction.Prediction)
            self.found.cycles = {"resident_kernel": 132 * 1.98e9 / 5000 / 350}
            self.assertEqual(target.cells(target.CASES[0], Build())[3:7], ["resident", "149,349", "350.0", "350.0"])
            self.found.cycles = {"forward": 500_000, "backward": 554_240}
            self.assertEqual(target.cells(target.CASES[4], Build())[3:7], ["tiled", "1,054,240", "49.6", "42.0"])
        finally:
            prediction.of_network = before


class Attacks(unittest.TestCase):
    def test_floors(self):
        pass_of_a_row = 2 * (50 * 200 + 200 * 2)
        self.assertEqual(attacks.flop((200,), "pgd"), 512 * 40 * pass_of_a_row)
        self.assertEqual(attacks.flop((200,), "svd"), 512 * 62 * pass_of_a_row)
        self.assertEqual(attacks.flop([100, 100], "as"), 512 * 121 * 2 * (5000 + 10_000 + 200))

    def test_what_of_them_is_reached(self):
        found = prediction.Prediction.__new__(prediction.Prediction)
        found.cycles = {"fused_pgd_kernel": 2 * attacks.flop((200,), "pgd") / 256}
        self.assertEqual(attacks.share_of_floor(found, (200,), "pgd"), 0.5)
        found.cycles = {"a": 512e3, "b": 512e3}  # 2,000 cycles a row
        self.assertAlmostEqual(attacks.networks_per_second(found), 132 * 1.98e9 / (2000 * 10_000))

    def test_an_attack_is_the_difference_of_two_calls(self):
        class Build:
            @staticmethod
            def program(name):
                return name

            @staticmethod
            def listing():
                return "listing"

        asked = []

        def launches(_command, stdin, _listing, _timer, _chip, multiprocessors):
            asked.append((json.loads(stdin.splitlines()[1])["part"], multiprocessors))
            cycles = 100 if asked[-1][0] == "open" else 700
            return prediction.Launches([report("once", 500, []), report("pgd", cycles, [[0, 1, [4, 4]]])])

        before, prediction.launches = prediction.launches, launches
        try:
            self.assertEqual(attacks.predicted(Build(), [200], "pgd", []).cycles, {"pgd": 600.0})
        finally:
            prediction.launches = before
        self.assertEqual(asked, [("open", 1), ("pgd", 1)])


class Refusals(unittest.TestCase):
    def refused(self, arguments, code, text):
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises((SystemExit, toolchain.MachineError)) as caught:
            program().main(arguments)
        error = caught.exception
        self.assertEqual(error.exit_code if isinstance(error, toolchain.MachineError) else error.code, code)
        self.assertIn(text, err.getvalue() + str(error))

    def test_usage(self):
        self.refused(["time"], 2, "one of the arguments --net --variant is required")
        self.refused(["time", "--attack", "pgd", "--variant", "1"], 2, "--attack: of a --net, in fp32")
        self.refused(["time", "--variant", "1", "--momentum", "0.9"], 2, "--momentum: of an update of a --net")
        adam = ["--optimizer", "adam", "--momentum", "0.9"]
        self.refused(["time", "--net", "9", *adam], 2, "--momentum: of --optimizer sgd")
        self.refused(["time", "--net", "100,x"], 2, "'100,x' is no list of widths such as 100,100")
        self.refused(["time", "--net", "9", "--momentum", "1"], 2, "--momentum: 1 is not within [0, 1)")
        self.refused(["time", "--net", "9", "shared=x"], 2, "'shared=x' is not NAME=VALUE with a number")
        self.refused(["--build-dir", "/no/such", "check"], 2, "--build-dir: /no/such: no such folder")

    def test_a_tool_that_is_missing(self):
        path, os.environ["PATH"] = os.environ["PATH"], ""
        try:
            with tempfile.TemporaryDirectory() as folder, self.assertRaises(toolchain.MachineError) as caught:
                toolchain.tool("no-such-tool-of-the-toolkit", [folder])
        finally:
            os.environ["PATH"] = path
        self.assertEqual(caught.exception.exit_code, 3)
        self.assertIn("comes with the CUDA toolkit; name its folder with --tools", str(caught.exception))

    def test_without_the_tools_nothing_is_built(self):
        with tempfile.TemporaryDirectory() as folder:
            with mock.patch.object(toolchain.sass, "find_tool", lambda name, folders: None):
                self.refused(["--build-dir", folder, "check"], 3, "nvdisasm is missing")
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main()
