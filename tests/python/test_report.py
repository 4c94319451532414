"""tools/report: the page it writes, and how it refuses malformed results."""

import contextlib
import html.parser
import importlib.machinery
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

import report_case  # first: it puts the tools on the path
import synthetic_result
from report_case import TOOLS
from report_lib import page
from report_lib.loading import load_result


def run_report(*arguments, hash_seed="0"):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, os.path.join(TOOLS, "report"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def load_tool():
    """tools/report as a module; it has no suffix to be imported by."""
    loader = importlib.machinery.SourceFileLoader("report", os.path.join(TOOLS, "report"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("report", loader))
    loader.exec_module(module)
    return module


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


class Page(html.parser.HTMLParser):
    """What a page refers to, which ids it has, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.ids, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for key, value in attributes:
            if key in ("src", "href", "xlink:href", "data", "srcset", "poster", "action"):
                self.references.append(value)
            if key == "id":
                self.ids.append(value)
            self.references += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_data(self, data):
        self.text.append(data)


class Pages(report_case.Small):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with tempfile.TemporaryDirectory(prefix="occam-report-") as folder:
            result = load_result(synthetic_result.write(folder, cls.document, cls.arrays, cls.timing))
            cls.text = read(*os.path.split(page.write_report(result, folder))).decode()
            cls.left_behind = sorted(os.listdir(folder))

    def test_page_is_self_contained(self):
        text, parsed = self.text, Page(self.text)
        self.assertFalse({"script", "link", "iframe", "object", "embed"} & set(parsed.tags))
        self.assertNotRegex(text, r"https?://|@import|<!DOCTYPE svg")
        self.assertEqual(len(parsed.ids), len(set(parsed.ids)))
        for reference in parsed.references:
            self.assertRegex(reference, r"^(#|data:image/png;base64,)")
            if reference.startswith("#"):
                self.assertIn(reference[1:], parsed.ids)
        self.assertEqual(parsed.tags.count("figure"), 20)
        self.assertEqual(parsed.tags.count("svg"), 20)
        # Every colour of a figure follows the reader's scheme.
        self.assertEqual(re.findall(r'style="[^"]*#[0-9a-fA-F]{6}[^"]*"', text), [])
        self.assertEqual(self.left_behind, ["arrays.npz", "report.html", "result.json", "timing.json"])

    def test_page_tells_verdicts_provenance_and_configuration(self):
        for part in (
            "extreme_slab",
            "✗ not reproduced",
            "… insufficient",
            "0.502",
            "4 of 5",
            "AMD EPYC 7763",
            "0123456789abcdef",
            "fmt 9.1.0",
            "weight_decay",
            "90% interval [0.4968, 0.5072]",
            "41.25 s",
            "5 seeds: 4 converged, 1 diverged",
        ):
            self.assertIn(part, self.text)

    def test_names_are_escaped(self):
        document, arrays = self.copy(), {}
        name = '<script>alert("x")</script> $\\frac{1}$ & {{ 7*7 }}'
        for key, value in self.arrays.items():
            arrays[key.replace("LMS-5/", "x&<b>/")] = value
        document["cases"][0]["name"] = "x&<b>"
        document["cases"][1]["name"] = name
        document["experiment"] = "<img src=x onerror=alert(1)>"
        document["cases"][0]["config"]["<i>"] = "</table>"
        document["cases"][0]["verdicts"]["<u>_auc"] = "<s>shown"
        document["cases"].append(
            {**document["cases"][1], "name": "$third"}
        )  # three: an overview with names in figures
        text = page.render(self.load(document, arrays))
        parsed = Page(text)
        self.assertFalse({"script", "img", "b", "s", "u"} & (set(parsed.tags) - {"b"}))
        self.assertNotRegex(text, r"<b>[^0-9]")
        self.assertIn(name, "".join(parsed.text))
        self.assertEqual(parsed.tags.count("figure"), 10 + 2 + 2 + 2)

    def test_results_without_arrays_and_with_hardly_anything(self):
        self.write()
        os.remove(os.path.join(self.folder, "arrays.npz"))
        os.remove(os.path.join(self.folder, "timing.json"))
        text = page.render(load_result(self.folder))
        self.assertIn("arrays.npz is not there", text)
        self.assertIn("Not drawn: data: needs sample/x", text)
        bare = {"schema": 1, "cases": [{"name": "a"}, {"name": "b", "metrics": {"x": [None, 0.5]}}]}
        text = page.render(load_result(synthetic_result.write(self.folder, bare)))
        self.assertIn("needs metrics.updates", text)
        self.assertIn("The run recorded none.", text)
        self.assertIn("0 cases", page.render(load_result(synthetic_result.write(self.folder, {"schema": 1}))))

    def test_same_input_gives_the_same_bytes(self):
        document = {**self.document, "cases": self.document["cases"][1:]}
        self.write(document)
        outputs = []
        for seed in ("1", "2"):
            folder = os.path.join(self.folder, "figures" + seed)
            done = run_report(self.folder, "--figures", folder, hash_seed=seed)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout.strip(), os.path.join(self.folder, "report.html"))
            outputs.append({name: read(folder, name) for name in os.listdir(folder)})
            outputs[-1]["page"] = read(self.folder, "report.html")
        self.assertEqual(sorted(outputs[0]), sorted(outputs[1]))
        self.assertEqual([name for name in outputs[0] if outputs[0][name] != outputs[1][name]], [])
        self.assertEqual(len(outputs[0]), 1 + 2 * 10)
        for name in os.listdir(folder):
            self.assertRegex(name, r"^\d\d-[A-Za-z0-9._=+-]+\.(png|svg)$")


class Errors(report_case.Small):
    def refused(self, code, *words, arguments=None):
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                returned = load_tool().main(arguments if arguments is not None else [self.folder])
            except SystemExit as leave:
                returned = leave.code
        self.assertEqual(returned, code, stderr.getvalue())
        self.assertEqual(stderr.getvalue().count("\n"), 1, stderr.getvalue())
        for word in words:
            self.assertIn(word, stderr.getvalue())
        self.assertEqual(stdout.getvalue(), "")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "report.html")))

    def test_usage(self):
        self.refused(2, "RESULT_DIR", arguments=[])
        self.refused(2, "--colour", arguments=[self.folder, "--colour"])
        self.refused(2, "--format", arguments=[self.folder, "--format", "gif"])

    def test_nothing_there(self):
        self.refused(3, "no such folder", arguments=[os.path.join(self.folder, "absent")])
        self.refused(3, "result.json: not found")

    def test_malformed_documents(self):
        def broken(change):
            document = self.copy()
            change(document)
            return document

        first = lambda document: document["cases"][0]  # noqa: E731
        for words, document in (
            (("schema is 2",), broken(lambda d: d.update(schema=2))),
            (("cases should be a list",), broken(lambda d: d.update(cases={}))),
            (("cases[1]", "expected an object"), broken(lambda d: d["cases"].insert(1, 7))),
            (
                ("standard_auc has 1 values for 5 seeds",),
                broken(lambda d: first(d)["metrics"].update(standard_auc=[1])),
            ),
            (("status has 2 values",), broken(lambda d: first(d).update(status=["converged"] * 2))),
            (("neither a number nor null",), broken(lambda d: first(d)["metrics"].update(updates=["x"] * 5))),
            (
                ("should be a list with one value per seed",),
                broken(lambda d: first(d)["metrics"].update(updates=3)),
            ),
            (("two cases are called 'LMS-5'",), broken(lambda d: d["cases"].append(first(d)))),
            (("verdicts should be an object",), broken(lambda d: first(d).update(verdicts=[]))),
        ):
            self.write(document)
            self.refused(3, "result.json", *words)

    def test_malformed_files(self):
        path, npy = self.write(), io.BytesIO()
        np.save(npy, np.zeros(3))
        for name, content, word in (
            ("result.json", b"{", "not valid JSON"),
            ("result.json", b"[]", "expected a JSON object"),
            ("timing.json", b"\xff\xfe", "not valid JSON"),
            ("arrays.npz", b"PK\x03\x04junk", "npz"),
            ("arrays.npz", b"", "npz"),
            ("arrays.npz", npy.getvalue(), "single array"),
        ):
            self.write()
            with open(os.path.join(path, name), "wb") as file:
                file.write(content)
            self.refused(3, name, word)

    def test_malformed_arrays(self):
        for key, value, word in (
            ("scores/labels", np.zeros(3, np.uint8), "1 dimensions, expected 2"),
            ("sample/x", np.zeros((4, 9)), "has size"),
            ("history/updates", np.zeros((5, 11)), "type float64"),
            ("boundary/coordinates", np.array([0, 1, 2]), "size 3"),
            ("scores/standard", np.array([["x"]]), "type <U1"),
            ("rotation", np.array([{}], dtype=object), "npz"),
        ):
            self.write(arrays={**self.arrays, f"LMS-5/{key}": value})
            self.refused(3, "arrays.npz", word)


if __name__ == "__main__":
    unittest.main()
