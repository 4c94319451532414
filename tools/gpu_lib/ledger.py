"""The ledger of docs/gpu.md: what each piece of device code has been proven on. It is written from the results of
tools/gpu_check alone, so a claim stands only while the code it was made of stands."""

import json
import pathlib

SIMT_ONLY = "SIMT only, never on hardware"
COMPILED_ONLY = "compiled only, never on hardware"


class LedgerError(Exception):
    pass


def load_results(folder):
    """The results in a folder, oldest first. Those of other tools, which name themselves, are passed by."""
    results = []
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        try:
            result = json.loads(path.read_text())
        except ValueError as error:
            raise LedgerError(f"{path}: {error}; remove it or run tools/gpu_check again") from error
        if "tool" in result:  # the benchmark's, which say so
            continue
        if result.get("schema") != 1 or "kernels" not in result or "steps" not in result:
            raise LedgerError(f"{path}: not a result of tools/gpu_check (schema 1)")
        results.append(result)
    return sorted(results, key=lambda r: r["date"])


def verdict(kernel, result):
    """What one result says of a kernel; None: nothing."""
    if kernel.name not in result["kernels"]:
        return None
    where = f"{result['device']['name']}, {result['date']}, {result['commit'][:8]}"
    if result.get("dirty"):
        where += " and changes"
    if result["kernels"][kernel.name] != kernel.digest:
        return f"changed since {where}"
    failed = [s["name"] for s in result["steps"] if s["status"] == "failed"]
    passed = [s["name"] for s in result["steps"] if s["status"] == "passed"]
    if failed:
        return f"**FAILED** on {where}: {', '.join(failed)}"
    if not passed:
        return None
    return f"{where}: {', '.join(passed)}"


def rows(kernels, results):
    """(kernel, newest verdict of every device, or that there is none)."""
    for kernel in kernels:
        newest = {}
        for result in results:
            if said := verdict(kernel, result):
                newest[result["device"]["name"]] = said
        unproven = SIMT_ONLY if kernel.on_simt else COMPILED_ONLY
        yield kernel, "; ".join(newest[name] for name in sorted(newest)) or unproven


def table(kernels, results):
    lines = ["| device code | file | proven on hardware |", "|---|---|---|"]
    for kernel, said in rows(kernels, results):
        lines.append(f"| `{kernel.name}` | [{kernel.file}](../{kernel.file}) | {said} |")
    return "\n".join(lines)


def replace_section(document, name, content):
    """The document with what stands between <!-- begin NAME --> and <!-- end NAME --> replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if document.count(begin) != 1 or document.count(end) != 1 or document.index(begin) > document.index(end):
        raise LedgerError(f"docs/gpu.md: expected one '{begin}' and, after it, one '{end}'")
    head, rest = document.split(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.split(end)[1]}"
