"""What the numbers were computed on and with."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import PathLike

PACKAGES = (
    "torch",
    "numba",
    "numpy",
    "pillow",
    "scikit-image",
    "scipy",
    "pandas",
    "scikit-learn",
    "pywavelets",
    "bm3d",
    "snakemake",
)


def versions(lock: PathLike | None = None) -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on, as far as this environment has them.

    lock: path of a list of name==version, for those that it has not: with conda each rule has the packages it needs
    alone, and all have the versions of one lock.
    """
    installed: dict[str, str] = {}
    lines = Path(lock).read_text(encoding="utf-8").splitlines() if lock else []
    pinned = dict(line.split(";")[0].strip().lower().split("==") for line in lines if "==" in line and line[0] != "#")
    for distribution in importlib.metadata.distributions():  # of two of one name the first on the path is imported
        installed.setdefault(distribution.name.lower(), distribution.version)
    found = {name: installed.get(name, pinned.get(name)) for name in PACKAGES}
    return {"python": platform.python_version(), **{name: version for name, version in found.items() if version}}


def description() -> dict[str, Any]:
    """The processor's name, the number of cores this process may use, the platform."""
    return {"cpu": _cpu(), "cores": _cores(), "platform": f"{platform.system()} {platform.machine()}"}


def in_words(described: Mapping[str, Any]) -> str:
    """The content of `description` as one line."""
    return f"{described['cpu']}, {described['cores']} cores, {described['platform']}"


def free_memory() -> int | None:
    """Bytes that a process may still take without swapping, None where the system does not say (Linux does)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
