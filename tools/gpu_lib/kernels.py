"""The device code of the project: its kernels, and a digest of each that changes when its code does."""

import dataclasses
import hashlib
import pathlib
import re

KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\(")

# Device work that the SIMT executor cannot run, because a vendor's library does it.
VENDOR = {"sort_lists (CUB)": "src/cuda/vendor_sort.cu", "memory, streams, graphs": "src/cuda/runtime.cpp"}


@dataclasses.dataclass(frozen=True)
class Kernel:
    name: str
    file: str  # from the root
    digest: str
    on_simt: bool  # the SIMT executor runs it


def digest_of(paths):
    """Of the files' contents, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def find_kernels(root):
    """All kernels, by file and then as they stand in it, and what a vendor's library does."""
    root = pathlib.Path(root)
    shared = [*root.glob("kernels/*.cuh"), *root.glob("kernels/*.hpp"), *root.glob("src/law/*.hpp")]
    kernels = []
    for path in sorted(root.glob("kernels/*.cu")):
        digest = digest_of([path, *shared])
        for name in KERNEL.findall(path.read_text()):
            kernels.append(Kernel(name, str(path.relative_to(root)), digest, True))
    for name, file in VENDOR.items():
        if (root / file).exists():
            kernels.append(Kernel(name, file, digest_of([root / file]), False))
    return kernels
