"""summarize_tests.py REPORT: counts passed, failed and skipped tests of a CTest report; names the last two."""
import sys
import xml.etree.ElementTree

cases = xml.etree.ElementTree.parse(sys.argv[1]).getroot().findall("testcase")
named = {"failed": [], "skipped": []}
for case in cases:
    if case.find("failure") is not None or case.get("status") == "fail":
        named["failed"].append(case.get("name"))
    elif case.find("skipped") is not None or case.get("status") != "run":
        named["skipped"].append(case.get("name"))
passed = len(cases) - sum(map(len, named.values()))
print(f"\n{passed} passed, {len(named['failed'])} failed, {len(named['skipped'])} skipped")
for outcome, names in named.items():
    for name in names:
        print(f"  {outcome}: {name}")
