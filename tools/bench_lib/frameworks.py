"""Which rivals this machine has: frameworks of the Python interpreters the bench was told of."""

import dataclasses
import os
import shutil
import subprocess

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "rivals")
SCRIPTS = {"torch": "torch_rival.py", "jax": "jax_rival.py"}


@dataclasses.dataclass(frozen=True)
class Style:
    """One way to write the training."""

    name: str
    module: str
    argument: str = ""
    least_version: tuple = (0,)
    devices: tuple = ("cpu", "cuda")
    script: str = ""  # in rivals/; empty: the framework's script for one network


STYLES = (
    Style("PyTorch, tensors sliced", "torch", "tuned"),
    Style("PyTorch, tensors sliced, torch.compile", "torch", "compiled", (2, 0)),
    Style("PyTorch as the notebook (DataLoader)", "torch", "loader"),
    Style("JAX, jit and scan", "jax", devices=("cpu",)),
)
# Those that train many members in one call.
ENSEMBLE_STYLES = (
    Style("PyTorch, stacked members", "torch", least_version=(2, 0), script="torch_ensemble.py"),
    Style("JAX, vmap over members", "jax", script="jax_ensemble.py"),
)
# Those that attack a trained network.
ATTACK_STYLES = (
    Style("PyTorch, attacks in batches of 256", "torch", "batches", script="torch_attack.py"),
    Style("PyTorch, attacks in the fastest batches", "torch", "tuned", script="torch_attack.py"),
    Style("torchattacks PGDL2", "torchattacks", "torchattacks", script="torch_attack.py"),
)

# Those that train on images of shapes.
IMAGE_STYLES = (Style("PyTorch, dense images", "torch", script="torch_images.py"),)


@dataclasses.dataclass(frozen=True)
class Rival:
    """python is empty, and status says why, for a rival that cannot run."""

    style: Style
    status: str = "installed"
    python: str = ""
    version: str = ""

    @property
    def name(self):
        return f"{self.style.name}, {self.version}" if self.version else self.style.name

    def command(self):
        script = os.path.join(FOLDER, self.style.script or SCRIPTS[self.style.module])
        return [self.python, script] + ([self.style.argument] if self.style.argument else [])


def interpreters(named):
    """Interpreters to look into: those named, those of OCCAM_BENCH_PYTHON, Debian's python3 and PATH's."""
    listed = [
        *named,
        *filter(None, os.environ.get("OCCAM_BENCH_PYTHON", "").split(os.pathsep)),
        "/usr/bin/python3",
        shutil.which("python3") or "",
    ]
    paths = [
        os.path.abspath(path) if os.sep in path else shutil.which(path) or path for path in listed if path
    ]
    return list(dict.fromkeys(paths))


def installed_version(python, module):
    """(version, "") or ("", why there is none)."""
    try:
        found = subprocess.run(
            [python, "-c", f"import {module}; print({module}.__version__)"],
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "", f"{python}: {error}"
    if found.returncode == 0:
        return found.stdout.strip(), ""
    last = (found.stderr.strip().splitlines() or ["no message"])[-1]
    return "", "not installed" if f"No module named '{module}'" in last else f"{python}: {last}"


def release(version):
    """(2, 15) of "2.15.0+cu132"."""
    numbers = []
    for part in version.split("+")[0].split(".")[:2]:
        digits = "".join(c for c in part if c.isdigit())
        numbers.append(int(digits or 0))
    return tuple(numbers)


def find_rivals(pythons, device, styles=STYLES):
    """One Rival per style and installed version of its framework; one that says why if a style cannot run."""
    versions = {}
    for module in dict.fromkeys(style.module for style in styles):
        of_module, broken = {}, []
        for python in pythons:
            version, why_not = installed_version(python, module)
            if version:
                of_module.setdefault(version, python)
            elif why_not != "not installed":
                broken.append(why_not)
        versions[module] = (of_module, "; ".join(broken) or "not installed")
    rivals = []
    for style in styles:
        if device not in style.devices:
            continue
        of_module, why_not = versions[style.module]
        able = {
            version: python
            for version, python in of_module.items()
            if release(version) >= style.least_version
        }
        if of_module and not able:
            why_not = f"needs {'.'.join(map(str, style.least_version))}, installed: {', '.join(of_module)}"
        rivals += [Rival(style, "installed", python, version) for version, python in able.items()]
        if not able:
            rivals.append(Rival(style, why_not))
    return rivals
