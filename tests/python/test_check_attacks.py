"""The line that docs/results.md gives to load weights into PyTorch is the one tools/check_attacks checks."""
import pathlib
import re
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


if __name__ == "__main__":
    unittest.main()
