"""tools/gpu_check: the program on invented binaries, how it runs commands, what a check is made of, and packs."""

import importlib.machinery
import importlib.util
import io
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from gpu_lib import pack, runner  # noqa: E402
from gpu_lib.kernels import digest_of, find_kernels  # noqa: E402
from gpu_lib.provenance import provenance  # noqa: E402

# Three made-up binaries. The test executable passes one case, and bench_worker answers for the ceilings.
SCRIPTS = {
    "tools/bench_worker": """echo '{"ffma_gflops": 3}'""",
    "tests/occam_contract_tests": """
for a; do case $a in --gtest_output=json:*) out=${a#*json:};; esac; done
echo '{"testsuites": [{"testsuite": [{"name": "a", "result": "COMPLETED"}]}]}' > "$out"
echo all is well""",
    "tools/lab_runner": """echo started; sleep 30""",
}
MADE_OF = {"commit": "0123456789abcdef", "dirty": False, "kernels": {"one_kernel": "d1"}}


def load_program():
    loader = importlib.machinery.SourceFileLoader("gpu_check", str(ROOT / "tools/gpu_check"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
    loader.exec_module(module)
    return module


def write_script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Runs(Folder):
    def test_a_command_that_hangs_ends_with_what_it_started(self):
        code, output = runner.run(["sh", "-c", "sleep 60 & echo $!; wait"], 0.5)
        self.assertEqual(code, runner.OUT_OF_TIME)
        child = int(output)
        for _ in range(100):  # whoever adopted it has to notice
            if not os.path.exists(f"/proc/{child}") or " Z " in pathlib.Path(f"/proc/{child}/stat").read_text():
                break
            time.sleep(0.05)
        else:
            self.fail("the command's child still runs")

    def test_a_missing_program_is_an_exit_code(self):
        code, output = runner.run(["/no/program", "--flag"], 1)
        self.assertEqual((code, output), (runner.CANNOT_START, "/no/program: No such file or directory\n"))

    def test_the_log_has_all_commands_and_the_output_of_one(self):
        log = self.folder / "log"
        for word in ("one", "two"):
            self.assertEqual(runner.run(["sh", "-c", f"echo {word}; echo error >&2"], 9, log), (0, f"{word}\nerror\n"))
        text = log.read_text()
        self.assertEqual(text, "".join(f"$ sh -c echo {w}; echo error >&2\n{w}\nerror\n" for w in ("one", "two")))

    def test_the_budget_ends_a_command(self):
        execute = runner.Runner(budget=0.2)
        begin = time.monotonic()
        self.assertEqual(execute(["sleep", "60"], 600)[0], runner.OUT_OF_TIME)
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(execute.left(), 0)
        self.assertEqual(runner.Runner().left(), math.inf)


class Provenance(Folder):
    def test_outside_a_checkout_nobody_knows(self):
        self.assertEqual(provenance(self.folder), {"commit": "unknown", "dirty": None, "kernels": {}})

    def test_without_git_nobody_knows(self):
        with mock.patch.dict(os.environ, PATH="/nowhere"):
            made_of = provenance(ROOT)
        self.assertEqual((made_of["commit"], made_of["dirty"]), ("unknown", None))
        self.assertEqual(made_of["kernels"], {kernel.name: kernel.digest for kernel in find_kernels(ROOT)})

    @unittest.skipUnless(shutil.which("git"), "git is not installed")
    def test_a_checkout(self):
        def git(*arguments):
            who = ["-c", "user.name=a", "-c", "user.email=a@b"]
            command = ["git", "-C", self.folder, *who, *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True)

        git("init", "-q")
        (self.folder / "code").write_text("1")
        git("add", "code")
        git("commit", "-q", "-m", "code")
        head = git("rev-parse", "HEAD").stdout.strip()
        for changed, dirty in (("docs/results/r.json", False), ("code", True)):
            path = self.folder / changed
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("2")
            made_of = provenance(self.folder)
            self.assertEqual((made_of["commit"], made_of["dirty"]), (head, dirty), changed)
        inside = self.folder / "unpacked"
        inside.mkdir()
        self.assertEqual(provenance(inside)["commit"], "unknown")


class Packs(Folder):
    def write(self):
        build = self.folder / "build"
        (build / "tools").mkdir(parents=True, exist_ok=True)
        shutil.copy2(shutil.which("git") or "/bin/sh", build / "tools/worker")  # some executable with libraries
        return pack.write(build, self.folder / "a-pack", ["tools/worker"], MADE_OF)

    def test_the_archive_holds_binaries_libraries_and_what_they_were_made_of(self):
        archive = self.write()
        with tarfile.open(archive) as file:
            file.extractall(self.folder / "elsewhere")
        unpacked = self.folder / "elsewhere/a-pack"
        self.assertEqual(pack.read_manifest(unpacked), MADE_OF)
        self.assertTrue(os.access(unpacked / "tools/worker", os.X_OK))
        libraries = sorted(path.name for path in (unpacked / "lib").glob("*")) if (unpacked / "lib").exists() else []
        self.assertEqual(libraries, sorted(os.path.basename(p) for p in pack.libraries_of(unpacked / "tools/worker")))
        self.assertGreater(pack.size_of(unpacked), archive.stat().st_size)

    def test_libraries_of_the_system_stay_behind(self):
        for name, stays in (("libc.so.6", True), ("libcuda.so.1", True), ("libopenblas.so.0", False)):
            self.assertEqual(bool(pack.OF_THE_SYSTEM.search(name)), stays, name)

    def test_a_new_pack_replaces_an_old_one_and_nothing_else(self):
        self.write()
        (self.folder / "a-pack/lib").mkdir(exist_ok=True)
        (self.folder / "a-pack/lib/libold.so").write_text("")
        self.write()
        self.assertFalse((self.folder / "a-pack/lib/libold.so").exists())
        (self.folder / "a-pack" / pack.MANIFEST).unlink()
        with self.assertRaisesRegex(pack.PackError, "is no pack"):
            self.write()

    def test_a_pack_that_cannot_be_vouched_for_is_refused(self):
        self.write()
        folder = self.folder / "a-pack"
        worker = (folder / "tools/worker").read_bytes()
        (folder / "tools/worker").write_bytes(worker + b"\0")
        with self.assertRaisesRegex(pack.PackError, "tools/worker is not the one that was packed"):
            pack.read_manifest(folder)
        for text in ("{", "[]", '{"commit": "c"}'):
            (folder / pack.MANIFEST).write_text(text)
            with self.assertRaisesRegex(pack.PackError, "has no manifest"):
                pack.read_manifest(folder)
        with self.assertRaisesRegex(pack.PackError, "has no manifest"):
            pack.read_manifest(self.folder)


class PackCommand(Folder):
    """tools/gpu_check --pack, with a cmake that builds nothing."""

    def pack(self, cmake):
        build, module = self.folder / "build", load_program()
        write_script(self.folder / "bin/cmake", f'echo "$@" >> {self.folder / "asked"}; {cmake}')
        for name in module.BINARIES:
            (build / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(os.path.realpath("/bin/sh"), build / name)
        return subprocess.run(
            [sys.executable, ROOT / "tools/gpu_check", "--build-dir", build, "--pack", self.folder / "a-pack"],
            env={**os.environ, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_what_is_checked_is_built_and_packed(self):
        done = self.pack("true")
        self.assertEqual(done.returncode, 0, done.stderr)
        (asked,) = (self.folder / "asked").read_text().splitlines()  # no preset: the folder is configured
        self.assertTrue(asked.startswith(f"--build {self.folder / 'build'} --target "), asked)
        for name in load_program().BINARIES:
            self.assertIn(name.rsplit("/", 1)[1], asked.split(" --target ")[1].split())
            self.assertTrue((self.folder / "a-pack" / name).exists())
        made_of = pack.read_manifest(self.folder / "a-pack")
        self.assertEqual(made_of["kernels"], {kernel.name: kernel.digest for kernel in find_kernels(ROOT)})
        sizes = r"a-pack: \d+\.\d MiB\n.*a-pack.tar.gz: \d+\.\d MiB; unpack with tar -xzf a-pack.tar.gz"
        self.assertRegex(done.stdout, sizes)

    def test_nothing_is_packed_of_a_build_that_failed(self):
        done = self.pack("exit 1")
        self.assertEqual((done.returncode, done.stderr), (1, "gpu_check: the build failed\n"))
        self.assertFalse((self.folder / "a-pack").exists())


class DryRun(unittest.TestCase):
    def run_check(self, *arguments, path="/nowhere"):
        return subprocess.run(
            [sys.executable, ROOT / "tools/gpu_check", *arguments],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_a_dry_run_names_the_steps_in_their_order(self):
        done = self.run_check("--dry-run", "--prebuilt", "/no/build")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found = [line.split(". ")[1].split(",")[0] for line in done.stdout.splitlines() if line[0].isdigit()]
        self.assertEqual(found, list(load_program().STEPS))
        self.assertEqual(found[:2], ["ceilings", "contract tests"])
        self.assertIn("tools/lab_runner: missing", done.stdout)
        self.assertIn("(ncu is not on PATH: unavailable)", done.stdout)

    def test_steps_can_be_chosen(self):
        done = self.run_check("--dry-run", "--steps", "profile,ceilings")
        self.assertIn("1. profile", done.stdout)
        self.assertIn("2. ceilings", done.stdout)
        done = self.run_check("--steps", "coffee")
        self.assertEqual(done.returncode, 2)
        self.assertIn("'coffee' is not one of ceilings", done.stderr)

    def test_without_a_gpu_it_says_so_in_one_line(self):
        done = self.run_check()
        self.assertEqual((done.returncode, done.stdout), (4, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1)


class Checks(Folder):
    """The whole program, on a GPU that a script invents and binaries that are scripts."""

    def setUp(self):
        super().setUp()
        self.pack, self.out = self.folder / "pack", self.folder / "out"
        write_script(self.folder / "bin/nvidia-smi", "echo 'NVIDIA X, 1.0, 9.0, 1000'")
        self.write_pack(SCRIPTS)

    def write_pack(self, scripts, **made_of):
        for name, body in scripts.items():
            write_script(self.pack / name, body)
        binaries = {name: digest_of([self.pack / name]) for name in scripts}
        manifest = {"schema": 1, **MADE_OF, **made_of, "binaries": binaries}
        (self.pack / pack.MANIFEST).write_text(json.dumps(manifest))

    def start(self, chosen, *arguments):
        command = [sys.executable, ROOT / "tools/gpu_check", "--prebuilt", self.pack, "--out", self.out]
        process = subprocess.Popen(
            [*command, "--steps", chosen, *arguments],
            env={**os.environ, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        return process

    def check(self, chosen, *arguments):
        process = self.start(chosen, *arguments)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def result(self):
        (path,) = self.out.glob("*.json")
        self.assertRegex(path.name, r"^\d{4}-\d\d-\d\d-NVIDIA-X-01234567\.json$")
        return json.loads(path.read_text())

    def statuses(self):
        return {step["name"]: step["status"] for step in self.result()["steps"]}

    def test_the_result_says_what_the_pack_was_made_of(self):
        code, output, errors = self.check("ceilings,contract tests")
        self.assertEqual(code, 0, errors)
        result = self.result()
        self.assertEqual({key: result[key] for key in MADE_OF}, MADE_OF)
        self.assertEqual(self.statuses(), {"ceilings": "passed", "contract tests": "passed"})
        for name in ("ceilings", "contract tests"):
            self.assertRegex(errors, rf"(?m)^gpu_check: {name}: passed, \d+\.\d s$")
            self.assertRegex(output, rf"(?m)^{name}: passed, \d+\.\d s$")
        (log,) = self.out.glob("*.log")
        self.assertIn("all is well", log.read_text())

    def test_a_killed_check_loses_the_running_step_alone(self):
        for kill in (signal.SIGKILL, signal.SIGTERM):
            shutil.rmtree(self.out, ignore_errors=True)
            process = self.start("contract tests,variants,profile")
            for _ in range(600):
                if any("started" in log.read_text() for log in self.out.glob("*.log")):
                    break
                time.sleep(0.05)
            process.send_signal(kill)
            process.communicate(timeout=30)
            self.assertNotEqual(process.returncode, 0)
            self.assertEqual(
                self.statuses(), {"contract tests": "passed", "variants": "not run", "profile": "not run"}, kill
            )

    def test_usage(self):
        module = load_program()
        for arguments, said in (
            (["--budget", "-5"], "--budget: -5 s hold no step"),
            (["--ptxas", __file__], "--ptxas: with --ledger alone"),
            (["--ledger", "--ptxas", "/no/such"], "--ptxas: /no/such: no such file"),
        ):
            with mock.patch("sys.stderr", io.StringIO()) as err, self.assertRaises(SystemExit) as caught:
                module.parse_arguments(arguments)
            self.assertEqual(caught.exception.code, 2)
            self.assertIn(said, err.getvalue())

    def test_a_budget_starts_what_it_can_hold(self):
        module = load_program()
        budget = module.STEPS["contract tests"] - 1
        self.assertLess(module.STEPS["ceilings"], budget)
        code, output, _ = self.check("contract tests,ceilings", "--budget", str(budget))
        self.assertEqual(code, 1)  # not everything passed
        self.assertEqual(self.statuses(), {"ceilings": "passed", "contract tests": "not run"})
        self.assertRegex(output, r"contract tests: not run \(takes \d+ s, \d+ s of the budget are left\)")

    def test_a_step_leaves_the_budget_of_those_to_come(self):
        module = load_program()
        least = dict(ceilings=0, variants=1000, precisions=60)
        with mock.patch.dict(module.STEPS, least), mock.patch("sys.stderr"):
            self.assertEqual(module.kept_for(["variants", "precisions", "ceilings"], 99), 60)
            options = module.parse_arguments(["--steps", "ceilings,precisions"])
            heading, given = {"schema": 1, "device": {}, **MADE_OF}, []

            def takes_all(name, _folder, _report, execute, _quick):
                given.append((name, round(execute.left())))
                return {"name": name, "status": "passed"}

            with mock.patch.object(module, "run_step", takes_all):
                module.check(self.pack, self.folder / "result.json", heading, options, runner.Runner(budget=100))
        self.assertEqual(given, [("ceilings", 40), ("precisions", 100)])

    def test_a_step_that_the_budget_cuts_off_has_not_run(self):
        module = load_program()
        with mock.patch.dict(module.STEPS, variants=0), mock.patch("sys.stderr"):
            options = module.parse_arguments(["--steps", "variants"])
            path = self.folder / "result.json"
            heading = {"schema": 1, "device": {}, **MADE_OF}
            (step,) = module.check(self.pack, path, heading, options, runner.Runner(budget=0.5))
        self.assertEqual(step["status"], "not run")
        self.assertRegex(step["why"], r"the budget ended after its first \d+\.\d s")

    def test_after_a_failed_contract_nothing_runs(self):
        self.write_pack({**SCRIPTS, "tests/occam_contract_tests": "echo broken; exit 1"})
        code, output, _ = self.check("contract tests,variants")
        self.assertEqual(code, 1)
        self.assertEqual(self.statuses(), {"contract tests": "failed", "variants": "not run"})
        self.assertIn("broken", output)

    def test_a_step_that_breaks_leaves_the_others_standing(self):
        # Without an interpreter the script cannot start: an OSError, not an exit code of its own.
        (self.pack / "tests/occam_contract_tests").write_text("#!/no/shell\n")
        (self.pack / "experiments").mkdir()
        write_script(self.pack / "experiments/extreme_slab", "exit 0")  # writes no result.json
        self.write_pack({"tools/bench_worker": SCRIPTS["tools/bench_worker"]})
        code, _, errors = self.check("extreme_slab,ceilings,contract tests")
        self.assertEqual(code, 1, errors)
        self.assertEqual(self.statuses(), {"ceilings": "passed", "contract tests": "failed", "extreme_slab": "failed"})

    def test_steps_of_the_same_code_are_kept(self):
        self.check("contract tests")
        self.assertEqual(self.check("ceilings")[0], 0)
        self.assertEqual(self.statuses(), {"ceilings": "passed", "contract tests": "passed"})
        self.check("contract tests", "--budget", "1")  # too little to run it again
        self.assertEqual(self.statuses()["contract tests"], "passed")
        self.write_pack(SCRIPTS, kernels={"one_kernel": "d2"})
        self.check("ceilings")
        self.assertEqual(self.statuses(), {"ceilings": "passed"})

    def test_a_pack_without_a_manifest_is_refused(self):
        (self.pack / pack.MANIFEST).unlink()
        code, output, errors = self.check("ceilings")
        self.assertEqual((code, output), (2, ""))
        self.assertIn("has no manifest", errors)
        self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
