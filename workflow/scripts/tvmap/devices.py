"""Where torch computes, and in which precision."""

import torch

from .errors import StudyError


def pick(key):
    """The torch device for a value of the setting `device`: auto (CUDA where there is one) | cpu | cuda."""
    if key == "cuda" and not torch.cuda.is_available():
        raise StudyError("device: cuda, but no CUDA device is usable here; set it to cpu or auto")
    if key == "auto":
        key = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(key)


def name(device):
    """What the numbers were computed on, for provenance: cpu, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def has_bfloat16(device):
    """Whether convolutions in bfloat16 are made for `device`; a CPU without AVX-512 is fifty times slower in it."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def allow_tf32(allowed):
    """Let a GPU round the factors of float32 products to TensorFloat-32 (10 bits), or not; other devices ignore it."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
