"""What `ptxas -v` says of each kernel: registers, static shared memory, stack and spills."""

import dataclasses
import re

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(sm_\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
NAME = re.compile(r"(\d+)([A-Za-z_]\w*)")
TILE = re.compile(r"4TileILi(\d+)ELi(\d+)ELi(\d+)ELi(\d+)E(?:EELb([01])E)?")
SLICE = re.compile(r"_kernelILi(\d+)EE")
CHIP = re.compile(r"_kernelI(?:Li(\d+)E)?Lb([01])EE")
ONE_HIDDEN = re.compile(r"one_hidden_\w+_kernelILi(\d+)ELb([01])EE")
SAMPLE_PASS = re.compile(r"sample_pass_kernelINS0_8PassTileILi(\d+)ELi(\d+)EEELb([01])EE")
TENSOR_TILE = re.compile(r"10TensorTileINS0_4(Tf32|Bf16)ELi(\d+)ELi(\d+)EE")
PRECISION = re.compile(r"_kernelINS0_4(Tf32|Bf16)E(?:Li(\d+)E)?(?:Lb([01])E)?E")

OPTIMIZER = {"0": "plain SGD", "1": "any optimiser"}


@dataclasses.dataclass(frozen=True)
class Compiled:
    kernel: str
    tile: str  # "128x64", "64 rows" of a slice, "16 rows a warp", "TF32", "TF32, 200 units", "128x128, TF32", … or ""
    architecture: str
    registers: int
    stack: int  # bytes
    spills: int  # bytes, stores and loads


def kernel_of(mangled):
    """The function's own name: the last identifier of the nested name, as the Itanium ABI writes it."""
    rest = mangled.removeprefix("_ZN").removeprefix("_Z")
    name = ""
    while match := NAME.match(rest):
        length = int(match.group(1))
        start = len(match.group(1))
        name = rest[start : start + length]
        rest = rest[start + length :]
    return name


def precision_of(mangled):
    """TF32 or BF16 of a kernel's instance for tensor cores; "" of another."""
    match = PRECISION.search(mangled)
    return match.group(1).upper() if match else ""


def tile_of(mangled):
    if match := PRECISION.search(mangled):
        precision, tiles, state = match.groups()
        units, optimizer = f"{8 * int(tiles)} units" if tiles else "", OPTIMIZER.get(state, "")
        return ", ".join(filter(None, [precision.upper(), units, optimizer]))
    if match := TENSOR_TILE.search(mangled):
        precision, warps_m, warps_n = match.groups()
        return f"{64 * int(warps_m)}x{32 * int(warps_n)}, {precision.upper()}"
    if match := SLICE.search(mangled):
        return f"{match.group(1)} rows" + (" a warp" if "fused_" in mangled else "")
    if "one_hidden_chip" in mangled or "whole_batch" in mangled:
        columns, state = CHIP.search(mangled).groups()
        return (f"128x{16 * int(columns)}, " if columns else "") + OPTIMIZER[state]
    if match := ONE_HIDDEN.search(mangled):
        outputs, relu = match.groups()
        return f"outputs: {outputs}, " + ("ReLU" if relu == "1" else "any activation")
    if match := SAMPLE_PASS.search(mangled):
        quads, singles, relu = match.groups()
        return f"128x{16 * (4 * int(quads) + int(singles))}, " + ("ReLU" if relu == "1" else "any activation")
    match = TILE.search(mangled)
    if not match:
        return ""
    threads_m, threads_n, per_m, per_n = map(int, match.groups()[:4])
    inference = ", inference" if match.group(5) == "1" else ""
    return f"{threads_m * per_m}x{threads_n * per_n}{inference}"


def parse(text):
    """The kernels of a compiler's output, without those of vendors' headers."""
    found, current, stack = [], None, (0, 0, 0)
    for line in text.splitlines():
        if match := ENTRY.search(line):
            current, stack = match.groups(), (0, 0, 0)
        elif match := STACK.search(line):
            stack = tuple(map(int, match.groups()))
        elif current and (match := USED.search(line)):
            mangled, architecture = current
            if "5occam4cuda" in mangled:
                found.append(
                    Compiled(
                        kernel_of(mangled),
                        tile_of(mangled),
                        architecture,
                        int(match.group(1)),
                        stack[0],
                        stack[1] + stack[2],
                    )
                )
            current = None
    return sorted(found, key=lambda c: (c.kernel, c.tile, c.architecture))


def table(compiled):
    """One row per kernel and tile, one column of registers and spills per architecture."""
    architectures = sorted({c.architecture for c in compiled})
    by_row = {}
    for c in compiled:
        by_row.setdefault((c.kernel, c.tile), {})[c.architecture] = c
    lines = ["| kernel | tile | " + " | ".join(f"{a}: registers, spilled bytes" for a in architectures) + " |"]
    lines.append("|---|---|" + "---|" * len(architectures))
    for (kernel, tile), by_architecture in sorted(by_row.items()):
        cells = []
        for architecture in architectures:
            c = by_architecture.get(architecture)
            cells.append(f"{c.registers}, {c.spills}" if c else "")
        lines.append(f"| `{kernel}` | {tile} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
