"""tools/reproduce: which experiments it runs with which flags, with nothing installed and nothing built."""

import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
NAMES = ("extreme_slab", "theorem_lsn", "train_slab")


class Reproduce(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="occam-reproduce-")
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        os.makedirs(self.path("tools/lib"))
        os.makedirs(self.path("experiments"))
        shutil.copy(os.path.join(ROOT, "tools", "reproduce"), self.path("tools"))
        shutil.copy(os.path.join(ROOT, "tools", "lib", "common.sh"), self.path("tools/lib"))
        self.script("tools/lib/packages.txt", "")
        for name in NAMES:
            self.script(f"experiments/{name}.cpp", "")
            self.script(f"build/experiments/{name}", f'echo "{name} $*" >>{self.path("log")}')
        self.script("bin/cmake", f'echo "cmake $*" >>{self.path("log")}')

    def path(self, name):
        return os.path.join(self.root, name)

    def script(self, name, line):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{line}\n" if line else "")
        os.chmod(self.path(name), 0o700)

    def run_tool(self, *arguments):
        """(what was run, without builds and what only prints; the finished process)"""
        if os.path.exists(self.path("log")):
            os.remove(self.path("log"))
        done = subprocess.run(
            [self.path("tools/reproduce"), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PATH": f"{self.path('bin')}:{os.environ['PATH']}"},
            check=False,
        )
        if not os.path.exists(self.path("log")):
            return None, done
        with open(self.path("log"), encoding="utf-8") as log:
            lines = log.read().splitlines()
        printed = ("--describe-device", "--print-config")
        return [
            line for line in lines if not line.startswith("cmake") and not any(word in line for word in printed)
        ], done

    def test_flags_stand_before_or_after_the_names(self):
        out = f"--out {self.root}/results"
        for arguments, ran in (
            (["extreme_slab", "--quick"], [f"extreme_slab {out} --quick"]),
            (["--quick", "extreme_slab"], [f"extreme_slab {out} --quick"]),
            (["--seeds", "2", "extreme_slab", "--lr", "1", "2"], [f"extreme_slab {out} --seeds 2 --lr 1 2"]),
            (["--quick"], [f"{name} {out} --quick" for name in NAMES[:2]]),
            (["--out", "theorem_lsn", "extreme_slab"], ["extreme_slab --out theorem_lsn"]),
            (["--quick", "train_slab", "theorem_lsn"], [f"{name} {out} --quick" for name in NAMES[:0:-1]]),
        ):
            with self.subTest(arguments):
                found, done = self.run_tool(*arguments)
                self.assertEqual((done.returncode, found), (0, ran), done.stderr)

    def test_builds_no_more_than_it_runs(self):
        for arguments, targets in (([], NAMES[:2]), (["--quick", "train_slab", "theorem_lsn"], NAMES[:0:-1])):
            with self.subTest(arguments):
                self.run_tool(*arguments)
                with open(self.path("log"), encoding="utf-8") as log:
                    built = [line for line in log.read().splitlines() if "--build" in line]
                self.assertEqual(built, [f"cmake --build {self.root}/build --target {' '.join(targets)}"])

    def test_a_flag_that_one_of_them_does_not_take_runs_none(self):
        refuse = 'case "$*" in *--dim*) echo "theorem_lsn: --dim is not known" >&2; exit 2 ;; esac'
        self.script("build/experiments/theorem_lsn", f'{refuse}\necho "theorem_lsn $*" >>{self.path("log")}')
        found, done = self.run_tool("--dim", "5")
        self.assertEqual((done.returncode, found), (2, []))
        self.assertEqual(
            done.stderr,
            "theorem_lsn: --dim is not known\nreproduce: theorem_lsn does not take these flags; nothing was run\n",
        )
        found, done = self.run_tool("--seeds", "2")
        self.assertEqual((done.returncode, len(found)), (0, 2))

    def test_flags_without_their_value_are_asked_about_first(self):
        self.run_tool("extreme_slab", "--out")
        with open(self.path("log"), encoding="utf-8") as log:
            first = next(line for line in log.read().splitlines() if line.startswith("extreme_slab") and "--out" in line)
        self.assertEqual(first, "extreme_slab --print-config --out")

    def test_names_that_no_experiment_has_are_refused_before_anything_is_built(self):
        for arguments in (["extrem_slab"], ["--quick", "extrem_slab"], ["extreme_slab", "--full", "extrem_slab"]):
            with self.subTest(arguments):
                found, done = self.run_tool(*arguments)
                self.assertEqual((done.returncode, found, done.stdout), (2, None, ""))
                self.assertEqual(
                    done.stderr,
                    f"reproduce: no experiment is called 'extrem_slab'; there are: {' '.join(NAMES)}\n",
                )


if __name__ == "__main__":
    unittest.main()
