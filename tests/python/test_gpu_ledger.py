"""tools/gpu_check's ledger: kernels found in sources, what ptxas says, and what results prove of which kernel."""

import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from gpu_lib import kernels, ledger, ptxas  # noqa: E402

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

FIRST = '#include "shared.cuh"\n#include <vector>\n// a kernel\n'
FIRST += "template <class T>\n__global__ void __launch_bounds__(T::kThreads, T::kBlocks) one_kernel(int a) {}\n"
SECOND = "__global__ void two_kernel(float* x) {}\n__global__ void __launch_bounds__(kWarps* (1 + 2)) three_kernel(int) {}\n"


def make_root(folder):
    root = pathlib.Path(folder)
    for name in ("kernels", "src/law", "src/cuda", "include/occam", "docs/results"):
        (root / name).mkdir(parents=True)
    (root / "kernels/first.cu").write_text(FIRST)
    (root / "kernels/second.cu").write_text(SECOND)
    (root / "kernels/shared.cuh").write_text('#include "law/sum.hpp"\n#include "shared.cuh"\n')
    (root / "src/law/sum.hpp").write_text('  #  include "occam/philox.hpp"\n')
    (root / "include/occam/philox.hpp").write_text("// draws\n")
    (root / "src/cuda/plan.cpp").write_text("// plan\n")
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
        found = [(k.name, *k.files, k.on_simt) for k in kernels.find_kernels(self.root)]
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
        # What first.cu includes, by way of another file.
        for changed in ("src/law/sum.hpp", "include/occam/philox.hpp", "kernels/shared.cuh"):
            before = digests()
            (self.root / changed).write_text((self.root / changed).read_text() + "// another\n")
            self.assertNotEqual(before["one_kernel"], digests()["one_kernel"], changed)
            self.assertEqual(before["two_kernel"], digests()["two_kernel"], changed)
        # What says where operands lie, every kernel trusts.
        before = digests()
        (self.root / "src/cuda/plan.cpp").write_text("// another plan\n")
        self.assertNotEqual(before["two_kernel"], digests()["two_kernel"])
        # A row of several files follows them all.
        (row,) = (name for name, files in kernels.VENDOR.items() if len(files) > 1)
        for file in kernels.VENDOR[row]:
            (self.root / file).write_text("// as it is\n")
        for file in kernels.VENDOR[row]:
            before = digests()
            (self.root / file).write_text("// changed\n")
            self.assertNotEqual(before[row], digests()[row], file)

    def test_what_kernels_include_is_found(self):
        found = kernels.with_included([ROOT / "kernels/batch.cu"], ROOT)
        names = {str(path.relative_to(ROOT)) for path in found}
        wanted = ("kernels/batch.hpp", "src/law/batch.hpp", "include/occam/philox.hpp", "include/occam/permutation.hpp")
        self.assertLessEqual(set(wanted), names)

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
            (
                "_ZN5occam4cuda24one_hidden_tensor_kernelINS0_4Tf32ELi25ELb1EEEvNS0_15TensorArgumentsE",
                "TF32, 200 units, any optimiser",
            ),
            ("_ZN5occam4cuda25whole_batch_tensor_kernelINS0_4Bf16ELb0EEEvNS0_15TensorArgumentsE", "BF16, plain SGD"),
            (
                "_ZN5occam4cuda14forward_kernelINS0_10TensorTileINS0_4Tf32ELi2ELi4EEEEEvNS0_16ForwardArgumentsE",
                "128x128, TF32",
            ),
            ("_ZN5occam4cuda16fused_pgd_kernelILi16EEEvNS0_17FusedPgdArgumentsE", "16 rows a warp"),
            ("_ZN5occam4cuda15resident_kernelILi128EEEvNS0_17ResidentArgumentsE", "128 rows"),
            ("_ZN5occam4cuda22one_hidden_chip_kernelILi13ELb0EEEvNS0_17ResidentArgumentsE", "128x208, plain SGD"),
            ("_ZN5occam4cuda18whole_batch_kernelILb1EEEvNS0_17ResidentArgumentsE", "any optimiser"),
            ("_ZN5occam4cuda26one_hidden_backward_kernelILi1ELb0EEEvNS0_18O", "outputs: 1, any activation"),
            ("_ZN5occam4cuda25one_hidden_forward_kernelILi2ELb1EEEvNS0_18O", "outputs: 2, ReLU"),
            ("_ZN5occam4cuda18sample_pass_kernelINS0_8PassTileILi5ELi0EEELb1EEEvNS0_19S", "128x320, ReLU"),
            ("_ZN5occam4cuda18sample_pass_kernelINS0_8PassTileILi3ELi1EEELb0EEEvNS0_19S", "128x208, any activation"),
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

    def test_a_failed_proof_is_a_failure_of_every_kernel(self):
        said = self.said([result_of(self.found, statuses=("passed", "failed"))])
        self.assertEqual(said["two_kernel"], "**FAILED** on NVIDIA X, 2026-01-02, 01234567: memcheck")

    def test_only_the_contract_proves(self):
        for contract in ("unavailable", "not run"):
            said = self.said([result_of(self.found, statuses=(contract, "passed"))])
            self.assertEqual(said["one_kernel"], "SIMT only, never on hardware", contract)
        result = result_of(self.found)
        result["steps"] = [{"name": name, "status": "passed"} for name in ("ceilings", "benchmark")]
        self.assertEqual(self.said([result])["one_kernel"], "SIMT only, never on hardware")

    def test_measurements_neither_prove_nor_refute(self):
        for said_of_them in ("passed", "failed"):
            result = result_of(self.found)
            for name in ("profile", "benchmark", "variants", "ceilings", "precisions"):
                result["steps"].append({"name": name, "status": said_of_them})
            self.assertEqual(
                self.said([result])["one_kernel"], "NVIDIA X, 2026-01-02, 01234567: contract tests, memcheck"
            )

    def test_a_dirty_tree_is_said_and_an_unknown_one_is_not(self):
        for dirty, words in ((True, " and changes"), (None, ""), (False, "")):
            said = self.said([{**result_of(self.found), "dirty": dirty}])["one_kernel"]
            self.assertEqual(said, f"NVIDIA X, 2026-01-02, 01234567{words}: contract tests, memcheck")

    def test_of_one_day_the_later_result_counts(self):
        for name, began, statuses in (
            ("a", "2026-01-02T18:00:00+00:00", ("failed", "passed")),
            ("b", "2026-01-02T09:00:00+00:00", ("passed", "passed")),
        ):
            result = {**result_of(self.found, statuses=statuses), "began": began}
            (self.root / "docs/results" / f"{name}.json").write_text(json.dumps(result))
        self.assertIn("FAILED", self.said(ledger.load_results(self.root / "docs/results"))["one_kernel"])

    def test_code_that_changed_is_no_longer_proven(self):
        result = result_of(self.found)
        (self.root / "kernels/first.cu").write_text(FIRST + "\n")
        self.found = kernels.find_kernels(self.root)
        said = self.said([result])
        self.assertEqual(said["one_kernel"], "changed since NVIDIA X, 2026-01-02, 01234567")
        self.assertIn("contract tests", said["two_kernel"])
        never_proven = result_of(self.found, statuses=("failed", "passed"))
        never_proven["kernels"]["one_kernel"] = "another"
        self.assertEqual(self.said([never_proven])["one_kernel"], "SIMT only, never on hardware")

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


if __name__ == "__main__":
    unittest.main()
