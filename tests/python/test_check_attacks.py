"""tools/check_attacks: its command line, and that the line that docs/results.md gives to load weights into PyTorch is
the one it checks."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def statement(path):
    """The call of load_state_dict in a file, without line breaks and indentation."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.findall(r'model\.load_state_dict\(\{.*?\}\)\n', text, re.DOTALL)
    return [re.sub(r"\s+", " ", call).strip() for call in found]


class DocumentedLine(unittest.TestCase):
    def test_documentation_and_tool_load_weights_alike(self):
        documented = statement("docs/results.md")
        self.assertEqual(len(documented), 1)
        self.assertEqual(statement("tools/check_attacks"), documented)


class CommandLine(unittest.TestCase):
    """On a Python where importing foolbox fails."""

    def run_tool(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            module = pathlib.Path(folder) / "foolbox.py"
            module.write_text("raise ModuleNotFoundError(\"No module named 'foolbox'\", name='foolbox')\n")
            return subprocess.run(
                [sys.executable, str(ROOT / "tools" / "check_attacks"), *arguments],
                capture_output=True,
                text=True,
                timeout=120,
                env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
                check=False,
            )

    def test_help_needs_no_package(self):
        done = self.run_tool("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--seeds", done.stdout)

    def test_what_is_missing_is_said_with_how_to_get_it(self):
        done = self.run_tool()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"^check_attacks: \S+: No module named 'foolbox'; pip install foolbox torch\n$")

    def test_bad_usage(self):
        for arguments, words in ((["--fast"], "--fast"), (["--seeds", "0"], "--seeds 0"), (["--seeds", "x"], "'x'")):
            done = self.run_tool(*arguments)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main()
