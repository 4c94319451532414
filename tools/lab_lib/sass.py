"""What the machine code of a kernel says: registers, stack, shared memory, and the instructions of its inner
loops."""

import dataclasses
import os
import re
import shutil
import subprocess
from collections import Counter

from gpu_lib import ptxas

from . import banks

ARCHITECTURE = re.compile(r"^arch = (sm_\w+)|^\s*code for (sm_\w+)")
FUNCTION = re.compile(r"Function\s*:?\s*(\w+)")
USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)")
INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,6})\*/\s+(.*?)\s*;")
BRANCH = re.compile(r"\bBRA\b[^`]*?(0x[0-9a-f]+)")
OPERATION = re.compile(r"^(?:@!?U?P\w+\s+)?([A-Z][\w.]*)")
# Loads and stores; LD and ST are generic: the compiler did not see that the address is of shared memory.
WITH_WIDTH = ("LDS", "LDG", "LD", "LDL", "STS", "STG", "ST", "STL")
# What a product is made of, and how many make a loop worth a line.
LEAST_HOT = {"FFMA": 8, "HMMA": 2, "HGMMA": 1}

TOOLKITS = ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT")


@dataclasses.dataclass
class Loop:
    """An innermost loop. operations counts opcodes without their modifiers, but for the widths of loads; waits: cycles
    that its FFMA wait for registers (banks.py)."""

    instructions: int
    operations: Counter
    waits: int = 0

    @property
    def hot(self):
        return max(LEAST_HOT, key=lambda name: self.operations[name])

    @property
    def cycles(self):
        """Of a scheduler, for a warp that waits for nothing else."""
        return self.instructions + self.waits

    @property
    def share(self):
        return self.operations[self.hot] / self.cycles


@dataclasses.dataclass
class Kernel:
    mangled: str
    architecture: str
    registers: int = 0
    stack: int = 0  # bytes
    shared: int = 0  # bytes, static
    spills: int = 0  # instructions that store or load local memory
    instructions: int = 0
    loops: list = dataclasses.field(default_factory=list)

    @property
    def name(self):
        return ptxas.kernel_of(self.mangled)

    @property
    def instance(self):
        return instance_of(self.mangled)


def instance_of(mangled):
    """Template arguments: numbers as "128" or, of a Tile, "16x8x8x8", behind a precision; "" where there are none."""
    precision = ptxas.precision_of(mangled)
    return "x".join([precision] * bool(precision) + re.findall(r"L[a-zN][\w]*?(?<![0-9])(\d+)E", mangled))


def find_tool(name, folders=()):
    """The path of a tool of the CUDA toolkit: in the folders named, on PATH, in the toolkit; else None."""
    toolkits = [os.path.join(os.environ[v], "bin") for v in TOOLKITS if os.environ.get(v)]
    for folder in folders:
        if found := shutil.which(name, path=folder):
            return found
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join([*toolkits, "/usr/local/cuda/bin"]))


def operation_of(text):
    """FFMA of "@P0 FFMA.FTZ R1, …"; LDS.128, LDG.E.64 with their widths."""
    found = OPERATION.match(text)
    if not found:
        return text.split()[0]
    parts = found.group(1).split(".")
    width = [part for part in parts[1:] if part in ("64", "128")]
    return ".".join([parts[0], *width]) if parts[0] in WITH_WIDTH else parts[0]


def loops_of(instructions):
    """The innermost loops with at least LEAST_HOT of a hot instruction. instructions: [(address, text)]."""
    at = {address: i for i, (address, _) in enumerate(instructions)}
    operations = [operation_of(text) for _, text in instructions]
    spans = []
    for i, (address, text) in enumerate(instructions):
        target = BRANCH.search(text)
        if target and int(target.group(1), 16) < address and int(target.group(1), 16) in at:
            first = at[int(target.group(1), 16)]
            counts = Counter(operations[first : i + 1])
            if any(counts[name] >= least for name, least in LEAST_HOT.items()):
                spans.append((first, i))
    inner = [(a, b) for a, b in spans if not any((c, d) != (a, b) and a <= c and d <= b for c, d in spans)]
    texts = [text for _, text in instructions]
    return [Loop(b - a + 1, Counter(operations[a : b + 1]), banks.waits(texts[a : b + 1])) for a, b in inner]


def parse_sass(text):
    """{(architecture, mangled name): Kernel without resources} of cuobjdump -sass."""
    found, architecture, current, instructions = {}, "", None, []

    def close():
        if current is not None:
            current.instructions = len(instructions)
            current.spills = sum(operation_of(t).split(".")[0] in ("LDL", "STL") for _, t in instructions)
            current.loops = loops_of(instructions)

    for line in text.splitlines():
        if match := INSTRUCTION.match(line):
            instructions.append((int(match.group(1), 16), match.group(2)))
        elif match := ARCHITECTURE.match(line):
            architecture = match.group(1) or match.group(2)
        elif "Function :" in line:
            close()
            mangled, instructions = FUNCTION.search(line).group(1), []
            current = found[architecture, mangled] = Kernel(mangled, architecture)
    close()
    return found


def add_resources(kernels, text):
    """Enters what cuobjdump --dump-resource-usage says."""
    architecture, mangled = "", ""
    for line in text.splitlines():
        if match := ARCHITECTURE.match(line):
            architecture = match.group(1) or match.group(2)
        elif match := USAGE.search(line):
            kernel = kernels.get((architecture, mangled))
            if kernel:
                kernel.registers, kernel.stack, kernel.shared = map(int, match.groups())
        elif match := re.search(r"Function (\w+):", line):
            mangled = match.group(1)


def read_object(cuobjdump, path, architecture):
    """The kernels of an object file, of one architecture ("": all)."""
    selected = ["-arch", architecture] if architecture else []

    def output(option):
        done = subprocess.run(
            [cuobjdump, option, *selected, path], capture_output=True, text=True, timeout=300, check=False
        )
        return done.stdout if done.returncode == 0 else ""

    kernels = parse_sass(output("-sass"))
    add_resources(kernels, output("--dump-resource-usage"))
    return list(kernels.values())
