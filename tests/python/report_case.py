"""What the tests of the report share: the tools on the path, and small results in folders of their own."""

import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools")
sys.path[:0] = [TOOLS, HERE]

import synthetic_result  # noqa: E402
from report_lib import style  # noqa: E402
from report_lib.loading import load_result  # noqa: E402


class Small(unittest.TestCase):
    """A small result in a folder of its own."""

    @classmethod
    def setUpClass(cls):
        style.apply_settings()
        cls.document, cls.arrays, cls.timing = synthetic_result.make_result(seeds=5, dim=6, rows=300)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="occam-report-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, document=None, arrays=None):
        return synthetic_result.write(
            self.folder, document or self.document, self.arrays if arrays is None else arrays, self.timing
        )

    def load(self, document=None, arrays=None):
        return load_result(self.write(document, arrays))

    def copy(self):
        return json.loads(json.dumps(self.document))
