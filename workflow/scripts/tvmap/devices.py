"""Where torch computes, in which precision, and what it does with the memory."""

import ctypes

import torch

from .errors import StudyError


def pick(key: str) -> torch.device:
    """The torch device for a value of the setting `device`: auto (CUDA where there is one) | cpu | cuda.

    Raises:
        StudyError: cuda where no GPU is usable.
    """
    if key == "cuda" and not torch.cuda.is_available():
        raise StudyError("device: cuda, but no CUDA device is usable here; set it to cpu or auto")
    if key == "auto":
        key = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(key)


def name(device: torch.device) -> str:
    """What the numbers were computed on, for provenance: cpu, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def has_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are made for `device`; a CPU without AVX-512 is fifty times slower in it."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def has_tf32(device: torch.device) -> bool:
    """Whether `device` can round factors to TensorFloat-32: GPUs of the last years alone; others stay in float32."""
    return device.type == "cuda" and torch.cuda.is_tf32_supported()


def precision(asked: str, device: torch.device) -> str:
    """The precision that the U-Net has on `device` where a study asks for `asked`: without what that takes, float32."""
    has = {"bfloat16": has_bfloat16, "tf32": has_tf32}
    return asked if asked not in has or has[asked](device) else "float32"


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, up to its peak: a training step asks for the same again.

    Otherwise glibc gives it back and the kernel clears it for every step, a tenth of the time. Returns whether the C
    library takes the setting; others are left as they are.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_threshold, 2**25))


def allow_tf32(allowed: bool) -> None:
    """Let a GPU round the factors of float32 products to TensorFloat-32 (10 bits), or not; other devices ignore it."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
