"""summarize_tests.py REPORT: counts passed, failed and skipped tests of a CTest report; names the last two, and the
checks of a Python file that were skipped while the file passed."""
import re
import sys
import xml.etree.ElementTree

# unittest -v: "name (module.Class.name)", perhaps the first line of its description, "... skipped 'why'".
SKIPPED = re.compile(r"^(\w+) \([\w.]+\)(?:\n[^\n]*)? \.\.\. skipped (.*)$", re.M)

cases = xml.etree.ElementTree.parse(sys.argv[1]).getroot().findall("testcase")
named = {"failed": [], "skipped": []}
for case in cases:
    if case.find("failure") is not None or case.get("status") == "fail":
        named["failed"].append(case.get("name"))
    elif case.find("skipped") is not None or case.get("status") != "run":
        named["skipped"].append(case.get("name"))
passed = len(cases) - sum(map(len, named.values()))
for case in cases:
    if case.get("name").startswith("python."):
        found = SKIPPED.findall(case.findtext("system-out", ""))
        named["skipped"] += [f"{case.get('name')}.{check} ({why})" for check, why in found]
print(f"\n{passed} passed, {len(named['failed'])} failed, {len(named['skipped'])} skipped")
for outcome, names in named.items():
    for name in names:
        print(f"  {outcome}: {name}")
