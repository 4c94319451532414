"""tools/bench's rivals that train one network: which are found under which interpreters, and what those that this
Python has answer."""

import os
import stat
import sys
import tempfile
import unittest

from bench_case import WORKER, built
from bench_lib import frameworks
from bench_lib.contestant import Contestant
from bench_lib.cpu import BATCH


class Rivals(unittest.TestCase):
    def python(self, body):
        """An interpreter that answers every import with `body`, a line of shell."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "python")
        with open(path, "w", encoding="utf-8") as script:
            script.write(f"#!/bin/sh\n{body}\n")
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_missing_frameworks_are_listed(self):
        bare = self.python("""case "$2" in *torch*) m=torch;; *) m=jax;; esac
            echo "ModuleNotFoundError: No module named '$m'" >&2; exit 1""")
        rivals = frameworks.find_rivals([bare], "cpu")
        self.assertEqual([rival.style for rival in rivals], list(frameworks.STYLES))
        self.assertEqual({(rival.status, rival.python) for rival in rivals}, {("not installed", "")})

    def test_a_broken_framework_says_why(self):
        broken = self.python("echo 'ImportError: libfoo.so: cannot open' >&2; exit 1")
        self.assertTrue(
            all("libfoo.so: cannot open" in rival.status for rival in frameworks.find_rivals([broken], "cpu"))
        )

    def test_every_version_runs_what_it_can(self):
        old, new = self.python("echo 1.13.0a0"), self.python("echo 2.15.0+cpu")
        rivals = {
            (rival.style.argument, rival.version): rival
            for rival in frameworks.find_rivals([old, new], "cpu")
            if rival.style.module == "torch"
        }
        self.assertEqual(
            set(rivals),
            {
                ("tuned", "1.13.0a0"),
                ("tuned", "2.15.0+cpu"),
                ("compiled", "2.15.0+cpu"),
                ("loader", "1.13.0a0"),
                ("loader", "2.15.0+cpu"),
            },
        )
        self.assertEqual(rivals["compiled", "2.15.0+cpu"].python, new)
        compiled = [
            rival for rival in frameworks.find_rivals([old], "cpu") if rival.style.argument == "compiled"
        ]
        self.assertEqual([rival.status for rival in compiled], ["needs 2.0, installed: 1.13.0a0"])

    def test_versions(self):
        self.assertEqual(frameworks.release("2.15.0+cu132"), (2, 15))
        self.assertEqual(frameworks.release("1.13.0a0"), (1, 13))
        self.assertLess(frameworks.release("1.13.0"), frameworks.release("2.0.1"))


@built
class RealRivals(unittest.TestCase):
    """Rivals that this Python has, on a thousand rows."""

    def open(self, module, argument):
        version, why_not = frameworks.installed_version(sys.executable, module)
        if not version:
            self.skipTest(f"{module}: {why_not}")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "data.npz")
        with Contestant("Occam", [WORKER]) as occam:
            occam.ask("export", set="lms5", train=1000, test=500, path=path)
        style = next(s for s in frameworks.STYLES if (s.module, s.argument) == (module, argument))
        rival = Contestant(
            style.name, frameworks.Rival(style, "installed", sys.executable, version).command()
        )
        self.addCleanup(rival.close)
        rival.ask("open", path=path, hidden=[100, 100], batch=BATCH)
        return rival

    def check_torch(self, argument):
        rival = self.open("torch", argument)
        self.assertEqual(rival.ask("run", epochs=3)["updates"], 12)
        # Never converged: checks after updates 0, 50, 100 and a final one.
        limited = rival.ask("fit", check_every=50, patience=1, epsilon=0.0, max_updates=103)
        self.assertEqual((limited["updates"], limited["checks"], limited["status"]), (103, 4, "limit"))
        # LMS-5 is learnt; patience 30 from the check that saw it.
        learnt = rival.ask("fit", check_every=200, patience=30, epsilon=0.05, max_updates=5000)
        self.assertEqual((learnt["status"], (learnt["updates"] - 30) % 200), ("converged", 0))
        self.assertGreater(learnt["train_accuracy"], 0.95)
        self.assertGreater(learnt["test_accuracy"], 0.8)

    def test_torch_with_slices(self):
        self.check_torch("tuned")

    def test_torch_with_loaders(self):
        self.check_torch("loader")

    def test_jax(self):
        self.assertEqual(self.open("jax", "").ask("run", epochs=3)["updates"], 12)


if __name__ == "__main__":
    unittest.main()
