"""What the compiler made of the kernels: from a build's objects, from ptxas alone, or from a report saved before."""

import glob
import json
import os
import subprocess
import sys
from collections import Counter

from bench_lib.table import columns
from gpu_lib import ptxas

from . import sass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class LabError(Exception):
    pass


def build_folder(options):
    for folder in [options.build_dir] if options.build_dir else [f"{ROOT}/build/cuda", f"{ROOT}/build"]:
        if os.path.isdir(folder):
            return folder
    raise LabError("no build; build with -DOCCAM_CUDA=ON, or name one with --build-dir")


def objects_of(options):
    if options.objects:
        found = options.objects
    else:
        pattern = os.path.join(build_folder(options), "**", "{}.dir", "**", "*.cu.o")
        found = [
            path for target in ("occam", "lab_runner") for path in glob.glob(pattern.format(target), recursive=True)
        ]
    if not found:
        raise LabError(f"{build_folder(options)} has no objects of kernels; build with -DOCCAM_CUDA=ON")
    return sorted(found)


def from_ptxas(options):
    """Registers and spills alone, by compiling every kernel once more."""
    nvcc = sass.find_tool("nvcc", options.tools)
    if not nvcc:
        raise LabError("neither cuobjdump nor nvcc is on PATH, in the toolkit or in --tools")
    architecture = options.arch or "sm_90a"
    flags = ["-std=c++20", "-fmad=false", "-DFMT_USE_CONSTEXPR=1", "--expt-relaxed-constexpr", "-DOCCAM_HAS_CUDA=1"]
    flags += [f"-arch={architecture}", "-Xptxas=-v", "-cubin", "-o", os.devnull]
    flags += [f"-I{ROOT}/{folder}" for folder in ("include", "src", "kernels")]
    what = ", which --objects or --build-dir names," if options.objects or options.build_dir else ""
    print(
        f"lab: without cuobjdump (on PATH, in the toolkit or in --tools) machine code{what} cannot be read; compiling "
        f"kernels/*.cu for {architecture} instead, for registers and spills alone",
        file=sys.stderr,
    )
    kernels = []
    for path in sorted(glob.glob(os.path.join(ROOT, "kernels", "*.cu"))):
        with open(path, encoding="utf-8") as source:
            if options.kernel not in source.read():
                continue
        done = subprocess.run([nvcc, *flags, path], capture_output=True, text=True, timeout=1200, check=False)
        if done.returncode:
            raise LabError(f"{path}: {(done.stderr.strip().splitlines() or ['nvcc failed'])[-1]}")
        kernels += [k for k in ptxas.parse(done.stderr + done.stdout) if options.kernel in k.kernel]
    if not kernels:
        raise LabError(f"no kernel of Occam's called {options.kernel} in kernels/*.cu")
    return kernels


def order(kernel):
    numbers = [int(n) for n in kernel.instance.split("x") if n.isdigit()]
    return kernel.name, kernel.architecture, numbers, kernel.instance


def for_arch(options):
    return f" for {options.arch}" if options.arch else ""


def look_at(options):
    """The kernels, as sass.Kernel, or as ptxas.Compiled where nothing can disassemble them."""
    if options.saved:
        kernels = read_report(options.saved)
        there = sorted({kernel.architecture for kernel in kernels})
        kernels = [kernel for kernel in kernels if options.arch in ("", kernel.architecture)]
        if not kernels:
            raise LabError(f"{options.saved}: no kernels{for_arch(options)}; it has {', '.join(there) or 'none'}")
    else:
        cuobjdump = sass.find_tool("cuobjdump", options.tools)
        if not cuobjdump:
            return from_ptxas(options)
        kernels = [
            kernel for path in objects_of(options) for kernel in sass.read_object(cuobjdump, path, options.arch)
        ]
        kernels = [kernel for kernel in kernels if "5occam" in kernel.mangled]
    kernels = [kernel for kernel in kernels if options.kernel in kernel.name]
    if not kernels:
        called = f" called {options.kernel}" if options.kernel else ""
        where = options.saved or "these objects"
        raise LabError(f"no kernel of Occam's{called} in {where}{for_arch(options)}")
    return sorted(kernels, key=order)


# ---- a saved report ---------------------------------------------------------------------------------------
def describe(kernel):
    return {
        "mangled": kernel.mangled,
        "kernel": kernel.name,
        "instance": kernel.instance,
        "architecture": kernel.architecture,
        "registers": kernel.registers,
        "stack_bytes": kernel.stack,
        "spill_instructions": kernel.spills,
        "static_shared_bytes": kernel.shared,
        "instructions": kernel.instructions,
        "loops": [
            {
                "instructions": loop.instructions,
                "waits": loop.waits,
                "operations": {
                    name: n for name, n in loop.operations.items() if name in sass.LEAST_HOT or name.startswith("LD")
                },
            }
            for loop in kernel.loops
        ],
    }


def read_report(path):
    """The kernels of a report that --json wrote."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)["kernels"]
        return [
            sass.Kernel(
                row["mangled"],
                row["architecture"],
                row["registers"],
                row["stack_bytes"],
                row["static_shared_bytes"],
                row["spill_instructions"],
                row["instructions"],
                [sass.Loop(loop["instructions"], Counter(loop["operations"]), loop["waits"]) for loop in row["loops"]],
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path}: not a report of tools/lab --json ({error})") from error


# ---- tables -----------------------------------------------------------------------------------------------
def loads_of(loop):
    return " ".join(f"{name} {n}" for name, n in sorted(loop.operations.items()) if name.startswith("LD"))


def lines(kernels):
    header = ["kernel", "instance", "for", "registers", "spill ops", "stack B", "static shared B", "instructions"]
    rows = [
        [k.name, k.instance, k.architecture, *map(str, (k.registers, k.spills, k.stack, k.shared, k.instructions))]
        for k in kernels
    ]
    found = ["Kernels", *columns(header, rows), "", "Inner loops of products"]
    rows = []
    for kernel in kernels:
        for loop in kernel.loops:
            rows.append(
                [
                    f"{kernel.name} {kernel.instance}".strip(),
                    kernel.architecture,
                    str(loop.instructions),
                    str(loop.waits or ""),
                    f"{loop.hot} {loop.operations[loop.hot]}",
                    f"{100 * loop.share:.0f}%",
                    loads_of(loop),
                ]
            )
    found += columns(["kernel", "for", "instructions", "waits", "hot", "share", "loads"], rows)
    generic = sorted(
        {k.name for k in kernels for loop in k.loops for name in loop.operations if name.split(".")[0] == "LD"}
    )
    if generic:
        found.append(f"  generic loads (LD) in inner loops: {', '.join(generic)}; the address space was not seen")
    return found
