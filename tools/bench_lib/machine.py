"""What the measurements ran on."""

import os
import platform
import re
import subprocess


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        found = re.search(r"^model name\s*:\s*(.*)$", info.read(), re.MULTILINE)
    return found.group(1) if found else platform.processor() or "unknown"


def gpu_names():
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.strip().splitlines()


def describe():
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "gpus": gpu_names(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }
