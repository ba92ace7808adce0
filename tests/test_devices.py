"""Where torch computes: what is picked, and what is said when it cannot be had."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

import time_steps
from tvmap import devices, stacks, tabular
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


@pytest.mark.parametrize("capable", [True, False])
def test_fast_bfloat16_is_that_of_the_cpu_and_of_every_gpu(monkeypatch, capable):
    assert devices.has_bfloat16(torch.device("cpu")) in (True, False)  # what is asked for is there
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: capable)
    assert devices.has_bfloat16(torch.device("cpu")) == capable
    assert devices.has_bfloat16(torch.device("cuda")) and devices.name(torch.device("cpu")) == "cpu"
    assert devices.precision("bfloat16", torch.device("cpu")) == ("bfloat16" if capable else "float32")


def test_the_precision_is_that_which_the_device_has(monkeypatch):
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(devices, "has_bfloat16", lambda device, has=has: has)
        assert devices.precision("bfloat16", torch.device("cpu")) == expected
        assert devices.precision("float32", torch.device("cpu")) == "float32"
    for has, expected in ((True, "tf32"), (False, "float32")):  # a GPU of before 2020 has none
        monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda has=has: has)
        assert devices.precision("tf32", torch.device("cuda")) == expected
        assert devices.precision("tf32", torch.device("cpu")) == "float32"
        assert devices.precision("float32", torch.device("cuda")) == "float32"


class Taken:
    """Steps of a training that note, when they are taken, whether factors may be rounded."""

    def __init__(self, rounded):
        devices.allow_tf32(rounded)  # as the network does that is built for them
        self.rates, self.loss_sum, self.noted = torch.zeros(1), torch.zeros(()), set()

    def begin(self, epoch, rates):
        pass

    def take(self, size):
        self.noted.add((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))


def test_each_training_s_steps_are_timed_in_its_own_precision(tmp_path, monkeypatch):
    """PyTorch has one switch for all networks of a process, and all are built before the first step is taken."""
    made = {}

    def prepare(clean, settings, device):
        made[settings["precision"]] = Taken(settings["precision"] == "tf32")
        return None, None, made[settings["precision"]]

    monkeypatch.setattr(time_steps.training, "prepare", prepare)
    monkeypatch.setattr(devices, "keep_freed_memory", lambda: True)
    stacks.save(tmp_path / "clean.npz", images=np.zeros((2, 4, 4), np.float32))
    trainings = {
        name: {"settings": {"precision": precision, "batch_size": 1, "iterations": 2}}
        for name, precision in (("", "float32"), ("rounded", "tf32"), ("half", "bfloat16"))
    }
    paths = dict.fromkeys(trainings, tmp_path / "clean.npz")
    try:
        time_steps.main(paths, tmp_path / "steps.csv", trainings, torch.get_num_threads(), "cpu")
    finally:
        devices.allow_tf32(False)
    assert {name: taken.noted for name, taken in made.items()} == {
        "float32": {(False, False)},
        "tf32": {(True, True)},
        "bfloat16": {(False, False)},
    }
    assert tabular.read_table(tmp_path / "steps.csv", tabular.STEPS)["precision"].tolist()[:2] == ["float32"] * 2


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
