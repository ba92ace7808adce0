"""Where torch computes."""

import torch

from .errors import StudyError


def pick(name):
    """The torch device for `training.device`: auto (CUDA where there is one) | cpu | cuda."""
    if name == "cuda" and not torch.cuda.is_available():
        raise StudyError("training.device: cuda, but no CUDA device is usable here; set it to cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
