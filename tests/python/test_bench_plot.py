"""tools/bench --from and --plot: a saved report's table and figure, and what is refused."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

from bench_case import ROOT
from bench_lib import plot


def row(members, rate, **fields):
    return {
        "net": [100, 100],
        "precision": "fp32",
        "members": members,
        "status": "measured",
        "models_per_second": rate,
        "models_per_second_with_checks": 0.5 * rate,
        **fields,
    }


REPORT = {
    "tool": "bench",
    "device": "cpu",
    "result": {
        "ensembles": [row(16, 8.0), row(1, 1.0), row(132, 0.0, status="failed: no memory")],
        "ensemble_rivals": [
            row(1, 0.25, name="PyTorch", version="2"),
            row(16, 2.0, name="PyTorch", version="2"),
            row(1, 0.5, name="JAX", version=""),
        ],
    },
}


def run_bench(*arguments):
    command = [sys.executable, os.path.join(ROOT, "tools", "bench"), *arguments]
    return subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)


class Figure(unittest.TestCase):
    def test_series_are_by_contestant_and_ascend(self):
        panels = plot.series(REPORT["result"])
        self.assertEqual(list(panels), [("100x100", "fp32")])
        panel = panels["100x100", "fp32"]
        self.assertEqual(panel["Occam"], [(1, 1.0, 0.5), (16, 8.0, 4.0)])  # what failed is not drawn
        self.assertEqual(panel["PyTorch 2"], [(1, 0.25, 0.125), (16, 2.0, 1.0)])
        self.assertEqual(list(panel), ["Occam", "PyTorch 2", "JAX"])

    def test_the_same_report_gives_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("a.svg", "b.svg")]
            for path in paths:
                plot.save(REPORT, path)
            texts = []
            for path in paths:
                with open(path, encoding="utf-8") as file:
                    texts.append(file.read())
        self.assertEqual(*texts)
        # Three contestants: a line with markers, and one with checks; the legend repeats them.
        self.assertIn("<svg", texts[0])
        self.assertGreaterEqual(len(re.findall(r"<use ", texts[0])), 5)

    def test_nothing_measured_is_said(self):
        for result in ({}, {"ensembles": [row(1, 0.0, status="failed")], "ensemble_rivals": []}):
            with self.assertRaisesRegex(LookupError, "no ensembles"):
                plot.save({"device": "cpu", "result": result}, os.devnull)


class SavedReports(unittest.TestCase):
    def test_the_published_reports_can_be_shown(self):
        folder = os.path.join(ROOT, "docs", "results")
        names = [name for name in os.listdir(folder) if name.startswith("bench-") and name.endswith(".json")]
        self.assertTrue(names)
        for name in names:
            with self.subTest(name), tempfile.TemporaryDirectory() as out:
                figure = os.path.join(out, "a.svg")
                done = run_bench("--from", os.path.join(folder, name), "--plot", figure)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("Ensembles of rivals", done.stdout)
                self.assertTrue(os.path.getsize(figure))
                self.assertTrue(os.path.exists(os.path.join(folder, name.replace(".json", ".svg"))))

    def test_runs_kept_in_one_file_can_be_shown(self):
        folder = os.path.join(ROOT, "docs", "results")
        (name,) = [
            name for name in os.listdir(folder) if name.startswith("ensembles-") and name.endswith(".json")
        ]
        path = os.path.join(folder, name)
        done = run_bench("--from", path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        for run in report["runs"]:
            self.assertIn(f"{run['what']} (commit {run['commit']})", done.stdout)
        self.assertEqual(done.stdout.count("Ensembles: updates"), len(report["runs"]))
        self.assertIn(f"Hardware: {report['device']}", done.stdout)
        done = run_bench("--from", path, "--plot", os.devnull)
        self.assertEqual(done.returncode, 1)
        self.assertIn("several runs", done.stderr)

    def test_parts_of_a_report_are_refused(self):
        bare = {"tool": "bench", "machine": {}, "protocol": {}, "result": {}}
        with tempfile.NamedTemporaryFile("w") as file:
            for report, words in (
                ({"tool": "bench"}, "it has no 'machine'"),
                ({**bare, "device": "cuda"}, "it has no 'ceilings'"),
                ({**bare, "device": "cpu"}, "it has no 'sgemm'"),
                ({"tool": "bench", "runs": [{"what": "x"}]}, "it has no 'commit'"),
                ({"tool": "bench", "runs": 3}, "not iterable"),
                ({"tool": "bench", "machine": 1, "protocol": 2, "device": "cpu", "result": []}, "indices"),
            ):
                file.seek(0)
                file.truncate()
                json.dump(report, file)
                file.flush()
                done = run_bench("--from", file.name)
                self.assertEqual((done.returncode, done.stdout), (2, ""), report)
                self.assertRegex(done.stderr, r"^bench: --from \S+: not a whole report of tools/bench \(.*\)\n$")
                self.assertIn(words, done.stderr)

    def test_a_report_that_was_cut_short_shows_what_it_has(self):
        row_of = {"updates_per_second": 1.0, "gflops": 1.0, "share_of_floor": None}
        report = {
            **REPORT,
            "device": "cuda",
            "machine": {"cpu": "a CPU", "cores_allowed": 1, "gpus": []},
            "protocol": {"train_rows": 1, "rounds": 1, "stretch_seconds": 1, "clock": "wall", "core": 0},
            "date": "today",
            "warnings": [],
            "result": {
                "occam": {"device": "a GPU", "instruction_set": "", "compiler": "", "openblas_config": ""},
                "ceilings": {},
                "sgemm_gflops": 1.0,
                "ensembles": [row(1, 1.0, **row_of)],
                "ensemble_rivals": [],
            },
        }
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump(report, file)
            file.flush()
            done = run_bench("--from", file.name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Ensembles: updates", done.stdout)

    def test_other_files_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("a", "{"), ("b", "[]"), ("c", json.dumps({"tool": "lab"})), ("d", "{}")):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            for name in "abcd":
                done = run_bench("--from", os.path.join(folder, name))
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, r"^bench: --from \S+: not a report of tools/bench \(.*\)\n$")
            self.assertEqual(run_bench("--from", os.path.join(folder, "missing")).returncode, 2)


if __name__ == "__main__":
    unittest.main()
