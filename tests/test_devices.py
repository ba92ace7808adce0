"""Where torch computes: what is picked, and what is said when it cannot be had."""

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
