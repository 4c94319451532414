"""Binaries for a machine without a compiler: a folder with them, the libraries they load and a manifest that says
what they were made of, and the same as one compressed archive."""

import json
import os
import re
import shutil
import subprocess
import tarfile

from .kernels import digest_of

MANIFEST = "manifest.json"
# Libraries of the machine itself, never packed.
OF_THE_SYSTEM = re.compile(r"(ld-linux|libc\.so|libm\.so|libpthread|libdl|librt|libcuda|linux-vdso)")


class PackError(Exception):
    pass


def libraries_of(binary):
    """What the loader finds for it. bench_worker's cuBLAS is not among them: it is loaded when asked for."""
    loaded = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"=> (/\S+)", loaded)
    return [path for path in found if not OF_THE_SYSTEM.search(os.path.basename(path))]


def write(build, folder, binaries, made_of):
    """Fills `folder`, which is new or an earlier pack, and returns the archive beside it. made_of: provenance()."""
    if folder.exists() and not (folder / MANIFEST).exists():
        raise PackError(f"{folder} is there and is no pack")
    shutil.rmtree(folder, ignore_errors=True)
    libraries = {path for name in binaries for path in libraries_of(build / name)}
    copies = [(build / name, folder / name) for name in binaries]
    copies += [(path, folder / "lib" / os.path.basename(path)) for path in sorted(libraries)]
    for source, target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        target.chmod(0o755)  # some distributions keep libraries read-only
        subprocess.run(["strip", "--strip-all", target], check=True)
    manifest = {"schema": 1, **made_of, "binaries": {name: digest_of([folder / name]) for name in binaries}}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    archive = folder.with_name(folder.name + ".tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=6) as file:
        file.add(folder, folder.name)
    return archive


def read_manifest(folder):
    """What the binaries of a pack were made of, after a look whether they still are those."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        made_of = {key: manifest[key] for key in ("commit", "dirty", "kernels")}
        binaries = manifest["binaries"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(f"{folder} has no manifest of gpu_check --pack ({path.name}: {error})") from error
    for name, digest in binaries.items():
        if not (folder / name).exists() or digest_of([folder / name]) != digest:
            raise PackError(f"{folder / name} is not the one that was packed")
    return made_of


def size_of(folder):
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
