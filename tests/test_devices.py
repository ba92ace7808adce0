"""Where torch computes: what is picked, and what is said when it cannot be had."""

import platform
import subprocess
import sys

import pytest
import torch

from tvmap import devices
from tvmap.errors import StudyError


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick("auto") == devices.pick("cpu") == torch.device("cpu")
    with pytest.raises(StudyError, match="^device: cuda, but no CUDA device is usable here; set it to cpu or auto$"):
        devices.pick("cuda")


def test_with_a_gpu_auto_takes_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.pick("auto") == devices.pick("cuda") == torch.device("cuda")
    assert devices.pick("cpu") == torch.device("cpu")


def test_fast_bfloat16_follows_the_vectors_of_the_cpu():
    capability = torch.backends.cpu.get_cpu_capability()
    if capability in ("DEFAULT", "AVX2"):
        assert not devices.has_bfloat16(torch.device("cpu"))
    assert devices.has_bfloat16(torch.device("cuda")) and devices.name(torch.device("cpu")) == "cpu"


def test_the_precision_is_that_which_the_device_has(monkeypatch):
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(devices, "has_bfloat16", lambda device, has=has: has)
        assert devices.precision("bfloat16", torch.device("cpu")) == expected
        assert devices.precision("tf32", torch.device("cuda")) == "tf32"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again_without_the_kernel():
    """In a process of its own, as the setting stays. 5 rounds of 400 MiB are 512,000 pages; a few may be new each time.

    Without the setting as many as all of them are, as chance places the blocks.
    """
    script = """
import resource, torch
from tvmap import devices
assert devices.keep_freed_memory()
def faults():
    for _ in range(5):
        kept = [torch.ones(2**18) for _ in range(400)]
        del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 10_000
