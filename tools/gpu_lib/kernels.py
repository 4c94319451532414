"""The device code of the project: its kernels, and a digest of each that changes when its code does."""

import dataclasses
import hashlib
import pathlib
import re

KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\(")

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
INCLUDED_FROM = ("kernels", "src", "include")  # besides the folder of the file that includes
# Where the host says how operands lie in memory and on the chip: kernels trust it.
LAYOUT = ("src/cuda/layout.cpp", "src/cuda/plan.cpp")

# Device work that the SIMT executor cannot run, because a vendor's library does it.
VENDOR = {
    "sort_lists (CUB)": ("src/cuda/vendor_sort.cu",),
    "memory, streams, graphs": ("src/cuda/runtime.cpp", "src/cuda/copies.cpp", "src/cuda/stream_state.hpp"),
}


@dataclasses.dataclass(frozen=True)
class Kernel:
    name: str
    files: tuple[str, ...]  # from the root
    digest: str
    on_simt: bool  # the SIMT executor runs it


def digest_of(paths):
    """Of the files' contents, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def with_included(paths, root):
    """The files and every file of the project that they include, directly or not."""
    found, open_ones = set(), [path.resolve() for path in paths]
    while open_ones:
        path = open_ones.pop()
        if path in found:
            continue
        found.add(path)
        for name in INCLUDE.findall(path.read_text()):
            places = [folder / name for folder in (path.parent, *(root / part for part in INCLUDED_FROM))]
            open_ones += [place.resolve() for place in places if place.is_file()][:1]
    return found


def find_kernels(root):
    """All kernels, by file and then as they stand in it, and what a vendor's library does."""
    root = pathlib.Path(root)
    layout = [root / name for name in LAYOUT if (root / name).exists()]
    kernels = []
    for path in sorted(root.glob("kernels/*.cu")):
        digest = digest_of(with_included([path, *layout], root))
        for name in KERNEL.findall(path.read_text()):
            kernels.append(Kernel(name, (str(path.relative_to(root)),), digest, True))
    for name, files in VENDOR.items():
        if (root / files[0]).exists():
            kernels.append(Kernel(name, files, digest_of([root / file for file in files]), False))
    return kernels
