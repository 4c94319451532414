"""What a check is made of: the commit, whether the code differs from it, and the digest of every kernel."""

import subprocess

from . import kernels


def git(root, *arguments):
    """What git says of the checkout at `root`; None without git or outside a checkout."""
    # A container may mount the folder under another owner, which git would refuse to read.
    command = ["git", "-c", f"safe.directory={root}", "-C", root, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def provenance(root):
    """commit ("unknown" without one), dirty (None where nobody can say), kernels."""
    # A folder unpacked inside another project's checkout is not of that project's commit.
    commit = git(root, "rev-parse", "HEAD") if git(root, "rev-parse", "--show-prefix") == "" else None
    # docs/ holds the results themselves; writing one does not change the code.
    changes = git(root, "status", "--porcelain", "--", ".", ":(exclude)docs") if commit else None
    return {
        "commit": commit or "unknown",
        "dirty": None if changes is None else changes != "",
        "kernels": {kernel.name: kernel.digest for kernel in kernels.find_kernels(root)},
    }
