"""tools/lib/summarize_tests.py: what tools/test prints of a CTest report."""

import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

REPORT = """<testsuite>
<testcase name="Good.One" status="run"><system-out>fine</system-out></testcase>
<testcase name="Bad.One" status="fail"><failure message=""/></testcase>
<testcase name="Away.One" status="notrun"><skipped message="SKIP"/></testcase>
<testcase name="python.test_rivals" status="run"><system-out>test_here (test_rivals.Real.test_here) ... ok
test_torch (test_rivals.Real.test_torch) ... skipped 'torch: not installed'
test_jax (test_rivals.Real.test_jax)
Says what it does. ... skipped 'jax: not installed'
</system-out></testcase>
</testsuite>"""


class Summary(unittest.TestCase):
    def test_names_what_failed_and_all_that_was_skipped(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tests.xml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(REPORT)
            script = os.path.join(ROOT, "tools", "lib", "summarize_tests.py")
            text = subprocess.run([sys.executable, script, path], capture_output=True, text=True, check=True).stdout
        self.assertEqual(
            text.splitlines(),
            [
                "",
                "2 passed, 1 failed, 3 skipped",
                "  failed: Bad.One",
                "  skipped: Away.One",
                "  skipped: python.test_rivals.test_torch ('torch: not installed')",
                "  skipped: python.test_rivals.test_jax ('jax: not installed')",
            ],
        )


if __name__ == "__main__":
    unittest.main()
