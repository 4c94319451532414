"""tools/mutate_kernels: which comparisons it finds, and that its copy of kernels/ differs in nothing else."""

import importlib.machinery
import importlib.util
import os
import pathlib
import re
import tempfile
import unittest

ROOT = pathlib.Path(os.path.realpath(__file__)).parent.parent.parent
loader = importlib.machinery.SourceFileLoader("mutate_kernels", str(ROOT / "tools" / "mutate_kernels"))
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutate_kernels", loader))
loader.exec_module(tool)

SOURCE = """
// a < b
#if A > 1
template <class T, bool big = (sizeof(T) > 4)>
__global__ void kernel(float* out, int n) {
  static_assert(N <= 4, "a < b");
  static constexpr int kAll = N < 3 ? N : 3;
  if constexpr (N > 2) n = 1;
  for (int i = threadIdx.x; i < n; i += 32)
    if (row[i] >= first && out[i >> 1] != 0) out[i] = i + 1 <= (n - 1) / 2 ? f<2>(i) : "x > y"[0];
  if (member.threshold > 0) return;
}
// ---- launchers -----
void launch_it(int n) { if (n < 3) fail(); }
// ---- kernels -----
__global__ void late(int n) { require(n < 3); while (n > 5) --n; }
"""


class Sites(unittest.TestCase):
    def test_only_run_time_comparisons_of_device_code_are_found(self):
        found = [tool.comparison(SOURCE, at, operator) for at, operator in tool.bounds_in(SOURCE)]
        self.assertEqual(found, ["i < n", "row[i] >= first", "i + 1 <= (n - 1) / 2", "n > 5"])

    def test_barriers_are_found(self):
        sites = list(tool.barrier_sites())
        self.assertGreater(len(sites), 5)
        for site, call in sites:
            name, line = site.split(":")
            self.assertIn(call, (ROOT / "kernels" / name).read_text().splitlines()[int(line) - 1])

    def test_the_copy_differs_in_its_bounds_alone(self):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            sites = tool.write_copy(folder)
            self.assertGreater(len(sites), 50)
            written = 0
            for path in (ROOT / "kernels").iterdir():
                if path.suffix not in (".cu", ".cuh"):
                    continue
                text = (folder / path.name).read_text()
                written += text.count("occam::simt::bound<")
                plain = re.sub(r"(<=?|>=?) occam::simt::bound<\d+> (?=\1)", "", text)
                self.assertEqual(plain, path.read_text(), path.name)
            self.assertEqual(written, len(sites))
            self.assertIn("simt/bound.hpp", (folder / "launch.hpp").read_text())


STAND_IN = """#!/bin/sh
case "$1" in
  --gtest_list_tests) printf 'Running main()\\nS.\\n  slow/x  # GetParam() = x\\n  quick/x\\n'; exit 0 ;;
esac
echo "$1 $OCCAM_SIMT_BOUND" >> "$LOG"
case "$1" in *slow*) sleep 0.2 ;; esac
[ -z "$OCCAM_SIMT_BOUNDS_SEEN" ] || case "$1" in *slow*) echo "1 2" ;; *) echo 2 ;; esac > "$OCCAM_SIMT_BOUNDS_SEEN"
[ "$OCCAM_SIMT_BOUND" != "2+1" ] || exit 1
"""


class Cases(unittest.TestCase):
    def test_a_mutant_runs_under_the_cases_that_reach_it_the_quickest_first(self):
        with tempfile.TemporaryDirectory() as scratch:
            binary, log = pathlib.Path(scratch) / "tests", pathlib.Path(scratch) / "log"
            binary.write_text(STAND_IN)
            binary.chmod(0o700)
            os.environ["LOG"] = str(log)
            self.addCleanup(os.environ.pop, "LOG")
            suite = tool.Suite(binary, "*")
            cases = [(name, seen) for name, _, seen in suite.cases]
            self.assertEqual(cases, [("S.quick/x", {2}), ("S.slow/x", {1, 2})])
            for bound, shift, complaint, ran in (
                (2, "+1", "crash", ["quick"]),
                (2, "-1", None, ["quick", "slow"]),
                (1, "+1", None, ["slow"]),
                (None, "-1", None, ["quick", "slow"]),
            ):
                log.write_text("")
                self.assertEqual(suite.complaint({"OCCAM_SIMT_BOUND": f"{bound}{shift}"}, bound), complaint)
                self.assertEqual(re.findall(r"S\.(\w+)/x", log.read_text()), ran)


class Complaints(unittest.TestCase):
    def test_the_reason_is_the_first_violation(self):
        output = ("x\nkernel k <<<(1, 1, 1), (64, 1, 1), 0 B>>>, block (0, 0, 0): race on byte 0 "
                  "[OCCAM_SIMT_SEED=1, launch 2]\n[  FAILED  ] a")
        self.assertEqual(tool.first_complaint(output), "race on byte 0")
        self.assertEqual(tool.first_complaint("[  FAILED  ] a"), "other bits")
        self.assertEqual(tool.first_complaint(""), "crash")


if __name__ == "__main__":
    unittest.main()
