"""What the numbers were computed on and with."""

import contextlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

PACKAGES = {  # that the numbers depend on, and what each is imported as
    "torch": "torch",
    "numba": "numba",
    "numpy": "numpy",
    "pillow": "PIL",
    "scikit-image": "skimage",
    "scipy": "scipy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "pywavelets": "pywt",
    "bm3d": "bm3d",
    "snakemake": "snakemake",
}


def versions(modules: Container[str] = sys.modules) -> dict[str, str]:
    """Versions of Python and of those `PACKAGES` that are imported as one of `modules`; by default, those in use."""
    found = {"python": platform.python_version()}
    for package, module in PACKAGES.items():
        if module in modules:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[package] = importlib.metadata.version(package)
    return found


def description() -> dict[str, Any]:
    """The processor's name, the number of cores this process may use, the platform."""
    return {"cpu": _cpu(), "cores": _cores(), "platform": f"{platform.system()} {platform.machine()}"}


def in_words(described: Mapping[str, Any]) -> str:
    """The content of `description` as one line."""
    return f"{described['cpu']}, {described['cores']} cores, {described['platform']}"


def in_list(versions: Mapping[str, str]) -> str:
    """The content of `versions` as one line: name version, name version."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def from_list(text: str) -> list[tuple[str, str]]:
    """The pairs (name, version) of what `in_list` wrote, or of several such lines in one text."""
    return re.findall(r"([\w-]+) ([\w.+-]+)", text)


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
