"""The ledger of docs/gpu.md: what each piece of device code has been proven on. It is written from the results of
tools/gpu_check alone, so a claim stands only while the code it was made of stands."""

import json
import pathlib

SIMT_ONLY = "SIMT only, never on hardware"
COMPILED_ONLY = "compiled only, never on hardware"
# The contract proves a kernel; the others back it up. Steps that measure say nothing of a kernel's correctness.
CONTRACT = "contract tests"
PROOFS = (CONTRACT, "memcheck", "racecheck", "extreme_slab")


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
    return sorted(results, key=lambda r: r.get("began", r["date"]))


def verdict(kernel, result):
    """What one result says of a kernel; None: nothing."""
    if kernel.name not in result["kernels"]:
        return None
    where = f"{result['device']['name']}, {result['date']}, {result['commit'][:8]}"
    if result.get("dirty"):
        where += " and changes"
    status = {step["name"]: step["status"] for step in result["steps"]}
    passed, failed = ([name for name in PROOFS if status.get(name) == said] for said in ("passed", "failed"))
    same = result["kernels"][kernel.name] == kernel.digest
    if failed and same:
        return f"**FAILED** on {where}: {', '.join(failed)}"
    if CONTRACT not in passed:
        return None
    return f"{where}: {', '.join(passed)}" if same else f"changed since {where}"


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
        links = ", ".join(f"[{file}](../{file})" for file in kernel.files)
        lines.append(f"| `{kernel.name}` | {links} | {said} |")
    return "\n".join(lines)


def replace_section(document, name, content):
    """The document with what stands between <!-- begin NAME --> and <!-- end NAME --> replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if document.count(begin) != 1 or document.count(end) != 1 or document.index(begin) > document.index(end):
        raise LedgerError(f"docs/gpu.md: expected one '{begin}' and, after it, one '{end}'")
    head, rest = document.split(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.split(end)[1]}"
